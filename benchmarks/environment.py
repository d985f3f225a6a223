"""Set-up, all outside the repository: the virtual environment with pgoxide and peers, the C programs."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HERE = ROOT / "benchmarks"
FLAGS = ("-O2", "-Wall", "-Wextra", "-Werror")


class SetupError(Exception):
    """Something the benchmark needs is missing; the message says what to do."""


def cache() -> Path:
    """Where all made things live."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "pgoxide-bench"


def say(text: str) -> None:
    """Progress goes to stderr."""
    print(text, file=sys.stderr, flush=True)


def clean_environment() -> dict[str, str]:
    """Ours without what would change an interpreter, a peer or libpq; pgoxide's own settings stay."""
    foreign = re.compile(r"PYTHON|VIRTUAL_ENV|PG(?!OXIDE_)")
    return {name: value for name, value in os.environ.items() if not foreign.match(name)}


def _version_of(python: str) -> str:
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        done = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip()


def find_python(version: str) -> str:
    """An interpreter of this version: the running one, on PATH (pyenv's shim may be dead), or pyenv's own."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    candidates = [
        sys.executable,
        shutil.which(f"python{version}") or "",
        *map(str, sorted(pyenv.glob(f"{version}*/bin/python"), reverse=True)),
    ]
    for python in candidates:
        if python and _version_of(python) == version:
            return python
    raise SetupError(
        f"Python {version} not found (looked at this interpreter, PATH and {pyenv}). fastpg needs 3.13, and "
        f"a missing peer fails the run. Install it: `pyenv install {version}`."
    )


def prepare_python(version: str, *, with_pgoxide: bool) -> Path:
    """The virtual environment for one Python version: the pinned peers, pgoxide built in release mode."""
    requirements = HERE / "requirements.txt"
    home = cache() / f"venv-{version}"
    python = home / "bin" / "python"
    stamp = home / "requirements.sha256"
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()
    if not stamp.exists() or stamp.read_text() != digest:
        say(f"bench: virtual environment for Python {version} in {home}")
        subprocess.run([find_python(version), "-m", "venv", "--clear", home], check=True)
        _pip(python, "-r", requirements)
        stamp.write_text(digest)
    if with_pgoxide:
        say("bench: building pgoxide in release mode")
        _pip(python, f"{ROOT}[embedded]")
    return python


def _pip(python: Path, *words: str | Path) -> None:
    # A target folder of its own: in the shared one another Python version makes cargo build everything anew.
    environment = clean_environment() | {"CARGO_TARGET_DIR": str(cache() / "target")}
    command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *words]
    subprocess.run(command, check=True, env=environment)


def build_floor() -> dict[str, Path]:
    """Compile the C floor and the libpq program; the name of each and its executable."""
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
    if not compiler:
        raise SetupError("no C compiler (cc) on PATH: the C floor cannot be built")
    include, library = _libpq()
    options: dict[str, list[str]] = {"floor": [], "libpq": [f"-I{include}", f"-L{library}", "-lpq"]}
    return {name: _compile(compiler, name, extra) for name, extra in options.items()}


def _compile(compiler: str, name: str, options: list[str]) -> Path:
    source = HERE / "floor" / f"{name}.c"
    parts = [
        source.read_bytes(),
        (HERE / "floor" / "measure.h").read_bytes(),
        " ".join((compiler, *FLAGS)).encode(),
    ]
    program = cache() / "floor" / f"{name}-{hashlib.sha256(b''.join(parts)).hexdigest()[:16]}"
    if not program.exists():
        program.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([compiler, *FLAGS, "-o", program, source, *options], check=True)
    return program


def _libpq() -> tuple[str, str]:
    """libpq's include and library folders; installs Debian's package when it may."""
    found = _look_for_libpq()
    if found is None and shutil.which("apt-get") and os.geteuid() == 0:
        say("bench: installing libpq-dev")
        for words in (("update", "-qq"), ("install", "-y", "-qq", "libpq-dev")):
            subprocess.run(["apt-get", *words], stdout=sys.stderr, check=False)
        found = _look_for_libpq()
    if found is None:
        raise SetupError(
            "libpq's headers are missing, and a missing peer fails the run: apt-get install libpq-dev"
        )
    return found


def _look_for_libpq() -> tuple[str, str] | None:
    tool = shutil.which("pg_config")
    if tool is None:
        return None
    asked = subprocess.run([tool, "--includedir", "--libdir"], capture_output=True, text=True, check=True)
    include, library = asked.stdout.split("\n")[:2]
    return (include, library) if (Path(include) / "libpq-fe.h").exists() else None
