"""The steps: states to the byte, and editing that loses nothing."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dojo.clone import Clone
from dojo.course.editor import Editor
from dojo.course.git import Git
from dojo.course.steps import Steps
from dojo.errors import KataError
from tests.clones import (
    ENVIRONMENT,
    MESSAGES,
    PATCHES,
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
    write_chapter,
)

pytestmark = pytest.mark.usefixtures("old_git")  # what it does not know is not used

KATA = Path(__file__).resolve().parent.parent


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return make_clone(tmp_path / "clone")


@pytest.fixture
def steps(clone: Clone) -> Steps:
    return steps_of(clone)


def assert_states(steps: Steps) -> None:
    for chapter in steps.catalogue.chapters:
        state = contents_of(steps.state(chapter) / "mydocker")
        assert state == expected(STATES[chapter.number]), chapter.number


class TestStates:
    def test_each_is_right_to_the_byte(self, steps: Steps) -> None:
        assert_states(steps)

    def test_a_chapter_starts_where_the_one_before_ends(self, steps: Steps) -> None:
        first, second, third = steps.catalogue.chapters
        assert contents_of(steps.start(first) / "mydocker") == expected(START)
        assert steps.start(second) == steps.state(first)
        assert steps.start(third) == steps.state(second)

    def test_message_and_patch_are_the_chapters(self, steps: Steps) -> None:
        second = steps.catalogue.chapter("3.2")
        (patch,) = steps.patches(second)
        assert patch.message == MESSAGES["3.2"]
        assert patch.subject == "give it no more than its share"
        assert patch.diff.startswith(b"diff --git a/mydocker/cgroups/__init__.py")

    def test_a_task_begins_where_the_one_before_ends(self, clone: Clone, steps: Steps) -> None:
        add_a_second_task(clone)
        third = steps.catalogue.chapter("3.3")
        before, done = steps.start(third, task=2), steps.state(third)
        assert before == steps.state(third, task=1)
        assert contents_of(before / "mydocker") == expected(STATES["3.3"])
        assert contents_of(done / "mydocker") == expected(STATES["3.3"] | SECOND_TASK)
        assert done == steps.state(third, task=2)
        assert [patch.number for patch in steps.patches(third)] == ["3.3.1", "3.3.2"]
        assert [patch.subject for patch in steps.patches(third, task=2)] == ["a second task"]
        assert steps.patches(steps.catalogue.chapter("3.2"), task=2) == []
        assert [patch.added() for patch in steps.patches(third)] == [6, 2]

    def test_neither_the_learners_files_nor_head_matter(self, clone: Clone, steps: Steps) -> None:
        write(clone.learner / "cli.py", b"broken(")
        commit_all(clone)
        assert_states(steps)

    def test_they_need_no_repository(self, tmp_path: Path) -> None:
        make_files(tmp_path)
        assert_states(steps_of(Clone(tmp_path)))
        assert not (tmp_path / ".git").exists()

    def test_they_do_not_need_git_to_know_where_the_clone_is(self, tmp_path: Path) -> None:
        """In a folder of another repository, `git apply` would skip all paths and be content."""
        git(tmp_path, "init", "--quiet")
        make_files(tmp_path / "zip" / "kata")
        assert_states(steps_of(Clone(tmp_path / "zip" / "kata")))

    def test_pythons_caches_do_not_count(self, clone: Clone, steps: Steps) -> None:
        third = steps.catalogue.chapter("3.3")
        before = steps.state(third)
        write(clone.solutions / "mydocker" / "__pycache__" / "cli.cpython-311.pyc", b"x")
        write(before / "mydocker" / "__pycache__" / "other.pyc", b"x")
        assert steps.state(third) == before
        assert_states(steps)
        assert steps.verify() == []

    def test_they_follow_the_reference(self, clone: Clone, steps: Steps) -> None:
        first = steps.catalogue.chapter("3.1")
        before = steps.state(first)
        linux = clone.solutions / "mydocker" / "linux.py"
        write(linux, linux.read_bytes() + b"# new\n")
        after = steps.state(first)
        assert after != before
        assert (after / "mydocker" / "linux.py").read_bytes().endswith(b"# new\n")

    def test_running_one_writes_nothing_into_it(self, steps: Steps) -> None:
        state = steps.state(steps.catalogue.chapter("3.1"))
        before = sorted(state.rglob("*"))
        environment = {**os.environ, "PYTHONPATH": str(state), "PYTHONSAFEPATH": "1"}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        subprocess.run([sys.executable, "-m", "mydocker"], env=environment, check=True)
        assert sorted(state.rglob("*")) == before
        assert any(path.suffix == ".pyc" for path in before)

    def test_many_at_once_do_not_disturb_each_other(self, clone: Clone) -> None:
        program = (
            "import sys; from pathlib import Path; from dojo.clone import Clone\n"
            "from dojo.course.catalogue import Catalogue; from dojo.course.steps import Steps\n"
            "steps = Steps(Catalogue(Clone(Path(sys.argv[1]))))\n"
            "print(*(steps.state(chapter) for chapter in steps.catalogue.chapters))\n"
        )

        def run(_: int) -> str:
            argv = [sys.executable, "-c", program, str(clone.root)]
            return subprocess.run(argv, cwd=KATA, check=True, capture_output=True, text=True).stdout

        with ThreadPoolExecutor(8) as pool:
            answers = set(pool.map(run, range(8)))
        assert len(answers) == 1
        assert_states(steps_of(clone))
        assert not list((clone.state / "states").glob(".*"))

    def test_a_patch_that_does_not_apply_backwards_is_named(
        self, clone: Clone, steps: Steps
    ) -> None:
        assert_states(steps)
        cli = clone.solutions / "mydocker" / "cli.py"
        write(cli, cli.read_bytes().replace(b"print(3.3", b"print(3.4"))
        assert steps.state(steps.catalogue.chapter("3.3"))
        with pytest.raises(
            KataError, match=r"step 3\.3\.1: .*3\.3/1-a-pipe\.patch.*backwards.*cli\.py"
        ):
            steps.state(steps.catalogue.chapter("3.1"))

    def test_a_missing_patch_is_named(self, clone: Clone, steps: Steps) -> None:
        second = steps.catalogue.chapter("3.2")
        assert steps.state(second)
        (clone.solutions / "steps" / PATCHES["3.2"]).unlink()
        with pytest.raises(KataError, match=r"3\.2 has no step: there is no patch in .*/3\.2"):
            steps.state(second)

    def test_without_git_there_is_one_clear_line(
        self, steps: Steps, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PATH", "/nonexistent")
        assert steps.state(steps.catalogue.chapter("3.3"))
        with pytest.raises(KataError, match=r"git is not installed.*apt install git"):
            steps.state(steps.catalogue.chapter("3.1"))


class TestVerify:
    def test_all_is_well(self, steps: Steps) -> None:
        assert steps.verify() == []

    def test_all_problems_are_told_at_once(self, clone: Clone, steps: Steps) -> None:
        assert steps.verify() == []
        folder = clone.solutions / "steps"
        first = (folder / PATCHES["3.1"]).read_bytes()
        write(folder / PATCHES["3.1"], first.replace(b"3.1.1: run", b"Run"))
        (folder / PATCHES["3.2"]).unlink()
        write(folder / "3.9" / "1-none.patch", first)
        write(folder / "3.3.patch", first)
        write(folder / "3.3" / "2-another.patch", first)
        write(folder / "3.3" / "3-another.patch", first)
        write(folder / PATCHES["3.3"], b"no line of dashes\n")
        problems = "\n".join(steps.verify())
        assert "chapter 3.2 has no step in solutions/steps/3.2/" in problems
        for name in ("3.9/1-none", "3.3", "3.3/3-another"):
            assert f"solutions/steps/{name}.patch belongs to no task" in problems
        assert f'{PATCHES["3.1"]}: the subject is "Run a process' in problems
        assert f"{PATCHES['3.3']}: no line `---`" in problems
        assert '3.3/2-another.patch: the subject is "3.1.1: run a process' in problems

    def test_two_patches_of_a_task(self, clone: Clone, steps: Steps) -> None:
        folder = clone.solutions / "steps" / "3.3"
        shutil.copy(folder / "1-a-pipe.patch", folder / "1-another.patch")
        problems = "\n".join(steps.verify())
        assert "3.3/1-a-pipe.patch and solutions/steps/3.3/1-another.patch are both" in problems

    def test_a_patch_is_named_by_its_subject(self, clone: Clone, steps: Steps) -> None:
        path = clone.solutions / "steps" / PATCHES["3.3"]
        path.rename(path.with_name("1-a-socket.patch"))
        assert steps.verify() == [
            "solutions/steps/3.3/1-a-socket.patch: by its subject it is called 3.3/1-a-pipe.patch"
        ]

    @pytest.mark.parametrize(
        ("old", "new", "problem"),
        [
            (
                b"--- a/mydocker/cli.py",
                b"index 12..34 100644\n--- a/mydocker/cli.py",
                "index lines",
            ),
            (
                b"diff --git a/mydocker/empty.py",
                b"diff --git a/mydocker/a b/mydocker/b\nsimilarity index 100%\n"
                b"rename from mydocker/a\nrename to mydocker/b\ndiff --git a/mydocker/empty.py",
                "renames are not stored in patches: rename from mydocker/a",
            ),
            (b"mydocker/empty.py", b"README.md", "touches README.md, which is not in mydocker/"),
            (b"\n\nThe first", b"\nThe first", "no blank line after the subject"),
            (b"@@ -1,2 +1,6 @@", b"@@ -1,2 +1,60 @@", "not a patch: corrupt patch"),
        ],
    )
    def test_what_a_patch_must_not_be(
        self, clone: Clone, steps: Steps, old: bytes, new: bytes, problem: str
    ) -> None:
        path = clone.solutions / "steps" / PATCHES["3.1"]
        assert old in path.read_bytes()
        write(path, path.read_bytes().replace(old, new))
        told = [
            line
            for line in steps.verify()
            if line.startswith(f"solutions/steps/{PATCHES['3.1']}: ")
        ]
        assert any(problem in line for line in told)

    def test_the_start_is_mydocker_on_main(self, clone: Clone, steps: Steps) -> None:
        (clone.learner / "cli.py").chmod(0o755)
        write(clone.learner / "linux.py", b"x")
        write(clone.learner / "more.py", b"x")
        (clone.learner / "old.py").unlink()
        says = "mydocker/ is not the starting point: mydocker/"
        wrong = [
            f"{says}cli.py has mode 100755, not 100644",
            f"{says}linux.py has other content",
            f"{says}more.py does not belong there",
            f"{says}old.py is missing",
        ]
        assert steps.verify() == wrong
        git(clone.root, "checkout", "--quiet", "-b", "learn")
        assert steps.verify() == []
        git(clone.root, "checkout", "--quiet", "--detach", "HEAD")
        assert steps.verify() == []
        git(clone.root, "update-ref", "refs/remotes/pull/7/merge", "HEAD")
        assert steps.verify() == wrong

    def test_a_patch_that_goes_elsewhere_forwards_is_noticed(
        self, clone: Clone, steps: Steps
    ) -> None:
        """Backwards a hunk with a wrong line number finds its only place; forwards another."""
        before, after = b"a\nb\n" * 3, b"a\nb\n" * 3 + b"end\n"
        write(clone.solutions / "mydocker" / "twice.py", before + after)
        hunk = b"@@ -3,3 +3,4 @@\n a\n b\n+end\n a\n b\n"
        diff = b"diff --git a/mydocker/twice.py b/mydocker/twice.py\n"
        diff += b"--- a/mydocker/twice.py\n+++ b/mydocker/twice.py\n" + hunk
        write(clone.solutions / "mydocker" / "twice.py", b"a\nb\n" * 4 + b"end\n" + b"a\nb\n" * 2)
        path = clone.solutions / "steps" / PATCHES["3.3"]
        write(path, path.read_bytes() + diff)
        assert any(
            "3.3/1-a-pipe.patch forwards is not what it is backwards" in p for p in steps.verify()
        )


class TestOpen:
    def test_a_chapter_is_a_commit(self, clone: Clone, steps: Steps) -> None:
        head = git(clone.root, "rev-parse", "HEAD")
        place = Editor(steps).open()
        assert place == clone.state / "steps"
        messages = git(place, "log", "-3", "--reverse", "--format=%B%x00").split(b"\0")
        assert [message.decode().strip() for message in messages[:-1]] == list(MESSAGES.values())
        assert git(place, "rev-parse", "HEAD~4") == head
        assert (
            git(place, "log", "-4", "--format=%an %ae %cn %ce").splitlines()
            == [b"kata kata@kata.invalid kata kata@kata.invalid"] * 4
        )
        assert contents_of(place / "mydocker") == expected(STATES["3.3"])
        assert git(clone.root, "status", "--porcelain") == b""
        assert git(clone.root, "rev-parse", "HEAD") == head

    def test_each_commit_holds_its_state(self, steps: Steps) -> None:
        place = Editor(steps).open()
        for back, contents in zip((3, 2, 1, 0), (START, *STATES.values()), strict=True):
            git(place, "checkout", "--quiet", "--detach", f"steps~{back}")
            assert contents_of(place / "mydocker") == expected(contents)

    def test_again_they_are_the_same_commits_whoever_opens_them(
        self, clone: Clone, steps: Steps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        git(clone.root, "rev-parse", "HEAD")
        other = tmp_path / "other"
        git(tmp_path, "clone", "--quiet", str(clone.root), str(other))
        be_hostile(other, monkeypatch)
        Editor(steps).open()
        Editor(steps_of(Clone(other))).open(tmp_path / "elsewhere")
        assert git(clone.root, "rev-parse", "steps") == git(other, "rev-parse", "steps")

    def test_twice_it_refuses_and_says_how_to_go_on(self, clone: Clone, steps: Steps) -> None:
        place = Editor(steps).open()
        write(place / "mydocker" / "cli.py", b"edited\n")
        with pytest.raises(KataError, match=r"open already in .*\.kata/steps: .*worktree remove"):
            Editor(steps).open()
        assert (place / "mydocker" / "cli.py").read_bytes() == b"edited\n"

    def test_an_edited_branch_is_not_lost(self, clone: Clone, steps: Steps) -> None:
        place = Editor(steps).open()
        git(place, "commit", "--quiet", "--amend", "--message=3.3.1: another message")
        edited = git(clone.root, "rev-parse", "steps")
        git(clone.root, "worktree", "remove", "--force", str(place))
        with pytest.raises(KataError, match="branch steps has other steps than the patches"):
            Editor(steps).open()
        assert git(clone.root, "rev-parse", "steps") == edited
        git(clone.root, "branch", "-D", "steps")
        assert Editor(steps).open()

    def test_a_branch_without_edits_is_laid_out_anew(self, clone: Clone, steps: Steps) -> None:
        place = Editor(steps).open()
        subprocess.run(["rm", "-rf", place], check=True)
        assert Editor(steps).open() == place
        git(clone.root, "worktree", "remove", "--force", str(place))
        assert Editor(steps).open() == place

    def test_a_folder_with_other_things_is_refused(self, clone: Clone, steps: Steps) -> None:
        write(clone.state / "steps" / "mine", b"mine")
        with pytest.raises(KataError, match=r"\.kata/steps: there is something else in it"):
            Editor(steps).open()
        assert (clone.state / "steps" / "mine").read_bytes() == b"mine"

    def test_a_zip_is_refused(self, tmp_path: Path) -> None:
        make_files(tmp_path)
        with pytest.raises(KataError, match=r"not a git repository .*git clone"):
            Editor(steps_of(Clone(tmp_path))).open()

    def test_a_repository_without_a_commit_is_refused(self, tmp_path: Path) -> None:
        make_files(tmp_path)
        git(tmp_path, "init", "--quiet")
        with pytest.raises(KataError, match="there is no commit yet"):
            Editor(steps_of(Clone(tmp_path))).open()


def be_hostile(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Configure git, here and in the environment, in ways that change what it writes."""
    for name, value in {
        "apply.whitespace": "fix",
        "commit.gpgSign": "true",
        "core.autocrlf": "true",
        "core.hooksPath": str(root / "hooks"),
        "core.quotePath": "true",
        "core.abbrev": "4",
        "diff.algorithm": "patience",
        "diff.context": "0",
        "diff.external": "false",
        "diff.interHunkContext": "9",
        "diff.mnemonicPrefix": "true",
        "diff.noprefix": "true",
        "diff.renames": "copies",
        "diff.suppressBlankEmpty": "true",
        "i18n.commitEncoding": "latin1",
        "i18n.logOutputEncoding": "latin1",
        "log.showSignature": "true",
        "log.date": "relative",
        "merge.renames": "false",
        "status.showUntrackedFiles": "no",
        "tag.gpgSign": "true",
        "user.name": "somebody",
        "color.ui": "always",
        "core.commentChar": "3",
    }.items():
        git(root, "config", name, value)
    for hook in ("pre-commit", "commit-msg", "post-checkout", "reference-transaction"):
        write(root / "hooks" / hook, b"#!/bin/sh\necho hook >&2\nexit 1\n")
        (root / "hooks" / hook).chmod(0o755)
    monkeypatch.setenv("GIT_DIR", "/nonexistent")
    monkeypatch.setenv("GIT_INDEX_FILE", "/nonexistent")
    monkeypatch.setenv("GIT_DIFF_OPTS", "-u9")
    monkeypatch.setenv("GIT_AUTHOR_NAME", "somebody")
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", "false")
    monkeypatch.setenv("GIT_COMMITTER_DATE", "2001-01-01T00:00:00Z")


def snapshot(clone: Clone) -> dict[str, object]:
    """All that `save` and `rebase` write to."""
    return {
        "solutions": contents_of(clone.solutions),
        "mydocker": contents_of(clone.learner),
        "status": git(clone.root, "status", "--porcelain"),
    }


def amend(place: Path, number: str, name: str, data: bytes) -> None:
    """Amend a chapter's commit as a contributor does."""
    write(place / name, data)
    git(place, "add", "--all")
    target = git(place, "log", "--format=%H", f"--grep=^{number}.1: ").decode().strip()
    git(place, "commit", "--quiet", f"--fixup={target}")
    git(place, "rebase", "--quiet", "-i", "--autosquash", f"{target}~")


def change_start(place: Path, chapters: int = 3) -> None:
    write(place / "mydocker" / "linux.py", START["linux.py"] + b"# start\n")
    git(place, "add", "--all")
    target = git(place, "rev-parse", f"HEAD~{chapters}").decode().strip()
    git(place, "commit", "--quiet", f"--fixup={target}")
    git(place, "rebase", "--quiet", "-i", "--autosquash", f"{target}~")


class TestSave:
    def test_straight_after_opening_nothing_changes(
        self, clone: Clone, steps: Steps, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = snapshot(clone)
        be_hostile(clone.root, monkeypatch)
        before["status"] = git(clone.root, "status", "--porcelain")
        Editor(steps).open()
        assert Editor(steps).save() == []
        assert snapshot(clone) == before

    def test_an_early_step_is_amended_and_all_later_ones_follow(
        self, clone: Clone, steps: Steps
    ) -> None:
        second, third = ((clone.solutions / "steps" / PATCHES[n]) for n in ("3.2", "3.3"))
        write(clone.solutions / "steps" / "README", b"not a patch")
        kept = second.read_bytes(), third.read_bytes()
        place = Editor(steps).open()
        amend(place, "3.1", "mydocker/linux.py", START["linux.py"] + b"\nNEW = 1\n")
        assert Editor(steps).save() == [
            "solutions/mydocker/linux.py",
            f"solutions/steps/{PATCHES['3.1']}",
        ]
        assert steps.verify() == []
        assert kept == (second.read_bytes(), third.read_bytes())
        assert (clone.solutions / "steps" / "README").read_bytes() == b"not a patch"
        for chapter in steps.catalogue.chapters:
            linux = steps.state(chapter) / "mydocker" / "linux.py"
            assert linux.read_bytes().endswith(b"NEW = 1\n")
        assert contents_of(clone.learner) == expected(START)
        assert Editor(steps).save() == []

    def test_a_message_is_edited(self, clone: Clone, steps: Steps) -> None:
        place = Editor(steps).open()
        git(place, "commit", "--amend", "--quiet", "--message=3.3.1: größer\n\n# not a comment")
        new = "solutions/steps/3.3/1-gr-er.patch"
        assert Editor(steps).save() == [f"solutions/steps/{PATCHES['3.3']}", new]
        (third,) = steps.patches(steps.catalogue.chapter("3.3"))
        assert third.message == "3.3.1: größer\n\n# not a comment"
        assert steps.verify() == []

    def test_modes_links_and_bytes_survive(self, clone: Clone, steps: Steps) -> None:
        place = Editor(steps).open()
        write(
            place / "mydocker" / 'a name\twith "quotes" é.txt', b"\0\xff\r\n index \n--- a\n+++ b"
        )
        (place / "mydocker" / "link").symlink_to("cli.py")
        (place / "mydocker" / "linux.py").chmod(0o755)
        (place / "mydocker" / "script.sh").chmod(0o644)
        git(place, "add", "--all")
        git(place, "commit", "--quiet", "--amend", "--no-edit")
        wanted = contents_of(place / "mydocker")
        Editor(steps).save()
        assert contents_of(clone.solutions / "mydocker") == wanted
        assert steps.verify() == []
        assert contents_of(steps.start(steps.catalogue.chapter("3.3")) / "mydocker") == expected(
            STATES["3.2"]
        )

    def test_a_new_chapter_is_added(self, clone: Clone, steps: Steps) -> None:
        place = Editor(steps).open()
        write(place / "mydocker" / "detach.py", b"4.1\n")
        git(place, "add", "--all")
        git(place, "commit", "--quiet", "--message=4.1.1: detach")
        before = snapshot(clone)
        with pytest.raises(
            KataError, match=r"step 4\.1\.1's, but no chapters/\*/chapter\.toml has"
        ):
            Editor(steps).save()
        assert snapshot(clone) == before
        write_chapter(clone.root, "4.1")
        steps = steps_of(clone)
        assert steps.verify() == ["chapter 4.1 has no step in solutions/steps/4.1/"]
        assert Editor(steps).save() == [
            "solutions/mydocker/detach.py",
            "solutions/steps/4.1/1-detach.patch",
        ]
        assert steps.verify() == []

    def test_mydocker_follows_a_new_start(self, clone: Clone, steps: Steps) -> None:
        place = Editor(steps).open()
        change_start(place)
        assert Editor(steps).save() == ["solutions/mydocker/linux.py", "mydocker/linux.py"]
        assert (clone.learner / "linux.py").read_bytes() == START["linux.py"] + b"# start\n"
        assert steps.verify() == []

    def test_a_learners_mydocker_is_not_overwritten_by_a_new_start(
        self, clone: Clone, steps: Steps
    ) -> None:
        place = Editor(steps).open()
        change_start(place)
        write(clone.learner / "mine.py", b"mine")
        before = snapshot(clone)
        with pytest.raises(KataError, match="mydocker/ is to follow, but it is not the old"):
            Editor(steps).save()
        assert snapshot(clone) == before

    def test_from_a_worktree_elsewhere(self, clone: Clone, steps: Steps, tmp_path: Path) -> None:
        place = Editor(steps).open(tmp_path / "else where")
        amend(place, "3.2", "mydocker/new.py", b"new\n")
        assert Editor(steps).save() == [
            "solutions/mydocker/new.py",
            f"solutions/steps/{PATCHES['3.2']}",
        ]

    @pytest.mark.parametrize("moment", range(4))
    def test_a_failure_in_the_middle_leaves_all_as_it_was(
        self, clone: Clone, steps: Steps, monkeypatch: pytest.MonkeyPatch, moment: int
    ) -> None:
        place = Editor(steps).open()
        amend(place, "3.1", "mydocker/linux.py", b"new\n")
        before = snapshot(clone)
        rename, calls = os.rename, []

        def fail_at_the_moment(source: Path, target: Path) -> None:
            if Path(source).is_relative_to(clone.solutions) or Path(target).is_relative_to(
                clone.solutions
            ):
                calls.append(target)
                if len(calls) == moment + 1:
                    raise OSError(28, "No space left on device")
            rename(source, target)

        monkeypatch.setattr(os, "rename", fail_at_the_moment)
        with pytest.raises(OSError, match="No space left"):
            Editor(steps).save()
        assert len(calls) > moment
        monkeypatch.undo()
        assert snapshot(clone) == before
        assert steps.verify() == []
        assert Editor(steps).save() == [
            "solutions/mydocker/linux.py",
            f"solutions/steps/{PATCHES['3.1']}",
        ]


class TestSaveRefuses:
    """Each time: one line that names what is wrong, and nothing has changed."""

    def open(self, steps: Steps) -> Path:
        place = Editor(steps).open()
        assert Editor(steps).save() == []
        return place

    def commit(self, place: Path, option: str, name: str = "new.py") -> None:
        write(place / "mydocker" / name, b"new\n")
        git(place, "add", "--all")
        git(place, "commit", "--quiet", option)

    def refusal(self, clone: Clone, steps: Steps) -> str:
        before = snapshot(clone)
        with pytest.raises(KataError) as raised:
            Editor(steps).save()
        assert snapshot(clone) == before
        assert "\n" not in str(raised.value)
        return str(raised.value)

    def test_what_is_not_open(self, clone: Clone, steps: Steps) -> None:
        assert "not open: `kata steps open` first" in self.refusal(clone, steps)

    def test_a_rebase_with_a_conflict(self, clone: Clone, steps: Steps) -> None:
        place = self.open(steps)
        write(place / "mydocker" / "cli.py", b"all new\n")
        git(place, "add", "--all")
        target = git(place, "rev-parse", "HEAD~2").decode().strip()
        git(place, "commit", "--quiet", f"--fixup={target}")
        git(place, "rebase", "-i", "--autosquash", f"{target}~", check=False)
        message = self.refusal(clone, steps)
        assert "a rebase is not finished" in message
        assert "3.1.1: run a process" in message
        assert "conflicts in mydocker/cli.py" in message
        with pytest.raises(KataError, match="open already"):
            Editor(steps).open()
        git(place, "rebase", "--abort")
        git(place, "reset", "--quiet", "--hard", "HEAD~")
        assert Editor(steps).save() == []

    def test_a_merge(self, clone: Clone, steps: Steps) -> None:
        place = self.open(steps)
        git(place, "branch", "side", "HEAD~")
        git(place, "merge", "--quiet", "--no-ff", "--no-commit", "main", check=False)
        git(place, "update-ref", "MERGE_HEAD", "side")
        assert "a merge is not finished" in self.refusal(clone, steps)

    def test_uncommitted_changes(self, clone: Clone, steps: Steps) -> None:
        place = self.open(steps)
        write(place / "mydocker" / "new file.py", b"new\n")
        message = self.refusal(clone, steps)
        assert "mydocker/new file.py" in message
        assert "not committed" in message

    def test_a_step_that_touches_something_else(self, clone: Clone, steps: Steps) -> None:
        place = self.open(steps)
        amend(place, "3.2", "chapters/3_2/README.md", b"new\n")
        message = self.refusal(clone, steps)
        assert "3.2.1: give it" in message
        assert "touches chapters/3_2/README.md: a step touches mydocker/ alone" in message

    def test_a_fixup_left_over(self, clone: Clone, steps: Steps) -> None:
        place = self.open(steps)
        self.commit(place, "--fixup=HEAD")
        message = self.refusal(clone, steps)
        assert "fixup! 3.3.1: a pipe" in message
        assert "rebase -i --autosquash" in message

    def test_a_merge_commit(self, clone: Clone, steps: Steps) -> None:
        place = self.open(steps)
        git(place, "checkout", "--quiet", "--detach", "HEAD~")
        git(place, "commit", "--quiet", "--allow-empty", "--message=side")
        side = git(place, "rev-parse", "HEAD").decode().strip()
        git(place, "checkout", "--quiet", "steps")
        git(place, "merge", "--quiet", "--no-ff", "--message=3.4.1: merge", side)
        message = self.refusal(clone, steps)
        assert "3.4.1: merge" in message
        assert "is a merge" in message

    def test_a_missing_chapter(self, clone: Clone, steps: Steps) -> None:
        place = self.open(steps)
        git(place, "reset", "--quiet", "--hard", "HEAD~")
        assert "chapter 3.3 has no commit on branch steps" in self.refusal(clone, steps)

    def test_a_chapter_twice(self, clone: Clone, steps: Steps) -> None:
        place = self.open(steps)
        self.commit(place, "--message=3.3.1: again")
        assert "step 3.3.1 has 2 commits: squash them" in self.refusal(clone, steps)

    def test_a_task_that_is_not_there(self, clone: Clone, steps: Steps) -> None:
        place = self.open(steps)
        self.commit(place, "--message=3.3.3: again")
        assert "step 3.3.3's, but no chapters/*/chapter.toml" in self.refusal(clone, steps)

    def test_chapters_out_of_order(self, clone: Clone, steps: Steps) -> None:
        place = self.open(steps)
        git(place, "reset", "--quiet", "--hard", "HEAD~2")
        for number in ("3.3", "3.2"):
            self.commit(place, f"--message={number}.1: x", name=f"{number}.py")
        message = self.refusal(clone, steps)
        assert "the commit of step 3.2.1 comes after that of 3.3.1" in message

    def test_a_commit_that_is_no_chapters(self, clone: Clone, steps: Steps) -> None:
        place = self.open(steps)
        git(place, "commit", "--quiet", "--amend", "--message=a pipe")
        message = self.refusal(clone, steps)
        assert "'a pipe'" in message
        assert "no task's" in message

    def test_a_chapter_that_changes_nothing(self, clone: Clone, steps: Steps) -> None:
        place = self.open(steps)
        git(place, "reset", "--quiet", "--hard", "HEAD~")
        git(place, "commit", "--quiet", "--allow-empty", "--message=3.3.1: a pipe")
        assert "step 3.3.1 changes nothing" in self.refusal(clone, steps)

    def test_a_message_that_would_be_read_as_a_patch(self, clone: Clone, steps: Steps) -> None:
        place = self.open(steps)
        message = "3.3.1: a pipe\n\nlike\n---\ndiff --git a/x b/x"
        git(place, "commit", "--quiet", "--amend", f"--message={message}")
        assert "contains what looks like a patch" in self.refusal(clone, steps)

    def test_no_start(self, clone: Clone, steps: Steps) -> None:
        place = self.open(steps)
        git(place, "rebase", "--quiet", "--onto", "main", "HEAD~3")
        assert "has no commit 'start: " in self.refusal(clone, steps)

    def test_what_was_changed_here_meanwhile(self, clone: Clone, steps: Steps) -> None:
        place = self.open(steps)
        amend(place, "3.1", "mydocker/linux.py", b"there\n")
        write(clone.solutions / "mydocker" / "linux.py", b"here\n")
        message = self.refusal(clone, steps)
        assert "solutions/ was changed since the steps were opened" in message
        assert "kata steps rebase" in message


class TestRebase:
    """A contributor's branch is carried over to patches that main has changed meanwhile."""

    def contribute(self, clone: Clone, branch: str, **edits: bytes) -> None:
        """Make a branch from here on which files of a chapter are different: v1_3_2=b'...'."""
        git(clone.root, "checkout", "--quiet", "-b", branch, "main")
        self.edit(clone, **edits)

    def edit(self, clone: Clone, **edits: bytes) -> None:
        steps = steps_of(clone)
        place = Editor(steps).open()
        for key, data in edits.items():
            name, chapter = key.split("__")
            amend(place, chapter.replace("_", "."), f"mydocker/{name}.py", data)
        Editor(steps).save()
        self.drop(clone)
        commit_all(clone)

    def drop(self, clone: Clone) -> None:
        git(clone.root, "worktree", "remove", "--force", str(clone.state / "steps"))
        git(clone.root, "branch", "--quiet", "-D", "steps")

    def test_both_sides_changes_are_there_afterwards(self, clone: Clone) -> None:
        self.contribute(
            clone, "theirs", linux__3_1=b"# theirs\n" + START["linux.py"], new__3_2=b"n\n"
        )
        git(clone.root, "checkout", "--quiet", "main")
        self.edit(clone, linux__3_2=START["linux.py"] + b"# ours\n", ours__3_1=b"o\n")
        steps = steps_of(clone)
        changed = Editor(steps).rebase("theirs")
        assert changed == [
            "solutions/mydocker/linux.py",
            "solutions/mydocker/new.py",
            f"solutions/steps/{PATCHES['3.1']}",
            f"solutions/steps/{PATCHES['3.2']}",
        ]
        assert steps.verify() == []
        first, second, _ = (steps.state(c) / "mydocker" for c in steps.catalogue.chapters)
        assert (first / "linux.py").read_bytes() == b"# theirs\n" + START["linux.py"]
        assert (first / "ours.py").exists()
        assert not (first / "new.py").exists()
        assert (second / "linux.py").read_bytes() == (
            b"# theirs\n" + START["linux.py"] + b"# ours\n"
        )
        assert (second / "new.py").read_bytes() == b"n\n"

    def test_messages_chapters_and_a_start_are_carried_over(self, clone: Clone) -> None:
        git(clone.root, "checkout", "--quiet", "-b", "theirs")
        write_chapter(clone.root, "4.1")
        steps = steps_of(clone)
        place = Editor(steps).open()
        git(place, "commit", "--quiet", "--amend", "--message=3.3.1: said better")
        write(place / "mydocker" / "detach.py", b"4.1\n")
        git(place, "add", "--all")
        git(place, "commit", "--quiet", "--message=4.1.1: detach")
        change_start(place, chapters=4)
        Editor(steps).save()
        self.drop(clone)
        commit_all(clone)
        git(clone.root, "checkout", "--quiet", "main")
        write_chapter(clone.root, "3.4")
        steps = steps_of(clone)
        place = Editor(steps).open()
        write(place / "mydocker" / "ours.py", b"3.4\n")
        git(place, "add", "--all")
        git(place, "commit", "--quiet", "--message=3.4.1: ours")
        Editor(steps).save()
        self.drop(clone)
        commit_all(clone)
        write_chapter(clone.root, "4.1")
        steps = steps_of(clone)
        assert Editor(steps).rebase("theirs") == [
            "solutions/mydocker/detach.py",
            "solutions/mydocker/linux.py",
            f"solutions/steps/{PATCHES['3.3']}",
            "solutions/steps/3.3/1-said-better.patch",
            "solutions/steps/4.1/1-detach.patch",
            "mydocker/linux.py",
        ]
        assert steps.verify() == []
        assert [steps.patches(c)[0].message for c in steps.catalogue.chapters] == [
            MESSAGES["3.1"],
            MESSAGES["3.2"],
            "3.3.1: said better",
            "3.4.1: ours",
            "4.1.1: detach",
        ]

    def test_a_chapter_that_was_taken_away_stays_away(self, clone: Clone) -> None:
        self.contribute(clone, "theirs", new__3_1=b"new\n")
        self.contribute(clone, "other", new__3_3=b"new\n")
        git(clone.root, "checkout", "--quiet", "main")
        steps = steps_of(clone)
        git(Editor(steps).open(), "reset", "--quiet", "--hard", "HEAD~")
        shutil.rmtree(clone.chapters / "3_3")
        steps = steps_of(clone)
        assert f"solutions/steps/{PATCHES['3.3']}" in Editor(steps).save()
        self.drop(clone)
        commit_all(clone)
        with pytest.raises(KataError, match=r"step 3\.3\.1: one side took it away, the other cha"):
            Editor(steps).rebase("other")
        assert Editor(steps).rebase("theirs") == [
            "solutions/mydocker/new.py",
            f"solutions/steps/{PATCHES['3.1']}",
        ]
        assert steps.verify() == []
        assert [chapter.number for chapter in steps.catalogue.chapters] == ["3.1", "3.2"]

    def test_a_conflict_names_chapter_and_file_and_writes_nothing(self, clone: Clone) -> None:
        self.contribute(clone, "theirs", linux__3_2=b"theirs\n", new__3_1=b"new\n")
        git(clone.root, "checkout", "--quiet", "main")
        self.edit(clone, linux__3_2=b"ours\n")
        before = snapshot(clone)
        with pytest.raises(KataError) as raised:
            Editor(steps_of(clone)).rebase("theirs")
        assert snapshot(clone) == before
        message = str(raised.value)
        assert "conflict in step 3.2.1: both sides changed mydocker/linux.py;" in message
        assert "nothing was written" in message
        assert "kata steps open" in message
        assert "\n" not in message

    def test_two_new_messages_are_a_conflict(self, clone: Clone) -> None:
        for branch in ("theirs", "ours"):
            git(clone.root, "checkout", "--quiet", "-b", branch, "main")
            steps = steps_of(clone)
            place = Editor(steps).open()
            git(place, "commit", "--quiet", "--amend", f"--message=3.3.1: {branch}")
            Editor(steps).save()
            self.drop(clone)
            commit_all(clone)
        with pytest.raises(KataError, match=r"conflict in step 3\.3\.1: both .* the message"):
            Editor(steps_of(clone)).rebase("theirs")

    def test_uncommitted_work_is_not_overwritten(self, clone: Clone) -> None:
        self.contribute(clone, "theirs", linux__3_2=b"theirs\n")
        git(clone.root, "checkout", "--quiet", "main")
        write(clone.solutions / "mydocker" / "mine.py", b"mine")
        before = snapshot(clone)
        with pytest.raises(KataError, match=r"solutions/mydocker/mine\.py has changes"):
            Editor(steps_of(clone)).rebase("theirs")
        assert snapshot(clone) == before

    def test_what_is_no_branch_or_of_another_history(self, clone: Clone) -> None:
        with pytest.raises(KataError, match="no branch 'nosuch'"):
            Editor(steps_of(clone)).rebase("nosuch")
        git(clone.root, "checkout", "--quiet", "--orphan", "other")
        git(clone.root, "commit", "--quiet", "--message=other")
        git(clone.root, "checkout", "--quiet", "main")
        with pytest.raises(KataError, match="other and HEAD have no commit in common"):
            Editor(steps_of(clone)).rebase("other")

    def test_a_branch_with_a_patch_for_each_chapter(self, clone: Clone) -> None:
        git(clone.root, "checkout", "--quiet", "-b", "theirs")
        path = clone.solutions / "steps" / PATCHES["3.1"]
        path.rename(clone.solutions / "steps" / "3.1.patch")
        commit_all(clone)
        git(clone.root, "checkout", "--quiet", "main")
        with pytest.raises(KataError, match=r"3\.1\.patch: a patch for each chapter"):
            Editor(steps_of(clone)).rebase("theirs")

    def test_broken_steps_of_the_branch_are_called_the_branchs(self, clone: Clone) -> None:
        git(clone.root, "checkout", "--quiet", "-b", "theirs")
        write(clone.solutions / "mydocker" / "cli.py", b"broken\n")
        commit_all(clone)
        git(clone.root, "checkout", "--quiet", "main")
        with pytest.raises(KataError, match=r"the steps of theirs: step 3\.3\.1: .*cli\.py"):
            Editor(steps_of(clone)).rebase("theirs")


class TestReference:
    """`python -m solutions 3.1 run ...`, in a clone where a learner's mydocker lies in the way."""

    PROGRAM = (
        "import sys; from pathlib import Path; from dojo.clone import Clone\n"
        "from dojo.course.catalogue import Catalogue\n"
        "from dojo.learner.reference import run_reference\n"
        "run_reference(Catalogue(Clone(Path.cwd())), sys.argv[1], sys.argv[2:])\n"
    )

    def run(self, clone: Clone, *arguments: str, **environment: str) -> str:
        kept = {key: value for key, value in ENVIRONMENT.items() if key != "MYDOCKER_ROOT"}
        made = {**kept, "PYTHONPATH": str(KATA), **environment}
        argv = [sys.executable, "-c", self.PROGRAM, *arguments]
        result = subprocess.run(argv, cwd=clone.root, env=made, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
        return result.stdout

    def test_it_runs_the_reference_at_that_chapter(self, clone: Clone) -> None:
        assert self.run(clone, "3_1", "run", "--rm", "x") == "3.1 ['run', '--rm', 'x']\n"
        assert self.run(clone, "3.2", "--", "run", "--") == "3.2 ['run', '--']\n"

    def test_it_has_a_root_of_its_own(self, clone: Clone) -> None:
        assert self.run(clone, "3.3").endswith("\n/var/lib/mydocker-solution\n")
        assert self.run(clone, "3.3", MYDOCKER_ROOT="/x").endswith("\n/x\n")

    def test_an_unknown_chapter_is_one_line_and_status_2(self) -> None:
        argv = [sys.executable, "-m", "solutions"]
        for arguments, says in (
            (["9.9", "run"], "solutions: no chapter '9.9': there are 3.1"),
            ([], "usage: python -m solutions CHAPTER"),
        ):
            result = subprocess.run([*argv, *arguments], cwd=KATA, capture_output=True, text=True)
            assert result.returncode == 2
            assert result.stderr.startswith(says)
            assert result.stderr.count("\n") == 1

    def test_it_starts_without_what_it_does_not_need(self) -> None:
        program = "import sys, solutions.__main__; print(*sys.modules)"
        argv = [sys.executable, "-c", program]
        result = subprocess.run(argv, cwd=KATA, capture_output=True, text=True, check=True)
        assert not {"click", "rich", "pytest", "compileall"} & set(result.stdout.split())


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root")
class TestSudo:
    """Root works in a clone that belongs to somebody else."""

    OWNER = 1000

    @pytest.fixture
    def clone(self) -> Iterator[Clone]:
        with tempfile.TemporaryDirectory() as folder:
            Path(folder).chmod(0o755)
            clone = make_clone(Path(folder) / "clone")
            subprocess.run(["chown", "-R", f"{self.OWNER}:{self.OWNER}", clone.root], check=True)
            yield clone

    def test_all_files_stay_the_owners(self, clone: Clone) -> None:
        steps = steps_of(clone)
        assert steps.verify() == []
        place = Editor(steps).open()
        self.as_owner(place, "commit", "--quiet", "--amend", "--message=3.3.1: mine")
        new = "solutions/steps/3.3/1-mine.patch"
        assert Editor(steps).save() == [f"solutions/steps/{PATCHES['3.3']}", new]
        self.as_owner(clone.root, "add", "--all")
        self.as_owner(clone.root, "commit", "--quiet", "--message=x")
        self.as_owner(clone.root, "branch", "theirs")
        assert Editor(steps).rebase("theirs") == []
        foreign = [path for path in clone.root.rglob("*") if path.lstat().st_uid != self.OWNER]
        assert foreign == []

    def as_owner(self, folder: Path, *arguments: str) -> None:
        argv = ["git", *arguments]
        owner = {"user": self.OWNER, "group": self.OWNER, "extra_groups": ()}
        subprocess.run(argv, cwd=folder, env=ENVIRONMENT, check=True, **owner)  # type: ignore[call-overload]


def test_a_failure_of_git_is_one_line_with_its_reason(clone: Clone) -> None:
    assert Git(clone).run("rev-parse", "HEAD")
    with pytest.raises(
        KataError, match=r"^git rev-parse --verify nosuch: Needed a single revision$"
    ):
        Git(clone).run("rev-parse", "--verify", "nosuch")
