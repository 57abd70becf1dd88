"""What runs on macOS and Windows too: the tool, and the plugin as far as collecting tests."""

import subprocess
import sys

import pytest

from dojo import clone

LINUX_ONLY = ["fcntl", "termios", "pty", "tty", "pwd", "grp", "resource"]
MODULES = [
    "dojo.cli",
    "dojo.plugin",
    "dojo.testkit.testing",
    "dojo.course.steps",
    "dojo.learner.doctor",
    "dojo.testkit.machine",
]


@pytest.mark.parametrize("module", MODULES)
def test_the_host_side_imports_without_the_modules_of_unix(module: str) -> None:
    block = f"import sys; sys.modules.update(dict.fromkeys({LINUX_ONLY}))"
    works = subprocess.run(
        [sys.executable, "-c", f"{block}; import {module}"],
        cwd=clone.here().root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert works.returncode == 0, works.stderr


def test_the_block_blocks() -> None:
    block = f"import sys; sys.modules.update(dict.fromkeys({LINUX_ONLY})); import pty"
    done = subprocess.run([sys.executable, "-c", block], capture_output=True, check=False)
    assert done.returncode != 0
