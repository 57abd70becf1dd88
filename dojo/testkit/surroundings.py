"""What is set in a shell for programs of its owner, and what of it a run of tests sees.

`./kata` keeps most settings of Python away from the tool itself. Those of pytest are left for
`kata test`, which is pytest; a run that the tool makes must come out the same in any shell.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

# Of encodings, and of where modules are looked for and kept compiled: what comes out is the same.
_HARMLESS = (
    "PYTHONCOERCECLOCALE",
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONIOENCODING",
    "PYTHONPATH",
    "PYTHONPYCACHEPREFIX",
    "PYTHONUNBUFFERED",
    "PYTHONUTF8",
)

# What tar, compressors and the C library take from whoever calls them, and so does a mydocker.
_FOR_PROGRAMS = (
    *("TAR_OPTIONS", "GZIP", "BZIP", "BZIP2", "XZ_OPT", "XZ_DEFAULTS", "ZSTD_CLEVEL"),
    *("POSIXLY_CORRECT", "LANG", "LANGUAGE"),
)
_OF_PROGRAMS = ("LC_", "MYDOCKER_")  # how names of more such variables begin

_FOR_OTHERS = ("PYTEST_", "PYTHON", "POSIXLY_CORRECT", "TAR_OPTIONS")


def for_tests(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment without what is set for other runs of pytest, and for other programs.

    PYTEST_ADDOPTS=-x would end a check at the first failure, PYTHONWARNINGS=error before it, and
    with TAR_OPTIONS a test would read another tar than there is.
    """
    return {
        name: value
        for name, value in environment.items()
        if name in _HARMLESS or not name.startswith(_FOR_OTHERS)
    }


def clear_for_tests() -> None:
    """Make this process's environment such a one, for pytest in here and all that it starts."""
    for name in os.environ.keys() - for_tests(os.environ).keys():
        del os.environ[name]


@contextmanager
def without_those_of_programs() -> Iterator[None]:
    """Keep what the owner of this shell has set for tar and others from those that tests call.

    The program under test has an environment of its own anyway, see `Mydocker.env`.
    """
    before = {
        name: value
        for name, value in os.environ.items()
        if name in _FOR_PROGRAMS or name.startswith(_OF_PROGRAMS)
    }
    for name in before:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(before)
