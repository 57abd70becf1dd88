"""The system calls that Python has no function for, under the names of their man pages.

Every failure is an OSError: `errno` and `strerror` are the kernel's, and `filename` says what was
being tried, so that the message to the user can name it.
"""

import ctypes
import os

# linux/sched.h, see namespaces(7)
CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

_libc = ctypes.CDLL(None, use_errno=True)


def unshare(flags: int) -> None:
    """Give the calling process new namespaces, one for each CLONE_NEW* flag: unshare(2).

    With CLONE_NEWPID it is not the caller but its next child that is in the new namespace.
    """
    if _libc.unshare(flags) == -1:
        raise failure(f"unshare({names_of(flags, 'CLONE_')})")


def failure(tried: str) -> OSError:
    """The OSError for the system call that has just returned -1."""
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), tried)


def names_of(flags: int, prefix: str) -> str:
    """The flags by name, as a person would write them: "CLONE_NEWNS|CLONE_NEWUTS"."""
    constants = {name: value for name, value in globals().items() if name.startswith(prefix)}
    return "|".join(name for name, value in constants.items() if flags & value)
