"""A mistake in a learner's own code is shown with its traceback, in whichever process it is."""

import shutil
import sys
from pathlib import Path

import pytest

from dojo import clone
from dojo.course.catalogue import Catalogue
from dojo.course.steps import Steps
from dojo.scratch import Call
from dojo.testkit.mydocker import Mydocker
from dojo.testkit.testing import expect
from tests.learners import require_lab

CATALOGUE = Catalogue(clone.here())
PLANTED = "no_such_name()  # planted"
RUN, DETACHED = ("run", "busybox", "true"), ("run", "-d", "busybox", "true")
IN_THE_CHILD = ("init.py", "    try:\n")
IN_THE_CONTAINER = ("init.py", "        attach_streams(spec, streams, terminal)\n")
IN_THE_MONITOR = ("launch.py", "        leave_the_caller(outcome_to_write)\n")


@pytest.fixture(autouse=True)
def what_it_takes(request: pytest.FixtureRequest) -> None:
    require_lab(request, "overlay")


@pytest.mark.parametrize(
    ("chapter", "task", "words", "place"),
    [
        ("3.1", 1, RUN, IN_THE_CHILD),
        ("3.1", None, RUN, IN_THE_CHILD),
        ("3.2", None, RUN, IN_THE_CHILD),
        ("3.3", 1, RUN, IN_THE_CHILD),
        ("5.1", None, RUN, IN_THE_CHILD),
        ("5.1", None, DETACHED, IN_THE_CHILD),
        ("5.1", None, DETACHED, IN_THE_MONITOR),
        ("5.9", None, RUN, IN_THE_CHILD),
        ("5.9", None, RUN, IN_THE_CONTAINER),
        ("5.9", None, DETACHED, IN_THE_CONTAINER),
        ("5.9", None, DETACHED, IN_THE_CHILD),
        ("5.9", None, DETACHED, IN_THE_MONITOR),
    ],
)
def test_its_traceback_is_shown(
    mydocker: Mydocker,
    tmp_path: Path,
    chapter: str,
    task: int | None,
    words: tuple[str, ...],
    place: tuple[str, str],
) -> None:
    state = state_of(chapter, task, tmp_path)
    expect(run(mydocker, state, words), status=0, err="")

    plant(state, *place)
    call = run(mydocker, state, words)
    expect(call, status=125, out="")
    assert call.errors.startswith("mydocker: a bug: mydocker's own code raised what follows\n")
    assert "Traceback" in call.errors
    # Within the container there are no sources to quote any more.
    assert (PLANTED in call.errors) == (place != IN_THE_CONTAINER), call.errors
    assert f'{place[0]}", line ' in call.errors
    assert call.errors.endswith("NameError: name 'no_such_name' is not defined\n")
    assert call.errors.count("Traceback") == 1


def test_its_traceback_is_shown_by_exec(mydocker: Mydocker, tmp_path: Path) -> None:
    state = state_of("5.9", None, tmp_path)
    sleeping = ("run", "-d", "--name", "box", "busybox", "sleep", "1000")
    expect(run(mydocker, state, sleeping), status=0)
    expect(run(mydocker, state, ("exec", "box", "true")), status=0, err="")

    plant(state, "join.py", "    try:\n        init.die_with(channel.parent)\n")
    call = run(mydocker, state, ("exec", "box", "true"))
    expect(call, status=125, out="")
    assert 'join.py", line ' in call.errors
    assert call.errors.endswith("NameError: name 'no_such_name' is not defined\n")
    expect(run(mydocker, state, ("rm", "-f", "box")), status=0)


def state_of(chapter: str, task: int | None, tmp_path: Path) -> Path:
    """A copy of the reference at the end of a chapter, or of one of its tasks."""
    found = Steps(CATALOGUE).state(CATALOGUE.chapter(chapter), *([task] if task else []))
    return Path(shutil.copytree(found, tmp_path / "state"))


def plant(state: Path, name: str, before: str) -> None:
    """Put a mistake behind the first place in a file that has this text."""
    file = state / "mydocker" / name
    text = file.read_text()
    assert before in text, f"{name} has no {before!r}"
    file.write_text(text.replace(before, f"{before}        {PLANTED}\n", 1))


def run(mydocker: Mydocker, state: Path, words: tuple[str, ...]) -> Call:
    mydocker.command = [sys.executable, "-S", "-m", "mydocker"]
    mydocker.env["PYTHONPATH"] = str(state)
    return mydocker(*words)
