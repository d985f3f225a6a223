"""mypy and pyright, both strict, over pass/ (must be clean) and fail/ (every marked line must stay refused).

A line of fail/ carries `# type: ignore[code]` for mypy and `# pyright: ignore[rule]` for pyright. An ignore that is not needed is an
error for both, so accepting what is wrong fails here just as refusing what is right does.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mypy", reason="the test group is not installed")
pytest.importorskip("pyright", reason="the test group is not installed")

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
pytestmark = [pytest.mark.typing, pytest.mark.timeout(300)]


def run(arguments: list[str]) -> None:
    command = [sys.executable, "-m", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"


@pytest.mark.row("Z15", face="both")
@pytest.mark.parametrize("folder", ["pass", "fail"])
def test_mypy(folder: str, tmp_path: Path) -> None:
    files = [str(path) for path in sorted((HERE / folder).glob("*.py"))]
    assert files
    for file in files:  # one at a time: pass/errors.py and fail/errors.py are modules of one name
        run(["mypy", "--strict", "--warn-unused-ignores", "--cache-dir", str(ROOT / ".mypy_cache"), file])


@pytest.mark.row("Z15", face="both")
def test_pyright(tmp_path: Path) -> None:
    config = {
        # Relative: pyright ignores absolute paths here, and would find nothing wrong in nothing.
        "include": [os.path.relpath(HERE / folder, tmp_path) for folder in ("pass", "fail")],
        "extraPaths": [str(ROOT / "python")],
        "pythonVersion": "3.11",
        "typeCheckingMode": "strict",
        "enableTypeIgnoreComments": False,
        "reportUnnecessaryTypeIgnoreComment": "error",
        "reportMissingModuleSource": "none",
    }
    project = tmp_path / "pyrightconfig.json"
    project.write_text(json.dumps(config))
    run(["pyright", "--pythonpath", sys.executable, "--project", str(project)])


@pytest.mark.row("Z15", face="both")
def test_everything_public_has_a_type(tmp_path: Path) -> None:
    """`pyright --verifytypes` as a user's checker sees the package: from outside, on the path."""
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable]
    done = subprocess.run(
        [*command, "--verifytypes", "pgoxide", "--ignoreexternal", "--outputjson"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT / "python")},
        capture_output=True,
        text=True,
        check=False,
    )
    report = json.loads(done.stdout)["typeCompleteness"]
    faulty = [
        (symbol["name"], [diagnostic["message"] for diagnostic in symbol["diagnostics"]])
        for symbol in report["symbols"]
        if not symbol["isTypeKnown"] and (symbol["isExported"] or symbol["referenceCount"])
    ]
    assert not faulty
    assert report["exportedSymbolCounts"]["withKnownType"] > 400, "it looked at something"
    assert report["completenessScore"] == 1, done.stdout
    assert done.returncode == 0
