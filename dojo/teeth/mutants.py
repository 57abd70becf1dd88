"""Mutants: changes made to the reference by chance, one each, which the tests should notice.

The changes are cosmic-ray's. Of the many it knows for one operator, one is enough: `a < b` that
became `a >= b`. A mutant is judged by the chapters' tests: those of the chapter that its line came
with first, then those of the others, until one fails.
"""

import random
import shutil
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dojo.course.catalogue import Catalogue, Chapter
from dojo.course.steps import Steps
from dojo.teeth.results import Mutant, name_of
from dojo.teeth.runs import first_failure
from dojo.testkit import lab

OPERATORS = (
    "core/AddNot",
    "core/ExceptionReplacer",
    "core/NumberReplacer",
    "core/RemoveDecorator",
    "core/ReplaceAndWithOr",
    "core/ReplaceBinaryOperator_Add_Sub",
    "core/ReplaceBinaryOperator_BitAnd_BitOr",
    "core/ReplaceBinaryOperator_BitOr_BitAnd",
    "core/ReplaceBinaryOperator_Mul_Div",
    "core/ReplaceBinaryOperator_Sub_Add",
    "core/ReplaceBreakWithContinue",
    "core/ReplaceComparisonOperator_Eq_NotEq",
    "core/ReplaceComparisonOperator_GtE_Lt",
    "core/ReplaceComparisonOperator_Gt_LtE",
    "core/ReplaceComparisonOperator_IsNot_Is",
    "core/ReplaceComparisonOperator_Is_IsNot",
    "core/ReplaceComparisonOperator_LtE_Gt",
    "core/ReplaceComparisonOperator_Lt_GtE",
    "core/ReplaceComparisonOperator_Lt_LtE",
    "core/ReplaceComparisonOperator_NotEq_Eq",
    "core/ReplaceContinueWithBreak",
    "core/ReplaceFalseWithTrue",
    "core/ReplaceOrWithAnd",
    "core/ReplaceTrueWithFalse",
    "core/ReplaceUnaryOperator_Delete_Not",
    "core/ZeroIterationForLoop",
)


@dataclass(frozen=True)
class Candidate:
    """A mutant that could be made: the nth change of an operator to a file, by its path there."""

    file: str
    operator: str
    occurrence: int


def candidates(catalogue: Catalogue) -> list[Candidate]:
    """All mutants of the finished runtime that this machine can judge."""
    root = catalogue.clone.solutions / "mydocker"
    files = sorted(str(path.relative_to(root)) for path in root.rglob("*.py"))
    return [
        Candidate(file, operator, occurrence)
        for file in files
        if file not in _not_run_here()
        for operator in OPERATORS
        for occurrence in range(_count((root / file).read_text(), operator))
    ]


def _not_run_here() -> set[str]:
    """What only another kernel runs: its mutants would all survive here."""
    second = Path("/sys/fs/cgroup/cgroup.controllers").exists()
    aufs = lab.cannot(["aufs"]) is None
    return {"cgroups/v1.py" if second else "cgroups/v2.py", *(() if aufs else ["storage/aufs.py"])}


def sample(found: Sequence[Candidate], number: int, seed: int) -> list[Candidate]:
    """So many of them, by chance; the same ones for the same seed."""
    return random.Random(seed).sample(found, min(number, len(found)))


def judge(
    catalogue: Catalogue, candidate: Candidate, directory: Path, workers: int = 2
) -> Mutant | None:
    """Make a mutant and have the chapters' tests look at it. None if the change changes nothing.

    directory: an empty one to work in.
    """
    last = catalogue.chapters[-1]
    state = directory / "state"
    shutil.copytree(Steps(catalogue).state(last), state)
    path = state / "mydocker" / candidate.file
    text = path.read_text()
    mutated = _mutated(text, candidate)
    if mutated is None or mutated == text:
        return None
    path.write_text(mutated)
    line, was, became = _difference(text, mutated)
    chapter = _chapter_of(catalogue, candidate.file, was)
    mutant = Mutant(chapter.number, candidate.file, line, candidate.operator, was, became, None)
    reasons = equivalent(catalogue)
    if name_of(mutant) in reasons:
        return replace(mutant, reason=reasons[name_of(mutant)])
    for judging in _order(catalogue, chapter):
        killed_by = first_failure(judging, state, directory, workers)
        if killed_by is not None:
            return replace(mutant, killed_by=f"{judging.number} {killed_by}")
    return mutant


def equivalent(catalogue: Catalogue) -> dict[str, str]:
    """Mutants that nothing can notice, by name, and the reason."""
    return {name_of(mutant): str(mutant.reason) for mutant in listed(catalogue)}


def listed(catalogue: Catalogue) -> list[Mutant]:
    """The mutants that nothing can notice, as `tests/mutants.toml` has them."""
    path = catalogue.clone.root / "tests" / "mutants.toml"
    found: list[dict[str, Any]] = tomllib.loads(path.read_text()).get("equivalent", [])
    return [
        Mutant("", e["file"], 0, e["operator"], e["was"], e["became"], None, e["reason"])
        for e in found
    ]


def _order(catalogue: Catalogue, first: Chapter) -> list[Chapter]:
    others = [chapter for chapter in catalogue.chapters if chapter != first]
    return [first, *others]


def _chapter_of(catalogue: Catalogue, file: str, line: str) -> Chapter:
    """The chapter whose step brought a line of a file."""
    steps = Steps(catalogue)
    for chapter in catalogue.chapters:
        path = steps.state(chapter) / "mydocker" / file
        if path.is_file() and line in (each.strip() for each in path.read_text().splitlines()):
            return chapter
    return catalogue.chapters[-1]


def _difference(text: str, mutated: str) -> tuple[int, str, str]:
    """The first line that differs: its number, what it was, what it became; without indentation."""
    lines = zip(text.splitlines(), mutated.splitlines(), strict=False)
    for number, (before, after) in enumerate(lines, start=1):
        if before != after:
            return number, before.strip(), after.strip()
    return 0, "", ""


def _count(text: str, operator: str) -> int:
    from cosmic_ray.ast import ast_nodes, get_ast

    made = _operator(operator)
    return sum(1 for node in ast_nodes(get_ast(text)) for _ in made.mutation_positions(node))


def _mutated(text: str, candidate: Candidate) -> str | None:
    from cosmic_ray.mutating import mutate_code

    mutated: str | None = mutate_code(text, _operator(candidate.operator), candidate.occurrence)
    return mutated


def _operator(name: str) -> Any:
    from cosmic_ray.plugins import get_operator

    return get_operator(name)()
