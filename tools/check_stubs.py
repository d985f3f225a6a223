"""Compare python/pgoxide/_core/*.pyi with the built module: mypy.stubtest, with what lies in parts put together.

    python tools/check_stubs.py [options of stubtest]

The stubs are one per Rust file; at run time it is one module, so stubtest would find `pgoxide._core.tag` missing and look no
further. This gives it a module per stub, made of the names of the stub's `__all__`. Differences that are meant stand in
tools/stubtest_allow.txt, with their reasons. A name the module has and no stub exports is an error here.
"""

from __future__ import annotations

import ast
import os
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent
STUBS = ROOT / "python/pgoxide/_core"
ALLOWED = ROOT / "tools/stubtest_allow.txt"


def exported(stub: Path) -> list[str]:
    """The names of a stub's `__all__`."""
    for node in ast.parse(stub.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            names: list[str] = ast.literal_eval(node.value)
            return names
    raise SystemExit(f"{stub.relative_to(ROOT)} has no __all__")


def register(core: ModuleType) -> None:
    """One module per stub, as if the extension were a package."""
    for stub in STUBS.glob("[!_]*.pyi"):
        names = exported(stub)
        part = ModuleType(f"{core.__name__}.{stub.stem}")
        part.__dict__.update({name: getattr(core, name) for name in names if hasattr(core, name)})
        part.__dict__["__all__"] = names
        sys.modules[part.__name__] = part


def main() -> int:
    from mypy import stubtest

    from pgoxide import _core

    os.chdir(ROOT)
    os.environ["MYPYPATH"] = "python"
    register(_core)
    sys.argv[1:] = [
        "pgoxide._core",
        "--concise",
        "--ignore-disjoint-bases",  # typing_extensions.disjoint_base is too new for our users' checkers
        "--mypy-config-file=pyproject.toml",
        f"--allowlist={ALLOWED}",
        *sys.argv[1:],
    ]
    return stubtest.main()


if __name__ == "__main__":
    sys.exit(main())
