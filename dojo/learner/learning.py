"""Going to a chapter, without losing anything of what is there."""

import os
import shutil
import stat
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from dojo.course.catalogue import Catalogue, Chapter
from dojo.course.folders import scratch
from dojo.course.git import Entry, Git
from dojo.course.steps import Steps
from dojo.errors import KataError

BRANCH = "learn"


@dataclass(frozen=True)
class Arrival:
    """What `goto` has done.

    chapter: where the learner is now, on branch `learn`.
    saved: the branch that holds what was there; None if there was nothing that is not held by a
    commit on a branch anyway.
    """

    chapter: Chapter
    saved: str | None


def goto(catalogue: Catalogue, steps: Steps, chapter: Chapter, task: int = 1) -> Arrival:
    """Put the working tree where a learner begins the task, as a commit on branch `learn`.

    What is there is first saved as a commit on a branch of its own: all that was changed, staged or
    added, everywhere in the clone. Then the working tree becomes main's, with `mydocker/` as the
    task begins. Ignored files, and untracked ones outside `mydocker/`, stay where they are.
    Raises KataError, changing nothing, where something is unfinished, or cannot be saved.
    """
    chapter.require_task(task)
    git = Git(catalogue.clone)
    main = git.main()
    _refuse(git)
    start = git.tree_of(steps.at(main).start(chapter, task) / "mydocker")
    tree = git.graft(main, "mydocker", start)
    there = _survey(git, tree)
    saved = _save(git, there, chapter)
    try:
        _commit_to_learn(git, tree, main, chapter, task)
        _clear(git, there)
        git.run("checkout", "--quiet", "--force", BRANCH, "--")
    except (KataError, OSError) as error:
        held = f"; what was there is on branch {saved}" if saved else ""
        raise KataError(f"go to chapter {chapter.number}: {error}{held}") from error
    return Arrival(chapter, saved)


def _refuse(git: Git) -> None:
    """Raise KataError where going on would mean to interrupt something."""
    if git.commit("HEAD") is None:
        raise KataError("the branch that is checked out has no commit yet: commit something first")
    unfinished = git.unfinished()
    if unfinished is not None:
        raise KataError(f"{unfinished} is not finished: end or abort it first (`git status`)")
    conflicts = git.conflicts()
    if conflicts:
        raise KataError(f"{', '.join(conflicts)}: a conflict is not resolved, resolve it first")
    lock = git.folder() / "index.lock"
    if lock.exists():
        raise KataError(f"git is at work here, or was killed in the middle: there is a {lock}")
    for worktree in git.worktrees():
        elsewhere = not worktree.path.exists() or not worktree.path.samefile(git.directory)
        if worktree.branch == f"refs/heads/{BRANCH}" and elsewhere:
            raise KataError(f"branch {BRANCH} is checked out in another worktree, {worktree.path}")


# What is there


@dataclass(frozen=True)
class _There:
    """What the working tree holds.

    kept: the names of all files that belong to the learner: tracked, untracked, or ignored but in
    the way. removed: those of them that git would leave lying in `mydocker/`, or stumble over.
    submodules: entries as the index has them.
    """

    kept: tuple[str, ...]
    removed: tuple[str, ...]
    submodules: tuple[Entry, ...]


def _survey(git: Git, tree: str) -> _There:
    """Raises KataError for a repository within `mydocker/`, which git cannot keep."""
    tracked, submodules = _tracked(git)
    untracked = _names(git, "--others", "--exclude-standard")
    targets = {entry.name for entry in git.entries(tree)}
    ignored = _names(git, "--others", "--ignored", "--exclude-standard")
    in_the_way = list(_colliding(ignored, targets))
    removed = [name for name in untracked if _is_below("mydocker", name)] + in_the_way
    for name in removed:
        if name.endswith("/"):
            raise KataError(
                f"{name} is a git repository of its own, which cannot be saved: move it out of"
                " mydocker/ first"
            )
    names = {*tracked, *untracked, *in_the_way}
    kept = sorted(name for name in names if _is_there(git.directory, name))
    return _There(tuple(kept), tuple(removed), tuple(submodules))


def _tracked(git: Git) -> tuple[list[str], list[Entry]]:
    names, submodules = [], []
    for line in git.run("ls-files", "--stage", "-z").split(b"\0")[:-1]:
        about, name = line.split(b"\t", 1)
        mode, blob, _ = about.decode().split()
        if mode == "160000":
            submodules.append(Entry(mode, blob, os.fsdecode(name)))
        else:
            names.append(os.fsdecode(name))
    return names, submodules


def _names(git: Git, *which: str) -> list[str]:
    return [os.fsdecode(name) for name in git.run("ls-files", "-z", *which).split(b"\0")[:-1]]


def _colliding(names: Iterable[str], targets: set[str]) -> Iterator[str]:
    """The names that cannot stay when files of the names `targets` come."""
    folders = {str(folder) for target in targets for folder in PurePosixPath(target).parents}
    for name in names:
        parents = {str(folder) for folder in PurePosixPath(name).parents}
        if name.rstrip("/") in targets | folders or parents & targets:
            yield name


def _is_there(top: Path, name: str) -> bool:
    """Whether there is such a file or link, and not only by way of a link to a folder."""
    path = top
    for part in PurePosixPath(name).parent.parts:
        path = path / part
        if path.is_symlink():
            return False
    try:
        about = (top / name).lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return stat.S_ISREG(about.st_mode) or stat.S_ISLNK(about.st_mode)


def _is_below(folder: str, name: str) -> bool:
    return name == folder or name.startswith(folder + "/")


# Saving


def _save(git: Git, there: _There, chapter: Chapter) -> str | None:
    """Save what is there on a new branch, and return its name; None if HEAD holds it all."""
    head = str(git.commit("HEAD"))
    working = git.tree([*_entries(git, there), *there.submodules])
    staged = _staged(git)
    commit = head
    if staged not in (git.line("rev-parse", "HEAD^{tree}"), working):
        commit = git.commit_tree(staged, [commit], f"What was staged before {chapter.number}")
    if working != git.line("rev-parse", f"{commit}^{{tree}}"):
        commit = git.commit_tree(working, [commit], f"What was there before {chapter.number}")
    if commit == head and _is_on_a_branch(git):
        return None
    return _new_branch(git, commit)


def _entries(git: Git, there: _There) -> list[Entry]:
    entries = git.store(git.directory, there.kept)
    if git.attempt("config", "--type=bool", "core.fileMode").stdout != b"false\n":
        return entries
    # Here the disk knows nothing of modes: those that git has recorded hold.
    recorded = {entry.name: entry.mode for entry in git.entries("HEAD")}
    return [Entry(recorded.get(entry.name, "100644"), entry.blob, entry.name) for entry in entries]


def _staged(git: Git) -> str:
    """The tree of what is staged."""
    with scratch(git.clone, git.clone.state) as folder:
        index = git.folder() / "index"
        if not index.exists():
            return git.empty()
        shutil.copyfile(index, folder / "index")
        git.clone.give_back(folder)
        return git.line("write-tree", index=folder / "index")


def _is_on_a_branch(git: Git) -> bool:
    """Whether HEAD's commit will still be held by something when HEAD has moved on."""
    refs = ("refs/heads", "refs/remotes", "refs/tags")
    return bool(git.run("for-each-ref", "--contains=HEAD", "--count=1", *refs))


def _new_branch(git: Git, commit: str) -> str:
    on = git.attempt("symbolic-ref", "--quiet", "--short", "HEAD").stdout.decode().strip()
    what = on.replace("/", "-") or "detached"
    name = first = f"saved/{what}-{time.strftime('%Y%m%d-%H%M%S')}"
    again = 1
    while git.commit(f"refs/heads/{name}") is not None:
        again += 1
        name = f"{first}-{again}"
    git.run("update-ref", f"refs/heads/{name}", commit, "")
    return name


# Going on


def _commit_to_learn(git: Git, tree: str, main: str, chapter: Chapter, task: int) -> None:
    """Add a commit with the tree to `learn`, on all that it has had."""
    old = git.commit(f"refs/heads/{BRANCH}")
    if old is not None and git.line("rev-parse", f"{old}^{{tree}}") == tree:
        return
    what = "the chapter" if task == 1 else f"task {task}"
    message = f"{chapter.number}: where {what} begins"
    new = git.commit_tree(tree, [old or main], message)
    git.run("update-ref", "-m", message, f"refs/heads/{BRANCH}", new, old or "")


def _clear(git: Git, there: _There) -> None:
    """Remove the files that are saved and that git would not touch, and folders left empty."""
    for name in there.removed:
        path = git.directory / name
        path.unlink(missing_ok=True)
        for folder in PurePosixPath(name).parents:
            try:
                os.rmdir(git.directory / folder)
            except OSError:
                break
