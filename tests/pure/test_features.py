"""tools/features.py: what the features page promises must be shown by a run (what `.ci/run` asks)."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import features  # noqa: E402

ENTRIES: dict[str, Any] = {
    "Q01": {"title": "queries"},
    "K01": {"title": "tasks", "only": "async", "why": "tasks"},
    "S01": {"title": "status | pipe"},
}


def shown(outcome: str, *rows: tuple[str, list[str]], reason: str | None = None) -> dict[str, Any]:
    return {"outcome": outcome, "reason": reason, "rows": list(rows), "server": "18.1"}


BOTH = ["async", "blocking"]
GOOD: dict[str, Any] = {
    "tests/a.py::one": shown("passed", ("Q01", BOTH)),
    "tests/a.py::two": shown("passed", ("K01", ["async"])),
    "tests/b.py::three": shown("passed", ("S01", ["async"])),  # S01 is not met: nothing on the blocking face
}


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs the tool as the command line does: writes the page from GOOD, then checks it against other results."""
    rows = tmp_path / "rows.toml"
    rows.write_text(
        "\n".join(
            f"{name} = {{ {', '.join(f'{key} = {json.dumps(value)}' for key, value in entry.items())} }}"
            for name, entry in ENTRIES.items()
        )
    )
    monkeypatch.setattr(features, "ROWS", rows)
    monkeypatch.setattr(features, "ROOT", tmp_path)
    page = tmp_path / "features.md"

    def call(tests: dict[str, Any], *options: str) -> tuple[int, str]:
        run = tmp_path / "run.json"
        run.write_text(json.dumps({"python": "3.11.7", "servers": ["18.1"], "tests": tests}))
        monkeypatch.setattr(sys, "argv", ["features.py", *options, "--output", str(page), str(run)])
        code = features.main()
        return code, capsys.readouterr().err

    assert call(GOOD)[0] == 0
    assert features.promised(page.read_text()) == {"Q01": True, "K01": True, "S01": False}

    def checked(tests: dict[str, Any]) -> tuple[int, str]:
        before = page.read_text()
        result = call(tests, "--check")
        assert page.read_text() == before, "--check writes nothing"
        return result

    return checked


def test_the_same_run_passes_in_silence(check: Any) -> None:
    assert check(GOOD) == (0, "")


def test_other_counts_of_tests_are_told_and_pass(check: Any) -> None:
    code, told = check(GOOD | {"tests/a.py::more": shown("passed", ("Q01", BOTH))})
    assert code == 0
    assert "counts other tests" in told


def test_a_row_newly_met_is_told_and_passes(check: Any) -> None:
    code, told = check(GOOD | {"tests/b.py::four": shown("passed", ("S01", ["blocking"]))})
    assert code == 0
    assert "met by the run, not on the features page: S01" in told


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"tests/a.py::one": shown("failed", ("Q01", BOTH))}, "Q01: queries: async fails, blocking fails"),
        ({"tests/a.py::one": shown("passed", ("Q01", ["async"]))}, "Q01: queries: blocking not run"),
        (
            {"tests/a.py::one": shown("skipped", ("Q01", BOTH), reason="Skipped: no server")},
            "async skipped, blocking skipped; no server",
        ),
        (
            {"tests/a.py::half": shown("skipped", ("Q01", ["blocking"]), reason="Skipped: no uvloop")},
            "blocking partly skipped; no uvloop",
        ),
        ({"tests/a.py::off": shown("failed", ("Q01", []))}, "a test of neither face fails"),
        ({"tests/a.py::two": shown("failed", ("K01", ["async"]))}, "K01: tasks: async fails"),
    ],
)
def test_a_promise_that_is_not_kept_fails(check: Any, changed: dict[str, Any], said: str) -> None:
    code, told = check(GOOD | changed)
    assert code == 1
    assert said in told


def test_a_test_that_is_gone_fails(check: Any) -> None:
    code, told = check({name: one for name, one in GOOD.items() if name != "tests/a.py::two"})
    assert code == 1
    assert "K01: tasks: async not run" in told


def test_a_row_that_was_not_met_may_stay_so(check: Any) -> None:
    code, _ = check(GOOD | {"tests/b.py::three": shown("failed", ("S01", ["async"]))})
    assert code == 0


def test_a_row_that_is_gone_fails(check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    features.ROWS.write_text('Q01 = { title = "queries" }\nS01 = { title = "status" }\n')
    code, told = check({name: one for name, one in GOOD.items() if "two" not in name})
    assert code == 1
    assert "K01: gone from rows.toml" in told


def test_a_page_without_rows_promises_nothing_and_fails() -> None:
    with pytest.raises(SystemExit, match="has no table"):
        features.promised("# Features\n")


def test_the_committed_page_can_be_read() -> None:
    entries = features.read_rows()
    page = features.promised(features.PAGE.read_text(encoding="utf-8"))
    assert set(page) <= set(entries)
    assert sum(page.values()) > 50
