"""The system calls with which a program changes something for others, and how one is shown."""

import mmap
import os
from collections.abc import Sequence

# By the name of the call: which of its arguments are paths, and which one is a descriptor.
NOTHING = "clone clone3 fork vfork kill pidfd_send_signal setns unshare sethostname fsopen"
PATH = (
    "mkdir rmdir unlink mknod creat truncate chmod chown lchown setxattr lsetxattr umount2 chroot"
)
PATH_AFTER_DESCRIPTOR = "mkdirat unlinkat mknodat fchmodat fchownat open_tree fspick mount_setattr"
TWO_PATHS = "rename link symlink mount pivot_root"
TWO_PATHS_AFTER_DESCRIPTORS = "renameat renameat2 linkat move_mount"
DESCRIPTOR = """
    write pwrite64 writev sendfile copy_file_range ftruncate fchmod fchown fsetxattr
    fsync fdatasync flock fsmount
"""
PATHS: dict[str, tuple[int, ...]] = {
    **dict.fromkeys([*NOTHING.split(), *DESCRIPTOR.split()], ()),
    **dict.fromkeys(PATH.split(), (0,)),
    **dict.fromkeys(PATH_AFTER_DESCRIPTOR.split(), (1,)),
    **dict.fromkeys(TWO_PATHS.split(), (0, 1)),
    **dict.fromkeys(TWO_PATHS_AFTER_DESCRIPTORS.split(), (1, 3)),
    "symlinkat": (0, 2),
}
OPENS = {"open": 0, "openat": 1}  # where the path is; the flags come after it
LOOKS = "pidfd_open"  # and the opens that change nothing
O_TMPFILE = 0o20000000  # not os.O_TMPFILE: that is O_DIRECTORY as well, and not everywhere
MAKES_OR_EMPTIES = (os.O_CREAT, os.O_TRUNC, O_TMPFILE)


def text(pid: int, name: str, arguments: Sequence[int]) -> str:
    """A system call that a process is in, such as "rename /tmp/new /tmp/old"."""
    paths = (OPENS[name],) if name in OPENS else PATHS.get(name, ())
    shown = [text_at(pid, arguments[each]) for each in paths]
    if name in DESCRIPTOR.split():
        shown.append(what_is_open(pid, arguments[0]))
    return " ".join([name, *filter(None, shown)])


def text_at(pid: int, address: int) -> str:
    """The text in a process's memory up to the first zero byte; empty where there is none."""
    try:
        memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY)
    except OSError:  # it has ended
        return ""
    try:
        page_end = mmap.PAGESIZE - address % mmap.PAGESIZE
        content = os.pread(memory, page_end, address)
        if b"\0" not in content:
            content += os.pread(memory, mmap.PAGESIZE, address + page_end)
        return os.fsdecode(content.partition(b"\0")[0])
    except OSError:
        return ""
    finally:
        os.close(memory)


def what_is_open(pid: int, descriptor: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/fd/{descriptor}")
    except OSError:
        return ""
