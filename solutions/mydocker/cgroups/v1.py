"""Control groups, version 1: kernel document admin-guide/cgroup-v1."""

import os

from mydocker.cgroups.limits import Limits, read_cpus, write_cpus
from mydocker.files import read, write


class HierarchyV1:
    """One hierarchy: where it is mounted, and which of our controllers it has."""

    door = "tasks"  # the file that takes whoever is to be in a group

    def __init__(self, top: str, controllers: frozenset[str]) -> None:
        self.top = top
        self.controllers = controllers

    def available_cpus(self) -> frozenset[int]:
        return read_cpus(read(f"{self.top}/cpuset.cpus").strip()) or frozenset()

    def join(self, directory: str) -> None:
        """Move the calling thread to a group.

        To move a whole process, the kernel first waits until no CPU forks or execs: some 10 ms.
        """
        write(f"{directory}/{self.door}", "0")

    def make(self, directory: str, limits: Limits) -> None:
        """Make a group with these limits, as far as they are this hierarchy's."""
        os.mkdir(directory)
        if "cpuset" in self.controllers:
            # A new group has no CPU and no memory node, and nothing can join it before it has.
            for file in ("cpuset.cpus", "cpuset.mems"):
                write(f"{directory}/{file}", read(f"{self.top}/{file}"))
            if limits.cpus is not None:
                write(f"{directory}/cpuset.cpus", write_cpus(limits.cpus))
        if "memory" in self.controllers and limits.memory is not None:
            write(f"{directory}/memory.limit_in_bytes", str(limits.memory))
            close_the_way_to_swap(directory, limits.memory)
        if "cpu" in self.controllers and limits.cpu_shares is not None:
            write(f"{directory}/cpu.shares", str(limits.cpu_shares))
        if "pids" in self.controllers and limits.pids is not None:
            write(f"{directory}/pids.max", str(limits.pids))


def close_the_way_to_swap(directory: str, memory: int) -> None:
    """Let memory and swap together be no more than memory alone."""
    together = f"{directory}/memory.memsw.limit_in_bytes"
    if os.path.exists(together):
        write(together, str(memory))
    else:  # the kernel does not count swap (swapaccount=0), but it can be told to use none
        write(f"{directory}/memory.swappiness", "0")
