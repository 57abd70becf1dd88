"""What a machine can run: the probes against this machine, and `kata doctor`'s report of them."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from dojo.clone import Clone
from dojo.learner import doctor
from dojo.testkit import machine
from dojo.testkit.machine import Ability

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="probes are for Linux")
as_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root, for namespaces"
)

YES = {name: Ability(name, f"the {name}", True, "found", "") for name in machine.NAMES}


@pytest.fixture(autouse=True)
def _nothing_remembered() -> Iterator[None]:
    """What a test makes of this machine is not to be cached for the next."""
    machine.abilities.cache_clear()
    machine.process_start_seconds.cache_clear()
    yield
    machine.abilities.cache_clear()
    machine.process_start_seconds.cache_clear()


def probe(*wrapper: str) -> dict[str, Ability]:
    """The abilities as a process sees them that this wrapper starts."""
    argv = [*wrapper, sys.executable, "-I", "-S", "-B", machine.__file__]
    result = subprocess.run(argv, capture_output=True, check=False)
    assert result.returncode == 0, result.stderr.decode()
    return {fields["name"]: Ability(**fields) for fields in json.loads(result.stdout)}


# This machine ---------------------------------------------------------------------------------


def test_there_is_an_answer_for_every_need() -> None:
    found = machine.abilities()
    assert tuple(ability.name for ability in found) == machine.NAMES
    for ability in found:
        assert ability.detail, ability
        assert bool(ability.remedy) != ability.present, ability
        assert "\n" not in ability.detail + ability.remedy, ability


def test_it_is_found_out_once() -> None:
    assert machine.abilities() is machine.abilities()


@on_linux
@as_root
def test_namespaces_that_unshare_can_make_are_present() -> None:
    try:
        subprocess.run(["unshare", "-muipnC", "--fork", "--mount-proc", "true"], check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("unshare cannot make namespaces here either")
    namespaces = probe()["namespaces"]
    assert namespaces.present
    assert namespaces.detail == "mount, uts, ipc, pid, net, cgroup"


@on_linux
@as_root
def test_a_root_without_the_capability_has_no_namespaces() -> None:
    found = probe("setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin")
    assert found["root"].present
    assert not found["namespaces"].present
    assert found["namespaces"].detail == "make a new mount namespace: Operation not permitted"
    assert "docker run --privileged" in found["namespaces"].remedy
    assert not found["overlay"].present


@on_linux
@as_root
def test_somebody_who_is_not_root_is_told_to_become_it() -> None:
    script = (
        "import json, os, sys\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "from dojo.testkit import machine\n"
        "os.setgroups([])\n"
        "os.setresgid(65534, 65534, 65534)\n"
        "os.setresuid(65534, 65534, 65534)\n"
        "print(json.dumps([vars(ability) for ability in machine._ask_the_kernel()]))\n"
    )
    root = str(Path(machine.__file__).parents[2])
    argv = [sys.executable, "-I", "-S", "-B", "-c", script, root]
    result = subprocess.run(argv, capture_output=True, check=True)
    found = {fields["name"]: Ability(**fields) for fields in json.loads(result.stdout)}
    assert found["linux"].present
    assert found["root"].detail == "you are user 65534"
    for name in ("root", "namespaces", "cgroup", "overlay"):
        assert not found[name].present
        assert found[name].remedy == "sudo ./kata ...", name


@on_linux
@as_root
def test_the_host_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))

    def traces() -> tuple[object, ...]:
        mounts = Path("/proc/self/mountinfo").read_text()
        namespaces = [os.readlink(link) for link in Path("/proc/self/ns").iterdir()]
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
        lock = Path("/run/xtables.lock").exists()
        return mounts, sorted(namespaces), children, list(tmp_path.iterdir()), lock

    before = traces()
    assert len(machine.abilities()) == len(machine.NAMES)
    assert traces() == before


@on_linux
@as_root
def test_a_directory_on_an_overlay_cannot_hold_an_upper_directory(tmp_path: Path) -> None:
    if not probe()["overlay"].present:
        pytest.skip("no overlay here at all")
    script = (
        "mount -t tmpfs tmpfs $0 && cd $0 && mkdir l u w m && "
        "mount -t overlay overlay -o lowerdir=l,upperdir=u,workdir=w m && "
        'TMPDIR=$0/m exec "$@"'
    )
    overlay = probe("unshare", "--mount", "sh", "-c", script, str(tmp_path))["overlay"]
    assert not overlay.present
    assert f"{tmp_path}/m cannot hold the upper directory of one (mount -t overlay: " in (
        overlay.detail
    )
    assert overlay.remedy.startswith("set TMPDIR to a directory on ext4, xfs or tmpfs")


@on_linux
@as_root
def test_where_aufs_can_be_had(tmp_path: Path) -> None:
    """Ours is a machine of the Vagrantfile; no Debian has a package any more."""
    (tmp_path / "filesystems").write_text("nodev\tproc\n\text4\n")
    script = (
        "mount --bind $0 /proc/filesystems && "
        "{ test ! -d /lib/modules || mount -t tmpfs tmpfs /lib/modules; } && "
        'exec "$@"'
    )
    aufs = probe("unshare", "--mount", "sh", "-c", script, f"{tmp_path}/filesystems")["aufs"]
    assert not aufs.present
    assert aufs.detail == f"kernel {os.uname().release} has none"
    assert "`vagrant up aufs`" in aufs.remedy
    assert 'define "aufs"' in (Path(__file__).parents[1] / "Vagrantfile").read_text()
    assert "Debian" not in aufs.remedy


@on_linux
@as_root
def test_a_firewall_that_is_not_installed_is_named(tmp_path: Path) -> None:
    hidden = ["unshare", "--mount", "sh", "-c"]
    script = "mount --bind $0 /usr/sbin; mount --bind $0 /sbin; PATH=/usr/bin; exec $@"
    found = probe(*hidden, script, str(tmp_path))
    for name, package in (("nft", "nftables"), ("iptables", "iptables")):
        assert not found[name].present
        assert found[name].detail == "not installed"
        assert found[name].remedy == f"sudo apt-get install {package}"


@on_linux
@as_root
@pytest.mark.parametrize("name", ["nft", "iptables"])
def test_a_firewall_that_fails_says_why(name: str, tmp_path: Path) -> None:
    fake = tmp_path / name
    fake.write_text("#!/bin/sh\n")
    fake.chmod(0o755)
    with_fake = ("env", f"PATH={tmp_path}:/usr/bin:/bin")
    assert probe(*with_fake)[name].detail == f"{fake}, with NAT"
    fake.write_text("#!/bin/sh\necho 'no such table: nat' >&2\necho more >&2\nexit 3\n")
    found = probe(*with_fake)[name]
    assert not found.present
    assert found.detail == f"{name}: no such table: nat"


# cgroups of other machines --------------------------------------------------------------------

HYBRID = """\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
34 31 0:31 / /sys/fs/cgroup/cpu\\040set rw,relatime - cgroup cgroup rw,cpuset
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
36 31 0:32 / /mnt/memory rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / {unified} rw,relatime - cgroup2 cgroup2 rw
"""


def read(unified: Path) -> machine._Hierarchies:
    return machine._Hierarchies.read(HYBRID.format(unified=unified))


def test_each_controller_is_looked_for_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("pids io\n")
    found = read(tmp_path)
    assert [found.version(name) for name in machine.CONTROLLERS] == ["v1", "v1", "v1", "v2"]
    assert [found.mount_point(name) for name in machine.CONTROLLERS] == [
        "/sys/fs/cgroup/memory",
        "/sys/fs/cgroup/cpu,cpuacct",
        "/sys/fs/cgroup/cpu set",
        str(tmp_path),
    ]
    (tmp_path / "cgroup.controllers").write_text("\n")
    assert read(tmp_path).version("pids") is None


@on_linux
@as_root
@pytest.mark.parametrize(
    ("v2", "detail", "remedy"),
    [
        ("cpuset cpu io memory pids", "memory v1, cpu v1, cpuset v1, pids v2", ""),
        ("io", "no controller pids", "use a virtual machine"),
    ],
)
def test_cgroups_of_two_versions_count_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, v2: str, detail: str, remedy: str
) -> None:
    (tmp_path / "cgroup.controllers").write_text(v2)
    found = read(tmp_path)
    monkeypatch.setattr(machine._Hierarchies, "of_this_machine", staticmethod(lambda: found))
    monkeypatch.setattr(os, "access", lambda path, mode: True)
    cgroup = machine._ability("cgroup", machine._cgroup)
    assert (cgroup.present, cgroup.detail) == (not remedy, detail)
    assert remedy in cgroup.remedy
    assert machine._ability("cgroup-v2", machine._cgroup_v2).present == (not remedy)
    v1 = machine._ability("cgroup-v1", machine._cgroup_v1)
    assert (v1.present, v1.detail) == (False, "no controller pids in v1")

    monkeypatch.setattr(os, "access", lambda path, mode: False)
    closed = machine._ability("cgroup", machine._cgroup)
    assert not closed.present
    if not remedy:
        assert "/sys/fs/cgroup/memory" in closed.detail
        assert "read-only" in closed.detail


# Reasons to skip ------------------------------------------------------------------------------


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make this a machine that has everything but some abilities."""

    def lacks(*missing: Ability) -> None:
        found = tuple((YES | {ability.name: ability for ability in missing}).values())
        monkeypatch.setattr(machine, "abilities", lambda: found)

    return lacks


NO_AUFS = Ability("aufs", "AUFS", False, "kernel 6.1 has none", "get another")
NO_ROOT = Ability("root", "root", False, "you are user 1000", "sudo ./kata ...")


def test_what_is_missing_is_a_reason_to_skip(only: Callable[..., None]) -> None:
    only()
    assert machine.missing(machine.NAMES) is None
    only(NO_AUFS)
    assert machine.missing(["namespaces", "overlay"]) is None
    assert machine.missing([]) is None
    assert machine.missing(["overlay", "aufs"]) == "no AUFS: kernel 6.1 has none (get another)"


def test_the_first_cause_is_the_reason(only: Callable[..., None]) -> None:
    only(NO_AUFS, NO_ROOT)
    reason = machine.missing(["aufs", "namespaces", "root"])
    assert reason == "no root: you are user 1000 (sudo ./kata ...)"


def test_a_need_that_does_not_exist_is_named(only: Callable[..., None]) -> None:
    only()
    assert machine.missing(["aufs"]) is None
    with pytest.raises(ValueError, match=r"no such need: cgroups, overlayfs \(there are linux,"):
        machine.missing(["overlayfs", "aufs", "cgroups"])


@pytest.mark.parametrize(("platform", "system"), [("darwin", "Darwin"), ("win32", "Windows")])
def test_elsewhere_than_on_linux_the_answer_is_a_vm(
    monkeypatch: pytest.MonkeyPatch, platform: str, system: str
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr("platform.system", lambda: system)
    found = machine.abilities()
    assert tuple(ability.name for ability in found) == machine.NAMES
    assert not any(ability.present for ability in found)
    assert (
        machine.missing(["linux", "aufs"])
        == f"no Linux: this is {system} (use a Linux virtual machine)"
    )
    assert machine.missing(["aufs"]) == f"no AUFS: this is {system} (use a Linux virtual machine)"


@pytest.mark.parametrize("module", ["testkit.machine", "learner.doctor", "testkit.rootfs"])
def test_it_can_be_imported_where_there_is_no_linux(module: str) -> None:
    absent = ("fcntl", "pwd", "grp", "resource", "termios", "pty", "_posixsubprocess")
    script = (
        "import subprocess, sys\n"
        f"sys.modules.update(dict.fromkeys({absent!r}))\n"
        "sys.path.insert(0, sys.argv[1])\n"
        f"import dojo.{module}\n"
    )
    root = str(Path(machine.__file__).parents[2])
    subprocess.run([sys.executable, "-c", script, root], check=True)


# How fast it is -------------------------------------------------------------------------------


def test_the_start_of_a_process_is_measured_once() -> None:
    seconds = machine.process_start_seconds()
    assert 0 < seconds < 1
    assert machine.process_start_seconds() == seconds


@pytest.mark.parametrize(
    ("seconds", "patience"), [(0.0005, 1.0), (0.0015, 1.0), (0.003, 2.0), (0.09, 60.0)]
)
def test_deadlines_are_stretched_on_a_slow_machine_and_never_shortened(
    monkeypatch: pytest.MonkeyPatch, seconds: float, patience: float
) -> None:
    monkeypatch.setattr(machine, "process_start_seconds", lambda: seconds)
    assert machine.patience() == pytest.approx(patience)


# kata doctor ----------------------------------------------------------------------------------


def report(
    *missing: Ability, clone: Clone, terminal: bool = False, width: int = 80
) -> tuple[bool, str]:
    found = tuple((YES | {ability.name: ability for ability in missing}).values())
    out = StringIO()
    console = Console(file=out, force_terminal=terminal, width=width, color_system="standard")
    return doctor.report(console, found, clone), out.getvalue()


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clone:
    monkeypatch.delenv("KATA_ROOTFS", raising=False)
    return Clone(tmp_path)


def test_a_machine_that_has_all_is_reported_so(clone: Clone) -> None:
    able, text = report(clone=clone)
    assert able
    lines = text.splitlines()
    for name in machine.NAMES:
        assert f"yes the {name}: found" in lines
    assert lines[-1] == "The chapters' tests can run here."


def test_for_each_no_there_is_what_to_do(clone: Clone) -> None:
    able, text = report(NO_AUFS, clone=clone)
    assert able, "without AUFS most chapters run"
    assert "no  AUFS: kernel 6.1 has none -> get another" in text.splitlines()

    able, text = report(NO_AUFS, NO_ROOT, clone=clone)
    assert not able
    assert text.splitlines()[-1] == (
        "The chapters' tests cannot run here: root: you are user 1000: sudo ./kata ..."
    )


def test_the_surroundings_are_reported_too(clone: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    _, text = report(clone=clone)
    version = ".".join(str(part) for part in sys.version_info[:3])
    assert f"yes Python: {version}, " in text
    assert "no  root file system: not made yet -> ./kata check 3.1 makes it" in text
    assert "free disk space: " in text
    assert "start of a process: " in text

    (clone.state / "rootfs").mkdir(parents=True)
    (clone.state / "rootfs" / "busybox.tar").touch()
    assert f"yes root file system: {clone.state}/rootfs/busybox.tar" in report(clone=clone)[1]

    monkeypatch.setenv("KATA_ROOTFS", "/nowhere.tar")
    assert (
        "no  root file system: KATA_ROOTFS=/nowhere.tar is not there -> "
        in (report(clone=clone)[1])
    )


@pytest.mark.parametrize(
    ("says", "row"),
    [
        ("git version 2.34.1", "yes git: 2.34.1"),
        ("git version 2.39.3 (Apple Git-146)", "yes git: 2.39.3"),
        ("git version 3.0.0.windows.1", "yes git: 3.0.0.windows.1"),
        ("git version 2.33.8", "no  git: 2.33.8 -> install git 2.34 or newer"),
        ("command not found", "no  git: `git --version` says '' -> install git 2.34 or newer"),
        (None, "no  git: not installed -> install git 2.34 or newer: apt install git"),
    ],
)
def test_git_is_reported_with_its_version(
    clone: Clone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str | None, row: str
) -> None:
    (tmp_path / "bin").mkdir()
    if says is not None:
        stream = "" if says.startswith("git") else " >&2; exit 127"
        (tmp_path / "bin/git").write_text(f"#!/bin/sh\necho '{says}'{stream}\n")
        (tmp_path / "bin/git").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert row in report(clone=clone)[1].splitlines()


def test_a_full_disk_is_said(clone: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "yes free disk space: " in report(clone=clone)[1]
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("", (), {"free": 2**28}))
    assert (
        f"no  free disk space: 0.2 GiB -> make 1 GiB free on the disk of {clone.root}"
        in (report(clone=clone)[1])
    )


def test_where_it_is_no_terminal_lines_are_whole_and_plain(clone: Clone) -> None:
    long = Ability("nft", "nft", False, "[bold] " + "very " * 60 + "long", "[red]do[/] this")
    _, text = report(long, clone=clone)
    assert f"no  nft: {long.detail} -> {long.remedy}" in text.splitlines()
    assert "\x1b" not in text


def test_on_a_terminal_it_is_a_table(clone: Clone) -> None:
    long = Ability("nft", "nft", False, "[bold] found", "[red]do[/] this")
    _, text = report(long, clone=clone, terminal=True, width=150)
    assert "\x1b[" in text
    assert "what to do" in text
    assert "[bold] found" in text
    assert "[red]do[/] this" in text
