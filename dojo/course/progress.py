"""What a learner has done so far, kept in the clone between two commands."""

import contextlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dojo.clone import Clone
from dojo.course.catalogue import Catalogue, Chapter
from dojo.errors import KataError

OUTCOMES = ("passed", "failed", "skipped", "waiting")


@dataclass(frozen=True)
class Result:
    """What became of one test; "waiting" is one that has not been run yet."""

    task: int
    outcome: str


@dataclass(frozen=True)
class Record:
    """The last check of a chapter.

    when: its end, in ISO 8601. results: of every test of the chapter, by its ID.
    """

    when: str
    results: Mapping[str, Result]

    def count(self, outcome: str) -> int:
        return sum(result.outcome == outcome for result in self.results.values())

    @property
    def passed(self) -> int:
        return self.count("passed")

    @property
    def failed(self) -> int:
        return self.count("failed")

    @property
    def total(self) -> int:
        return len(self.results)

    @property
    def done(self) -> bool:
        """Whether all was green that this machine can run."""
        return bool(self.results) and not self.failed and not self.count("waiting")

    @property
    def first_open_task(self) -> int | None:
        """The first one with a red test; else the first with one that was not run."""
        for outcome in ("failed", "waiting"):
            tasks = [each.task for each in self.results.values() if each.outcome == outcome]
            if tasks:
                return min(tasks)
        return None


@dataclass(frozen=True)
class Progress:
    """All that is remembered.

    at: the number of the chapter that the learner went to last, None if they began at the first.
    records: by a chapter's number. hints: how many of a task's hints were shown, by the chapter's
    number and the task's.
    """

    at: str | None = None
    records: Mapping[str, Record] = field(default_factory=dict)
    hints: Mapping[tuple[str, int], int] = field(default_factory=dict)

    def red(self) -> set[str]:
        """The IDs of the tests that were red when they ran last."""
        return {
            name
            for record in self.records.values()
            for name, result in record.results.items()
            if result.outcome == "failed"
        }

    def record(self, chapter: Chapter) -> Record | None:
        return self.records.get(chapter.number)

    def done(self, chapter: Chapter) -> bool:
        record = self.record(chapter)
        return record is not None and record.done

    def current(self, catalogue: Catalogue) -> Chapter | None:
        """The chapter to work at: the first not done, from where the learner went; None at the end.

        Raises KataError if there are no chapters.
        """
        if not catalogue.chapters:
            raise KataError(f"there are no chapters in {catalogue.clone.chapters}")
        start = next((c.order for c in catalogue.chapters if c.number == self.at), (0,))
        open_ones = [chapter for chapter in catalogue.chapters if not self.done(chapter)]
        ahead = [chapter for chapter in open_ones if chapter.order >= start]
        return next(iter(ahead or open_ones), None)

    # What changes

    def with_results(self, chapter: Chapter, results: Mapping[str, Result]) -> "Progress":
        """After a check. results: of all the tests that the chapter has now.

        Where a check was stopped, what is known of the tests that were not run stays.
        """
        old = self.record(chapter)
        known = old.results if old else {}
        merged = {
            name: known.get(name, result) if result.outcome == "waiting" else result
            for name, result in results.items()
        }
        record = Record(datetime.now(UTC).isoformat(timespec="seconds"), merged)
        return replace(self, records={**self.records, chapter.number: record})

    def with_hint(self, chapter: Chapter, task: int, shown: int) -> "Progress":
        return replace(self, hints={**self.hints, (chapter.number, task): shown})

    def gone_to(self, catalogue: Catalogue, chapter: Chapter) -> "Progress":
        """After `goto`: the code of this chapter and all after it is not there any more."""
        before = {earlier.number for earlier in catalogue.before(chapter)}
        records = {number: one for number, one in self.records.items() if number in before}
        return replace(self, at=chapter.number, records=records)


# Where it is kept ----------------------------------------------------------------------------


def path_of(clone: Clone) -> Path:
    return clone.state / "progress.json"


def load(clone: Clone) -> Progress:
    """What is remembered. What cannot be read counts as nothing: tests can be run again."""
    try:
        return _decode(json.loads(path_of(clone).read_text("utf-8")))
    except (OSError, ValueError, RecursionError):
        return Progress()


def update(clone: Clone, change: Callable[[Progress], Progress]) -> Progress:
    """Change what is remembered, and return it. The file is replaced as a whole, or not at all.

    Raises KataError where it cannot be written.
    """
    path = path_of(clone)
    changed = change(load(clone))
    try:
        path.parent.mkdir(exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix="progress-", suffix=".json", dir=path.parent)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(_encode(changed), file, indent=1)
                file.write("\n")
            Path(name).chmod(0o644)
            clone.give_back(path.parent, Path(name))
            Path(name).replace(path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                Path(name).unlink()
    except OSError as error:
        raise KataError(f"write {path}: {error.strerror}") from error
    return changed


def _encode(progress: Progress) -> dict[str, Any]:
    hints: dict[str, dict[str, int]] = {}
    for (number, task), shown in progress.hints.items():
        hints.setdefault(number, {})[str(task)] = shown
    chapters = {
        number: {
            "when": record.when,
            "passed": record.passed,
            "total": record.total,
            "tests": {name: [one.task, one.outcome] for name, one in record.results.items()},
        }
        for number, record in progress.records.items()
    }
    return {"version": 1, "at": progress.at, "chapters": chapters, "hints": hints}


def _decode(data: Any) -> Progress:
    """What is of the right form; the rest is left out."""
    at = _mapping(data).get("at")
    records = {
        number: Record(str(_mapping(entry).get("when", "")), _results(_mapping(entry).get("tests")))
        for number, entry in _mapping(_mapping(data).get("chapters")).items()
    }
    hints = {
        (number, int(task)): shown
        for number, tasks in _mapping(_mapping(data).get("hints")).items()
        for task, shown in _mapping(tasks).items()
        if task.isdecimal() and isinstance(shown, int)
    }
    return Progress(
        at if isinstance(at, str) else None,
        {number: record for number, record in records.items() if record.results},
        hints,
    )


def _results(data: Any) -> dict[str, Result]:
    found = {}
    for name, entry in _mapping(data).items():
        match entry:
            case [int(task), str(outcome)] if outcome in OUTCOMES:
                found[name] = Result(task, outcome)
    return found


def _mapping(data: Any) -> dict[str, Any]:
    return data if isinstance(data, dict) else {}
