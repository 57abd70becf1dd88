"""The `mydocker` fixture: the program under test, on a scratch host of the test's own."""

import os
import shutil
import subprocess
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from dojo import clone, machine, program, rootfs, surroundings
from dojo.engines import Engine, EngineHost, kind_of
from dojo.errors import KataError
from dojo.scratch import Call, Moment, Running, ScratchHost, groups, leaks
from dojo.scratch.copies import Copies
from dojo.scratch.place import session_directory
from dojo.scratch.typed import show_call

RUN = pytest.StashKey["Mydocker"]()
HOSTS = pytest.StashKey["ScratchHosts"]()
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
IMAGE = "root/images/busybox"  # in what is laid out for a test
WITH_A_VALUE = (
    *("--name", "-m", "--memory", "--cpu-shares", "--cpuset-cpus", "--pids-limit"),
    *("-v", "--volume", "-e", "--env", "--env-file"),
)
SECONDS = 20.0  # for one call; a hanging one is ended and reported
PLAIN_RUNS = 3  # what each of them leaves is hardly left by chance
SETTLE_SECONDS = 3.0  # for what the kernel and a killed parent's children still have to do


class Mydocker:
    """The program under test. Call it with what a person would type after `mydocker`.

    host: the scratch host that it runs on. root: its MYDOCKER_ROOT. directory: where it is called,
    an empty one. calls: what was run to its end so far, in order. made: the same, with what was
    left running. begun: how many were made for earlier examples. held_up: what was last held up,
    and where. kept: the names of containers whose records may stay: of those without --rm.
    """

    def __init__(self, command: Sequence[str], host: ScratchHost, root: Path, caches: Path) -> None:
        self.command = list(command)
        self.host = host
        self.root = root / "root"
        self.directory = root / "here"
        self.calls: list[Call] = []
        self.made: list[Running] = []
        self.begun = 0
        self.held_up: tuple[str, Moment] | None = None
        self.env = {
            "PATH": PATH,
            "HOME": "/root",
            "LANG": "C.UTF-8",
            "MYDOCKER_ROOT": str(self.root),
            "PYTHONPATH": program.search_path(clone.here()),
            "PYTHONPYCACHEPREFIX": str(caches),
        }
        self.usual = dict(self.env)  # what no message needs to say
        self.pardoned: set[str] = set()
        self.kept: set[str] = set()
        self._nameless = 0  # how many of these were given none
        self.new = leaks.take(host, [root])

    def __call__(
        self,
        *words: str | bytes,
        stdin: bytes | int | None = b"",
        env: Mapping[str, str] | None = None,
        holding: Sequence[int] = (),
        before: Sequence[str] = (),
        cwd: Path | None = None,
        seconds: float = SECONDS,
    ) -> Call:
        """Run it to its end. env: variables on top of the usual ones.

        holding: descriptors that it finds open as 3, 4, … before: a program and its options that
        starts it, such as `setpriv --bounding-set=-sys_admin`.
        """
        self._note(words)
        shown = self.typed(words, before, env, cwd, stdin, holding)
        running = self.host.start(
            [*before, *self.command, *self.spelled(words)],
            stdin=stdin,
            env={**self.env, **(env or {})},
            cwd=cwd or self.directory,
            holding=holding,
            shown=shown,
        )
        self.made.append(running)
        call = running.wait(seconds)
        self.calls.append(call)
        return call

    def start(
        self,
        *words: str | bytes,
        stdin: bytes | int | None = b"",
        env: Mapping[str, str] | None = None,
        before: Sequence[str] = (),
        terminal: bool = False,
        moment: Moment | None = None,
    ) -> Running:
        """Start it and leave it running.

        terminal: on a terminal of its own. moment: at which it is held up.
        """
        self._note(words)
        # To keep a compiled module is a change, too, but of the first start only.
        same_each_time = {"PYTHONDONTWRITEBYTECODE": "1"} if moment else {}
        shown = self.typed(words, before, env, stdin=stdin, terminal=terminal)
        if moment and moment.number is not None:
            self.held_up = (shown, moment)
        running = self.host.start(
            [*before, *self.command, *self.spelled(words)],
            stdin=stdin,
            env={**self.env, **same_each_time, **(env or {})},
            cwd=self.directory,
            shown=shown,
            terminal=terminal,
            moment=moment,
        )
        self.made.append(running)
        return running

    def spelled(self, words: Sequence[str | bytes]) -> list[str | bytes]:
        """What is typed, in the spelling of the program under test."""
        return [*words]

    def typed(
        self,
        words: Sequence[str | bytes],
        before: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stdin: bytes | int | None = b"",
        holding: Sequence[int] = (),
        terminal: bool = False,
    ) -> str:
        """What a person would have typed, with all that is this test's own."""
        given = {**self.env, **(env or {})}
        return show_call(
            ["mydocker", *words],
            before=before,
            env={name: value for name, value in given.items() if self.usual.get(name) != value},
            cwd=None if cwd == self.directory else cwd,
            stdin=stdin,
            holding=holding,
            terminal=terminal,
        )

    def put(self, name: str, content: str, mode: int) -> str:
        """Make a file that the host and the image both have, at the same path. Returns the path."""
        path = self.root.parent / "files" / name
        for place in (path, self.root.parent / IMAGE / path.relative_to("/")):
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(content)
            place.chmod(mode)
        self.new = self.new.with_files([self.root.parent / "files"])
        return str(path)

    def another_root(self) -> dict[str, str]:
        """The environment for a second container at the same time, with the same images.

        Roots never see each other, and until 5.7 one has room for one container.
        """
        root = self.root.with_name("another-root")
        shutil.copytree(self.root / "images", root / "images", symlinks=True)
        self.new = self.new.with_files([root])
        return {"MYDOCKER_ROOT": str(root)}

    def notice(self) -> None:
        """Give it the time to hear that a container has ended, whose minder has ended too."""

    def _note(self, words: Sequence[str | bytes]) -> None:
        """Remember a container that stays when it has ended: one that is run without --rm."""
        if words[:1] != ("run",):
            return
        name, rest = "", [os.fsdecode(word) for word in words[1:]]
        while rest and rest[0].startswith("-") and rest[0] != "--":
            option, _, value = rest.pop(0).partition("=")
            if option == "--rm":
                return
            if option in WITH_A_VALUE and not value and rest:
                value = rest.pop(0)
            name = value if option == "--name" else name
        if name:
            self.kept.add(name)
        else:
            self._nameless += 1

    def may_leave(self, *kinds: str) -> None:
        """Pardon leaks of these kinds in this test, see `leaks.DEALT_WITH`.

        Who may leave a cgroup was killed, and has not removed a record either.
        """
        self.pardoned.update(kinds, ["record"] if "cgroup" in kinds else [])

    def left_behind(self, always: Collection[str] = ()) -> list[leaks.Leak]:
        """What is there now and was not at the beginning, once things have settled.

        always: the kinds of what is known to stay; nobody waits for it to go.
        """
        left: list[leaks.Leak] = []

        def is_settled() -> bool:
            nonlocal left
            left = self._compare()
            return all(leak.kind in always for leak in left)

        self.host.until(is_settled, SETTLE_SECONDS)
        return left

    def left_at_the_end(self, always: Collection[str] = ()) -> list[leaks.Leak]:
        """What fails the test. always: see `left_behind`."""
        return self.left_behind(always)

    def _compare(self) -> list[leaks.Leak]:
        directories = [self.root.parent]
        found = leaks.compare(self.new, leaks.take(self.host, directories))
        found += leaks.of_containers(self.root.parent, self.kept, self._nameless)
        return [leak for leak in found if leak.kind not in self.pardoned]


class EngineUnderTest(Mydocker):
    """A real engine in the place of mydocker, on the host that it keeps; see `dojo.engines`."""

    def __init__(self, engine: Engine, root: Path, caches: Path) -> None:
        super().__init__(engine.command, engine.host, root, caches)
        self.engine = engine
        self.env |= engine.env
        self.usual = dict(self.env)

    def spelled(self, words: Sequence[str | bytes]) -> list[str | bytes]:
        return self.engine.words(words)

    def put(self, name: str, content: str, mode: int) -> str:
        path = super().put(name, content, mode)
        self.engine.put(self.root.parent / "files")
        return path

    def notice(self) -> None:
        """It is told by what minded the container, and its `ps` then knows."""
        self.host.until(self.engine.knows_what_lives)

    def left_behind(self, always: Collection[str] = ()) -> list[leaks.Leak]:
        self.notice()
        return super().left_behind(always)

    def left_at_the_end(self, always: Collection[str] = ()) -> list[leaks.Leak]:
        """What is left when the engine has removed its containers, as a person would."""
        self.engine.clear()
        return super().left_behind(always)


class ScratchHosts:
    """Makes scratch hosts, one after the other, and what each needs on disk."""

    def __init__(self, directory: Path, writable: Sequence[Path]) -> None:
        self.directory = directory
        self.writable = [directory, *writable]
        self.names = groups.unique_names()
        image = directory / "busybox"
        self.images = Copies(image, directory / "spare-busybox")
        self._plain_runs: PlainRuns | None = None
        self._engine: Engine | None = None
        self._no_engine = ""  # why it does not start
        with suppress(PermissionError):
            groups.remove_stale()
        image.mkdir()
        rootfs.unpack(rootfs.ensure(clone.here(), say=lambda line: None), image)

    def make(self, guarded: bool = True) -> ScratchHost:
        return ScratchHost(next(self.names), machine.patience(), self.writable, guarded)

    def plain_runs(self, command: list[str]) -> "PlainRuns":
        """What the program under test leaves behind whatever it is told to run."""
        if self._plain_runs is None:
            self._plain_runs = _run_plainly(command, self)
        return self._plain_runs

    def always_left(self) -> set[str]:
        """The kinds of what every run leaves, as far as anybody has looked."""
        return self._plain_runs.always() if self._plain_runs else set()

    def engine(self, kind: type[Engine], command: str) -> Engine:
        """The engine of this test run, started if it does not run.

        Raises KataError where it cannot be.
        """
        if self._engine is None and self._no_engine:
            raise KataError(self._no_engine)
        if self._engine is None:
            if missing := kind.missing():
                raise KataError(missing)
            name = next(self.names)
            directory = self.directory / f"{name}-engine"
            directory.mkdir()
            host = EngineHost(name, machine.patience(), self.writable)
            try:
                self._engine = kind(command, host, directory, rootfs.ensure(clone.here()))
            except BaseException as error:
                self._no_engine = str(error)
                host.close()
                raise
        return self._engine

    def clear_engine(self) -> None:
        """Clear the engine for the next test; if that cannot be, the next one gets a new one."""
        if self._engine is not None:
            with suppress(KataError):
                self._engine.clear()
                if self._engine.is_quiet():
                    return
            self.end_engine()

    def end_engine(self) -> None:
        if self._engine is not None:
            self._engine.host.close()
            shutil.rmtree(self._engine.directory)
            self._engine = None

    def lay_out(self, name: str) -> Path:
        """A directory with an empty one to be in, and a MYDOCKER_ROOT that has the image."""
        top = self.directory / name
        (top / "here").mkdir(parents=True)
        (top / IMAGE).parent.mkdir(parents=True)
        self.images.put(top / IMAGE)
        return top

    def clear(self, top: Path) -> None:
        """Remove what was laid out, and what has come to it. Nobody may use it any more."""
        self.images.give_back(top / IMAGE)
        # A container may have made a tree that is too deep for shutil.rmtree.
        subprocess.run(["rm", "-rf", "--one-file-system", str(top)], check=True)


@dataclass(frozen=True)
class PlainRuns:
    """Several runs of a command that does nothing, each on a host of its own.

    left: what was left of each.
    """

    last: Running
    left: list[list[leaks.Leak]]

    def always(self) -> set[str]:
        """The kinds of what each run has left."""
        return set.intersection(*({leak.kind for leak in left} for left in self.left))


def _run_plainly(command: list[str], hosts: ScratchHosts) -> PlainRuns:
    left: list[list[leaks.Leak]] = []
    for _ in range(PLAIN_RUNS):
        with _on_a_host_of_its_own(command, hosts) as under_test:
            call = under_test("run", "--rm", "busybox", "true")
            left.append([] if call.problem else under_test.left_behind())
        if call.problem:
            break  # one that hangs would hang three times
    return PlainRuns(under_test.made[-1], left)


@pytest.fixture(scope="session")
def scratch_hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScratchHosts]:
    """Where scratch hosts come from. On them, programs can write where tests have their files."""
    with surroundings.without_those_of_programs(), session_directory() as directory:
        hosts = ScratchHosts(directory, [tmp_path_factory.getbasetemp()])
        yield hosts
        hosts.end_engine()


@pytest.fixture
def storage_driver(request: pytest.FixtureRequest) -> str | None:
    """The driver of a test that is marked `layers`; None where mydocker may choose."""
    driver: str | None = getattr(request, "param", None)
    return driver


@pytest.fixture
def mydocker(
    request: pytest.FixtureRequest, scratch_hosts: ScratchHosts, storage_driver: str | None
) -> Iterator[Mydocker]:
    """The program under test, on a scratch host of the test's own.

    When the test has passed, what it left there fails it after all (see hooks.py).
    """
    command = command_under_test(request.config)
    make = _on_an_engine if kind_of(command[0]) else _on_a_host_of_its_own
    with make(command, scratch_hosts) as under_test:
        if storage_driver is not None:
            under_test.env["MYDOCKER_STORAGE_DRIVER"] = storage_driver
        request.node.stash[RUN], request.node.stash[HOSTS] = under_test, scratch_hosts
        yield under_test


@contextmanager
def _on_a_host_of_its_own(command: list[str], hosts: ScratchHosts) -> Iterator[Mydocker]:
    host = hosts.make()
    top = hosts.lay_out(host.name)
    try:
        yield Mydocker(command, host, top, hosts.directory / "caches")
    finally:
        host.close()
        hosts.clear(top)


@contextmanager
def _on_an_engine(command: list[str], hosts: ScratchHosts) -> Iterator[Mydocker]:
    kind = kind_of(command[0])
    assert kind is not None
    engine = hosts.engine(kind, command[0])
    top = hosts.lay_out(next(hosts.names))
    try:
        yield EngineUnderTest(engine, top, hosts.directory / "caches")
    finally:
        hosts.clear_engine()
        hosts.clear(top)


def command_under_test(config: pytest.Config) -> list[str]:
    """The words of `--mydocker`. Raises KataError where there is no such program."""
    return program.words_of(config.getoption("--mydocker"))
