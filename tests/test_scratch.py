"""The test host: what stands for a machine in each test of a chapter."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dojo.errors import KataError
from dojo.scratch import CrashPoint, TestHost, devices, groups, leaks
from dojo.testkit import lab
from dojo.testkit.containers import monitor_of
from dojo.testkit.testing import Unmet
from tests.learners import require_lab

ENV = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}


@pytest.fixture
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TestHost]:
    require_lab(request)
    host = TestHost(next(groups.unique_names()), writable=[tmp_path])
    yield host
    host.close()


def shell(host: TestHost, script: str, **more):
    return host.run(["sh", "-c", script], env=ENV, **more)


@pytest.mark.parametrize("name", ["cgroup", "ipc", "mnt", "net", "pid", "uts"])
def test_it_has_namespaces_of_its_own(host: TestHost, name: str) -> None:
    inside = shell(host, f"readlink /proc/self/ns/{name}").text.strip()
    assert inside.startswith(f"{name}:[")
    assert inside != os.readlink(f"/proc/self/ns/{name}")


def test_its_root_is_shared(host: TestHost) -> None:
    (root,) = [line for line in host.mountinfo() if line.split()[4] == "/"]
    assert " shared:" in root
    before = Path("/proc/self/mountinfo").read_text()
    assert shell(host, "mount -t tmpfs of-the-test /mnt").status == 0
    assert any("of-the-test" in line for line in host.mountinfo())
    assert Path("/proc/self/mountinfo").read_text() == before


def test_the_files_of_the_machine_are_read_only(host: TestHost, tmp_path: Path) -> None:
    """A mydocker that is no container yet runs its commands among them: so do tests, when red."""
    mine, other = tmp_path / "mine", tmp_path.with_name("other")
    for directory in (mine, other):
        directory.mkdir()
        (directory / "file").touch()
    script = f"rm -r {mine}/file {other}/file; touch {mine}/new {other}/new /new; echo >/dev/null"
    call = shell(host, script)
    assert call.errors.count("Read-only file system") == 3
    with pytest.raises(OSError, match="Read-only"):
        Path(f"/proc/{host.pid}/root{other}/file").unlink()
    assert [path.name for path in mine.iterdir()] == ["new"]
    assert [path.name for path in other.iterdir()] == ["file"]
    assert not Path("/new").exists()
    assert shell(host, "mount -t tmpfs none /mnt && touch /mnt/x && umount /mnt").status == 0


@pytest.mark.parametrize("kind", ["devtmpfs", "debugfs", "tracefs", "securityfs", "binfmt_misc"])
def test_what_is_the_whole_machines_is_not_mounted(host: TestHost, kind: str) -> None:
    """A devtmpfs as the container's /dev: what a test writes there would stay on this machine."""
    require_guard()
    assert shell(host, "mount -t tmpfs none /mnt").status == 0
    call = shell(host, f"mount -t {kind} none /mnt && touch /mnt/kata-was-here")
    assert call.status != 0
    if kind in Path("/proc/filesystems").read_text().split():
        assert host.guard is not None
        assert [kind in refused for refused in host.guard.refused] == [True]
    assert not Path("/dev/kata-was-here").exists()


def test_the_files_of_the_machine_do_not_become_writable(host: TestHost) -> None:
    """A remount sets all flags anew: forgetting one must not open this machine's files."""
    require_guard()
    assert shell(host, "mount -o remount,bind,rw / && touch /kata-was-here").status != 0
    assert not Path("/kata-was-here").exists()
    assert shell(host, "mount -o remount,bind,ro /").status == 0


def test_a_disk_of_the_machine_does_not_become_read_only(host: TestHost, tmp_path: Path) -> None:
    """Without `bind`, a remount concerns all mounts of a disk, wherever they are."""
    require_guard()
    (tmp_path / "volume").mkdir()
    volume = f"{tmp_path}/volume"
    assert shell(host, f"mount --bind {volume} {volume} && mount -o remount,ro {volume}").status
    (tmp_path / "written").touch()
    assert shell(host, f"mount -o remount,ro,bind {volume} && ! touch {volume}/x").status == 0
    own = "mount -t tmpfs none /mnt && mount -o remount,ro /mnt && mount -o remount,rw /mnt"
    assert shell(host, own).status == 0


def test_a_disk_with_the_number_of_one_that_is_gone_is_not_the_machines(
    request: pytest.FixtureRequest, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A device number is given anew when what had it was unmounted."""
    require_lab(request)
    require_guard()
    old = tmp_path_factory.mktemp("old")
    subprocess.run(["mount", "-t", "tmpfs", "none", old], check=True)
    number = os.stat(old).st_dev
    host = TestHost(next(groups.unique_names()), writable=[tmp_path])
    try:
        subprocess.run(["umount", old], check=True)
        script = f"""
            cd {tmp_path} || exit
            for each in $(seq 500); do
                mkdir $each && mount -t tmpfs none $each || exit
                [ $(stat -c %d $each) != {number} ] || exec mount -o remount,ro $each
            done
            echo >&2 "the number was not given anew"
            exit 1
        """
        call = shell(host, script)
        assert (call.status, call.errors) == (0, "")
    finally:
        host.close()


def test_a_program_that_is_held_up_is_guarded_too(host: TestHost) -> None:
    require_guard()
    crash_point = CrashPoint(0)
    running = host.start(
        ["mount", "-t", "devtmpfs", "none", "/mnt"], env=ENV, crash_point=crash_point
    )
    for _ in crash_point.steps():
        pass
    assert running.wait().status != 0
    assert host.guard is not None
    assert len(host.guard.refused) == 1


@pytest.mark.parametrize("kind", ["b 7 0", "c 1 1"])
def test_no_disk_can_be_opened(host: TestHost, tmp_path: Path, kind: str) -> None:
    """A device file can be made anywhere, and leads to the disk, or to the memory (`c 1 1`)."""
    call = shell(host, f"mknod {tmp_path}/device {kind} && head -c 1 {tmp_path}/device")
    assert "Operation not permitted" in call.errors
    assert (tmp_path / "device").exists()
    script = f"mknod {tmp_path}/null c 1 3 && echo x > {tmp_path}/null && head -c 1 /dev/urandom"
    assert shell(host, script).status == 0
    assert shell(host, "exec 3<>/dev/ptmx").status == 0


def test_the_program_of_version_2_keeps_disks_away_as_well(host: TestHost) -> None:
    """Where there are both versions, version 1 decides: here the other one is asked alone."""
    second = [each for each in groups.hierarchies() if each.version == 2]
    if not second:
        pytest.skip("no cgroup of version 2 here")
    group = second[0].point / f"{groups.PREFIX}{os.getpid()}-1-2"
    group.mkdir()
    try:
        devices.allow_harmless_ones(group)
        script = """echo $$ > "$0/cgroup.procs"; cd "$(mktemp -d)" || exit 9; mknod disk b 7 0
            mknod memory c 1 1; mknod null c 1 3; head -c 1 disk; head -c 1 memory; echo x > null
            head -c 1 /dev/zero > /dev/null && : > /dev/ptmx && rm -r "$PWD" && echo end"""
        done = subprocess.run(["sh", "-c", script, group], capture_output=True, text=True)
        assert done.stdout == "end\n", done
        assert done.stderr.count("Operation not permitted") == 2, done
    finally:
        groups.remove_group(group)


def require_guard() -> None:
    if lab.cannot(["unotify"]):
        pytest.skip("no seccomp notifications here")


def test_statuses_streams_and_arguments_come_back_as_they_are(host: TestHost) -> None:
    call = host.run(
        ["sh", "-c", 'cat; printf "%s|" "$@" >&2; exit 7', "sh", b"\xff\n", ""], env=ENV
    )
    assert (call.status, call.out, call.err) == (7, b"", b"\xff\n||")
    assert shell(host, "cat", stdin=b"\0x").out == b"\0x"
    assert shell(host, "kill -9 $$").status == -signal.SIGKILL


def test_no_signal_is_ignored_or_blocked(host: TestHost) -> None:
    """Python ignores some, and nohup another: what is ignored stays so in what is started."""
    call = host.run(["grep", "-E", "^Sig(Ign|Blk)", "/proc/self/status"], env=ENV)
    assert call.text == f"SigBlk:\t{0:016}\nSigIgn:\t{0:016}\n"


def test_a_program_that_is_not_there(host: TestHost) -> None:
    assert host.run(["true"], env=ENV).status == 0
    with pytest.raises(KataError, match="no-such-program"):
        host.run(["no-such-program"], env=ENV)
    assert host.run(["true"], env=ENV).status == 0


def test_descriptors_are_0_1_2_and_those_that_are_held(host: TestHost) -> None:
    script = "for fd in 0 1 2 3 4 5 6 7 8 9; do test -e /proc/$$/fd/$fd && printf $fd; done"
    assert shell(host, script).text == "012"
    held = os.open("/", os.O_RDONLY)
    assert shell(host, script, holding=[held, held]).text == "01234"
    os.close(held)


def test_a_call_that_hangs_is_ended_and_keeps_its_output(host: TestHost) -> None:
    call = shell(host, "echo so far; sleep 1000", seconds=0.5)
    assert call.status is None
    assert call.text == "so far\n"
    assert "did not end" in call.problem


def test_a_line_is_waited_for_as_a_whole(host: TestHost) -> None:
    """A program that logs what it is to start has written all of its words."""
    running = host.start(["sh", "-c", "echo log: echo ready; printf ready; read line"], env=ENV)
    assert not running.wait_for_line(b"ready", 1.0)
    running = host.start(["sh", "-c", "echo begin; echo ready; read line"], env=ENV, stdin=None)
    assert running.wait_for_line(b"ready")
    running.stop()
    at_a_terminal = host.start(["sh", "-c", "echo ready"], env=ENV, terminal=True)
    assert at_a_terminal.wait_for_line(b"ready")


def test_output_that_is_held_open_is_told(host: TestHost) -> None:
    call = shell(host, "sleep 1000 & echo started")
    assert call.status == 0
    assert "still holds" in call.problem


def test_endless_output_is_cut(host: TestHost) -> None:
    call = shell(host, "yes", seconds=1.0)
    assert len(call.out) <= 16 * 1024 * 1024
    assert "did not end" in call.problem
    assert len(repr(call)) < 5000


def test_a_fork_bomb_ends_with_the_host(host: TestHost) -> None:
    host.start(["sh", "-c", "while :; do sleep 1000 & done"], env=ENV)
    enough = host.until(lambda: len(host.processes()) > groups.PROCESSES_MOST / 2)
    assert enough
    assert len(host.processes()) <= groups.PROCESSES_MOST
    pids = [process.pid for process in host.processes()]
    host.close()
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    assert not any(directory.exists() for directory in host.groups.directories())


def test_the_host_cannot_be_ended_from_inside(host: TestHost) -> None:
    shell(host, "kill -9 1; kill -TERM 1")
    assert shell(host, "echo alive").text == "alive\n"


def test_a_terminal_is_the_controlling_one(host: TestHost) -> None:
    running = host.start(
        ["sh", "-c", 'trap "exit 42" INT; echo ready; while :; do sleep 0.1; done'],
        env=ENV,
        terminal=True,
    )
    assert running.wait_for_output(b"ready")
    running.type(b"\x03")
    assert running.wait().status == 42


def test_pids_are_known_on_both_sides(host: TestHost) -> None:
    running = host.start(["sleep", "1000"], env=ENV)
    (process,) = host.processes()
    assert process.inner == running.inner
    assert Path(f"/proc/{process.pid}/comm").read_text() == "sleep\n"
    assert shell(host, f"kill {running.inner}").status == 0
    assert running.wait().status == -signal.SIGTERM


LEAKS = {
    "process": ("setsid sleep 1000 >/dev/null 2>&1 &", "sleep 1000"),
    "zombie": (
        "setsid sh -c 'sh -c \"exit 0\" & exec sleep 1000' >/dev/null 2>&1 &",
        "zombie",
    ),
    "mount": ("mount -t tmpfs left-over /mnt", "/mnt"),
    "unmount": ("umount -l /dev/shm", "/dev/shm"),
    "propagation": ("mount --make-private /", "a mount"),
    "cgroup": ("cd /sys/fs/cgroup/memory 2>/dev/null || cd /sys/fs/cgroup; mkdir kept", "kept"),
    "interface": ("ip link add kept0 type veth peer name kept1", "kept0"),
    "firewall": ("nft add table ip kept", "kept"),
    "file": ("touch $KEPT/kept", "kept"),
    "hostname": ("hostname kept", "kept"),
    "shared memory": ("ipcmk --shmem 4096", "shm"),
}


@pytest.mark.parametrize("name", LEAKS)
def test_a_leak_of_every_kind_is_seen(host: TestHost, tmp_path: Path, name: str) -> None:
    script, word = LEAKS[name]
    before = leaks.take(host, [tmp_path])
    assert leaks.compare(before, leaks.take(host, [tmp_path])) == []
    env = {**ENV, "KEPT": str(tmp_path)}
    call = host.run(["sh", "-c", script], env=env)
    assert call.status == 0, call

    def seen() -> list[str]:
        found = leaks.compare(before, leaks.take(host, [tmp_path]))
        return [str(leak) for leak in found if word in str(leak)]

    assert host.until(seen)
    if name == "shared memory":
        host.run(["ipcrm", "--all=shm"], env=ENV)


def test_nothing_is_left_of_a_host_that_was_killed(host: TestHost) -> None:
    """A test run that is killed leaves groups; the next one clears them, by the name they carry."""
    name = f"{groups.PREFIX}{os.getpid()}-1-1"  # a process of our PID that started at another time
    stale = groups.Groups(name)
    stale.make()
    assert all(directory.exists() for directory in stale.directories())
    groups.remove_stale()
    assert not any(directory.exists() for directory in stale.directories())
    assert all(directory.exists() for directory in host.groups.directories())


def test_a_tree_that_is_left_is_one_leak(host: TestHost, tmp_path: Path) -> None:
    before = leaks.take(host, [tmp_path])
    for name in ("bin/sh", "bin/ls", "etc/group"):
        (tmp_path / "rootfs" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "rootfs" / name).touch()
    found = leaks.compare(before, leaks.take(host, [tmp_path]))
    assert [leak.what for leak in found] == [f"{tmp_path}/rootfs was left, with 5 more in it"]


def test_a_record_of_a_container_with_rm_is_a_leak(tmp_path: Path) -> None:
    for name in ("box", "box2", "of-a-nameless-one"):
        (tmp_path / "root/containers" / name).mkdir(parents=True)
    assert not leaks.of_containers(tmp_path, {"box", "box2"}, 1)
    found = [leak.what for leak in leaks.of_containers(tmp_path, {"box", "box2"}, 0)]
    left = tmp_path / "root/containers/of-a-nameless-one"
    assert found == [f"{left} was left, of a container with --rm"]


def test_what_is_there_to_stay_is_no_leak(host: TestHost, tmp_path: Path) -> None:
    """Images, and what belongs to a container that has a record: it goes when that is removed."""
    before = leaks.take(host, [tmp_path])
    root = tmp_path / "root"
    for place in (
        "images/busybox/bin",
        "containers/box",
        "writeLayer/box/etc",
        "mnt/box",
        "work",
        "run",
    ):
        (root / place).mkdir(parents=True)
    (root / "images/busybox.tar").touch()
    found = leaks.compare(before, leaks.take(host, [tmp_path]))
    assert [leak.what for leak in found] == [f"{root} was left"]
    before = leaks.take(host, [tmp_path])
    (root / "run/box").touch()
    assert f"{root}/run/box" in leaks.take(host, [tmp_path]).files
    (root / "run/box").unlink()
    (root / "mnt/other").mkdir()
    found = leaks.compare(before, leaks.take(host, [tmp_path]))
    assert f"{root}/mnt was left, with 1 more in it" in [leak.what for leak in found]
    shutil.rmtree(root / "containers")
    found = leaks.compare(before, leaks.take(host, [tmp_path]))
    assert f"{root}/writeLayer was left, with 2 more in it" in [leak.what for leak in found]


def test_the_process_that_monitors_a_container_is_never_the_test_host_itself(
    host: TestHost,
) -> None:
    """Of an orphan the parent is PID 1 of the host: to kill that would end all of it."""
    mydocker: Any = SimpleNamespace(host=host, made=[])
    monitored = host.start(["unshare", "--pid", "--fork", "sleep", "1000"], env=ENV)
    (first,) = host.until(
        lambda: [p for p in monitored.descendants() if p.is_first_of_a_container()]
    )
    monitor = monitor_of(mydocker, first)
    assert monitor.pid == monitored.pid

    os.kill(monitor.pid, signal.SIGKILL)
    monitored.wait(1.0)
    (orphan,) = host.until(lambda: [p for p in host.processes() if p.parent == host.pid])
    assert orphan == first
    for look in (orphan, first):
        with pytest.raises(Unmet, match="nobody monitors the container"):
            monitor_of(mydocker, look)


def test_a_host_whose_first_process_was_killed_is_told(host: TestHost) -> None:
    """Not as a BrokenPipeError, or as whatever the socket to it says next."""
    host.run(["true"], env=ENV)
    os.kill(host.pid, signal.SIGKILL)
    for _ in range(3):
        with pytest.raises(KataError, match="the test host has died"):
            host.run(["true"], env=ENV)


def test_a_program_that_has_ended_is_named_by_what_was_typed(host: TestHost) -> None:
    running = host.start(["true"], env=ENV, shown="mydocker run busybox true")
    running.wait()
    with pytest.raises(ProcessLookupError, match="`mydocker run busybox true` has ended already"):
        running.send(signal.SIGTERM)
