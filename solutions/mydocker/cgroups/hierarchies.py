"""Which cgroup hierarchies this machine has, and which controllers are in each.

Version 1 has a hierarchy for each controller or for a few of them, version 2 one for all. A machine
can have both at the same time ("hybrid"), a controller is then in one of the two.
"""

import os

from mydocker.cgroups.files import read
from mydocker.cgroups.v1 import HierarchyV1
from mydocker.cgroups.v2 import HierarchyV2

CONTROLLERS = frozenset(("memory", "cpu", "cpuset", "pids"))

Hierarchy = HierarchyV1 | HierarchyV2


def mounted(mountinfo: str = "/proc/self/mountinfo") -> list[Hierarchy]:
    """The hierarchies with a controller of ours, as mountinfo lists them: see proc(5).

    Each of them once, however often it is mounted, and from where most of it is seen. A machine
    with version 2 alone has it returned even where it has no such controller: a container has a
    group of its own there all the same.
    """
    found: dict[object, Hierarchy] = {}
    places = [line.split(" - ") for line in read(mountinfo).splitlines() if " - cgroup" in line]
    for place, kind in sorted(places, key=lambda line: len(line[0].split()[3])):
        top = unescaped(place.split()[4])
        file_system, _, options = kind.split(" ", 2)
        if not os.path.exists(f"{top}/cgroup.procs"):
            continue  # covered by another mount
        if file_system == "cgroup":
            of_ours = CONTROLLERS.intersection(options.split(","))
            found.setdefault(of_ours, HierarchyV1(top, of_ours))
        elif file_system == "cgroup2":
            there = read(f"{top}/cgroup.controllers").split()
            found.setdefault(file_system, HierarchyV2(top, CONTROLLERS.intersection(there)))
    return [each for each in found.values() if each.controllers] or list(found.values())


def unescaped(path: str) -> str:
    """A path of mountinfo, where blanks, tabs, newlines and backslashes stand in octal."""
    for octal, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        path = path.replace(octal, character)
    return path
