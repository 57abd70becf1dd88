"""Proofs: what a test has shown of files that have not changed since, it need not show again.

A test whose result follows from files alone names them. When it passes, a hash of all that went
into it is kept beside its name in `tests/proofs.txt`: those files, the part of `dojo` that runs
chapters' tests, and what this machine is able to do. As long as the hash stays the same, the result
is taken over. But for a twentieth of them, drawn anew for each commit: those are proven again.
"""

import ast
import functools
import hashlib
import random
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from dojo.course.catalogue import Chapter
from dojo.testkit import machine

FILE = Path("tests", "proofs.txt")
PROVEN_AGAIN = 1 / 20
# What runs chapters' tests: these, the testkit, and all that they import. The last one is run as a
# script.
HARNESS = (
    "dojo/plugin/__init__.py",
    "dojo/teeth/wrong.py",
    "dojo/teeth/runs.py",
    "dojo/scratch/inside.py",
)


def read(root: Path) -> dict[str, str]:
    """The hash of each test that has been proven, by the test's name. Nothing without a file."""
    try:
        lines = (root / FILE).read_text().splitlines()
    except FileNotFoundError:
        return {}
    return {name: key for key, _, name in (line.partition(" ") for line in lines)}


def write(root: Path, proven: Mapping[str, str]) -> None:
    lines = (f"{key} {name}\n" for name, key in sorted(proven.items()))
    (root / FILE).write_text("".join(lines))


def key(root: Path, parts: Iterable[Path | str]) -> str:
    """The hash of all that goes into a test: these files and texts, the harness, and the machine.

    Of a directory, all Python files below it.
    """
    digest = hashlib.sha256(_surroundings(root).encode())
    for part in parts:
        digest.update(_of_files(part).encode() if isinstance(part, Path) else part.encode())
    return digest.hexdigest()[:16]


def files_of(chapter: Chapter) -> list[Path]:
    """What the outcome of a chapter's tests depends on, but for the program under test."""
    return [chapter.folder, chapter.folder / "chapter.toml"]


def forget_files() -> None:
    """Read all files anew from now on: they have changed while this program runs."""
    _of_files.cache_clear()
    _surroundings.cache_clear()


def is_drawn(name: str, commit: str) -> bool:
    """Whether a test is to be proven again at this commit."""
    return random.Random(f"{commit} {name}").random() < PROVEN_AGAIN


@functools.cache
def _of_files(path: Path) -> str:
    digest = hashlib.sha256()
    files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
    for file in files:
        content = file.read_bytes()
        digest.update(f"{file.name} {len(content)}\n".encode() + content)
    return digest.hexdigest()


@functools.cache
def _surroundings(root: Path) -> str:
    able = [ability.name for ability in machine.abilities() if ability.present]
    harness = [_of_files(path) for path in harness_of(root)]
    return " ".join([*harness, *able, f"{sys.version_info[0]}.{sys.version_info[1]}"])


def harness_of(root: Path) -> list[Path]:
    """The files of `dojo` that a run of a chapter's tests can touch."""
    found: set[Path] = set()
    waiting = [root / name for name in HARNESS] + list((root / "dojo" / "testkit").glob("*.py"))
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += _imported(root, path)
    return sorted(found)


def _imported(root: Path, path: Path) -> Iterator[Path]:
    """The files of `dojo` that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            module = root / name.replace(".", "/")
            for file in (module.with_suffix(".py"), module / "__init__.py"):
                if name.startswith("dojo") and file.is_file():
                    yield file
