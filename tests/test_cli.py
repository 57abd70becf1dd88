"""The command line `kata`: what is typed, what is shown, how it ends."""

import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pexpect
import pytest
from click.testing import CliRunner, Result

from dojo import cli, clone, contributing
from dojo.clone import Clone
from dojo.course import hints, progress
from dojo.course.catalogue import Catalogue
from dojo.errors import KataError
from dojo.teeth import rebase
from dojo.testkit import machine
from dojo.testkit.machine import Ability
from tests.clones import PATCHES, STATES, add_a_second_task, contents_of, expected, git, make_clone
from tests.learners import HINTS, LESSON, Learner, kata, make_learner

Types = Callable[..., Result]
SECONDS = 30


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Callable[[Clone], Types]:
    """Type commands in a clone."""

    def in_clone(there: Clone) -> Types:
        for module in (cli, contributing):
            monkeypatch.setattr(module, "here", lambda: there)
        return lambda *words: CliRunner().invoke(cli.kata, words, prog_name="kata")

    return in_clone


@pytest.fixture
def learner(tmp_path: Path) -> Learner:
    return make_learner(tmp_path / "clone")


@pytest.fixture
def types(learner: Learner, typed: Callable[[Clone], Types]) -> Types:
    """Type commands in a learner's clone."""
    return typed(learner.clone)


def remember(learner: Learner, number: str, *outcomes: str) -> None:
    chapter = Catalogue(learner.clone).chapter(number)
    results = {
        f"test_{place}": progress.Result(place + 1, outcome)
        for place, outcome in enumerate(outcomes)
    }
    progress.update(learner.clone, lambda known: known.with_results(chapter, results))


def refused(result: Result, *named: str) -> str:
    """The one line that a command was refused with."""
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("kata: ")
    for word in named:
        assert word in result.stderr
    return result.stderr


def on_a_terminal(*words: str, columns: int = 80, **environment: str) -> str:
    """What a command of the kata's own clone shows on a terminal."""
    first, *rest = kata(*words)
    screen = pexpect.spawn(
        first,
        rest,
        cwd=str(clone.here().root),
        env={"PATH": "/usr/bin:/bin", "TERM": "xterm-256color", **environment},
        dimensions=(24, columns),
        encoding="utf-8",
        timeout=SECONDS,
    )
    screen.expect(pexpect.EOF)
    return str(screen.before)


def plain(text: str) -> str:
    """The text without its colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


# Usage -------------------------------------------------------------------------------------------


def commands(group: Sequence[str] = ()) -> list[str]:
    found = cli.kata.commands if not group else cli.steps.commands
    return list(found)


@pytest.mark.parametrize("command", commands())
def test_each_command_has_help(types: Types, command: str) -> None:
    result = types(command, "--help")
    assert result.exit_code == 0
    assert f"Usage: kata {command}" in result.stdout
    assert f"\n  {command} " in types("--help").stdout


@pytest.mark.parametrize("command", commands(["steps"]))
def test_each_command_of_steps_has_help(types: Types, command: str) -> None:
    assert f"Usage: kata steps {command}" in types("steps", command, "--help").stdout


def test_help_is_short_and_complete(types: Types) -> None:
    lines = types("--help").stdout.splitlines()
    assert len(lines) <= 30
    assert [line for line in lines[1:] if line.endswith("...")] == []


@pytest.mark.parametrize(
    "words",
    [["nonsense"], ["--nonsense"], ["steps", "nonsense"], ["hint", "--task", "nonsense", "3.1"]],
)
def test_wrong_usage_is_clicks_own_message(types: Types, words: list[str]) -> None:
    result = types(*words)
    assert result.exit_code == 2
    assert "Usage: kata" in result.stderr
    assert "nonsense" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("command", ["check", "watch", "read", "hint", "diff", "goto", "solution"])
def test_an_unknown_chapter_is_told_in_one_line(types: Types, command: str) -> None:
    refused(types(command, "3.9"), "no chapter '3.9'", "3.1, 3.2")


def test_the_commands_start_quickly_for_they_import_little(learner: Learner) -> None:
    code = "import sys; import dojo.cli; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=learner.clone.root,
        env=learner.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(done.stdout.split())
    assert "click" in loaded
    heavy = {"rich", "pytest", "watchfiles", "hypothesis", "dojo.course.steps", "tarfile"}
    assert not loaded & heavy


@pytest.mark.parametrize("module", ["check", "watch", "reading", "overview"])
def test_what_runs_elsewhere_imports_without_the_modules_of_unix(module: str) -> None:
    block = "import sys; sys.modules.update(dict.fromkeys(['fcntl', 'termios', 'pty', 'tty']))"
    subprocess.run(
        [sys.executable, "-c", f"{block}; import dojo.learner.{module}"],
        cwd=clone.here().root,
        check=True,
    )


# Where tests cannot run --------------------------------------------------------------------------


def machine_with(monkeypatch: pytest.MonkeyPatch, **lacking: str) -> None:
    """Pretend to be on a machine that lacks these abilities, for these reasons."""
    there = [Ability(name, name, True, "", "") for name in machine.NAMES]
    found = tuple(
        replace(ability, present=False, detail=lacking[ability.name], remedy="do this")
        if ability.name in lacking
        else ability
        for ability in there
    )
    monkeypatch.setattr(machine, "abilities", lambda: found)


@pytest.mark.parametrize("command", ["check", "watch"])
def test_who_is_not_root_is_told_what_to_type(
    types: Types, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    from dojo.labs import choice

    machine_with(monkeypatch)
    assert choice.refusal_here("sudo") is None
    machine_with(monkeypatch, root="you are user 1000", namespaces="only root can")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    refused(types(command, "3_1"), f"type `sudo ./kata {command} 3.1`", "or type `vagrant up`")
    here = refused(types(command, "3_1", "--lab", "here"), f"type `sudo ./kata {command} 3.1`")
    assert "vagrant" not in here


@pytest.mark.parametrize("command", ["check", "watch"])
def test_where_it_is_not_linux_it_is_told(
    types: Types, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    machine_with(monkeypatch, linux="this is Darwin", root="this is Darwin", namespaces="no")
    line = refused(types(command, "3.1"), "Linux")
    assert "sudo" not in line


def test_where_namespaces_are_forbidden_it_is_told_why(
    types: Types, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine_with(monkeypatch, namespaces="unshare: Operation not permitted")
    refused(types("check", "3.1"), "unshare: Operation not permitted", "do this")


# Where a learner is ------------------------------------------------------------------------------


def test_alone_it_says_what_to_do_next(learner: Learner, types: Types) -> None:
    first = types()
    assert first.exit_code == 0
    assert "0 of 2 chapters done" in first.stdout
    assert "3.1 words of 3.1" in first.stdout
    assert "./kata read 3.1" in first.stdout
    assert len(first.stdout.splitlines()) <= 10
    remember(learner, "3.1", "passed", "failed")
    red = types().stdout
    assert "1 of 2 tests are green." in red
    assert "./kata hint 3.1" in red
    remember(learner, "3.1", "passed", "passed")
    assert "./kata check 3.2" in types().stdout
    remember(learner, "3.2", "passed")
    assert "2 of 2 chapters done" in types().stdout


def test_status_has_a_line_for_each_chapter(learner: Learner, types: Types) -> None:
    before = types("status").stdout.splitlines()
    assert [line.split()[1] for line in before[:2]] == ["3.1", "3.2"]
    assert all("not begun" in line for line in before[:2])
    assert before[-1] == "0 of 2 chapters done."
    remember(learner, "3.1", "passed", "waiting")
    assert "begun" in types("status").stdout.splitlines()[0].replace("not begun", "")
    remember(learner, "3.1", "passed", "passed")
    remember(learner, "3.2", "passed", "failed", "failed")
    first, second, *_, last = types("status").stdout.splitlines()
    for words, line in ((("✔", "done", "2 of 2"), first), (("✘", "red", "1 of 3"), second)):
        assert all(word in line for word in words)
        assert line.rstrip().endswith("It counts.")
    assert last == "1 of 2 chapters done."


# What there is to read ---------------------------------------------------------------------------


def test_a_lesson_is_rendered_on_a_terminal_and_is_itself_in_a_pipe(learner: Learner) -> None:
    assert learner.types("read", "3.1").stdout == LESSON
    first, *rest = kata("read", "3.1")
    screen = pexpect.spawn(
        first,
        rest,
        cwd=str(learner.clone.root),
        env={**learner.environment, "PAGER": "head -n 100"},
        encoding="utf-8",
        timeout=SECONDS,
    )
    screen.expect(pexpect.EOF)
    assert "*counts*" not in screen.before
    assert "counts" in screen.before
    assert "A picture, as text" in screen.before
    assert "one --> two" in screen.before


def test_a_lesson_that_is_not_there_is_told(learner: Learner, types: Types) -> None:
    assert types("read", "3.1").exit_code == 0
    (learner.clone.chapters / "3_1/README.md").unlink()
    refused(types("read", "3.1"), "chapter 3.1 has no lesson yet")


def test_hints_come_one_after_the_other_and_then_the_reference(types: Types) -> None:
    first = types("hint", "3.1").stdout
    assert first.startswith("3.1 task 1, Small words: hint 1 of 2\n")
    assert "Look at `words.py`." in first
    assert "./kata hint 3.1" in first
    second = types("hint", "3.1").stdout
    assert "hint 2 of 2" in second
    assert "### Hint 3 is no heading in here" in second
    assert "./kata diff 3.1" in second
    third = types("hint", "3.1").stdout
    assert third.startswith("All 2 hints for task 1, Small words, were shown.\n")
    assert "./kata hint 3.1 --task 1 --all" in third
    assert "./kata diff 3.1" in third
    assert "hint 1 of 2" in types("hint", "3.2").stdout


def test_a_hint_is_for_the_first_red_task_or_the_one_that_is_named(
    learner: Learner, types: Types
) -> None:
    remember(learner, "3.1", "passed", "failed")
    assert "task 2, Larger words: hint 1 of 1" in types("hint", "3.1").stdout
    assert "task 1, Small words: hint 1 of 2" in types("hint", "3.1", "--task", "1").stdout
    assert "task 1, Small words: hint 2 of 2" in types("hint", "3.1", "--task", "1").stdout


def test_the_next_hint_is_for_the_task_that_was_named(learner: Learner, types: Types) -> None:
    remember(learner, "3.1", "passed", "failed")
    assert "./kata hint 3.1 --task 1 " in types("hint", "3.1", "--task", "1").stdout


@pytest.mark.parametrize("outcomes", [("passed", "passed"), ("passed", "skipped")])
def test_where_all_is_green_no_hint_is_offered(
    learner: Learner, types: Types, outcomes: tuple[str, ...]
) -> None:
    remember(learner, "3.1", *outcomes)
    for options in ([], ["--all"]):
        shown = types("hint", "3.1", *options).stdout
        number = outcomes.count("passed")
        assert shown.startswith(f"No hint is needed: {number} of 2 tests of 3.1 are green")
        assert "./kata diff 3.1" in shown
        assert "./kata read 3.2" in shown
        assert "hint 1 of" not in shown
    assert "hint 1 of 2" in types("hint", "3.1", "--task", "1").stdout, "none was used up"


@pytest.mark.parametrize(
    ("outcomes", "task"), [(("passed", "waiting"), 2), (("skipped", "skipped"), 1)]
)
def test_where_none_is_red_a_hint_is_for_what_was_not_run(
    learner: Learner, types: Types, outcomes: tuple[str, ...], task: int
) -> None:
    remember(learner, "3.1", *outcomes)
    assert f"3.1 task {task}, " in types("hint", "3.1").stdout


def test_all_hints_of_a_task_can_be_shown(types: Types) -> None:
    for _ in range(2):  # showing all counts for nothing
        shown = types("hint", "3.1", "--all").stdout
        assert shown.index("hint 1 of 2") < shown.index("hint 2 of 2")
    assert "hint 1 of 2" in types("hint", "3.1").stdout


def test_a_task_that_is_not_there_is_told(types: Types) -> None:
    assert types("hint", "3.1", "--task", "2").exit_code == 0
    refused(types("hint", "3.1", "--task", "3"), "no task 3", "there are 2")


@pytest.mark.parametrize(
    ("text", "named"),
    [(None, "no hints yet"), ("# Hints\n", "no hint in it"), ("## Task 2\n### Hint 1\nx\n", "2")],
)
def test_hints_that_are_not_there_are_told(
    learner: Learner, types: Types, text: str | None, named: str
) -> None:
    assert types("hint", "3.1").exit_code == 0
    path = learner.clone.chapters / "3_1/hints.md"
    path.unlink()
    if text is not None:
        path.write_text(text)
    refused(types("hint", "3.1"), named)


def test_hints_are_read_by_task(learner: Learner) -> None:
    found = hints.read(Catalogue(learner.clone).chapter("3.1"))
    fence = HINTS[HINTS.index("```python") : HINTS.index("## Task 2")].strip()
    assert found == {1: ["Look at `words.py`.", fence], 2: ["Larger ones go there too."]}


@pytest.mark.parametrize(
    "chapter", Catalogue(clone.here()).chapters, ids=lambda chapter: chapter.number
)
def test_each_task_of_the_kata_has_a_hint(chapter) -> None:
    found = hints.read(chapter)
    assert sorted(found) == list(range(1, len(chapter.tasks) + 1))
    assert all(text for of_task in found.values() for text in of_task)


# The reference -----------------------------------------------------------------------------------


def test_a_diff_in_a_pipe_is_the_patch_to_the_byte(
    tmp_path: Path, typed: Callable[[Clone], Types]
) -> None:
    there = make_clone(tmp_path / "clone")
    types = typed(there)
    add_a_second_task(there)
    for number in ("3.1", "3.2"):
        patch = (there.solutions / "steps" / PATCHES[number]).read_bytes()
        assert types("diff", number).stdout_bytes == patch
    second = (there.solutions / "steps/3.3/2-a-second-task.patch").read_bytes()
    assert types("diff", "3.3", "--task", "2").stdout_bytes == second
    assert types("diff", "3.3").stdout_bytes.endswith(b"\n" + second)
    refused(types("diff", "3.2", "--task", "2"), "task 2 of 3.2 has no step of its own")
    refused(types("diff", "3.2", "--task", "9"), "no task 9", "there are 2")
    first = types("diff", "3.1").stdout_bytes
    (tmp_path / "3.1.patch").write_bytes(first)
    git(there.root, "apply", str(tmp_path / "3.1.patch"))
    assert contents_of(there.learner) == expected(STATES["3.1"])


def test_a_diff_is_coloured_on_a_terminal() -> None:
    shown = on_a_terminal("diff", "3.1", PAGER="head -n 1000")
    assert plain(shown).startswith("3.1.1: ")
    assert "\x1b[32m+import os" in shown


def test_goto_saves_and_says_where(tmp_path: Path, typed: Callable[[Clone], Types]) -> None:
    there = make_clone(tmp_path / "clone")
    types = typed(there)
    (there.learner / "mine.py").write_text("mine = 1\n")
    result = types("goto", "3_2")
    assert result.exit_code == 0, result.output
    saved = next(word.rstrip(".") for word in result.stdout.split() if word.startswith("saved/"))
    assert git(there.root, "show", f"{saved}:mydocker/mine.py") == b"mine = 1\n"
    assert "./kata read 3.2" in result.stdout
    assert contents_of(there.learner) == expected(STATES["3.1"])
    assert progress.load(there).at == "3.2"


def test_goto_goes_to_a_task(tmp_path: Path, typed: Callable[[Clone], Types]) -> None:
    there = make_clone(tmp_path / "clone")
    add_a_second_task(there)
    types = typed(there)
    shown = types("goto", "3.3", "--task", "2").stdout
    assert "now where task 2 of chapter 3.3 begins" in shown
    assert contents_of(there.learner) == expected(STATES["3.3"])
    subject = git(there.root, "log", "-1", "--format=%s")
    assert subject == b"3.3: where task 2 begins\n"
    refused(types("goto", "3.3", "--task", "3"), "no task 3", "there are 2")
    assert contents_of(there.learner) == expected(STATES["3.3"])


def test_steps_are_listed_with_their_lines(tmp_path: Path, typed: Callable[[Clone], Types]) -> None:
    there = make_clone(tmp_path / "clone")
    add_a_second_task(there)
    shown = typed(there)("steps", "list", "3.3").stdout.splitlines()
    assert [line.split() for line in shown[1:]] == [
        ["3.3", "8", "run"],
        ["3.3.1", "6", "a", "pipe"],
        ["3.3.2", "2", "a", "second", "task"],
    ]


def test_goto_that_is_refused_changes_nothing_that_is_remembered(
    tmp_path: Path, typed: Callable[[Clone], Types]
) -> None:
    there = make_clone(tmp_path / "clone")
    types = typed(there)
    assert types("goto", "3.1").exit_code == 0
    (there.root / ".git/index.lock").touch()
    refused(types("goto", "3.2"), "index.lock")
    assert progress.load(there).at == "3.1"


def test_tags_are_listed_with_what_became_of_them(
    tmp_path: Path, typed: Callable[[Clone], Types]
) -> None:
    there = make_clone(tmp_path / "clone")
    types = typed(there)
    first = types("tags").stdout.splitlines()
    assert "3.1: new" in first
    assert "3.3-start: new" in first
    assert "3.3-task-1: new" in first
    assert types("tags").stdout.splitlines() == [line.replace("new", "same") for line in first]
    assert b"3.2-start" in git(there.root, "tag")


def test_steps_verify_says_yes_or_what_is_wrong(
    tmp_path: Path, typed: Callable[[Clone], Types]
) -> None:
    there = make_clone(tmp_path / "clone")
    types = typed(there)
    good = types("steps", "verify")
    assert (good.exit_code, good.stderr) == (0, "")
    assert "3 chapters" in good.stdout
    (there.solutions / "steps" / PATCHES["3.2"]).unlink()
    bad = types("steps", "verify")
    assert (bad.exit_code, bad.stdout) == (1, "")
    assert "kata: chapter 3.2 has no step in solutions/steps/3.2/\n" in bad.stderr
    assert "Traceback" not in bad.stderr


def test_steps_are_opened_edited_and_saved(tmp_path: Path, typed: Callable[[Clone], Types]) -> None:
    there = make_clone(tmp_path / "clone")
    types = typed(there)
    refused(types("steps", "save"), "kata steps open")
    opened = types("steps", "open")
    assert opened.exit_code == 0, opened.output
    worktree = there.state / "steps"
    assert str(worktree) in opened.stdout
    assert types("steps", "save").stdout == "Nothing has changed.\n"
    (worktree / "mydocker/carriage.txt").write_bytes(b"new\r\n")
    git(worktree, "commit", "--quiet", "--all", "--amend", "--no-edit")
    saved = types("steps", "save")
    assert saved.stdout.splitlines() == [
        "changed: solutions/mydocker/carriage.txt",
        f"changed: solutions/steps/{PATCHES['3.3']}",
    ]


def test_steps_rebase_names_a_branch_that_is_not_there(
    tmp_path: Path, typed: Callable[[Clone], Types]
) -> None:
    types = typed(make_clone(tmp_path / "clone"))
    assert types("steps", "rebase", "main").stdout == "Nothing has changed.\n"
    refused(types("steps", "rebase", "elsewhere"), "no branch 'elsewhere'")


def test_a_conflict_of_a_wrong_solution_says_where_to_solve_it(
    tmp_path: Path, typed: Callable[[Clone], Types], monkeypatch: pytest.MonkeyPatch
) -> None:
    types = typed(make_clone(tmp_path / "clone"))
    assert types("wrong", "rebase").stdout == "Nothing has changed.\n"
    conflict = rebase.Conflict("3.2/two", Path("/there"), ("mydocker/cli.py", "mydocker/run.py"))
    found = rebase.Rebased(("3.2/one",), (conflict,))
    monkeypatch.setattr(rebase, "rebase", lambda catalogue, commit: found)
    told = types("wrong", "rebase", "HEAD~")
    assert told.exit_code == 1
    assert told.stdout.splitlines() == [
        "carried over: 3.2/one",
        "conflict: 3.2/two, in /there: mydocker/cli.py, mydocker/run.py",
        "Edit, `git add`, then:",
        "  kata wrong save",
    ]
    monkeypatch.setattr(rebase, "save", lambda catalogue: ["3.2/two"])
    assert types("wrong", "save").stdout == "saved: 3.2/two\n"


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[str]]]:
    """What a command becomes: a list of one program and its words."""
    became: list[tuple[str, list[str]]] = []

    def become(program: str, argv: list[str], *_: object) -> None:
        became.append((program, argv))
        raise SystemExit(0)

    monkeypatch.setattr("os.execv", become)
    monkeypatch.setattr("os.execve", become)
    monkeypatch.chdir(Path.cwd())
    return became


@pytest.mark.parametrize(
    "words",
    [
        ["run", "--rm", "busybox", "echo", "--", "-x", "a  b", "", "--help"],
        ["--help"],
        ["run", "busybox", "printf", "\udcff\n"],
    ],
)
@pytest.mark.parametrize("separator", [["--"], []])
def test_the_reference_gets_every_word_as_it_was_typed(
    tmp_path: Path,
    typed: Callable[[Clone], Types],
    executed: list[tuple[str, list[str]]],
    words: list[str],
    separator: list[str],
) -> None:
    types = typed(make_clone(tmp_path / "clone"))
    assert types("solution", "3_1", *separator, *words).exit_code == 0
    assert executed == [(sys.executable, [sys.executable, "-m", "mydocker", *words])]


# The project's own tests -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "given"),
    [
        ([], ["-n", "2"]),
        (["-k", "a or b", "-x"], ["-n", "2", "-k", "a or b", "-x"]),
        (["-n", "4"], ["-n", "4"]),
        (["-n0", "tests/test_cli.py"], ["-n0", "tests/test_cli.py"]),
        (["-p", "no:xdist", "--strict-lab"], ["-p", "no:xdist", "--strict-lab"]),
        (["--numprocesses=1"], ["--numprocesses=1"]),
        (["--strict-lab", "tests", "-q"], ["-n", "2", "--strict-lab", "tests", "-q"]),
    ],
)
def test_pytest_gets_the_arguments(
    types: Types, executed: list[tuple[str, list[str]]], words: list[str], given: list[str]
) -> None:
    assert types("test", *words).exit_code == 0
    ((program, argv),) = executed
    assert program == sys.executable
    assert argv[:3] == [sys.executable, "-m", "pytest"]
    assert argv[len(argv) - len(given) :] == given
    assert argv.count("-n") == given.count("-n")


def test_the_exit_status_is_pytests_and_so_is_the_last_line(learner: Learner) -> None:
    (learner.clone.root / "tests").mkdir()
    (learner.clone.root / "tests/test_it.py").write_text(
        "def test_good():\n    pass\n\n\ndef test_bad():\n    assert False\n"
    )
    for words, status, last in (
        (["-k", "good", "-n", "0"], 0, "1 passed"),
        ([], 1, "1 failed, 1 passed"),
        (["-k", "nothing", "-p", "no:xdist"], 5, ""),
    ):
        done = learner.types("test", "-p", "no:cacheprovider", *words)
        assert done.returncode == status, done.stdout
        assert last in done.stdout.splitlines()[-1]


# The machine -------------------------------------------------------------------------------------


def test_doctor_says_what_the_machine_can_run(
    types: Types, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine_with(monkeypatch)
    good = types("doctor")
    assert good.exit_code == 0
    machine_with(monkeypatch, namespaces="unshare: Operation not permitted")
    bad = types("doctor")
    assert bad.exit_code == 1
    assert "unshare: Operation not permitted" in bad.stdout


def test_doctor_is_a_table_on_a_terminal() -> None:
    lines = plain(on_a_terminal("doctor")).splitlines()
    assert [line for line in lines if re.match(r"(yes|no) +Linux ", line)]
    assert "[" not in lines[1]


def test_status_on_a_narrow_terminal_cuts_the_last_column_only() -> None:
    lines = plain(on_a_terminal("status", columns=60)).splitlines()
    first = next(line for line in lines if "3.1 run" in line)
    assert len(first.rstrip()) <= 60
    assert re.search(r"3\.1 run +(not begun|red|done|begun) ", first)
    assert first.rstrip().endswith("…")


def test_rootfs_says_where_it_is(
    learner: Learner, types: Types, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tar = Path(learner.environment["KATA_ROOTFS"])
    monkeypatch.setenv("KATA_ROOTFS", str(tar))
    assert types("rootfs").stdout == f"{tar}\n"
    monkeypatch.setenv("KATA_ROOTFS", f"{tmp_path}/none")
    refused(types("rootfs"), f"KATA_ROOTFS={tmp_path}/none")


# What is interrupted -----------------------------------------------------------------------------


def test_ctrl_c_anywhere_ends_with_130_and_no_traceback(
    types: Types, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("dojo.learner.overview.status", interrupt)
    result = types("status")
    assert (result.exit_code, result.stderr) == (130, "kata: stopped\n")


def test_an_error_of_the_kata_is_one_line(types: Types, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise KataError("read the moon: too far")

    monkeypatch.setattr("dojo.learner.overview.status", fail)
    assert refused(types("status")) == "kata: read the moon: too far\n"


def test_a_failure_is_known_where_the_caller_ignores_sigchld() -> None:
    """Whoever ignores it has it ignored in us: then git, or pytest, seems to have succeeded."""
    code = (
        "import subprocess; from dojo import cli\n"
        "cli.kata = lambda prog_name: print(subprocess.run(['false']).returncode)\n"
        "cli.main()"
    )
    words = ["env", "--ignore-signal=CHLD", sys.executable, "-c", code]
    done = subprocess.run(words, cwd=clone.here().root, capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"
