"""The working tree: which of its files go over to the lab's machine, and what they are there."""

import hashlib
import itertools
import os
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dojo.errors import KataError

# Never sent, so never removed over there either: what tools make, and what is git's or ours.
LEFT_OUT = {
    ".DS_Store",
    ".eggs",
    ".git",
    ".hg",
    ".hypothesis",
    ".idea",
    ".kata",
    ".mypy_cache",
    ".nox",
    ".pytest_cache",
    ".ruff_cache",
    ".svn",
    ".tox",
    ".vagrant",
    ".venv",
    ".vscode",
    "__pycache__",
    "node_modules",
    "venv",
}
BUILT_AT_THE_TOP = {"build", "dist", "target"}
BUILT = (".box", ".egg-info", ".img", ".o", ".pyc", ".pyo", ".qcow2", ".swp", "~")
MOST_BYTES = 256 << 20
LINK = 0o120000  # as `landing` has it


@dataclass(frozen=True)
class File:
    """A file of the working tree.

    path: from the top, with slashes. mode: 0o755, 0o644, or LINK with what it points to as content.
    """

    path: str
    mode: int
    content: bytes

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


def files_of(root: Path, also: Iterable[str] = ()) -> Iterator[File]:
    """All that goes over.

    also: directories that go too, whatever their names are. Raises KataError where all of it is
    more than anybody wants to wait for.
    """
    left = MOST_BYTES
    for path in itertools.chain(_paths(root, ""), *(_paths(root, name) for name in also)):
        whole = root / path
        try:
            found = whole.lstat()
            left -= found.st_size
            if left < 0:
                raise KataError(
                    f"send {root} to the lab: it is larger than {MOST_BYTES >> 20} MiB, see "
                    f"{path}: move out of the clone what does not belong to it"
                )
            if stat.S_ISLNK(found.st_mode):
                yield File(path, LINK, os.fsencode(whole.readlink()))
            elif stat.S_ISREG(found.st_mode):
                content = whole.read_bytes()
                yield File(path, 0o755 if _is_program(found, content) else 0o644, content)
        except FileNotFoundError:  # an editor has just put another in its place
            continue
        except OSError as error:
            raise KataError(f"send {whole} to the lab: {error.strerror}") from error


def _paths(root: Path, above: str) -> Iterator[str]:
    with os.scandir(root / above) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        if entry.name in LEFT_OUT or entry.name.endswith(BUILT):
            continue
        path = f"{above}/{entry.name}" if above else entry.name
        if not entry.is_dir(follow_symlinks=False):
            yield path
        elif above or entry.name not in BUILT_AT_THE_TOP:
            yield from _paths(root, path)


def _is_program(found: os.stat_result, content: bytes) -> bool:
    if sys.platform == "win32":  # which has no such bit
        return content.startswith((b"#!", b"\x7fELF"))
    return bool(found.st_mode & stat.S_IXUSR)


@dataclass(frozen=True)
class Change:
    """What has to be done over there, so that the tree there is the one here."""

    write: Sequence[File]
    remove: Sequence[str]

    @staticmethod
    def between(here: Mapping[str, File], there: Mapping[str, Any]) -> "Change":
        """there: [hash, mode] of the files over there, by their paths."""
        write = [file for path, file in here.items() if there.get(path) != [file.digest, file.mode]]
        return Change(write, [path for path in there if path not in here])

    def __bool__(self) -> bool:
        return bool(self.write or self.remove)

    @property
    def paths(self) -> set[str]:
        return {file.path for file in self.write} | set(self.remove)

    def as_message(self) -> tuple[dict[str, Any], bytes]:
        """As `landing.take_in` wants it: the message, and the bytes after it."""
        content = b"".join(file.content for file in self.write)
        files = [[file.path, file.mode, len(file.content), file.digest] for file in self.write]
        return {"files": files, "remove": list(self.remove), "bytes": len(content)}, content
