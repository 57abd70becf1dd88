"""How long a container takes to start and end: ours beside others, in one session.

    sudo .venv/bin/python benchmarks/start.py [--rounds N] [--log-rounds N] [--smoke]

Of a container that runs `true`, and of one that writes much:

    on another root, or none   chapter 3.3: namespaces alone, beside runc and bwrap
    of an image, with a layer  the finished runtime, with all that it does: a record, a layer, a
                               log. Beside runc and crun, for which this program makes, mounts,
                               unmounts and removes a layer, by system calls: that is the least
    detached, until it runs    the same until the command returns; how it ends is not timed
    yes | head -c 500000000    in a container, all of which goes to its log, beside the same busybox
                               in a chroot that writes into a file

Every round runs each command once, in another order, so that a slow moment of the machine, or what
the command before has left warm in the kernel, meets all of them. What counts is the ratio; an
absolute time is this machine's, at this hour. `--smoke` runs three rounds and writes little, to see
that it works.
"""

import ctypes
import functools
import json
import os
import random
import select
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import click
from rich.console import Console
from rich.table import Table

from dojo import clone
from dojo.course.catalogue import Catalogue
from dojo.course.steps import Steps
from dojo.errors import KataError
from dojo.testkit import rootfs

CHAPTER = "3.3"
RUNC = "runc run"
RUNC_LAYER = "runc run + overlay"
RUNC_DETACHED = "runc run -d + overlay"
FILE = "into a file"
SYSTEM_PYTHON = "/usr/bin/python3"
MEGABYTE = 1_000_000
END_SECONDS = 30.0
PATIENCE_SECONDS = 2.0


@click.command()
@click.option(
    "--rounds",
    type=click.IntRange(1),
    default=40,
    show_default=True,
    help="How often each start is timed.",
)
@click.option(
    "--log-rounds",
    type=click.IntRange(0),
    default=3,
    show_default=True,
    help="How often 500 MB are written, 0 for not at all.",
)
@click.option("--smoke", is_flag=True, help="Three rounds, to see that it works.")
def main(rounds: int, log_rounds: int, smoke: bool) -> None:
    """Time the start and the end of a container that runs `true`, and one that writes much."""
    if os.geteuid() != 0:
        sys.exit("benchmarks/start.py: containers need root: sudo .venv/bin/python …")
    # Else each start would compile what it imports; what is compiled goes with the directory.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        with prepared() as place:
            starts = measure(starts_of(place), 3 if smoke else rounds, warm_up=1)
            show_starts(starts, place)
            size = 5 * MEGABYTE if smoke else 500 * MEGABYTE
            if smoke or log_rounds > 0:
                written = measure(writers_of(place, size), 1 if smoke else log_rounds)
                show_writers(written, size)
    except KataError as error:
        sys.exit(f"benchmarks/start.py: {error}")
    print(f"python: {python_to_use()} ({sys.platform}, {os.cpu_count()} CPUs)")


# What to run ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Command:
    """timed: runs it. tidy: removes, untimed, what it is to leave. Both may raise KataError."""

    timed: Callable[[], None]
    tidy: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class Runtime:
    """A state of the runtime. code: where it lies. root: its MYDOCKER_ROOT."""

    name: str
    code: Path
    root: Path

    def call(self, *words: str) -> None:
        """Run a command of it, with the least that Python can start with."""
        variables = {"PYTHONPATH": str(self.code), "MYDOCKER_ROOT": str(self.root)}
        call([python_to_use(), "-S", "-P", "-m", "mydocker", *words], variables)

    def remove_all(self) -> None:
        """Remove what is still there because we were interrupted."""
        if names := [path.name for path in self.root.glob("containers/[!.]*")]:
            self.call("rm", "-f", *names)

    def wait_until_none_is_left(self) -> None:
        """Wait until what was started in the background with --rm has ended and is removed."""
        deadline = time.monotonic() + END_SECONDS
        while any(self.root.glob("containers/*")):
            if time.monotonic() > deadline:
                raise KataError(f"{self.name}: a container that runs `true` does not go away")
            time.sleep(0.001)


@dataclass(frozen=True)
class Place:
    """What all commands work with. busybox: a root file system."""

    directory: Path
    busybox: Path
    chapter: Runtime
    final: Runtime
    undo: ExitStack


@contextmanager
def prepared() -> Iterator[Place]:
    """A directory with the code and the files of all containers; it is removed afterwards.

    The code is a copy: nobody changes it meanwhile, and what Python compiles stays in there.
    """
    here = clone.here()
    catalogue = Catalogue(here)
    with ExitStack() as undo:
        prefix = "kata-benchmark-"
        directory = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix=prefix)))
        tar = rootfs.ensure(here)
        busybox, root = directory / "rootfs", directory / "root"
        busybox.mkdir()
        rootfs.unpack(tar, busybox)
        (root / "images").mkdir(parents=True)
        shutil.copy(tar, root / "images/busybox.tar")
        state = Steps(catalogue).state(catalogue.chapter(CHAPTER))
        chapter = Runtime(f"mydocker {CHAPTER}", copy_of(state, directory / "chapter"), root)
        name = f"mydocker {catalogue.chapters[-1].number}"
        final = Runtime(name, copy_of(here.solutions, directory / "final"), root)
        undo.callback(final.remove_all)
        yield Place(directory, busybox, chapter, final, undo)


def copy_of(state: Path, to: Path) -> Path:
    without = shutil.ignore_patterns("__pycache__")
    shutil.copytree(state / "mydocker", to / "mydocker", ignore=without)
    return to


def starts_of(place: Place) -> dict[str, Command]:
    """What starts a container, by name. What cannot run here is left out, and that is said."""
    chapter, final = place.chapter, place.final
    commands = {
        chapter.name: Command(lambda: chapter.call("run", "--rm", "busybox", "true")),
        f"{chapter.name} -m 64m": Command(
            lambda: chapter.call("run", "--rm", "-m", "64m", "busybox", "true")
        ),
        "python3 -I -S -c pass": Command(lambda: call([python_to_use(), "-ISc", "pass"])),
        final.name: Command(lambda: final.call("run", "--rm", "busybox", "true")),
        f"{final.name} -d": Command(
            lambda: final.call("run", "-d", "--rm", "busybox", "true"),
            final.wait_until_none_is_left,
        ),
    }
    others = (("runc", with_runc), ("crun", with_crun), ("bwrap", with_bwrap))
    for program, its_commands in others:
        if not shutil.which(program):
            print(f"{program} is not installed: left out", file=sys.stderr)
            continue
        try:
            found = its_commands(place)
            for command in found.values():
                command.timed()
                command.tidy()
        except KataError as error:
            print(f"{error}: left out", file=sys.stderr)
        else:
            commands |= found
    return commands


def with_runc(place: Place) -> dict[str, Command]:
    """As it is, with a layer, and detached with a layer."""
    identity = f"kata-benchmark-{os.getpid()}"
    bare = bundle(place.directory / "bare", place.busybox)
    layer = Layer(place)
    layered = bundle(place.directory / "layered", layer.merged, readonly=False)

    def foreground() -> None:
        with layer.mounted():
            call(["runc", "run", "--bundle", str(layered), identity])

    def background() -> None:
        layer.mount()
        call(["runc", "run", "--detach", "--bundle", str(layered), identity])

    def end() -> None:
        call(["runc", "delete", "--force", identity])  # whether it is there or not
        layer.remove()

    place.undo.callback(end)
    return {
        RUNC: Command(lambda: call(["runc", "run", "--bundle", str(bare), identity])),
        RUNC_LAYER: Command(foreground),
        RUNC_DETACHED: Command(background, end),
    }


def with_crun(place: Place) -> dict[str, Command]:
    layer = Layer(place)
    layered = bundle(place.directory / "crun", layer.merged, readonly=False)
    identity = f"kata-benchmark-{os.getpid()}"

    def foreground() -> None:
        with layer.mounted():
            call(["crun", "run", "--bundle", str(layered), identity])

    return {"crun run + overlay": Command(foreground)}


def with_bwrap(place: Place) -> dict[str, Command]:
    walls = ["--unshare-all", "--die-with-parent", "--proc", "/proc", "--dev", "/dev"]
    words = ["bwrap", "--bind", str(place.busybox), "/", *walls, "true"]
    return {"bwrap": Command(lambda: call(words))}


def bundle(directory: Path, root: Path, readonly: bool = True) -> Path:
    """An OCI bundle that runs `true`, with the namespaces that runc's own `spec` asks for."""
    directory.mkdir()
    runc = "runc" if shutil.which("runc") else "crun"
    call([runc, "spec", "--bundle", str(directory)])
    config = directory / "config.json"
    specification = json.loads(config.read_text())
    specification["root"] = {"path": str(root), "readonly": readonly}
    specification["process"]["terminal"] = False
    specification["process"]["args"] = ["true"]
    config.write_text(json.dumps(specification))
    return directory


@functools.cache
def python_to_use() -> str:
    """The system's own Python where it is new enough, else the one that runs this.

    The interpreters of version managers are often reached through a script that takes longer to
    start than a container.
    """
    ask = [SYSTEM_PYTHON, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]
    if Path(SYSTEM_PYTHON).exists() and subprocess.run(ask, check=False).returncode == 0:
        return SYSTEM_PYTHON
    return sys.executable


def call(
    argv: Sequence[str], variables: dict[str, str] | None = None, stdout: IO[bytes] | None = None
) -> None:
    """Run a command until it ends, though not until all that it started has. Raises KataError."""
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            argv,
            env=os.environ | (variables or {}),
            stdin=subprocess.DEVNULL,
            stdout=stdout or subprocess.DEVNULL,
            stderr=errors,
        )
        try:
            status = process.wait()
        except BaseException:  # we are to end: so let it, it may have something to clean up
            with suppress(subprocess.TimeoutExpired):
                process.wait(PATIENCE_SECONDS)
            process.kill()
            process.wait()
            raise
        if status != 0:
            errors.seek(0)
            why = errors.read().decode(errors="replace").strip()
            raise KataError(f"{Path(argv[0]).name}: {why or f'exit status {status}'}")


class Layer:
    """What runc and crun have no notion of: a place to write to, above an image.

    It is made and removed as cheaply as can be. In a shell, mount(8), umount(8) and rm(1) would
    come on top.
    """

    def __init__(self, place: Place) -> None:
        self._top = Path(tempfile.mkdtemp(prefix="layer-", dir=place.directory))
        self._lower = place.busybox
        self.merged = self._top / "merged"

    @contextmanager
    def mounted(self) -> Iterator[None]:
        self.mount()
        try:
            yield
        finally:
            self.remove()

    def mount(self) -> None:
        upper, work = self._top / "upper", self._top / "work"
        for directory in (upper, work, self.merged):
            directory.mkdir()
        options = f"lowerdir={self._lower},upperdir={upper},workdir={work}"
        source, target = b"overlay", os.fsencode(self.merged)
        if LIBC.mount(source, target, source, 0, options.encode()) != 0:
            raise KataError(f"mount an overlay: {os.strerror(ctypes.get_errno())}")

    def remove(self) -> None:
        """Remove it, if it is there."""
        if LIBC.umount2(os.fsencode(self.merged), 0) != 0 and os.path.ismount(self.merged):
            raise KataError(f"unmount {self.merged}: {os.strerror(ctypes.get_errno())}")
        for entry in self._top.iterdir():
            shutil.rmtree(entry)


LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.mount.argtypes = [
    *(ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p),
    *(ctypes.c_ulong, ctypes.c_char_p),
]


def writers_of(place: Place, size: int) -> dict[str, Command]:
    """What writes so many bytes, by name."""
    final, name = place.final, f"kata-benchmark-{os.getpid()}"
    written = place.directory / "written"
    shell = ["sh", "-c", f"yes | head -c {size}"]

    def into_a_file() -> None:
        with written.open("wb") as file:
            call(["chroot", str(place.busybox), *shell], stdout=file)
        check_size(written)

    def foreground() -> None:
        final.call("run", "--name", name, "busybox", *shell)
        check_size(final.root / f"containers/{name}/container.log")

    def background() -> None:
        final.call("run", "-d", "--name", name, "busybox", *shell)
        wait_for_end(json.loads((final.root / f"containers/{name}/config.json").read_text()))
        check_size(final.root / f"containers/{name}/container.log")

    def check_size(path: Path) -> None:
        if path.stat().st_size < size:
            raise KataError(f"{path} has {path.stat().st_size} bytes, not {size}")

    def remove_container() -> None:
        final.call("rm", "-f", name)
        os.sync()  # that the next one waits for the disk is not its fault

    def remove_file() -> None:
        written.unlink(missing_ok=True)
        os.sync()

    return {
        FILE: Command(into_a_file, remove_file),
        "into a log and /dev/null": Command(foreground, remove_container),
        "into a log, detached": Command(background, remove_container),
    }


def wait_for_end(record: dict[str, dict[str, int]]) -> None:
    """Wait until a container has ended, and all that it wrote is in its log."""
    with suppress(ProcessLookupError):
        monitor = os.pidfd_open(record["monitor"]["pid"])
        select.select([monitor], [], [])
        os.close(monitor)


# Measuring -----------------------------------------------------------------------------------


def measure(commands: dict[str, Command], rounds: int, warm_up: int = 0) -> dict[str, list[float]]:
    """The seconds of each run, by name. Raises KataError where a command fails.

    warm_up: so many rounds come first that fill the caches, and do not count.
    """
    times: dict[str, list[float]] = {name: [] for name in commands}
    in_order = list(commands.items())
    for number in range(warm_up + rounds):
        random.shuffle(in_order)
        for name, command in in_order:
            begin = time.perf_counter()
            command.timed()
            seconds = time.perf_counter() - begin
            command.tidy()
            if number >= warm_up:
                times[name].append(seconds)
    return times


def show_starts(times: dict[str, list[float]], place: Place) -> None:
    detached = {name: found for name, found in times.items() if " -d" in name}
    layered = {
        name: found
        for name, found in times.items()
        if name == place.final.name or (name.endswith("+ overlay") and name not in detached)
    }
    bare = {name: found for name, found in times.items() if name not in {**detached, **layered}}
    show("on another root, or none", bare, times.get(RUNC), RUNC)
    show("of an image, with a layer", layered, times.get(RUNC_LAYER), RUNC_LAYER)
    show("detached, until it runs", detached, times.get(RUNC_DETACHED), RUNC_DETACHED)


def show(
    what: str, times: dict[str, list[float]], reference: list[float] | None, its_name: str
) -> None:
    rounds = len(next(iter(times.values())))
    table = Table()
    for column in ("command", "median", "least", "most", "beside"):
        table.add_column(column, justify="left" if column == "command" else "right")
    for name, seconds in times.items():
        figures = [statistics.median(seconds), min(seconds), max(seconds)]
        beside = f"{ratio(seconds, reference):.2f}" if reference else "-"
        table.add_row(name, *(f"{figure * 1000:.1f}" for figure in figures), beside)
    print(f"\n{what}: milliseconds, {rounds} round{'s'[: rounds > 1]}, beside {its_name}")
    Console().print(table)


def show_writers(times: dict[str, list[float]], size: int) -> None:
    rounds = len(times[FILE])
    table = Table()
    for column in ("what is written", "MB/s", "seconds", "least", "most", "beside a file"):
        table.add_column(column, justify="left" if column == "what is written" else "right")
    for name, seconds in times.items():
        median = statistics.median(seconds)
        figures = [f"{figure:.2f}" for figure in (median, min(seconds), max(seconds))]
        beside = f"{ratio(seconds, times[FILE]):.2f}"
        table.add_row(name, f"{size / median / MEGABYTE:.0f}", *figures, beside)
    print(f"\nyes | head -c {size}, {rounds} round{'s'[: rounds > 1]}")
    Console().print(table)


def ratio(mine: list[float], others: list[float]) -> float:
    """The median of the ratios of those that ran in the same round."""
    return statistics.median(a / b for a, b in zip(mine, others, strict=True))


if __name__ == "__main__":
    main()
