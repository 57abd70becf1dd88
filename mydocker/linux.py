"""The system calls that Python has no function for, under the names of their man pages.

Every failure is an OSError: `errno` and `strerror` are the kernel's, and `filename` says what was
being tried, so that the message to the user can name it. The constants are those of the C headers.
"""

import ctypes
import os

from mydocker.trace import step

# linux/sched.h, see namespaces(7)
CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

# linux/mount.h, see mount(2)
MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REMOUNT = 0x20
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MNT_DETACH = 0x2

# linux/mount.h, see fsopen(2); the number of a newer system call is the same on all architectures
SYS_FSOPEN = 430
FSOPEN_CLOEXEC = 0x1

# linux/mount.h and linux/fcntl.h, see open_tree(2) and move_mount(2)
SYS_OPEN_TREE = 428
SYS_MOVE_MOUNT = 429
OPEN_TREE_CLONE = 0x1
OPEN_TREE_CLOEXEC = os.O_CLOEXEC
AT_RECURSIVE = 0x8000
AT_FDCWD = -100
MOVE_MOUNT_F_EMPTY_PATH = 0x4

# linux/prctl.h, see prctl(2)
PR_SET_PDEATHSIG = 1

# linux/sockios.h and linux/if.h, see netdevice(7)
SIOCSIFFLAGS = 0x8914
IFF_UP = 0x1
IFNAMSIZ = 16
SIZEOF_IFREQ = 40
AF_INET = 2
SOCK_DGRAM = 2
SOCK_CLOEXEC = 0o2000000

_libc = ctypes.CDLL(None, use_errno=True)


def unshare(flags: int) -> None:
    """Give the calling process new namespaces, one for each CLONE_NEW* flag: unshare(2).

    With CLONE_NEWPID it is not the caller but its next child that is in the new namespace.
    """
    done(_libc.unshare(flags), f"unshare({names_of(flags, 'CLONE_')})")


def done(result: int, call: str) -> int:
    """What a system call has returned. Raises OSError where that is -1.

    call: what was called, as a person would write it. It is shown if somebody watches.
    """
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), call)
    step(call)
    return result


def names_of(flags: int, prefix: str) -> str:
    """The flags by name, as a person would write them: "CLONE_NEWNS|CLONE_NEWUTS"."""
    constants = {name: value for name, value in globals().items() if name.startswith(prefix)}
    return "|".join(name for name, value in constants.items() if flags & value) or "0"
