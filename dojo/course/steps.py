"""The steps: one patch for each task, from the starting point to the finished runtime.

    start  --3.1/1-*.patch-->  3.1 task 1  --3.1/2-*.patch-->  ...  -->  solutions/mydocker/

Only the end is stored as files. Every *state* in between, the start included, is computed backwards
from there: `mydocker/` belongs to a learner, and HEAD may be anything.

A contributor does not edit patches: see editor.py.
"""

import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path

from dojo.course.branch import Series, Step
from dojo.course.catalogue import Catalogue, Chapter
from dojo.course.folders import Files, read_folder, scratch, write_folder
from dojo.course.git import Git, reason
from dojo.course.patches import (
    Order,
    Patch,
    number_of,
    order_of,
    problems_of_message,
    read_patch,
)
from dojo.errors import KataError


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
        last = self.patches(chapter)[-1].task  # an earlier commit may have had more tasks
        return self.state_after((*chapter.order, last if task is None else task))

    def start(self, chapter: Chapter, task: int = 1) -> Path:
        """The folder that holds `mydocker/` as a learner finds it who begins with the task."""
        return self.state_after((*chapter.order, task - 1))

    def patches(self, chapter: Chapter, task: int | None = None) -> list[Patch]:
        """The patches of a chapter, or the one of a task; in order.

        Raises KataError if the chapter has none. A task whose work is done in another has none.
        """
        found = [patch for patch in self.all_patches().values() if patch.chapter == chapter.number]
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
        folder = self._kept(digest(files), lambda empty: write_folder(files, empty))
        return Steps(self.catalogue, folder)

    # Checking

    def verify(self) -> list[str]:
        """What is wrong with the steps, a line each; an empty list if all is well.

        `mydocker/` is compared with the start only on `main` (see `_on_main`): elsewhere it is a
        learner's.
        """
        problems = self._problems_of_files()
        broken = self.problems_of_chain()
        problems += [problem for problem in broken if problem not in problems]
        if not broken and self._on_main():
            start = read_folder(self.state_after(()) / "mydocker")
            for difference in differences_between(start, read_folder(self.clone.learner)):
                problems.append(f"mydocker/ is not the starting point: {difference}")
        return problems

    # Reading

    def all_patches(self) -> dict[Order, Patch]:
        """All patches, in the order of their tasks."""
        patches = [read_patch(path) for path in self._patch_files() if number_of(path)]
        by_order = {order_of(patch.number): patch for patch in patches}
        return dict(sorted(by_order.items()))

    def _patch_files(self) -> list[Path]:
        return sorted((self.solutions / "steps").rglob("*.patch"))

    # States

    def state_after(self, last: Order) -> Path:
        """The folder that holds `mydocker/` as it is after all patches up to and with `last`.

        A state is kept under a hash of all that it is computed from, so a kept one is never old.
        """
        finished = self.solutions / "mydocker"
        if not finished.is_dir():
            raise KataError(f"there is no {finished}: the reference is missing from this clone")
        files = read_folder(finished)
        key = digest(files)
        state = self._kept(key, lambda empty: write_folder(files, empty / "mydocker"))
        later = [patch for order, patch in self.all_patches().items() if order > last]
        for patch in reversed(later):
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

    def series(self, git: Git) -> Series:
        """The steps as trees that git has."""
        steps = (
            Step(patch.number, patch.message, git.tree_of(self.state_after(order) / "mydocker"))
            for order, patch in self.all_patches().items()
        )
        return Series(git.tree_of(self.state_after(()) / "mydocker"), tuple(steps))

    # Verifying

    def _problems_of_files(self) -> list[str]:
        problems: list[str] = []
        paths: dict[str, list[Path]] = {}
        for path in self._patch_files():
            paths.setdefault(number_of(path), []).append(path)
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
            patch = read_patch(path)
        except KataError as error:
            return [str(error)]
        problems = [*problems_of_message(patch), *self._problems_of_diff(patch)]
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

    def problems_of_chain(self) -> list[str]:
        """What shows when the patches are applied backwards, and then forwards from the start."""
        try:
            start = self.state_after(()) / "mydocker"
            with scratch(self.clone, self.clone.state) as folder:
                write_folder(read_folder(start), folder / "mydocker")
                for order, patch in self.all_patches().items():
                    self._apply(patch, folder)
                    backwards = read_folder(self.state_after(order) / "mydocker")
                    differences = differences_between(backwards, read_folder(folder / "mydocker"))
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


_UNWANTED = {
    b"index ": "index lines",
    b"similarity index ": "renames",
    b"dissimilarity index ": "rewrites",
    b"rename from ": "renames",
    b"copy from ": "copies",
}


def differences_between(wanted: Files, found: Files) -> list[str]:
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


def digest(files: Files) -> str:
    digest = hashlib.sha256()
    for name, file in sorted(files.items()):
        digest.update(f"{file.mode} {len(file.data)} {name}\0".encode(errors="surrogateescape"))
        digest.update(file.data)
    return digest.hexdigest()


def _compile(folder: Path) -> None:
    """Leave Python nothing to write into a state: as root, it would leave root's files there."""
    import compileall

    compileall.compile_dir(folder, quiet=2)
