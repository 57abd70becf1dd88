"""A task's step as it is stored: a patch with the message of a commit."""

import re
from dataclasses import dataclass
from pathlib import Path

from dojo.errors import KataError

# What steps sort by: (3, 1, 2) is task 2 of chapter 3.1.
Order = tuple[int, ...]
_NAME = re.compile(r"([0-9]+\.[0-9]+)/([0-9]+)-[a-z0-9-]+\.patch")


@dataclass(frozen=True)
class Patch:
    """A task's step as it is stored.

    number: "3.1.2" is task 2 of chapter 3.1. message: the commit's message, "3.1.2: ..." in its
    first line. diff: what `git apply` is given.
    """

    number: str
    message: str
    diff: bytes

    @property
    def chapter(self) -> str:
        return self.number.rpartition(".")[0]

    @property
    def task(self) -> int:
        return order_of(self.number)[-1]

    @property
    def name(self) -> str:
        """Where it is stored below `solutions/steps/`: "3.1/2-a-child-becomes.patch"."""
        words = re.sub("[^a-z0-9]+", "-", self.subject.lower().replace("'", "")).strip("-")
        return f"{self.chapter}/{self.task}-{words}.patch"

    @property
    def subject(self) -> str:
        """The message's first line without the number."""
        return self.message.split("\n", 1)[0].partition(": ")[2]

    def added(self) -> int:
        """How many lines it adds."""
        lines = self.diff.split(b"\n")
        return sum(line.startswith(b"+") and not line.startswith(b"+++ ") for line in lines)

    def text(self) -> bytes:
        return self.message.encode() + b"\n---\n" + self.diff


def read_patch(path: Path) -> Patch:
    """Raises KataError for a file that is not a message, a line `---`, and a diff."""
    parts = parted(path.read_bytes())
    if len(parts) != 2:
        raise KataError(f"{path}: no line `---` between the message and the diff")
    try:
        message = parts[0].decode()
    except UnicodeDecodeError as error:
        raise KataError(f"{path}: the message is not UTF-8: {error.reason}") from error
    return Patch(number_of(path), message.strip("\n"), parts[1])


def parted(text: bytes) -> list[bytes]:
    return re.split(rb"\n---\n(?=diff --git |\Z)", text, maxsplit=1)


def problems_of_message(patch: Patch) -> list[str]:
    lines = patch.message.split("\n")
    problems = []
    if not lines[0].startswith(f"{patch.number}: "):
        problems.append(f"the subject is {lines[0]!r}, not '{patch.number}: ...'")
    if len(lines) > 1 and lines[1]:
        problems.append("no blank line after the subject")
    if "\r" in patch.message:
        problems.append("a carriage return in the message")
    return problems


def number_of(path: Path) -> str:
    """The number of a patch by its path; empty if that is none of a task."""
    found = _NAME.fullmatch(f"{path.parent.name}/{path.name}")
    return f"{found[1]}.{found[2]}" if found else ""


def order_of(number: str) -> Order:
    return tuple(int(part) for part in number.split("."))
