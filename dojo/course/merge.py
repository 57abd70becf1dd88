"""Merging steps that two branches have changed."""

from collections.abc import Iterator
from contextlib import contextmanager

from dojo.course.branch import Series, Step
from dojo.course.git import Git
from dojo.course.patches import Order, Patch
from dojo.course.steps import Steps
from dojo.errors import KataError


class Merge:
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
                self._patches.append(side.all_patches())

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
                trees.append(self._git.tree_of(side.state_after(order) / "mydocker"))
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
