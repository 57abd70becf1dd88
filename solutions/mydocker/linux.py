"""The system calls that Python has no function for, or none that will do, named as in man pages.

Every failure is an OSError: `errno` and `strerror` are the kernel's, and `filename` says what was
being tried, so that the message to the user can name it. The constants are those of the C headers.
"""

import ctypes
import errno
import fcntl
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


def setns(namespace: int, kind: int) -> None:
    """Move the calling thread into a namespace, by a descriptor of it: setns(2).

    In another mount namespace, the working directory and the root are that one's.
    """
    done(_libc.setns(namespace, kind), f"setns({names_of(kind, 'CLONE_')})")


def mount(source: str | None, target: str, kind: str | None, flags: int, data: str = "") -> None:
    """Mount a file system of that kind, or change the mount that is there: mount(2)."""
    encoded = [None if text is None else os.fsencode(text) for text in (source, target, kind)]
    done(
        _libc.mount(*encoded, ctypes.c_ulong(flags), os.fsencode(data)),
        f"mount({source}, {target}, {kind}, {names_of(flags, 'MS_')}, '{data}')",
    )


def umount2(target: str, flags: int) -> None:
    """Unmount what is mounted there: umount2(2)."""
    done(_libc.umount2(os.fsencode(target), flags), f"umount2({target}, {names_of(flags, 'MNT_')})")


def pivot_root(new_root: str, put_old: str) -> None:
    """Make a mount the root of this mount namespace, and put the old root elsewhere: pivot_root(2).

    With "." for both, the old root comes to lie over the new one, to be unmounted from there.
    """
    done(
        _libc.pivot_root(os.fsencode(new_root), os.fsencode(put_old)),
        f"pivot_root({new_root}, {put_old})",
    )


def open_tree(path: str, flags: int) -> int:
    """A descriptor of the mount at a path; with OPEN_TREE_CLONE of a copy: open_tree(2).

    With AT_RECURSIVE the mounts below it are copied along. The copy is mounted nowhere.
    """
    return done(
        _libc.syscall(SYS_OPEN_TREE, AT_FDCWD, os.fsencode(path), ctypes.c_uint(flags)),
        f"open_tree({path})",
    )


def move_mount(tree: int, target: str) -> None:
    """Mount what open_tree has copied on a path: move_mount(2)."""
    destination = (AT_FDCWD, os.fsencode(target), MOVE_MOUNT_F_EMPTY_PATH)
    done(_libc.syscall(SYS_MOVE_MOUNT, tree, b"", *destination), f"move_mount(to {target})")


def has_file_system(kind: str) -> bool:
    """Whether the kernel can mount file systems of that kind; loads its module, if there is one."""
    try:
        context = done(_libc.syscall(SYS_FSOPEN, kind.encode(), FSOPEN_CLOEXEC), f"fsopen({kind})")
    except OSError as error:
        if error.errno == errno.ENODEV:
            return False
        raise
    os.close(context)
    return True


def syncfs(directory: str) -> None:
    """Write what the file system of a directory still holds in memory to the disk: syncfs(2)."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        done(_libc.syncfs(handle), f"syncfs({directory})")
    finally:
        os.close(handle)


def sethostname(name: str) -> None:
    """Set the name of this UTS namespace: sethostname(2)."""
    done(_libc.sethostname(name.encode(), len(name)), f"sethostname({name})")


def prctl(option: int, value: int) -> None:
    """Change an attribute of the calling process: prctl(2)."""
    done(
        _libc.prctl(option, ctypes.c_ulong(value), *[ctypes.c_ulong(0)] * 3),
        f"prctl({names_of(option, 'PR_')}, {value})",
    )


def set_interface_up(name: str) -> None:
    """Bring a network interface up: SIOCSIFFLAGS of netdevice(7). Any socket does as the handle."""
    handle = done(
        _libc.socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), "socket(AF_INET, SOCK_DGRAM)"
    )
    try:
        request = name.encode().ljust(IFNAMSIZ, b"\0") + IFF_UP.to_bytes(2, "little")
        fcntl.ioctl(handle, SIOCSIFFLAGS, request.ljust(SIZEOF_IFREQ, b"\0"))
        step(f"set interface {name} up")
    except OSError as error:
        raise OSError(error.errno, error.strerror, f"set interface {name} up") from error
    finally:
        os.close(handle)


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
