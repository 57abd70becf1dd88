"""What the chapters' tests are written with.

A test says in its docstring why the behaviour matters, in words that a learner of its chapter
knows, and in its `task` which section of the lesson explains it. `expect` and `check` put both
beside what was run, what came out and what was expected.
"""

import re
from collections.abc import Iterable

import pytest

from dojo.rows import laid_out, readable
from dojo.scratch import Call
from dojo.scratch.calls import describe_status, show
from dojo.testkit import machine

guard = pytest.mark.guard
ours = pytest.mark.ours
needs = pytest.mark.needs
layers = pytest.mark.layers  # once for each storage driver
vm = pytest.mark.vm  # of the few that CI runs in a virtual machine, too


def task(number: int) -> pytest.MarkDecorator:
    """Mark a test as part of a task of its chapter: 1 is the first in chapter.toml.

    The title of the task is also the heading of the section of the lesson that explains it.
    """
    return pytest.mark.task(number)


def examples(usual: int, least: int) -> int:
    """How many examples hypothesis draws: the fewer, the longer a process takes to start here.

    usual: on a usual machine. least: on the slowest one.
    """
    return max(least, int(usual / (patience or machine.patience())))


patience: float | None = None  # of the test that runs: that of its last run, if it was red


class Unmet(AssertionError):
    """What a test expected and did not get.

    rows: pairs of a word and a text, in the order in which a person wants to read them.
    """

    def __init__(self, rows: Iterable[tuple[str, str]]) -> None:
        self.rows = list(rows)
        super().__init__(laid_out((name, readable(text)) for name, text in self.rows))


def expect(
    call: Call,
    *,
    status: int | None = None,
    out: bytes | str | None = None,
    err: bytes | str | None = None,
    complaint: Iterable[str] | None = None,
) -> Call:
    """Expect a call to have ended by itself, and in this way. Returns it.

    out, err: the whole of the stream, to the byte. complaint: stderr is one line, and every one of
    these words is in it. Raises Unmet.
    """
    __tracebackhide__ = True
    unmet = []
    if call.problem:
        unmet.append("it ends by itself, and takes what it started along")
    if status is not None and call.status != status:
        unmet.append(f"status {describe_status(status)}")
    for name, wanted, got in (("stdout", out, call.out), ("stderr", err, call.err)):
        if wanted is not None and got != _bytes(wanted):
            unmet.append(f"{name} exactly {show(_bytes(wanted))}")
    if complaint is not None:
        unmet += _missing_from_complaint(call, list(complaint))
    if unmet:
        raise Unmet([*call.rows(), *remark(call), *(("expected", text) for text in unmet)])
    return call


def check(condition: object, expected: str, got: object, call: Call | None = None) -> None:
    """Expect a condition to hold. expected: what, as a sentence; got: what there was instead."""
    __tracebackhide__ = True
    if not condition:
        rows = call.rows() if call else []
        found = [] if got is call and rows else [("found", described(got))]  # not twice
        raise Unmet([*rows, *found, ("expected", expected)])


def described(got: object) -> str:
    """What a test has found, as it is told: never how Python writes an object of ours."""
    if isinstance(got, bytes | bytearray):
        return show(bytes(got))
    if isinstance(got, list | tuple | set | frozenset) and not _is_plain(got):
        return "; ".join(map(str, got))
    return str(got) or "(nothing)"


def _is_plain(several: Iterable[object]) -> bool:
    return all(isinstance(each, _PLAIN) for each in several)


_PLAIN = (str, bytes, int, float, type(None), list, tuple, dict)


def _missing_from_complaint(call: Call, words: list[str]) -> list[str]:
    lines = call.errors.splitlines()
    if "Traceback (most recent call last)" in call.errors:
        return [
            "no traceback: an error is one line on stderr, for the person who typed the command"
        ]
    if call.in_its_own_words:
        return [] if lines else ["something on stderr that says what went wrong"]
    if len(lines) != 1:
        return [f"one line on stderr that says what went wrong, not {len(lines)}"]
    return [f"a message that names {word!r}" for word in words if not _names(call.errors, word)]


def _names(message: str, word: str) -> bool:
    """Whether a message names a word; an option with one dash or two: Go's flag package has one."""
    word = word.removeprefix("-") if word.startswith("--") else word
    if word.isalnum():  # "lo" stands in "allowed", too
        return re.search(rf"(?<![^\W_]){re.escape(word)}(?![^\W_])", message) is not None
    return word in message


def remark(call: Call) -> list[tuple[str, str]]:
    if "Traceback (most recent call last)" not in call.errors:
        return []
    last = call.errors.strip().splitlines()[-1]
    return [("note", f"the program under test ended with a Python traceback of its own: {last}")]


def _bytes(text: bytes | str) -> bytes:
    return text.encode() if isinstance(text, str) else text
