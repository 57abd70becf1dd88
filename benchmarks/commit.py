"""How fast `commit` makes an image of a container: ours beside `tar`, in one session.

    sudo .venv/bin/python benchmarks/commit.py [--rounds N] [--smoke]

Three containers, one after the other: in one many small files were written, in one few large ones,
and one has changed little of a large image. The others pack the same tree, the files of the running
container as it sees them itself, through /proc/PID/root, into a file on the same disk:

    tar             tar -cf: the least that can be done, no compression, nothing on the disk yet
    tar, synced     tar -cf; sync FILE: on the disk, as what `commit` makes is before it says so
    tar, gzip       tar -czf: compressed, on one CPU
    tar, pigz       tar | pigz: compressed, on all CPUs
    tar of changes  tar -cf of what the container wrote: what an image made of layers would cost

`commit` also keeps owners as numbers and extended attributes, for which the others were not asked.
Each makes a new file. What is read is in memory: this measures packing and writing.

Every round runs each command once, in another order, so that a slow moment of the machine meets all
of them; before each, what others have written is brought to the disk. What counts is the ratio; an
absolute figure is this machine's, at this hour. `--smoke` takes small trees and one round, to see
that it works.
"""

import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from dojo import clone
from dojo.errors import KataError
from dojo.testkit import rootfs

OURS = "commit"
BARE, SYNCED, GZIP, PIGZ = "tar", "tar, synced", "tar, gzip", "tar, pigz"
CHANGES = "tar of changes"
REFERENCES = (BARE, SYNCED, GZIP)
KIB, MIB = 1 << 10, 1 << 20


@click.command()
@click.option("--rounds", default=5, show_default=True, help="How often each command is run.")
@click.option("--smoke", is_flag=True, help="Small trees and one round, to see that it works.")
def main(rounds: int, smoke: bool) -> None:
    """Time the making of an image of a container."""
    if os.geteuid() != 0:
        sys.exit("benchmarks/commit.py: containers need root: sudo .venv/bin/python …")
    if not shutil.which("pigz"):
        print("pigz is not installed: left out", file=sys.stderr)
    small = SmallFiles(count=2_000 if smoke else 20_000, directories=50 if smoke else 500)
    large = LargeFiles(count=8, size=4 * MIB if smoke else 24 * MIB)
    containers: list[tuple[Tree | None, Tree]] = [(None, small), (None, large), (large, Little())]
    try:
        for in_image, written in containers:
            with tempfile.TemporaryDirectory(prefix="kata-benchmark-") as directory:
                compare(Path(directory), in_image, written, 1 if smoke else rounds)
    except KataError as error:
        sys.exit(f"benchmarks/commit.py: {error}")
    print(f"python: {python_to_use()} ({sys.platform}, {os.cpu_count()} CPUs)")


# What is in a container ----------------------------------------------------------------------


@dataclass(frozen=True)
class SmallFiles:
    """Text, 1 to 8 KiB a file."""

    count: int
    directories: int

    def __str__(self) -> str:
        return f"{self.count} small files"

    def write(self, top: Path) -> None:
        chance = random.Random(1)
        text = words(chance, MIB)
        for number in range(self.count):
            folder = top / f"small/{number % self.directories}"
            if number < self.directories:
                folder.mkdir(parents=True)
            begin, size = chance.randrange(MIB - 8 * KIB), chance.randint(KIB, 8 * KIB)
            (folder / f"{number}.txt").write_bytes(text[begin : begin + size])


@dataclass(frozen=True)
class LargeFiles:
    """One half cannot be compressed, the other is text."""

    count: int
    size: int

    def __str__(self) -> str:
        return f"{self.count} files of {self.size // MIB} MiB"

    def write(self, top: Path) -> None:
        chance = random.Random(2)
        text = words(chance, MIB) * (self.size // MIB)
        (top / "large").mkdir()
        for number in range(self.count):
            content = text if number % 2 else chance.randbytes(self.size)
            (top / f"large/{number}").write_bytes(content)


@dataclass(frozen=True)
class Little:
    """Ten files of text."""

    def __str__(self) -> str:
        return "10 small files"

    def write(self, top: Path) -> None:
        SmallFiles(count=10, directories=1).write(top)


Tree = SmallFiles | LargeFiles | Little


def words(chance: random.Random, size: int) -> bytes:
    """Something that compresses as text does, about three to one."""
    letters = "etaoinshrdlu"
    vocabulary = ["".join(chance.choices(letters, k=chance.randint(2, 10))) for _ in range(5_000)]
    weights = [1 / rank for rank in range(1, len(vocabulary) + 1)]
    return " ".join(chance.choices(vocabulary, weights, k=size // 2)).encode()[:size]


# Measuring -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Command:
    """What to time. makes: the file that it leaves, which is removed before the next one runs."""

    argv: list[str]
    makes: Path


def compare(directory: Path, in_image: Tree | None, written: Tree, rounds: int) -> None:
    """Make a container with these files, time every command on it, and show the times."""
    root = directory / "root"
    image = root / "images/base"
    image.mkdir(parents=True)
    rootfs.unpack(rootfs.ensure(clone.here()), image)
    if in_image:
        in_image.write(image)
    os.environ["MYDOCKER_ROOT"] = str(root)
    os.environ["PYTHONPATH"] = str(clone.here().solutions)
    mydocker = [python_to_use(), "-S", "-P", "-m", "mydocker"]
    with container([*mydocker, "run", "--rm", "-i", "--name", "box", "base"]) as seen:
        written.write(seen)
        commands = {
            OURS: Command([*mydocker, "commit", "box", "copy"], root / "images/copy.tar"),
            **tars_of(seen, directory),
        }
        if in_image:  # what the others cost does not depend on where the files lie
            del commands[GZIP], commands[PIGZ]
            commands[CHANGES] = tar_of(layer_of(root), directory / "changes.tar")
        elif not shutil.which("pigz"):
            del commands[PIGZ]
        times, size = measure(commands, rounds)
    what = f"{written} in a container" + (f" of an image of {in_image}" if in_image else "")
    show(f"{what}: a tar of {size / 1e6:.0f} MB", times, size)


def tars_of(seen: Path, directory: Path) -> dict[str, Command]:
    synced = tar_of(seen, directory / "synced.tar")
    and_sync = ["sh", "-c", '"$@" && sync "$0"', str(synced.makes)]
    return {
        BARE: tar_of(seen, directory / "bare.tar"),
        SYNCED: Command([*and_sync, *synced.argv], synced.makes),
        GZIP: tar_of(seen, directory / "gzip.tar.gz", "--gzip"),
        PIGZ: tar_of(seen, directory / "pigz.tar.gz", "--use-compress-program=pigz"),
    }


def tar_of(top: Path, tar: Path, *options: str) -> Command:
    """Without what is mounted in there: /proc, /sys, /dev."""
    words = ["tar", "--create", f"--file={tar}", *options, "--one-file-system"]
    return Command([*words, f"--directory={top}", "."], tar)


def layer_of(root: Path) -> Path:
    """What the container `box` has written: before chapter 5.7 there is one layer for all."""
    own = root / "writeLayer/box"
    return own if own.is_dir() else own.parent


@contextmanager
def container(run: list[str]) -> Iterator[Path]:
    """A container that runs: gives its files as it sees them itself."""
    # It ends with its stdin, so that it does not stay, however this program ends.
    process = subprocess.Popen(
        [*run, "sh", "-c", "echo ready; exec cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        if process.stdout.readline() != b"ready\n":
            raise KataError("mydocker run: the container does not start")
        yield Path(f"/proc/{first_process(process.pid)}/root")
    finally:
        process.stdin.close()
        process.wait()
        process.stdout.close()


def first_process(pid: int) -> int:
    """The descendant of `run` that is PID 1 in a PID namespace of its own."""
    waiting = [pid]
    while waiting:
        pid = waiting.pop()
        status = Path(f"/proc/{pid}/status").read_text()
        numbers = status.partition("NSpid:")[2].partition("\n")[0].split()
        if len(numbers) > 1 and numbers[-1] == "1":
            return pid
        waiting += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    raise KataError("mydocker run: no process of it is PID 1 of a container")


def python_to_use() -> str:
    """The system's own Python where it is new enough, else the one that runs this."""
    ask = [SYSTEM_PYTHON, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]
    if Path(SYSTEM_PYTHON).exists() and subprocess.run(ask, check=False).returncode == 0:
        return SYSTEM_PYTHON
    return sys.executable


SYSTEM_PYTHON = "/usr/bin/python3"

Times = dict[str, list[float]]


def measure(commands: dict[str, Command], rounds: int) -> tuple[Times, int]:
    """The seconds of each run, by name, and the size of the tar of all files."""
    seconds_of(BARE, commands[BARE])  # so that all that is read is in memory
    commands[BARE].makes.unlink()
    times: Times = {name: [] for name in commands}
    size = 0
    in_order = list(commands.items())
    for _ in range(rounds):
        random.shuffle(in_order)
        for name, command in in_order:
            times[name].append(seconds_of(name, command))
            if name == BARE:
                size = command.makes.stat().st_size
            command.makes.unlink()
    return times, size


def seconds_of(name: str, command: Command) -> float:
    """Raises KataError where the command fails."""
    os.sync()
    begin = time.perf_counter()
    done = subprocess.run(command.argv, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    seconds = time.perf_counter() - begin
    if done.returncode != 0 or not command.makes.exists():
        raise KataError(f"{name}: {done.stderr.decode(errors='replace').strip() or 'no tar'}")
    return seconds


def show(title: str, times: Times, size: int) -> None:
    rounds = len(times[OURS])
    table = Table(title=f"{title}, {rounds} round{'s'[: rounds > 1]}", title_justify="left")
    references = [name for name in REFERENCES if name in times]
    table.add_column("command", no_wrap=True)
    beside = [f"beside {name.removeprefix('tar, ')}" for name in references]
    for column in ("MB/s", "seconds", "least", "most", *beside):
        table.add_column(column, justify="right")
    for name, seconds in times.items():
        median = statistics.median(seconds)
        speed = "-" if name == CHANGES else f"{size / median / 1e6:.0f}"
        figures = [f"{figure:.2f}" for figure in (median, min(seconds), max(seconds))]
        ratios = [f"{ratio(seconds, times[reference]):.2f}" for reference in references]
        table.add_row(name, speed, *figures, *ratios)
    Console().print(table)


def ratio(mine: list[float], others: list[float]) -> float:
    """The median of the ratios of those that ran in the same round."""
    return statistics.median(a / b for a, b in zip(mine, others, strict=True))


if __name__ == "__main__":
    main()
