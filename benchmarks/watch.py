"""How long a learner waits after a save: `kata watch` on the tests of a chapter.

    sudo .venv/bin/python benchmarks/watch.py [--rounds N] [--chapter N] [--smoke]

In a copy of the clone, `kata watch` looks at a chapter whose tests are red. Each round saves a file
of `mydocker/` and takes three times from there: until the first test starts, until it has ended,
and until the summary is there. Between two rounds it waits as a person would, until all stands by.
"""

import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from dojo import clone
from dojo.errors import KataError
from dojo.testkit import rootfs

GOAL = 0.3  # seconds from the save to the first test
SECONDS = 120.0  # for one round
STANDS_BY = 3.0  # seconds in which a person does not save again

# In the copy's chapters: what tells when a test starts and ends.
TELLS = """\
import json
import time


def tell(what):
    with open({path!r}, "a") as file:
        file.write(json.dumps([what, time.time()]) + "\\n")


def pytest_runtest_setup(item):
    tell("starts")


def pytest_runtest_teardown(item):
    tell("ends")
"""


@click.command()
@click.option("--rounds", type=click.IntRange(1), default=10, show_default=True)
@click.option("--chapter", default="3.1", show_default=True, help="Whose tests are run.")
@click.option("--smoke", is_flag=True, help="One round, to see that it works.")
def main(rounds: int, chapter: str, smoke: bool) -> None:
    """Time what comes after a save."""
    if os.geteuid() != 0:
        sys.exit("benchmarks/watch.py: containers need root: sudo .venv/bin/python …")
    try:
        with tempfile.TemporaryDirectory(prefix="kata-watch-") as directory:
            place = Path(directory)
            prepare(place)
            with watching(place, chapter) as child:
                wait_for_summary(child)
                found = [one_round(place, child) for _ in range(1 if smoke else rounds)]
    except KataError as error:
        sys.exit(f"benchmarks/watch.py: {error}")
    show(found, chapter)
    print(f"python: {sys.executable} ({sys.platform}, {os.cpu_count()} CPUs)")


def prepare(place: Path) -> None:
    """A copy of the clone's parts that a check needs, with a program that fails every test."""
    here = clone.here()
    os.environ["KATA_ROOTFS"] = str(rootfs.ensure(here))
    for name in ("dojo", "chapters", "mydocker", "solutions"):
        shutil.copytree(here.root / name, place / name)
    shutil.copy(here.root / "pyproject.toml", place)
    times = str(place / "times")
    (place / "chapters/conftest.py").write_text(TELLS.format(path=times))


@contextmanager
def watching(place: Path, chapter: str) -> Iterator["subprocess.Popen[str]"]:
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    child = subprocess.Popen(
        [sys.executable, "-m", "dojo", "watch", chapter],
        cwd=place,
        env={**kept, "PYTHONPATH": str(place), "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield child
    finally:
        child.send_signal(signal.SIGINT)
        child.communicate()


def wait_for_summary(child: "subprocess.Popen[str]") -> float:
    """Read what it says as far as the offer at the end of a check. Returns the time of day."""
    deadline = time.monotonic() + SECONDS
    assert child.stdout is not None
    shown = ""
    while "Waiting for a save" not in shown:
        line = child.stdout.readline()
        if not line or time.monotonic() > deadline:
            raise KataError(f"kata watch does not come to an end: {shown[-500:]}")
        shown += line
    return time.time()


def one_round(place: Path, child: "subprocess.Popen[str]") -> tuple[float, float, float]:
    """Seconds from a save to the first test's start, to its end, and to the summary."""
    time.sleep(STANDS_BY)
    times = place / "times"
    times.write_text("")
    saved = time.time()
    (place / "mydocker" / "saved.py").write_text(f"at = {saved}\n")
    over = wait_for_summary(child)
    told = [json.loads(line) for line in times.read_text().splitlines()]
    starts = min(when for what, when in told if what == "starts")
    ends = min(when for what, when in told if what == "ends")
    return starts - saved, ends - saved, over - saved


def show(found: list[tuple[float, float, float]], chapter: str) -> None:
    table = Table("from a save", "median s", "least", "most")
    table.title = f"chapter {chapter}, all red, {len(found)} rounds"
    names = ("to the first test", "to its end", "to the summary")
    for name, seconds in zip(names, zip(*found, strict=True), strict=True):
        figures = (statistics.median(seconds), min(seconds), max(seconds))
        table.add_row(name, *(f"{figure:.2f}" for figure in figures))
    Console(width=80).print(table)
    median = statistics.median(first for first, _, _ in found)
    met = "as expected" if median <= GOAL else "NOT as expected"
    print(f"to the first test: {median:.2f} s of at most {GOAL}: {met}")


if __name__ == "__main__":
    main()
