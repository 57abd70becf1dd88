"""What tests draw by chance: drawn anew each time, and kept as long as a test is red.

Else a mistake that one draw finds and the next one does not would come and go, while a learner
looks for it. The standard `random` begins with a seed of its own for each test; the seed of a red
one is kept in the clone, and how fast the machine was: the slower, the less is drawn. Hypothesis
keeps examples that failed, and is told to do so there, too.
"""

import hashlib
import os
import random
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from dojo.clone import Clone
from dojo.testkit import machine, testing

DRAWN = pytest.StashKey["Drawn"]()


@dataclass(frozen=True)
class Drawn:
    """What all that a test draws follows from. patience: see `machine`."""

    seed: int
    patience: float

    @staticmethod
    def anew() -> "Drawn":
        return Drawn(int.from_bytes(os.urandom(8), "big"), machine.patience())


def keep_examples(clone: Clone) -> None:
    """Have Hypothesis keep what failed where the next run will look, wherever it is started."""
    os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", str(clone.state / "hypothesis"))


def begin(item: pytest.Item, clone: Clone) -> None:
    """Let a test draw: what it drew the last time if it was red then, else something new."""
    drawn = Drawn.anew()
    if not item.config.getoption("--draw-anew"):
        with suppress(OSError, ValueError):
            seed, patience = _file(item, clone).read_text().split()
            drawn = Drawn(int(seed), float(patience))
    item.stash[DRAWN] = drawn
    random.seed(drawn.seed)
    testing.patience = drawn.patience


def end(item: pytest.Item, clone: Clone, is_green: bool) -> None:
    """Keep what a red test has drawn, and forget what a green one has."""
    if DRAWN not in item.stash or item.config.getoption("--draw-anew"):
        return
    file = _file(item, clone)
    with suppress(OSError):  # a clone that nobody may write into
        if is_green:
            file.unlink(missing_ok=True)
        else:
            file.parent.mkdir(parents=True, exist_ok=True)
            drawn = item.stash[DRAWN]
            file.write_text(f"{drawn.seed} {drawn.patience}\n")


def _file(item: pytest.Item, clone: Clone) -> Path:
    """By the test and the program under test: what one does wrong, another may do right."""
    named = f"{item.config.getoption('--mydocker') or ''}\0{item.nodeid}"
    return clone.state / "drawn" / hashlib.sha256(named.encode()).hexdigest()[:32]
