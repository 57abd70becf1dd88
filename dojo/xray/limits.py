"""What a container may use, and uses, from its control groups. See cgroups(7)."""

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from dojo.errors import KataError
from dojo.scratch import groups
from dojo.xray import kernel

NO_LIMIT_V1 = 1 << 62  # version 1 says "no limit" with a number near 2**63
DEFAULT_WEIGHT = {"cpu.shares": 1024, "cpu.weight": 100}


@dataclass(frozen=True)
class Limit:
    """limit, use: memory in bytes, processes by number; None where there is none or it is not told.

    group: the path of the group in its hierarchy.
    """

    what: str
    limit: int | None
    use: int | None
    group: str

    @property
    def share(self) -> float | None:
        """How much of the limit is used, from 0 to 1."""
        if self.limit is None or self.use is None:
            return None
        return min(1.0, self.use / self.limit) if self.limit else 1.0


@dataclass(frozen=True)
class Groups:
    """is_own: whether it has a group that no process outside is in. paths: of its groups, by
    controller, as /proc/PID/cgroup has them.

    cpu_weight: beside others, 1.0 is the default. cpu_setting: what this was read from, such as
    "shares 1024" or, in version 2, "weight 100"; empty where the controller is not its own. cpus:
    those it may run on, as the kernel spells them; all_cpus: those that the looker may. cpu_most:
    how many CPUs' time at most, None where there is no quota. cpu_seconds: what it has used so far,
    None where that is not counted.
    """

    is_own: bool
    paths: dict[str, str]
    limits: tuple[Limit, ...] = ()
    cpu_weight: float = 1.0
    cpu_setting: str = ""
    cpus: str = ""
    all_cpus: str = ""
    cpu_most: float | None = None
    cpu_seconds: float | None = None

    @property
    def limited(self) -> tuple[str, ...]:
        """What there is a limit of, in words."""
        found = [each.what for each in self.limits if each.limit is not None]
        if abs(self.cpu_weight - 1.0) > 0.01 or self.cpu_most is not None:
            found.append("CPU time")
        if self.cpus != self.all_cpus:
            found.append("CPUs")
        return tuple(found)


FILES = {
    "memory": (
        ("memory.limit_in_bytes", "memory.max"),
        ("memory.usage_in_bytes", "memory.current"),
    ),
    "pids": (("pids.max",), ("pids.current",)),
}


def groups_of(pid: int, inside: Collection[int]) -> Groups:
    """What limits a container, and how much of it is used. Raises kernel.Ended.

    inside: the PIDs of the container's processes. A group with others in it is whoever's who
    started it: his session's, say.
    """
    paths = kernel.groups(pid)
    try:
        places = groups.groups_of(pid)
    except OSError as error:
        if kernel.is_over(pid):
            raise kernel.Ended(f"process {pid} has ended") from error
        raise KataError(f"xray: the groups of process {pid}: {error.strerror}") from error
    own = {
        controller: place
        for controller, place in places.items()
        if _path(paths, controller) != "/" and _has_only(place, inside)
    }
    if not own:
        return Groups(is_own=False, paths=paths)
    cpu, cpuset = own.get("cpu"), own.get("cpuset")
    cpu_weight, cpu_setting = _weight(cpu) if cpu else (1.0, "")
    all_cpus = _cpus_of_looker()
    return Groups(
        is_own=True,
        paths=paths,
        limits=tuple(_limit(what, own[what], _path(paths, what)) for what in FILES if what in own),
        cpu_weight=cpu_weight,
        cpu_setting=cpu_setting,
        cpus=(_effective_cpus(cpuset) if cpuset else "") or all_cpus,
        all_cpus=all_cpus,
        cpu_most=_quota(cpu) if cpu else None,
        cpu_seconds=_seconds(own.get("cpuacct") or cpu),
    )


def _path(paths: dict[str, str], controller: str) -> str:
    return paths.get(controller, paths.get("", "/"))


def _has_only(group: Path, inside: Collection[int]) -> bool:
    try:
        there = {int(pid) for pid in (group / "cgroup.procs").read_text().split()}
    except OSError:
        return False  # not below what is mounted here: it cannot be said
    return there <= set(inside)


def _limit(what: str, group: Path, path: str) -> Limit:
    names, uses = FILES[what]
    limit = _number(group, names)
    if limit is not None and limit >= NO_LIMIT_V1:
        limit = None
    return Limit(what, limit, _number(group, uses), path)


def _number(group: Path, names: tuple[str, ...]) -> int | None:
    word = _words(group, *names)[:1]
    return int(word[0]) if word and word[0].isdecimal() else None


def _weight(group: Path) -> tuple[float, str]:
    for name, default in DEFAULT_WEIGHT.items():
        number = _number(group, (name,))
        if number is not None:
            return number / default, f"{name.removeprefix('cpu.')} {number}"
    return 1.0, ""  # a group of version 2 that the controller was not handed to


def _quota(group: Path) -> float | None:
    """Version 2 has "QUOTA PERIOD" in a file, version 1 each in its own."""
    words = _words(group, "cpu.max") or [
        *_words(group, "cpu.cfs_quota_us"),
        *_words(group, "cpu.cfs_period_us"),
    ]
    if len(words) != 2 or words[0] in ("max", "-1"):
        return None
    return int(words[0]) / int(words[1])


def _seconds(group: Path | None) -> float | None:
    if group is None:
        return None
    nanoseconds = _number(group, ("cpuacct.usage",))
    if nanoseconds is not None:
        return nanoseconds / 1e9
    words = _words(group, "cpu.stat")
    if "usage_usec" in words:
        return int(words[words.index("usage_usec") + 1]) / 1e6
    return None


def _cpus_of_looker() -> str:
    place = groups.groups_of(os.getpid()).get("cpuset")
    return _effective_cpus(place) if place else ""


def _effective_cpus(group: Path) -> str:
    return " ".join(_words(group, "cpuset.effective_cpus", "cpuset.cpus.effective"))


def _words(group: Path, *names: str) -> list[str]:
    """What the first of these files says that is there; nothing where none is."""
    for name in names:
        try:
            return (group / name).read_text().split()
        except OSError:
            continue
    return []
