"""The pytest plugin, tried on small test files and small programs under test."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dojo import clone
from tests.learners import require_lab

pytest_plugins = ["pytester"]

WORKS = (
    'case "$1" in run) shift; while [ "$1" != busybox ]; do shift; done; shift; exec "$@";; esac'
)


@pytest.fixture(autouse=True)
def lab_here(request: pytest.FixtureRequest) -> None:
    require_lab(request)


@pytest.fixture
def under_test(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch):
    """Run test code against a program under test that is a shell script."""
    monkeypatch.setenv("PYTHONPATH", str(clone.here().root))
    plugins = [] if registered() else ["-p", "dojo.plugin"]

    def run(program: str, code: str, *options: str) -> pytest.RunResult:
        script = pytester.path / "program"
        script.write_text(f"#!/bin/sh\n{program}\n")
        script.chmod(0o755)
        pytester.makepyfile(f"from dojo.testkit.testing import check, expect\n\n\n{code}")
        arguments = ["-p", "no:cacheprovider", *plugins, "--mydocker", str(script), *options]
        return pytester.runpytest_subprocess(*arguments)

    return run


def registered() -> bool:
    from importlib.metadata import entry_points

    return any(point.value == "dojo.plugin" for point in entry_points(group="pytest11"))


TEST = '''
def test_it(mydocker):
    """It is good for something."""
    expect(mydocker("run", "busybox", "echo", "hello"), status=0, out="hello\\n")
'''


def test_a_program_that_does_what_it_should(under_test) -> None:
    under_test(WORKS, TEST).assert_outcomes(passed=1)


def test_the_whole_call_is_shown(under_test) -> None:
    result = under_test("echo wrong; echo other >&2; exit 3", TEST)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*ran       mydocker run busybox echo hello",
            "*status    3",
            "*stdout    wrong",
            "*stderr    other",
            "*expected  status 0",
            "*expected  stdout exactly hello",
        ]
    )


SPECIAL = """
def test_it(mydocker, tmp_path):
    call = mydocker(
        "run", "busybox", "cat", env={"LC_ALL": "C"}, before=FULL, cwd=tmp_path, stdin=b"typed\\n"
    )
    expect(call, out="other")


def test_a_root(mydocker):
    expect(mydocker("run", "busybox", "true", env={"MYDOCKER_ROOT": "/tmp/r"}), out="other")


def test_what_was_set_for_all_calls(mydocker):
    mydocker.env["MYDOCKER_STORAGE_DRIVER"] = "aufs"
    call = mydocker.start("run", "busybox", "cat", stdin=None, before=non_blocking(1)).stop()
    expect(call, out="other")
"""


def test_what_is_special_about_a_call_is_shown(under_test) -> None:
    """Environment, descriptors, directory: without them a learner would see another program."""
    result = under_test("exit 3", f"from dojo.testkit.callers import FULL, non_blocking\n{SPECIAL}")
    result.assert_outcomes(failed=3)
    driver = "MYDOCKER_STORAGE_DRIVER=aufs"
    notes = "stdout: non-blocking, a pipe of one page; stdin: a pipe that stays open"
    for line in (
        "cd /*/test_it0 && printf 'typed?n' | LC_ALL=C mydocker run busybox cat > /dev/full",
        "MYDOCKER_ROOT=/tmp/r mydocker run busybox true",
        f"{driver} mydocker run busybox cat  # {notes}",
    ):
        result.stdout.fnmatch_lines([f"*ran       {line}"])


@pytest.mark.parametrize(
    ("said", "is_named"),
    [("no option --nosuch", 1), ("provided but not defined: -nosuch", 1), ("no such option", 0)],
)
def test_an_option_may_be_named_with_one_dash(under_test, said: str, is_named: int) -> None:
    """Go's flag package drops the second one, whatever was typed."""
    code = TEST.replace('status=0, out="hello\\n"', 'complaint=["--nosuch"]')
    result = under_test(f"echo {said!r} >&2", code)
    result.assert_outcomes(passed=is_named, failed=1 - is_named)


@pytest.mark.parametrize(("said", "is_named"), [("lo: not permitted", 1), ("not allowed", 0)])
def test_a_short_word_is_looked_for_as_a_whole(under_test, said: str, is_named: int) -> None:
    code = TEST.replace('status=0, out="hello\\n"', 'complaint=["lo"]')
    under_test(f"echo {said!r} >&2", code).assert_outcomes(passed=is_named, failed=1 - is_named)


def test_a_program_that_hangs_is_ended_and_shown_with_its_output(under_test) -> None:
    code = TEST.replace('"hello"', '"hello", seconds=0.5')
    result = under_test("echo so far; exec sleep 1000", code)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*stdout    so far", "*problem   it did not end within*"])


def test_a_program_that_prints_megabytes_is_cut(under_test) -> None:
    result = under_test("head -c 50000000 /dev/zero | tr '\\0' x; exit 0", TEST)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*problem   it wrote 50000000 bytes to stdout"])
    assert len(result.stdout.str()) < 20_000


def test_a_program_that_forks_without_end_is_ended(under_test) -> None:
    code = TEST.replace('"hello"', '"hello", seconds=2')
    under_test("while :; do sleep 98765 & done", code).assert_outcomes(failed=1)
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    assert "sleep 98765" not in listed.stdout.splitlines()


@pytest.mark.parametrize(
    ("leak", "word"),
    [
        ("mount -t tmpfs left-over /mnt", "a mount was left: /mnt"),
        ("setsid sleep 1000 >/dev/null 2>&1 &", "sleep 1000` was left"),
        ("mkdir -p $MYDOCKER_ROOT/mnt", "/mnt was left"),
    ],
)
def test_a_leak_fails_a_test_that_passed(under_test, leak: str, word: str) -> None:
    result = under_test(f"{leak}\n{WORKS}", TEST)
    result.assert_outcomes(failed=1)
    assert word in result.stdout.str()
    result.stdout.fnmatch_lines(["*expected  when a container has ended, nothing of it remains*"])


def test_a_leak_does_not_hide_why_a_test_failed(under_test) -> None:
    result = under_test("mount -t tmpfs left-over /mnt; exit 3", TEST)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*expected  status 0"])


def test_a_traceback_of_the_program_is_called_its_own(under_test) -> None:
    result = under_test(f"exec {os.sys.executable} -c 'import nothing_of_that_name'", TEST)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*note*a Python traceback of its own: ModuleNotFoundError*"])


def test_tests_do_not_see_each_other_under_xdist(under_test) -> None:
    code = """
import pytest

@pytest.mark.parametrize("number", range(8))
def test_it(mydocker, number):
    call = mydocker("run", "busybox", "sh", "-c", "echo $MYDOCKER_ROOT; ls $MYDOCKER_ROOT")
    expect(call, status=0)
    check(call.text.endswith("images\\n"), "a root of its own", call.text)
"""
    under_test(WORKS, code, "-n", "2").assert_outcomes(passed=8)


def test_no_such_program(under_test, pytester: pytest.Pytester) -> None:
    assert under_test(WORKS, TEST).ret == 0
    plugins = [] if registered() else ["-p", "dojo.plugin"]
    result = pytester.runpytest_subprocess(*plugins, "--mydocker", "no-such-program --x")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*no-such-program: no such program*"])


def against_a_chapter(
    pytester: pytest.Pytester, program: str, monkeypatch: pytest.MonkeyPatch, *tests: str
) -> pytest.RunResult:
    """Run tests of chapters against a shell script. tests: a path below chapters/ and a name."""
    monkeypatch.setenv("PYTHONPATH", str(clone.here().root))
    script = pytester.path / "program"
    script.write_text(f"#!/bin/sh\n{program}\n")
    script.chmod(0o755)
    plugins = [] if registered() else ["-p", "dojo.plugin"]
    as_written = ["-p", "no:cacheprovider", "-p", "no:randomly", "--import-mode=importlib"]
    options = [*as_written, "--mydocker", str(script)]
    paths = [f"{clone.here().chapters}/{test}" for test in tests]
    root = f"--rootdir={clone.here().root}"
    return pytester.runpytest_subprocess(*plugins, root, *options, *paths)


LEAVES_IT_ONLY_IF_IT_PRINTS = (
    "for word; do [ $word != printf ] || mkdir -p $MYDOCKER_ROOT/mnt; done"
)
PLAIN = "3_1/test_run.py::test_stdout_is_that_of_the_command_to_the_byte"
MORE = "3_1/test_run.py::test_much_output_comes_through"


@pytest.mark.parametrize(
    ("leak", "tests", "failed"),
    [
        ("mkdir -p $MYDOCKER_ROOT/mnt", [PLAIN, MORE], [PLAIN]),
        ("mkdir -p $MYDOCKER_ROOT/mnt", [MORE], [MORE]),
        (LEAVES_IT_ONLY_IF_IT_PRINTS, [PLAIN, MORE], [PLAIN]),
        (LEAVES_IT_ONLY_IF_IT_PRINTS, [MORE], []),
        (LEAVES_IT_ONLY_IF_IT_PRINTS.replace("printf", "head"), [PLAIN, MORE], [MORE]),
        (LEAVES_IT_ONLY_IF_IT_PRINTS.replace("printf", "true"), [PLAIN, MORE], [PLAIN]),
    ],
)
def test_what_any_run_leaves_is_told_once_a_chapter(
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    leak: str,
    tests: list[str],
    failed: list[str],
) -> None:
    """By the first test, also where that one alone would not have left it: nothing is hidden."""
    result = against_a_chapter(pytester, f"{leak}\n{WORKS}", monkeypatch, *tests)
    result.assert_outcomes(failed=len(failed), passed=len(tests) - len(failed))
    for test in failed:
        title = test.partition("::test_")[2].replace("_", " ")
        result.stdout.fnmatch_lines([f"*{title}", "*left      */root/mnt was left*"])


@pytest.mark.skipif("overlay" not in Path("/proc/filesystems").read_text(), reason="no overlay")
def test_what_the_first_test_pardons_is_not_told(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It knows that a later task deals with that."""
    leaves_it = "mkdir -p $MYDOCKER_ROOT/mnt; echo x"
    test = "4_2/test_layers.py::test_a_container_can_write[overlay]"
    result = against_a_chapter(pytester, leaves_it, monkeypatch, test)
    result.assert_outcomes(passed=1)


@pytest.mark.parametrize(("name", "article"), [("uts", "a"), ("ipc", "an")])
def test_a_namespace_has_the_right_article(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, name: str, article: str
) -> None:
    test = f"3_1/test_run.py::test_each_namespace_is_a_new_one[{name}]"
    result = against_a_chapter(pytester, WORKS, monkeypatch, test)
    result.stdout.fnmatch_lines([f"*expected  {article} {name} namespace that is not the caller's"])


def test_a_mount_that_is_missing_is_not_called_one_that_stays(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = "1 0 0:1 / %s rw - tmpfs none rw"
    shows = "".join(f'echo "{line % point}"\n' for point in ("/", "/proc", "/dev"))
    test = "4_1/test_busybox.py::test_no_mount_of_the_host_is_left"
    result = against_a_chapter(pytester, shows, monkeypatch, test)
    result.stdout.fnmatch_lines(["*found     none on /sys", "*expected  a mount on each of *"])
    why = next(line for line in result.outlines if line.startswith("  why "))
    assert "have to go" not in why


CHAPTER = clone.here().chapters / "3_1"


def collect(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    plugins = [] if registered() else ["-p", "dojo.plugin"]
    root = f"--rootdir={clone.here().root}"
    ini = ["-c", str(clone.here().root / "pyproject.toml")]
    options = ["-p", "no:cacheprovider", "--collect-only", "-q"]
    return pytester.runpytest_subprocess(*ini, root, *plugins, *options, *arguments)


def test_a_chapter_is_chosen_by_its_number(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(clone.here().root))
    chapters = str(clone.here().chapters)
    for typed in ("3.2", "3_2"):
        collected = collect(pytester, chapters, "--chapter", typed).stdout.str()
        assert "test_limits.py" in collected
        assert "test_run.py" not in collected
    wrong = collect(pytester, chapters, "--chapter", "9.9")
    assert wrong.ret == pytest.ExitCode.USAGE_ERROR
    wrong.stderr.fnmatch_lines(["*no chapter '9.9'*3.1*"])


def test_tasks_come_in_their_order(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(clone.here().root))
    lines = collect(pytester, str(CHAPTER)).stdout.str().splitlines()
    names = [line.rpartition("::")[2] for line in lines if "::" in line]
    assert names[0] == "test_a_command_that_succeeds_ends_with_0"
    assert names[-1] == "test_a_parent_that_died_just_before_is_noticed"


def test_only_the_first_tasks_are_run(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(clone.here().root))
    shown = collect(pytester, str(CHAPTER), "--up-to-task=2").stdout.str()
    assert "test_stdin_is_empty_without_i" in shown
    assert "test_the_command_is_pid_1" not in shown


def test_what_the_machine_cannot_run_is_skipped_or_fails(
    under_test, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a test in a chapter has needs: one of 3.1 gets a need that no machine here meets."""
    monkeypatch.delenv("KATA_LAB_LACKS", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(clone.here().root))
    plugins = [] if registered() else ["-p", "dojo.plugin"]
    pytester.makeconftest(
        """
        import pytest
        from dojo.testkit import lab

        lab.cannot = lambda needs: "no AUFS in this kernel" if "aufs" in needs else None
        """
    )
    test = CHAPTER / "test_run.py"
    options = ["-p", "no:cacheprovider", "-rs", "--import-mode=importlib", "-k", "succeeds"]
    root = f"--rootdir={clone.here().root}"
    call = [*plugins, *options, root, "-p", "conftest", str(test), "--mydocker", "/bin/true"]
    pytester.makepyfile(
        force_need="""
        import pytest

        @pytest.hookimpl(tryfirst=True)
        def pytest_collection_modifyitems(items):
            for item in items:
                item.add_marker(pytest.mark.needs("aufs"))
        """
    )
    monkeypatch.syspath_prepend(str(pytester.path))
    monkeypatch.setenv("PYTHONPATH", f"{clone.here().root}:{pytester.path}")
    skipped = pytester.runpytest_subprocess(*call, "-p", "force_need")
    assert skipped.parseoutcomes()["skipped"] == 1
    skipped.stdout.fnmatch_lines(["*no AUFS in this kernel*"])
    strict = pytester.runpytest_subprocess(*call, "-p", "force_need", "--strict-lab")
    strict.stdout.fnmatch_lines(["*this machine cannot run it: no AUFS in this kernel*"])
    assert strict.ret == pytest.ExitCode.TESTS_FAILED
    monkeypatch.setenv("KATA_LAB_LACKS", "aufs")
    known = pytester.runpytest_subprocess(*call, "-p", "force_need", "--strict-lab")
    assert known.parseoutcomes()["skipped"] == 1


def test_chapters_draw_nothing_that_cannot_be_kept() -> None:
    """The plugin keeps what `random` and Hypothesis draw until a test is green, see draws.py."""
    for path in clone.here().chapters.glob("*/test_*.py"):
        text = path.read_text()
        assert not re.search(r"urandom\(|SystemRandom|import secrets", text), path
        if "database=None" in text:
            assert "seed(random." in text, path


def test_a_failure_is_known_where_the_caller_ignores_sigchld(pytester: pytest.Pytester) -> None:
    """Else a test of the kata could not tell a program that failed from one that succeeded."""
    test = "def test_it():\n    assert subprocess.run(['false']).returncode == 1"
    pytester.makepyfile(f"import subprocess\n\n\n{test}")
    plugins = [] if registered() else ["-p", "dojo.plugin"]
    words = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *plugins]
    result = pytester.run("env", "--ignore-signal=CHLD", *words)
    result.assert_outcomes(passed=1)
