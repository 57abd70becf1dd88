"""What a test is: its chapter, its task, its title, what it needs."""

from pathlib import Path

import pytest

from dojo.course.catalogue import Catalogue, Chapter
from dojo.testkit import lab

CATALOGUE = pytest.StashKey[Catalogue]()


def place_of(item: pytest.Item) -> tuple[tuple[int, ...], int]:
    """Where a test stands among all: by the order of its chapter, then by its task."""
    chapter = chapter_of(item)
    return (chapter.order if chapter else (0,), task_of(item))


def abilities_for(item: pytest.Item) -> set[str]:
    """What the machine must have for a test: what it is marked with, and what its chapter needs."""
    chapter = chapter_of(item)
    return {*(chapter.needs if chapter else ()), *needs_of(item)}


def needs_of(item: pytest.Item) -> set[str]:
    """The abilities that a test is marked with."""
    return {name for marker in item.iter_markers("needs") for name in marker.args}


def can_run(item: pytest.Item) -> bool:
    """Whether this machine has what a test of a chapter needs."""
    return lab.cannot(sorted(abilities_for(item))) is None


SPELLED = {"id": "ID", "ids": "IDs", "pid": "PID", "pids": "PIDs", "cpu": "CPU", "cpus": "CPUs"}


def title_of(item: pytest.Item) -> str:
    """The name of a test as words."""
    name = item.name.removeprefix("test_")
    words, bracket, parameters = name.partition("[")
    title = " ".join(SPELLED.get(word, word) for word in words.split("_"))
    return title + (f" [{parameters}" if bracket else "")


def task_of(item: pytest.Item) -> int:
    """The number of the task of its chapter that a test belongs to, 0 where it has none.

    A parameter may belong to a later task than the rest of its test: its mark is the last one.
    """
    markers = list(item.iter_markers("task"))
    return int(markers[-1].args[0]) if markers else 0


def chapter_of(item: pytest.Item) -> Chapter | None:
    """The chapter whose folder a test lies in."""
    for chapter in item.config.stash[CATALOGUE].chapters:
        if Path(item.path).is_relative_to(chapter.folder):
            return chapter
    return None


def number_of(item: pytest.Item) -> str | None:
    chapter = chapter_of(item)
    return chapter.number if chapter else None
