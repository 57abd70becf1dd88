"""The whole story in one sitting: docs/story.sh, as a person runs it, with the finished reference.

As a program (`test_story.py SCRIPT SECONDS`) this file is that person, at a terminal.
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from dojo import clone
from dojo.course.catalogue import Catalogue
from dojo.course.steps import Steps
from dojo.scratch import Call, TestHost, groups, leaks
from dojo.testkit import machine, rootfs
from tests.learners import require_lab

STORY = Path(__file__).parent.parent / "docs" / "story.sh"
CHAPTER = "5.9"
SECONDS = 60.0
NAMES = ("red", "blue")
PROMPT = "/ # "


@pytest.fixture
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TestHost]:
    require_lab(request, "overlay")
    host = TestHost(next(groups.unique_names()), machine.patience(), [tmp_path])
    yield host
    host.close()


def tell(host: TestHost, directory: Path, *before: str) -> Call:
    """Run the story to its end. before: the program that runs it, if it is not the shell itself."""
    catalogue = Catalogue(clone.here())
    environment = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
        "TERM": "xterm",
        "SECRET": "of the caller",
        "TMPDIR": str(directory),  # where its MYDOCKER_ROOT is made
        "MYDOCKER": f"{sys.executable} -m mydocker",
        "PYTHONPATH": str(Steps(catalogue).state(catalogue.chapter(CHAPTER))),
        "PYTHONSAFEPATH": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "BUSYBOX": str(rootfs.ensure(clone.here(), say=lambda line: None)),
    }
    seconds = str(SECONDS * machine.patience())
    words = [*before, str(STORY), *([seconds] if before else [])]
    return host.run(words, env=environment, cwd=directory, seconds=SECONDS)


def test_the_whole_story(host: TestHost, tmp_path: Path) -> None:
    before = leaks.take(host, [tmp_path])
    call = tell(host, tmp_path)
    assert call.status == 0, call
    assert not call.err, call
    assert "are as before" in call.text, call
    left = leaks.compare(before, leaks.take(host, [tmp_path]))
    assert not left, (left, call)


def test_the_whole_story_at_a_terminal(host: TestHost, tmp_path: Path) -> None:
    """With a shell in the container: `exec -it`, driven by pexpect on the test host."""
    before = leaks.take(host, [tmp_path])
    call = tell(host, tmp_path, sys.executable, "-I", __file__)
    assert call.status == 0, call
    assert "are as before" in call.text, call
    left = leaks.compare(before, leaks.take(host, [tmp_path]))
    assert not left, (left, call)


def test_a_story_that_goes_wrong_ends_and_clears_away(host: TestHost, tmp_path: Path) -> None:
    """A mydocker whose containers all see the file of the last one: the story notices it."""
    wrong = tmp_path / "wrong"
    wrong.write_text(
        '#!/bin/sh\nif test "$1 $2 $4" = "exec red /who"; then echo blue; exit; fi\n'
        f'exec {sys.executable} -m mydocker "$@"\n'
    )
    wrong.chmod(0o755)
    before = leaks.take(host, [tmp_path])
    call = tell(host, tmp_path, "env", f"MYDOCKER={wrong}", "sh")
    assert call.status == 1, call
    assert "$ mydocker exec red cat /who\nblue\n" in call.text, call
    assert "expected: red" in call.errors, call
    left = leaks.compare(before, leaks.take(host, [tmp_path]))
    assert not left, (left, call)


def test_the_story_is_a_shell_script_that_any_shell_reads() -> None:
    assert STORY.read_text().startswith("#!/bin/sh\n")
    assert STORY.stat().st_mode & 0o111
    assert subprocess.run(["sh", "-n", str(STORY)], check=False).returncode == 0


def be_at_a_terminal(script: str, seconds: float) -> int:
    """Run the story on a terminal of 40 lines and 100 columns, and look around in the container."""
    story = pexpect.spawn(script, encoding="utf-8", timeout=seconds, dimensions=(40, 100))
    story.logfile_read = sys.stdout
    story.expect_exact("then type exit)")
    story.expect_exact(PROMPT)
    for typed, answer in (
        ("tty", "/dev/pts/0"),
        ("stty size", "40 100"),
        ("cat /who", "red"),
        ("echo $SECRET-$TERM", "-xterm"),
        ("cat /etc/shells", "No such file or directory"),
    ):
        story.sendline(typed)
        story.expect_exact(typed)  # the echo
        story.expect_exact(answer)
        story.expect_exact(PROMPT)
    story.sendline("sh -c 'echo sleeping; exec sleep 1000'")
    story.expect_exact("\r\nsleeping\r\n")
    story.sendintr()
    story.expect_exact(PROMPT)
    story.sendline("exit")
    story.expect_exact("of red")
    story.expect(pexpect.EOF)
    story.close()
    return story.exitstatus if story.exitstatus is not None else 1


if __name__ == "__main__":
    sys.exit(be_at_a_terminal(sys.argv[1], float(sys.argv[2])))
