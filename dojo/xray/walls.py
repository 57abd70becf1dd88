"""The walls of a container: which are up, which are missing, and which chapter builds each."""

from collections.abc import Collection
from dataclasses import dataclass

from dojo.screens import counted
from dojo.xray.descriptors import Descriptor
from dojo.xray.kernel import CAPABILITIES, Environment, Namespace, Rights
from dojo.xray.layers import Root
from dojo.xray.limits import Groups

LATER = "part 7"  # of the book; no chapter here builds it yet

# With one of these, root in there can become root out here: capabilities(7).
MIGHTY = ("sys_admin", "sys_module", "sys_ptrace", "sys_rawio", "dac_read_search", "bpf")


@dataclass(frozen=True)
class Wall:
    """what: what it is between. chapter: which one builds it. why: what was seen."""

    what: str
    chapter: str
    is_up: bool
    why: str

    @property
    def is_of_a_chapter(self) -> bool:
        return self.chapter != LATER


def walls_of(
    *,
    namespaces: tuple[Namespace, ...],
    proc: int | None,
    shared: Collection[str],
    root: Root,
    groups: Groups,
    environment: Environment,
    descriptors: tuple[Descriptor, ...],
    rights: Rights,
) -> tuple[Wall, ...]:
    """In the order of the chapters.

    proc: the PID namespace that its /proc shows. shared: mount points below which a new mount
    shows outside.
    """
    own = {each.kind: each.is_own for each in namespaces}
    return (
        _of_namespace("hostname", "uts", own),
        _of_namespace("process numbers", "pid", own),
        _of_proc(proc, namespaces),
        _of_mounts(own["mnt"], shared),
        _of_namespace("network", "net", own),
        _of_namespace("System V IPC", "ipc", own),
        _of_limits(groups),
        _of_descriptors(descriptors),
        _of_root(root),
        _of_layers(root),
        _of_environment(environment),
        _of_namespace("view of groups", "cgroup", own, LATER),
        _of_capabilities(rights, own["user"]),
        _of_system_calls(rights),
        _of_users(rights, own["user"]),
    )


def _of_namespace(what: str, kind: str, own: dict[str, bool], chapter: str = "3.1") -> Wall:
    is_own = own.get(kind, False)
    why = f"{kind} namespace of its own" if is_own else f"the host's {kind} namespace"
    return Wall(what, chapter, is_own, why)


def _of_proc(proc: int | None, namespaces: tuple[Namespace, ...]) -> Wall:
    (own,) = [each for each in namespaces if each.kind == "pid"]
    if proc is None:
        return Wall("/proc", "3.1", True, "it has none, so it shows nothing")
    if proc == own.host:
        return Wall("/proc", "3.1", False, "the host's: shows every process of the host")
    if proc != own.inode:
        return Wall("/proc", "3.1", False, "shows the processes of another PID namespace")
    return Wall("/proc", "3.1", True, "shows its own processes")


def _of_mounts(is_own: bool, shared: Collection[str]) -> Wall:
    if not is_own:
        return Wall("mounts", "3.1", False, "the host's mnt namespace")
    if shared:
        why = f"its own, but shared: what it mounts below {min(shared)} shows on the host"
        return Wall("mounts", "3.1", False, why)
    return Wall("mounts", "3.1", True, "mnt namespace of its own")


def _of_limits(groups: Groups) -> Wall:
    what = "memory, CPU, pids"
    if not groups.is_own:
        return Wall(what, "3.2", False, "in the control groups of whoever started it")
    if not groups.limited:
        return Wall(what, "3.2", False, "a group of its own, but no limit set: may use all of it")
    return Wall(what, "3.2", True, f"limited: {', '.join(groups.limited)}")


def _of_descriptors(descriptors: tuple[Descriptor, ...]) -> Wall:
    inherited = [each for each in descriptors if each.is_from_outside]
    if not inherited:
        return Wall("descriptors", "3.3", True, "none inherited but 0, 1, 2")
    names = ", ".join(f"{each.number} → {each.target}" for each in inherited)
    return Wall("descriptors", "3.3", False, f"inherited: {names}")


def _of_root(root: Root) -> Wall:
    if root.kind == "host":
        return Wall("root file system", "4.1", False, "the host's: it sees all of the host's files")
    if root.kind == "chroot":
        why = "by chroot only: root in there can climb out, the host's mounts are still there"
        return Wall("root file system", "4.1", False, why)
    return Wall("root file system", "4.1", True, f"its own: {root.kind}")


def _of_layers(root: Root) -> Wall:
    if root.has_layers:
        return Wall("image", "4.2", True, "read-only below: what it writes goes to its own layer")
    if root.kind == "host":
        return Wall("image", "4.2", False, "none: it writes to the host's files")
    if root.is_read_only:
        return Wall("image", "4.2", True, "read-only: nothing can be written")
    return Wall("image", "4.2", False, "what it writes goes into the image itself")


def _of_environment(environment: Environment) -> Wall:
    if environment.is_let_in:
        names = environment.inherited
        named = ", ".join(name[:16] for name in names[:2]) + (", …" if len(names) > 2 else "")
        return Wall(
            "environment", "5.8", False, f"{counted(len(names), 'variable')} from outside: {named}"
        )
    return Wall("environment", "5.8", True, "not that of whoever started it")


def _of_capabilities(rights: Rights, has_own_users: bool) -> Wall:
    what, why = "root's powers", f"{len(rights.capabilities)} of {len(CAPABILITIES)} capabilities"
    if has_own_users:
        return Wall(what, LATER, True, f"{why}, over its own user namespace only")
    mighty = [name for name in MIGHTY if name in rights.capabilities]
    if mighty:
        return Wall(what, LATER, False, f"{why}, {mighty[0]} among them")
    return Wall(what, LATER, True, why)


def _of_system_calls(rights: Rights) -> Wall:
    if rights.seccomp == "none":
        return Wall("system calls", LATER, False, "all that the kernel has: no seccomp")
    return Wall("system calls", LATER, True, f"seccomp: {rights.seccomp}")


def _of_users(rights: Rights, has_own: bool) -> Wall:
    if not has_own:
        return Wall("users", LATER, False, "user 0 in there is user 0 out here")
    if not rights.maps:
        return Wall("users", LATER, True, "a user namespace that maps none: all are nobody")
    if rights.is_root_outside:
        return Wall("users", LATER, False, "its own namespace, but 0 in there is 0 out here")
    return Wall("users", LATER, True, "user 0 in there is another one out here")
