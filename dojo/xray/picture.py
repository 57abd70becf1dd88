"""All that an x-ray of one container shows."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from dojo.errors import KataError
from dojo.xray import descriptors, kernel, layers, limits, network, walls
from dojo.xray.descriptors import Descriptor
from dojo.xray.kernel import Environment, Mount, Namespace, Process, Rights
from dojo.xray.layers import Root
from dojo.xray.limits import Groups
from dojo.xray.network import Interface
from dojo.xray.walls import Wall

# An ID in the name of a control group, or of a directory: mydocker's, Docker's, podman's.
ID = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")


@dataclass(frozen=True)
class Mounted:
    """A mount that the container has and the looker has not.

    outside: where the looker sees the same file or directory; None where he does not.
    """

    mount: Mount
    outside: str | None


@dataclass(frozen=True)
class Xray:
    """What the kernel says of a container, all of it at nearly the same moment.

    first: the process that all others come from, PID 1 where it has a PID namespace. identity: the
    id that its groups or its host name carry; empty where none does. starter: the process outside
    that has started it, and monitors it. processes: in the tree's order, with how deep each is.
    """

    first: Process
    identity: str
    hostname: str
    starter: Process | None
    namespaces: tuple[Namespace, ...]
    processes: tuple[tuple[int, Process], ...]
    root: Root
    mounts: tuple[Mounted, ...]
    groups: Groups
    rights: Rights
    environment: Environment
    descriptors: tuple[Descriptor, ...]
    interfaces: tuple[Interface, ...]
    walls: tuple[Wall, ...]


def take(first: Process) -> Xray:
    """Look at a container by its first process. Raises kernel.Ended if it ends meanwhile."""
    pid = first.pid
    namespaces = kernel.namespaces(pid)
    processes = tuple(_tree(first))
    mounts, mine = kernel.mounts(pid), kernel.mounts("self")
    root = layers.root_of(pid, first.parent)
    groups = limits.groups_of(pid, {process.pid for _, process in processes})
    rights = kernel.rights(pid)
    environment = kernel.environment_of(pid, first.parent)
    open_here = descriptors.descriptors(pid, first.parent)
    hostname = kernel.hostname(pid)
    xray = Xray(
        first=first,
        identity=identity_of(pid, hostname),
        hostname=hostname,
        starter=_starter(first),
        namespaces=namespaces,
        processes=processes,
        root=root,
        mounts=tuple(_mounts_of_its_own(mounts, mine)),
        groups=groups,
        rights=rights,
        environment=environment,
        descriptors=open_here,
        interfaces=network.interfaces(pid),
        walls=walls.walls_of(
            namespaces=namespaces,
            proc=kernel.namespace_of_proc(pid),
            shared=_shared(mounts, mine),
            root=root,
            groups=groups,
            environment=environment,
            descriptors=open_here,
            rights=rights,
        ),
    )
    if kernel.is_over(pid) or kernel.process(pid).began != first.began:
        raise kernel.Ended(f"process {pid} has ended")
    return xray


def identity_of(pid: int, hostname: str) -> str:
    """The ID of a container, from its groups or its host name. Raises kernel.Ended.

    The looker may be in a container himself: its ID is not that of those which he looks at.
    """
    mine = set(ID.findall("\n".join(kernel.groups("self").values())))
    for path in kernel.groups(pid).values():
        if found := [identity for identity in ID.findall(path) if identity not in mine]:
            return str(found[-1])
    is_own = kernel.inode_of_namespace(pid, "uts") != kernel.inode_of_namespace("self", "uts")
    return hostname if is_own and re.fullmatch(r"[0-9a-f]{12}", hostname) else ""


def _starter(first: Process) -> Process | None:
    try:
        return kernel.process(first.parent)
    except KataError:
        return None


# Processes -------------------------------------------------------------------------------------


def _tree(first: Process) -> Iterator[tuple[int, Process]]:
    """Those below the first one, and those that were brought in from outside, as by `exec`.

    The latter have their parent out there, but the container's PID namespace.
    """
    there = list(kernel.processes())
    children: dict[int, list[Process]] = {}
    for each in sorted(there, key=lambda process: process.pid, reverse=True):
        children.setdefault(each.parent, []).append(each)
    found = set()

    def below(top: Process) -> Iterator[tuple[int, Process]]:
        waiting = [(0, top)]
        while waiting:
            depth, process = waiting.pop()
            found.add(process.pid)
            yield depth, process
            waiting += [(depth + 1, child) for child in children.get(process.pid, ())]

    yield from below(first)
    inode = pid_namespace(first.pid)
    if inode == pid_namespace("self"):
        return
    brought = [
        process
        for process in there
        if process.pid not in found and pid_namespace(process.pid) == inode
    ]
    tops = {process.pid for process in brought}
    for process in sorted(brought, key=lambda process: process.pid):
        if process.parent not in tops:
            yield from below(process)


def pid_namespace(pid: int | str) -> int:
    """Its inode; 0 where the process has ended."""
    try:
        return kernel.inode_of_namespace(pid, "pid")
    except KataError:
        return 0


# Mounts ----------------------------------------------------------------------------------------


def _mounts_of_its_own(mounts: list[Mount], mine: list[Mount]) -> Iterator[Mounted]:
    """Those that the looker does not have at the same place."""
    here = {(mount.point, mount.device, mount.of) for mount in mine}
    for mount in mounts:
        if (mount.point, mount.device, mount.of) not in here:
            yield Mounted(mount, place_outside(mount, mine))


def place_outside(mount: Mount, mine: list[Mount]) -> str | None:
    """Where the looker sees what a mount shows, by his own mounts; None where he does not."""
    wanted = mount.of.rstrip("/")
    found = ""
    deepest = -1
    for each in mine:
        top = each.of.rstrip("/")
        is_below = wanted == top or wanted.startswith(f"{top}/")
        if each.device == mount.device and is_below and len(top) > deepest:
            deepest = len(top)
            found = each.point.rstrip("/") + wanted[len(top) :] or "/"
    return found or None


def _shared(mounts: list[Mount], mine: list[Mount]) -> tuple[str, ...]:
    """The mount points below which a new mount shows on the looker's side, too."""
    here = {mount.peers for mount in mine if mount.peers is not None}
    return tuple(mount.point for mount in mounts if mount.peers in here)
