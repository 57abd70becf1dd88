"""The program under test: whether it can be started at all.

A program that does not start fails every test in the same way. So it is started once before the
tests, and what is wrong with it is told as what it is: an error of its author's.
"""

import os
import re
import shlex
import shutil
import sys
import sysconfig
import tempfile
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from dojo.clone import Clone
from dojo.errors import KataError
from dojo.rows import readable
from dojo.scratch import Call, TestHost, groups
from dojo.scratch.calls import describe_status, show
from dojo.scratch.executables import why_not
from dojo.testkit import machine

SECONDS = 10.0  # for `run --help`, which starts no container


# Why a program does not start: pairs of a word and a text, in the order in which to read them.
Trouble = list[tuple[str, str]]


def words_of(given: str | None) -> list[str]:
    """The words of `--mydocker`, those of the learner's package by default.

    Raises KataError where there is no such program, or it cannot be one.
    """
    if not given:
        # Each start is spared 5 ms: of what `site` does, it gets the packages, see `search_path`.
        return [sys.executable, "-S", "-m", "mydocker"]
    first, *rest = split(given)
    if wrong := why_not(first):
        raise KataError(f"--mydocker {first}: {wrong}")
    found = shutil.which(first) or first
    _prepare(rest)
    return [str(Path(found).absolute()), *rest]


def _prepare(words: Sequence[str]) -> None:
    """Where it is our reference, `-m solutions 4.2` or `kata solution 4.2`, make what it starts.

    It would do so itself, at its first start, but the clone is read-only on a test host.
    """
    for word, typed in pairwise(words):
        if word in ("solution", "solutions"):
            from dojo.clone import here
            from dojo.course.catalogue import Catalogue
            from dojo.course.steps import Steps

            catalogue = Catalogue(here())
            with suppress(KataError):  # it will say itself what is wrong
                Steps(catalogue).state(catalogue.chapter(typed))


def search_path(clone: Clone) -> str:
    """PYTHONPATH for the learner's package, with what is installed beside it."""
    return os.pathsep.join([str(clone.root), sysconfig.get_path("purelib")])


def split(given: str) -> list[str]:
    """The words of `--mydocker` as typed. Raises KataError where its quotes have no end."""
    try:
        return shlex.split(given)
    except ValueError as error:
        raise KataError(f"--mydocker {given}: {error}") from error


def trouble_of(words: Sequence[str], clone: Clone) -> Trouble | None:
    """Start the program once, as `run --help`: that needs all that a container needs, but one.

    It runs on a test host, so that nothing that it does at its start reaches this machine.
    Raises KataError where a test host cannot be made.
    """
    ran = "python -m mydocker run --help" if words[0] == sys.executable else None
    if ran and not clone.learner.is_dir():
        # An installed clone's package would be found in its place.
        return [("ran", ran), ("said", f"No module named mydocker: there is no {clone.learner}")]
    with tempfile.TemporaryDirectory(prefix="kata-") as directory:
        host = TestHost(next(groups.unique_names()), machine.patience(), [Path(directory)])
        try:
            environment = {
                "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "HOME": "/root",
                "LANG": "C.UTF-8",
                "MYDOCKER_ROOT": f"{directory}/root",
                "PYTHONPATH": search_path(clone),
                "PYTHONDONTWRITEBYTECODE": "1",
            }
            argv = [*words, "run", "--help"]
            call = host.run(argv, env=environment, cwd=directory, seconds=SECONDS)
        finally:
            host.close()
    why = _why(call, clone) or _relative_path(words, call)
    rows = [(name, readable(text)) for name, text in why]
    return [("ran", ran or shlex.join(argv)), *rows] if rows else None


def _why(call: Call, clone: Clone) -> Trouble:
    """What the call shows to be wrong; nothing where the program can at least be started."""
    said = call.errors.splitlines()
    end = call.problem
    if not end and call.status is not None and call.status < 0:
        end = describe_status(call.status)
    if end:
        streams = (("stdout", call.out), ("stderr", call.err))
        return [("problem", end), *((name, _beginning(out)) for name, out in streams if out)]
    if call.status and said and _MISSING.search(said[-1]):
        return [("said", said[-1])]
    if call.status and _TRACEBACK in said:
        return _of_traceback(said, clone)
    return []


def _relative_path(words: Sequence[str], call: Call) -> Trouble:
    """The argument that names a file here, and none where the tests call the program.

    It counts only where the program has failed and complains of that file.
    """
    for word in words[1:]:
        path = Path(word)
        if call.status and not path.is_absolute() and path.is_file() and path.name in call.errors:
            why = f"{word} is a relative path, and tests call the program in another directory"
            return [("said", call.errors), ("problem", f"{why}: type {path.absolute()}")]
    return []


def _beginning(output: bytes) -> str:
    more = f"\n… and {len(output) - _SHOWN} bytes more" if len(output) > _SHOWN else ""
    return show(output[:_SHOWN]) + more


_SHOWN = 400  # bytes of each stream
_MISSING = re.compile(r": No module named '?mydocker")
_TRACEBACK = "Traceback (most recent call last):"


def _of_traceback(said: Sequence[str], clone: Clone) -> Trouble:
    """The last place in the learner's code, and the error: without what Python did to get there."""
    own = [place for place in _places(said) if Path(place.path).is_relative_to(clone.learner)]
    if not own:
        return [("said", "\n".join(said[-_SHOWN_LINES:]))]
    place = own[-1]
    where = f"{Path(place.path).relative_to(clone.root)}, line {place.line}"
    code = textwrap.dedent("\n".join(_until_next_place(said[place.row + 1 :])))
    return [("where", where), ("code", code), ("error", _error_line(said))]


_SHOWN_LINES = 12


@dataclass(frozen=True)
class _Place:
    row: int
    path: str
    line: str


def _places(said: Sequence[str]) -> Iterator[_Place]:
    for row, text in enumerate(said):
        found = re.match(r'  File "(.+)", line (\d+)', text)
        if found:
            yield _Place(row, found[1], found[2])


def _until_next_place(lines: Sequence[str]) -> Iterator[str]:
    for line in lines:
        if not line.startswith("    "):
            return
        yield line


def _error_line(said: Sequence[str]) -> str:
    """The line that names the error: the last one that begins at the margin."""
    return next(line for line in reversed(said) if line and not line[0].isspace())
