"""Right solutions of another kind: the chapters' tests must be green on them, too.

`tests/doubles/mydocker.sh` and `mydocker.c` have the contract in common with the reference, and
nothing else. Where a test fails on one, the test asks for our design, and is to be mended. What a
shell cannot do at all stands in `tests/doubles/cannot.toml`, with the reason. The program in C is
also the example of `docs/other-languages.md`.
"""

import shlex
import tomllib
from pathlib import Path

import pytest

from dojo import clone
from dojo.course.catalogue import Catalogue
from dojo.teeth import proofs
from dojo.teeth.runs import Outcome, run_tests
from tests.compiler import compiled, require_compiler
from tests.learners import require_lab

CATALOGUE = Catalogue(clone.here())
DOUBLES = clone.here().root / "tests" / "doubles"
SOURCE = DOUBLES / "mydocker.c"
CANNOT = tomllib.loads((DOUBLES / "cannot.toml").read_text())
CHAPTERS = ("3.1", "3.2", "3.3", "4.1", "4.2", "4.5")


def what_goes_into(number: str) -> list[Path]:
    texts = [DOUBLES / "mydocker.sh", DOUBLES / "cannot.toml"]
    return [*proofs.files_of(CATALOGUE.chapter(number)), *texts]


def outcomes_of(
    program: Path, number: str, directory: Path, request: pytest.FixtureRequest
) -> tuple[dict[str, Outcome], str]:
    """How each test of a chapter ended on a program, by its name, and all that pytest printed."""
    strict = ["--strict-lab"] if request.config.getoption("--strict-lab") else []
    chapter, command = CATALOGUE.chapter(number), shlex.quote(str(program))
    outcomes, output = run_tests(chapter, command, directory, *strict, "-n", "2")
    assert "passed" in {outcome.result for outcome in outcomes.values()}, output
    return outcomes, output


@pytest.mark.proof(of=what_goes_into)
@pytest.mark.parametrize("number", CHAPTERS)
def test_a_chapter_takes_a_shell_script_for_right(
    number: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    require_lab(request)
    outcomes, output = outcomes_of(DOUBLES / "mydocker.sh", number, tmp_path, request)

    results = {name: outcome.result for name, outcome in outcomes.items()}
    excused = CANNOT.get(number, {})
    failed = {name: r for name, r in results.items() if r not in ("passed", "skipped")}
    unexcused = {name: r for name, r in failed.items() if name not in excused}
    assert not unexcused, f"{unexcused}\n{output}"
    needless = [name for name in excused if results.get(name) in ("passed", None)]
    assert not needless, f"cannot.toml lists what passes, or is no test of {number}: {needless}"


def what_goes_into_c(number: str) -> list[Path]:
    return [*proofs.files_of(CATALOGUE.chapter(number)), SOURCE]


@pytest.mark.proof(of=what_goes_into_c)
@pytest.mark.parametrize("number", ["3.1"])
def test_a_chapter_takes_a_program_in_c_for_right(
    number: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """All of it: what C cannot do, no program can."""
    require_lab(request)
    require_compiler(request)
    outcomes, output = outcomes_of(compiled(SOURCE, tmp_path), number, tmp_path, request)
    failed = [n for n, outcome in outcomes.items() if outcome.result not in ("passed", "skipped")]
    assert not failed, output


def test_only_these_chapters_have_excuses() -> None:
    assert set(CANNOT) <= set(CHAPTERS)
