"""Runs of a chapter's tests against a given mydocker: how each test ended, and what it said."""

import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

from dojo import clone
from dojo.course.catalogue import Chapter
from dojo.testkit import surroundings

SECONDS = 1200


@dataclass(frozen=True)
class Outcome:
    """How one test ended: "passed", "failed", "skipped" or "error", and what it said.

    task: the number of the task that it belongs to. guard: whether it may pass before that.
    """

    result: str
    message: str
    task: int = 0
    guard: bool = False


def run_chapter(
    chapter: Chapter, state: Path, directory: Path, *options: str
) -> tuple[dict[str, Outcome], str]:
    """Run a chapter's tests against the mydocker in `state`. See `run_tests`."""
    return run_tests(chapter, program_in(state), directory, *options)


def program_in(state: Path) -> str:
    """The command that starts the mydocker of a state."""
    return f"env PYTHONPATH={state} {sys.executable} -S -m mydocker"


def run_tests(
    chapter: Chapter, program: str, directory: Path, *options: str
) -> tuple[dict[str, Outcome], str]:
    """Run a chapter's tests against any program, as pytest alone would.

    directory: where the report goes. options: more for pytest. Returns the outcome of each test by
    its name, parameters included, and all that pytest printed.
    """
    report = directory / "report.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--draw-anew"]
    done = subprocess.run(
        [*command, "--mydocker", program, f"--junitxml={report}", *options, str(chapter.folder)],
        cwd=clone.here().root,
        env=surroundings.for_tests(os.environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=SECONDS,
        check=False,
    )
    output = done.stdout + done.stderr
    stopped = (2,) if "-x" in options else ()  # what xdist ends with at the first failure
    assert done.returncode in (0, 1, *stopped), output
    cases = ElementTree.parse(report).iter("testcase")
    return {case.attrib["name"]: outcome_of(case) for case in cases}, output


def outcome_of(case: ElementTree.Element) -> Outcome:
    about = {each.attrib["name"]: each.attrib["value"] for each in case.iter("property")}
    task, guard = int(about.get("task", 0)), about.get("guard") == "True"
    for tag, result in (("error", "error"), ("failure", "failed"), ("skipped", "skipped")):
        for child in case.iter(tag):
            return Outcome(result, child.text or child.attrib.get("message", ""), task, guard)
    return Outcome("passed", "", task, guard)


def first_failure(chapter: Chapter, state: Path, directory: Path, workers: int) -> str | None:
    """The name of the first test that fails against the mydocker in `state`; None if none does."""
    options = ["-x", "-n", str(workers), "--maxschedchunk=1"]
    outcomes, _ = run_chapter(chapter, state, directory, *options)
    bad = (name for name, outcome in outcomes.items() if outcome.result in ("failed", "error"))
    return next(bad, None)
