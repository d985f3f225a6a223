"""mypy and pyright, both strict, over pass/ (must be clean) and fail/ (every marked line must stay refused).

A line of fail/ carries `# type: ignore[code]` for mypy and `# pyright: ignore[rule]` for pyright. An ignore that is not needed is an
error for both, so accepting what is wrong fails here just as refusing what is right does.
"""

from __future__ import annotations

import json
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
        "include": [str(HERE / "pass"), str(HERE / "fail")],
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
