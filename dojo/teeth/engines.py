"""Real engines: they take the chapters' tests, and where they differ the reason is kept.

`tests/engines/differences.toml` has the reasons; a test that is not there must pass.
"""

import shutil
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dojo.clone import Clone
from dojo.course.catalogue import Catalogue, Chapter
from dojo.engines import Engine, kind_of
from dojo.errors import KataError
from dojo.teeth.results import EngineRun
from dojo.teeth.runs import Outcome, run_tests


@dataclass(frozen=True)
class Difference:
    """Why an engine fails a test. sometimes: it depends on who is faster, so it may pass, too."""

    reason: str
    sometimes: bool


@dataclass(frozen=True)
class Judged:
    """What came of a chapter's tests.

    passed_after_all: what is listed as a difference, and is none. messages: what each test said
    that failed, by its name.
    """

    run: EngineRun
    passed_after_all: tuple[str, ...]
    messages: dict[str, str]


def measure(
    catalogue: Catalogue, engine: str, chapters: Sequence[Chapter], workers: int = 2
) -> Iterator[EngineRun]:
    """Have an engine take the tests of chapters, one chapter after the other.

    Raises KataError where it is not installed.
    """
    for chapter in chapters:
        yield judge(catalogue, engine, chapter, workers).run


def judge(catalogue: Catalogue, engine: str, chapter: Chapter, workers: int = 2) -> Judged:
    """Have an engine take the tests of one chapter, as many at a time as `workers` says.

    Raises KataError where it is not installed.
    """
    require(engine)
    options = ["--lab", "here", "-n", str(workers)]
    with tempfile.TemporaryDirectory() as directory:
        outcomes, _ = run_tests(chapter, engine, Path(directory), *options)
    return compare(engine, chapter.number, outcomes, differences(catalogue.clone, engine, chapter))


def compare(
    engine: str, chapter: str, outcomes: Mapping[str, Outcome], listed: Mapping[str, Difference]
) -> Judged:
    """Hold what came of the tests against the differences that are listed."""
    failed = {n: o for n, o in outcomes.items() if o.result in ("failed", "error")}
    explained = {name: found.reason for name in failed if (found := _find(name, listed))}
    run = EngineRun(
        engine=engine,
        chapter=chapter,
        passed=sum(outcome.result == "passed" for outcome in outcomes.values()),
        explained=explained,
        unexplained=tuple(sorted(failed.keys() - explained.keys())),
    )
    used = {name for each in explained for name in (each, _function(each))}
    always = {name for name, difference in listed.items() if not difference.sometimes}
    return Judged(
        run,
        tuple(sorted(always - used)),
        {name: outcome.message for name, outcome in failed.items()},
    )


def _find(name: str, listed: Mapping[str, Difference]) -> Difference | None:
    return listed.get(name) or listed.get(_function(name))


def _function(name: str) -> str:
    """The name of a test without its parameters."""
    return name.partition("[")[0]


def differences(clone: Clone, engine: str, chapter: Chapter) -> dict[str, Difference]:
    """Where an engine differs, by a test's name: with parameters, or without, for any of them."""
    path = clone.root / "tests" / "engines" / "differences.toml"
    listed: list[dict[str, Any]] = tomllib.loads(path.read_text())["difference"]
    return {
        test: Difference(each["reason"], each.get("sometimes", False))
        for each in listed
        if engine in each["engines"]
        for test in each["tests"].get(chapter.number, ())
    }


def version(engine: str) -> str:
    """An engine with its version, "Docker 20.10.24": it is started for it."""
    from dojo.plugin.fixtures import TestHosts
    from dojo.scratch.place import session_directory

    program = require(engine)
    with session_directory() as directory:
        hosts = TestHosts(directory, [])
        try:
            return hosts.engine(_kind(engine), program).version()
        finally:
            hosts.end_engine()


def require(engine: str) -> str:
    """The path of an engine's program.

    Raises KataError where it, or what it needs, is not installed.
    """
    missing = _kind(engine).missing()
    program = shutil.which(engine)
    if missing or program is None:
        raise KataError(missing or f"no {engine} here")
    return program


def _kind(engine: str) -> type[Engine]:
    kind = kind_of(engine)
    if kind is None:
        raise KataError(f"{engine}: no such engine")
    return kind
