"""The same question to Docker and to mydocker: the same answer.

Here Docker is asked through its own API, not through what a chapter's test can see of it.
"""

import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dojo import clone
from dojo.scratch import Running
from dojo.testkit import rootfs
from dojo.testkit.containers import container_process, detached, end, first_process, started
from dojo.testkit.mydocker import Mydocker
from dojo.testkit.records import listed
from dojo.testkit.testing import expect

if TYPE_CHECKING:
    from docker.models.containers import Container
    from docker.models.images import Image
    from docker.models.volumes import Volume

    from tests.engines.conftest import Engine

tools = pytest.importorskip("pytest_docker_tools", reason="see pyproject.toml: its extra `dev`")
# Not before: that module cannot be imported without it, either.
from tests.engines.test_images_of_ours import CHANGES, files_below  # noqa: E402

STAY = "trap 'exit 43' TERM; trap 'exit 44' INT; echo ready; while :; do sleep 0.05; done"
DEAF = "echo ready; exec sleep 1000"  # PID 1 without handlers


class Ended(tools.wrappers.Container):  # type: ignore[misc,name-defined]
    """A container that comes to its end by itself."""

    @property
    def itself(self) -> "Container":
        return self._container

    def ready(self) -> bool:
        self.itself.reload()
        return bool(self.itself.status == "exited")

    def answer(self) -> tuple[int, bytes, bytes]:
        """Its status, and what it wrote to stdout and to stderr."""
        out, err = (self.itself.logs(stdout=n == 1, stderr=n == 2) for n in (1, 2))
        return self.itself.wait()["StatusCode"], out, err


class Alive(Ended):
    """A container that has said that it is ready, and goes on running."""

    def ready(self) -> bool:
        return b"ready" in self.itself.logs()


@pytest.fixture(scope="session")
def imported(engine: "Engine") -> str:
    engine.take(rootfs.ensure(clone.here()), "busybox")
    return "busybox"


@pytest.fixture
def script(request: pytest.FixtureRequest) -> str:
    """What the container runs: the parameter of the test."""
    text: str = request.param
    return text


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A directory of the host's with a file in it."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/file").write_text("of the host\n")
    return tmp_path / "folder"


image = tools.image(name="{imported}")
OF_IT = {"image": "{image.id}", "network_mode": "none"}
SH = ["sh", "-c", "{script}"]
ended = tools.container(**OF_IT, command=SH, wrapper_class=Ended)
alive = tools.container(**OF_IT, command=SH, wrapper_class=Alive)

# What a command sees, and how it ends --------------------------------------------------------

SCRIPTS = {
    "a status": "exit 7",
    "a status above 128": "exit 200",
    "one that is killed": "sh -c 'kill -9 $$'; exit $?",
    "PID 1 kills itself": "kill -9 $$; exit 5",
    "two streams": "printf out; printf err >&2; exit 3",
    "stdin": "cat; echo $?",
    "PID 1": "echo $$; cd /proc; echo [0-9]*; tr '\\0' ' ' < /proc/1/cmdline",
    "where it is": "pwd; ls -di /.. /. | tr -s ' ' | cut -d' ' -f2 | sort | uniq -c | wc -l",
    "umask": "umask; touch /new; stat -c %a /new",
    "signals": "grep -E '^Sig(Blk|Ign):' /proc/self/status",
    "descriptors": "for fd in 0 1 2 3 4 5; do test -e /proc/$$/fd/$fd && echo $fd; done; exit 0",
    "interfaces": "tail -n +3 /proc/net/dev | cut -d: -f1; ping -c1 -w5 127.0.0.1 | grep -c ttl",
    "who it is": "id -u; id -g; cat /proc/self/uid_map | tr -s ' '",
    "devices": "cd /dev; stat -c '%n %F %a %t:%T' null zero full random urandom tty",
    "links in /dev": "cd /dev; for link in fd stdin stdout stderr ptmx; do readlink $link; done",
    "a device works": "echo gone > /dev/null; head -c 3 /dev/zero | tr '\\0' 0; echo > /dev/full",
    "/dev/shm": "stat -c '%a' /dev/shm; echo x > /dev/shm/new && cat /dev/shm/new",
    "/sys": "touch /sys/new 2>&1; mkdir /sys/kernel/new 2>&1",
    "SysV objects": "cat /proc/sysvipc/shm | wc -l; cat /proc/sysvipc/msg | wc -l",
    "deleting": "rm -r /var /home && ls -d /var /home 2>&1; mkdir /var && ls -A /var",
    "variables": "env | grep -v ^HOSTNAME= | sort",
    "its own name": 'test "$HOSTNAME" = "$(cat /proc/sys/kernel/hostname)" && echo ${#HOSTNAME}',
}


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS.keys(), indirect=True)
def test_a_command_says_the_same(ours: Mydocker, ended: Ended, script: str) -> None:
    call = expect(ours("run", "busybox", "sh", "-c", script))
    assert (call.status, call.out, call.err) == ended.answer()


@pytest.mark.parametrize("command", ["no-such-command", "/no/such/command", "/etc/passwd", "/etc"])
def test_a_command_that_cannot_start_has_the_same_status(
    engine: "Engine", ours: Mydocker, image: "Image", command: str
) -> None:
    from docker.errors import APIError

    made = engine.client.containers.create(image, [command], network_mode="none")
    try:
        with pytest.raises(APIError):
            made.start()
        made.reload()
        status = made.attrs["State"]["ExitCode"]
    finally:
        made.remove()
    expect(ours("run", "--rm", "busybox", command), status=status, out="")


# Signals -------------------------------------------------------------------------------------


@pytest.mark.parametrize("script", [STAY], indirect=True, ids=["it has handlers"])
@pytest.mark.parametrize("name", ["TERM", "INT"])
def test_a_signal_ends_it_with_the_same_status(
    ours: Mydocker, alive: Alive, script: str, name: str
) -> None:
    alive.itself.kill(signal=f"SIG{name}")
    with running_in(ours, script) as running:
        os.kill(first_process(running).pid, signal.Signals[f"SIG{name}"])
        expect(running.wait(), status=alive.itself.wait()["StatusCode"])


@pytest.mark.parametrize("script", [STAY, DEAF], indirect=True, ids=["it has a handler", "none"])
def test_stop_ends_it_with_the_same_status(ours: Mydocker, alive: Alive, script: str) -> None:
    """SIGTERM where there is a handler, and else SIGKILL when the time is over."""
    alive.itself.stop(timeout=1)
    detached(ours, "--name", "box", "busybox", "sh", "-c", script)
    ours.host.until(lambda: b"ready" in ours("logs", "box").out)
    expect(ours("stop", "-t", "1", "box"), status=0, out="box\n")
    (row,) = listed(ours, "-a")
    alive.itself.reload()
    assert row["State"] == alive.itself.status == "exited"
    found = re.match(r"Exited \((\d+)\)", row["Status"])
    assert found is not None
    assert int(found[1]) == alive.itself.attrs["State"]["ExitCode"]


@pytest.mark.parametrize("script", [DEAF], indirect=True, ids=["it stays"])
@pytest.mark.parametrize("inner", ["exit 9", "kill -9 $$", "tr '\\0' ' ' < /proc/1/cmdline", "env"])
def test_exec_says_the_same(ours: Mydocker, alive: Alive, script: str, inner: str) -> None:
    done = alive.itself.exec_run(["sh", "-c", inner], demux=True)
    detached(ours, "--name", "box", "busybox", "sh", "-c", script)
    call = expect(ours("exec", "box", "sh", "-c", inner), status=done.exit_code)
    out, err = ((stream or b"") for stream in done.output)
    assert (without_its_name(call.out), call.err) == (without_its_name(out), err)
    os.kill(container_process(ours).pid, signal.SIGKILL)


def without_its_name(output: bytes) -> bytes:
    """Without the ID in HOSTNAME; and in some order."""
    lines = re.sub(rb"HOSTNAME=[0-9a-f]{12}\n", b"HOSTNAME\n", output).splitlines()
    return b"\n".join(sorted(lines))


# Variables -----------------------------------------------------------------------------------

VARIABLES = ["PLAIN=a b", "EMPTY=", "EQUALS=a=b=", "HOME=/home", "PATH=/bin:/sbin"]
with_variables = tools.container(
    **OF_IT, command=["sh", "-c", "env | sort"], environment=VARIABLES, wrapper_class=Ended
)
at_a_terminal = tools.container(
    **OF_IT, command=["sh", "-c", "echo $TERM; tty"], tty=True, wrapper_class=Ended
)


def test_variables_arrive_the_same(ours: Mydocker, with_variables: Ended) -> None:
    options = [word for variable in VARIABLES for word in ("-e", variable)]
    call = ours("run", *options, "busybox", "sh", "-c", "env | sort")
    status, out, err = with_variables.answer()
    assert call.status == status
    assert (without_its_name(call.out), call.err) == (without_its_name(out), err)


def test_a_terminal_is_the_same(ours: Mydocker, at_a_terminal: Ended) -> None:
    call = ours("run", "-t", "busybox", "sh", "-c", "echo $TERM; tty")
    assert (call.status, call.out) == at_a_terminal.answer()[:2]


# Volumes -------------------------------------------------------------------------------------

IN_A_VOLUME = "cat /data/file; echo more >> /data/file; mkdir /data/new; ls -l /data | wc -l"
with_folder = tools.container(
    **OF_IT,
    command=["sh", "-c", IN_A_VOLUME],
    volumes={"{folder}": {"bind": "/data", "mode": "rw"}},
    wrapper_class=Ended,
)
read_only = tools.container(
    **OF_IT,
    command=["sh", "-c", "cat /data/file; touch /data/new"],
    volumes={"{folder}": {"bind": "/data", "mode": "ro"}},
    wrapper_class=Ended,
)
from_nothing = tools.container(
    **OF_IT,
    command=["sh", "-c", "stat -c '%a %u:%g' /in/data; echo x > /in/data/file"],
    volumes={"{folder}/missing/below": {"bind": "/in/data", "mode": "rw"}},
    wrapper_class=Ended,
)
kept = tools.volume(initial_content={"file": b"of the host\n"})
with_kept = tools.container(
    **OF_IT,
    command=["sh", "-c", IN_A_VOLUME],
    volumes={"{kept.name}": {"bind": "/data", "mode": "rw"}},
    wrapper_class=Ended,
)
and_again = tools.container(
    **OF_IT,
    command=["sh", "-c", "cat /data/file; ls /data"],
    volumes={"{kept.name}": {"bind": "/data", "mode": "ro"}},
    wrapper_class=Ended,
)


def test_a_directory_of_the_host_is_used_the_same(
    ours: Mydocker, folder: Path, with_folder: Ended
) -> None:
    theirs = with_folder.answer(), tree(folder)
    (folder / "file").write_text("of the host\n")
    (folder / "new").rmdir()
    call = ours("run", "-v", f"{folder}:/data", "busybox", "sh", "-c", IN_A_VOLUME)
    assert ((call.status, call.out, call.err), tree(folder)) == theirs


def test_what_is_read_only_is_so_the_same(ours: Mydocker, folder: Path, read_only: Ended) -> None:
    script = "cat /data/file; touch /data/new"
    call = ours("run", "-v", f"{folder}:/data:ro", "busybox", "sh", "-c", script)
    assert (call.status, call.out, call.err) == read_only.answer()


def test_a_missing_directory_is_made_the_same(
    ours: Mydocker, folder: Path, from_nothing: Ended
) -> None:
    theirs = from_nothing.answer(), tree(folder / "missing")
    script = "stat -c '%a %u:%g' /in/data; echo x > /in/data/file"
    mine = folder / "mine"
    call = ours("run", "-v", f"{mine}/below:/in/data", "busybox", "sh", "-c", script)
    assert ((call.status, call.out, call.err), tree(mine)) == theirs


def test_what_lies_in_a_volume_is_there_the_next_time(
    ours: Mydocker, folder: Path, kept: "Volume", with_kept: Ended, and_again: Ended
) -> None:
    """Docker keeps a volume that has a name; ours is the directory that holds it."""
    first = ours("run", "--rm", "-v", f"{folder}:/data", "busybox", "sh", "-c", IN_A_VOLUME)
    again = ours("run", "-v", f"{folder}:/data", "busybox", "sh", "-c", "cat /data/file; ls /data")
    assert (first.status, first.out, first.err) == with_kept.answer()
    assert (again.status, again.out, again.err) == and_again.answer()


def tree(top: Path) -> dict[str, tuple[int, int]]:
    """The mode and the size of what is there, a directory's size left out."""
    found = {}
    for path in sorted([top, *top.rglob("*")]):
        facts = path.stat()
        found[str(path.relative_to(top))] = facts.st_mode, facts.st_size * path.is_file()
    return found


# Images --------------------------------------------------------------------------------------


@pytest.mark.parametrize("script", [f"{CHANGES}\n{DEAF}"], indirect=True, ids=["all changes"])
def test_commit_takes_the_same(
    engine: "Engine", ours: Mydocker, alive: Alive, script: str, tmp_path: Path
) -> None:
    alive.itself.commit("theirs")
    detached(ours, "--name", "box", "busybox", "sh", "-c", script)
    ours.host.until(lambda: b"ready" in ours("logs", "box").out)
    expect(ours("commit", "box", "copy"), status=0)
    os.kill(container_process(ours).pid, signal.SIGKILL)
    look = ("sh", "-c", DEAF)
    theirs = engine.client.containers.run("theirs", look, detach=True, network_mode="none")
    try:
        ours.host.until(lambda: b"ready" in theirs.logs())
        in_theirs = files_below(engine.root_of(theirs))
        with running_in(ours, DEAF, image="copy") as running:
            in_ours = files_below(Path(f"/proc/{first_process(running).pid}/root"))
            end(running)
    finally:
        theirs.remove(force=True)
        engine.client.images.remove("theirs")
    without_times = [
        {name: (f.mode, f.owner, f.links, f.content) for name, f in files.items()}
        for files in (in_ours, in_theirs)
    ]
    assert without_times[0] == without_times[1]
    assert in_ours[b"kata/old"].mtime == in_theirs[b"kata/old"].mtime


@contextmanager
def running_in(ours: Mydocker, script: str, image: str = "busybox") -> Iterator[Running]:
    """A container of ours that has said that it is ready."""
    yield started(ours.start("run", image, "sh", "-c", script))
