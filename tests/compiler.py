"""A C compiler, where the machine has one, for programs of the tests' own."""

import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

ABSENT = "gcc is not installed: sudo apt-get install gcc libc6-dev"
NO_HEADERS = "gcc finds no headers of the C library: sudo apt-get install libc6-dev"


def require_compiler(request: pytest.FixtureRequest) -> None:
    """Skip a test that compiles a program where that cannot be; fail it with --strict-lab."""
    reason = lacking()
    if reason is not None:
        if request.config.getoption("--strict-lab"):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)


@cache
def lacking() -> str | None:
    """Why no program can be compiled here, and what to do about it; None if one can."""
    if shutil.which("gcc") is None:
        return ABSENT
    # Debian's gcc comes without these, unless what it recommends is installed, too.
    words = ["gcc", "-E", "-include", "stdio.h", "-xc", "/dev/null"]
    done = subprocess.run(words, capture_output=True, check=False)
    return None if done.returncode == 0 else NO_HEADERS


def compiled(source: Path, directory: Path) -> Path:
    """Compile a program, which must give no cause for a warning. Returns the path to it."""
    program = directory / source.stem
    words = ["gcc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-o", program, source]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return program
