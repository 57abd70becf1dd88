"""`kata check`, typed by a made-up learner in a clone of two small chapters."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pexpect
import pytest

from dojo.clone import Clone
from dojo.errors import KataError
from dojo.testkit import program
from tests.learners import Learner, kata, make_learner, require_lab

SECONDS = 60


@pytest.fixture(autouse=True)
def lab_here(request: pytest.FixtureRequest) -> None:
    require_lab(request)


@pytest.fixture
def learner(tmp_path: Path) -> Learner:
    return make_learner(tmp_path / "clone")


def lines_with(text: str, output: str) -> list[str]:
    return [line for line in output.splitlines() if text in line]


# What is shown ---------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", ["0", "2"])
def test_the_first_red_task_is_shown_in_full_and_the_others_are_counted(
    learner: Learner, workers: str
) -> None:
    learner.knows("one")
    done = learner.types("check", "3.1", "-n", workers)
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stderr == ""
    before, *_ = done.stdout.partition("✘")
    assert "3.1 words of 3.1" in before
    assert "Running the tests of chapters/3_1 against your mydocker/" in before
    assert lines_with("✘ 1  Small words   1 of 2", done.stdout)
    assert lines_with("✘ 2  Larger words  0 of 2", done.stdout)
    lesson = done.stdout[done.stdout.index("3.1 task 1") :].split("\n\n")[0]
    assert lesson.splitlines() == [
        "3.1 task 1: it says [two]",
        "  ran       mydocker run busybox two",
        "  status    0",
        "  stdout    what?",
        "  stderr    (nothing)",
        "  expected  stdout exactly two",
        "  why       Who counts begins so.",
        '  read      chapters/3_1/README.md, "Small words"',
    ]
    assert len(lines_with("  ran ", done.stdout)) == 1
    assert lines_with("1 of 4 green, 3 red (2 of them not shown).", done.stdout)
    assert lines_with("./kata read 3.1", done.stdout)
    assert lines_with("./kata hint 3.1", done.stdout)
    assert lines_with("./kata check 3.1 --all", done.stdout)


@pytest.mark.parametrize("workers", ["0", "2"])
def test_what_is_set_for_other_runs_of_pytest_changes_nothing(
    learner: Learner, workers: str
) -> None:
    """Somebody has -x for their own project in their shell: a check here goes on all the same."""
    learner.knows("one", "three", "four")
    usual = learner.types("check", "3.1", "-n", workers)
    assert lines_with("3 of 4 green, 1 red.", usual.stdout)
    set_up = {
        "PYTEST_ADDOPTS": "-vx --lf --maxfail=1 -k it_says_four -W error --no-such-option",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTEST_PLUGINS": "no_such_plugin",
        "PYTHONOPTIMIZE": "1",
        "PYTHONWARNINGS": "error",
    }
    assert learner.types("check", "3.1", "-n", workers, **set_up).stdout == usual.stdout


MANY = """\
import random

import pytest

from dojo.testkit.testing import expect, task


@task(2)
@pytest.mark.parametrize("status", range(10, 16), ids="abcdef")
def test_a_status(mydocker, status):
    \"\"\"Scripts decide by it.\"\"\"
    expect(mydocker("run", "busybox", "one"), status=status + random.randrange(5))


@task(1)
def test_other(mydocker):
    \"\"\"It is so.\"\"\"
    expect(mydocker("run", "busybox", "one"), status=0, out="1")
"""


@pytest.mark.parametrize("workers", ["0", "2"])
def test_what_most_failures_have_in_common_is_said_once_and_first(
    learner: Learner, workers: str
) -> None:
    (learner.clone.chapters / "3_2/test_more.py").write_text(MANY)
    learner.knows("one", "five")
    done = learner.types("check", "3.2", "-n", workers)
    what = "6 of 7 red tests have this in common: the exit status is 0, and another is expected."
    assert len(lines_with(what, done.stdout)) == 1
    assert lines_with("The first of them: 3.2 task 2: a status [a].", done.stdout)
    assert done.stdout.index(what) < done.stdout.index("  ran  ")
    (learner.clone.chapters / "3_2/test_more.py").write_text(
        MANY.replace('out="1"', 'out="one\\n"')
    )
    again = learner.types("check", "3.2", "-n", workers).stdout
    assert lines_with("6 of 6 red tests have this in common", again)
    assert "The first of them" not in again  # it is the one that is shown in full
    (learner.clone.chapters / "3_2/test_more.py").unlink()
    learner.knows("one")
    assert "in common" not in learner.types("check", "3.2", "-n", workers).stdout


def test_how_to_run_ones_own_by_hand_is_told(learner: Learner) -> None:
    learner.knows("one")
    (line,) = lines_with("yours, by hand", learner.types("check", "3.1").stdout)
    typed = shlex.split(line.partition("  yours")[0].strip())
    done = subprocess.run(typed, cwd=learner.clone.root, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "what?\n"), done.stderr
    told = learner.types("check", "3.1", "--mydocker", f"{sys.executable} -m mydocker").stdout
    assert "by hand" not in told


OUTPUT = '''\
from dojo.testkit.testing import check, task


@task(1)
def test_other(mydocker):
    """It is so."""
    check(False, "nothing", "one\\n\\nx\\n  ran   \\x1b[2J\\u2028\\r" + 1000000 * "\\0")
'''


def test_what_a_program_wrote_stays_in_its_row_whatever_it_is(learner: Learner) -> None:
    (learner.clone.chapters / "3_2/test_more.py").write_text(OUTPUT)
    learner.knows("five")
    done = learner.types("check", "3.2")
    assert done.stderr == ""
    lesson = done.stdout[done.stdout.index("3.2 task 1") :].split("\n\n")[0].splitlines()
    assert lesson[1:4] == ["  found     one", " " * 12, "            x"]
    assert lesson[4].startswith(r"              ran   \x1b[2J\u2028\r\x00\x00")
    assert lesson[5] == "            … (the middle of 1000021 characters is left out) …"
    assert len(done.stdout) < 4000


def test_all_shows_every_failure_in_full_and_in_the_order_of_tasks(learner: Learner) -> None:
    learner.knows("one")
    done = learner.types("check", "3.1", "--all")
    assert done.returncode == 1
    assert re.findall(r"  ran +mydocker run busybox (\w+)", done.stdout) == ["two", "three", "four"]
    assert "not shown" not in done.stdout


def test_green_is_told_with_what_to_do_next(learner: Learner) -> None:
    learner.knows("one", "two", "three", "four")
    done = learner.types("check", "3_1")
    assert done.returncode == 0, done.stdout
    assert lines_with("✔ 1  Small words   2 of 2", done.stdout)
    assert lines_with("4 of 4 green.", done.stdout)
    assert lines_with("./kata diff 3.1", done.stdout)
    assert lines_with("./kata read 3.2", done.stdout)
    assert lines_with("./kata goto 3.2", done.stdout)


def test_after_the_last_chapter_nothing_is_next(learner: Learner) -> None:
    learner.knows("five")
    done = learner.types("check", "3.2")
    assert done.returncode == 0
    assert lines_with("./kata status", done.stdout)
    assert "./kata goto" not in done.stdout


def test_several_chapters_are_shown_one_after_the_other(learner: Learner) -> None:
    learner.knows("one", "two", "three", "four")
    done = learner.types("check", "3.2", "3.1")
    assert done.returncode == 1
    shown = [line.split()[0] for line in done.stdout.splitlines() if re.match(r"  (3|✔|✘)", line)]
    assert shown == ["3.1", "✔", "✔", "3.2", "✘"]
    assert "3.2 task 1: it says five" in done.stdout
    assert lines_with("./kata hint 3.2", done.stdout)


def test_without_a_chapter_it_is_the_first_that_is_not_done(learner: Learner) -> None:
    learner.knows("one", "two", "three", "four")
    first = learner.types("check")
    assert (first.returncode, "3.1 words" in first.stdout) == (0, True)
    second = learner.types("check")
    assert (second.returncode, "3.2 words" in second.stdout) == (1, True)


def test_sudo_is_named_where_sudo_was_typed(learner: Learner) -> None:
    assert "\n      sudo ./kata watch 3.1" in learner.types("check", SUDO_USER="ada").stdout
    assert "sudo" not in learner.types("check").stdout


def test_what_is_skipped_is_told_with_its_reason(learner: Learner) -> None:
    skip = "import pytest\n\n\ndef test_other():\n    pytest.skip('no moon tonight')\n"
    (learner.clone.chapters / "3_2/test_more.py").write_text(skip)
    learner.knows("five")
    done = learner.types("check", "3.2")
    assert done.returncode == 0
    assert lines_with("1 test skipped: no moon tonight", done.stdout)
    assert lines_with("1 of 2 green, 1 skipped.", done.stdout)


def test_what_the_machine_lacks_skips_and_fails_with_strict_lab(learner: Learner) -> None:
    toml = learner.clone.chapters / "3_2/chapter.toml"
    toml.write_text(toml.read_text().replace('["namespaces"]', '["aufs"]'))
    learner.knows("five")
    if "aufs" in Path("/proc/filesystems").read_text():
        pytest.skip("this machine has AUFS")
    done = learner.types("check", "3.2")
    assert done.returncode == 0
    assert lines_with("skipped: this machine cannot run it: no AUFS", done.stdout)
    strict = learner.types("check", "3.2", "--strict-lab")
    assert strict.returncode == 1
    assert "this machine cannot run it: no AUFS" in strict.stdout


@pytest.mark.parametrize("workers", ["0", "2"])
def test_errors_around_a_test_and_leaks_are_failures(learner: Learner, workers: str) -> None:
    fixtures = """\
import pytest


@pytest.fixture
def before():
    raise RuntimeError("it broke before")


@pytest.fixture
def after():
    yield
    raise RuntimeError("it broke after")


def test_first(before):
    pass


def test_second(after):
    pass
"""
    (learner.clone.chapters / "3_2/test_more.py").write_text(fixtures)
    learner.has_scratch_hosts()
    learner.knows("five", "leave")
    done = learner.types("check", "3.2", "--all", "-n", workers)
    assert done.returncode == 1
    assert lines_with("0 of 3 green, 3 red.", done.stdout)
    for text in ("it broke before", "it broke after", "/left was left"):
        assert text in done.stdout


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_file_of_tests_that_cannot_be_read_is_told(learner: Learner, workers: str) -> None:
    learner.knows("five")
    assert learner.types("check", "3.2", "-n", workers).returncode == 0
    (learner.clone.chapters / "3_2/test_more.py").write_text("import nothing_of_that_name\n")
    done = learner.types("check", "3.2", "-n", workers)
    assert done.returncode == 1
    assert lines_with("The tests of chapters/3_2/test_more.py cannot be run", done.stdout)
    assert "nothing_of_that_name" in done.stdout


def test_a_worker_that_dies_fails_its_test(learner: Learner) -> None:
    dies = "import os\n\n\ndef test_dies():\n    os._exit(3)\n"
    (learner.clone.chapters / "3_2/test_more.py").write_text(dies)
    learner.knows("five")
    done = learner.types("check", "3.2", "-n", "2")
    assert done.returncode == 1
    assert lines_with("1 of 2 green, 1 red.", done.stdout)
    assert "crashed" in done.stdout


def test_on_a_terminal_a_bar_moves_and_each_task_ends_as_one_line(learner: Learner) -> None:
    learner.knows("one", "two")
    child = pexpect.spawn(
        kata("check", "3.1")[0],
        kata("check", "3.1")[1:],
        cwd=str(learner.clone.root),
        env={**learner.environment, "NO_COLOR": ""},
        dimensions=(40, 60),
        timeout=SECONDS,
        encoding="utf-8",
    )
    child.expect(r"━+.*[0-4] of 4.*Ctrl-C stops")
    child.expect("again at every save")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 1
    assert "━" not in learner.types("check", "3.1").stdout


def test_a_terminal_that_cannot_show_the_marks_gets_others(learner: Learner) -> None:
    learner.knows("one")
    done = learner.types("check", "3.1", PYTHONIOENCODING="ascii")
    assert done.returncode == 1
    assert lines_with("x 1  Small words   1 of 2", done.stdout)


# The learner's own errors ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "where", "error"),
    [
        ("KNOWN = {\n", "mydocker/words.py, line 1", "SyntaxError: '{' was never closed"),
        ("x = 1\nKNOWN = y\n", "mydocker/words.py, line 2", "NameError: name 'y' is not defined"),
        ("\nimport nothing_here\n", "mydocker/words.py, line 2", "No module named 'nothing_here'"),
        ("NONE = 1\n", "mydocker/__main__.py, line 5", "cannot import name 'KNOWN'"),
    ],
    ids=["syntax", "name", "module", "import"],
)
def test_a_program_that_does_not_import_is_told_as_the_learners(
    learner: Learner, text: str, where: str, error: str
) -> None:
    learner.knows("one")
    assert "3.1 task" in learner.types("check", "3.1").stdout
    remembered = (learner.clone.state / "progress.json").read_text()
    learner.writes("words.py", text)
    done = learner.types("check", "3.1")
    assert done.returncode == 1
    assert done.stderr == ""
    assert lines_with("Your mydocker/ does not start, so no test was run.", done.stdout)
    assert lines_with(f"  where     {where}", done.stdout)
    assert lines_with(error, done.stdout)
    assert "Traceback" not in done.stdout
    assert "3.1 task" not in done.stdout
    assert (learner.clone.state / "progress.json").read_text() == remembered


def test_a_package_that_is_not_there_is_told(learner: Learner) -> None:
    learner.clone.learner.rename(learner.clone.root / "elsewhere")
    done = learner.types("check", "3.1")
    assert done.returncode == 1
    assert lines_with("No module named mydocker", done.stdout)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import time\nprint('so far', flush=True)\ntime.sleep(1000)\n", "so far"),
        ("while True:\n    print('x' * 1000)\n", "bytes more"),
        ("import os\nos.kill(os.getpid(), 11)\n", "killed by signal 11"),
    ],
    ids=["hangs", "megabytes", "killed"],
)
def test_a_program_that_runs_wild_at_its_start_is_ended(
    learner: Learner, text: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = program.words_of(None)
    learner.knows("one")
    assert program.trouble_of(words, learner.clone) is None
    monkeypatch.setattr(program, "SECONDS", 1.0)
    learner.writes("words.py", text)
    before = groups_of_ours()
    trouble = program.trouble_of(words, learner.clone)
    assert groups_of_ours() == before
    assert trouble is not None
    assert dict(trouble)["ran"] == "python -m mydocker run --help"
    assert said in str(trouble)
    assert len(str(trouble)) < 2000


def nothing_is_left() -> bool:
    """Wait until no test host of a check that has ended is there any more."""
    deadline = time.monotonic() + SECONDS
    while groups_of_nobody() and time.monotonic() < deadline:
        time.sleep(0.05)  # another test's check may be clearing away right now
    return not groups_of_nobody()


def groups_of_nobody() -> list[Path]:
    """The groups of test hosts whose maker lives no more."""
    return [group for maker, group in groups_of_hosts() if not Path("/proc", maker).exists()]


def groups_of_ours() -> list[Path]:
    """The groups of test hosts that this process has made: an engine's is here to stay."""
    return sorted(group for maker, group in groups_of_hosts() if maker == str(os.getpid()))


def groups_of_hosts() -> Iterator[tuple[str, Path]]:
    """The PID of a test host's maker and a group of its own."""
    # os.walk copes with directories that vanish meanwhile, glob does not.
    for path, _, _ in os.walk("/sys/fs/cgroup"):
        if fnmatch(Path(path).name, "kata-*-*-*"):
            yield Path(path).name.split("-")[1], Path(path)


# Other programs --------------------------------------------------------------------------------


def test_another_program_is_tested_and_not_remembered(learner: Learner, tmp_path: Path) -> None:
    learner.has_scratch_hosts()
    script = tmp_path / "other"
    script.write_text('#!/bin/sh\nfor last; do :; done; echo "$last"\n')
    script.chmod(0o755)
    done = learner.types("check", "3.1", "--mydocker", str(script))
    assert done.returncode == 0, done.stdout
    assert f"against {script}" in done.stdout
    assert not (learner.clone.state / "progress.json").exists()


def test_another_program_that_is_not_there_is_refused(learner: Learner) -> None:
    assert learner.types("check", "3.1", "--mydocker", "true").returncode == 1
    done = learner.types("check", "3.1", "--mydocker", "no-such-program --x")
    assert done.returncode == 2
    assert done.stderr == "kata: --mydocker no-such-program: no such program\n"
    unclosed = learner.types("check", "3.1", "--mydocker", "true 'x")
    assert (unclosed.returncode, "true 'x" in unclosed.stderr) == (2, True)


def test_what_is_next_is_about_the_program_that_was_tested(learner: Learner) -> None:
    """`check 3.1 --all` alone would test the learner's mydocker/, which is empty."""
    other = ("--mydocker", f"env {sys.executable} -m mydocker")
    again = shlex.join(other)
    red = learner.types("check", "3.1", *other, "-m", "not vm")
    assert lines_with(f"./kata check 3.1 --all {again} -m 'not vm'", red.stdout)
    assert lines_with(f"./kata check 3.1 {again} -m 'not vm'", red.stdout)
    learner.knows("one", "two", "three", "four")
    green = learner.types("check", "3.1", *other)
    assert lines_with(f"./kata check 3.2 {again}", green.stdout)
    assert not lines_with("./kata watch", red.stdout + green.stdout)
    assert not lines_with("./kata goto", red.stdout + green.stdout)


def test_a_relative_path_that_leads_nowhere_for_the_tests_is_told(
    learner: Learner, tmp_path: Path
) -> None:
    """They call the program in a directory of their own, so that only its first word is found."""
    script = learner.clone.root / "other"
    script.write_text('for last; do :; done; echo "$last"\n')
    done = learner.types("check", "3.1", "--mydocker", "sh other")
    assert done.returncode == 1
    assert lines_with("`sh other` does not start, so no test was run.", done.stdout)
    assert lines_with("other is a relative path, and tests call the program", done.stdout)
    assert lines_with(f"type {script}", done.stdout)
    assert lines_with("./kata check 3.1 --mydocker 'sh other'", done.stdout)


def test_only_tests_that_are_marked_so_are_run_and_not_remembered(learner: Learner) -> None:
    """Who keeps a promise less than we do leaves out the tests of it: -m 'not ours'."""
    marked = "from dojo.testkit.testing import ours, task\n\n\n@ours\n@task(1)\n"
    marked += 'def test_more(mydocker):\n    """Why."""\n    raise ValueError\n'
    (learner.clone.chapters / "3_2/test_more.py").write_text(marked)
    learner.knows("five")
    assert learner.types("check", "3.2", "--lab", "here").returncode == 1
    before = (learner.clone.state / "progress.json").read_text()
    done = learner.types("check", "3.2", "-m", "not ours")
    assert done.returncode == 0, done.stdout
    assert lines_with("1 of 1 green.", done.stdout)
    assert lines_with("chapters/3_2 that are 'not ours' against", done.stdout)
    assert (learner.clone.state / "progress.json").read_text() == before


def test_a_promise_that_only_we_make_is_told_to_other_programs(learner: Learner) -> None:
    test = "from dojo.testkit.testing import check, ours, task\n\n\n@ours\n@task(1)\n"
    test += 'def test_more(mydocker):\n    """Why."""\n    check(False, "much", "nothing")\n'
    (learner.clone.chapters / "3_2/test_more.py").write_text(test)
    learner.knows("five")
    other = ("--mydocker", f"env {sys.executable} -m mydocker")
    assert lines_with(
        "-m 'not ours' leaves out such tests", learner.types("check", "3.2", *other).stdout
    )
    assert "not ours" not in learner.types("check", "3.2").stdout


@pytest.mark.parametrize("workers", ["0", "2"])
@pytest.mark.parametrize(("typed", "told"), [("not (", "not ("), ("our", "our"), ("ours", "ours")])
def test_marks_that_no_test_can_have_are_told(
    learner: Learner, typed: str, told: str, workers: str
) -> None:
    done = learner.types("check", "3.1", "-m", typed, "-n", workers)
    assert done.returncode == 2
    assert done.stderr.startswith("kata: ")
    assert told in done.stderr


# What is drawn by chance -----------------------------------------------------------------------

DRAWING = """\
import random

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from dojo.testkit import machine
from dojo.testkit.testing import check, examples, task
from mydocker.words import KNOWN

machine.patience = lambda: random.SystemRandom().choice([1, 3, 9])  # how much is going on beside it


@task(1)
def test_a_number(mydocker):
    numbers = [random.randrange(10**12) for _ in range(examples(usual=9, least=1))]
    check("calm" in KNOWN, "calm", f"a number: {numbers}")


@task(1)
@settings(
    deadline=None,
    phases=[Phase.reuse, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(number=st.integers(10**9, 10**12))
def test_an_example(mydocker, number):
    check(number % 7 != 3 or "calm" in KNOWN, "calm", f"an example: {number}")


class Machine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.drawn = []

    # Among integers, Hypothesis draws those that stand in the modules that happen to be loaded.
    @rule(bits=st.lists(st.booleans(), min_size=40, max_size=40))
    def step(self, bits):
        self.drawn.append(sum(bit << place for place, bit in enumerate(bits)))
        good = len(self.drawn) < 3 or sum(self.drawn) % 7 != 3
        check(good or "calm" in KNOWN, "calm", f"steps: {self.drawn}")


@task(1)
def test_some_steps(mydocker):
    once = settings(
        max_examples=50,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(seed(random.getrandbits(64))(Machine), settings=once)
"""


def test_what_was_drawn_is_kept_until_it_is_green(learner: Learner) -> None:
    """Else a task is ticked in one run, and crossed out in the next on the same code."""
    (learner.clone.chapters / "3_2/test_more.py").write_text(DRAWING)

    def found(*words: str, folder: str = ".") -> list[str]:
        done = learner.runs(["sh", "-c", f'cd {folder}; exec "$@"', "sh", *kata("check", *words)])
        return re.findall(r"  found +((?:a number|an example|steps): .*)", done.stdout)

    learner.knows("five")
    first = found("3.2", "--all")
    assert len(first) == 3
    assert found("3.2", "--all", folder="chapters") == first
    assert found("3.2", "--all", "-n", "0") == first
    other = found("3.2", "--all", "--mydocker", f"env {sys.executable} -m mydocker")
    assert len(other) == 3
    assert not set(other) & {first[0], first[2]}, "another program has draws of its own"
    learner.knows("five", "calm")
    assert found("3.2", "--all") == []
    learner.knows("five")
    again = found("3.2", "--all")
    assert len(again) == 3
    assert not set(again) & {first[0], first[2]}
    assert not (learner.clone.root / ".hypothesis").exists()


# What is remembered ----------------------------------------------------------------------------


def test_what_changed_since_the_last_time_is_told(learner: Learner) -> None:
    learner.knows("one")
    assert "last time" not in learner.types("check", "3.1").stdout
    learner.knows("one", "two", "three")
    assert lines_with("2 more than last time.", learner.types("check", "3.1").stdout)
    learner.knows("two", "three", "four")
    done = learner.types("check", "3.1").stdout
    assert "more than last time" not in done, "three, as before"
    assert lines_with("1 newly green.", done)
    assert lines_with("Red again: 3.1 it says [one]", done)
    learner.knows("one", "two")
    done = learner.types("check", "3.1").stdout
    assert "more than last time" not in done
    assert lines_with("1 newly green.", done)
    assert len(lines_with("Red again: ", done)) == 2
    learner.knows("two", "three", "four")
    assert lines_with("1 more than last time.", learner.types("check", "3.1").stdout)
    assert "4 of 4" not in learner.types("status").stdout
    assert lines_with("3 of 4", learner.types("status").stdout)


@pytest.mark.parametrize("text", ['{"version": 1, "chap', "[]", "", "\0\xff"])
def test_a_torn_file_of_progress_does_no_harm(learner: Learner, text: str) -> None:
    learner.knows("one")
    learner.clone.state.mkdir()
    (learner.clone.state / "progress.json").write_text(text)
    done = learner.types("check", "-n", "0")
    assert (done.returncode, done.stderr) == (1, "")
    assert lines_with("1 of 4", learner.types("status").stdout)


def test_that_nothing_can_be_remembered_is_no_reason_to_fail(learner: Learner) -> None:
    learner.knows("one", "two", "three", "four")
    (learner.clone.state / "progress.json").mkdir(parents=True)
    done = learner.types("check", "3.1")
    assert done.returncode == 0
    assert lines_with(f"not remembered: write {learner.clone.state / 'progress.json'}", done.stdout)


def test_under_sudo_all_files_stay_their_owners(learner: Learner) -> None:
    root = learner.clone.root
    root.parent.chmod(0o755)
    for path in [root, *root.rglob("*")]:
        os.chown(path, 12345, 12345)
    learner.knows("one", "two", "three", "four")
    for path in root.rglob("*"):
        os.chown(path, 12345, 12345)
    of_a_box = learner.clone.state / "box/build.x/guest/bin/sudo"
    of_a_box.parent.mkdir(parents=True)
    of_a_box.write_text("")
    assert learner.types("check", "3.1", PYTHONDONTWRITEBYTECODE="").returncode == 0
    assert learner.types("hint", "3.2", PYTHONDONTWRITEBYTECODE="").returncode == 0
    made = [path for path in root.rglob("*") if "dojo" not in path.parts]
    assert any(path.name == "progress.json" for path in made)
    boxes = learner.clone.state / "box"
    assert of_a_box.lstat().st_uid == 0  # it is a file of another system, which is being made
    made = [path for path in made if not path.is_relative_to(boxes)]
    assert [path for path in made if path.lstat().st_uid != 12345] == []


# Stopping --------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", ["0", "2"])
def test_ctrl_c_stops_cleanly_and_says_so(learner: Learner, workers: str) -> None:
    learner.has_scratch_hosts()
    learner.knows("one", "two", "hang")
    child = subprocess.Popen(
        kata("check", "3.1", "-n", workers),
        cwd=learner.clone.root,
        env={**learner.environment, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )
    assert child.stdout is not None
    shown = ""
    while "Small words" not in shown:
        line = child.stdout.readline()
        assert line, shown
        shown += line
    os.killpg(child.pid, signal.SIGINT)
    rest, _ = child.communicate(timeout=SECONDS)
    assert child.returncode == 130
    assert lines_with("✔ 1  Small words   2 of 2", shown)
    assert lines_with("Stopped.", rest)
    assert lines_with("2 of 4 green, 2 not run.", rest)
    assert nothing_is_left()
    (line,) = lines_with("words of 3.1", learner.types("status").stdout)
    assert "2 of 4" in line
    assert "done" not in line


# What is refused -------------------------------------------------------------------------------


def test_wrong_usage_is_told_in_one_line(learner: Learner) -> None:
    learner.knows("five")
    assert learner.types("check", "3.2", "-n", "1").returncode == 0
    chapter = learner.types("check", "3.9")
    assert (chapter.returncode, chapter.stdout) == (2, "")
    assert chapter.stderr == "kata: no chapter '3.9': there are 3.1, 3.2\n"
    for words, named in ((["-n", "lots"], "lots"), (["--nonsense"], "--nonsense")):
        done = learner.types("check", "3.2", *words)
        assert (done.returncode, done.stdout) == (2, "")
        assert named in done.stderr
        assert "Traceback" not in done.stderr


def test_the_program_of_python_itself_is_found() -> None:
    assert program.words_of(None) == [sys.executable, "-S", "-m", "mydocker"]
    assert program.words_of("sh -c 'a b'")[1:] == ["-c", "a b"]


WRONG_PROGRAMS = {
    "no-x": (b"#!/bin/sh\n", 0o644, "it is a file that may not be executed: chmod +x "),
    "interpreter": (b"#!/no/such -x\n", 0o755, "an interpreter that is not there: /no/such"),
    "closed": (b"#!/etc/passwd\n", 0o755, "an interpreter that may not be executed: /etc/passwd"),
    "windows": (b"#!/bin/sh\r\n", 0o755, "its first line ends as on Windows"),
    "no-name": (b"#!\n", 0o755, "its first line names no interpreter"),
    "text": (b"exit 0\n", 0o755, "neither a program of this machine's nor a script that begins"),
    "loader": (None, 0o755, "the loader that it names is not there"),
}


@pytest.mark.parametrize("name", WRONG_PROGRAMS)
def test_what_is_wrong_with_a_program_is_told(name: str, tmp_path: Path) -> None:
    """Not that there is none where it only lacks a bit, nor what the kernel says of its loader."""
    content, mode, said = WRONG_PROGRAMS[name]
    if content is None:  # a program of this machine's, but for its loader's name
        content = Path("/bin/true").resolve().read_bytes().replace(b"/ld-", b"/no-")
    path = tmp_path / name
    path.write_bytes(content)
    path.chmod(mode)
    with pytest.raises(KataError) as raised:
        program.trouble_of(program.words_of(str(path)), Clone(tmp_path))
    assert said in str(raised.value)
    assert str(path) in str(raised.value)


def test_a_directory_and_a_broken_link_are_called_that(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    said = {str(tmp_path): "it is a directory", str(tmp_path / "link"): "it is a link to nowhere"}
    said |= {str(tmp_path / "none"): "no such program", "/etc/passwd/x": "no such program"}
    for typed, what in said.items():
        with pytest.raises(KataError, match=f"--mydocker {typed}: {what}"):
            program.words_of(typed)


def test_a_program_that_may_not_be_executed_is_found_in_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my-own-docker").touch()
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(KataError, match=f"chmod .x {tmp_path}/my-own-docker"):
        program.words_of("my-own-docker")


def test_a_traceback_from_elsewhere_is_shown_as_it_is(tmp_path: Path) -> None:
    script = tmp_path / "other"
    script.write_text(f"#!{sys.executable}\nimport nothing_of_that_name\n")
    script.chmod(0o755)
    trouble = program.trouble_of(program.words_of(str(script)), Clone(tmp_path))
    assert trouble is not None
    assert "No module named 'nothing_of_that_name'" in dict(trouble)["said"]
