"""A right solution of another kind: the chapters' tests must be green on it, too.

`tests/doubles/mydocker.sh` has the contract in common with the reference, and nothing else. Where a
test fails on it, the test asks for our design, and is to be mended. What a shell cannot do at all
stands in `tests/doubles/cannot.toml`, with the reason.
"""

import shlex
import tomllib
from pathlib import Path

import pytest

from dojo import clone, proofs
from dojo.catalogue import Catalogue
from dojo.teeth.runs import run_chapter
from tests.learners import require_lab

CATALOGUE = Catalogue(clone.here())
DOUBLES = clone.here().root / "tests" / "doubles"
CANNOT = tomllib.loads((DOUBLES / "cannot.toml").read_text())
CHAPTERS = ("3.1", "3.2", "3.3", "4.1", "4.2")


def what_goes_into(number: str) -> list[Path]:
    texts = [DOUBLES / "mydocker.sh", DOUBLES / "cannot.toml"]
    return [*proofs.files_of(CATALOGUE.chapter(number)), *texts]


@pytest.mark.proof(of=what_goes_into)
@pytest.mark.parametrize("number", CHAPTERS)
def test_a_chapter_takes_a_shell_script_for_right(
    number: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    require_lab(request)
    double = ["--mydocker", shlex.quote(str(DOUBLES / "mydocker.sh"))]  # the last one counts
    strict = ["--strict-lab"] if request.config.getoption("--strict-lab") else []
    chapter = CATALOGUE.chapter(number)
    outcomes, output = run_chapter(chapter, tmp_path, tmp_path, *double, *strict, "-n", "2")

    results = {name: outcome.result for name, outcome in outcomes.items()}
    assert "passed" in results.values(), output
    excused = CANNOT.get(number, {})
    failed = {name: r for name, r in results.items() if r not in ("passed", "skipped")}
    unexcused = {name: r for name, r in failed.items() if name not in excused}
    assert not unexcused, f"{unexcused}\n{output}"
    needless = [name for name in excused if results.get(name) in ("passed", None)]
    assert not needless, f"cannot.toml lists what passes, or is no test of {number}: {needless}"


def test_only_these_chapters_have_excuses() -> None:
    assert set(CANNOT) <= set(CHAPTERS)
