"""What is remembered between two commands."""

import json
import os
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dojo.clone import Clone
from dojo.course import progress
from dojo.course.catalogue import Catalogue
from dojo.course.progress import OUTCOMES, Progress, Record, Result
from dojo.errors import KataError
from tests.learners import write_chapter

NAMES = st.text(string.ascii_letters + string.digits + "é/:[]_.", min_size=1, max_size=20)
RESULTS = st.dictionaries(
    NAMES, st.builds(Result, st.integers(0, 20), st.sampled_from(OUTCOMES)), min_size=1, max_size=5
)
PROGRESSES = st.builds(
    Progress,
    st.none() | NAMES,
    st.dictionaries(NAMES, st.builds(Record, NAMES, RESULTS), max_size=3),
    st.dictionaries(st.tuples(NAMES, st.integers(1, 20)), st.integers(0, 9), max_size=3),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | NAMES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            NAMES | st.sampled_from(["at", "chapters", "hints", "tests", "3.1", "1"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=20,
)


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    for number in ("3.1", "3.2", "3.3"):
        write_chapter(tmp_path, number, "")
    return Catalogue(Clone(tmp_path))


def results(*outcomes: str) -> dict[str, Result]:
    return {f"test_{place}": Result(place + 1, outcome) for place, outcome in enumerate(outcomes)}


def after(catalogue: Catalogue, *checks: tuple[str, str]) -> Progress:
    """After checks. Each: a chapter's number, and the outcomes of its tests."""
    known = Progress()
    for number, outcomes in checks:
        known = known.with_results(catalogue.chapter(number), results(*outcomes.split()))
    return known


# A record ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcomes", "done", "first_open"),
    [
        ("passed passed", True, None),
        ("passed skipped", True, None),
        ("skipped", True, None),
        ("passed failed failed", False, 2),
        ("failed skipped", False, 1),
        ("passed waiting", False, 2),
        ("waiting failed", False, 2),
    ],
)
def test_a_chapter_is_done_when_nothing_that_can_run_is_open(
    catalogue: Catalogue, outcomes: str, done: bool, first_open: int | None
) -> None:
    record = after(catalogue, ("3.1", outcomes)).record(catalogue.chapter("3.1"))
    assert record is not None
    assert (record.done, record.first_open_task) == (done, first_open)
    assert record.total == len(outcomes.split())


def test_a_check_that_was_stopped_keeps_what_was_known_of_the_rest(catalogue: Catalogue) -> None:
    stopped = ("3.1", "failed waiting waiting")
    known = after(catalogue, ("3.1", "passed passed"), stopped)
    assert known.records["3.1"].results == results("failed", "passed", "waiting")


def test_a_test_that_is_not_in_the_chapter_any_more_is_forgotten(catalogue: Catalogue) -> None:
    known = after(catalogue, ("3.1", "passed failed"), ("3.1", "passed"))
    assert known.records["3.1"].results == results("passed")


# Where the learner is ----------------------------------------------------------------------------


def test_the_current_chapter_is_the_first_that_is_not_done(catalogue: Catalogue) -> None:
    def current(*checks: tuple[str, str]) -> str | None:
        chapter = after(catalogue, *checks).current(catalogue)
        return chapter.number if chapter else None

    assert current() == "3.1"
    assert current(("3.1", "failed")) == "3.1"
    assert current(("3.1", "passed")) == "3.2"
    assert current(("3.2", "passed")) == "3.1"
    assert current(("3.1", "passed"), ("3.2", "passed"), ("3.3", "passed")) is None


def test_who_went_to_a_chapter_is_there_and_not_at_an_earlier_one(catalogue: Catalogue) -> None:
    second, third = catalogue.chapters[1:]
    known = after(catalogue, ("3.1", "failed")).gone_to(catalogue, second)
    assert known.current(catalogue) == second
    done = known.with_results(second, results("passed"))
    assert done.current(catalogue) == third
    ended = done.with_results(third, results("passed"))
    assert ended.current(catalogue) == catalogue.chapters[0]


def test_going_to_a_chapter_forgets_what_was_green_from_there_on(catalogue: Catalogue) -> None:
    known = after(catalogue, ("3.1", "passed"), ("3.2", "passed"), ("3.3", "passed"))
    gone = known.gone_to(catalogue, catalogue.chapter("3.2"))
    assert list(gone.records) == ["3.1"]


def test_a_clone_without_chapters_is_told(tmp_path: Path) -> None:
    with pytest.raises(KataError, match=str(tmp_path / "chapters")):
        Progress().current(Catalogue(Clone(tmp_path)))


# On disk -----------------------------------------------------------------------------------------


@given(PROGRESSES)
def test_what_is_written_is_read_again(tmp_path_factory: pytest.TempPathFactory, known) -> None:
    clone = Clone(tmp_path_factory.mktemp("clone"))
    progress.update(clone, lambda _: known)
    assert progress.load(clone) == known


@given(JSON)
def test_whatever_is_in_the_file_can_be_read(tmp_path_factory, data: object) -> None:
    clone = Clone(tmp_path_factory.mktemp("clone"))
    clone.state.mkdir()
    progress.path_of(clone).write_text(json.dumps(data))
    known = progress.load(clone)
    progress.update(clone, lambda found: found)
    assert progress.load(clone) == known


@pytest.mark.parametrize("content", [b"", b'{"version": 1, "chap', b"\xff\0", b"[" * 100_000])
def test_a_torn_file_counts_as_none(tmp_path: Path, content: bytes) -> None:
    clone = Clone(tmp_path)
    known = Progress(at="3.1")
    assert progress.update(clone, lambda _: known) == progress.load(clone) == known
    progress.path_of(clone).write_bytes(content)
    assert progress.load(clone) == Progress()


def test_a_result_of_an_unknown_kind_is_left_out(tmp_path: Path) -> None:
    clone = Clone(tmp_path)
    clone.state.mkdir()
    tests = {"good": [1, "passed"], "word": [1, "odd"], "short": [1], "kind": ["1", "passed"]}
    data = {"chapters": {"3.1": {"when": "now", "tests": tests}, "3.2": {"tests": {}}}}
    progress.path_of(clone).write_text(json.dumps(data))
    assert progress.load(clone).records == {"3.1": Record("now", {"good": Result(1, "passed")})}


def test_a_change_that_fails_leaves_the_file_and_nothing_beside_it(tmp_path: Path) -> None:
    clone = Clone(tmp_path)
    known = progress.update(clone, lambda _: Progress(at="3.1"))

    def fail(_: Progress) -> Progress:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        progress.update(clone, fail)
    assert progress.load(clone) == known
    assert os.listdir(clone.state) == ["progress.json"]


def test_what_cannot_be_written_is_told_with_its_path(tmp_path: Path) -> None:
    clone = Clone(tmp_path)
    progress.update(clone, lambda known: known)
    progress.path_of(clone).unlink()
    progress.path_of(clone).mkdir()
    with pytest.raises(KataError, match=f"write {progress.path_of(clone)}: "):
        progress.update(clone, lambda known: known)
    assert os.listdir(clone.state) == ["progress.json"]
