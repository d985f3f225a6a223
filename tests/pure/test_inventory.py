"""tests/README.md, which says where each rule is tested, names files and tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
ROOT = TESTS.parent


def test_what_the_inventory_names_is_there() -> None:
    missing: list[str] = []
    named = 0
    for line in (TESTS / "README.md").read_text(encoding="utf-8").splitlines():
        if line.count("|") < 4:
            continue
        file, folder = None, TESTS
        for token in re.findall(r"`([^`]+)`", line.split("|")[2]):
            path, _, name = token.partition("::")
            if path.endswith((".py", ".rs")):
                # `test_cut.py` after `conversation/test_x.py` is its neighbour.
                found = next((p for p in (TESTS / path, ROOT / path, folder / path) if p.is_file()), None)
                if found is None:
                    missing.append(path)
                    continue
                file, folder = found, found.parent
            elif token.startswith("test_"):
                name = token
            if name and file is not None:
                named += 1
                start = f"def {name.removesuffix('…')}"
                if not any(start in text for text in file.read_text(encoding="utf-8").splitlines()):
                    missing.append(f"{file.name}::{name}")
    assert not missing
    assert named > 20
