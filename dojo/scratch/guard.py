"""What a program on a test host must not mount: what would reach the whole machine.

Namespaces are no wall against root. There is one devtmpfs, one debugfs, one binfmt_misc, whoever
mounts it; a disk is a disk; and a remount can make the machine's own files writable again, or all
of a disk read-only. So programs ask before they mount, see `crash_points`, and get EPERM for these.
It is against mistakes, not against malice: root has other ways to harm a machine.
"""

import errno
import os
import re
import threading
from pathlib import Path

from dojo.scratch import notifications
from dojo.scratch.changes import text_at

CALLS = "mount fsopen fspick mount_setattr"
# Each mount of these is one of its own, or shows what belongs to the namespaces of who mounts it.
OF_ONES_OWN = (
    *("proc", "sysfs", "tmpfs", "ramfs", "devpts", "mqueue", "overlay", "aufs"),
    *("cgroup", "cgroup2", "hugetlbfs"),
)
# sys/mount.h, linux/mount.h
MS_RDONLY, MS_REMOUNT, MS_BIND = 1, 0x20, 0x1000
OTHER_THAN_NEW = MS_BIND | 0x2000 | 0x20000 | 0x40000 | 0x80000 | 0x100000  # move, propagation
MOUNT_ATTR_RDONLY = 1
AT_FDCWD = -100


class Guard:
    """Answers the programs of one test host.

    groups: the options of the machine's hierarchies of cgroup v1. refused: what was, as sentences.
    """

    def __init__(self, groups: list[str]) -> None:
        self.refused: list[str] = []
        self._kinds = {line.split()[-1] for line in _lines("/proc/filesystems")}
        self._groups = [set(options.split(",")) for options in groups]

    def begin(self) -> int:
        """Answer from now on. Returns a socket for the listener of the programs."""
        ours, theirs = notifications.door()
        threading.Thread(target=self._answer_all, args=(ours,), daemon=True).start()
        return theirs

    def _answer_all(self, door: int) -> None:
        for listener, names in notifications.listeners(door):
            while notifications.wait_for(listener):
                for each in notifications.received(listener):
                    notifications.answer(listener, each, self.error_for(each, names[each.number]))

    def error_for(self, asked: notifications.Asked, name: str) -> int:
        """The number of the error that a system call is to end with; 0 if it may be made."""
        why = self._why_not(asked.pid, name, asked.arguments)
        if why:
            self.refused.append(why)
        return errno.EPERM if why else 0

    def _why_not(self, pid: int, name: str, arguments: tuple[int, ...]) -> str:
        if name == "mount":
            flags = arguments[3]
            if flags & MS_REMOUNT:
                return self._why_no_remount(pid, AT_FDCWD, text_at(pid, arguments[1]), flags)
            if flags & OTHER_THAN_NEW:
                return ""
            return self._why_no_mount(text_at(pid, arguments[2]), text_at(pid, arguments[4]))
        if name == "fsopen":
            return self._why_no_mount(text_at(pid, arguments[0]), None)
        path = text_at(pid, arguments[1])
        if name == "fspick":
            return self._why_no_remount(pid, arguments[0], path, MS_REMOUNT)
        cleared = int.from_bytes(notifications.memory(pid, arguments[3] + 8, 8), "little")
        if cleared & MOUNT_ATTR_RDONLY:
            return self._why_no_remount(pid, arguments[0], path, MS_BIND)
        return ""

    def _why_no_mount(self, kind: str, options: str | None) -> str:
        if kind == "cgroup":
            mine = set((options or "").split(",")) - {"", "rw", "ro", "relatime"}
            known = any(mine == each for each in self._groups) or (options is None and self._groups)
            return (
                "" if known else f"mount -t cgroup -o {options}: a new hierarchy is for all of it"
            )
        if kind not in self._kinds or kind in OF_ONES_OWN:  # or the kernel refuses it
            return ""
        return f"mount -t {kind}: what it shows is all of the machine's"

    def _why_no_remount(self, pid: int, directory: int, path: str, flags: int) -> str:
        mount = _mount_at(pid, directory, path)
        if mount is None or mount[2] not in _devices_of_the_machine():
            return ""
        if not flags & MS_BIND:
            return f"remount of {path}: without MS_BIND, it is one of all mounts of that disk"
        if not flags & MS_RDONLY and "ro" in mount[5].split(","):
            return f"remount of {path}: these files of the machine would be writable"
        return ""


def _devices_of_the_machine() -> set[str]:
    """The device numbers of what is mounted now: a number that is free again is given anew."""
    return {line.split()[2] for line in _lines("/proc/self/mountinfo")}


def _mount_at(pid: int, directory: int, path: str) -> list[str] | None:
    """The fields of the line of mountinfo for the mount that a path of a process leads to."""
    low = directory & 0xFFFFFFFF
    here = "cwd" if low == AT_FDCWD & 0xFFFFFFFF else f"fd/{low}"
    try:
        there = f"/proc/{pid}/root{path}" if path.startswith("/") else f"/proc/{pid}/{here}/{path}"
        handle = os.open(there, os.O_PATH | os.O_CLOEXEC)
        try:
            told = Path(f"/proc/self/fdinfo/{handle}").read_text()
        finally:
            os.close(handle)
        found = re.search(r"^mnt_id:\s*(\d+)$", told, re.MULTILINE)
        lines = [line.split() for line in _lines(f"/proc/{pid}/mountinfo")]
    except OSError:  # the kernel will find nothing there either
        return None
    return next((line for line in lines if found and line[0] == found[1]), None)


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()
