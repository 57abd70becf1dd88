"""What `/proc` says of a process: namespaces, mounts, groups, rights, descriptors. See proc(5)."""

import ctypes
import os
import re
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dojo.errors import KataError

KINDS = ("uts", "pid", "mnt", "net", "ipc", "cgroup", "user", "time")  # see namespaces(7)

# linux/capability.h, in the order of their bits.
CAPABILITIES = (
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
)

# What every container has, whatever the values; and what a shell sets by itself.
GIVEN = {"PATH", "HOME", "HOSTNAME", "TERM", "PWD", "OLDPWD", "SHLVL", "_"}

SECCOMP = {0: "none", 1: "strict", 2: "a filter"}  # seccomp(2), as /proc/PID/status has it


class Ended(KataError):
    """The process is not there any more."""


@dataclass(frozen=True)
class Namespace:
    """kind: as in /proc/PID/ns. inode: which one. host: the inode of that of whoever looks."""

    kind: str
    inode: int
    host: int

    @property
    def is_own(self) -> bool:
        return self.inode != self.host


@dataclass(frozen=True)
class Process:
    """pids: its PID in each PID namespace that it is in, the looker's first, its own last.

    began: when, in clock ticks since the boot: with the PID, it says which process this is.
    """

    pids: tuple[int, ...]
    parent: int
    state: str
    user: int
    command: str
    began: int

    @property
    def pid(self) -> int:
        return self.pids[0]

    @property
    def inner(self) -> int:
        return self.pids[-1]


@dataclass(frozen=True)
class Mount:
    """A line of mountinfo. of: the directory of the file system that is seen there.

    peers: the group of mounts that pass on to each other what is mounted below them; None where it
    is in none, see mount_namespaces(7).
    """

    number: int
    point: str
    of: str
    kind: str
    source: str
    device: str
    options: str
    super_options: str
    peers: int | None = None

    @property
    def is_read_only(self) -> bool:
        return "ro" in self.options.split(",")


@dataclass(frozen=True)
class Rights:
    """capabilities: the effective ones, by name. seccomp: which mode. maps: of users, as
    /proc/PID/uid_map has them: first inside, first outside, how many.
    """

    capabilities: tuple[str, ...]
    seccomp: str
    no_new_privileges: bool
    user: int
    maps: tuple[tuple[int, int, int], ...]

    @property
    def is_root_outside(self) -> bool:
        """Whether user 0 in there is user 0 out here."""
        return any(inside == outside == 0 for inside, outside, _ in self.maps)


@dataclass(frozen=True)
class Environment:
    """What it was started with. names: sorted. inherited: those that whoever started it has, too,
    with the same values, but for those that every container is given; of_starter: how many he has.
    """

    names: tuple[str, ...]
    inherited: tuple[str, ...]
    of_starter: int

    @property
    def is_let_in(self) -> bool:
        """Whether it is that of whoever started it, and not one or the other given on purpose."""
        return len(self.inherited) * 2 > self.of_starter


def processes() -> Iterator[Process]:
    """All that can be seen from here. Those that end meanwhile are left out."""
    for entry in os.listdir("/proc"):
        if entry.isdecimal():
            with suppress(Ended):
                yield process(int(entry))


def process(pid: int) -> Process:
    """Raises Ended if there is no such process."""
    rows = status(pid)
    command = " ".join(command_line(pid)).strip()
    return Process(
        pids=tuple(map(int, rows.get("NSpid", str(pid)).split())),
        parent=int(rows["PPid"]),
        state=rows["State"].split()[0],
        user=int(rows["Uid"].split()[1]),
        command=command or f"[{rows['Name']}]",
        began=int(_read(pid, "stat").rpartition(")")[2].split()[19]),
    )


def command_line(pid: int) -> list[str]:
    """Its arguments; none for what the kernel itself runs. Raises Ended."""
    text = _read(pid, "cmdline")
    return text.removesuffix("\0").split("\0") if text else []


def status(pid: int | str) -> dict[str, str]:
    lines = (line.partition(":") for line in _lines(pid, "status"))
    return {name: value.strip() for name, _, value in lines}


def namespaces(pid: int) -> tuple[Namespace, ...]:
    """Of each kind that this kernel has. Raises Ended."""
    return tuple(
        Namespace(kind, inode_of_namespace(pid, kind), inode_of_namespace("self", kind))
        for kind in KINDS
        if Path("/proc/self/ns", kind).exists()
    )


def inode_of_namespace(pid: int | str, kind: str) -> int:
    return int(_link(pid, f"ns/{kind}").partition("[")[2].rstrip("]"))


def namespace_of_proc(pid: int) -> int | None:
    """The inode of the PID namespace whose processes its /proc shows; None where it has no /proc.

    A new mount does not tell: it shows the namespace of whoever has made it. But its "1" does.
    """
    try:
        return int(os.readlink(f"/proc/{pid}/root/proc/1/ns/pid").partition("[")[2].rstrip("]"))
    except OSError:
        return None


def mounts(pid: int | str) -> list[Mount]:
    """In the order in which they were made. Raises Ended."""
    return [mount_of(line) for line in _lines(pid, "mountinfo")]


def mount_of(line: str) -> Mount:
    """A line of mountinfo, whose names have octal escapes."""
    before, _, after = line.partition(" - ")
    number, _, device, of, point, options, *more = before.split(" ")
    kind, source, super_options = after.split(" ", 2)
    shared = [word.removeprefix("shared:") for word in more if word.startswith("shared:")]
    return Mount(
        number=int(number),
        point=unescaped(point),
        of=unescaped(of),
        kind=kind,
        source=unescaped(source),
        device=device,
        options=options,
        super_options=super_options,
        peers=int(shared[0]) if shared else None,
    )


def unescaped(text: str) -> str:
    r"""A name from mountinfo: space, tab, newline, backslash and # are there as \040 and so on."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)


def environment(pid: int) -> dict[str, str]:
    """What it was started with: proc(5) has it as it was at exec. Raises Ended."""
    pairs = (pair.partition("=") for pair in _read(pid, "environ").split("\0") if pair)
    return {name: value for name, _, value in pairs}


def environment_of(pid: int, starter: int) -> Environment:
    """Raises Ended."""
    its, outside = environment(pid), {}
    with suppress(KataError):
        outside = environment(starter)
    outside = {name: value for name, value in outside.items() if name not in GIVEN}
    inherited = sorted(name for name, value in outside.items() if its.get(name) == value)
    return Environment(tuple(sorted(its)), tuple(inherited), len(outside))


def working_directory(pid: int) -> str:
    return _link(pid, "cwd")


def groups(pid: int | str) -> dict[str, str]:
    """The path of its control group, by controller; "" stands for version 2. Raises Ended."""
    found = {}
    for line in _lines(pid, "cgroup"):
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            found[controller] = path
    return found


def rights(pid: int) -> Rights:
    """Raises Ended."""
    rows = status(pid)
    maps = [tuple(map(int, line.split())) for line in _lines(pid, "uid_map")]
    return Rights(
        capabilities=_capabilities(rows),
        seccomp=SECCOMP.get(int(rows.get("Seccomp", "0")), "unknown"),
        no_new_privileges=rows.get("NoNewPrivs") == "1",
        user=int(rows["Uid"].split()[1]),
        maps=tuple((inside, outside, count) for inside, outside, count in maps),
    )


def _capabilities(rows: dict[str, str]) -> tuple[str, ...]:
    bits = int(rows["CapEff"], 16)
    return tuple(name for bit, name in enumerate(CAPABILITIES) if bits >> bit & 1)


def hostname(pid: int) -> str:
    """The name of its UTS namespace, for which one has to be in there: uname(2). Raises Ended.

    setns(2) moves only the thread that calls it, and this thread ends at once.
    """
    found: list[str] = []

    def ask() -> None:
        if ctypes.CDLL(None).setns(there, _CLONE_NEWUTS) == 0:
            found.append(os.uname().nodename)

    try:
        there = os.open(f"/proc/{pid}/ns/uts", os.O_RDONLY)
    except OSError as error:
        raise explained(pid, error) from error
    try:
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
    finally:
        os.close(there)
    return found[0] if found else ""


_CLONE_NEWUTS = 0x04000000  # linux/sched.h


def has_its_own_root(pid: int) -> bool:
    """Whether its "/" is another directory than the looker's. Raises Ended."""
    try:
        there, here = os.stat(f"/proc/{pid}/root/."), os.stat("/")
    except OSError as error:
        raise explained(pid, error) from error
    return (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino)


def is_over(pid: int | str) -> bool:
    """Whether it has ended: a zombie has a PID and a state, and nothing else any more."""
    try:
        stat = Path("/proc", str(pid), "stat").read_bytes()
    except OSError as error:
        return isinstance(error, FileNotFoundError | ProcessLookupError)
    return stat.rpartition(b")")[2].split()[0] in (b"Z", b"X")


def _lines(pid: int | str, name: str) -> list[str]:
    """No more than newlines end a line: a name may have other characters that Python takes so."""
    return [line for line in _read(pid, name).split("\n") if line]


def _read(pid: int | str, name: str) -> str:
    try:
        return Path("/proc", str(pid), name).read_bytes().decode(errors="surrogateescape")
    except OSError as error:
        raise explained(pid, error) from error


def _link(pid: int | str, name: str) -> str:
    try:
        return os.readlink(f"/proc/{pid}/{name}")
    except OSError as error:
        raise explained(pid, error) from error


def explained(pid: int | str, error: OSError) -> KataError:
    if isinstance(error, FileNotFoundError | ProcessLookupError) or is_over(pid):
        return Ended(f"process {pid} has ended")
    return KataError(f"xray: process {pid}: {error.strerror}")
