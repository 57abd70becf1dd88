"""A wrong solution is a patch on the reference. When the reference changes, it is carried over.

That is a three-way merge of states: the one that the patch was made for, the same with the mistake
in it, and the one of now. What git cannot merge waits in a repository of its own below
`.kata/wrong/`, where it can be solved.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dojo.clone import Clone
from dojo.course.catalogue import Catalogue
from dojo.course.folders import read_folder, scratch, write_folder
from dojo.course.git import Git
from dojo.course.steps import Steps
from dojo.errors import KataError
from dojo.teeth import wrong as wrong_solutions
from dojo.teeth.wrong import Wrong


@dataclass(frozen=True)
class Conflict:
    """A wrong solution that git could not carry over.

    name: as people call it. place: the repository to solve it in. files: what is to be solved.
    """

    name: str
    place: Path
    files: tuple[str, ...]


@dataclass(frozen=True)
class Rebased:
    """carried: the names of those that were written anew. conflicts: those that were not."""

    carried: tuple[str, ...]
    conflicts: tuple[Conflict, ...]


def rebase(catalogue: Catalogue, commit: str) -> Rebased:
    """Carry over the wrong solutions that no longer apply to the states of the work tree.

    commit: whose states they were made for. Raises KataError where an earlier rebase still waits to
    be saved, or where a patch does not apply to that commit's states either.
    """
    _refuse_to_begin_twice(catalogue.clone)
    now, before = Steps(catalogue), Steps(catalogue).at(commit)
    carried, conflicts = [], []
    for wrong in wrong_solutions.read_all(catalogue):
        chapter = catalogue.chapter(wrong.chapter)
        if _applies(catalogue.clone, wrong, now.state(chapter)):
            continue
        place = _place(catalogue.clone, wrong)
        files = _merge(catalogue.clone, wrong, place, before.state(chapter), now.state(chapter))
        if files:
            conflicts.append(Conflict(wrong.name, place, files))
        else:
            _write(catalogue.clone, wrong, place)
            carried.append(wrong.name)
    return Rebased(tuple(carried), tuple(conflicts))


def save(catalogue: Catalogue) -> list[str]:
    """Write the solved ones back. Returns their names.

    Raises KataError, and leaves the rest as it is, at one that is not solved.
    """
    clone = catalogue.clone
    by_place = {_place(clone, wrong): wrong for wrong in wrong_solutions.read_all(catalogue)}
    saved = []
    for place in _waiting(clone):
        wrong = by_place[place]
        conflicts = Git(clone, place).conflicts()
        if conflicts:
            where = ", ".join(str(place / name) for name in conflicts)
            raise KataError(f"{wrong.name} has conflicts in {where}: edit, then `git add`")
        _write(clone, wrong, place)
        saved.append(wrong.name)
    return saved


def _refuse_to_begin_twice(clone: Clone) -> None:
    waiting = _waiting(clone)
    if waiting:
        raise KataError(
            f"{waiting[0]} waits to be solved: `kata wrong save` writes back what is solved"
        )


def _waiting(clone: Clone) -> list[Path]:
    return sorted(path.parent for path in (clone.state / "wrong").glob("*/*/.git"))


def _place(clone: Clone, wrong: Wrong) -> Path:
    return clone.state / "wrong" / wrong.path.parent.name / wrong.path.stem


def _applies(clone: Clone, wrong: Wrong, state: Path) -> bool:
    with _copy(clone, state) as copy:
        try:
            wrong_solutions.apply(wrong.path, copy)
        except KataError:
            return False
    return True


def _merge(clone: Clone, wrong: Wrong, place: Path, before: Path, now: Path) -> tuple[str, ...]:
    """Lay the merge out in a repository at `place`, on a commit of the state of now.

    Returns the files with conflicts.
    """
    with _copy(clone, before) as mistaken:
        wrong_solutions.apply(wrong.path, mistaken)
        place.mkdir(parents=True)
        git = Git(clone, place)
        clone.give_back(clone.state / "wrong")
        git.run("init", "--quiet")
        base = git.commit_tree(git.tree_of(before), [], "the reference before")
        mistake = git.commit_tree(git.tree_of(mistaken), [base], wrong.title)
    git.run("checkout", "--quiet", git.commit_tree(git.tree_of(now), [base], "the reference now"))
    git.attempt("cherry-pick", "--no-commit", mistake)
    return tuple(git.conflicts())


def _write(clone: Clone, wrong: Wrong, place: Path) -> None:
    """Write the patch anew, as the repository at `place` has it, and remove that."""
    git = Git(clone, place)
    git.run("add", "--all")
    diff = git.patch("HEAD", git.line("write-tree"))
    head = wrong.path.read_bytes().partition(b"\n---\n")[0]
    wrong.path.write_bytes(head + b"\n---\n" + diff)
    clone.give_back(wrong.path)
    shutil.rmtree(place)


@contextmanager
def _copy(clone: Clone, state: Path) -> Iterator[Path]:
    with scratch(clone, clone.state) as copy:
        write_folder(read_folder(state), copy)
        yield copy
