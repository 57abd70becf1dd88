"""The side of the lab that is not Linux: what collects tests and hears of them runs anywhere."""

import subprocess
import sys
from pathlib import Path

import pytest

from dojo import clone
from tests.labs import Lab, make_lab

# What macOS and Windows do not have, or one of them; SIGKILL has no name on Windows.
ELSEWHERE = """\
import os, platform, signal, subprocess, sys
import pytest

missing = ["fcntl", "termios", "pty", "tty", "pwd", "grp", "resource"]
sys.modules.update(dict.fromkeys(missing))
for module, names in (
    (os, ["getxattr", "listxattr", "memfd_create", "pidfd_open", "sched_getaffinity", "setxattr"]),
    (os, ["lchown", "mkfifo", "mknod", "setns", "unshare"]),
    (signal, ["SIGCHLD", "SIGCONT", "SIGHUP", "SIGKILL", "SIGSTOP", "SIGUSR1", "SIGWINCH"]),
):
    for name in names:
        if hasattr(module, name):
            delattr(module, name)
sys.platform = "darwin"
platform.system = lambda: "Darwin"
"""
PLUGINS = ["dojo.plugin", "xdist.plugin", "_hypothesis_pytestplugin", "no:cacheprovider"]
OPTIONS = [word for plugin in PLUGINS for word in ("-p", plugin)]

HOST_SIDE = [
    "dojo.learner.check",
    "dojo.learner.check_labs",
    "dojo.testkit.lab",
    "dojo.learner.lab_commands",
    "dojo.labs.choice",
    "dojo.labs.connection",
    "dojo.labs.remote",
    "dojo.labs.tree",
    "dojo.labs.vagrant",
    "dojo.plugin.hooks",
    "dojo.testkit.trees",
    "dojo.testkit.twins",
    "dojo.learner.watch",
]


def code(*lines: str) -> list[str]:
    return [sys.executable, "-c", "\n".join([ELSEWHERE, *lines])]


def pytest_elsewhere(*words: str) -> list[str]:
    return code(f"sys.exit(pytest.main({[*OPTIONS, *words]!r}))")


def here(words: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words,
        cwd=clone.here().root,
        env={
            "PATH": "/usr/bin:/bin",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "HYPOTHESIS_NO_PLUGINS": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("module", HOST_SIDE)
def test_the_host_side_can_be_imported(module: str) -> None:
    done = here(code(f"import {module}"))
    assert done.returncode == 0, done.stderr


def test_the_machines_side_cannot() -> None:
    """So the block blocks."""
    assert here(code("import dojo.labs.agent")).returncode != 0


def test_all_chapters_tests_can_be_collected() -> None:
    done = here(pytest_elsewhere("chapters", "--collect-only", "-q"))
    assert done.returncode == 0, done.stdout[-3000:]
    usual = here([sys.executable, "-m", "pytest", *OPTIONS, "chapters", "--collect-only", "-q"])
    tests = [line for line in usual.stdout.splitlines() if "::" in line]
    assert len(tests) > 500
    assert [line for line in done.stdout.splitlines() if "::" in line] == tests


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    lab = make_lab(tmp_path)
    lab.learner.knows("one")
    return lab


def test_tests_run_in_the_lab(lab: Lab) -> None:
    words = pytest_elsewhere("chapters/3_1", "--lab=vagrant", "-rf")
    done = lab.runs(words, PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    assert "platform darwin" in done.stdout
    assert "lab: vagrant, Linux" in done.stdout
    assert "1 passed" in done.stdout
    assert "3 failed" in done.stdout
    assert done.returncode == 1


def test_without_being_asked_the_lab_is_used(lab: Lab) -> None:
    done = lab.runs(pytest_elsewhere("chapters/3_1"), PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    assert "lab: vagrant, Linux" in done.stdout
    none = lab.runs(
        pytest_elsewhere("chapters/3_1"), PYTEST_DISABLE_PLUGIN_AUTOLOAD="1", KATA_LAB_SSH=""
    )
    assert none.returncode == pytest.ExitCode.USAGE_ERROR
    (line,) = [line for line in none.stderr.splitlines() if line]
    assert "takes Linux" in line
    assert "`vagrant up`" in line
    assert "sudo" not in line


def test_check_runs_in_the_lab(lab: Lab) -> None:
    plugins = (
        "dojo.learner.run.plugin_options = lambda: ['-p', 'dojo.plugin', '-p', 'xdist.plugin']"
    )
    autoload = "dojo.testkit.surroundings.clear_for_tests = lambda: None"  # as it is set below
    typed = "sys.argv = ['kata', 'check', '3.1']"
    words = code("import dojo.learner.check, dojo.cli", plugins, autoload, typed, "dojo.cli.main()")
    done = lab.runs(words, PYTEST_DISABLE_PLUGIN_AUTOLOAD="1")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "in the lab: vagrant, Linux" in done.stdout
    assert "1 of 4 green, 3 red" in done.stdout
