"""The commands of "See it with your own eyes" do what the lessons say.

Each lesson's are typed into a shell, on a terminal of a test host, one after the other; what
comes out is compared with what the lesson shows. Numbers, dates and the order of lines are this
machine's, and the same PID means the same process: where a lesson goes on with one that it has
shown, the one that was really there is typed.
"""

import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from dojo import clone
from dojo.course.catalogue import Catalogue, Chapter
from dojo.scratch import Running, TestHost, groups
from dojo.testkit import lab, machine, rootfs
from tests.learners import require_lab

CHAPTERS = Catalogue(clone.here()).chapters
PROMPT = "\x01ready\x02"
SECONDS = 20.0
QUIET_SECONDS = 0.5
REST = "…"  # a line of a lesson that stands for whatever follows
AT_ONCE = "& done; wait"  # in a command: several write at the same moment
NEVER_THE_SAME = "findmnt"  # a lesson that shows nothing of it lets the learner look

# What a shell says between two commands, as early or late as it likes.
NOTICES = re.compile(
    r"\[\d+\][+-]? +(Done|Terminated|Killed|Exit|Running)|exit$"
    r"|unshare: sigprocmask unblock failed|sh: \d+: Cannot set tty process group"
)

# What is true of a machine of one's own, and not of a test host.
ELSEWHERE = {
    "vm": "test-host",
    "bash --norc --noprofile --noediting -i": "bash",
    "lr-x------ 1 you you": "lr-x------ 1 root root",
    "/tmp/box / rw,relatime - ext4 /dev/vda": "/box / rw,relatime - tmpfs tmpfs",
    "PWD=/root": "PWD=/tmp/here",
    "Ada L., /root": "Ada L., /tmp/here",
}


@dataclass
class Step:
    """A command of a lesson, and the lines that it shows."""

    command: str
    shown: list[str] = field(default_factory=list)


def steps_of(lesson: str) -> Iterator[Step]:
    """The commands of the section, in all of its blocks: they are one sitting."""
    section = lesson.partition("## See it with your own eyes\n")[2].partition("\n## ")[0]
    for block in re.findall(r"^```console\n(.*?)^```$", section, flags=re.M | re.S):
        step: Step | None = None
        for line in block.splitlines():
            if line in ("#", "$"):
                continue  # a prompt after a command that says nothing
            if line.startswith(("# ", "$ ")):
                if step is not None:
                    yield step
                step = Step(line[2:])
            elif line.startswith("> ") and step is not None and not step.shown:
                step.command += f"\n{line[2:]}"
            elif step is not None:
                step.shown.append(line)
        if step is not None:
            yield step


class Shell:
    """An interactive shell, which is asked one command after the other."""

    def __init__(self, host: TestHost, tar: Path) -> None:
        self.running: Running = host.start(
            ["bash", "--norc", "--noprofile", "--noediting", "-i"],
            terminal=True,
            env={
                "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "HOME": "/tmp/here",
                "LANG": "C.UTF-8",
                "TERM": "dumb",
                "PS1": PROMPT,
                "PS2": "",
            },
        )
        self.same: dict[str, str] = {}  # a number in the lesson: what it is here
        self.command = ""  # of the lesson, that was typed last
        self._seen = 0
        self._prompt_after(0)
        self.type("stty -echo")
        self.type(f"mount -t tmpfs tmpfs /srv && cp {tar} /srv/busybox.tar")  # it may lie in /tmp
        self.type("mount -t tmpfs tmpfs /tmp && mkdir /tmp/here && cd /tmp/here")
        self.type("mount --bind /dev/null /etc/bash.bashrc")  # it sets another prompt
        self.type("printf '#!/bin/sh\\necho /srv/busybox.tar\\n' > kata; chmod +x kata")

    def type(self, command: str) -> str:
        """Returns all that was shown until the next prompt."""
        self._seen = len(self.running.out)
        self.running.type(f"{command}\n".encode())
        return self._prompt_after(self._seen)

    def _prompt_after(self, seen: int) -> str:
        deadline = time.monotonic() + SECONDS * machine.patience()
        # Of root, dash has a prompt that cannot be chosen.
        while not re.search(rf"{PROMPT}|^# $", self._text(seen), flags=re.M):
            assert time.monotonic() < deadline, f"no prompt, but {self._text(seen)!r}"
            time.sleep(0.005)
        return self._text(seen)

    def so_far(self) -> list[str]:
        """The lines that were shown since the last command was typed."""
        text = re.sub(rf"{PROMPT}|^# ", "", self._text(self._seen), flags=re.M)
        return [line for line in text.splitlines() if line.strip()]

    def _text(self, seen: int) -> str:
        return self.running.out[seen:].decode(errors="replace").replace("\r", "")

    def shows(self, step: Step) -> bool:
        """Type a command of a lesson, and see whether what it shows is what the lesson says."""
        self.command = step.command
        command = re.sub(r"\d{4,}", lambda found: self.same.get(found[0], found[0]), step.command)
        # With line editing, a bash says again what was typed.
        command = re.sub(r"^unshare --mount$", "unshare --mount bash", command)
        self.type(re.sub(r"\bbash$", "bash --noediting", command))
        if command.rstrip().endswith("&"):
            self._let_it_come_up()
        if step.command.startswith(NEVER_THE_SAME) and not step.shown:
            return bool(self.so_far())
        deadline = time.monotonic() + 3 * machine.patience()
        while not self._matches(step.shown) and time.monotonic() < deadline:
            time.sleep(0.01)  # from the background, it comes when it comes
        return self._matches(step.shown)

    def _let_it_come_up(self) -> None:
        """Wait until what was started in the background has become what it is to be.

        A person takes longer to type the next command. It is there when all sleep, and the same
        ones do so for a while.
        """
        host, deadline = self.running.host, time.monotonic() + SECONDS * machine.patience()
        before, since = None, time.monotonic()
        while time.monotonic() < min(deadline, since + QUIET_SECONDS * machine.patience()):
            there = {(process.pids, process.command) for process in host.processes()}
            is_asleep = all(process.state in "SZ" for process in host.processes())
            if there != before or not is_asleep:
                before, since = there, time.monotonic()
            time.sleep(0.01)

    def _matches(self, shown: list[str]) -> bool:
        here = [line for line in self.so_far() if not NOTICES.match(line)]
        wanted = [line for line in shown if line.strip() and not NOTICES.match(line)]
        if REST in wanted:
            wanted = wanted[: wanted.index(REST)]
            here = here[: len(wanted)]
        if AT_ONCE in self.command:
            return letters(self.so_far()) == letters(shown)
        if Counter(map(plain, here)) != Counter(map(plain, wanted)):
            return False
        pairs = zip(sorted(wanted, key=plain), sorted(here, key=plain), strict=True)
        for line, found in pairs:
            self.same.update(zip(re.findall(r"\d+", line), re.findall(r"\d+", found), strict=False))
        return True


def letters(lines: list[str]) -> Counter[str]:
    """How often each letter is in lines, without notices, wherever these came in between.

    Letters, not words: a program writes its message in several pieces, so another's may begin
    right after its last word, before the end of its line.
    """
    text = re.sub(r"\[\d+\][+-]? +(Done|Exit \d+) +rmdir box", "", "\n".join(lines))
    return Counter(re.findall(r"[A-Za-z']", text))


def plain(line: str) -> str:
    """A line without what differs from one machine and one day to the other."""
    for there, here in ELSEWHERE.items():
        line = here if line == there else line.replace(there, here) if " " in there else line
    line = re.sub(r"\b(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) +\d+", "DAY", line)
    line = re.sub(r"^(\[\d+\])[+-]?", r"\1", line)  # which job is the current one
    line = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "BOOT", line)
    line = re.sub(r"(sh -c 'sh union one;).*", r"\1", line)
    return " ".join(re.sub(r"\d+", "N", line).split())


@pytest.fixture
def shell(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Shell]:
    require_lab(request)
    tar = rootfs.ensure(clone.here(), say=lambda line: None)
    host = TestHost(next(groups.unique_names()), machine.patience(), [tmp_path])
    try:
        yield Shell(host, tar)
    finally:
        host.close()


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.number)
def test_the_commands_of_a_lesson_show_what_it_says(chapter: Chapter, shell: Shell) -> None:
    if reason := lab.cannot(chapter.needs):
        pytest.skip(reason)
    steps = list(steps_of(chapter.lesson.read_text()))
    assert steps
    if "/sys/fs/cgroup/memory/" in str(steps) and not Path("/sys/fs/cgroup/memory").is_dir():
        pytest.skip("these are for control groups of version 1")
    for step in steps:
        assert shell.shows(step), (
            f"{chapter.number}: {step.command}\n  the lesson: {step.shown}\n"
            f"  here:       {shell.so_far()}"
        )
