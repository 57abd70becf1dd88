"""Control groups, version 2: kernel document admin-guide/cgroup-v2."""

import os

from mydocker.cgroups.limits import SHARES_LEAST, SHARES_MOST, Limits, read_cpus, write_cpus
from mydocker.files import read, write

WEIGHT_LEAST, WEIGHT_MOST = 1, 10000


class HierarchyV2:
    """The one hierarchy: where it is mounted, and which of our controllers it has."""

    door = "cgroup.procs"  # the file that takes whoever is to be in a group

    def __init__(self, top: str, controllers: frozenset[str]) -> None:
        self.top = top
        self.controllers = controllers

    def available_cpus(self) -> frozenset[int]:
        return read_cpus(read(f"{self.top}/cpuset.cpus.effective").strip()) or frozenset()

    def join(self, directory: str) -> None:
        """Move the calling process to a group."""
        write(f"{directory}/{self.door}", "0")

    def make(self, directory: str, limits: Limits) -> None:
        """Make a group with these limits, as far as they are this hierarchy's."""
        self.hand_down(self.controllers & limits.controllers())
        os.mkdir(directory)
        if "memory" in self.controllers and limits.memory is not None:
            write(f"{directory}/memory.max", str(limits.memory))
            if os.path.exists(f"{directory}/memory.swap.max"):  # not in a kernel without swap
                write(f"{directory}/memory.swap.max", "0")
        if "cpu" in self.controllers and limits.cpu_shares is not None:
            write(f"{directory}/cpu.weight", str(weight(limits.cpu_shares)))
        if "cpuset" in self.controllers and limits.cpus is not None:
            write(f"{directory}/cpuset.cpus", write_cpus(limits.cpus))
        if "pids" in self.controllers and limits.pids is not None:
            write(f"{directory}/pids.max", str(limits.pids))

    def hand_down(self, controllers: frozenset[str]) -> None:
        """Let the groups below the top use these controllers; those that can already, go on."""
        control = f"{self.top}/cgroup.subtree_control"
        for controller in sorted(controllers.difference(read(control).split())):
            write(control, f"+{controller}")


def weight(shares: int) -> int:
    """The weight for shares of version 1: both ranges laid on each other, as runc does it."""
    span = (shares - SHARES_LEAST) * (WEIGHT_MOST - WEIGHT_LEAST)
    return WEIGHT_LEAST + span // (SHARES_MOST - SHARES_LEAST)
