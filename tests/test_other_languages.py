"""The page for programs in other languages: its commands are run, and its script is tried."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from dojo import clone
from tests.compiler import compiled, require_compiler
from tests.learners import require_lab

ROOT = clone.here().root
PAGE = (ROOT / "docs" / "other-languages.md").read_text()
SOURCE = ROOT / "tests" / "doubles" / "mydocker.c"


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", PAGE, flags=re.M | re.S)


def runs(typed: str) -> "subprocess.CompletedProcess[str]":
    """Type a command at the top of the clone, as root already, with the Python of this run."""
    python = shlex.quote(sys.executable)
    typed = typed.removeprefix("sudo ").replace("./kata", f"{python} -m dojo", 1)
    typed = typed.replace(".venv/bin/pytest", f"{python} -m pytest", 1)
    environment = {**os.environ, "NO_COLOR": "1"}
    words = ["sh", "-c", typed]
    return subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True)


def test_the_commands_are_green(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    require_lab(request)
    require_compiler(request)
    commands = [line[2:] for block in blocks("console") for line in block.splitlines()]
    assert len(commands) == 5
    for command in commands:
        done = runs(command.replace("/tmp/mydocker", str(tmp_path / "mydocker")))
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"


def test_a_script_in_front_is_taken_for_the_program(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """The program of the example says `start` where the tests say `run`."""
    require_lab(request)
    require_compiler(request)
    other = tmp_path / "mydocker.c"
    other.write_text(
        SOURCE.read_text().replace('strcmp(words[1], "run")', 'strcmp(words[1], "start")')
    )
    program, script = compiled(other, tmp_path), tmp_path / "script"
    script.write_text(blocks("sh")[0].replace("/home/you/box", str(program)))
    script.chmod(0o755)
    tests = "chapters/3_1 -n 2 -p no:cacheprovider --mydocker"
    assert runs(f".venv/bin/pytest {tests} {script}").returncode == 0
    refused = runs(f".venv/bin/pytest {tests} {program} -k that_succeeds")
    assert (refused.returncode, "no such command" in refused.stdout) == (1, True), refused.stdout
