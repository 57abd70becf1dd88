"""What came of putting the tests to the test, kept in `docs/teeth/results.json`."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dojo.clone import Clone


@dataclass(frozen=True)
class Caught:
    """A wrong solution that was judged. told: by each test that noticed, what a learner reads."""

    chapter: str
    title: str
    told: dict[str, str]
    unnoticed: tuple[str, ...]


@dataclass(frozen=True)
class Mutant:
    """A change that was made to the reference by chance, and judged.

    file, line: where. was, became: that line before and after. killed_by: the test that noticed;
    None if none did. reason: why nothing can notice, for one that is equivalent.
    """

    chapter: str
    file: str
    line: int
    operator: str
    was: str
    became: str
    killed_by: str | None
    reason: str | None = None


@dataclass(frozen=True)
class EngineRun:
    """A chapter's tests against another engine, those that are not marked `ours`.

    explained: the reason for each test that fails, by its name. unexplained: the others.
    """

    engine: str
    chapter: str
    passed: int
    explained: dict[str, str]
    unexplained: tuple[str, ...]

    @property
    def all(self) -> int:
        return self.passed + len(self.explained) + len(self.unexplained)


@dataclass
class Results:
    """wrong: by name. mutants: by a name. engines: by engine and chapter, "docker 5.7".

    versions: of the engines, as they call themselves. rounds: by the seed of their order, which
    tests failed in a round of all chapters under load.
    """

    wrong: dict[str, Caught] = field(default_factory=dict)
    mutants: dict[str, Mutant] = field(default_factory=dict)
    engines: dict[str, EngineRun] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    rounds: dict[str, list[str]] = field(default_factory=dict)


def folder(clone: Clone) -> Path:
    return clone.root / "docs" / "teeth"


def read(clone: Clone) -> Results:
    """What is kept; nothing where nothing was measured yet."""
    try:
        kept: dict[str, Any] = json.loads((folder(clone) / "results.json").read_text())
    except FileNotFoundError:
        return Results()
    return Results(
        wrong={
            name: Caught(**{**each, "unnoticed": tuple(each["unnoticed"])})
            for name, each in kept["wrong"].items()
        },
        mutants={name: Mutant(**each) for name, each in kept["mutants"].items()},
        engines={
            name: EngineRun(**{**each, "unexplained": tuple(each["unexplained"])})
            for name, each in kept["engines"].items()
        },
        versions=kept["versions"],
        rounds=kept.get("rounds", {}),
    )


def write(clone: Clone, results: Results) -> None:
    folder(clone).mkdir(parents=True, exist_ok=True)
    text = json.dumps(asdict(results), indent=1, sort_keys=True, ensure_ascii=False)
    (folder(clone) / "results.json").write_text(text + "\n")


def name_of(mutant: Mutant) -> str:
    """A name that stays the same while the line does, wherever it moves to."""
    what = "\0".join((mutant.file, mutant.operator, mutant.was, mutant.became))
    return hashlib.sha256(what.encode()).hexdigest()[:12]
