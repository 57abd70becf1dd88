"""`kata wrong rebase`: wrong solutions go along when the reference changes."""

import os
from pathlib import Path

import pytest

from dojo.clone import Clone
from dojo.course.catalogue import Catalogue
from dojo.course.editor import Editor
from dojo.course.git import Git
from dojo.course.steps import Steps
from dojo.errors import KataError
from dojo.teeth import rebase, wrong
from tests.clones import STATES, commit_all, git, make_clone, steps_of, write

pytestmark = pytest.mark.usefixtures("old_git")  # what it does not know is not used

V1 = STATES["3.2"]["cgroups/v1.py"]
MISTAKE = b"""\
chapter: 3.2
title: two where one belongs
noticed by: test_one
---
diff --git a/mydocker/cgroups/v1.py b/mydocker/cgroups/v1.py
--- a/mydocker/cgroups/v1.py
+++ b/mydocker/cgroups/v1.py
@@ -1,4 +1,4 @@
-CPU = 1
+CPU = 2
 # v1
 # v1
 # v1
"""


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    made = make_clone(tmp_path / "clone")
    write(made.root / "tests/wrong/3_2/two.patch", MISTAKE)
    commit_all(made)
    return made


def change_the_reference(clone: Clone, content: bytes) -> None:
    """Let `cgroups/v1.py` be this from 3.2 on."""
    steps = steps_of(clone)
    place = Editor(steps).open()
    git(place, "reset", "--quiet", "--hard", "HEAD~")
    write(place / "mydocker/cgroups/v1.py", content)
    git(place, "commit", "--quiet", "--all", "--amend", "--no-edit")
    write(place / "mydocker/cgroups/v1.py", content + b"MEMORY = 1\n")
    git(place, "commit", "--quiet", "--all", "--message=3.3.1: a pipe")
    Editor(steps).save()


def mistaken(clone: Clone, directory: Path) -> bytes:
    """`cgroups/v1.py` as the wrong solution has it, on the state of now."""
    catalogue = Catalogue(clone)
    (one,) = wrong.read_all(catalogue)
    state = Steps(catalogue).state(catalogue.chapter("3.2"))
    os.makedirs(directory / "mydocker/cgroups")
    (directory / "mydocker/cgroups/v1.py").write_bytes(
        (state / "mydocker/cgroups/v1.py").read_bytes()
    )
    wrong.apply(one.path, directory)
    return (directory / "mydocker/cgroups/v1.py").read_bytes()


def test_one_that_still_applies_stays_as_it_is(clone: Clone) -> None:
    change_the_reference(clone, V1 + b"# below\n")
    assert rebase.rebase(Catalogue(clone), "HEAD") == rebase.Rebased((), ())
    assert (clone.root / "tests/wrong/3_2/two.patch").read_bytes() == MISTAKE


def test_it_is_carried_over_and_the_rest_of_its_file_stays(clone: Clone, tmp_path: Path) -> None:
    other_lines = b"CPU = 1\n# v1\n# other\n" + b"# v1\n" * 18
    change_the_reference(clone, other_lines)
    assert rebase.rebase(Catalogue(clone), "HEAD") == rebase.Rebased(("3.2/two",), ())
    assert mistaken(clone, tmp_path / "state") == other_lines.replace(b"1", b"2", 1)
    text = (clone.root / "tests/wrong/3_2/two.patch").read_bytes()
    assert text.startswith(MISTAKE.partition(b"---")[0] + b"---\ndiff --git ")
    assert b"\nindex " not in text
    assert not list((clone.state / "wrong").glob("*/*"))


def test_a_conflict_waits_to_be_solved(clone: Clone, tmp_path: Path) -> None:
    change_the_reference(clone, V1.replace(b"CPU = 1", b"SHARES = 1"))
    catalogue = Catalogue(clone)
    rebased = rebase.rebase(catalogue, "HEAD")
    place = clone.state / "wrong/3_2/two"
    conflict = rebase.Conflict("3.2/two", place, ("mydocker/cgroups/v1.py",))
    assert rebased == rebase.Rebased((), (conflict,))
    assert (clone.root / "tests/wrong/3_2/two.patch").read_bytes() == MISTAKE
    with pytest.raises(KataError, match=r"3.2/two has conflicts in \S+cgroups/v1.py: edit, then"):
        rebase.save(catalogue)
    with pytest.raises(KataError, match=r"wrong/3_2/two waits to be solved: `kata wrong save`"):
        rebase.rebase(catalogue, "HEAD")

    solved = V1.replace(b"CPU = 1", b"SHARES = 2")
    write(place / "mydocker/cgroups/v1.py", solved)
    Git(clone, place).run("add", "--all")
    assert rebase.save(catalogue) == ["3.2/two"]
    assert mistaken(clone, tmp_path / "state") == solved
    assert not place.exists()
    assert rebase.rebase(catalogue, "HEAD") == rebase.Rebased((), ())


def test_one_that_never_applied_is_named(clone: Clone) -> None:
    place = clone.root / "tests/wrong/3_2/two.patch"
    place.write_bytes(MISTAKE.replace(b"CPU = 1", b"CPU = 9"))
    with pytest.raises(KataError, match=r"two.patch does not apply: .*cgroups/v1.py"):
        rebase.rebase(Catalogue(clone), "HEAD")
    assert not list((clone.state / "wrong").glob("*/*"))
