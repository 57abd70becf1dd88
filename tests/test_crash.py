"""Whatever process of the reference is killed, at whatever crash point, the next command works.

strace(1) kills it: at the Nth of the system calls by which something changes, and in each process
that gets as far, the one that was called as well as those that it starts. So the runtime needs no
hooks, and nothing is left to chance.
"""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dojo import clone
from dojo.scratch import Call
from dojo.testkit.mydocker import Mydocker
from dojo.testkit.testing import expect
from tests.learners import require, require_lab

CHANGES = (
    *("clone", "execve", "mkdir", "rename", "rmdir", "symlink", "unlink", "write"),
    *("mount", "open_tree", "pivot_root", "setns", "unshare", "ftruncate", "linkat"),
)
CRASH_POINTS = (1, 2, 3, 4, 6, 8, 10, 13, 16, 20, 25, 30, 36, 45, 60)
STAY = "echo new > /new; echo ready; exec sleep 1000"


@pytest.fixture(autouse=True)
def what_it_takes(request: pytest.FixtureRequest) -> None:
    require_lab(request, "overlay")
    if shutil.which("strace") is None:
        require(request, "no strace here (Debian: sudo apt-get install strace)")


def nothing(mydocker: Mydocker, volume: Path) -> None:
    pass


def one_that_runs(mydocker: Mydocker, volume: Path) -> None:
    words = ("-d", "--name", "box", "-v", f"{volume}:/data", "busybox", "sh", "-c", STAY)
    expect(mydocker("run", *words), status=0)


def one_that_has_ended(mydocker: Mydocker, volume: Path) -> None:
    words = ("--name", "box", "-v", f"{volume}:/data", "busybox", "sh", "-c", "echo new > /new")
    expect(mydocker("run", *words), status=0)


Before = Callable[[Mydocker, Path], None]
RUN = ("run", "--name", "box", "-m", "64m", "-v", "VOLUME:/data", "busybox", "sh", "-c")

COMMANDS: dict[str, tuple[Before, tuple[str, ...]]] = {
    "run": (nothing, (*RUN, "echo more >> /data/more")),
    "run --rm": (nothing, (RUN[0], "--rm", *RUN[1:], "echo more >> /data/more")),
    "run -d": (nothing, (RUN[0], "-d", *RUN[1:], "echo more >> /data/more")),
    "stop": (one_that_runs, ("stop", "-t", "0", "box")),
    "rm": (one_that_has_ended, ("rm", "box")),
    "rm -f": (one_that_runs, ("rm", "-f", "box")),
    "commit": (one_that_has_ended, ("commit", "box", "copy")),
    "commit of one that runs": (one_that_runs, ("commit", "box", "busybox")),
    "exec": (one_that_runs, ("exec", "box", "sh", "-c", "echo more >> /data/more")),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_that_is_killed(mydocker: Mydocker, tmp_path: Path, name: str) -> None:
    mydocker.command = [sys.executable, "-m", "mydocker"]
    mydocker.env["PYTHONPATH"] = str(clone.here().solutions)
    volume = tmp_path / "volume"
    volume.mkdir()
    (volume / "file").write_text("of the host\n")
    before, words = COMMANDS[name]
    killed = []
    for crash_point in CRASH_POINTS:
        before(mydocker, volume)
        typed = [word.replace("VOLUME", str(volume)) for word in words]
        call = kill_at(mydocker, crash_point, typed)
        killed.append(call.status != 0)
        all_is_well(mydocker, volume, crash_point)
    assert killed[0], "not even the first crash point was reached"


def kill_at(mydocker: Mydocker, crash_point: int, words: list[str]) -> Call:
    calls = ",".join(f"?{call}" for call in CHANGES)
    inject = f"inject={calls}:signal=KILL:when={crash_point}"
    strace = ("strace", "-f", "-qqq", "-o", "/dev/null", "-e", f"trace={calls}", "-e", inject)
    return mydocker(*words, before=strace, seconds=60.0)


def all_is_well(mydocker: Mydocker, volume: Path, crash_point: int) -> None:
    host = mydocker.host
    listed = expect(mydocker("ps", "-a"), status=0, err="")
    running = " Up " in listed.text
    settled = host.until(lambda: running or not host.processes())
    assert settled, (crash_point, listed, host.processes())
    if "box" in listed.text and not running:
        assert "Exited (" in listed.text, (crash_point, listed)
    expect(mydocker("rm", "-f", "box"), status=0)
    assert host.until(lambda: not host.processes()), (crash_point, host.processes())
    assert not host.groups.below(), (crash_point, host.groups.below())
    for kind in ("containers", "writeLayer", "work", "mnt"):
        left = [path.name for path in (mydocker.root / kind).glob("*")]
        assert not left, (crash_point, kind, left)
    assert (volume / "file").read_text() == "of the host\n"
    whole = mydocker("run", "--rm", "busybox", "sh", "-c", "test -s /bin/busybox && test -d /etc")
    expect(whole, status=0, out="", err="")
