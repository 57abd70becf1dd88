"""How sharp the tests are: what is measured is kept, and what people read says just that."""

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from dojo import clone
from dojo.cli import kata
from dojo.clone import Clone
from dojo.course.catalogue import Catalogue
from dojo.teeth import commands, engines, flakes, mutants, report, results, wrong
from dojo.teeth.results import Caught, EngineRun, Mutant, Results
from dojo.teeth.runs import Outcome
from tests.learners import write_chapter

KEPT = Results(
    wrong={
        "3.1/forgets": Caught("3.1", "forgets", {"test_it": "no\n  why  so"}, ()),
        "3.1/lies": Caught("3.1", "lies", {}, ("test_it",)),
    },
    mutants={
        "a": Mutant("3.1", "run.py", 3, "core/AddNot", "if a:", "if not a:", "3.1 test_it"),
        "b": Mutant("3.1", "run.py", 5, "core/NumberReplacer", "x = 1", "x = 2", None),
        "c": Mutant("3.2", "run.py", 7, "core/NumberReplacer", "y = 1", "y = 2", None, "unused"),
    },
    engines={
        "docker 3.1": EngineRun("docker", "3.1", 7, {"test_own": "Docker's own"}, ("test_odd",))
    },
    versions={"docker": "Docker 20.10"},
    rounds={"1": [], "2": ["chapters.3_1.test_run::test_it"]},
)


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    for number in ("3.1", "3.2"):
        write_chapter(tmp_path, number, "")
    return Catalogue(Clone(tmp_path))


# What is kept ------------------------------------------------------------------------------------


def test_what_was_measured_is_read_again_as_it_was(catalogue: Catalogue) -> None:
    assert results.read(catalogue.clone) == Results()
    results.write(catalogue.clone, KEPT)
    assert results.read(catalogue.clone) == KEPT


def test_results_from_before_there_were_rounds_are_read(catalogue: Catalogue) -> None:
    results.write(catalogue.clone, KEPT)
    path = results.folder(catalogue.clone) / "results.json"
    older = json.loads(path.read_text())
    del older["rounds"]
    path.write_text(json.dumps(older))
    assert results.read(catalogue.clone).rounds == {}
    assert results.read(catalogue.clone).wrong == KEPT.wrong


# What people read --------------------------------------------------------------------------------


def test_the_table_counts_what_was_caught_of_what_was_judged(catalogue: Catalogue) -> None:
    assert report.markdown_table(catalogue, KEPT).splitlines()[2:] == [
        "| 3.1 words of 3.1 | 1 / 2 | 1 / 2 | 7 / 9 | - |",
        "| 3.2 words of 3.2 | - | 1 / 1 | - | - |",
        "| all | 1 / 2 | 2 / 3 | 7 / 9 | - |",
    ]


def test_the_document_names_what_is_not_noticed(catalogue: Catalogue) -> None:
    text = report.document(catalogue, KEPT)
    for wanted in (
        "`test_it` does not notice.",
        "no\n  why  so",
        "`x = 1` → `x = 2`: *survived*",
        "`y = 1` → `y = 2`: unused",
        "- 3.1 `test_own`: Docker's own",
        "- 3.1 `test_odd`: *not explained*",
        "All chapters 2 times, in any order, under load: 1 green.",
        "- seed 2: chapters.3_1.test_run::test_it",
    ):
        assert wanted in text
    assert "if a:" not in text  # it was killed


def test_the_document_says_what_was_measured_last() -> None:
    """Whoever measures anew types `kata teeth document`, too."""
    there = Catalogue(clone.here())
    kept = results.read(there.clone)
    document = (results.folder(there.clone) / "README.md").read_text()
    assert document == report.document(there, kept)


def test_all_wrong_solutions_were_judged_and_noticed() -> None:
    there = Catalogue(clone.here())
    kept = results.read(there.clone)
    assert set(kept.wrong) == {each.name for each in wrong.read_all(there)}
    assert [name for name, each in kept.wrong.items() if each.unnoticed] == []


# Mutants -----------------------------------------------------------------------------------------


def test_a_sample_is_the_same_for_the_same_seed() -> None:
    pytest.importorskip("cosmic_ray", reason="see pyproject.toml: its extra `dev`")
    found = mutants.candidates(Catalogue(clone.here()))
    assert len(found) > 1000
    sample = mutants.sample(found, 20, seed=1)
    assert sample == mutants.sample(found, 20, seed=1)
    assert sample != mutants.sample(found, 20, seed=2)
    assert len(set(sample)) == 20


def test_each_mutant_that_is_called_equivalent_can_be_made() -> None:
    """A line that was changed since is judged anew."""
    there = Catalogue(clone.here())
    root = there.clone.solutions / "mydocker"
    for mutant in mutants.listed(there):
        assert mutant.reason
        lines = [line.strip() for line in (root / mutant.file).read_text().splitlines()]
        assert mutant.was in lines, f"{mutant.file} has no line {mutant.was!r}"


# Engines -----------------------------------------------------------------------------------------


def test_a_failure_is_explained_or_not() -> None:
    listed = {"test_own": engines.Difference("Docker's own", sometimes=False)}
    outcomes = {
        "test_good": Outcome("passed", ""),
        "test_own[1]": Outcome("failed", "it differs"),
        "test_odd": Outcome("failed", "who knows"),
        "test_other": Outcome("skipped", "no AUFS"),
    }
    judged = engines.compare("docker", "3.1", outcomes, listed)
    assert judged.run == EngineRun(
        "docker", "3.1", 1, {"test_own[1]": "Docker's own"}, ("test_odd",)
    )
    assert judged.run.all == 3
    assert judged.passed_after_all == ()
    better = engines.compare("docker", "3.1", {"test_own": Outcome("passed", "")}, listed)
    assert better.passed_after_all == ("test_own",)


# The command -------------------------------------------------------------------------------------


def test_nothing_was_measured_yet(catalogue: Catalogue, capsys: pytest.CaptureFixture[str]) -> None:
    from dojo.screens import console

    commands.show(catalogue, console())
    assert "Nothing has been measured yet." in capsys.readouterr().out
    results.write(catalogue.clone, KEPT)
    commands.show(catalogue, console())
    assert "How sharp the tests are" in capsys.readouterr().out


def test_what_cannot_be_measured_is_refused() -> None:
    done = CliRunner().invoke(kata, ["teeth", "measure", "gums"])
    assert done.exit_code == 2
    assert "'gums' is not one of" in done.output


@pytest.mark.parametrize("what", commands.NEEDED)
def test_without_what_it_needs_it_says_what_to_type(
    monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setitem(commands.NEEDED, what, ("click", "nobody_has_this"))
    done = CliRunner().invoke(kata, ["teeth", "measure", what])
    assert done.exit_code == 2
    assert done.stdout == ""
    assert done.stderr == (
        f"kata: teeth measure {what}: nobody_has_this not installed here:"
        f" {sys.executable} -m pip install -e '.[dev]'\n"
    )


def test_rounds_are_kept_and_a_red_one_is_told(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from dojo.screens import console

    drawn = [flakes.Round(1, 5.0, 9, {}), flakes.Round(2, 5.0, 8, {"a::test_it": "too late"})]
    monkeypatch.setattr(flakes, "measure", lambda *_: iter(drawn))
    assert commands.measure_flakes(catalogue, 2, 1, console()) is False
    assert results.read(catalogue.clone).rounds == {"1": [], "2": ["a::test_it"]}
    assert "too late" in capsys.readouterr().out
