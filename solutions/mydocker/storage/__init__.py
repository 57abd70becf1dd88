"""Storage drivers: each can lay a directory that is written to over one that stays as it is."""

import os
from types import ModuleType

from mydocker import linux
from mydocker.errors import FAILED, MydockerError
from mydocker.storage import aufs, overlay

# By the name of the kernel's file system; the first that is there is the default.
DRIVERS = {"overlay": overlay, "aufs": aufs}


def choose() -> str:
    """The driver that MYDOCKER_STORAGE_DRIVER names. Raises MydockerError where it is not there."""
    wanted = os.environ.get("MYDOCKER_STORAGE_DRIVER") or "auto"
    there = [name for name in DRIVERS if linux.has_file_system(name)]
    if wanted == "auto" and there:
        return there[0]
    if wanted not in there:
        known = " and ".join(there) or "none"
        raise MydockerError(f"storage driver '{wanted}'", f"unsupported; available: {known}")
    return wanted


def known(name: str) -> ModuleType:
    """The driver of that name. Raises MydockerError for what a record should not say."""
    if name not in DRIVERS:
        raise MydockerError(f"storage driver '{name}'", "mydocker has none of that name", FAILED)
    return DRIVERS[name]
