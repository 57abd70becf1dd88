"""Wrong solutions: each has one mistake that people make, and the chapter's tests must notice.

See dojo/teeth/wrong.py for what a file in tests/wrong/ holds.
"""

import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from dojo import clone
from dojo.course.catalogue import Catalogue, Chapter
from dojo.course.steps import Steps
from dojo.teeth import proofs
from dojo.teeth import wrong as wrong_solutions
from dojo.teeth.wrong import Wrong
from dojo.testkit import lab
from tests.learners import require_lab

CATALOGUE = Catalogue(clone.here())
ALL = wrong_solutions.read_all(CATALOGUE)
LEAST_PER_CHAPTER = 5


@cache
def state_of(chapter: Chapter) -> Path:
    return Steps(CATALOGUE).state(chapter)


def what_goes_into(wrong: Wrong) -> list[Path | str]:
    chapter = CATALOGUE.chapter(wrong.chapter)
    return [*proofs.files_of(chapter), wrong.path, state_of(chapter)]


@pytest.mark.proof(of=what_goes_into)
@pytest.mark.parametrize("wrong", ALL, ids=lambda wrong: f"{wrong.chapter}-{wrong.path.stem}")
def test_a_wrong_solution_is_noticed(
    wrong: Wrong, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    reason = lab.cannot(CATALOGUE.chapter(wrong.chapter).needs)
    if reason is not None:
        if request.config.getoption("--strict-lab"):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    verdict = wrong_solutions.judge(CATALOGUE, wrong, tmp_path)

    missed = ", ".join(verdict.unnoticed)
    assert not missed, f"{missed} does not notice: {wrong.title}\n{verdict.output}"
    for outcome in verdict.failed.values():
        assert all(f"\n  {word} " in outcome.message for word in ("why", "read")), verdict.output
        assert "\n  expected " in outcome.message, verdict.output


def test_none_is_noticed_for_a_name_that_does_not_exist(tmp_path: Path) -> None:
    """A NameError is noticed by any test, and says nothing about the mistake that is meant."""
    for wrong in ALL:
        state = state_of(CATALOGUE.chapter(wrong.chapter))
        tree = tmp_path / wrong.path.parent.name / wrong.path.stem
        for name in re.findall("^--- a/(.*)$", wrong.path.read_text(), re.MULTILINE):
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(state / name, tree / name)
        wrong_solutions.apply(wrong.path, tree)
    ruff = [sys.executable, "-m", "ruff", "check", "--isolated", "--no-cache", "--select=F821"]
    command = [*ruff, "--output-format=concise", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_there_are_enough_of_each_chapter() -> None:
    for chapter in CATALOGUE.chapters:
        there = [wrong for wrong in ALL if wrong.chapter == chapter.number]
        assert len(there) >= LEAST_PER_CHAPTER, f"{chapter.number} has {len(there)}"


def test_where_it_was_held_up_is_told(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    require_lab(request)
    (wrong,) = (wrong for wrong in ALL if wrong.name == "5.2/record-written-in-place")
    verdict = wrong_solutions.judge(CATALOGUE, wrong, tmp_path)
    (outcome,) = verdict.failed.values()
    assert "\n  held up   mydocker run -d --rm --name box busybox true\n" in outcome.message
    assert re.search(r"\n  before    write /\S*/containers/box/config.json\n", outcome.message)


def test_what_the_test_host_refused_is_told(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """What a container writes to a devtmpfs would stay on this machine."""
    require_lab(request)
    if lab.cannot(["unotify"]):
        pytest.skip("no seccomp notifications here")
    before = sorted(os.listdir("/dev"))
    (wrong,) = (wrong for wrong in ALL if wrong.name == "4.1/devtmpfs-of-the-machine")
    verdict = wrong_solutions.judge(CATALOGUE, wrong, tmp_path)
    for outcome in verdict.failed.values():
        assert "\n  refused   mount -t devtmpfs: " in outcome.message
    assert sorted(os.listdir("/dev")) == before
