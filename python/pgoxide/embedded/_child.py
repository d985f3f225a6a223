"""The watcher: a small process that starts the server, outlives nobody's owner, and cleans up.

Run by `child.py` as `python -I -S _child.py OWNER KIND UID GID COUNT FOLDER... PROGRAM ARGUMENT...`; never imported.
A program of its own, and not a `preexec_fn`, because between fork and exec a process with threads may only make system
calls; here Python starts afresh and may do anything. It costs about 20 ms, spent while the owner copies the data.

It imports nothing of ours and only what the interpreter has at hand: after the change of identity the standard library
may be out of reach.

1. Takes its identity: KIND `self`, `namespace` (a user namespace in which UID stands for our real id) or `account`.
2. Says `ready`, or `refused WHAT ERRNO`, or `unreachable PATH`, on standard output.
3. Waits for `g` on standard input, then starts PROGRAM with a parent-death signal and says `pid N`.
4. Waits until the owner process is gone, standard input ends or says `s`, or SIGTERM arrives; stops PROGRAM
   (SIGQUIT, SIGKILL after 7 s), removes the FOLDERs, exits. If PROGRAM ends by itself it says `exited STATUS`
   and goes on waiting.

The parent-death signal follows the *thread* that forked, and this process has one thread, so it does not matter in
which thread of the owner `start()` ran. The owner itself is watched through a pidfd, which means the whole process;
end of file alone would not do, because children forked by the owner inherit the pipe's other end.
"""

# pathlib, contextlib and typing would double the time this takes to start.
# ruff: noqa: PTH106, PTH108, PTH123, SIM105, S606

from __future__ import annotations

import errno
import os
import select
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

_CLONE_NEWUSER = 0x10000000
_PR_SET_PDEATHSIG = 1
_STOP_SECONDS = 7.0  # the postmaster itself kills its children 5 s after SIGQUIT


def main(arguments: list[str]) -> None:
    owner, kind, uid, gid, count = int(arguments[0]), arguments[1], *map(int, arguments[2:5])
    folders, command = arguments[5 : 5 + count], arguments[5 + count :]
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    wake = _wake_on(signal.SIGCHLD, signal.SIGTERM)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    gone = _watch(owner)
    prctl = _libc_call("prctl")
    _take_identity(kind, uid, gid)
    if not os.access(command[0], os.R_OK | os.X_OK):
        _say("unreachable", command[0])
        return
    _say("ready")
    pid = 0
    try:
        if not _may_go(owner, gone):
            return
        for folder in folders:
            if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
                _say("unreachable", folder)
                return
        pid = _launch(command, prctl)
        if pid:
            _say("pid", str(pid))
            pid = _wait(pid, owner, gone, wake)
    finally:
        _stop(pid)
        for folder in folders:
            _remove_insisting(folder)


def _say(*words: str) -> None:
    try:
        os.write(1, " ".join(words).encode("utf-8", "surrogateescape") + b"\n")
    except OSError:
        pass  # the owner is gone; _wait notices


def _wake_on(*numbers: int) -> int:
    """A descriptor that becomes readable when one of these signals arrives; one byte per signal, its number."""
    read, write = os.pipe()
    os.set_blocking(read, False)
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    for number in numbers:
        signal.signal(number, _noted)
    return read


def _noted(number: int, frame: object) -> None:
    """The wake-up descriptor has the signal's number already; a handler must exist, or it would not be written."""


def _watch(owner: int) -> int:
    """A descriptor that becomes readable when the owner process ends; -1 where there is none (then we poll)."""
    try:
        return os.pidfd_open(owner)
    except (AttributeError, OSError):
        return -1


def _may_go(owner: int, gone: int) -> bool:
    """Wait for `g`; False when something else came, or the owner went, in the meantime."""
    while True:
        ready, _, _ = select.select([0] if gone < 0 else [0, gone], [], [], 0.1 if gone < 0 else None)
        if gone in ready or os.getppid() != owner:
            return False
        if 0 in ready:
            return os.read(0, 1) == b"g"


def _libc_call(name: str) -> Callable[..., None] | None:
    """A function of the C library that raises OSError when it fails; None where it does not exist."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        import ctypes
    except ImportError:  # a Python without libffi: no namespace and no parent-death signal, the rest works
        return None
    function = getattr(ctypes.CDLL(None, use_errno=True), name)

    def call(*arguments: int) -> None:
        if function(*arguments) != 0:
            raise OSError(ctypes.get_errno(), name)

    return call


def _take_identity(kind: str, uid: int, gid: int) -> None:
    step = kind
    try:
        if kind == "namespace":
            step = "user namespace"
            unshare = _libc_call("unshare")
            outside = os.geteuid(), os.getegid()
            if unshare is None:
                raise OSError(errno.ENOSYS, "no unshare")
            unshare(_CLONE_NEWUSER)
            # setgroups must be denied first, else the kernel takes a gid_map only from a privileged process.
            for file, line in (
                ("setgroups", "deny"),
                ("uid_map", f"{uid} {outside[0]} 1"),
                ("gid_map", f"{gid} {outside[1]} 1"),
            ):
                with open(f"/proc/self/{file}", "w") as stream:
                    stream.write(line)
        elif kind == "account":
            os.setgroups([])
        if kind != "self":
            os.setgid(gid)  # all three ids each, since we are privileged; macOS has no setresuid
            os.setuid(uid)
    except OSError as error:
        _say("refused", str(error.errno), step)
        sys.exit(0)


def _launch(command: list[str], prctl: Callable[..., None] | None) -> int:
    """The process id of the started program, or 0 after `refused` was said."""
    failed, report = os.pipe()  # both close on exec: end of file means that exec succeeded
    me = os.getpid()
    pid = os.fork()
    if pid == 0:
        _become(command, prctl, me, report)
    os.close(report)
    problem = os.read(failed, 16)
    os.close(failed)
    if problem:
        os.waitpid(pid, 0)
        _say("refused", problem.decode(), "exec")
        return 0
    return pid


def _become(command: list[str], prctl: Callable[..., None] | None, parent: int, report: int) -> NoReturn:
    try:
        signal.set_wakeup_fd(-1)
        for number in (
            signal.SIGINT,
            signal.SIGHUP,
            signal.SIGTERM,
            signal.SIGCHLD,
            signal.SIGPIPE,
            signal.SIGXFSZ,
        ):
            signal.signal(number, signal.SIG_DFL)
        os.setpgid(0, 0)
        os.umask(0o077)
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(2, 1)  # standard error is the log
        if prctl is not None:
            # SIGQUIT, "immediate", not SIGINT: nobody is left to insist, and the data is about to be thrown away.
            prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT.value, 0, 0, 0)
            if os.getppid() != parent:
                os._exit(1)
        os.execv(command[0], command)
    except OSError as error:
        os.write(report, str(error.errno).encode())
    finally:
        os._exit(127)


def _wait(pid: int, owner: int, gone: int, wake: int) -> int:
    """Wait for a reason to stop. Returns the program's id, or 0 when it has ended by itself."""
    watched = [0, wake] if gone < 0 else [0, wake, gone]
    while True:
        ready, _, _ = select.select(watched, [], [], 0.1 if gone < 0 else None)
        if wake in ready:
            signals = os.read(wake, 64)
            if pid:
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    pid = 0
                    _say("exited", str(os.waitstatus_to_exitcode(status)))
            if signal.SIGTERM in signals:
                return pid
        if 0 in ready or gone in ready or os.getppid() != owner:
            return pid


def _stop(pid: int) -> None:
    if not pid:
        return
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.kill(pid, signal.SIGQUIT)
    _await_end(pid, _STOP_SECONDS)
    # The whole group, also when it ended: initdb leaves its bootstrap server behind, writing into the folder. Not yet
    # reaped, it keeps the group's number from being given away.
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def _await_end(pid: int, seconds: float) -> None:
    """Wait until the child has ended, at most this time, without reaping it; looks every 2 ms."""
    for _ in range(int(seconds / 0.002)):
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            return
        select.select([], [], [], 0.002)


def _remove_insisting(folder: str) -> None:
    """Remove a folder; a process killed a moment ago may still add a file, so try for half a second."""
    for _ in range(50):
        _remove(folder)
        if not os.path.lexists(folder):
            return
        select.select([], [], [], 0.01)


def _remove(folder: str) -> None:
    """Remove a folder and all below it, without following links. What resists stays (the owner tries again)."""
    try:
        with os.scandir(folder) as entries:
            found = list(entries)
        for entry in found:
            if entry.is_dir(follow_symlinks=False):
                _remove(entry.path)
            else:
                os.unlink(entry.path)
        os.rmdir(folder)
    except OSError:
        pass


if __name__ == "__main__":
    main(sys.argv[1:])
