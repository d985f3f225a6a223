"""Subinterpreters: one interpreter of a process has the core, any other is told so."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import sys
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
LEGACY = ("legacy",) if sys.version_info >= (3, 13) else ()
TRY = '''
try:
    import pgoxide._core
except ImportError as error:
    print("refused:", error)
else:
    print(pgoxide._core.copy_format.__name__)
'''
for one in sys.argv[1].split():
    if one == "main":
        exec(TRY, {})
    else:
        other = interpreters.create(*LEGACY) if LEGACY or sys.version_info < (3, 12) else interpreters.create(isolated=False)
        assert not interpreters.run_string(other, TRY + "import sys; sys.stdout.flush()")
        interpreters.destroy(other)
    sys.stdout.flush()
"""
REFUSED = "refused: pgoxide can be used in one interpreter of a process, and another one has imported it: subinterpreters are not supported"


@pytest.mark.parametrize(
    "order", ["main other", "other main", "other other", "main main", "main other other main"]
)
def test_one_interpreter_of_a_process(order: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-X", "faulthandler", "-c", PROGRAM, order],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    first, *rest = order.split()
    taken = [True, *(one == first == "main" for one in rest)]
    expected = ["copy_format" if one else REFUSED for one in taken]
    assert (done.returncode, done.stdout.splitlines(), done.stderr) == (0, expected, "")
