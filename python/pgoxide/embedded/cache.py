"""Folders: where data may live, the user's cache, things made once and published whole, and a quick copy of a tree.

Used by `initdb.py`, `root.py` and `launch.py`. Nothing here knows PostgreSQL.
"""

# Plain strings make copy_tree twice as quick as Path objects.
# ruff: noqa: PTH102, PTH111, PTH112

from __future__ import annotations

import os
import stat
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

__all__ = ["copy_tree", "digest", "publish", "scratch", "user_cache"]

_ROOM = 256 << 20  # a fresh data folder is 28 MB; containers often have a /dev/shm of 64 MB


def scratch() -> Path:
    """The folder for data that is thrown away: /dev/shm when it has 256 MB free, else the temporary folder.

    A tmpfs is worth a factor of 10 to 25 in everything that creates files.
    """
    memory = Path("/dev/shm")  # noqa: S108  a folder of our own is made in it, by mkdtemp
    try:
        room = os.statvfs(memory)
        if room.f_bavail * room.f_frsize >= _ROOM and os.access(memory, os.W_OK | os.X_OK):
            return memory
    except OSError:
        pass
    return Path(tempfile.gettempdir())


def user_cache() -> Path:
    """The folder `pgoxide` in the user's cache; made when missing, mode 0700. May be deleted at any time.

    Falls back to a folder in the temporary folder where the home cannot be written to or belongs to somebody else
    (`sudo` without `-H`). Raises OSError when neither is ours alone: whoever can write there could have us run
    whatever they like.
    """
    try:
        return _private(_cache_root() / "pgoxide")
    except OSError:
        return _private(Path(tempfile.gettempdir()) / f"pgoxide-cache-{os.geteuid()}")


def _cache_root() -> Path:
    if chosen := os.environ.get("XDG_CACHE_HOME"):
        return Path(chosen)
    home = Path(os.path.expanduser("~"))
    if home.stat().st_uid != os.geteuid():
        raise PermissionError(f"{home} belongs to another user")
    return home / "Library" / "Caches" if sys.platform == "darwin" else home / ".cache"


def _private(folder: Path) -> Path:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise PermissionError(f"{folder} is not a folder that only this user can write to")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"{folder} cannot be written to")
    return folder


def publish(cache: Path, name: str, make: Callable[[Path], None]) -> Path:
    """The folder `cache/name`; when it does not exist, made by `make(folder)` and renamed into place when complete.

    Several processes may ask at once: one makes it under a lock file, which the kernel frees at death, the others wait.
    Whatever `make` raises is passed on and leaves nothing behind.
    """
    target = cache / name
    if target.is_dir():
        return target
    with _locked(cache / f"{name}.lock"):
        if target.is_dir():
            return target
        for left in cache.glob(f"{name}.new-*"):  # of a maker that was killed; we hold the lock, so nobody's
            _remove(left)
        fresh = Path(tempfile.mkdtemp(prefix=f"{name}.new-", dir=cache))
        try:
            make(fresh)
            fresh.rename(target)
        except BaseException:
            _remove(fresh)
            raise
    return target


@contextmanager
def _locked(path: Path) -> Generator[None]:
    import fcntl

    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _remove(folder: Path) -> None:
    import shutil

    shutil.rmtree(folder, ignore_errors=True)


def copy_tree(source: str, target: str, mode: int = 0o600) -> None:
    """Copy folders and files into a new or existing folder; folders get 0700, files `mode`.

    1 000 small files take 40 ms; `shutil.copytree` takes 80 and `cp -a` 75 (its process included), since they also keep times and modes.
    Symbolic links and whatever else is neither file nor folder are refused with OSError.
    """
    if not os.path.isdir(target):
        os.mkdir(target, 0o700)
    with os.scandir(source) as entries:
        for entry in entries:
            path = f"{target}/{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                copy_tree(entry.path, path, mode)
            else:
                _copy_file(entry.path, path, mode)


def _copy_file(source: str, target: str, mode: int) -> None:
    reader = os.open(source, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        writer = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        try:
            while data := os.read(reader, 1 << 20):
                while data:
                    data = data[os.write(writer, data) :]
        finally:
            os.close(writer)
    finally:
        os.close(reader)


def digest(*parts: str) -> str:
    """Twelve hexadecimal digits that stand for these texts in a file name."""
    import hashlib

    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]
