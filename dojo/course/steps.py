"""The steps: one patch for each task, from the starting point to the finished runtime.

    start  --3.1/1-*.patch-->  3.1 task 1  --3.1/2-*.patch-->  ...  -->  solutions/mydocker/

Only the end is stored as files. Every *state* in between, the start included, is computed backwards
from there: `mydocker/` belongs to a learner, and HEAD may be anything.

A contributor does not edit patches: `Steps.open` lays them out as commits, to be edited with git,
and `Steps.save` writes them back; `Steps.rebase` carries changes over to patches that others have
changed meanwhile.
"""

import hashlib
import itertools
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dojo.course.catalogue import Catalogue, Chapter
from dojo.course.git import PLAIN, File, Files, Git, read_folder, reason, scratch, write_folder
from dojo.errors import KataError

BRANCH = "steps"
START = "start: what a learner begins with"

# What steps sort by: (3, 1, 2) is task 2 of chapter 3.1.
Order = tuple[int, ...]


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
        return _order(self.number)[-1]

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


class Steps:
    """The steps of a clone.

    solutions: the folder with `mydocker/` and `steps/`; the clone's own if not given.
    """

    def __init__(self, catalogue: Catalogue, solutions: Path | None = None) -> None:
        self.catalogue = catalogue
        self.clone = catalogue.clone
        self.solutions = solutions or self.clone.solutions

    # What a chapter consists of

    def state(self, chapter: Chapter, task: int | None = None) -> Path:
        """The folder that holds the reference's `mydocker/` as it is when a task is done.

        Without a task, that is the chapter's last. Raises KataError if the chapter has no patch, or
        a later one does not apply backwards.
        """
        self.patches(chapter)
        return self._state((*chapter.order, len(chapter.tasks) if task is None else task))

    def start(self, chapter: Chapter, task: int = 1) -> Path:
        """The folder that holds `mydocker/` as a learner finds it who begins with the task."""
        return self._state((*chapter.order, task - 1))

    def patches(self, chapter: Chapter, task: int | None = None) -> list[Patch]:
        """The patches of a chapter, or the one of a task; in order.

        Raises KataError if the chapter has none. A task whose work is done in another has none.
        """
        found = [patch for patch in self._patches().values() if patch.chapter == chapter.number]
        if not found:
            folder = self.solutions / "steps" / chapter.number
            raise KataError(f"chapter {chapter.number} has no step: there is no patch in {folder}")
        return [patch for patch in found if task in (None, patch.task)]

    def at(self, commit: str) -> "Steps":
        """The steps as a commit has them."""
        git = Git(self.clone)
        files = git.read_tree(git.subtree(commit, "solutions"))
        if not any(name.startswith("mydocker/") for name in files):
            raise KataError(f"commit {commit} has no solutions/mydocker/")
        for name in files:
            if re.fullmatch(r"steps/[^/]+\.patch", name):
                raise KataError(
                    f"{commit} has solutions/{name}: a patch for each chapter cannot be carried"
                    " over to a patch for each task"
                )
        folder = self._kept(_digest(files), lambda empty: write_folder(files, empty))
        return Steps(self.catalogue, folder)

    # Checking

    def verify(self) -> list[str]:
        """What is wrong with the steps, a line each; an empty list if all is well.

        `mydocker/` is compared with the start only on `main` (see `_on_main`): elsewhere it is a
        learner's.
        """
        problems = self._problems_of_files()
        broken = self._problems_of_chain()
        problems += [problem for problem in broken if problem not in problems]
        if not broken and self._on_main():
            start = read_folder(self._state(()) / "mydocker")
            for difference in _differences(start, read_folder(self.clone.learner)):
                problems.append(f"mydocker/ is not the starting point: {difference}")
        return problems

    # Editing

    def open(self, directory: Path | None = None) -> Path:
        """Lay the steps out as a commit each on branch `steps`, in a worktree, and say where.

        The first commit puts `mydocker/` at the start, on top of HEAD; so that the same steps on
        the same HEAD are the same commits. Raises KataError, changing nothing, if the steps are
        open already or a branch `steps` has what the patches have not.
        """
        git = Git(self.clone)
        git.require_repository()
        head = git.commit("HEAD")
        if head is None:
            raise KataError("open the steps: there is no commit yet to lay them on")
        directory = (directory or self.clone.state / "steps").absolute()
        series = self._series(git)
        self._refuse_to_open_twice(git, directory, series)
        tip = _commits(git, series, head)
        git.run("worktree", "add", "--quiet", "-B", BRANCH, directory, tip)
        self._remember(Git(self.clone, directory))
        return directory

    def save(self) -> list[str]:
        """Write the branch `steps` back to patches and `solutions/mydocker/`.

        Where the starting point was changed, `mydocker/` follows, if it was the old one. Returns
        the paths that changed. Raises KataError, changing nothing, where the branch is not one
        commit a task, something is unfinished or uncommitted in the worktree, or
        `solutions/` was changed since the steps were opened.
        """
        git = Git(self.clone)
        git.require_repository()
        worktree = self._worktree(git)
        if worktree is None or not worktree.directory.exists():
            raise KataError("the steps are not open: `kata steps open` first")
        self._refuse_unfinished(worktree)
        series = _read_branch(git, f"refs/heads/{BRANCH}")
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
        git = Git(self.clone)
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
        merge = _Merge(git, branch, *(self.at(commit) for commit in (base, ours, theirs)))
        return self._write(git, merge.series())

    # Reading

    def _patches(self) -> dict[Order, Patch]:
        """All patches, in the order of their tasks."""
        patches = [_read_patch(path) for path in self._patch_files() if _number(path)]
        by_order = {_order(patch.number): patch for patch in patches}
        return dict(sorted(by_order.items()))

    def _patch_files(self) -> list[Path]:
        return sorted((self.solutions / "steps").rglob("*.patch"))

    # States

    def _state(self, last: Order) -> Path:
        """The folder that holds `mydocker/` as it is after all patches up to and with `last`.

        A state is kept under a hash of all that it is computed from, so a kept one is never old.
        """
        finished = self.solutions / "mydocker"
        if not finished.is_dir():
            raise KataError(f"there is no {finished}: the reference is missing from this clone")
        files = read_folder(finished)
        key = _digest(files)
        state = self._kept(key, lambda empty: write_folder(files, empty / "mydocker"))
        for patch in reversed([patch for order, patch in self._patches().items() if order > last]):
            key = hashlib.sha256(key.encode() + patch.diff).hexdigest()
            state = self._kept(key, self._undoing(patch, state))
        return state

    def _kept(self, key: str, build: Callable[[Path], None]) -> Path:
        """The folder kept under a key, built first if it is not there.

        It appears whole or not at all, and whoever else builds it at the same time does no harm.
        """
        kept = self.clone.state / "states" / key[:32]
        if kept.is_dir():
            return kept
        with scratch(self.clone, kept.parent) as folder:
            build(folder)
            _compile(folder)
            self.clone.give_back(folder)
            try:
                os.rename(folder, kept)
            except OSError:
                if not kept.is_dir():
                    raise
        return kept

    def _undoing(self, patch: Patch, state: Path) -> Callable[[Path], None]:
        def build(folder: Path) -> None:
            write_folder(read_folder(state / "mydocker"), folder / "mydocker")
            self._apply(patch, folder, "--reverse")

        return build

    def _apply(self, patch: Patch, folder: Path, *direction: str) -> None:
        self.clone.give_back(folder)
        result = Git(self.clone, folder).attempt("apply", *direction, "-", stdin=patch.diff)
        if result.returncode != 0:
            how = "backwards from solutions/mydocker/" if direction else "forwards"
            raise KataError(
                f"step {patch.number}: solutions/steps/{patch.name} does not apply {how}:"
                f" {reason(result)}"
            )

    def _series(self, git: Git) -> Series:
        """The steps as trees that git has."""
        steps = (
            Step(patch.number, patch.message, git.tree_of(self._state(order) / "mydocker"))
            for order, patch in self._patches().items()
        )
        return Series(git.tree_of(self._state(()) / "mydocker"), tuple(steps))

    # Verifying

    def _problems_of_files(self) -> list[str]:
        problems: list[str] = []
        paths: dict[str, list[Path]] = {}
        for path in self._patch_files():
            paths.setdefault(_number(path), []).append(path)
        chapters = self.catalogue.chapters
        known = {
            f"{chapter.number}.{task + 1}"
            for chapter in chapters
            for task in range(len(chapter.tasks))
        }
        for chapter in chapters:
            if not any(number.startswith(f"{chapter.number}.") for number in paths):
                problems.append(
                    f"chapter {chapter.number} has no step in solutions/steps/{chapter.number}/"
                )
        for number, files in paths.items():
            names = [path.relative_to(self.solutions.parent).as_posix() for path in files]
            if number not in known:
                problems += [f"{name} belongs to no task" for name in names]
            elif len(files) > 1:
                problems.append(f"{' and '.join(names)} are both task {number}")
            for name, path in zip(names, files, strict=True):
                problems += [f"{name}: {problem}" for problem in self._problems_of_file(path)]
        return problems

    def _problems_of_file(self, path: Path) -> list[str]:
        try:
            patch = _read_patch(path)
        except KataError as error:
            return [str(error)]
        problems = [*_problems_of_message(patch), *self._problems_of_diff(patch)]
        if not problems and path != self.solutions / "steps" / patch.name:
            problems.append(f"by its subject it is called {patch.name}")
        return problems

    def _problems_of_diff(self, patch: Patch) -> list[str]:
        if not patch.diff:
            return ["changes nothing"]
        lines = patch.diff.split(b"\n")
        problems = [
            f"{what} are not stored in patches: {line.decode(errors='replace')}"
            for line in lines
            for start, what in _UNWANTED.items()
            if line.startswith(start)
        ]
        with scratch(self.clone, self.clone.state) as empty:
            git = Git(self.clone, empty)
            result = git.attempt("apply", "--numstat", "-z", "-", stdin=patch.diff)
        if result.returncode != 0:
            return [*problems, f"not a patch: {reason(result)}"]
        for entry in result.stdout.split(b"\0")[:-1]:
            name = os.fsdecode(entry.split(b"\t", 2)[2])
            if not name.startswith("mydocker/"):
                problems.append(f"touches {name}, which is not in mydocker/")
        return problems

    def _problems_of_chain(self) -> list[str]:
        """What shows when the patches are applied backwards, and then forwards from the start."""
        try:
            start = self._state(()) / "mydocker"
            with scratch(self.clone, self.clone.state) as folder:
                write_folder(read_folder(start), folder / "mydocker")
                for order, patch in self._patches().items():
                    self._apply(patch, folder)
                    backwards = read_folder(self._state(order) / "mydocker")
                    differences = _differences(backwards, read_folder(folder / "mydocker"))
                    if differences:
                        return [
                            f"solutions/steps/{patch.name} forwards is not what it is backwards:"
                            f" {line}"
                            for line in differences
                        ]
        except KataError as error:
            return [str(error)]
        return []

    def _on_main(self) -> bool:
        """Whether this is what `main` has or is to have, and `mydocker/` so nobody's own.

        That is: on branch `main`, or detached at what CI checks out, origin's main or a pull
        request's merge.
        """
        git = Git(self.clone)
        if not git.is_repository():
            return False
        on = git.attempt("symbolic-ref", "--quiet", "HEAD")
        if on.returncode == 0:
            return on.stdout == b"refs/heads/main\n"
        checked_out = ("refs/remotes/origin/main", "refs/remotes/pull")
        return bool(git.run("for-each-ref", "--points-at=HEAD", *checked_out))

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
            edited = _read_branch(git, f"refs/heads/{BRANCH}") != series
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
            there = Git(self.clone, worktree.path)
            if worktree.branch == f"refs/heads/{BRANCH}":
                return there
            if worktree.branch is None and there.is_repository() and _rebased(there) == BRANCH:
                return there
        return None

    def _refuse_unfinished(self, worktree: Git) -> None:
        unfinished = worktree.unfinished()
        if unfinished is not None:
            where = "".join(f" at {subject!r}" for subject in _stopped_at(worktree))
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
            if _order(earlier) > _order(later):
                raise KataError(f"the commit of step {later} comes after that of {earlier}")
        tasks = {chapter.number: len(chapter.tasks) for chapter in self.catalogue.chapters}
        for number in numbers:
            chapter, task = number.rsplit(".", 1)
            if not 1 <= int(task) <= tasks.get(chapter, 0):
                raise KataError(
                    f"a commit is step {number}'s, but no chapters/*/chapter.toml has such a task"
                )
        done = {number.rsplit(".", 1)[0] for number in numbers}
        for patch in self._patches().values():
            if patch.chapter in tasks and patch.chapter not in done:
                raise KataError(f"chapter {patch.chapter} has no commit on branch {BRANCH}")

    # What solutions/ was when the steps were opened is kept with the worktree, and goes with it.

    def _remember(self, worktree: Git) -> None:
        note = worktree.folder() / "kata-opened"
        note.write_text(self._fingerprint())
        self.clone.give_back(note)

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
        return _digest(
            {
                f"{name}/{path}": file
                for name in ("mydocker", "steps")
                for path, file in read_folder(self.solutions / name).items()
            }
        )

    # Writing

    def _write(self, git: Git, series: Series) -> list[str]:
        """Make the patches and `solutions/mydocker/` those of a series; return what changed.

        All is made, and proved to fit together, aside; then it changes places with what is there.
        """
        finished = series.steps[-1].tree if series.steps else series.start
        wanted: dict[Path, Files] = {
            self.solutions / "mydocker": git.read_tree(finished),
            self.solutions / "steps": self._files_of_patches(_diffs(git, series)),
        }
        if self._start_moves(git, series.start):
            wanted[self.clone.learner] = git.read_tree(series.start)
        changed = {path: files for path, files in wanted.items() if read_folder(path) != files}
        names = [name for path in changed for name in self._changes(path, changed[path])]
        with scratch(self.clone, self.clone.state) as aside:
            for path, files in wanted.items():
                write_folder(files, aside / "new" / path.relative_to(self.clone.root))
            self.clone.give_back(aside)
            new = Steps(self.catalogue, aside / "new" / "solutions")
            problems = new._problems_of_chain()
            if problems:
                raise KataError(f"the steps were not written: {problems[0]}")
            (aside / "old").mkdir()
            _exchange(
                (aside / "new" / path.relative_to(self.clone.root), path, aside / "old" / str(i))
                for i, path in enumerate(changed)
            )
        return names

    def _start_moves(self, git: Git, start: str) -> bool:
        """Whether `mydocker/` is to follow a new starting point.

        Raises KataError if it should and is not the old one.
        """
        old = git.tree_of(self._state(()) / "mydocker")
        here = git.tree_of(self.clone.learner)
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
        there = read_folder(self.solutions / "steps")
        others = {name: file for name, file in there.items() if not name.endswith(".patch")}
        return others | {patch.name: File(PLAIN, patch.text()) for patch in patches}

    def _changes(self, folder: Path, files: Files) -> list[str]:
        old = read_folder(folder)
        names = sorted(name for name in old | files if old.get(name) != files.get(name))
        return [(folder / name).relative_to(self.clone.root).as_posix() for name in names]


class _Merge:
    """A three-way merge of steps, state by state.

    base, ours, theirs: the steps at the merge base, here, and on the branch called `name`.
    """

    def __init__(self, git: Git, name: str, base: Steps, ours: Steps, theirs: Steps) -> None:
        self._git = git
        self._name = name
        self._sides = (("the merge base", base), ("HEAD", ours), (name, theirs))
        self._patches: list[dict[Order, Patch]] = []
        for whose, side in self._sides:
            with _blaming(whose):
                self._patches.append(side._patches())

    def series(self) -> Series:
        """The merged steps. Raises KataError naming the step and the files for a conflict."""
        start = self._merge_state((), "the starting point")
        steps = []
        for order in sorted(set().union(*self._patches)):
            number = ".".join(str(part) for part in order)
            if self._has(order, number):
                tree = self._merge_state(order, f"step {number}")
                steps.append(Step(number, self._merge_message(order, number), tree))
        return Series(start, tuple(steps))

    def _has(self, order: Order, number: str) -> bool:
        """Whether the merged steps have a step: one that a side took away, they have not."""
        base, ours, theirs = (patches.get(order) for patches in self._patches)
        if base is None or (ours and theirs):
            return True
        if (ours or base) == base == (theirs or base):
            return False
        raise self._conflict(f"step {number}", "one side took it away, the other changed it")

    def _merge_state(self, order: Order, what: str) -> str:
        trees = []
        for whose, side in self._sides:
            with _blaming(whose):
                trees.append(self._git.tree_of(side._state(order) / "mydocker"))
        try:
            merged = self._git.merge(*trees)
        except KataError as error:
            raise KataError(f"merge {what}: {error}") from error
        if merged.tree is not None:
            return merged.tree
        names = ", ".join(f"mydocker/{name}" for name in merged.conflicts)
        raise self._conflict(what, f"both sides changed {names}")

    def _merge_message(self, order: Order, number: str) -> str:
        base, ours, theirs = (
            patches[order].message if order in patches else None for patches in self._patches
        )
        if theirs in (None, base, ours):
            return str(ours)
        if ours in (None, base):
            return str(theirs)
        raise self._conflict(f"step {number}", "both sides changed the message")

    def _conflict(self, what: str, why: str) -> KataError:
        return KataError(
            f"conflict in {what}: {why}; nothing was written. Carry it over by hand: `kata steps"
            f" open`, edit the commit there, `kata steps save` (`git diff HEAD...{self._name} --"
            " solutions` shows what is wanted)"
        )


@contextmanager
def _blaming(side: str) -> Iterator[None]:
    """Say in an error whose steps it is about."""
    try:
        yield
    except KataError as error:
        raise KataError(f"the steps of {side}: {error}") from error


_NAME = re.compile(r"([0-9]+\.[0-9]+)/([0-9]+)-[a-z0-9-]+\.patch")
_SUBJECT = re.compile(r"([0-9]+\.[0-9]+\.[0-9]+): \S")
_UNWANTED = {
    b"index ": "index lines",
    b"similarity index ": "renames",
    b"dissimilarity index ": "rewrites",
    b"rename from ": "renames",
    b"copy from ": "copies",
}


def _order(number: str) -> Order:
    return tuple(int(part) for part in number.split("."))


def _number(path: Path) -> str:
    """The number of a patch by its path; empty if that is none of a task."""
    found = _NAME.fullmatch(f"{path.parent.name}/{path.name}")
    return f"{found[1]}.{found[2]}" if found else ""


def _read_patch(path: Path) -> Patch:
    """Raises KataError for a file that is not a message, a line `---`, and a diff."""
    parts = _parted(path.read_bytes())
    if len(parts) != 2:
        raise KataError(f"{path}: no line `---` between the message and the diff")
    try:
        message = parts[0].decode()
    except UnicodeDecodeError as error:
        raise KataError(f"{path}: the message is not UTF-8: {error.reason}") from error
    return Patch(_number(path), message.strip("\n"), parts[1])


def _parted(text: bytes) -> list[bytes]:
    return re.split(rb"\n---\n(?=diff --git |\Z)", text, maxsplit=1)


def _problems_of_message(patch: Patch) -> list[str]:
    lines = patch.message.split("\n")
    problems = []
    if not lines[0].startswith(f"{patch.number}: "):
        problems.append(f"the subject is {lines[0]!r}, not '{patch.number}: ...'")
    if len(lines) > 1 and lines[1]:
        problems.append("no blank line after the subject")
    if "\r" in patch.message:
        problems.append("a carriage return in the message")
    return problems


def _differences(wanted: Files, found: Files) -> list[str]:
    differences = []
    for name in sorted(wanted.keys() | found.keys()):
        if name not in found:
            differences.append(f"mydocker/{name} is missing")
        elif name not in wanted:
            differences.append(f"mydocker/{name} does not belong there")
        elif wanted[name].mode != found[name].mode:
            differences.append(
                f"mydocker/{name} has mode {found[name].mode}, not {wanted[name].mode}"
            )
        elif wanted[name] != found[name]:
            differences.append(f"mydocker/{name} has other content")
    return differences


def _digest(files: Files) -> str:
    digest = hashlib.sha256()
    for name, file in sorted(files.items()):
        digest.update(f"{file.mode} {len(file.data)} {name}\0".encode(errors="surrogateescape"))
        digest.update(file.data)
    return digest.hexdigest()


def _compile(folder: Path) -> None:
    """Leave Python nothing to write into a state: as root, it would leave root's files there."""
    import compileall

    compileall.compile_dir(folder, quiet=2)


def _rebased(git: Git) -> str | None:
    """The branch that is being rebased in a worktree, None if none is."""
    for name in ("rebase-merge", "rebase-apply"):
        note = git.folder() / name / "head-name"
        if note.exists():
            return note.read_text().strip().removeprefix("refs/heads/")
    return None


def _stopped_at(git: Git) -> list[str]:
    """The subject of the commit that a rebase or a cherry-pick has stopped at, if it has."""
    for name in ("REBASE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD", "MERGE_HEAD"):
        if git.commit(name) is not None:
            return [git.line("log", "-1", "--format=%s", name)]
    return []


def _commits(git: Git, series: Series, head: str) -> str:
    """Make a commit for the start, on `head`, and one for every step; return the last."""
    date = git.date(head)
    commit = git.commit_tree(git.graft(head, "mydocker", series.start), [head], START, date)
    for step in series.steps:
        tree = git.graft(head, "mydocker", step.tree)
        commit = git.commit_tree(tree, [commit], step.message, date)
    return commit


def _read_branch(git: Git, branch: str) -> Series:
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


def _diffs(git: Git, series: Series) -> list[Patch]:
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
        if _parted(patch.text()) != [patch.message.encode(), patch.diff]:
            raise KataError(f"step {step.number}: the message contains what looks like a patch")
        patches.append(patch)
        before = step.tree
    return patches


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
