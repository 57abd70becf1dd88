"""Programs that are no mydocker at all: what the tests say of them must be a lesson, too.

They write what no test expects, or nothing. A test that stumbles over it says nothing to a learner,
and one that is green does not look.
"""

from pathlib import Path

import pytest

from dojo import clone
from dojo.course.catalogue import Catalogue
from dojo.teeth import proofs
from dojo.teeth.runs import run_chapter
from tests.learners import require_lab

CATALOGUE = Catalogue(clone.here())
BABBLE = {"silence": "exit 0", "empty lines": r"printf '\nx\n \n'"}
NUMBERS = [chapter.number for chapter in CATALOGUE.chapters]


def what_goes_into(number: str, what: str) -> list[Path | str]:
    return [*proofs.files_of(CATALOGUE.chapter(number)), BABBLE[what]]


@pytest.mark.proof(of=what_goes_into)
@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("what", ["silence", pytest.param("empty lines", marks=pytest.mark.whole)])
def test_every_test_fails_in_a_sentence(
    number: str, what: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    require_lab(request)
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\n{BABBLE[what]}\n")
    program.chmod(0o755)
    chapter = CATALOGUE.chapter(number)
    outcomes, output = run_chapter(chapter, tmp_path, tmp_path, "--mydocker", str(program))

    failed = {name: o.message for name, o in outcomes.items() if o.result == "failed"}
    assert failed, output
    unread = [name for name, said in failed.items() if "cannot make sense" in said]
    assert not unread, f"{unread}\n{output}"
    silent = [name for name, said in failed.items() if "\n  expected " not in said]
    assert not silent, f"{silent}\n{output}"
    green = [name for name, outcome in outcomes.items() if outcome.result == "passed"]
    assert not green, f"{green} pass on a program that does nothing"
