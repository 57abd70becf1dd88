"""What the lessons claim, and which test and which wrong solution stand behind each claim.

A claim is a sentence of a lesson that says must, never or always, that forbids something, or that
names a trap; in the contract also one that says no or not, nothing, nobody or only. A chapter's
`claims.toml` names for each the tests that check it, and the wrong solutions that do what it
forbids: its teeth. Where nothing can test it, the sentence itself says so.
"""

import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from dojo.course.catalogue import Catalogue, Chapter
from dojo.errors import KataError
from dojo.teeth import wrong
from dojo.teeth.wrong import Wrong

# Sections that speak of the kernel, of other programs, or ask.
NOT_OURS = (
    "See it with your own eyes",
    "How Docker and runc do it",
    "Think about it",
    "Further reading",
)
CONTRACT = "The contract"

CLAIMS = re.compile(r"\b(must|never|always)\b", re.IGNORECASE)
FORBIDS = re.compile(r"\**((and|but|so) )?(do \*?not\*?|don't)\b", re.IGNORECASE)
TRAP = re.compile(r"\btraps?\b", re.IGNORECASE)
PROMISES = re.compile(r"\b(only|nothing|nobody|no|not|none)\b", re.IGNORECASE)
UNTESTED = re.compile(r"\b(nothing tests|no test)\b", re.IGNORECASE)

_END_OF_A_SENTENCE = re.compile(
    r"(?:(?<=[.!?])|(?<=[.!?][*)])|(?<=[.!?]\*\*))\s+(?=[A-Z`*(\"'0-9])"
)
_ITEM = re.compile(r"\s*([-*]|\d+\.) |\|")


@dataclass(frozen=True)
class Block:
    """A paragraph, an item of a list, or a row of a table, on one line."""

    section: str
    text: str
    is_item: bool


@dataclass(frozen=True)
class Entry:
    """What `claims.toml` has about a claim.

    tests: names of tests. wrong: names of wrong solutions, "5.7/NAME". untested: whether the claim
    says itself that nothing tests it.
    """

    claim: str
    tests: tuple[str, ...]
    wrong: tuple[str, ...]
    untested: bool


@dataclass(frozen=True)
class Judged:
    """A claim, what stands behind it, and what is missing: nothing if it has a tooth."""

    chapter: str
    claim: str
    entry: Entry | None
    missing: tuple[str, ...]


# What a lesson claims --------------------------------------------------------------------------


def claims_of(lesson: str) -> list[str]:
    """The claims of a lesson's text, in their order, each on one line."""
    found: dict[str, None] = {}  # the same words twice are one claim
    blocks = [block for block in _blocks(lesson) if block.section not in NOT_OURS]
    traps_follow = False
    for block in blocks:
        if traps_follow and block.is_item:
            found[block.text] = None
            continue
        sentences = _END_OF_A_SENTENCE.split(block.text)
        traps_follow = _names_a_trap(sentences[-1]) and not block.is_item
        in_a_trap = False
        for sentence in sentences:
            in_a_trap |= _names_a_trap(sentence)
            if in_a_trap or _is_a_claim(sentence, block.section):
                found[sentence] = None
        if traps_follow and _a_list_follows(blocks, block):
            del found[sentences[-1]]  # "Traps:" claims nothing by itself
    return list(found)


def _names_a_trap(sentence: str) -> bool:
    return TRAP.search(_words(sentence)) is not None


def _words(sentence: str) -> str:
    """What is said, without code: a shell has a `trap` of its own, and `ps` a `--no-trunc`."""
    return re.sub("`[^`]*`", "", sentence)


def _is_a_claim(sentence: str, section: str) -> bool:
    sentence = _words(sentence)
    if CLAIMS.search(sentence) or FORBIDS.match(sentence):
        return True
    return section == CONTRACT and bool(PROMISES.search(sentence))


def _a_list_follows(blocks: list[Block], block: Block) -> bool:
    after = blocks[blocks.index(block) + 1 :]
    return bool(after) and after[0].is_item and after[0].section == block.section


def _blocks(lesson: str) -> Iterator[Block]:
    lesson = re.sub(r"<details>.*?</details>|^```.*?^```", "", lesson, flags=re.S | re.M)
    section = ""
    lines: list[str] = []
    for line in [*lesson.splitlines(), ""]:
        begins = not line.strip() or line.startswith(("#", "![")) or _ITEM.match(line)
        if begins and lines:
            yield _block(section, lines)
            lines = []
        if line.startswith("#"):
            section = line.lstrip("# ")
        elif line.strip() and not line.startswith("!["):
            lines.append(line)


def _block(section: str, lines: list[str]) -> Block:
    text = " ".join(" ".join(lines).split())
    is_item = bool(_ITEM.match(text))
    return Block(section, re.sub(r"^([-*]|\d+\.) ", "", text), is_item)


# What stands behind it -------------------------------------------------------------------------


def read_entries(chapter: Chapter) -> list[Entry]:
    """What a chapter's `claims.toml` has; nothing where there is none.

    Raises KataError where it cannot be understood.
    """
    path = chapter.folder / "claims.toml"
    try:
        kept = tomllib.loads(path.read_text("utf-8"))["claims"]
        return [_entry(chapter, **each) for each in kept]
    except FileNotFoundError:
        return []
    except (tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise KataError(f"read {path}: {error!r}") from error


def _entry(
    chapter: Chapter,
    claim: str,
    tests: Iterable[str] = (),
    wrong: Iterable[str] = (),
    untested: bool = False,
) -> Entry:
    names = tuple(name if "/" in name else f"{chapter.number}/{name}" for name in wrong)
    return Entry(" ".join(claim.split()), tuple(tests), names, untested)


def judge_all(catalogue: Catalogue) -> list[Judged]:
    """All claims of all lessons, and all entries whose claim is gone, by chapter."""
    solutions = {each.name: each for each in wrong.read_all(catalogue)}
    tests = {chapter.number: _tests_of(chapter.folder) for chapter in catalogue.chapters}
    return [
        judged for chapter in catalogue.chapters for judged in _judge(chapter, solutions, tests)
    ]


def _judge(
    chapter: Chapter, solutions: dict[str, Wrong], tests: dict[str, set[str]]
) -> Iterator[Judged]:
    entries = {entry.claim: entry for entry in read_entries(chapter)}
    for claim in claims_of(chapter.lesson.read_text("utf-8")):
        entry = entries.pop(claim, None)
        if entry is None:
            missing: tuple[str, ...] = ("it is not in claims.toml",)
        else:
            missing = tuple(_missing(entry, chapter, solutions, tests))
        yield Judged(chapter.number, claim, entry, missing)
    for entry in entries.values():
        yield Judged(chapter.number, entry.claim, entry, ("the lesson does not say this",))


def _missing(
    entry: Entry, chapter: Chapter, solutions: dict[str, Wrong], tests: dict[str, set[str]]
) -> Iterator[str]:
    if entry.untested:
        if not UNTESTED.search(entry.claim):
            yield "the lesson does not say that nothing tests it"
        if entry.tests or entry.wrong:
            yield "it is called untested, and has tests or wrong solutions"
        return
    if not entry.tests or not entry.wrong:
        yield "it has no test" if not entry.tests else "it has no wrong solution"
    chapters = {chapter.number, *(name.partition("/")[0] for name in entry.wrong)}
    there = set().union(*(tests.get(number, set()) for number in chapters))
    for test in entry.tests:
        if test not in there:
            yield f"there is no test {test}"
    for name in entry.wrong:
        if name not in solutions:
            yield f"there is no wrong solution {name}"
        elif not set(solutions[name].noticed_by) & set(entry.tests):
            yield f"none of the tests notices {name}"


def _tests_of(folder: Path) -> set[str]:
    found: set[str] = set()
    for path in folder.glob("test_*.py"):
        found |= set(re.findall(r"^def (test_\w+)", path.read_text("utf-8"), flags=re.MULTILINE))
    return found


# What people read ------------------------------------------------------------------------------


def document(catalogue: Catalogue, judged: list[Judged]) -> str:
    """All claims by chapter: the claim, the tests, the wrong solutions."""
    parts = [_INTRODUCTION, _counted(catalogue, judged)]
    for chapter in catalogue.chapters:
        mine = [each for each in judged if each.chapter == chapter.number]
        if mine:
            parts.append(f"## {chapter.number} {chapter.title}")
            head = ["| claim | test | wrong solution |", "|---|---|---|"]
            parts.append("\n".join([*head, *map(_row, mine)]))
    return "\n\n".join(parts) + "\n"


_INTRODUCTION = """\
# What the lessons claim

*Made by `./kata teeth document` from the lessons and from each chapter's `claims.toml`.*

A claim is a sentence of a lesson that says must, never or always, that forbids something, or that
names a trap, and each trap of a list of them; in the section "The contract" also a sentence that
says no or not, nothing, nobody or only. The sections that show what the kernel does, how others do
it, and those with questions and further reading claim nothing about a solution.

A claim has a tooth if there is a wrong solution that does what it forbids, and a test that notices;
`tests/test_wrong.py` runs each of them. Where nothing can test a claim, the sentence says so."""


def _counted(catalogue: Catalogue, judged: list[Judged]) -> str:
    lines = ["| chapter | with a tooth | untested, as it says | without |", "|---|--:|--:|--:|"]
    rows = [
        (f"{chapter.number} {chapter.title}", [j for j in judged if j.chapter == chapter.number])
        for chapter in catalogue.chapters
    ]
    for name, mine in [*rows, ("all", judged)]:
        without = sum(bool(each.missing) for each in mine)
        untested = sum(_is_untested(each) for each in mine)
        toothed = len(mine) - without - untested
        lines.append(f"| {name} | {toothed} | {untested} | {without} |")
    return "\n".join(lines)


def _is_untested(judged: Judged) -> bool:
    return not judged.missing and judged.entry is not None and judged.entry.untested


def _row(judged: Judged) -> str:
    claim = judged.claim.strip("| ").replace("|", "\\|")
    if judged.missing:
        return f"| {claim} | **without a tooth**: {'; '.join(judged.missing)} | |"
    assert judged.entry is not None
    if judged.entry.untested:
        return f"| {claim} | *none, as it says* | |"
    tests = "<br>".join(f"`{test}`" for test in judged.entry.tests)
    solutions = "<br>".join(f"`{name}`" for name in judged.entry.wrong)
    return f"| {claim} | {tests} | {solutions} |"
