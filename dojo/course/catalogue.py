"""The chapters: which there are, in which order, and what each consists of."""

import re
import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from dojo.clone import Clone
from dojo.errors import KataError


@dataclass(frozen=True)
class Chapter:
    """One chapter as its `chapter.toml` describes it.

    number: as people write it, "3.1".
    title: a word or two. line: what a learner builds in it, in one line.
    needs: what the kernel must have, in the words of `dojo.testkit.machine`.
    tasks: the titles of its tasks; task 1 is the first.
    folder: where it lies.
    """

    number: str
    title: str
    line: str
    needs: tuple[str, ...]
    tasks: tuple[str, ...]
    folder: Path

    def require_task(self, task: int) -> None:
        """Raises KataError naming the tasks there are, if it is none of them."""
        if not 1 <= task <= len(self.tasks):
            there_are = f"there are {len(self.tasks)}"
            raise KataError(f"chapter {self.number} has no task {task}: {there_are}")

    @property
    def lesson(self) -> Path:
        return self.folder / "README.md"

    @property
    def hints(self) -> Path:
        return self.folder / "hints.md"

    @property
    def order(self) -> tuple[int, ...]:
        return tuple(int(part) for part in self.number.split("."))


@dataclass(frozen=True)
class Catalogue:
    """All chapters of a clone, in the order in which they are learned."""

    clone: Clone

    @cached_property
    def chapters(self) -> tuple[Chapter, ...]:
        found = [_read(path) for path in self.clone.chapters.glob("*/chapter.toml")]
        return tuple(sorted(found, key=lambda chapter: chapter.order))

    def chapter(self, typed: str) -> Chapter:
        """The chapter that a person means by "3.1", "3_1" or "chapters/3_1".

        Raises KataError naming what was typed and what there is.
        """
        wanted = typed.rstrip("/").rsplit("/", 1)[-1].replace("_", ".")
        for chapter in self.chapters:
            if chapter.number == wanted:
                return chapter
        there_are = ", ".join(chapter.number for chapter in self.chapters)
        raise KataError(f"no chapter {typed!r}: there are {there_are}")

    def before(self, chapter: Chapter) -> tuple[Chapter, ...]:
        return tuple(other for other in self.chapters if other.order < chapter.order)

    def after(self, chapter: Chapter) -> Chapter | None:
        """The chapter to go on with, None after the last."""
        return next((other for other in self.chapters if other.order > chapter.order), None)


def _read(path: Path) -> Chapter:
    try:
        entry = tomllib.loads(path.read_text("utf-8"))
        chapter = Chapter(
            number=entry["number"],
            title=entry["title"],
            line=entry["line"],
            needs=tuple(entry["needs"]),
            tasks=tuple(entry["tasks"]),
            folder=path.parent,
        )
    except (tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise KataError(f"read {path}: {error!r}") from error
    if not re.fullmatch(r"[0-9]+\.[0-9]+", chapter.number):
        raise KataError(f"read {path}: number {chapter.number!r} is not of the form 3.1")
    return chapter
