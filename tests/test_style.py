"""The words of docs/STYLE.md: what a reader meets has none that the glossary replaced."""

import re
import subprocess
from pathlib import Path

import pytest

from dojo import clone

ROOT = clone.here().root
OLD = {
    "minder": r"minder|\bunminded\b|\bminds\b",
    "write layer": r"\bwrite layer\b",
    "scratch host": r"\bscratch[ -]host\b|ScratchHost",
    "moment": r"every-moment|\bMoment\b",
    "broken record": r"\bbroken record|\brecords? that (is|are) broken",
    "what it takes is": r"\bwhat it takes is\b",
    "the least": r"\bthe least (memory|size|limit)\b",
    "though it was killed": r"\bthough it was killed\b",
    "dies as one": r"\bdies as one\b",
    "for the moment": r"\bnames? for the moment\b",
    "id": r"\b(an|the|its|short|full|whose|container) ids?(?![\w=(\[:])",
}
# The style guide names what it replaces, and so do these tests.
GUIDES = {"docs/STYLE.md", "tests/test_style.py"}
READ = [
    *("README.md", "CONTRIBUTING.md", "chapters", "docs", "dojo", "mydocker", "solutions"),
    *("tests", "benchmarks", ".ci", "kata", "Vagrantfile"),
]


def texts() -> list[Path]:
    """Every file of text that is committed, but for those that are made from others."""
    command = ["git", "ls-files", "-z", "--", *READ]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    found = [name for name in names.split("\0") if name and name not in GUIDES]
    made = ("docs/teeth/", "tests/proofs.txt")
    return [ROOT / name for name in found if not name.startswith(made) and name[-4:] != ".png"]


@pytest.mark.parametrize("word", OLD)
def test_no_word_is_left_that_the_glossary_replaced(word: str) -> None:
    pattern = re.compile(OLD[word])
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
        for path in texts()
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if pattern.search(line)
    ]
    assert not found, f"{len(found)} lines say {word!r}:\n" + "\n".join(found[:20])


def test_the_guide_names_each_of_these_words() -> None:
    """So that whoever wrote one finds what to write in its place."""
    guide = (ROOT / "docs/STYLE.md").read_text()
    for word in ("minder", "write layer", "scratch host", "moment", "broken record", "id"):
        assert f"| {word} |" in guide, word
