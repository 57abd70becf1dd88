"""Tests that are chosen here and run in the lab, which a second tree on this machine stands in for.

Everything is as if they had run here: what is shown, what is remembered, how it ends.
"""

import os
import re
import signal
import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from tests.labs import SECONDS, Lab, lives, make_lab, pytest_words, until
from tests.learners import kata
from tests.test_check import lines_with, nothing_is_left

KERNEL = f"Linux {os.uname().release}"


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    lab = make_lab(tmp_path)
    lab.learner.knows("one")
    return lab


def outcomes(done: subprocess.CompletedProcess[str]) -> dict[str, int]:
    """What the last line counts."""
    counts = re.findall(r"(\d+) (passed|failed|skipped|deselected|error)", done.stdout)
    return {name: int(number) for number, name in counts}


# What is shown ---------------------------------------------------------------------------------


def test_what_is_shown_is_what_would_be_shown_here(lab: Lab) -> None:
    def without_times(done: subprocess.CompletedProcess[str]) -> list[str]:
        lines = re.sub(r"in [0-9.]+s", "in TIME", done.stdout).splitlines()
        return [line for line in lines if not line.startswith(("lab: ", "plugins: "))]

    there = lab.pytest("chapters/3_1", "-ra", "-v", "-n1")
    here = lab.learner.runs(pytest_words("chapters/3_1", "-ra", "-v", "--lab=here"))
    assert outcomes(here) == {"passed": 1, "failed": 3}
    assert without_times(there) == without_times(here)
    assert (there.returncode, there.stderr) == (here.returncode, here.stderr) == (1, "")


def test_the_header_and_each_report_name_the_lab(lab: Lab, tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    done = lab.pytest("chapters/3_1", f"--junitxml={report}")
    assert lines_with(f"lab: vagrant, {KERNEL}", done.stdout)
    cases = list(ElementTree.parse(report).iter("testcase"))
    assert len(cases) == 4
    for case in cases:
        properties = {p.attrib["name"]: p.attrib["value"] for p in case.iter("property")}
        assert properties["lab"] == f"vagrant, {KERNEL}"
        assert properties["chapter"] == "3.1"
    green = [case.attrib["name"] for case in cases if not list(case.iter("failure"))]
    assert green == ["test_it_says[one]"]
    here = lab.learner.runs(pytest_words("chapters/3_1", f"--junitxml={report}", "--lab=here"))
    assert lines_with(f"lab: here, {KERNEL}", here.stdout)
    assert f'value="here, {KERNEL}"' in report.read_text()


def test_the_test_runs_there(lab: Lab) -> None:
    lab.write_test("from pathlib import Path\n\n\ndef test_it():\n    assert 0, Path(__file__)\n")
    assert f"{lab.there.root}/chapters/3_2/test_more.py" in lab.pytest("chapters/3_2").stdout


def test_colours_are_those_of_the_terminal(lab: Lab) -> None:
    lab.write_test("def test_it():\n    assert 1 == 2\n")
    coloured = lab.pytest("chapters/3_2", "--color=yes", NO_COLOR="").stdout
    assert "\x1b[1m\x1b[31mE       assert 1 == 2" in coloured
    assert "\x1b[" not in lab.pytest("chapters/3_2").stdout


def test_output_of_tests_is_captured_and_kept_apart(lab: Lab) -> None:
    lab.write_test(
        "import os\nimport pytest\n\n\n"
        '@pytest.mark.parametrize("number", range(20))\n'
        "def test_it(number):\n"
        '    os.system(f"echo said {number}, to the end")\n'
        '    print(f"printed {number}, to the end")\n'
        "    assert False\n"
    )
    done = lab.pytest("chapters/3_2", "-n", "3", "-k", "test_it[")
    for number in range(20):
        assert lines_with(f"said {number}, to the end", done.stdout) == [
            f"said {number}, to the end"
        ]
        assert lines_with(f"printed {number}, to the end", done.stdout) == [
            f"printed {number}, to the end"
        ]
    assert done.stderr == ""
    shown = lab.pytest("chapters/3_2", "-n", "3", "-k", "test_it[", "-s")
    assert "printed 7, to the end" in shown.stderr


def test_a_warning_comes_back(lab: Lab) -> None:
    lab.write_test(
        'import warnings\n\n\ndef test_it():\n    warnings.warn("it is late", DeprecationWarning)\n'
    )
    done = lab.pytest("chapters/3_2", "-k", "test_it")
    assert "DeprecationWarning: it is late" in done.stdout
    strict = lab.pytest("chapters/3_2", "-k", "test_it and not five", "-W", "error")
    assert outcomes(strict)["failed"] == 1, strict.stdout


# Selection ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "counts"),
    [
        (["-k", "three or four"], {"failed": 2, "deselected": 2}),
        (["chapters/3_1/test_3_1.py::test_it_says[one]"], {"passed": 1}),
        (["--deselect", "chapters/3_1/test_3_1.py::test_it_says["], {"failed": 2, "deselected": 2}),
        (["chapters", "--chapter", "3.2"], {"failed": 1, "deselected": 4}),
        (["-m", "guard"], {"deselected": 4}),
    ],
)
def test_all_that_chooses_tests_chooses_here(
    lab: Lab, words: list[str], counts: dict[str, int]
) -> None:
    where = [] if words[0].startswith("chapters") else ["chapters/3_1"]
    done = lab.pytest(*where, *words)
    assert outcomes(done) == counts, done.stdout
    assert done.returncode == (0 if "passed" in counts else 1 if "failed" in counts else 5)


def test_the_last_failed_run_again_and_first(lab: Lab) -> None:
    assert outcomes(lab.pytest("chapters/3_1")) == {"passed": 1, "failed": 3}
    lab.learner.knows("one", "two", "three")
    again = lab.pytest("chapters/3_1", "--lf")
    assert outcomes(again) == {"passed": 2, "failed": 1}
    first = lab.pytest("chapters/3_1", "--ff", "-v", "-n1")
    shown = re.findall(r"::(\S+) (?:PASSED|FAILED)", first.stdout)
    assert shown[0] == "test_it_says_four"
    assert len(shown) == 4


def test_the_order_is_that_of_the_tasks(lab: Lab) -> None:
    done = lab.pytest("chapters", "-v", "-n1")
    shown = re.findall(r"::(\S+) (?:PASSED|FAILED)", done.stdout)
    assert shown == [
        "test_it_says[one]",
        "test_it_says[two]",
        "test_it_says_three",
        "test_it_says_four",
        "test_it_says_five",
    ]


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize(("option", "failures"), [("-x", 1), ("--maxfail=2", 2)])
def test_it_stops_at_the_first_failures(
    lab: Lab, workers: str, option: str, failures: int, tmp_path: Path
) -> None:
    """Over there, too: each test that began has said so in a file."""
    lab.write_test(
        "import pathlib\nimport pytest\n\n\n"
        '@pytest.mark.parametrize("number", range(50))\n'
        "def test_it(number):\n"
        f'    pathlib.Path("{tmp_path}", f"began-{{number}}").touch()\n'
        "    assert False\n"
    )
    done = lab.pytest("chapters/3_2", "-k", "test_it[", option, "-n", workers)
    assert outcomes(done)["failed"] == failures
    assert done.returncode == 1
    assert f"stopping after {failures} failures" in done.stdout
    assert failures <= len(list(tmp_path.glob("began-*"))) <= failures + int(workers) * 2 - 1


def test_nothing_is_run_to_collect_only(lab: Lab) -> None:
    done = lab.pytest("chapters/3_1", "--collect-only", "-q")
    assert done.returncode == 0
    assert "test_it_says_four" in done.stdout
    assert not lab.there.root.exists()


def test_several_run_at_a_time(lab: Lab, tmp_path: Path) -> None:
    """Each of two waits for the other."""
    lab.write_test(
        "import pathlib\nimport time\nimport pytest\n\n\n"
        '@pytest.mark.parametrize("me", [0, 1])\n'
        "def test_it(me):\n"
        f'    place = pathlib.Path("{tmp_path}")\n'
        '    (place / f"here-{me}").touch()\n'
        "    deadline = time.monotonic() + 3\n"
        '    while not (place / f"here-{1 - me}").exists():\n'
        "        assert time.monotonic() < deadline\n"
    )
    assert lab.pytest("chapters/3_2", "-k", "test_it[", "-n", "2").returncode == 0
    for one in tmp_path.glob("here-*"):
        one.unlink()
    assert lab.pytest("chapters/3_2", "-k", "test_it[", "-n", "1").returncode == 1


def test_options_that_are_about_tests_go_over(lab: Lab) -> None:
    lab.write_test(
        "def test_it(request):\n"
        "    local = 'shown'\n"
        "    assert request.config.getoption('--hypothesis-seed') == '7', local\n"
        "    assert False\n"
    )
    done = lab.pytest("chapters/3_2", "-k", "test_it and not five", "-l", "--hypothesis-seed=7")
    assert "local      = 'shown'" in done.stdout
    assert "assert False" in done.stdout
    assert "Error" not in lab.pytest("chapters/3_2", "--tb=line", "--hypothesis-seed=7").stderr


def test_a_program_in_the_clone_is_the_one_over_there(lab: Lab) -> None:
    """A file of the clone, by a path from where pytest was typed."""
    other = lab.learner.clone.root / "other"
    other.write_text('#!/bin/sh\nfor last; do :; done; echo "$last"; echo "$0" >&2\n')
    other.chmod(0o755)
    lab.learner.has_scratch_hosts()
    done = lab.pytest("chapters/3_1", "--mydocker", "./other --fast", "-k", "four")
    assert outcomes(done)["passed"] == 1, done.stdout
    other.write_text('#!/bin/sh\necho "$0"\n')
    wrong = lab.pytest("chapters/3_1", "--mydocker", "./other", "-k", "four")
    assert f"stdout    {lab.there.root}/other" in wrong.stdout


def test_tests_of_the_project_itself_run_here(lab: Lab) -> None:
    """In one run with those of chapters."""
    (lab.learner.clone.root / "tests").mkdir()
    (lab.learner.clone.root / "tests/test_own.py").write_text(
        "from pathlib import Path\n\n\ndef test_own():\n"
        f"    assert str(Path(__file__)).startswith('{lab.learner.clone.root}')\n"
    )
    done = lab.pytest("chapters/3_1", "tests", "-k", "own or one", "-v")
    assert outcomes(done) == {"passed": 2, "deselected": 3}
    (lab.directory / "pid").unlink()
    assert lab.pytest("tests").returncode == 0
    assert not (lab.directory / "pid").exists()


# Only what has changed -------------------------------------------------------------------------


def test_each_run_has_the_tree_as_it_is_now_and_nothing_comes_back(lab: Lab) -> None:
    assert "(0 files" not in lab.pytest("chapters/3_1", "--lab-times").stdout
    before = {path for path in lab.learner.clone.root.rglob("*") if path.is_file()}
    lab.learner.knows("one", "two", "three", "four")
    done = lab.pytest("chapters/3_1", "--lab-times")
    assert outcomes(done) == {"passed": 4}
    assert "(1 files had changed)" in done.stdout
    assert "first result after" in done.stdout
    (lab.learner.clone.learner / "words.py").unlink()
    assert outcomes(lab.pytest("chapters/3_1"))["failed"] == 4
    kept = {path for path in lab.learner.clone.root.rglob("*") if path.is_file()}
    assert {path for path in kept - before if ".pytest_cache" not in path.parts} == set()


# Skips -------------------------------------------------------------------------------------------


def test_what_the_lab_lacks_skips_with_its_reason(lab: Lab) -> None:
    if "aufs" in Path("/proc/filesystems").read_text():
        pytest.skip("this machine has AUFS")
    toml = lab.learner.clone.chapters / "3_2/chapter.toml"
    toml.write_text(toml.read_text().replace('["namespaces"]', '["aufs"]'))
    done = lab.pytest("chapters/3_2", "-rs")
    assert outcomes(done) == {"skipped": 1}
    assert re.search(r"SKIPPED \[1\] dojo/plugin/hooks.py:\d+: .*no AUFS", done.stdout)
    strict = lab.pytest("chapters/3_2", "--strict-lab", KATA_LAB_LACKS="")
    assert strict.returncode == 1
    known = lab.pytest("chapters/3_2", "--strict-lab", KATA_LAB_LACKS="aufs")
    assert (known.returncode, outcomes(known)) == (0, {"skipped": 1})


# What goes wrong -------------------------------------------------------------------------------


def test_a_file_that_cannot_be_read_is_told_as_here(lab: Lab) -> None:
    lab.write_test("import nothing_of_that_name\n")
    done = lab.pytest("chapters/3_2")
    assert done.returncode == 2
    assert "No module named 'nothing_of_that_name'" in done.stdout


def test_a_file_that_cannot_be_read_there_is_told(lab: Lab) -> None:
    lab.write_test(
        f"from dojo import clone\n\nif str(clone.here().root) == '{lab.there.root}':\n"
        "    import nothing_of_that_name\n\n\ndef test_more():\n    pass\n"
    )
    done = lab.pytest("chapters/3_2", "chapters/3_1")
    assert done.returncode == 2
    assert "test_more.py cannot be collected in the lab" in done.stdout
    assert "No module named 'nothing_of_that_name'" in done.stdout


def test_a_test_that_is_not_collected_there_fails(lab: Lab) -> None:
    lab.write_test(
        f"from dojo import clone\n\nif str(clone.here().root) != '{lab.there.root}':\n"
        "    def test_more():\n        pass\n"
    )
    done = lab.pytest("chapters/3_2")
    assert outcomes(done) == {"failed": 2}
    assert "collected here, but not in the lab" in done.stdout


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_process_that_dies_in_a_test_fails_that_test_only(lab: Lab, workers: str) -> None:
    lab.write_test(
        "import os\nimport pytest\n\n\n"
        '@pytest.mark.parametrize("number", range(6))\n'
        "def test_it(number):\n    number == 2 and os._exit(3)\n"
    )
    done = lab.pytest("chapters/3_2", "-k", "test_it[", "-n", workers)
    assert outcomes(done) == {"passed": 5, "failed": 1, "deselected": 1}
    assert "the process that ran this test in the lab has died" in done.stdout
    stopped = lab.pytest("chapters/3_2", "-k", "test_it[", "-n", "1", "-x")
    assert outcomes(stopped) == {"passed": 2, "failed": 1, "deselected": 1}


def hangs(lab: Lab) -> None:
    """A test that passes, and then one that hangs on a test host."""
    lab.learner.has_scratch_hosts()
    lab.learner.knows("one", "hang")


def first_passed(child: "subprocess.Popen[str]") -> None:
    """Wait until a test is reported. Its line goes on as far as the next test."""
    assert child.stdout is not None
    shown = b""
    while b"says[one] PASSED" not in shown:
        chunk = os.read(child.stdout.fileno(), 4096)
        assert chunk, shown
        shown += chunk


@pytest.mark.parametrize("workers", ["1", "2"])
def test_ctrl_c_ends_the_tests_there_and_cleans_up(lab: Lab, workers: str) -> None:
    hangs(lab)
    child = lab.starts(pytest_words("chapters/3_1", "-v", "-n", workers))
    first_passed(child)
    os.killpg(child.pid, signal.SIGINT)
    rest, _ = child.communicate(timeout=SECONDS)
    assert child.returncode == pytest.ExitCode.INTERRUPTED
    assert "KeyboardInterrupt" in rest
    assert "1 passed" in rest
    assert not lives(lab.agent())
    assert nothing_is_left()


def test_when_this_side_is_killed_all_ends_there(lab: Lab) -> None:
    hangs(lab)
    child = lab.starts(pytest_words("chapters/3_1", "-v", "-n", "1"))
    first_passed(child)
    agent = lab.agent()
    assert lives(agent)
    child.kill()
    child.wait()
    assert until(lambda: not lives(agent))
    assert nothing_is_left()


def test_when_the_machine_dies_what_was_reported_stays(lab: Lab) -> None:
    hangs(lab)
    child = lab.starts(pytest_words("chapters/3_1", "-v", "-n", "1"))
    first_passed(child)
    lab.dies()
    rest, _ = child.communicate(timeout=SECONDS)
    assert child.returncode == pytest.ExitCode.INTERRUPTED
    (line,) = lines_with("the connection is lost", rest)
    for text in ("kata lab status", "vagrant up", "1 of 4 tests were run"):
        assert text in line, rest
    assert "1 passed" in rest
    assert "Traceback" not in rest
    assert nothing_is_left()


@pytest.mark.parametrize("option", ["--pdb", "--trace"])
def test_a_debugger_is_refused_in_one_line(lab: Lab, option: str) -> None:
    done = lab.pytest("chapters/3_1", option)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert lines_with(f"ERROR: {option}: not over the lab", done.stderr)
    assert not (lab.directory / "pid").exists()


def test_a_program_that_is_not_there_is_refused(lab: Lab) -> None:
    done = lab.pytest("chapters/3_1", "--mydocker", "no-such-program --x")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "no-such-program: no such program" in done.stderr
    unclosed = lab.pytest("chapters/3_1", "--mydocker", "true 'x")
    assert unclosed.returncode == pytest.ExitCode.USAGE_ERROR
    assert lines_with("ERROR: --mydocker true 'x: No closing quotation", unclosed.stderr)


@pytest.mark.parametrize(
    ("way", "said"),
    [
        ("sh -c 'exit 127' --", "there is no /opt/kata/python: type `vagrant provision`"),
        ("sh -c 'echo no route >&2; exit 255' --", "no route"),
        ("sh -c 'echo a password is required >&2; exit 1' --", "a password is required"),
        ("no-such-ssh", "start no-such-ssh: No such file or directory: install OpenSSH"),
    ],
)
def test_a_machine_that_cannot_be_reached_is_told_in_one_line(
    lab: Lab, way: str, said: str
) -> None:
    done = lab.pytest("chapters/3_1", KATA_LAB_SSH=way)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    (line,) = [line for line in done.stderr.splitlines() if line]
    assert said in line


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("sys.version_info = (3, 8, 10)", "its Python is 3.8.10, older than 3.11"),
        ("MODULES = ('pytest', 'nothing_here')", "its Python has no nothing_here"),
        ("os.geteuid = lambda: 1000", "our agent is not root there"),
        ("shutil.disk_usage = lambda place: type('', (), {'free': 1 << 20})", "1 MiB are free"),
    ],
)
def test_a_machine_that_cannot_run_tests_is_told_in_one_line(
    lab: Lab, change: str, said: str
) -> None:
    landing = lab.learner.clone.root / "dojo/labs/landing.py"
    landing.write_text(landing.read_text() + f"\n\n{change}\n")
    done = lab.pytest("chapters/3_1")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    (line,) = [line for line in done.stderr.splitlines() if line]
    assert said in line
    assert "`vagrant provision`" in line or "`kata lab reset`" in line


# kata check and kata watch -----------------------------------------------------------------------


def test_check_shows_there_what_it_shows_here(lab: Lab) -> None:
    there = lab.kata("check", "3.1", "--lab", "vagrant")
    assert there.returncode == 1, there.stdout + there.stderr
    (line,) = lines_with("Running the tests", there.stdout)
    assert line.endswith(f"in the lab: vagrant, {KERNEL}.")
    here = lab.learner.types("check", "3.1", "--lab", "auto")
    assert without_blanks(there.stdout)[2:] == [
        words for words in without_blanks(here.stdout)[2:] if words[-2:] != ["by", "hand"]
    ]
    assert lines_with("1 of 4", lab.kata("status").stdout)


def without_blanks(text: str) -> list[list[str]]:
    """The words of each line: a longer command among the next ones moves what they are for."""
    return [line.split() for line in text.splitlines()]


def test_check_tells_of_a_program_that_does_not_start_there(lab: Lab) -> None:
    lab.learner.writes("words.py", "KNOWN = {\n")
    done = lab.kata("check", "3.1", "--lab", "vagrant")
    assert (done.returncode, done.stderr) == (1, "")
    assert lines_with("Your mydocker/ does not start, so no test was run.", done.stdout)
    assert lines_with("  where     mydocker/words.py, line 1", done.stdout)


def test_check_refuses_in_one_line(lab: Lab) -> None:
    done = lab.kata("check", "3.1", "--lab", "vagrant", "--mydocker", "no-such-program")
    assert (done.returncode, done.stderr) == (
        2,
        "kata: --mydocker no-such-program: no such program\n",
    )
    way = lab.runs(kata("check", "3.1", "--lab", "vagrant"), KATA_LAB_SSH="sh -c 'exit 127' --")
    assert way.returncode == 2
    assert way.stderr.startswith("kata: lab vagrant: there is no /opt/kata/python")


def test_check_stops_at_ctrl_c(lab: Lab) -> None:
    hangs(lab)
    child = lab.starts(kata("check", "3.1", "--lab", "vagrant", "-n", "2"))
    assert child.stdout is not None
    shown = ""
    while "Running" not in shown:
        shown += child.stdout.readline()
    assert until(lambda: list(Path("/sys/fs/cgroup").glob("*/kata-*")))
    os.killpg(child.pid, signal.SIGINT)
    rest, _ = child.communicate(timeout=SECONDS)
    assert child.returncode == 130, rest
    assert "topped" in rest
    assert not lives(lab.agent())
    assert nothing_is_left()


def test_check_tells_when_the_machine_dies(lab: Lab) -> None:
    hangs(lab)
    child = lab.starts(kata("check", "3.1", "--lab", "vagrant", "-n", "1"))
    assert child.stdout is not None
    shown = ""
    while "Small words" not in shown and "Running" not in shown:
        shown += child.stdout.readline()
    assert until(lambda: worker_hangs(lab))
    lab.dies()
    rest, _ = child.communicate(timeout=SECONDS)
    assert child.returncode == 1, rest
    assert lines_with("the connection is lost", rest)
    assert "Traceback" not in rest
    assert nothing_is_left()


def worker_hangs(lab: Lab) -> bool:
    """Whether a test there has come to the word that hangs."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"two" in words and b"busybox" in words:
            environment = path.with_name("environ").read_bytes()
            return str(lab.there.root).encode() in environment
    return False


def test_the_next_check_of_a_watch_stands_by(lab: Lab) -> None:
    """It has reached the lab when the save comes, and takes what was saved along."""
    lab.learner.knows("one")
    child = lab.starts(kata("watch", "3.1", "--lab", "vagrant"))
    try:
        shown = shows(child, "1 of 4 green")
        shown = shows(child, "Waiting for a save")
        first = lab.agent()
        assert until(lambda: lab.agent() != first)
        second = lab.agent()
        assert lives(second)
        lab.learner.knows("one", "two")
        shown = shows(child, "2 of 4 green")
        assert "in the lab: vagrant" in shown
        shows(child, "Waiting for a save")
        assert until(lambda: lab.agent() != second)
        third = lab.agent()
    finally:
        child.send_signal(signal.SIGINT)
        child.communicate(timeout=SECONDS)
    assert child.returncode == 130
    assert until(lambda: not lives(third))


def shows(child: "subprocess.Popen[str]", text: str) -> str:
    assert child.stdout is not None
    shown = ""
    while text not in shown:
        line = child.stdout.readline()
        assert line, shown
        shown += line
    return shown
