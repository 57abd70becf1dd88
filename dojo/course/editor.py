"""How a contributor edits the steps: laid out as commits, written back to patches, carried over."""

import itertools
import os
from collections.abc import Iterable
from pathlib import Path

from dojo.course.branch import (
    BRANCH,
    Series,
    commits_of,
    patches_of,
    read_branch,
    rebased_in,
    stopped_at,
)
from dojo.course.folders import PLAIN, File, Files, read_folder, scratch, write_folder
from dojo.course.git import Git
from dojo.course.merge import Merge
from dojo.course.patches import Patch, order_of
from dojo.course.steps import Steps, digest
from dojo.errors import KataError


class Editor:
    """Lays the steps of a clone out as commits, and writes them back. steps: those of the clone."""

    def __init__(self, steps: Steps) -> None:
        self.steps = steps

    def open(self, directory: Path | None = None) -> Path:
        """Lay the steps out as a commit each on branch `steps`, in a worktree, and say where.

        The first commit puts `mydocker/` at the start, on top of HEAD; so that the same steps on
        the same HEAD are the same commits. Raises KataError, changing nothing, if the steps are
        open already or a branch `steps` has what the patches have not.
        """
        git = Git(self.steps.clone)
        git.require_repository()
        head = git.commit("HEAD")
        if head is None:
            raise KataError("open the steps: there is no commit yet to lay them on")
        directory = (directory or self.steps.clone.state / "steps").absolute()
        series = self.steps.series(git)
        self._refuse_to_open_twice(git, directory, series)
        tip = commits_of(git, series, head)
        git.run("worktree", "add", "--quiet", "-B", BRANCH, directory, tip)
        self._remember(Git(self.steps.clone, directory))
        return directory

    def save(self) -> list[str]:
        """Write the branch `steps` back to patches and `solutions/mydocker/`.

        Where the starting point was changed, `mydocker/` follows, if it was the old one. Returns
        the paths that changed. Raises KataError, changing nothing, where the branch is not one
        commit a task, something is unfinished or uncommitted in the worktree, or
        `solutions/` was changed since the steps were opened.
        """
        git = Git(self.steps.clone)
        git.require_repository()
        worktree = self._worktree(git)
        if worktree is None or not worktree.directory.exists():
            raise KataError("the steps are not open: `kata steps open` first")
        self._refuse_unfinished(worktree)
        series = read_branch(git, f"refs/heads/{BRANCH}")
        self._refuse_other_tasks(series)
        self._refuse_if_overtaken(worktree)
        changed = self._write(git, series)
        self._remember(worktree)
        return changed

    def rebase(self, branch: str) -> list[str]:
        """Carry over what a branch has changed in the steps since it left HEAD's history.

        Patches are never merged: for every step the *states* at the merge base, here and on the
        branch are, and the patches are made anew. Returns the paths that changed. Raises KataError,
        changing nothing, for a conflict.
        """
        git = Git(self.steps.clone)
        git.require_repository()
        theirs = git.commit(branch)
        if theirs is None:
            raise KataError(f"no branch {branch!r}")
        found = git.attempt("merge-base", "HEAD", theirs)
        if found.returncode != 0:
            raise KataError(f"{branch} and HEAD have no commit in common")
        changed = git.run("status", "--porcelain", "-z", "-uall", "--", "solutions").split(b"\0")
        if changed[:-1]:
            raise KataError(
                f"{os.fsdecode(changed[0][3:])} has changes that are not committed: commit them"
                " first, they would be overwritten"
            )
        base, ours = found.stdout.decode().strip(), str(git.commit("HEAD"))
        merge = Merge(git, branch, *(self.steps.at(commit) for commit in (base, ours, theirs)))
        return self._write(git, merge.series())

    # Opening and saving

    def _refuse_to_open_twice(self, git: Git, directory: Path, series: Series) -> None:
        there = self._worktree(git)
        if there is not None:
            if there.directory.exists():
                raise KataError(
                    f"the steps are open already in {there.directory}: edit and `kata steps save`"
                    f" there, or drop them with `git worktree remove --force {there.directory} &&"
                    f" git branch -D {BRANCH}`"
                )
            git.run("worktree", "remove", "--force", there.directory)
        if directory.exists() and any(directory.iterdir()):
            raise KataError(f"open the steps in {directory}: there is something else in it")
        if git.commit(f"refs/heads/{BRANCH}") is None:
            return
        try:
            edited = read_branch(git, f"refs/heads/{BRANCH}") != series
        except KataError:
            edited = True
        if edited:
            raise KataError(
                f"a branch {BRANCH} has other steps than the patches: go on with it in"
                f" `git worktree add {directory} {BRANCH}`, keep it with `git branch -m {BRANCH}"
                f" NAME`, or drop it with `git branch -D {BRANCH}`"
            )

    def _worktree(self, git: Git) -> Git | None:
        """Git in the worktree that the steps are open in, also in the middle of a rebase there."""
        for worktree in git.worktrees()[1:]:
            there = Git(self.steps.clone, worktree.path)
            if worktree.branch == f"refs/heads/{BRANCH}":
                return there
            if worktree.branch is None and there.is_repository() and rebased_in(there) == BRANCH:
                return there
        return None

    def _refuse_unfinished(self, worktree: Git) -> None:
        unfinished = worktree.unfinished()
        if unfinished is not None:
            where = "".join(f" at {subject!r}" for subject in stopped_at(worktree))
            conflicts = worktree.conflicts()
            which = f", conflicts in {', '.join(conflicts)}" if conflicts else ""
            raise KataError(
                f"save the steps: {unfinished} is not finished in {worktree.directory}"
                f"{where}{which}; finish it there (`git status` says how), then save"
            )
        if worktree.line("symbolic-ref", "--short", "HEAD") != BRANCH:
            raise KataError(f"save the steps: {worktree.directory} is not on branch {BRANCH}")
        changed = worktree.run("status", "--porcelain", "-z", "-uall").split(b"\0")[:-1]
        if changed:
            raise KataError(
                f"save the steps: {os.fsdecode(changed[0][3:])} in {worktree.directory} has changes"
                " that are not committed: commit them to the task they belong to"
            )

    def _refuse_other_tasks(self, series: Series) -> None:
        """Raise KataError unless the commits are those of the tasks there are, in order.

        A task may have no commit, and a chapter that has no patch yet.
        """
        numbers = [step.number for step in series.steps]
        for number in numbers:
            if numbers.count(number) > 1:
                raise KataError(f"step {number} has {numbers.count(number)} commits: squash them")
        for earlier, later in itertools.pairwise(numbers):
            if order_of(earlier) > order_of(later):
                raise KataError(f"the commit of step {later} comes after that of {earlier}")
        tasks = {chapter.number: len(chapter.tasks) for chapter in self.steps.catalogue.chapters}
        for number in numbers:
            chapter, task = number.rsplit(".", 1)
            if not 1 <= int(task) <= tasks.get(chapter, 0):
                raise KataError(
                    f"a commit is step {number}'s, but no chapters/*/chapter.toml has such a task"
                )
        done = {number.rsplit(".", 1)[0] for number in numbers}
        for patch in self.steps.all_patches().values():
            if patch.chapter in tasks and patch.chapter not in done:
                raise KataError(f"chapter {patch.chapter} has no commit on branch {BRANCH}")

    # What solutions/ was when the steps were opened is kept with the worktree, and goes with it.

    def _remember(self, worktree: Git) -> None:
        note = worktree.folder() / "kata-opened"
        note.write_text(self._fingerprint())
        self.steps.clone.give_back(note)

    def _refuse_if_overtaken(self, worktree: Git) -> None:
        note = worktree.folder() / "kata-opened"
        if note.exists() and note.read_text() != self._fingerprint():
            raise KataError(
                "solutions/ was changed since the steps were opened, and would be overwritten: put"
                " those changes on a branch of their own, save, and carry them over with"
                " `kata steps rebase BRANCH`"
            )

    def _fingerprint(self) -> str:
        """A hash of all that `save` writes to, but for a new start."""
        return digest(
            {
                f"{name}/{path}": file
                for name in ("mydocker", "steps")
                for path, file in read_folder(self.steps.solutions / name).items()
            }
        )

    # Writing

    def _write(self, git: Git, series: Series) -> list[str]:
        """Make the patches and `solutions/mydocker/` those of a series; return what changed.

        All is made, and proved to fit together, aside; then it changes places with what is there.
        """
        finished = series.steps[-1].tree if series.steps else series.start
        wanted: dict[Path, Files] = {
            self.steps.solutions / "mydocker": git.read_tree(finished),
            self.steps.solutions / "steps": self._files_of_patches(patches_of(git, series)),
        }
        if self._start_moves(git, series.start):
            wanted[self.steps.clone.learner] = git.read_tree(series.start)
        changed = {path: files for path, files in wanted.items() if read_folder(path) != files}
        names = [name for path in changed for name in self._changes(path, changed[path])]
        with scratch(self.steps.clone, self.steps.clone.state) as aside:
            for path, files in wanted.items():
                write_folder(files, aside / "new" / path.relative_to(self.steps.clone.root))
            self.steps.clone.give_back(aside)
            new = Steps(self.steps.catalogue, aside / "new" / "solutions")
            problems = new.problems_of_chain()
            if problems:
                raise KataError(f"the steps were not written: {problems[0]}")
            (aside / "old").mkdir()
            _exchange(
                (
                    aside / "new" / path.relative_to(self.steps.clone.root),
                    path,
                    aside / "old" / str(i),
                )
                for i, path in enumerate(changed)
            )
        return names

    def _start_moves(self, git: Git, start: str) -> bool:
        """Whether `mydocker/` is to follow a new starting point.

        Raises KataError if it should and is not the old one.
        """
        old = git.tree_of(self.steps.state_after(()) / "mydocker")
        here = git.tree_of(self.steps.clone.learner)
        if start in (old, here):
            return False
        if here != old:
            raise KataError(
                "the starting point was changed, and mydocker/ is to follow, but it is not the old"
                " starting point any more: save on a checkout of main"
            )
        return True

    def _files_of_patches(self, patches: list[Patch]) -> Files:
        """What belongs into solutions/steps/: these patches and whatever else is there."""
        there = read_folder(self.steps.solutions / "steps")
        others = {name: file for name, file in there.items() if not name.endswith(".patch")}
        return others | {patch.name: File(PLAIN, patch.text()) for patch in patches}

    def _changes(self, folder: Path, files: Files) -> list[str]:
        old = read_folder(folder)
        names = sorted(name for name in old | files if old.get(name) != files.get(name))
        return [(folder / name).relative_to(self.steps.clone.root).as_posix() for name in names]


def _exchange(moves: Iterable[tuple[Path, Path, Path]]) -> None:
    """Put every new folder in its place and what was there aside: all of them, or none.

    moves: (new, place, aside).
    """
    done: list[tuple[Path, Path]] = []
    try:
        for new, place, aside in moves:
            for source, target in ((place, aside), (new, place)):
                if os.path.lexists(source):
                    done.append((source, target))
                    os.rename(source, target)
    except BaseException:
        for source, target in reversed(done):
            if os.path.lexists(target) and not os.path.lexists(source):
                os.rename(target, source)
        raise
