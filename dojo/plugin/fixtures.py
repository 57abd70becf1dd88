"""The `mydocker` fixture: the program under test, on a test host of the test's own."""

import shutil
import subprocess
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from dojo import clone
from dojo.engines import Engine, EngineHost, kind_of
from dojo.errors import KataError
from dojo.scratch import Running, TestHost, groups, leaks
from dojo.scratch.copies import Copies
from dojo.scratch.network import Outside
from dojo.scratch.place import session_directory
from dojo.testkit import machine, program, rootfs, surroundings
from dojo.testkit.mydocker import IMAGE, Mydocker

RUN = pytest.StashKey["Mydocker"]()
HOSTS = pytest.StashKey["TestHosts"]()
PLAIN_RUNS = 3  # what each of them leaves is hardly left by chance


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

    def lay_image(self, tar: Path, name: str) -> None:
        self.engine.lay_image(tar, name)

    def notice(self) -> None:
        """It is told by what monitored the container, and its `ps` then knows."""
        self.host.until(self.engine.knows_what_lives)

    def left_behind(self, always: Collection[str] = ()) -> list[leaks.Leak]:
        self.notice()
        return super().left_behind(always)

    def left_at_the_end(self, always: Collection[str] = ()) -> list[leaks.Leak]:
        """What is left when the engine has removed its containers, as a person would."""
        self.engine.clear()
        return super().left_behind(always)


class TestHosts:
    """Makes test hosts, one after the other, and what each needs on disk."""

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

    def make(self, guarded: bool = True) -> TestHost:
        return TestHost(next(self.names), machine.patience(), self.writable, guarded)

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


def _run_plainly(command: list[str], hosts: TestHosts) -> PlainRuns:
    left: list[list[leaks.Leak]] = []
    for _ in range(PLAIN_RUNS):
        with _on_a_host_of_its_own(command, hosts) as under_test:
            call = under_test("run", "--rm", "busybox", "true")
            left.append([] if call.problem else under_test.left_behind())
        if call.problem:
            break  # one that hangs would hang three times
    return PlainRuns(under_test.made[-1], left)


@pytest.fixture(scope="session")
def scratch_hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestHosts]:
    """Where test hosts come from. On them, programs can write where tests have their files."""
    with surroundings.without_those_of_programs(), session_directory() as directory:
        hosts = TestHosts(directory, [tmp_path_factory.getbasetemp()])
        yield hosts
        hosts.end_engine()


@pytest.fixture
def storage_driver(request: pytest.FixtureRequest) -> str | None:
    """The driver of a test that is marked `layers`; None where mydocker may choose."""
    driver: str | None = getattr(request, "param", None)
    return driver


@pytest.fixture
def mydocker(
    request: pytest.FixtureRequest, scratch_hosts: TestHosts, storage_driver: str | None
) -> Iterator[Mydocker]:
    """The program under test, on a test host of the test's own.

    When the test has passed, what it left there fails it after all (see hooks.py).
    """
    command = command_under_test(request.config)
    make = _on_an_engine if kind_of(command[0]) else _on_a_host_of_its_own
    with make(command, scratch_hosts) as under_test:
        if storage_driver is not None:
            under_test.env["MYDOCKER_STORAGE_DRIVER"] = storage_driver
        request.node.stash[RUN], request.node.stash[HOSTS] = under_test, scratch_hosts
        yield under_test


@pytest.fixture
def outside(mydocker: Mydocker) -> Iterator[Outside]:
    """The world outside: a network beside that of the test host, with a wire between them."""
    with Outside(mydocker.host) as world:
        mydocker.look_again()
        yield world


@contextmanager
def _on_a_host_of_its_own(command: list[str], hosts: TestHosts) -> Iterator[Mydocker]:
    host = hosts.make()
    top = hosts.lay_out(host.name)
    try:
        yield Mydocker(command, host, top, hosts.directory / "caches")
    finally:
        host.close()
        hosts.clear(top)


@contextmanager
def _on_an_engine(command: list[str], hosts: TestHosts) -> Iterator[Mydocker]:
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
