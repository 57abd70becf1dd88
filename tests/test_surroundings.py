"""What is set in the shell of whoever runs the chapters' tests, and must change nothing."""

import os
from pathlib import Path

import pytest

from dojo import clone, surroundings
from dojo.catalogue import Catalogue
from dojo.steps import Steps
from dojo.teeth.runs import run_chapter
from tests.learners import require_lab

EXPORTED = {
    "MYDOCKER_ROOT": "/proc/not/there",
    "MYDOCKER_STORAGE_DRIVER": "aufs",
    "TAR_OPTIONS": "--no-such-option",
    "XZ_OPT": "--no-such-option",
    "POSIXLY_CORRECT": "1",
    "LC_ALL": "C",
    "TZ": "Asia/Tokyo",
}


def test_what_programs_heed_is_put_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in EXPORTED.items():
        monkeypatch.setenv(name, value)
    before = dict(os.environ)
    with surroundings.without_those_of_programs():
        assert EXPORTED.keys() & os.environ.keys() == {"TZ"}
        assert os.environ["PATH"] == before["PATH"]
    assert dict(os.environ) == before


@pytest.mark.parametrize(
    ("number", "names"),
    [
        ("4.2", "a_driver_is_chosen or an_unknown_driver"),
        ("4.4", "the_image_is_a_plain_tar"),
        ("5.2", "created_is_the_moment"),
    ],
)
def test_a_chapter_passes_whatever_is_exported(
    number: str,
    names: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    require_lab(request)
    for name, value in EXPORTED.items():
        monkeypatch.setenv(name, value)
    catalogue = Catalogue(clone.here())
    chapter = catalogue.chapter(number)
    state = Steps(catalogue).state(chapter)
    outcomes, output = run_chapter(chapter, state, tmp_path, "-k", names)
    results = {outcome.result for outcome in outcomes.values()}
    assert results == {"passed"}, output
