"""What the lessons claim is found by rule, and each claim has a tooth, or says that it has none."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from dojo import clone
from dojo.cli import kata
from dojo.clone import Clone
from dojo.course.catalogue import Catalogue, Chapter
from dojo.errors import KataError
from dojo.teeth import claims, results
from dojo.teeth.claims import Judged
from tests.learners import write_chapter

LESSON = """\
# 3.1 run: it must be short

![It must be seen.](picture.svg)

<details>
<summary>It must not count.</summary>

</details>

## See it with your own eyes

The kernel never does that.

## Small words

A child must never
go on. It is only a child. **Don't stop.** So do not stop at `/x`. You do not know.

```console
# echo it must be said
```

Traps:

- The first one. It is deep.
- The second one,
  which is wide.

No trap is named here any more. Nobody says so. It ends.

1. First, always.
2. Then nothing.

The trap is old. It bites.

## The contract

- Nothing is left. It ends. It says must, and no test knows. `--no-trunc` is one. It is none.

## How Docker and runc do it

Docker always does it.

## Think about it

- Must it be so?

## Further reading

must(2)
"""

CLAIMED = [
    "A child must never go on.",
    "**Don't stop.**",
    "So do not stop at `/x`.",
    "The first one. It is deep.",
    "The second one, which is wide.",
    "No trap is named here any more.",
    "Nobody says so.",
    "It ends.",
    "First, always.",
    "The trap is old.",
    "It bites.",
    "Nothing is left.",
    "It says must, and no test knows.",
    "It is none.",
]

WRONG = "chapter: 3.1\ntitle: goes on\nnoticed by: test_it, test_more\n---\n"


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    write_chapter(tmp_path, "3.1", "def test_it(): ...\ndef test_other(): ...\n")
    write_chapter(tmp_path, "3.2", "def test_later(): ...\n")
    solutions = tmp_path / "tests" / "wrong" / "3_1"
    solutions.mkdir(parents=True)
    (solutions / "goes-on.patch").write_text(WRONG)
    return Catalogue(Clone(tmp_path))


def judged(catalogue: Catalogue, lesson: str, entries: str) -> list[Judged]:
    """What comes of a lesson and of a claims.toml of chapter 3.1."""
    chapter = catalogue.chapter("3.1")
    chapter.lesson.write_text(lesson)
    (chapter.folder / "claims.toml").write_text(entries)
    return claims.judge_all(catalogue)


# What claims -------------------------------------------------------------------------------------


def test_claims_are_found_by_rule() -> None:
    assert claims.claims_of(LESSON) == CLAIMED


@pytest.mark.parametrize(
    ("words", "is_one"),
    [
        ("It must.", True),
        ("ALWAYS look.", True),
        ("A mustard pot.", False),
        ("Nevertheless.", False),
        ("And do *not* go.", True),
        ("They do not go.", False),
        ("Only a contract promises that, and not a lesson.", False),
        ("A shell knows `trap ''`.", False),
    ],
)
def test_what_claims(words: str, is_one: bool) -> None:
    assert claims.claims_of(f"## Section\n\n{words}\n") == ([words] if is_one else [])


# What stands behind a claim ----------------------------------------------------------------------

ONE = "## Small words\n\nIt must\nhold.\n"
GOOD = 'claim = "It must hold."\ntests = ["test_it"]\nwrong = ["goes-on"]\n'


def test_a_claim_with_a_test_and_a_wrong_solution_has_a_tooth(catalogue: Catalogue) -> None:
    for entry in (GOOD, GOOD.replace("goes-on", "3.1/goes-on")):
        (found,) = judged(catalogue, ONE, f"[[claims]]\n{entry}")
        assert (found.chapter, found.claim, found.missing) == ("3.1", "It must hold.", ())


@pytest.mark.parametrize(
    ("entry", "missing"),
    [
        ("", "it is not in claims.toml"),
        (GOOD.replace("test_it", "test_gone"), "there is no test test_gone"),
        (GOOD.replace("test_it", "test_other"), "none of the tests notices 3.1/goes-on"),
        (GOOD.replace("test_it", "test_later"), "there is no test test_later"),
        (GOOD.replace("goes-on", "gone"), "there is no wrong solution 3.1/gone"),
        (GOOD.replace('"test_it"', ""), "it has no test"),
        (GOOD.replace('"goes-on"', ""), "it has no wrong solution"),
        (
            'claim = "It must hold."\nuntested = true\n',
            "the lesson does not say that nothing tests it",
        ),
    ],
)
def test_what_is_missing_is_told(catalogue: Catalogue, entry: str, missing: str) -> None:
    (found,) = judged(catalogue, ONE, f"[[claims]]\n{entry}" if entry else "claims = []\n")
    assert missing in found.missing


def test_an_entry_whose_claim_is_gone_is_told(catalogue: Catalogue) -> None:
    (found,) = judged(catalogue, "## Small words\n", f"[[claims]]\n{GOOD}")
    assert found.claim == "It must hold."
    assert found.missing == ("the lesson does not say this",)


def test_a_claim_that_says_that_nothing_tests_it_needs_no_tooth(catalogue: Catalogue) -> None:
    lesson = "## Small words\n\nIt must hold, though no test can see it.\n"
    entry = 'claim = "It must hold, though no test can see it."\nuntested = true\n'
    (found,) = judged(catalogue, lesson, f"[[claims]]\n{entry}")
    assert found.missing == ()
    (found,) = judged(catalogue, lesson, f'[[claims]]\n{entry}tests = ["test_it"]\n')
    assert found.missing == ("it is called untested, and has tests or wrong solutions",)


@pytest.mark.parametrize("text", ["claims", "[[claims]]\nclam = 'x'\n", "[[claim]]\n"])
def test_entries_that_cannot_be_understood_are_named(catalogue: Catalogue, text: str) -> None:
    with pytest.raises(KataError, match=r"read .*3_1/claims\.toml"):
        judged(catalogue, ONE, text)


# What people read --------------------------------------------------------------------------------


def test_the_document_has_each_claim_and_counts_them(catalogue: Catalogue) -> None:
    lesson = f"{ONE}\nIt | must.\n\nNever, but no test sees it.\n"
    entries = (
        f'[[claims]]\n{GOOD}[[claims]]\nclaim = "Never, but no test sees it."\nuntested = true\n'
    )
    text = claims.document(catalogue, judged(catalogue, lesson, entries))
    assert text.splitlines()[-5:] == [
        "| claim | test | wrong solution |",
        "|---|---|---|",
        "| It must hold. | `test_it` | `3.1/goes-on` |",
        "| It \\| must. | **without a tooth**: it is not in claims.toml | |",
        "| Never, but no test sees it. | *none, as it says* | |",
    ]
    assert "| 3.1 words of 3.1 | 1 | 1 | 1 |\n" in text
    assert "| all | 1 | 1 | 1 |\n" in text


# The lessons of this clone -----------------------------------------------------------------------

THERE = Catalogue(clone.here())


def test_each_claim_of_a_lesson_has_a_tooth() -> None:
    bare = [
        f"{each.chapter}: {each.claim}\n    {'; '.join(each.missing)}"
        for each in claims.judge_all(THERE)
        if each.missing
    ]
    assert not bare, "\n".join(bare)


def test_the_document_says_what_the_lessons_claim_now() -> None:
    """Whoever changes a claim types `kata teeth document`, too."""
    kept = (results.folder(THERE.clone) / "claims.md").read_text()
    assert kept == claims.document(THERE, claims.judge_all(THERE))


@pytest.mark.parametrize("chapter", THERE.chapters, ids=lambda chapter: chapter.number)
def test_each_claim_is_written_down_once(chapter: Chapter) -> None:
    written = [entry.claim for entry in claims.read_entries(chapter)]
    assert len(written) == len(set(written))


def test_the_command_counts_claims_without_a_tooth() -> None:
    done = CliRunner().invoke(kata, ["teeth"])
    assert done.exit_code == 0
    without = sum(bool(each.missing) for each in claims.judge_all(THERE))
    assert f"claims without a tooth: {without}\n" in done.stdout
