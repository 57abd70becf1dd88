"""Folders as their files: read, written, compared; and temporary ones."""

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dojo.clone import Clone
from dojo.errors import KataError


@dataclass(frozen=True)
class File:
    """mode: as git writes it. data: the content; of a link, where it leads."""

    mode: str
    data: bytes


# What is in a folder, by names relative to it.
Files = dict[str, File]

PLAIN, EXECUTABLE, LINK = "100644", "100755", "120000"


def read_folder(folder: Path) -> Files:
    """What is in a folder, to the byte, as far as git could keep it; Python's caches are left out.

    A folder that is not there is an empty one. Raises KataError for what git cannot keep (a device,
    a repository in the repository).
    """
    files: Files = {}
    for path in _paths(folder) if folder.exists() else ():
        about = path.lstat()
        if stat.S_ISLNK(about.st_mode):
            data = os.fsencode(os.readlink(path))
        elif stat.S_ISREG(about.st_mode):
            data = path.read_bytes()
        else:
            raise KataError(f"read {path}: neither a file nor a link")
        files[path.relative_to(folder).as_posix()] = File(mode_of(about), data)
    return files


def write_folder(files: Mapping[str, File], folder: Path) -> None:
    """Write files to a folder that is new, or empty."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, file in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if file.mode == LINK:
            os.symlink(os.fsdecode(file.data), path)
            continue
        path.write_bytes(file.data)
        if file.mode == EXECUTABLE:
            may_read = path.stat().st_mode & 0o444
            path.chmod(path.stat().st_mode | may_read >> 2)


def mode_of(about: os.stat_result) -> str:
    """The mode of a file or link as git keeps it."""
    if stat.S_ISLNK(about.st_mode):
        return LINK
    return EXECUTABLE if about.st_mode & stat.S_IXUSR else PLAIN


@contextmanager
def scratch(clone: Clone, parent: Path) -> Iterator[Path]:
    """A new folder in `parent`, the clone owner's, gone afterwards unless it was renamed.

    `parent` is made if it is not there. Raises KataError if that cannot be.
    """
    folder = parent / f".{os.urandom(8).hex()}"
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise KataError(f"make a folder in {parent}: {error.strerror}") from error
    owner = clone.foreign_owner()
    if owner is not None:
        for path in made:
            os.chown(path, owner.st_uid, owner.st_gid)
    try:
        yield folder
    finally:
        _remove(folder)


def _remove(folder: Path) -> None:
    # Not at the top: most runs only look things up, and it takes a while to import.
    import shutil

    if folder.exists():
        shutil.rmtree(folder)


def _paths(folder: Path) -> Iterator[Path]:
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.is_dir(follow_symlinks=False):
            if entry.name == ".git":
                raise KataError(f"{folder} is a git repository of its own: move its .git away")
            if entry.name != "__pycache__":
                yield from _paths(Path(entry.path))
        elif not entry.name.endswith(".pyc"):
            yield Path(entry.path)
