"""Which cgroup hierarchies this machine has, and which controllers are in each.

Version 1 has a hierarchy for each controller or for a few of them, version 2 one for all. A machine
can have both at the same time ("hybrid"), a controller is then in one of the two.
"""

import os

from mydocker.cgroups.v1 import HierarchyV1
from mydocker.cgroups.v2 import HierarchyV2
from mydocker.files import read
from mydocker.mountinfo import mounts

KINDS = ("cgroup", "cgroup2")
CONTROLLERS = frozenset(("memory", "cpu", "cpuset", "pids"))

Hierarchy = HierarchyV1 | HierarchyV2


def mounted(mountinfo: str = "/proc/self/mountinfo") -> list[Hierarchy]:
    """The hierarchies with a controller of ours, as mountinfo lists them: see proc(5).

    Each of them once, however often it is mounted, and from where most of it is seen. A machine
    with version 2 alone has it returned even where it has no such controller: a container has a
    group of its own there all the same.
    """
    found: dict[object, Hierarchy] = {}
    for mount in sorted(mounts(mountinfo), key=lambda mount: len(mount.root)):
        top = mount.point
        if mount.kind not in KINDS or not os.path.exists(f"{top}/cgroup.procs"):
            continue  # of another kind, or covered by another mount
        if mount.kind == "cgroup":
            of_ours = CONTROLLERS.intersection(mount.file_system_options)
            found.setdefault(of_ours, HierarchyV1(top, of_ours))
        elif mount.kind == "cgroup2":
            there = read(f"{top}/cgroup.controllers").split()
            found.setdefault(mount.kind, HierarchyV2(top, CONTROLLERS.intersection(there)))
    return [each for each in found.values() if each.controllers] or list(found.values())
