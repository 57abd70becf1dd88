"""The tags: always the same commits, never somebody else's."""

from pathlib import Path

import pytest

from dojo.clone import Clone
from dojo.course.git import ADDRESS
from dojo.course.steps import Steps
from dojo.course.tags import KEPT, make_tags
from dojo.errors import KataError
from dojo.learner.learning import goto
from tests.clones import (
    SECOND_TASK,
    START,
    STATES,
    add_a_second_task,
    commit_all,
    contents_of,
    expected,
    git,
    make_clone,
    make_files,
    steps_of,
    write,
)

NAMES = [f"{number}{end}" for number in STATES for end in ("-start", "-task-1", "")]

pytestmark = pytest.mark.usefixtures("old_git")  # what it does not know is not used


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return make_clone(tmp_path / "clone")


@pytest.fixture
def steps(clone: Clone) -> Steps:
    return steps_of(clone)


def tag(steps: Steps) -> dict[str, str]:
    return dict(make_tags(steps.catalogue, steps))


def tags_of(clone: Clone) -> dict[str, str]:
    form = "--format=%(refname:lstrip=2) %(objectname)"
    listed = git(clone.root, "for-each-ref", form, "refs/tags").decode()
    return dict(line.split(" ") for line in listed.splitlines())


def test_each_is_mains_tree_with_the_chapters_state(clone: Clone, steps: Steps) -> None:
    main = git(clone.root, "rev-parse", "main")
    outside = git(clone.root, "ls-tree", "main").replace(b"mydocker", b"")
    assert tag(steps) == dict.fromkeys(NAMES, "new")
    starts = dict(zip(STATES, (START, *STATES.values()), strict=False))
    for name in NAMES:
        number = name.split("-")[0]
        wanted = starts[number] if name.endswith("-start") else STATES[number]
        git(clone.root, "checkout", "--quiet", name)
        assert contents_of(clone.learner) == expected(wanted)
        assert git(clone.root, "rev-parse", "HEAD~") == main
        assert git(clone.root, "cat-file", "-t", name) == b"commit\n"
        others = git(clone.root, "ls-tree", name).replace(b"mydocker", b"")
        assert [line for line in others.splitlines() if not line.endswith(b"\t")] == [
            line for line in outside.splitlines() if not line.endswith(b"\t")
        ]
        assert git(clone.root, "log", "-1", "--format=%ae %ce %cd %ad", name) == git(
            clone.root, "log", "-1", f"--format={ADDRESS} {ADDRESS} %cd %cd", "main"
        )


def test_a_task_has_one(clone: Clone, steps: Steps) -> None:
    add_a_second_task(clone)
    tag(steps)
    first, second = STATES["3.3"], STATES["3.3"] | SECOND_TASK
    for name, contents in (("3.3-task-1", first), ("3.3-task-2", second)):
        git(clone.root, "checkout", "--quiet", name)
        assert contents_of(clone.learner) == expected(contents)
    subject = git(clone.root, "log", "-1", "--format=%s", "3.3-task-1")
    assert subject == b"3.3-task-1: mydocker/ where task 1 of chapter 3.3 is done\n"


def test_again_they_are_the_same(clone: Clone, steps: Steps, tmp_path: Path) -> None:
    tag(steps)
    first = tags_of(clone)
    assert tag(steps) == dict.fromkeys(NAMES, "same")
    assert tags_of(clone) == first
    other = tmp_path / "other"
    git(tmp_path, "clone", "--quiet", "--no-tags", str(clone.root), str(other))
    git(other, "config", "user.name", "somebody")
    assert set(tag(steps_of(Clone(other))).values()) == {"new"}
    assert tags_of(Clone(other)) == first


def test_neither_index_nor_working_tree_nor_head_is_touched(clone: Clone, steps: Steps) -> None:
    write(clone.root / "staged", b"staged")
    git(clone.root, "add", "staged")
    write(clone.learner / "cli.py", b"edited")
    before = contents_of(clone.root), (clone.root / ".git" / "index").read_bytes()
    head = git(clone.root, "symbolic-ref", "HEAD")
    tag(steps)
    after = {name: file for name, file in contents_of(clone.root).items() if ".kata" not in name}
    assert (after, (clone.root / ".git" / "index").read_bytes()) == before
    assert git(clone.root, "symbolic-ref", "HEAD") == head


def test_stale_ones_are_made_again_and_said_so(clone: Clone, steps: Steps) -> None:
    tag(steps)
    stale = tags_of(clone)
    write(clone.root / "README.md", b"A new main\n")
    commit_all(clone)
    git(clone.root, "tag", "-d", "3.2")
    assert tag(steps) == dict.fromkeys(NAMES, "remade") | {"3.2": "new"}
    assert all(tags_of(clone)[name] != stale[name] for name in NAMES)
    assert git(clone.root, "show", "3.3:README.md") == b"A new main\n"


def test_they_are_mains_wherever_head_is(clone: Clone, steps: Steps) -> None:
    """A learner's branch may be older than main, and so may the steps in the working tree."""
    git(clone.root, "checkout", "--quiet", "-b", "learn")
    write(clone.solutions / "mydocker" / "cli.py", b"broken")
    write(clone.learner / "cli.py", b"mine")
    commit_all(clone)
    tag(steps)
    assert git(clone.root, "rev-parse", "3.3~") == git(clone.root, "rev-parse", "main")
    assert git(clone.root, "show", "3.3:mydocker/cli.py") == STATES["3.3"]["cli.py"]


def test_main_is_origins_where_there_is_no_branch(clone: Clone, steps: Steps) -> None:
    git(clone.root, "update-ref", "refs/remotes/origin/main", "HEAD")
    git(clone.root, "branch", "--move", "main", "mine")
    write(clone.root / "README.md", b"mine\n")
    commit_all(clone)
    tag(steps)
    assert git(clone.root, "rev-parse", "3.1~") == git(clone.root, "rev-parse", "origin/main")
    git(clone.root, "update-ref", "-d", "refs/remotes/origin/main")
    tag(steps)
    assert git(clone.root, "rev-parse", "3.1~") == git(clone.root, "rev-parse", "HEAD")


@pytest.mark.parametrize("annotated", [True, False])
def test_a_tag_of_somebody_elses_is_kept_and_said_so(
    clone: Clone, steps: Steps, annotated: bool
) -> None:
    message = ["--message=mine"] if annotated else []
    git(clone.root, "tag", *message, "3.2", "main")
    git(clone.root, "tag", *message, "v1", "main")
    theirs = tags_of(clone)
    assert tag(steps) == dict.fromkeys(NAMES, "new") | {"3.2": KEPT}
    assert tags_of(clone)["3.2"] == theirs["3.2"]
    assert tags_of(clone)["v1"] == theirs["v1"]


def test_a_tag_on_work_that_the_kata_saved_is_kept(clone: Clone, steps: Steps) -> None:
    """Such a commit is by the kata, the tag is not."""
    write(clone.learner / "cli.py", b"mine")
    saved = goto(steps.catalogue, steps, steps.catalogue.chapter("3.1")).saved
    git(clone.root, "tag", "3.1", str(saved))
    assert tag(steps)["3.1"] == KEPT
    assert git(clone.root, "rev-parse", "3.1") == git(clone.root, "rev-parse", str(saved))


def test_where_the_steps_do_not_fit_no_tag_changes(clone: Clone, steps: Steps) -> None:
    tag(steps)
    before = tags_of(clone)
    cli = clone.solutions / "mydocker" / "cli.py"
    write(cli, b"broken\n")
    commit_all(clone)
    with pytest.raises(KataError, match=r"step 3\.3\.1: .*cli\.py"):
        tag(steps)
    assert tags_of(clone) == before


def test_a_zip_is_refused(tmp_path: Path) -> None:
    make_files(tmp_path)
    with pytest.raises(KataError, match="not a git repository"):
        tag(steps_of(Clone(tmp_path)))
