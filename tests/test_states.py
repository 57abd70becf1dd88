"""Every state of the reference against every chapter's tests.

A state passes the tests of its own chapter and of all before it. It fails those of the chapters
after it, every one but the guards: a test that is green without its step tests nothing. The same
within a chapter: where task K is done, the tests of tasks 1 to K pass, and those of K + 1 fail.
Task 1 is asked of the state before the chapter.

All of it takes long, so what follows from the rest is left to `--whole`: that a state fails the
tests of tasks that come later still, and that one in the middle passes those of each chapter
before. The last state runs all.
"""

from functools import cache
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from dojo import clone
from dojo.course.catalogue import Catalogue, Chapter
from dojo.course.steps import Steps
from dojo.teeth import proofs
from dojo.teeth.runs import run_chapter

CATALOGUE = Catalogue(clone.here())
STATES = ("start", *(chapter.number for chapter in CATALOGUE.chapters))


def is_checked_always(state: str, chapter: Chapter) -> bool:
    """The last state, a chapter's own and the one before it."""
    there, wanted = STATES.index(state), STATES.index(chapter.number)
    return state == STATES[-1] or wanted in (there, there + 1)


def pair(state: str, chapter: Chapter) -> ParameterSet:
    marks = [] if is_checked_always(state, chapter) else [pytest.mark.whole]
    return pytest.param(state, chapter, id=f"{state}-{chapter.number}", marks=marks)


ALL = [pair(state, chapter) for state in STATES for chapter in CATALOGUE.chapters]


def what_goes_into(state: str, chapter: Chapter) -> list[Path]:
    return [*proofs.files_of(chapter), directory_of(state)]


@pytest.mark.proof(of=what_goes_into)
@pytest.mark.parametrize(("state", "chapter"), ALL)
def test_a_state_passes_what_it_can_and_fails_what_it_cannot(
    state: str, chapter: Chapter, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    reached = STATES.index(state) >= STATES.index(chapter.number)
    options = [] if reached else ["-m", "not guard"]
    if not reached and not request.config.getoption("--whole"):
        options.append("--up-to-task=1")  # who fails task 1 has a state of its own for task 2
    if request.config.getoption("--strict-lab"):
        options.append("--strict-lab")
    outcomes, output = run_chapter(chapter, directory_of(state), tmp_path, *options)

    assert outcomes, output
    if all(outcome.result == "skipped" for outcome in outcomes.values()):
        pytest.skip(f"none of the tests of {chapter.number} can run here")
    wanted = {"passed", "skipped"} if reached else {"failed", "skipped"}
    wrong = {name: o.result for name, o in outcomes.items() if o.result not in wanted}
    assert not wrong, f"{wrong}\n{output}"


TASKS = [
    pytest.param(chapter, task, id=f"{chapter.number}-{task}")
    for chapter in CATALOGUE.chapters
    for task in range(1, len(chapter.tasks))
    if len(Steps(CATALOGUE).patches(chapter)) > 1
]


def what_goes_into_a_task(chapter: Chapter, task: int) -> list[Path]:
    return [*proofs.files_of(chapter), Steps(CATALOGUE).state(chapter, task)]


@pytest.mark.proof(of=what_goes_into_a_task)
@pytest.mark.parametrize(("chapter", "task"), TASKS)
def test_a_task_is_done_without_those_that_come_later(
    chapter: Chapter, task: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    strict = ["--strict-lab"] if request.config.getoption("--strict-lab") else []
    state = Steps(CATALOGUE).state(chapter, task)
    both, output = run_chapter(chapter, state, tmp_path, f"--up-to-task={task + 1}", *strict)
    done = {name: o for name, o in both.items() if o.task <= task}
    later = {name: o for name, o in both.items() if o.task > task and not o.guard}
    assert done, output

    wrong = {name: o.result for name, o in done.items() if o.result not in ("passed", "skipped")}
    assert not wrong, f"of tasks 1 to {task}: {wrong}\n{output}"
    wrong = {name: o.result for name, o in later.items() if o.result not in ("failed", "skipped")}
    assert not wrong, f"of task {task + 1}, which is not done: {wrong}\n{output}"


@cache
def directory_of(state: str) -> Path:
    steps = Steps(CATALOGUE)
    if state == "start":
        return steps.start(CATALOGUE.chapters[0])
    return steps.state(CATALOGUE.chapter(state))
