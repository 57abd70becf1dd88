"""What this machine can run: the words that a `chapter.toml` has in its `needs`, and how we know.

Where it is cheap and harmless a thing is tried, not looked up: a kernel may have a namespace that a
sandbox around us forbids. Everything is tried in a process of its own and in namespaces of its own,
so that the host stays as it is.

It is also run as a script, where there is no more of this project: it imports nothing of it.
"""

import ctypes
import json
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from statistics import median


@dataclass(frozen=True)
class Ability:
    """One thing that a machine has or has not.

    name: the word used in `needs`. title: the same for people. detail: what was found.
    remedy: what to do where it is not present, a command wherever there is one.
    """

    name: str
    title: str
    present: bool
    detail: str
    remedy: str


NAMES = (
    "linux",
    "root",
    "namespaces",
    "userns",
    "cgroup",
    "cgroup-v1",
    "cgroup-v2",
    "overlay",
    "aufs",
    "unotify",
    "bridge",
    "iptables",
    "nft",
)


@cache
def abilities() -> tuple[Ability, ...]:
    """Everything in NAMES, in that order; found out once in a process."""
    if sys.platform != "linux":
        return _not_linux()
    if not _asked:
        ask()
    with _asked.pop() as probe:
        answer, _ = probe.communicate()
    if probe.returncode != 0:
        raise subprocess.CalledProcessError(probe.returncode, probe.args)
    return tuple(Ability(**fields) for fields in json.loads(answer))


def ask() -> None:
    """Begin to find out about everything: `abilities` has to wait the less for it."""
    # As a module, not as a script: a script is compiled each time.
    program = (
        f"import sys; sys.path.insert(0, {_ABOVE!r}); from dojo.testkit.machine import tell; tell()"
    )
    probe = subprocess.Popen(
        [sys.executable, "-I", "-S", "-B", "-c", program],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    _asked.append(probe)


_ABOVE = str(Path(__file__).resolve().parents[2])
_asked: "list[subprocess.Popen[bytes]]" = []


def missing(needs: Iterable[str]) -> str | None:
    """Why something with these needs cannot run here, in one line; None if it can.

    Raises ValueError naming a need that no machine has ever been asked for.
    """
    wanted = set(needs)
    unknown = sorted(wanted - set(NAMES))
    if unknown:
        raise ValueError(f"no such need: {', '.join(unknown)} (there are {', '.join(NAMES)})")
    for ability in abilities():
        if ability.name in wanted and not ability.present:
            return f"no {ability.title}: {ability.detail} ({ability.remedy})"
    return None


# How fast it is ------------------------------------------------------------------------------


@cache
def process_start_seconds() -> float:
    """How long it takes to start one process and see it end, as a median."""
    true = shutil.which("true")
    if sys.platform != "linux" or true is None:  # where no tests run
        return _USUAL_START_SECONDS
    taken: list[float] = []
    while len(taken) < 20 and (len(taken) < 5 or sum(taken) < 0.5):
        begin = time.perf_counter()
        os.waitpid(os.posix_spawn(true, ["true"], {}), 0)
        taken.append(time.perf_counter() - begin)
    return median(taken)


def patience() -> float:
    """By how much to stretch a deadline that suits a usual machine; 1.0 is the least."""
    return max(1.0, process_start_seconds() / _USUAL_START_SECONDS)


_USUAL_START_SECONDS = 0.0015


# Where it is not Linux -----------------------------------------------------------------------


def _not_linux() -> tuple[Ability, ...]:
    system = platform.system() or sys.platform
    linux = Ability("linux", "Linux", False, f"this is {system}", "use a Linux virtual machine")
    others = [name for name in NAMES if name != "linux"]
    return (
        linux,
        *(Ability(name, _TITLES[name], False, linux.detail, linux.remedy) for name in others),
    )


_TITLES = {
    "linux": "Linux",
    "root": "root",
    "namespaces": "namespaces",
    "userns": "user namespaces",
    "cgroup": "cgroup controllers",
    "cgroup-v1": "cgroup v1",
    "cgroup-v2": "cgroup v2",
    "overlay": "overlay file system",
    "aufs": "AUFS",
    "unotify": "seccomp notifications",
    "bridge": "network bridges",
    "iptables": "iptables",
    "nft": "nft",
}


# Asking the kernel ---------------------------------------------------------------------------


class _AbsentError(Exception):
    """What a probe raises for a "no"."""

    def __init__(self, detail: str, remedy: str) -> None:
        super().__init__(detail)
        self.detail = detail
        self.remedy = remedy


def _ask_the_kernel() -> list[Ability]:
    """Find out about everything. Runs in a process of its own, with a single thread."""
    probes: dict[str, Callable[[], str]] = {
        "linux": lambda: f"kernel {os.uname().release}",
        "root": _root,
        "namespaces": _namespaces,
        "userns": _user_namespaces,
        "cgroup": _cgroup,
        "cgroup-v1": _cgroup_v1,
        "cgroup-v2": _cgroup_v2,
        "overlay": _overlay,
        "aufs": _aufs,
        "unotify": _unotify,
        "bridge": _bridge,
        "iptables": lambda: _firewall("iptables", "iptables", _IPTABLES_RULE),
        "nft": lambda: _firewall("nft", "nftables", _NFT_RULE),
    }
    return [_ability(name, probes[name]) for name in NAMES]


def _ability(name: str, probe: Callable[[], str]) -> Ability:
    """Run one probe: it returns the detail of a yes, or raises _AbsentError."""
    try:
        return Ability(name, _TITLES[name], True, probe(), "")
    except _AbsentError as no:
        return Ability(name, _TITLES[name], False, no.detail, no.remedy)


def _root() -> str:
    if os.geteuid() != 0:
        raise _AbsentError(f"you are user {os.geteuid()}", _AS_ROOT)
    return "you are root"


def _only_root_can(what: str) -> None:
    if os.geteuid() != 0:
        raise _AbsentError(f"only root can {what}", _AS_ROOT)


_AS_ROOT = "sudo ./kata ..."
_OTHER_MACHINE = "use a virtual machine; in a container: docker run --privileged"


# Namespaces


def _namespaces() -> str:
    """The six namespaces of a container, its own /proc included."""
    _only_root_can("make namespaces")
    try:
        _in_a_child(_enter_all_namespaces)
    except _AbsentError as no:
        raise _AbsentError(no.detail, _OTHER_MACHINE) from no
    return ", ".join(name for name, _ in _SIX)


def _enter_all_namespaces() -> None:
    for name, flag in _SIX:
        _unshare(flag, f"make a new {name} namespace")
    _make_mounts_private()
    _in_a_child(lambda: _mount("proc", "/proc", "proc"))  # the first in there: its PID is 1


def _user_namespaces() -> str:
    """Somebody who is not root, made root of a namespace that holds a mount."""
    try:
        _in_a_child(lambda: _become_root_of_a_namespace(65534 if os.geteuid() == 0 else None))
    except _AbsentError as no:
        raise _AbsentError(no.detail, _userns_remedy()) from no
    return "for anybody, root or not"


def _become_root_of_a_namespace(somebody: int | None) -> None:
    if somebody is not None:
        os.setgroups([])
        os.setresgid(somebody, somebody, somebody)
        os.setresuid(somebody, somebody, somebody)
        # Whoever changes its user ID loses its own files in /proc to root, until it says this.
        _call(_libc().prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0), "prctl(PR_SET_DUMPABLE)")
    uid, gid = os.geteuid(), os.getegid()
    _unshare(_CLONE_NEWUSER | _CLONE_NEWNS, "make a user namespace")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
    Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
    _mount("tmpfs", "/tmp", "tmpfs")


def _userns_remedy() -> str:
    for setting, value in (
        ("kernel/apparmor_restrict_unprivileged_userns", "0"),
        ("kernel/unprivileged_userns_clone", "1"),
        ("user/max_user_namespaces", "10000"),
    ):
        found = Path("/proc/sys", setting)
        if found.exists() and (found.read_text().strip() == "0") == (value != "0"):
            return f"sudo sysctl -w {setting.replace('/', '.')}={value}"
    return _OTHER_MACHINE


# cgroups


def _cgroup() -> str:
    """The controllers of chapter 3.2, each in whichever version has it."""
    hierarchies = _Hierarchies.of_this_machine()
    lacking = [name for name in CONTROLLERS if hierarchies.version(name) is None]
    if lacking:
        raise _AbsentError(f"no controller {', '.join(lacking)}", _cgroup_remedy(lacking))
    _check_that_groups_can_be_made({hierarchies.mount_point(name) for name in CONTROLLERS})
    return ", ".join(f"{name} {hierarchies.version(name)}" for name in CONTROLLERS)


def _cgroup_v1() -> str:
    hierarchies = _Hierarchies.of_this_machine()
    lacking = [name for name in CONTROLLERS if name not in hierarchies.v1]
    if lacking:
        remedy = "nothing, if v2 is there; else boot with systemd.unified_cgroup_hierarchy=0"
        raise _AbsentError(f"no controller {', '.join(lacking)} in v1", remedy)
    mount_points = {hierarchies.v1[name] for name in CONTROLLERS}
    _check_that_groups_can_be_made(mount_points)
    return f"all below {os.path.commonpath(mount_points)}"


def _cgroup_v2() -> str:
    hierarchies = _Hierarchies.of_this_machine()
    remedy = "nothing, if v1 is there; else boot with systemd.unified_cgroup_hierarchy=1"
    if hierarchies.unified is None:
        raise _AbsentError("no cgroup2 is mounted", remedy)
    lacking = [name for name in CONTROLLERS if name not in hierarchies.v2]
    if lacking:
        there = hierarchies.unified
        raise _AbsentError(f"no controller {', '.join(lacking)} in {there}", remedy)
    _check_that_groups_can_be_made([hierarchies.unified])
    return hierarchies.unified


CONTROLLERS = ("memory", "cpu", "cpuset", "pids")


@dataclass(frozen=True)
class _Hierarchies:
    """Which cgroup controller is where.

    v1: the mount point of each controller's hierarchy. unified: the mount point of v2, if any.
    v2: the controllers that v2 has at the top of what is visible.
    """

    v1: dict[str, str]
    unified: str | None
    v2: frozenset[str]

    @staticmethod
    def of_this_machine() -> "_Hierarchies":
        return _Hierarchies.read(Path("/proc/self/mountinfo").read_text())

    @staticmethod
    def read(mountinfo: str) -> "_Hierarchies":
        """From the text of a mountinfo; of a hierarchy that is mounted twice, the first counts."""
        v1: dict[str, str] = {}
        unified = None
        for line in mountinfo.splitlines():
            mount, _, file_system = line.partition(" - ")
            mount_point = _unescape(mount.split()[4])
            kind, _, options = file_system.split(" ", 2)
            if kind == "cgroup":
                for option in options.split(","):
                    v1.setdefault(option, mount_point)
            elif kind == "cgroup2":
                unified = unified or mount_point
        return _Hierarchies(v1, unified, _controllers(unified) if unified else frozenset())

    def version(self, controller: str) -> str | None:
        if controller in self.v1:
            return "v1"
        return "v2" if controller in self.v2 else None

    def mount_point(self, controller: str) -> str:
        return self.v1.get(controller) or self.unified or ""


def _unescape(path: str) -> str:
    """A path as mountinfo writes it, without its octal escapes (040 for a space)."""
    return re.sub(r"\\([0-7]{3})", lambda escape: chr(int(escape[1], 8)), path)


def _controllers(unified: str) -> frozenset[str]:
    try:
        return frozenset(Path(unified, "cgroup.controllers").read_text().split())
    except OSError:
        return frozenset()


def _check_that_groups_can_be_made(mount_points: Iterable[str]) -> None:
    """Without making one, which would be seen on the host."""
    _only_root_can("make groups")
    closed = [path for path in mount_points if not os.access(path, os.W_OK)]
    if closed:
        raise _AbsentError(f"{', '.join(closed)} is read-only", _OTHER_MACHINE)


def _cgroup_remedy(lacking: Iterable[str]) -> str:
    if list(lacking) == ["memory"]:  # Raspberry Pi OS, some Debian kernels
        return "boot with cgroup_enable=memory on the kernel's command line"
    return _OTHER_MACHINE


# File systems


def _overlay() -> str:
    """An overlay over directories where tests make theirs."""
    _only_root_can("mount an overlay")
    place = tempfile.gettempdir()
    with tempfile.TemporaryDirectory(prefix="kata-overlay-") as directory:
        try:
            _in_a_child(lambda: _mount_an_overlay(directory))
        except _AbsentError as no:
            try:
                _in_a_child(lambda: _mount_an_overlay(directory, on_tmpfs=True))
            except _AbsentError:
                raise _AbsentError(no.detail, _OTHER_MACHINE) from no
            detail = f"{place} cannot hold the upper directory of one ({no.detail})"
            remedy = "set TMPDIR to a directory on ext4, xfs or tmpfs, such as /dev/shm"
            raise _AbsentError(detail, remedy) from no
    return f"upper directories can be in {place}"


def _mount_an_overlay(directory: str, on_tmpfs: bool = False) -> None:
    _unshare(_CLONE_NEWNS, "make a mount namespace")
    _make_mounts_private()
    if on_tmpfs:
        _mount("tmpfs", directory, "tmpfs")
    lower, upper, work, merged = (Path(directory, name) for name in ("lower", "upper", "w", "m"))
    for path in (lower, upper, work, merged):
        path.mkdir()
    (lower / "changed").write_text("old")
    (lower / "removed").write_text("old")
    options = f"lowerdir={lower},upperdir={upper},workdir={work}"
    _mount("overlay", str(merged), "overlay", options)
    (merged / "changed").write_text("new")
    (merged / "removed").unlink()


def _aufs() -> str:
    if "aufs" in Path("/proc/filesystems").read_text().split():
        return "in this kernel"
    release = os.uname().release
    modules = Path("/lib/modules", release, "modules.dep")
    if modules.exists() and "/aufs.ko" in modules.read_text():
        raise _AbsentError("its kernel module is not loaded", "sudo modprobe aufs")
    remedy = (
        "nothing, if overlay is there; else Ubuntu 20.04 with linux-modules-extra, as"
        " `vagrant up aufs` makes it, or a kernel that you build with AUFS yourself"
    )
    raise _AbsentError(f"kernel {release} has none", remedy)


def _unotify() -> str:
    """What holds a program up right before a system call, see `dojo.scratch.crash_points`."""
    _only_root_can("hold up programs")
    try:
        level = ctypes.CDLL("libseccomp.so.2").seccomp_api_get()
    except OSError as error:
        raise _AbsentError("no libseccomp", "sudo apt-get install libseccomp2") from error
    if level < 5:
        raise _AbsentError("this kernel or libseccomp has none", "Linux 5.5, libseccomp 2.5")
    release = os.uname().release
    if tuple(map(int, re.findall(r"\d+", release)[:2])) < (5, 5):
        raise _AbsentError(f"kernel {release} cannot let a call go on", "Linux 5.5 or later")
    return "a program can be held up before a system call"


# Networks


def _bridge() -> str:
    """A bridge in a network namespace of its own."""
    _only_root_can("make interfaces")
    try:
        _in_a_child(_make_a_bridge)
    except _AbsentError as no:
        raise _AbsentError(no.detail, "sudo modprobe bridge") from no
    return "in this kernel"


def _make_a_bridge() -> None:
    _unshare(_CLONE_NEWNET, "make a network namespace")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        result = _libc().ioctl(handle.fileno(), _SIOCBRADDBR, b"kata0")
        _call(result, "make a bridge")


# Firewalls


def _firewall(command: str, package: str, rule: tuple[str, ...]) -> str:
    """A firewall that takes a rule for NAT, in a network namespace of its own."""
    everywhere = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
    path = shutil.which(command, path=everywhere)
    if path is None:
        raise _AbsentError("not installed", f"sudo apt-get install {package}")
    _only_root_can("set its rules")
    try:
        _in_a_child(lambda: _add_rule([path, *rule]))
    except _AbsentError as no:
        raise _AbsentError(no.detail, _OTHER_MACHINE) from no
    return f"{path}, with NAT"


_IPTABLES_RULE = ("-w", "-t", "nat", "-A", "POSTROUTING", "-j", "MASQUERADE")
_NFT_RULE = (
    "add table ip kata;"
    "add chain ip kata after { type nat hook postrouting priority 100; };"
    "add rule ip kata after masquerade",
)


def _add_rule(argv: list[str]) -> None:
    _unshare(_CLONE_NEWNET | _CLONE_NEWNS, "make a network namespace")
    _make_mounts_private()
    _mount("tmpfs", "/run", "tmpfs")  # iptables makes a lock file there
    result = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    if result.returncode != 0:
        lines = result.stderr.decode(errors="replace").strip().splitlines()
        reason = lines[0] if lines else f"exit status {result.returncode}"
        raise OSError(f"{Path(argv[0]).name}: {reason}")


# The kernel's own calls ----------------------------------------------------------------------

# From <linux/sched.h>, <sys/mount.h> and <linux/prctl.h>.
_CLONE_NEWNS = 0x00020000
_CLONE_NEWCGROUP = 0x02000000
_CLONE_NEWUTS = 0x04000000
_CLONE_NEWIPC = 0x08000000
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWPID = 0x20000000
_CLONE_NEWNET = 0x40000000
_MS_REC = 16384
_MS_PRIVATE = 1 << 18
_PR_SET_DUMPABLE = 4
_SIOCBRADDBR = 0x89A0  # <linux/sockios.h>

_SIX = (
    ("mount", _CLONE_NEWNS),
    ("uts", _CLONE_NEWUTS),
    ("ipc", _CLONE_NEWIPC),
    ("pid", _CLONE_NEWPID),
    ("net", _CLONE_NEWNET),
    ("cgroup", _CLONE_NEWCGROUP),
)


def _in_a_child(action: Callable[[], object]) -> None:
    """Run an action in a forked child. Raises _AbsentError with the child's error, if any."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            action()
        except BaseException as error:
            os.write(writing, (_reason(error) or repr(error)).encode()[:4096])
        os._exit(0)  # whatever happened, the child must not go on in the parent's code
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        failure = pipe.read().decode()
    _, status = os.waitpid(child, 0)
    if failure or status != 0:
        raise _AbsentError(failure or f"a child ended with status {status}", "")


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error)


def _unshare(flags: int, tried: str) -> None:
    _call(_libc().unshare(flags), tried)


def _make_mounts_private() -> None:
    """So that nothing mounted from here on reaches the host."""
    result = _libc().mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None)
    _call(result, "make mounts private")


def _mount(source: str, target: str, kind: str, options: str = "") -> None:
    result = _libc().mount(
        os.fsencode(source), os.fsencode(target), kind.encode(), 0, os.fsencode(options)
    )
    _call(result, f"mount -t {kind}")


def _call(result: int, tried: str) -> None:
    if result != 0:
        raise OSError(f"{tried}: {os.strerror(ctypes.get_errno())}")


@cache
def _libc() -> ctypes.CDLL:
    library = ctypes.CDLL(None, use_errno=True)
    text = ctypes.c_char_p
    library.mount.argtypes = (text, text, text, ctypes.c_ulong, text)
    return library


def tell() -> None:
    """Print all that there is to know, as JSON."""
    print(json.dumps([asdict(ability) for ability in _ask_the_kernel()]))


if __name__ == "__main__":
    tell()
