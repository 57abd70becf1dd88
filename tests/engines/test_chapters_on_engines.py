"""Real engines take the chapters' tests: what they fail is listed in differences.toml, or an error.

Docker takes three chapters in CI, one of each kind; `--whole` adds the others, and podman.
"""

import re
from collections.abc import Iterator

import pytest

from dojo import clone, engines
from dojo.course.catalogue import Catalogue, Chapter
from dojo.teeth import engines as teeth
from dojo.teeth.engines import Difference, Judged
from dojo.teeth.runs import Outcome
from dojo.testkit import lab
from tests.engines.conftest import give_up

CATALOGUE = Catalogue(clone.here())
SOON = {("docker", number) for number in ("3.1", "4.3")}


def runs() -> Iterator[object]:
    for engine in engines.NAMES:
        for chapter in CATALOGUE.chapters:
            marks = () if (engine, chapter.number) in SOON else (pytest.mark.whole,)
            name = f"{engine}-{chapter.number}"
            yield pytest.param(engine, chapter, id=name, marks=marks)


@pytest.mark.parametrize(("engine", "chapter"), [*runs()])
def test_an_engine_differs_only_where_it_is_listed(
    engine: str, chapter: Chapter, request: pytest.FixtureRequest
) -> None:
    kind = engines.kind_of(engine)
    assert kind is not None
    if reason := lab.cannot(chapter.needs) or kind.missing():
        give_up(request.config, reason)
    judged = teeth.judge(CATALOGUE, engine, chapter)

    said = "\n\n".join(judged.messages[name] for name in judged.run.unexplained)
    assert not judged.run.unexplained, f"not listed in differences.toml, and failed:\n\n{said}"
    assert not judged.passed_after_all, "listed in differences.toml, and passed"
    assert judged.run.passed


def test_every_difference_names_a_test() -> None:
    for engine in engines.NAMES:
        for chapter in CATALOGUE.chapters:
            code = "".join(path.read_text() for path in chapter.folder.glob("test_*.py"))
            for test in teeth.differences(CATALOGUE.clone, engine, chapter):
                function = test.partition("[")[0]
                assert re.search(rf"^def {function}\(", code, re.M), f"{chapter.number} {test}"


# How the list is held against what came of it ------------------------------------------------

ALWAYS, SOMETIMES = Difference("its own way", False), Difference("who is faster", True)
LISTED = {"test_a": ALWAYS, "test_b[1]": ALWAYS, "test_c": SOMETIMES}


def judged(**results: str) -> Judged:
    outcomes = {
        name.replace("__", "[") + "]" * ("__" in name): Outcome(result, "what it said")
        for name, result in results.items()
    }
    return teeth.compare("docker", "3.1", outcomes, LISTED)


def test_what_is_listed_fails_for_its_reason() -> None:
    """With parameters, or without for any of them."""
    all_of_it = judged(test_a__x="failed", test_a__y="passed", test_b__1="error", test_d="passed")
    assert all_of_it.run.explained == {"test_a[x]": "its own way", "test_b[1]": "its own way"}
    assert (all_of_it.run.passed, all_of_it.run.unexplained) == (2, ())
    assert not all_of_it.passed_after_all


def test_what_is_not_listed_is_an_error() -> None:
    found = judged(test_a="failed", test_b__1="failed", test_b__2="failed", test_d="error")
    assert found.run.unexplained == ("test_b[2]", "test_d")
    assert found.messages["test_d"] == "what it said"


def test_what_is_listed_and_passes_is_told() -> None:
    found = judged(test_a="passed", test_b__1="skipped", test_c="passed")
    assert found.passed_after_all == ("test_a", "test_b[1]")
