"""Flakes: the chapters' tests again and again on the finished runtime, where all must be green.

In an order that is new each time (pytest-randomly), and beside processes that take the CPU from
them: a test that waits for time, and not for a condition, fails sooner or later.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree

from dojo.course.catalogue import Catalogue
from dojo.course.steps import Steps
from dojo.errors import KataError
from dojo.teeth.runs import outcome_of, program_in
from dojo.testkit import surroundings

# It ends with whoever started it, however that ends.
BUSY = "import os\nparent = os.getppid()\nwhile os.getppid() == parent: pass"
BUSY_LOOPS = 2
SECONDS = 1800.0  # for one round


@dataclass(frozen=True)
class Round:
    """All chapters once. seed: of the order. failed: what each test said that failed, by name."""

    seed: int
    seconds: float
    passed: int
    failed: dict[str, str]


def measure(catalogue: Catalogue, rounds: int, seed: int, workers: int = 2) -> Iterator[Round]:
    """Run all chapters that often, with the seeds from `seed` on.

    Raises KataError where pytest-randomly is not installed, or pytest itself gives up.
    """
    state = Steps(catalogue).state(catalogue.chapters[-1])
    for number in range(seed, seed + rounds):
        with TemporaryDirectory() as directory, _busy_loops(BUSY_LOOPS):
            yield _run(catalogue, state, number, workers, Path(directory) / "report.xml")


def _run(catalogue: Catalogue, state: Path, seed: int, workers: int, report: Path) -> Round:
    begin = time.monotonic()
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "randomly"),
            *(f"--randomly-seed={seed}", f"--numprocesses={workers}", "--mydocker"),
            *(program_in(state), f"--junitxml={report}", "--draw-anew"),
            str(catalogue.clone.chapters),
        ],
        cwd=catalogue.clone.root,
        env=surroundings.for_tests(os.environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=SECONDS,
        check=False,
    )
    if done.returncode not in (0, 1):
        said = (done.stderr or done.stdout).strip().splitlines() or ["nothing"]
        raise KataError(f"pytest ended with {done.returncode} and said: {said[-1]}")
    passed, failed = 0, {}
    for case in ElementTree.parse(report).iter("testcase"):
        outcome = outcome_of(case)
        passed += outcome.result == "passed"
        if outcome.result in ("failed", "error"):
            failed[f"{case.attrib['classname']}::{case.attrib['name']}"] = outcome.message
    return Round(seed, time.monotonic() - begin, passed, failed)


@contextmanager
def _busy_loops(number: int) -> Iterator[None]:
    loops = [subprocess.Popen([sys.executable, "-I", "-S", "-c", BUSY]) for _ in range(number)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()
