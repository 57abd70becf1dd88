"""What all engines have in common: a host of their own, their words, and how they are cleared."""

import io
import os
import re
import tarfile
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

from dojo.errors import KataError
from dojo.scratch import Call, Process, TestHost
from dojo.scratch.groups import Groups

Words = Sequence[str | bytes]

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
START_SECONDS = 30.0
PROCESSES_MOST = 6000  # threads count: a container's monitor has ten, each command of docker too
SETTLE_SECONDS = 5.0
CAPABILITIES = (
    *("CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID"),
    *("SETPCAP", "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW"),
    *("IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT"),
    *("SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD"),
    *("LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG"),
    *("WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ"),
)  # by number, from 0


class EngineHost(TestHost):
    """A test host with an engine on it, which is there already when a test begins.

    Its own processes and groups are not shown. A container is not below the command that started
    it, but below the engine: here it is shown as if it were below both.
    """

    in_its_own_words = True

    def __init__(self, name: str, patience: float, writable: Sequence[Path]) -> None:
        super().__init__(name, patience, writable, guarded=False)
        self.groups: _Groups = _Groups(name, self.groups.hierarchies)
        for directory in self.groups.directories():
            if (directory / "pids.max").exists():
                (directory / "pids.max").write_text(str(PROCESSES_MOST))
        self._hidden: frozenset[Process] = frozenset()

    def hide_what_is_there(self) -> None:
        """From now on, show only what is new."""
        self._hidden = frozenset(super().processes())
        self.groups.hidden = frozenset(self.groups.below())

    def processes(self) -> list[Process]:
        return [process for process in super().processes() if process not in self._hidden]

    def outer_pid(self, inner: int) -> int:
        found = [process.pid for process in super().processes() if process.inner == inner]
        if not found:
            raise ProcessLookupError(f"no process {inner} on the test host")
        return found[0]

    def descendants(self, pid: int) -> list[Process]:
        found = super().descendants(pid)
        if pid == self.pid:
            return found
        for number in (pid, *(process.pid for process in found)):
            identity = _identity_of_run(number)
            if identity:
                found += [p for p in self.processes() if p not in found and _is_of(p, identity)]
        return found


class _Groups(Groups):
    """The groups of a test host, without those that the engine keeps for itself."""

    hidden: frozenset[str] = frozenset()

    def below(self) -> set[str]:
        return super().below() - self.hidden


def _identity_of_run(pid: int) -> str | None:
    """The ID of the container that a `run` has made, which it writes where `--cidfile` says."""
    with suppress(OSError, StopIteration):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        path = next(word[len(CIDFILE) :] for word in words if word.startswith(CIDFILE.encode()))
        return Path(os.fsdecode(path)).read_text()
    return None


CIDFILE = "--cidfile="


def _is_of(process: Process, identity: str) -> bool:
    try:
        groups = Path(f"/proc/{process.pid}/cgroup").read_text()
    except OSError:
        return False
    return identity in groups


def run_options() -> list[str]:
    """What goes into each `run`: what the contract leaves to later parts, networks among it.

    It is `--privileged` taken apart: all capabilities, no seccomp, nothing hidden in /proc; but not
    the devices of the host and the /sys that can be written to, which mydocker does not give
    either. Docker gives what it knows of, and fails where this machine has less: it is told.
    """
    bounding = re.search(r"^CapBnd:\t(\w+)", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert bounding is not None
    has = int(bounding[1], 16)
    here = [name for number, name in enumerate(CAPABILITIES) if has >> number & 1]
    return [
        *("--network=none", "--pull=never"),  # nor is there a registry
        *(f"--cap-add={name}" for name in here),
        *("--security-opt=seccomp=unconfined", "--security-opt=apparmor=unconfined"),
        "--device-cgroup-rule=a *:* rwm",
    ]


class Engine(ABC):
    """A real engine that takes the place of mydocker.

    host: the one that it runs on. directory: where it keeps its things; the host can write there.
    command: how its program is called. env: what is to be in its environment.
    """

    name: ClassVar[str]
    monitor: ClassVar[str]  # what the process is called that monitors a container

    def __init__(self, program: str, host: EngineHost, directory: Path, image: Path) -> None:
        """Start it, and have it take an image, a tar, as `busybox`.

        Raises KataError where it does not start.
        """
        self.program = program
        self.host = host
        self.directory = directory
        self.command = [program]
        self.env: dict[str, str] = {"PATH": PATH, "HOME": "/root", "LANG": "C.UTF-8"}
        (directory / "ids").mkdir()
        self._count = 0
        self.start()
        self._take(image)
        # A first container: what the engine makes with it, and keeps, is not the next one's.
        self._must("run", "--rm", *self.run_options(), "busybox", "true")
        host.until(lambda: not self._containers_processes(), START_SECONDS)
        host.hide_what_is_there()
        self._images_before = self._images()

    @abstractmethod
    def start(self) -> None:
        """Start what has to run before the first command."""

    @abstractmethod
    def version(self) -> str:
        """The engine with its version, as people call it: "Docker 20.10.24"."""

    def _containers_processes(self) -> list[Process]:
        """A container's monitor, and ends soon after it."""
        return [p for p in self.host.processes() if self.monitor in p.command]

    @abstractmethod
    def run_options(self) -> list[str]:
        """What goes into each `run`."""

    def words(self, typed: Words) -> list[str | bytes]:
        """The same in the engine's own spelling."""
        if typed[:1] in (["images"], ("images",)):  # one that lost its name is not what was asked
            return ["images", "--filter=dangling=false", *typed[1:]]
        if not typed or typed[0] != "run":
            return [*typed]
        self._count += 1
        identity = f"{CIDFILE}{self.directory}/ids/{os.getpid()}-{self._count}"
        return ["run", *self.run_options(), identity, *typed[1:]]

    def call(self, *words: str, stdin: bytes = b"") -> Call:
        return self.host.run([*self.command, *words], stdin=stdin, env=self.env, seconds=60)

    def _must(self, *words: str, stdin: bytes = b"") -> Call:
        call = self.call(*words, stdin=stdin)
        if call.status != 0 or call.problem:
            said = call.errors.strip() or call.problem
            raise KataError(f"{self.name} {words[0]}: {said}")
        return call

    def _take(self, image: Path) -> None:
        self._must("import", str(image), "busybox")

    def lay_image(self, tar: Path, name: str) -> None:
        """Make an image of a tar file."""
        self._must("import", str(tar), name)

    def put(self, files: Path) -> None:
        """Add files to the image `busybox`, at their own paths."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            archive.add(files)  # without the first slash, so that parents are made
        self._must("create", "--name", "kata-put", "busybox", "true")
        self._must("cp", "-", "kata-put:/", stdin=packed.getvalue())
        self._must("commit", "kata-put", "busybox")
        self._must("rm", "kata-put")

    def clear(self) -> None:
        """Remove all containers, networks and volumes, and all images but `busybox` as it was.

        Raises KataError where something stays.
        """
        self.host.until(self._remove_containers, SETTLE_SECONDS)
        self._must("network", "prune", "--force")
        if volumes := self._must("volume", "ls", "--quiet").text.split():
            self._must("volume", "rm", "--force", *volumes)
        if self._images() != self._images_before:
            self._reset_images()
        for path in (self.directory / "ids").iterdir():
            path.unlink()

    def _remove_containers(self) -> bool:
        """Whether all are gone. Those with `--rm` may be on their way already."""
        containers = self._must("ps", "--all", "--quiet").text.split()
        if not containers:
            return True
        return self.call("rm", "--force", "--volumes", *containers).status == 0

    def _images(self) -> set[tuple[str, str]]:
        """The name and the ID of each image."""
        listed = self._must("images", "--no-trunc", "--format", "{{.Repository}} {{.ID}}")
        return {(name, identity) for name, identity in map(str.split, listed.text.splitlines())}

    def _reset_images(self) -> None:
        ((_, kept),) = self._images_before
        self._must("tag", kept, "busybox")
        left = self._images() - self._images_before
        while left:
            for name, identity in left:  # one that others are made of goes after those
                self.call("rmi", "--force", name if identity == kept else identity)
            before, left = left, self._images() - self._images_before
            if left == before:
                raise KataError(f"{self.name} rmi: there still is {left}")

    def knows_what_lives(self) -> bool:
        """Whether it lists no more containers than there are."""
        alive = [p for p in self.host.processes() if p.is_first_of_a_container()]
        return len(self._must("ps", "--quiet").text.split()) <= len(alive)

    def is_quiet(self) -> bool:
        """Whether nothing runs that was not there at the beginning, soon after it was cleared."""
        return self.host.until(lambda: not self.host.processes(), SETTLE_SECONDS)

    @classmethod
    @abstractmethod
    def missing(cls) -> str | None:
        """What is not installed here, in one line; None if it can be started."""
