"""What a test left behind on its test host.

Leaks are counted, not guessed: what is there is compared with what was there when the host was new.
"""

import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from dojo.scratch import network
from dojo.scratch.host import TestHost

# Which chapter deals with what was left.
DEALT_WITH = {
    "process": "3.1: when PID 1 of a container ends, all of it ends",
    "mount": "3.1: what a container mounts is not seen on the host",
    "host": "3.1: what a container does to its namespaces is not seen on the host",
    "interface": "3.1: a container's network is its own",
    "address": "6.1: nothing is left of a network that was removed, or not made",
    "cgroup": "3.2: a container's group goes when it ends",
    "file": "4.2: nothing of a container is left in the directories of mydocker",
    "record": "5.2: a container with --rm leaves no record",
    "firewall": "part 6: the rules of a container go when it ends",
}

FIRST_GENERATION = 1  # of the firewall of a network in which nobody has set a rule: it has none


@dataclass(frozen=True)
class Leak:
    """kind: a key of DEALT_WITH. what: a sentence that names the thing."""

    kind: str
    what: str

    def __str__(self) -> str:
        return f"{self.what} ({DEALT_WITH[self.kind]})"


@dataclass(frozen=True)
class Snapshot:
    """All that can leak, as it is at one moment."""

    processes: frozenset[str]
    mounts: Counter[str]
    groups: frozenset[str]
    interfaces: frozenset[str]
    addresses: frozenset[str]
    routes: frozenset[str]
    files: frozenset[str]
    firewall: str
    facts: dict[str, object]

    def with_files(self, tops: list[Path]) -> "Snapshot":
        """The same, where these directories and what is in them were there as well."""
        there = {str(top) for top in tops}.union(_files(tops))
        return replace(self, files=self.files | there)


def take(
    host: TestHost, directories: list[Path], networks: Mapping[str, str] | None = None
) -> Snapshot:
    """directories: where mydocker keeps things; all files below them are looked at.

    networks: the ID of each network, by its name, that is there to stay.
    """
    networks = networks or {}
    bridges = {f"br-{identity[:12]}" for identity in networks.values()}
    inside = network.contents(host.pid)
    facts = host.facts()
    untouched = facts.pop("firewall generation") == FIRST_GENERATION
    return Snapshot(
        processes=frozenset(str(process) for process in host.processes()),
        mounts=Counter(_mounts(host)),
        groups=frozenset(host.groups.below()),
        interfaces=frozenset(host.interfaces()) - bridges,
        addresses=_of_others(inside.addresses, bridges),
        routes=_of_others(inside.routes, bridges),
        files=frozenset(_files(directories, networks)),
        firewall="" if untouched else _firewall(host),
        facts=facts,
    )


def compare(before: Snapshot, after: Snapshot) -> list[Leak]:
    """What is there now and was not before, and what is gone."""
    return [
        *_new("process", "{} was left", before.processes, after.processes),
        *(Leak("mount", f"a mount was left: {line}") for line in after.mounts - before.mounts),
        *(Leak("mount", f"a mount is gone: {line}") for line in before.mounts - after.mounts),
        *_new("cgroup", "the cgroup {} was left", before.groups, after.groups),
        *_new("interface", "the interface {} was left", before.interfaces, after.interfaces),
        *_new("interface", "the interface {} is gone", after.interfaces, before.interfaces),
        *_new("address", "the address {} was left", before.addresses, after.addresses),
        *_new("address", "the address {} is gone", after.addresses, before.addresses),
        *_new("address", "the route {} was left", before.routes, after.routes),
        *_new("address", "the route {} is gone", after.routes, before.routes),
        *_new_files(before.files, after.files),
        *_firewall_changes(before.firewall, after.firewall),
        *_fact_changes(before.facts, after.facts),
    ]


def of_containers(directory: Path, kept: set[str], nameless: int) -> list[Leak]:
    """Records that were left of containers with --rm, in each MYDOCKER_ROOT below a directory.

    To `compare` a record is there to stay: only who typed the commands knows which one is not.
    kept: the names of containers without --rm. nameless: how many of these were given none.
    """
    entries = [entry for place in directory.glob("*/containers") for entry in place.iterdir()]
    left = [e for e in sorted(entries) if e.name not in kept and not e.name.startswith(".")]
    if len(left) <= nameless:
        return []
    return [Leak("record", f"{entry} was left, of a container with --rm") for entry in left]


def _new(kind: str, sentence: str, before: frozenset[str], after: frozenset[str]) -> Iterator[Leak]:
    for thing in sorted(after - before):
        yield Leak(kind, sentence.format(thing))


def _new_files(before: frozenset[str], after: frozenset[str]) -> Iterator[Leak]:
    """Each tree once, by its top: an image that was unpacked has some four hundred files."""
    new = after - before
    below = Counter(top for path in new if (top := _top(path, new)) != path)
    for path in sorted(new):
        if _top(path, new) == path:
            more = f", with {below[path]} more in it" if below[path] else ""
            yield Leak("file", f"{path} was left{more}")


def _top(path: str, new: frozenset[str]) -> str:
    while (above := path.rpartition("/")[0]) in new:
        path = above
    return path


def _firewall_changes(before: str, after: str) -> Iterator[Leak]:
    if before != after:
        rules = set(after.splitlines()) ^ set(before.splitlines())
        yield Leak("firewall", f"firewall rules were changed: {'; '.join(sorted(rules)).strip()}")


def _fact_changes(before: dict[str, object], after: dict[str, object]) -> Iterator[Leak]:
    for name, value in before.items():
        if after[name] != value:
            what = "the host's name" if name == "hostname" else f"the host's SysV {name} objects"
            yield Leak("host", f"{what}: {value!r} became {after[name]!r}")


def _mounts(host: TestHost) -> Iterator[str]:
    """Mounts as text that stays the same for as long as the mount does.

    Numbers of mounts and of peer groups are the kernel's own business; that a mount is shared, or
    no longer is, is not.
    """
    for line in host.mountinfo():
        _, _, _, root, point, options, *rest = line.split()
        tail = " ".join(re.sub(r":\d+$", "", word) for word in rest)
        yield f"{point} (of {root}, {options}, {tail})"


def _of_others(things: frozenset[str], interfaces: set[str]) -> frozenset[str]:
    """Addresses or routes that are not on these interfaces."""
    return frozenset(thing for thing in things if not interfaces.intersection(thing.split()))


def _files(directories: list[Path], networks: Mapping[str, str] | None = None) -> Iterator[str]:
    """All files and directories below these, but for what is there to stay."""
    for directory in directories:
        for folder, names, files in os.walk(directory):
            here = Path(folder)
            names[:] = [name for name in names if not _stays(here, name, networks or {})]
            for name in [*names, *files]:
                yield str(here / name)


def _stays(here: Path, name: str, networks: Mapping[str, str]) -> bool:
    """Whether a directory is there to stay: images, and what belongs to a container with a record.

    A container without --rm has a record from 5.2 on, and a layer from 5.7 on, until it is removed.
    networks: those that are there to stay.
    """
    if name == "images":
        return True
    if name == "networks" and (here / "images").is_dir():
        return all(entry.name in networks for entry in (here / name).iterdir())
    if name in OF_THE_PROGRAM and (here / "images").is_dir():
        return not any((here / name).iterdir())
    if name in OF_CONTAINERS:
        # Once there are records, the directories above those of each container are there, too.
        return (here / "containers").is_dir() and not _of_nobody(here, name)
    return here.name in OF_CONTAINERS and (here.parent / "containers" / name).is_dir()


OF_CONTAINERS = ("containers", "writeLayer", "mnt", "work")
# What a program may keep for itself in MYDOCKER_ROOT, as long as it is empty.
OF_THE_PROGRAM = ("layers", "locks", "logs", "run", "state", "tmp")


def _of_nobody(here: Path, name: str) -> bool:
    """Whether there is something in there that belongs to no container with a record."""
    if name == "containers":
        return False  # a record that nobody can read is one, too
    try:
        there = os.listdir(here / name)
    except OSError:
        return False
    return any(not (here / "containers" / entry).is_dir() for entry in there)


def _firewall(host: TestHost) -> str:
    """The nftables rules of the host's network namespace, iptables-nft's among them."""
    nft = shutil.which("nft", path="/usr/sbin:/usr/bin:/sbin:/bin")
    if nft is None:
        return ""
    network = f"--net=/proc/{host.pid}/ns/net"
    listed = subprocess.run(
        ["nsenter", network, nft, "list", "ruleset"], capture_output=True, text=True, check=False
    )
    return listed.stdout
