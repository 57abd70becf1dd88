"""One fault turns few tests red: each test fails for what it is about itself."""

import shutil
from pathlib import Path

import pytest

from dojo import clone
from dojo.course.catalogue import Catalogue, Chapter
from dojo.course.steps import Steps
from dojo.teeth import proofs
from dojo.teeth import wrong as wrong_solutions
from dojo.teeth.runs import run_chapter
from tests.learners import require_lab

CATALOGUE = Catalogue(clone.here())
# A wrong solution, the chapter whose tests look at it, and how many of them may be red at most.
FAULTS = [
    ("3_1/status-always-0", "3.2", 3),
    ("3_1/status-always-0", "4.2", 3),
    ("3_2/group-never-removed", "3.1", 2),
    ("3_2/group-never-removed", "3.2", 4),
    ("5_1/no-id-is-printed", "5.1", 6),
]


def what_goes_into(fault: str, number: str, most: int) -> list[Path | str]:
    chapter = CATALOGUE.chapter(number)
    wrong = clone.here().root / f"tests/wrong/{fault}.patch"
    state = Steps(CATALOGUE).state(_born_in(fault, number))
    return [*proofs.files_of(chapter), wrong, state, str(most)]


def _born_in(fault: str, number: str) -> Chapter:
    """The chapter whose state has the fault: the later one of the two."""
    born = CATALOGUE.chapter(fault.partition("/")[0])
    return max(born, CATALOGUE.chapter(number), key=lambda chapter: chapter.order)


@pytest.mark.proof(of=what_goes_into)
@pytest.mark.parametrize(("fault", "number", "most"), FAULTS)
def test_one_fault_turns_few_tests_red(
    fault: str, number: str, most: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    require_lab(request)
    state = tmp_path / "state"
    shutil.copytree(Steps(CATALOGUE).state(_born_in(fault, number)), state)
    wrong_solutions.apply(clone.here().root / f"tests/wrong/{fault}.patch", state)
    outcomes, output = run_chapter(CATALOGUE.chapter(number), state, tmp_path)
    red = sorted(name for name, outcome in outcomes.items() if outcome.result == "failed")
    assert len(red) <= most, f"{len(red)} of {len(outcomes)}: {red}\n{output}"
