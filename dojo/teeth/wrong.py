"""Wrong solutions: each has one mistake that people make, and its chapter's tests must notice.

`tests/wrong/3_1/NAME.patch` is a patch on the finished state of its chapter, with three lines
before it: the chapter, which mistake it is, and which tests should notice.
"""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from dojo.course.catalogue import Catalogue
from dojo.course.steps import Steps
from dojo.errors import KataError
from dojo.teeth.runs import Outcome, run_chapter


@dataclass(frozen=True)
class Wrong:
    """One wrong solution, as its file has it.

    title: which mistake it is. noticed_by: the names of the tests, without parameters.
    """

    path: Path
    chapter: str
    title: str
    noticed_by: tuple[str, ...]

    @property
    def name(self) -> str:
        """As people call it: "5.7/commit-packs-the-empty-mnt"."""
        return f"{self.chapter}/{self.path.stem}"


@dataclass(frozen=True)
class Verdict:
    """What the tests that should notice said.

    failed: the first failure of each test that noticed, by the test's name. unnoticed: the names of
    those that were green. output: all that pytest printed.
    """

    failed: dict[str, Outcome]
    unnoticed: tuple[str, ...]
    output: str


def read_all(catalogue: Catalogue) -> list[Wrong]:
    """All wrong solutions of a clone, in the order of the chapters."""
    found = [_read(path) for path in sorted(catalogue.clone.root.glob("tests/wrong/*/*.patch"))]
    return sorted(found, key=lambda wrong: catalogue.chapter(wrong.chapter).order)


def _read(path: Path) -> Wrong:
    head = path.read_text().partition("\n---\n")[0]
    lines = dict(line.split(": ", 1) for line in head.splitlines())
    return Wrong(path, lines["chapter"], lines["title"], tuple(lines["noticed by"].split(", ")))


def judge(catalogue: Catalogue, wrong: Wrong, directory: Path) -> Verdict:
    """Have the tests that should notice a wrong solution look at it.

    directory: an empty one to work in.
    Raises KataError if the patch does not apply, or the chapter has no test of such a name.
    """
    chapter = catalogue.chapter(wrong.chapter)
    state = directory / "state"
    shutil.copytree(Steps(catalogue).state(chapter), state)
    apply(wrong.path, state)
    chosen = ["-k", " or ".join(wrong.noticed_by)]
    outcomes, output = run_chapter(chapter, state, directory, *chosen)
    failed: dict[str, Outcome] = {}
    unnoticed = []
    for name in wrong.noticed_by:
        mine = [o for full, o in outcomes.items() if full.partition("[")[0] == name]
        if not mine:
            raise KataError(f"{wrong.name}: chapter {wrong.chapter} has no test {name}")
        first = next((outcome for outcome in mine if outcome.result == "failed"), None)
        if first is None:
            unnoticed.append(name)
        else:
            failed[name] = first
    return Verdict(failed, tuple(unnoticed), output)


def apply(patch: Path, directory: Path) -> None:
    """Apply a patch to a directory that no repository is found from.

    Raises KataError with git's reason.
    """
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "GIT_CEILING_DIRECTORIES": str(directory.parent),
    }
    done = subprocess.run(
        ["git", "apply", str(patch)],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise KataError(f"{patch.name} does not apply: {done.stderr.strip()}")
