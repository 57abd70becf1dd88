"""A stand-in for the lab's machine: this one, reached as by ssh, with a working tree of its own."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dojo.clone import Clone
from tests.learners import Learner, make_learner

SECONDS = 60

# What ssh does with its last word, but on this machine.
WAY = """\
#!/bin/sh
for command; do :; done
command=$(printf %s "$command" |
    sed 's,^sudo -n /opt/kata/python,{python},; s,/opt/kata/clone,{clone},')
case $command in
{python}*)
    echo $$ > {directory}/pid.new && mv {directory}/pid.new {directory}/pid # never seen empty
    exec sh -c "exec $command" ;;
esac
exec sh -c "$command"
"""


@dataclass(frozen=True)
class Lab:
    """A learner whose tests run in the stand-in.

    there: the clone on the other side.
    """

    learner: Learner
    directory: Path
    there: Clone

    @property
    def environment(self) -> dict[str, str]:
        return {**self.learner.environment, "KATA_LAB_SSH": str(self.directory / "way")}

    def pytest(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run pytest in the learner's clone, with the lab."""
        return self.runs(pytest_words(*words), **environment)

    def kata(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.runs([sys.executable, "-m", "dojo", *words])

    def runs(self, words: Sequence[str], **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words,
            cwd=self.learner.clone.root,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
        )

    def starts(self, words: Sequence[str]) -> "subprocess.Popen[str]":
        """Start something in a process group of its own, and read what it says."""
        return subprocess.Popen(
            words,
            cwd=self.learner.clone.root,
            env={**self.environment, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            process_group=0,
        )

    def agent(self) -> int:
        """The PID of the agent that was started last."""
        return int((self.directory / "pid").read_text())

    def dies(self) -> None:
        """The machine goes away, as when its plug is pulled."""
        os.kill(self.agent(), signal.SIGKILL)

    def write_test(self, text: str) -> None:
        (self.learner.clone.chapters / "3_2/test_more.py").write_text(text)


def make_lab(directory: Path) -> Lab:
    learner = make_learner(directory / "clone")
    there = directory / "there"
    way = directory / "way"
    way.write_text(WAY.format(python=sys.executable, clone=there, directory=directory))
    way.chmod(0o755)
    return Lab(learner, directory, Clone(there))


def pytest_words(*words: str) -> list[str]:
    from dojo.learner.run import plugin_options

    return [sys.executable, "-m", "pytest", *plugin_options(), "--lab=vagrant", *words]


def until(condition: Callable[[], object], seconds: float = SECONDS) -> bool:
    """Wait until something is so. Returns whether it came to be."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return bool(condition())


def lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
