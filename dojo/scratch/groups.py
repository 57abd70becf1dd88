"""The cgroups of a test host: a group of its own in each hierarchy of this machine.

Inside, a cgroup namespace makes that group the top of what is visible. So what a test makes there
lies below a directory that is known out here: nothing of it can be missed, and nothing of the
machine's own groups can be touched.
"""

import contextlib
import functools
import itertools
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from dojo.scratch import devices

PROCESSES_MOST = 600  # of all processes of one test together: a fork bomb ends here
CONTROLLERS = ("cpu", "cpuset", "io", "memory", "pids")  # of version 2, as far as they are there
LEAF = "host"  # on version 2: where the host's own processes sit, so that the top has none
PREFIX = "kata-"
REMOVE_SECONDS = 10.0


NO_LIMIT_V1 = 1 << 62  # version 1 says "no limit" with a number near 2**63


@dataclass(frozen=True)
class Limits:
    """What the kernel holds a process to, read from its groups; None where there is no limit.

    memory: bytes. memory_and_swap: bytes of both together. cpu_weight: the weight beside others,
    1.0 for the default. cpus: as the kernel spells them. pids: processes and threads.
    """

    memory: int | None
    memory_and_swap: int | None
    cpu_weight: float
    cpus: str
    pids: int | None


def limits_of(pid: int) -> Limits:
    """Raises FileNotFoundError if the process has ended."""
    groups = groups_of(pid)
    return Limits(
        memory=_limit(groups["memory"], "memory.limit_in_bytes", "memory.max"),
        memory_and_swap=_memory_and_swap(groups["memory"]),
        cpu_weight=_cpu_weight(groups["cpu"]),
        cpus=_effective_cpus(groups["cpuset"]),
        pids=_limit(groups["pids"], "pids.max", "pids.max"),
    )


def groups_of(pid: int) -> dict[str, Path]:
    """The directory of a process's group, for each controller."""
    points = {}
    for hierarchy in hierarchies():
        key = "" if hierarchy.version == 2 else hierarchy.data
        points[key.removeprefix("none,")] = hierarchy
    found: dict[str, Path] = {}
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers in points:
            hierarchy = points[controllers]
            for controller in hierarchy.controllers:
                found[controller] = hierarchy.point / path.lstrip("/")
    return found


def _limit(group: Path, version_1: str, version_2: str) -> int | None:
    text = _text(group, version_1, version_2)
    return None if text == "max" or int(text) > NO_LIMIT_V1 else int(text)


def _memory_and_swap(group: Path) -> int | None:
    if (group / "memory.memsw.limit_in_bytes").exists():
        return _limit(group, "memory.memsw.limit_in_bytes", "")
    if (group / "memory.swap.max").exists():
        memory, swap = _limit(group, "", "memory.max"), _limit(group, "", "memory.swap.max")
        return None if memory is None or swap is None else memory + swap
    return _limit(group, "memory.limit_in_bytes", "memory.max")  # this kernel has no swap


def _cpu_weight(group: Path) -> float:
    if (group / "cpu.shares").exists():
        return int((group / "cpu.shares").read_text()) / 1024
    if (group / "cpu.weight").exists():
        return int((group / "cpu.weight").read_text()) / 100
    return 1.0  # a v2 group that the controller was not handed to


def _effective_cpus(group: Path) -> str:
    """Those of the next group upwards that has the controller: on v2 only some are handed it."""
    for place in (group, *group.parents):
        cpus = _text(place, "cpuset.effective_cpus", "cpuset.cpus.effective")
        if cpus != "max":
            return cpus
    return "max"


def _text(group: Path, version_1: str, version_2: str) -> str:
    """The content of the file that this version has; a v2 group without it has no limit."""
    for name in (version_1, version_2):
        if name and (group / name).is_file():
            return (group / name).read_text().strip()
    return "max"


@dataclass(frozen=True)
class Hierarchy:
    """A cgroup hierarchy: where it is mounted, and how to mount it again."""

    point: Path
    version: int
    data: str

    @property
    def controllers(self) -> list[str]:
        if self.version == 1:
            return self.data.split(",")
        return (self.point / "cgroup.controllers").read_text().split()


def hierarchies() -> list[Hierarchy]:
    """The hierarchies that are mounted below /sys/fs/cgroup, each of them once."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        place, _, kind = line.partition(" - ")
        point = Path(place.split()[4])
        file_system, _, options = kind.split(" ", 2)
        if file_system == "cgroup2" and point.is_relative_to("/sys/fs/cgroup"):
            found.append(Hierarchy(point, 2, ""))
        elif file_system == "cgroup" and point.is_relative_to("/sys/fs/cgroup"):
            named = [option for option in options.split(",") if option.startswith("name=")]
            listed = [name for name in options.split(",") if name in _version_1_controllers()]
            found.append(Hierarchy(point, 1, ",".join(["none", *named] if named else listed)))
    return list(dict.fromkeys(found))


def _version_1_controllers() -> set[str]:
    lines = Path("/proc/cgroups").read_text().splitlines()
    return {line.split()[0] for line in lines if not line.startswith("#")}


@functools.cache
def _hierarchies_at_first() -> list[Hierarchy]:
    """Those that were there for the first host: they stay as they are while tests run."""
    return hierarchies()


@dataclass
class Groups:
    """The groups of one test host.

    Raises OSError where the kernel does not let us make them.
    """

    name: str
    hierarchies: list[Hierarchy] = field(default_factory=_hierarchies_at_first)

    def make(self, *, with_all_devices: bool = True) -> None:
        """with_all_devices: or only with those that are in every container."""
        for hierarchy in self.hierarchies:
            group = self.directory(hierarchy)
            if hierarchy.version == 2:
                _hand_down(hierarchy)
            group.mkdir()
            if "cpuset" in hierarchy.controllers and hierarchy.version == 1:
                for file in ("cpuset.cpus", "cpuset.mems"):
                    (group / file).write_text((hierarchy.point / file).read_text())
            if (group / "pids.max").exists():
                (group / "pids.max").write_text(str(PROCESSES_MOST))
            if not with_all_devices:
                devices.allow_harmless_ones(group)
            if hierarchy.version == 2:
                (group / LEAF).mkdir()

    def directory(self, hierarchy: Hierarchy) -> Path:
        return hierarchy.point / self.name

    def directories(self) -> list[Path]:
        return [self.directory(hierarchy) for hierarchy in self.hierarchies]

    def doors(self) -> list[str]:
        """Files that take a process with one thread, which is to be in the groups.

        To move a process by cgroup.procs, the kernel first waits until no CPU forks or execs; by
        tasks, which version 1 has, it moves a thread at once.
        """
        names = {1: "tasks", 2: "cgroup.procs"}
        return [f"{self.directory(h)}/{names[h.version]}" for h in self.hierarchies]

    def door_of_the_leaf(self) -> str | None:
        """Where the processes of the host sit on version 2."""
        second = (self.directory(h) / LEAF for h in self.hierarchies if h.version == 2)
        return next((f"{leaf}/cgroup.procs" for leaf in second), None)

    def mounts(self) -> list[tuple[str, str, str]]:
        """What to mount inside: (mount point, file system, data)."""
        made = [
            (str(h.point), "cgroup" if h.version == 1 else "cgroup2", h.data)
            for h in self.hierarchies
        ]
        one_of_all = [h.point for h in self.hierarchies] == [Path("/sys/fs/cgroup")]
        return made if one_of_all else [("/sys/fs/cgroup", "tmpfs", "mode=755"), *made]

    def below(self) -> set[str]:
        """The groups that were made inside: "memory/mydocker-1f…", by hierarchy and path."""
        found = set()
        for hierarchy in self.hierarchies:
            top = self.directory(hierarchy)
            for folder, directories, _ in os.walk(top):
                for name in directories:
                    path = Path(folder, name).relative_to(top)
                    if path != Path(LEAF) or hierarchy.version == 1:
                        found.add(f"{hierarchy.point.relative_to('/sys/fs')}/{path}")
        return found

    def remove(self) -> None:
        """Kill what is left in the groups and remove them. Raises TimeoutError if one stays."""
        for directory in self.directories():
            remove_group(directory)


def remove_group(top: Path) -> None:
    deadline = time.monotonic() + REMOVE_SECONDS
    while not _is_removed(top):
        for folder, _, _ in os.walk(top, topdown=False):
            for pid in _processes_in(Path(folder)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(OSError):
                os.rmdir(folder)
        if not top.exists():
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"the cgroup {top} cannot be removed: it is still in use")
        time.sleep(0.001)


def _is_removed(group: Path) -> bool:
    """Remove a group that is empty. Returns whether it is gone."""
    try:
        group.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def remove_stale() -> None:
    """Remove the groups of test runs that were killed, and the processes in them."""
    for hierarchy in hierarchies():
        for group in hierarchy.point.glob(f"{PREFIX}*-*-*"):
            pid, started = group.name.removeprefix(PREFIX).split("-")[:2]
            if start_time(int(pid)) != started:
                remove_group(group)


_COUNT = itertools.count(1)


def unique_names() -> Iterator[str]:
    """Names that say which process they belong to: its PID, its start time, a count."""
    pid = os.getpid()
    started = start_time(pid)
    while True:
        yield f"{PREFIX}{pid}-{started}-{next(_COUNT)}"


def start_time(pid: int) -> str | None:
    """When a process began, in clock ticks since the boot; None if there is none of that PID."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return stat.rpartition(")")[2].split()[19]


def _processes_in(group: Path) -> list[int]:
    try:
        return [int(pid) for pid in (group / "cgroup.procs").read_text().split()]
    except OSError:
        return []


def _hand_down(hierarchy: Hierarchy) -> None:
    control = hierarchy.point / "cgroup.subtree_control"
    there = set(hierarchy.controllers) - set(control.read_text().split())
    for controller in CONTROLLERS:
        if controller in there:
            control.write_text(f"+{controller}")
