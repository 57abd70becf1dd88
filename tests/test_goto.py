"""Going to a chapter: nothing of what was there is lost, whatever it was."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dojo.clone import Clone
from dojo.course.git import Git
from dojo.errors import KataError
from dojo.learner.learning import Arrival, goto
from tests.clones import (
    ENVIRONMENT,
    START,
    STATES,
    commit_all,
    contents_of,
    expected,
    git,
    make_clone,
    make_files,
    steps_of,
    write,
)

pytestmark = pytest.mark.usefixtures("old_git")  # what it does not know is not used


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return make_clone(tmp_path / "clone")


def go(clone: Clone, number: str) -> Arrival:
    steps = steps_of(clone)
    return goto(steps.catalogue, steps, steps.catalogue.chapter(number))


def saved_files(clone: Clone, branch: str | None) -> dict[str, tuple[bytes, bool]]:
    """What a branch holds, to the byte, with no line ending converted on the way out."""
    assert branch is not None
    files = {}
    listed = git(clone.root, "ls-tree", "-r", "-z", branch).split(b"\0")[:-1]
    for entry in listed:
        about, name = entry.split(b"\t", 1)
        mode, _, blob = about.decode().split()
        files[os.fsdecode(name)] = (git(clone.root, "cat-file", "blob", blob), mode == "100755")
    return files


def working_files(clone: Clone) -> dict[str, tuple[bytes, bool]]:
    """All files but the tool's own; links are not followed, nor can they be executed."""
    files = contents_of(clone.root)
    return {
        name: (data, executable and not (clone.root / name).is_symlink())
        for name, (data, executable) in files.items()
        if not name.startswith(".kata/")
    }


def branches(clone: Clone) -> list[str]:
    return git(clone.root, "branch", "--format=%(refname:short)").decode().split()


def assert_at(clone: Clone, number: str) -> None:
    starts = dict(zip(STATES, (START, *STATES.values()), strict=False))
    found = contents_of(clone.learner)
    found = {name: file for name, file in found.items() if not name.endswith((".ignored", ".pyc"))}
    assert found == expected(starts[number])
    assert git(clone.root, "symbolic-ref", "HEAD") == b"refs/heads/learn\n"
    assert git(clone.root, "status", "--porcelain", "--untracked-files=no") == b""


class TestWithNothingToSave:
    def test_learn_begins_on_main(self, clone: Clone) -> None:
        arrival = go(clone, "3.2")
        assert arrival.saved is None
        assert arrival.chapter.number == "3.2"
        assert_at(clone, "3.2")
        assert git(clone.root, "rev-parse", "learn~") == git(clone.root, "rev-parse", "main")
        assert branches(clone) == ["learn", "main"]

    def test_learn_keeps_its_history(self, clone: Clone) -> None:
        go(clone, "3.1")
        write(clone.learner / "cli.py", b"my own\n")
        commit_all(clone)
        mine = git(clone.root, "rev-parse", "learn")
        assert go(clone, "3.3").saved is None
        assert_at(clone, "3.3")
        assert git(clone.root, "rev-parse", "learn~") == mine

    def test_again_it_adds_no_commit(self, clone: Clone) -> None:
        go(clone, "3.2")
        before = git(clone.root, "rev-parse", "learn")
        assert go(clone, "3.2").saved is None
        assert git(clone.root, "rev-parse", "learn") == before

    def test_it_takes_the_rest_from_main(self, clone: Clone) -> None:
        """Lessons get better while somebody learns."""
        go(clone, "3.1")
        git(clone.root, "checkout", "--quiet", "main")
        write(clone.root / "README.md", b"Better\n")
        commit_all(clone)
        git(clone.root, "checkout", "--quiet", "learn")
        go(clone, "3.2")
        assert_at(clone, "3.2")
        assert (clone.root / "README.md").read_bytes() == b"Better\n"

    def test_it_takes_the_steps_from_main(self, clone: Clone) -> None:
        """So do the steps, and the working tree's may be old, or broken."""
        git(clone.root, "checkout", "--quiet", "-b", "mine")
        write(clone.solutions / "mydocker" / "cli.py", b"broken\n")
        commit_all(clone)
        assert go(clone, "3.2").saved is None
        assert_at(clone, "3.2")


class TestSaving:
    def test_what_was_changed_added_and_removed_is_on_a_branch(self, clone: Clone) -> None:
        head = git(clone.root, "rev-parse", "main")
        write(clone.learner / "cli.py", b"changed\n")
        write(clone.learner / "new" / "deep.py", b"untracked\n")
        write(clone.root / "notes.txt", b"elsewhere\n")
        write(clone.root / "README.md", b"changed elsewhere\n")
        (clone.learner / "old.py").unlink()
        before = working_files(clone)
        arrival = go(clone, "3.1")
        assert str(arrival.saved).startswith("saved/main-")
        assert saved_files(clone, arrival.saved) == before
        assert git(clone.root, "rev-parse", f"{arrival.saved}~") == head
        assert git(clone.root, "rev-parse", "main") == head
        assert_at(clone, "3.1")
        assert not (clone.learner / "new").exists()
        assert (clone.root / "notes.txt").read_bytes() == b"elsewhere\n"
        assert (clone.root / "README.md").read_bytes() == b"The kata\n"

    def test_ignored_files_stay(self, clone: Clone) -> None:
        write(clone.learner / "x.ignored", b"x")
        write(clone.root / "y.ignored", b"y")
        write(clone.learner / "__pycache__" / "cli.cpython-311.pyc", b"z")
        assert go(clone, "3.2").saved is None
        assert (clone.learner / "x.ignored").read_bytes() == b"x"
        assert (clone.root / "y.ignored").read_bytes() == b"y"
        assert (clone.learner / "__pycache__" / "cli.cpython-311.pyc").read_bytes() == b"z"

    def test_ignored_files_in_the_way_are_saved(self, clone: Clone) -> None:
        write(clone.root / ".git" / "info" / "exclude", b"cgroups\nno_newline.txt\n")
        write(clone.learner / "cgroups", b"a file where a folder will be\n")
        write(clone.learner / "no_newline.txt" / "deep" / "file", b"and the other way round\n")
        saved = saved_files(clone, go(clone, "3.3").saved)
        assert saved["mydocker/cgroups"] == (b"a file where a folder will be\n", False)
        assert saved["mydocker/no_newline.txt/deep/file"][0] == b"and the other way round\n"
        assert_at(clone, "3.3")

    def test_bytes_modes_links_and_names_are_kept(self, clone: Clone) -> None:
        write(clone.learner / "crlf.py", b"a\r\nb\r\n")
        write(clone.learner / "linux.py", START["linux.py"].replace(b"\n", b"\r\n"))
        write(clone.learner / 'a\nnew "line"\t\\ é', b"\0\xff")
        (clone.root / os.fsdecode(b"mydocker/\xff")).write_bytes(b"not UTF-8")
        (clone.learner / "cli.py").chmod(0o755)
        (clone.learner / "dangling").symlink_to("no/such\nplace")
        (clone.learner / "folder").symlink_to("/etc")
        before = working_files(clone)
        # os.walk takes a link to a folder for a folder.
        before["mydocker/folder"] = (b"/etc", False)
        assert saved_files(clone, go(clone, "3.1").saved) == before
        assert_at(clone, "3.1")
        assert not (clone.learner / "folder").is_symlink()
        assert Path("/etc/passwd").exists()

    def test_a_link_in_place_of_mydocker(self, clone: Clone, tmp_path: Path) -> None:
        shutil.move(clone.learner, tmp_path / "elsewhere")
        clone.learner.symlink_to(tmp_path / "elsewhere")
        saved = saved_files(clone, go(clone, "3.1").saved)
        assert saved["mydocker"][0] == str(tmp_path / "elsewhere").encode()
        assert_at(clone, "3.1")
        assert contents_of(tmp_path / "elsewhere") == expected(START)

    def test_no_mydocker_at_all(self, clone: Clone) -> None:
        shutil.rmtree(clone.learner)
        assert go(clone, "3.1").saved
        assert_at(clone, "3.1")

    def test_files_and_folders_that_changed_places(self, clone: Clone) -> None:
        (clone.learner / "cli.py").unlink()
        write(clone.learner / "cli.py" / "inner.py", b"a folder now\n")
        before = working_files(clone)
        assert saved_files(clone, go(clone, "3.1").saved) == before
        assert_at(clone, "3.1")

    def test_what_is_staged_and_nowhere_else_is_kept_too(self, clone: Clone) -> None:
        write(clone.learner / "cli.py", b"staged\n")
        write(clone.learner / "gone.py", b"staged, then removed\n")
        git(clone.root, "add", "--all")
        write(clone.learner / "cli.py", b"and edited again\n")
        (clone.learner / "gone.py").unlink()
        saved = str(go(clone, "3.1").saved)
        assert saved_files(clone, saved)["mydocker/cli.py"][0] == b"and edited again\n"
        staged = saved_files(clone, f"{saved}~")
        assert staged["mydocker/cli.py"][0] == b"staged\n"
        assert staged["mydocker/gone.py"][0] == b"staged, then removed\n"
        assert git(clone.root, "rev-parse", f"{saved}~2") == git(clone.root, "rev-parse", "main")

    def test_commits_on_no_branch_are_saved(self, clone: Clone) -> None:
        git(clone.root, "checkout", "--quiet", "--detach")
        assert go(clone, "3.1").saved is None
        git(clone.root, "checkout", "--quiet", "--detach", "main")
        write(clone.learner / "cli.py", b"mine\n")
        commit_all(clone)
        mine = git(clone.root, "rev-parse", "HEAD")
        saved = str(go(clone, "3.1").saved)
        assert saved.startswith("saved/detached-")
        assert git(clone.root, "rev-parse", saved) == mine

    def test_twice_in_a_second_they_are_two_branches(self, clone: Clone) -> None:
        saved = set()
        for text in (b"one\n", b"two\n", b"three\n"):
            write(clone.learner / "cli.py", text)
            branch = go(clone, "3.1").saved
            assert saved_files(clone, branch)["mydocker/cli.py"][0] == text
            saved.add(branch)
        assert len(saved) == 3

    def test_hostile_configuration_changes_nothing(self, clone: Clone) -> None:
        (clone.root / ".gitattributes").unlink()
        git(clone.root, "commit", "--quiet", "--all", "--message=No attributes")
        for name, value in {
            "core.autocrlf": "true",
            "core.hooksPath": "hooks",
            "core.excludesFile": str(clone.root / "excludes"),
            "status.showUntrackedFiles": "no",
        }.items():
            git(clone.root, "config", name, value)
        write(clone.root / "excludes", b"*.py\n")
        write(clone.root / "hooks" / "post-checkout", b"#!/bin/sh\nrm -rf .git\n")
        (clone.root / "hooks" / "post-checkout").chmod(0o755)
        write(clone.learner / "new.py", b"a\r\n")
        assert saved_files(clone, go(clone, "3.2").saved)["mydocker/new.py"][0] == b"a\r\n"
        assert_at(clone, "3.2")

    def test_a_disk_without_modes_does_not_make_up_changes(self, clone: Clone) -> None:
        git(clone.root, "config", "core.fileMode", "false")
        for path in clone.learner.iterdir():
            path.chmod(0o777)
        assert go(clone, "3.1").saved is None


class TestRefusals:
    """Each time: one line that names what is wrong, and nothing has changed."""

    def refusal(self, clone: Clone) -> str:
        write(clone.learner / "mine.py", b"mine\n")
        before = working_files(clone), git(clone.root, "for-each-ref"), self.head(clone)
        with pytest.raises(KataError) as raised:
            go(clone, "3.2")
        assert (working_files(clone), git(clone.root, "for-each-ref"), self.head(clone)) == before
        assert "\n" not in str(raised.value)
        return str(raised.value)

    def head(self, clone: Clone) -> bytes:
        return (clone.root / ".git" / "HEAD").read_bytes()

    def make_conflict(self, clone: Clone) -> None:
        assert go(clone, "3.1").saved is None
        git(clone.root, "checkout", "--quiet", "main")
        for branch, text in (("side", b"side\n"), ("main", b"main\n")):
            git(clone.root, "checkout", "--quiet", "-B", branch, "main")
            write(clone.learner / "cli.py", text)
            commit_all(clone)
        git(clone.root, "branch", "--quiet", "--force", "side", "main~")
        git(clone.root, "checkout", "--quiet", "-B", "side", "main~")
        write(clone.learner / "cli.py", b"side\n")
        commit_all(clone)

    def test_a_merge(self, clone: Clone) -> None:
        self.make_conflict(clone)
        git(clone.root, "merge", "main", check=False)
        assert "a merge is not finished: end or abort it" in self.refusal(clone)

    def test_a_rebase(self, clone: Clone) -> None:
        self.make_conflict(clone)
        git(clone.root, "rebase", "main", check=False)
        assert "a rebase is not finished" in self.refusal(clone)

    def test_a_conflict_that_is_left(self, clone: Clone) -> None:
        self.make_conflict(clone)
        git(clone.root, "merge", "main", check=False)
        (clone.root / ".git" / "MERGE_HEAD").unlink()
        assert "mydocker/cli.py: a conflict is not resolved" in self.refusal(clone)

    def test_a_lock(self, clone: Clone) -> None:
        assert go(clone, "3.1").saved is None
        write(clone.root / ".git" / "index.lock", b"")
        assert ".git/index.lock" in self.refusal(clone)

    def test_learn_in_another_worktree(self, clone: Clone, tmp_path: Path) -> None:
        assert go(clone, "3.1").saved is None
        git(clone.root, "checkout", "--quiet", "main")
        other, detached = tmp_path / "other\n\nof some\nlines", tmp_path / "detached"
        git(clone.root, "worktree", "add", "--quiet", "--detach", str(detached))
        git(clone.root, "worktree", "lock", "--reason", "mine\nalone", str(detached))
        git(clone.root, "worktree", "add", "--quiet", str(other), "learn")
        assert {worktree.path for worktree in Git(clone).worktrees()} == {
            *(clone.root, detached, other)
        }
        git(clone.root, "worktree", "move", str(other), str(tmp_path / "other"))
        assert f"in another worktree, {tmp_path / 'other'}" in self.refusal(clone)

    def test_a_repository_in_mydocker(self, clone: Clone) -> None:
        assert go(clone, "3.1").saved is None
        write(clone.learner / "project" / "file", b"mine\n")
        git(clone.learner / "project", "init", "--quiet")
        assert "mydocker/project/ is a git repository of its own" in self.refusal(clone)

    def test_no_commit_yet(self, tmp_path: Path) -> None:
        make_files(tmp_path)
        git(tmp_path, "init", "--quiet")
        assert "no commit yet" in self.refusal(Clone(tmp_path))

    def test_an_unborn_branch(self, clone: Clone) -> None:
        assert go(clone, "3.1").saved is None
        git(clone.root, "checkout", "--quiet", "--orphan", "empty")
        assert "no commit yet" in self.refusal(clone)

    def test_a_zip(self, tmp_path: Path) -> None:
        make_files(tmp_path)
        with pytest.raises(KataError, match="not a git repository"):
            go(Clone(tmp_path), "3.1")

    def test_a_branch_saved(self, clone: Clone) -> None:
        assert go(clone, "3.1").saved is None
        git(clone.root, "branch", "saved")
        assert "refs/heads/saved" in self.refusal(clone)


def test_a_failure_on_the_way_says_where_the_work_is(
    clone: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the disk is full in the middle: what was there is on a branch by then."""
    write(clone.learner / "mine.py", b"mine\n")
    before = working_files(clone)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("dojo.learner.learning._clear", fail)
    with pytest.raises(
        KataError, match=r"No space left.*; what was there is on branch saved/main-"
    ):
        go(clone, "3.2")
    monkeypatch.undo()
    branch = next(name for name in branches(clone) if name.startswith("saved/"))
    assert saved_files(clone, branch) == before
    go(clone, "3.2")
    assert_at(clone, "3.2")


NAMES = st.sampled_from(
    [
        "mydocker/cli.py",
        "mydocker/linux.py",
        "mydocker/old.py",
        "mydocker/cgroups",
        "mydocker/cgroups/v1.py",
        "mydocker/new.py",
        "mydocker/new.py/deeper.py",
        "mydocker/x.ignored",
        "mydocker",
        "README.md",
        "notes",
        "notes/more",
        "solutions/notes",
        "chapters/3_1/README.md",
    ]
)
EDITS = st.one_of(
    st.tuples(st.just("write"), NAMES, st.sampled_from([b"", b"a\n", b"a\r\n", b"\0\xff"])),
    st.tuples(st.just("mode"), NAMES),
    st.tuples(st.just("link"), NAMES, st.sampled_from(["cli.py", "..", "/nowhere"])),
    st.tuples(st.just("remove"), NAMES),
    st.tuples(st.just("add")),
    st.tuples(st.just("commit")),
    st.tuples(st.just("detach")),
    st.tuples(st.just("goto"), st.sampled_from(list(STATES))),
)


@settings(
    max_examples=30,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(st.lists(EDITS, max_size=8), st.sampled_from(list(STATES)))
def test_whatever_was_done_nothing_is_lost(edits: list[tuple[str, ...]], number: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        clone = make_clone(Path(folder) / "clone")
        for what, *arguments in edits:
            edit(clone, what, *arguments)
        head = git(clone.root, "rev-parse", "HEAD").decode().strip()
        staged = git(clone.root, "ls-files", "--stage").decode().splitlines()
        before = working_files(clone) | links_to_folders(clone)
        arrival = go(clone, number)

        assert_at(clone, number)
        assert git(clone.root, "branch", "--contains", head) != b""
        held = saved_files(clone, arrival.saved or head)
        after = working_files(clone) | links_to_folders(clone)
        for name, file in before.items():
            assert held.get(name) == file or after.get(name) == file, name
        # What was staged is reachable from a branch, whatever lay on the disk.
        reachable = git(clone.root, "rev-list", "--objects", "--all").decode()
        assert all(line.split()[1] in reachable for line in staged)


def edit(clone: Clone, what: str, *arguments: str) -> None:
    """Do something to the working tree, if it can be done as it is now."""
    path = clone.root / arguments[0] if arguments else clone.root
    try:
        if what in ("write", "link") and path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        if what == "write":
            write(path, arguments[1])  # type: ignore[arg-type]
        elif what == "link":
            path.unlink(missing_ok=True)
            path.symlink_to(arguments[1])
        elif what == "mode":
            path.chmod(path.stat().st_mode ^ 0o111)
        elif what == "remove":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        elif what == "add":
            git(clone.root, "add", "--all")
        elif what == "commit":
            git(clone.root, "add", "--all")
            git(clone.root, "commit", "--quiet", "--allow-empty", "--message=mine")
        elif what == "detach":
            git(clone.root, "checkout", "--quiet", "--detach")
        elif what == "goto":
            go(clone, arguments[0])
    except OSError:
        pass


def links_to_folders(clone: Clone) -> dict[str, tuple[bytes, bool]]:
    links = {}
    for top, folders, _ in os.walk(clone.root):
        for name in folders:
            path = Path(top, name)
            if path.is_symlink():
                links[path.relative_to(clone.root).as_posix()] = (os.readlink(path).encode(), False)
    return links


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root")
def test_under_sudo_all_files_stay_their_owners() -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        clone = make_clone(Path(folder) / "clone")
        write(clone.learner / "new.py", b"mine\n")
        subprocess.run(["chown", "-R", "1000:1000", clone.root], check=True)
        assert go(clone, "3.2").saved
        assert_owned(clone, 1000)
        argv = ["git", "status", "--porcelain"]
        subprocess.run(argv, cwd=clone.root, env=ENVIRONMENT, check=True, user=1000, group=1000)


def assert_owned(clone: Clone, owner: int) -> None:
    assert [path for path in clone.root.rglob("*") if path.lstat().st_uid != owner] == []
