"""What a message about a failure says of the calls before: the reason may be in the first one."""

import re

import pytest

from dojo.scratch import Call
from dojo.testkit.history import MOST, in_short, with_calls
from tests.learners import Learner, make_learner, require_lab


class Made:
    """In the place of a program that was started."""

    def __init__(self, shown: str, status: int | None = 0, err: bytes = b"", problem: str = ""):
        self.shown = shown
        self.was_killed = False
        self.call = Call(shown, status, b"out", err, problem, runs=status is None and not problem)

    def so_far(self) -> Call:
        return self.call


def names(rows: list[tuple[str, str]]) -> list[str]:
    return [name for name, _ in rows]


def test_all_calls_are_shown_the_one_that_matters_in_full() -> None:
    made = [Made("a"), Made("b", 3, b"no\nmore"), Made("c"), Made("d", -9), Made("e", None)]
    rows = with_calls([*made[2].call.rows(), ("expected", "x")], made)
    assert rows[0] == ("earlier", "a (status 0)\nb (status 3: no)")
    assert rows[-2:] == [("later", "d (killed by signal 9)\ne (still running)"), ("expected", "x")]
    assert names(rows[1:5]) == ["ran", "status", "stdout", "stderr"]


def test_where_no_call_is_named_the_last_one_is_shown_in_full() -> None:
    made = [Made("a"), Made("b", 1, b"why")]
    rows = with_calls([("found", "''"), ("expected", "an ID")], made)
    assert rows == [("earlier", "a (status 0)"), *made[1].call.rows(), *rows[-2:]]
    assert names(rows[-2:]) == ["found", "expected"]
    assert with_calls([("found", "x")], []) == [("found", "x")]


def test_of_the_same_command_the_one_that_went_so_is_meant() -> None:
    made = [Made("a"), Made("a", 7), Made("a")]
    assert names(with_calls(made[1].call.rows(), made)) == [
        *("earlier", "ran", "status", "stdout", "stderr", "later")
    ]


def test_a_program_of_the_hosts_comes_after_all_calls() -> None:
    rows = with_calls([("ran", "mount"), ("expected", "x")], [Made("a")])
    assert rows == [("earlier", "a (status 0)"), ("ran", "mount"), ("expected", "x")]


def test_calls_for_other_examples_are_counted() -> None:
    made = [Made("a"), Made("b"), Made("c"), Made("d")]
    others = "(calls for other examples: 2)"
    assert with_calls(made[3].call.rows(), made, 2)[0] == ("earlier", f"{others}\nc (status 0)")
    assert with_calls(made[2].call.rows(), made[:3], 2)[0] == ("earlier", others)


@pytest.mark.parametrize("name", ["before", "did", "left"])
def test_a_test_that_tells_itself_what_it_did_is_left_alone(name: str) -> None:
    rows = [(name, "this"), ("ran", "b")]
    assert with_calls(rows, [Made("a"), Made("b")]) == rows


def test_many_calls_stay_readable() -> None:
    assert in_short([Made("a")] * 40) == "a (status 0), 40 times"
    lines = in_short([Made(str(number)) for number in range(500)]).splitlines()
    assert len(lines) == MOST
    assert lines[:4] == [f"{number} (status 0)" for number in range(4)]
    assert lines[4] == "… (489 lines with other calls are left out) …"
    assert lines[5:] == [f"{number} (status 0)" for number in range(493, 500)]
    assert len(in_short([Made("x\n" * 5000)])) < 200
    assert "\n" not in in_short([Made("x\ny", 1, b"a\nb")])


def test_who_was_killed_by_the_test_is_not_said_to_have_died() -> None:
    made = Made("a", -9)
    made.was_killed = True
    assert in_short([made]) == "a (killed by the test)"
    hung = Made("a", None, problem="it did not end within 20 s and was killed")
    hung.was_killed = True
    assert in_short([hung]) == "a (it did not end within 20 s and was killed)"


TESTS = '''\
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dojo.testkit.containers import detached, first_process, started
from dojo.testkit.testing import check, expect, task


@task(1)
@settings(suppress_health_check=list(HealthCheck), database=None, deadline=None)
@given(number=st.integers(0, 1000))
def test_an_example(mydocker, number):
    """So it is."""
    mydocker("run", "busybox", "first")
    call = mydocker("run", "busybox", str(number))
    check(number < 7, "a small number", number, call)


@task(1)
def test_a_first_call_that_mattered(mydocker):
    """So it is."""
    mydocker("run", "busybox", "cover-proc")
    mydocker.start("run", "busybox", "one").wait()
    expect(mydocker("run", "busybox", "two"), out="two\\n")


@task(1)
def test_an_id(mydocker):
    """So it is."""
    detached(mydocker, "busybox", "sleep")


@task(1)
def test_a_check_without_a_call(mydocker):
    """So it is."""
    call = mydocker("run", "busybox", "two")
    check(call.text == "two\\n", "two", call.text)


@task(1)
def test_a_program_that_does_not_say_it(mydocker):
    """So it is."""
    started(mydocker.start("run", "busybox", "ready"))


@task(1)
def test_a_program_that_starts_nothing(mydocker):
    """So it is."""
    running = mydocker.start("run", "busybox", "ready")
    running.wait()
    first_process(running)
'''

PROGRAM = """\
import sys

KNOWN = {"--help"}
if sys.argv[-1] != "sleep":
    print("cannot", sys.argv[-1], file=sys.stderr)
"""


@pytest.fixture
def learner(tmp_path, request: pytest.FixtureRequest) -> Learner:
    require_lab(request)
    learner = make_learner(tmp_path / "clone")
    learner.has_scratch_hosts()
    (learner.clone.chapters / "3_2/test_more.py").write_text(TESTS)
    learner.writes("words.py", PROGRAM)
    return learner


def test_learners_read_what_went_before_and_what_the_program_said(learner: Learner) -> None:
    output = learner.types("check", "3.2", "--all").stdout
    lessons = {
        lesson.split("\n")[0].partition(": ")[2]: lesson.split("\n")[1:]
        for lesson in output[output.index("3.2 task 1") :].split("\n\n")
    }
    assert lessons["a first call that mattered"][:6] == [
        "  earlier   mydocker run busybox cover-proc (status 0)",
        "            mydocker run busybox one (status 0)",
        "  ran       mydocker run busybox two",
        "  status    0",
        "  stdout    what?",
        "  stderr    cannot two",
    ]
    example = lessons["an example"]
    assert re.fullmatch(r"  earlier   \(calls for other examples: \d+\)", example[0])
    assert example[1:3] == [
        "            mydocker run busybox first (status 0)",
        "  ran       mydocker run busybox 7",
    ]
    for name, command in {
        "an ID": "mydocker run -d busybox sleep",
        "a check without a call": "mydocker run busybox two",
        "a program that does not say it": "mydocker run busybox ready",
        "a program that starts nothing": "mydocker run busybox ready",
    }.items():
        assert lessons[name][0] == f"  ran       {command}"
        said = "(nothing)" if name == "an ID" else "cannot "
        assert lessons[name][3].startswith(f"  stderr    {said}")
        assert [line for line in lessons[name] if line.startswith("  ran ")] == lessons[name][:1]
