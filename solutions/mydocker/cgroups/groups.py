"""The control group of a container: one directory in each hierarchy."""

import contextlib
import errno
import os
import signal
import time

from mydocker import pidfd
from mydocker.cgroups.files import remove_tree
from mydocker.cgroups.hierarchies import Hierarchy, mounted
from mydocker.cgroups.limits import Limits, write_cpus
from mydocker.errors import MydockerError
from mydocker.files import read

UNSEEN_SECONDS = 2.0  # for what was killed there to end


class Group:
    """A container's group: a directory in each hierarchy."""

    def __init__(self, name: str, hierarchies: list[Hierarchy]) -> None:
        self.directories = {f"{hierarchy.top}/{name}": hierarchy for hierarchy in hierarchies}

    def make(self, limits: Limits) -> None:
        for directory, hierarchy in self.directories.items():
            hierarchy.make(directory, limits)

    def join(self) -> None:
        """Move the calling process in, which has one thread; its children are born inside."""
        for directory, hierarchy in self.directories.items():
            hierarchy.join(directory)

    def doors(self) -> list[int]:
        """Descriptors through which the group can be entered where its directories are not seen."""
        return [
            os.open(f"{directory}/{hierarchy.door}", os.O_WRONLY)
            for directory, hierarchy in self.directories.items()
        ]

    @staticmethod
    def enter(doors: list[int]) -> None:
        """Move the calling process in, which has one thread."""
        for door in doors:
            os.write(door, b"0")

    def end(self) -> None:
        """Kill what is left in the group, wait until all of it has ended, and remove the group.

        Raises TimeoutError where that is in another PID namespace, and lives: its PID is 0 here.
        """
        deadline = time.monotonic() + UNSEEN_SECONDS
        while left := self.processes():
            if left == [0] and time.monotonic() > deadline:
                why = "something of it runs in another PID namespace"
                raise TimeoutError(errno.ETIMEDOUT, why, "end the group")
            for pid in left:
                self.kill(pid)
            time.sleep(0.001)
        self.remove()

    def processes(self) -> list[int]:
        """The PIDs in the group and in those below it."""
        found: set[int] = set()
        for top in self.directories:
            for path, _, _ in os.walk(top):
                with contextlib.suppress(FileNotFoundError):
                    found.update(int(pid) for pid in read(f"{path}/cgroup.procs").split())
        return sorted(found)

    def kill(self, pid: int) -> None:
        """Kill a process, if it is one of the group's: its PID may be a stranger's by now."""
        with contextlib.suppress(ProcessLookupError):
            process = pidfd.of(pid)
            try:
                if pid in self.processes():
                    signal.pidfd_send_signal(process, signal.SIGKILL)
            finally:
                os.close(process)

    def remove(self) -> None:
        """Remove the group and those that its processes made in it; all of them have ended."""
        for directory in self.directories:
            remove_tree(directory)


def create(name: str, limits: Limits) -> Group:
    """Make a group of that name with these limits, at the top of what is visible.

    Raises MydockerError where this machine cannot hold a limit, OSError where the kernel refuses
    one; then nothing of the group is left.
    """
    hierarchies = mounted()
    refuse_what_cannot_hold(limits, hierarchies)
    with contextlib.ExitStack() as undo:
        group = Group(name, hierarchies)
        undo.callback(group.remove)
        group.make(limits)
        undo.pop_all()
    return group


def find(name: str) -> Group:
    """The group of that name; it may be gone."""
    return Group(name, mounted())


def refuse_what_cannot_hold(limits: Limits, hierarchies: list[Hierarchy]) -> None:
    for controller in limits.controllers():
        if not any(controller in hierarchy.controllers for hierarchy in hierarchies):
            raise MydockerError(
                f"limit {controller}", "the kernel offers no such cgroup controller"
            )
    for hierarchy in hierarchies:
        if limits.cpus and "cpuset" in hierarchy.controllers:
            there = hierarchy.available_cpus()
            missing = write_cpus(limits.cpus - there)
            if missing:
                why = f"not there, the machine has {write_cpus(there)}"
                raise MydockerError(f"run --cpuset-cpus '{missing}'", why)
