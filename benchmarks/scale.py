"""How mydocker bears many containers: 1, 10, 100 and 500 that are kept running.

    sudo .venv/bin/python benchmarks/scale.py [--counts 1,10,100,500] [--rounds N] [--svg FILE]
                                              [--smoke]

For each count, so many containers of busybox that sleep are started, one after the other; then it
is measured what there is:

    start       how long each start took: the median of all of them
    one more    how long it takes to start one more, while so many run
    ps          how long `ps` takes that shows all of them
    python      how long Python takes to start and end, for comparison: it is in each of the others
    RSS, dirty  the memory of a monitor, the process that stays with a container: all that it has in
                memory, and the part that is its own, /proc/PID/smaps_rollup; the greatest of all
    rm -f       how long one `rm -f` takes that removes all, and how long that is for each

`one more`, `ps` and `python` run --rounds times, each once in every round, in another order. An
absolute time is this machine's, at this hour; what counts is how it grows: flat for a start, in
proportion for `ps` and `rm -f`. It is drawn as bars, and with --svg as curves. `--smoke` takes 1, 5
and 20, to see that it works.

All that was started is removed again, on Ctrl-C and after a failure as well: with `rm -f`, and what
that leaves, by PID and start time. A signal is heeded between two commands.
"""

import functools
import itertools
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
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from dojo import clone
from dojo.errors import KataError
from dojo.testkit import rootfs

COUNTS, SMOKE_COUNTS = "1,10,100,500", "1,5,20"
SMOKE_ROUNDS = 3
SLEEP = ("busybox", "sleep", "100000")
SYSTEM_PYTHON = "/usr/bin/python3"
CALL_SECONDS = 300.0  # a command that takes longer hangs
END_SECONDS = 10.0
KIB = 1 << 10

# What is expected: milliseconds of `ps` with 500 containers, MiB of a monitor.
PS_MOST, RSS_MOST, DIRTY_MOST = 100.0, 12.0, 5.0


@click.command()
@click.option("--counts", default=COUNTS, show_default=True, help="How many containers.")
@click.option(
    "--rounds",
    type=click.IntRange(1),
    default=10,
    show_default=True,
    help="How often each command is timed.",
)
@click.option("--svg", type=click.Path(dir_okay=False, path_type=Path), help="Draw curves in FILE.")
@click.option("--smoke", is_flag=True, help="Few containers, few rounds, to see that it works.")
def main(counts: str, rounds: int, svg: Path | None, smoke: bool) -> None:
    """Time the commands of the runtime with many containers, and weigh their monitors."""
    if os.geteuid() != 0:
        sys.exit("benchmarks/scale.py: containers need root: sudo .venv/bin/python …")
    # Else each start would compile what it imports; what is compiled goes with the directory.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    rounds = SMOKE_ROUNDS if smoke else rounds
    stop = Stop()
    levels = []
    try:
        with runtime(stop) as mydocker:
            for count in numbers(SMOKE_COUNTS if smoke else counts):
                levels.append(measure(mydocker, count, rounds))
    except KataError as error:
        sys.exit(f"benchmarks/scale.py: {error}")
    except Stopped as stopped:
        sys.exit(128 + stopped.number)
    show(levels, rounds)
    draw(levels)
    judge(levels[-1])
    if svg:
        svg.write_text(as_svg(levels))
    print(f"python: {python_to_use()} ({sys.platform}, {os.cpu_count()} CPUs)")


def numbers(text: str) -> list[int]:
    """The numbers that a text such as "1,10" names, the least first. Raises a usage error."""
    try:
        found = sorted({int(word) for word in text.split(",")})
    except ValueError:
        found = []
    if not found or found[0] < 1:
        raise click.BadParameter("numbers from 1 on, such as 1,10,100", param_hint="--counts")
    return found


# The runtime, and how nothing of it stays ----------------------------------------------------


class Stopped(Exception):
    """A signal asked us to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Stop:
    """Whether a signal has asked us to end. No command is cut short: it would leave half of it."""

    def __init__(self) -> None:
        self._number = 0
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._take)

    def _take(self, number: int, _: object) -> None:
        self._number = number

    def raise_if_asked(self) -> None:
        if self._number:
            raise Stopped(self._number)


@dataclass(frozen=True)
class Runtime:
    """The finished runtime. code: where it lies. root: its MYDOCKER_ROOT. started: ids."""

    code: Path
    root: Path
    stop: Stop
    started: set[str] = field(default_factory=set)

    def start(self) -> str:
        """Start a container that sleeps. Returns its ID."""
        identity = self("run", "-d", "--rm", *SLEEP).strip()
        self.started.add(identity)
        return identity

    def __call__(self, *words: str) -> str:
        """Run a command. Returns what it prints. Raises KataError, and Stopped where asked to."""
        self.stop.raise_if_asked()
        return self.call(*words)

    def call(self, *words: str) -> str:
        argv = [python_to_use(), "-S", "-P", "-m", "mydocker", *words]
        variables = {"PYTHONPATH": str(self.code), "MYDOCKER_ROOT": str(self.root)}
        return output_of(argv, variables)

    def records(self) -> list["Record"]:
        return [Record.read(path) for path in self.root.glob("containers/[!.]*/config.json")]


def output_of(argv: Sequence[str], variables: dict[str, str] | None = None) -> str:
    """Run a command out of reach of the terminal's Ctrl-C, until it ends. Raises KataError.

    Files take what it prints: a pipe would have to be read until all that it started have ended.
    """
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            argv,
            env=os.environ | (variables or {}),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            process_group=0,
        )
        handle = os.pidfd_open(process.pid)
        ended, _, _ = select.select([handle], [], [], CALL_SECONDS)  # wait(timeout) looks seldom
        os.close(handle)
        if not ended:
            process.kill()
        process.wait()
        if not ended:
            raise KataError(f"{argv[-1]}: no end in {CALL_SECONDS:.0f} s")
        output.seek(0)
        errors.seek(0)
        if process.returncode != 0:
            why = errors.read().decode(errors="replace").strip()
            raise KataError(why or f"{argv[-1]}: exit status {process.returncode}")
        return output.read().decode()


@contextmanager
def runtime(stop: Stop) -> Iterator[Runtime]:
    """The runtime, with a root of its own. Afterwards nothing is left of what it has started.

    The code is a copy: nobody changes it meanwhile, and what Python compiles stays in there.
    """
    here = clone.here()
    with tempfile.TemporaryDirectory(prefix="kata-benchmark-") as directory:
        code, root = Path(directory, "code"), Path(directory, "root")
        without = shutil.ignore_patterns("__pycache__")
        shutil.copytree(here.solutions / "mydocker", code / "mydocker", ignore=without)
        (root / "images").mkdir(parents=True)
        shutil.copy(rootfs.ensure(here), root / "images/busybox.tar")
        mydocker = Runtime(code, root, stop)
        try:
            mydocker("run", "--rm", "busybox", "true")  # unpacks the image, compiles the code
            mydocker("ps")
            yield mydocker
        finally:
            remove_all(mydocker)


def remove_all(mydocker: Runtime) -> None:
    """Remove all that was started, whatever state it is in. Raises KataError for what stays."""
    records = mydocker.records()
    if records:
        try:
            mydocker.call("rm", "-f", *(record.name for record in records))
        except KataError as error:
            print(f"benchmarks/scale.py: rm -f: {error}", file=sys.stderr)
    for record in records:
        for process in (record.process, record.monitor):  # a monitor cleans up when the other ends
            if process:
                process.kill()
    identities = {*mydocker.started, *(record.identity for record in records)}
    for group in groups_of(identities):
        remove_group(group)
    if left := groups_of(identities):
        raise KataError(f"not removed: {', '.join(map(str, left))}")


def groups_of(identities: set[str]) -> list[Path]:
    """The cgroups of these containers, in all hierarchies."""
    tops = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        place, _, kind = line.partition(" - ")
        if kind.split()[0] in ("cgroup", "cgroup2"):
            tops.append(Path(place.split()[4]))
    there = [group for top in tops for group in top.glob("mydocker-*")]
    return [group for group in there if group.name.removeprefix("mydocker-") in identities]


def remove_group(group: Path) -> None:
    deadline = time.monotonic() + END_SECONDS
    while time.monotonic() < deadline:
        with suppress(OSError):  # it is busy until its processes have ended
            group.rmdir()
        if not group.exists():
            return
        time.sleep(0.01)


@dataclass(frozen=True)
class Process:
    """start: when it began, in clock ticks since the boot, as proc_pid_stat(5) has it."""

    pid: int
    start: int

    def kill(self) -> None:
        """End it, and wait until it has ended; not another one that has its PID by now."""
        with suppress(ProcessLookupError, FileNotFoundError):
            handle = os.pidfd_open(self.pid)
            try:
                stat = Path(f"/proc/{self.pid}/stat").read_text()
                if int(stat.rpartition(")")[2].split()[19]) == self.start:
                    signal.pidfd_send_signal(handle, signal.SIGKILL)
                    select.select([handle], [], [], END_SECONDS)
            finally:
                os.close(handle)


@dataclass(frozen=True)
class Record:
    """What `containers/NAME/config.json` says, as far as it is of use here."""

    name: str
    identity: str
    monitor: Process
    process: Process | None

    @classmethod
    def read(cls, path: Path) -> "Record":
        found = json.loads(path.read_text())
        process = found["process"] and Process(**found["process"])
        return cls(found["name"], found["id"], Process(**found["monitor"]), process)


@functools.cache
def python_to_use() -> str:
    """The system's own Python where it is new enough, else the one that runs this."""
    ask = [SYSTEM_PYTHON, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]
    if Path(SYSTEM_PYTHON).exists() and subprocess.run(ask, check=False).returncode == 0:
        return SYSTEM_PYTHON
    return sys.executable


# Measuring -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Level:
    """What was measured with so many containers: seconds, and bytes of each monitor."""

    count: int
    starts: list[float]
    more: list[float]
    ps: list[float]
    python: list[float]
    resident: list[int]
    dirty: list[int]
    removal: float


def measure(mydocker: Runtime, count: int, rounds: int) -> Level:
    """Start so many containers, measure, and remove them. Raises KataError."""
    starts = [seconds_of(mydocker.start) for _ in range(count)]
    records = mydocker.records()
    if len(records) != count:
        raise KataError(f"{count} containers were started, there are {len(records)} records")
    more, ps, python = timed_in_rounds(mydocker, rounds)
    weights = [weigh(record.monitor.pid) for record in records]
    if (shown := len(mydocker("ps", "-q").split())) != count:
        raise KataError(f"{count} containers run, ps shows {shown}")
    names = [record.name for record in records]
    removal = seconds_of(lambda: mydocker("rm", "-f", *names))
    if mydocker.records():
        raise KataError("rm -f: not all containers are gone")
    resident, dirty = zip(*weights, strict=True)
    return Level(count, starts, more, ps, python, list(resident), list(dirty), removal)


Times = tuple[list[float], list[float], list[float]]


def timed_in_rounds(mydocker: Runtime, rounds: int) -> Times:
    """The seconds of a start, of `ps` and of Python alone, each once in every round."""
    identities = []
    nothing = [python_to_use(), "-S", "-P", "-c", "pass"]
    times: Times = ([], [], [])
    commands: tuple[Callable[[], object], ...] = (
        lambda: identities.append(mydocker.start()),
        lambda: mydocker("ps"),
        lambda: output_of(nothing),
    )
    in_order = list(zip(commands, times, strict=True))
    for _ in range(rounds):
        random.shuffle(in_order)
        for command, seconds in in_order:
            seconds.append(seconds_of(command))
        mydocker("rm", "-f", identities.pop())
    return times


def seconds_of(command: Callable[[], object]) -> float:
    begin = time.perf_counter()
    command()
    return time.perf_counter() - begin


def weigh(pid: int) -> tuple[int, int]:
    """The bytes of a process in memory, and those of them that are its own and written to."""
    sizes: dict[str, int] = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, size, _ = line.split()
        sizes[name] = int(size) * KIB
    return sizes["Rss:"], sizes["Private_Dirty:"]


# Showing -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Curve:
    """name: what it shows. unit: of its values. of: its value at a level."""

    name: str
    unit: str
    of: Callable[[Level], float]

    def text(self, level: Level) -> str:
        value = self.of(level)
        return f"{value:.1f}" if self.unit != "s" else f"{value:.2f}"


START = Curve("start", "ms", lambda level: 1000 * statistics.median(level.starts))
MORE = Curve("one more", "ms", lambda level: 1000 * statistics.median(level.more))
PS = Curve("ps", "ms", lambda level: 1000 * statistics.median(level.ps))
PYTHON = Curve("python", "ms", lambda level: 1000 * statistics.median(level.python))
RSS = Curve("RSS", "MiB", lambda level: max(level.resident) / KIB**2)
DIRTY = Curve("dirty", "MiB", lambda level: max(level.dirty) / KIB**2)
REMOVAL = Curve("rm -f", "s", lambda level: level.removal)
EACH = Curve("for each", "ms", lambda level: 1000 * level.removal / level.count)
CURVES = (START, MORE, PS, PYTHON, RSS, DIRTY, REMOVAL, EACH)


def show(levels: list[Level], rounds: int) -> None:
    title = f"containers that run; medians, {rounds} rounds"
    table = Table(title=title, title_justify="left")
    for column in ("count", *(f"{curve.name}\n{curve.unit}" for curve in CURVES)):
        table.add_column(column, justify="right")
    for level in levels:
        table.add_row(str(level.count), *(curve.text(level) for curve in CURVES))
    Console().print(table)


def draw(levels: list[Level]) -> None:
    """Bars, all of one curve to the same scale."""
    table = Table(box=None, padding=(0, 1), show_header=False)
    for justify in ("left", "right", "right", "left"):
        table.add_column(justify=justify)
    for curve in (MORE, PS, EACH, RSS, DIRTY):
        most = max(curve.of(level) for level in levels)
        name = f"rm -f {curve.name}" if curve is EACH else curve.name
        for level in levels:
            bar = "█" * round(BAR_WIDTH * curve.of(level) / most) or "▏"
            table.add_row(name, str(level.count), f"{curve.text(level)} {curve.unit}", bar)
            name = ""
        table.add_row()
    Console().print(table)


BAR_WIDTH = 40


def judge(level: Level) -> None:
    """Say what was expected, and what came of it, with the most containers."""
    for what, curve, most in (
        ("ps", PS, PS_MOST),
        ("the RSS of a monitor", RSS, RSS_MOST),
        ("what is private and dirty of it", DIRTY, DIRTY_MOST),
    ):
        verdict = "as expected" if curve.of(level) <= most else "MORE than expected"
        found = f"{curve.text(level)} {curve.unit} of at most {most:.0f}"
        print(f"{what}, with {level.count} containers: {found}: {verdict}")


# Curves --------------------------------------------------------------------------------------

Point = tuple[float, float]

PANEL_WIDTH, PANEL_HEIGHT, MARGIN = 340, 220, 50
COLOURS = ("#1f6feb", "#d1242f")


def as_svg(levels: list[Level]) -> str:
    most = levels[-1]
    every_start = [(float(i), 1000 * seconds) for i, seconds in enumerate(most.starts)]
    panels = [
        panel("start of one more, ms", {"each": every_start, "median": points(MORE, levels)}),
        panel("ps, ms", {"ps": points(PS, levels), "python alone": points(PYTHON, levels)}),
        panel("memory of a monitor, MiB", {c.name: points(c, levels) for c in (RSS, DIRTY)}),
        panel("rm -f of all, s", {"rm -f": points(REMOVAL, levels)}),
    ]
    width, height = PANEL_WIDTH + 2 * MARGIN, PANEL_HEIGHT + 2 * MARGIN
    placed = [
        f'<g transform="translate({number % 2 * width + MARGIN} {number // 2 * height + MARGIN})">'
        f"{content}</g>"
        for number, content in enumerate(panels)
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * width} {2 * height}"'
        ' font-family="sans-serif" font-size="12">\n'
        '<rect width="100%" height="100%" fill="white"/>\n' + "\n".join(placed) + "\n</svg>\n"
    )


def points(curve: Curve, levels: list[Level]) -> list[Point]:
    return [(level.count, curve.of(level)) for level in levels]


def panel(title: str, curves: dict[str, list[Point]]) -> str:
    """A picture with axes from 0 on. A curve of many points is drawn as dots."""
    right = max(x for found in curves.values() for x, _ in found) or 1
    top = nice(max(y for found in curves.values() for _, y in found))

    def place(x: float, y: float) -> str:
        return f"{x / right * PANEL_WIDTH:.1f},{PANEL_HEIGHT - y / top * PANEL_HEIGHT:.1f}"

    parts = [text(0, -14, title, weight="bold")]
    parts.append(text(PANEL_WIDTH / 2, PANEL_HEIGHT + 34, "containers that run", "middle"))
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = PANEL_HEIGHT * (1 - share)
        parts.append(f'<path d="M0 {y}H{PANEL_WIDTH}" stroke="#d0d7de"/>')
        parts.append(text(-6, y + 4, f"{top * share:g}", anchor="end"))
        parts.append(text(PANEL_WIDTH * share, PANEL_HEIGHT + 18, f"{right * share:g}", "middle"))
    for number, ((name, found), colour) in enumerate(
        zip(curves.items(), itertools.cycle(COLOURS), strict=False)
    ):
        places = [place(*point) for point in found]
        if len(places) <= MOST_TO_JOIN:
            line = " ".join(places)
            parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}"/>')
        radius = 3 if len(places) <= MOST_TO_JOIN else 1
        for at in places:
            x, y_text = at.split(",")
            parts.append(f'<circle cx="{x}" cy="{y_text}" r="{radius}" fill="{colour}"/>')
        parts.append(text(PANEL_WIDTH, -14 - 14 * number, name, anchor="end", fill=colour))
    return "".join(parts)


MOST_TO_JOIN = 12


def text(
    x: float, y: float, words: str, anchor: str = "start", fill: str = "black", weight: str = ""
) -> str:
    bold = f' font-weight="{weight}"' if weight else ""
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" fill="{fill}"{bold}>{words}</text>'


def nice(value: float) -> float:
    """The least of 1, 2, 4, 6, 8 times a power of ten that is no less."""
    power = 10.0 ** (len(str(int(value))) - 1) if value >= 1 else 0.1
    while power > value > 0:
        power /= 10
    return next(step * power for step in (1, 2, 4, 6, 8, 10) if step * power >= value)


if __name__ == "__main__":
    main()
