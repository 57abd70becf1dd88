"""The steps as git has them while they are edited: a commit for each on branch `steps`."""

import os
import re
from dataclasses import dataclass

from dojo.course.git import Git
from dojo.course.patches import Patch, parted
from dojo.errors import KataError

BRANCH = "steps"
START = "start: what a learner begins with"
_SUBJECT = re.compile(r"([0-9]+\.[0-9]+\.[0-9]+): \S")


@dataclass(frozen=True)
class Step:
    """A task's step as git has it. tree: that of mydocker/ when the task is done."""

    number: str
    message: str
    tree: str


@dataclass(frozen=True)
class Series:
    """All steps as git has them. start: the tree of mydocker/ at the starting point."""

    start: str
    steps: tuple[Step, ...]


def rebased_in(git: Git) -> str | None:
    """The branch that is being rebased in a worktree, None if none is."""
    for name in ("rebase-merge", "rebase-apply"):
        note = git.folder() / name / "head-name"
        if note.exists():
            return note.read_text().strip().removeprefix("refs/heads/")
    return None


def stopped_at(git: Git) -> list[str]:
    """The subject of the commit that a rebase or a cherry-pick has stopped at, if it has."""
    for name in ("REBASE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD", "MERGE_HEAD"):
        if git.commit(name) is not None:
            return [git.line("log", "-1", "--format=%s", name)]
    return []


def commits_of(git: Git, series: Series, head: str) -> str:
    """Make a commit for the start, on `head`, and one for every step; return the last."""
    date = git.date(head)
    commit = git.commit_tree(git.graft(head, "mydocker", series.start), [head], START, date)
    for step in series.steps:
        tree = git.graft(head, "mydocker", step.tree)
        commit = git.commit_tree(tree, [commit], step.message, date)
    return commit


def read_branch(git: Git, branch: str) -> Series:
    """The steps as the commits of a branch have them.

    Raises KataError unless each commit after the start is one task's, in `mydocker/` alone.
    """
    start, *commits = _commits_since_start(git, branch)
    for commit in (start, *commits):
        _refuse_what_is_no_step(git, commit)
    steps = []
    for commit in commits:
        subject = _SUBJECT.match(commit.message)
        if subject is None:
            raise KataError(f"{commit.name} is no task's: a subject is of the form '3.1.2: ...'")
        tree = git.subtree(commit.id, "mydocker")
        steps.append(Step(subject[1], commit.message, tree))
    return Series(git.subtree(start.id, "mydocker"), tuple(steps))


@dataclass(frozen=True)
class _Commit:
    id: str
    parents: tuple[str, ...]
    message: str

    @property
    def subject(self) -> str:
        return self.message.split("\n", 1)[0]

    @property
    def name(self) -> str:
        return f"commit {self.id[:10]} ({self.subject!r})"


def _commits_since_start(git: Git, branch: str) -> list[_Commit]:
    """The commits from the one for the start, included, to the tip of a branch."""
    commits: list[_Commit] = []
    log = git.run("log", "-z", "--first-parent", "--format=%H%n%P%n%B", branch)
    for entry in log.split(b"\0")[:-1]:
        commit, parents, message = entry.decode(errors="replace").split("\n", 2)
        commits.append(_Commit(commit, tuple(parents.split()), message.strip("\n")))
        if commits[-1].subject == START:
            return commits[::-1]
    raise KataError(f"branch {BRANCH} has no commit {START!r} any more, for the steps to lie on")


def _refuse_what_is_no_step(git: Git, commit: _Commit) -> None:
    if len(commit.parents) != 1:
        raise KataError(f"{commit.name} is a merge: the steps are one commit after the other")
    if commit.subject.startswith(("fixup! ", "squash! ", "amend! ")):
        raise KataError(
            f"{commit.name} is not squashed yet: `git rebase -i --autosquash` in the worktree"
        )
    compared = ("diff-tree", "-r", "-z", "--name-only", "--no-renames")
    changed = git.run(*compared, commit.parents[0], commit.id).split(b"\0")[:-1]
    for name in changed:
        if not name.startswith(b"mydocker/"):
            raise KataError(
                f"{commit.name} touches {os.fsdecode(name)}: a step touches mydocker/ alone"
            )


def patches_of(git: Git, series: Series) -> list[Patch]:
    """The patches of a series: the same text for the same trees, whoever makes them.

    Raises KataError for a step that changes nothing.
    """
    patches = []
    before = series.start
    for step in series.steps:
        diff = git.patch(before, step.tree, "mydocker/")
        patch = Patch(step.number, step.message, diff)
        if not patch.diff:
            raise KataError(f"step {step.number} changes nothing")
        if parted(patch.text()) != [patch.message.encode(), patch.diff]:
            raise KataError(f"step {step.number}: the message contains what looks like a patch")
        patches.append(patch)
        before = step.tree
    return patches
