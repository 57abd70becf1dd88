"""The reference as an instructor runs it, in front of people: `kata solution CHAPTER -- run …`."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest

from dojo import clone
from dojo.course.catalogue import Catalogue
from dojo.learner.reference import REFERENCE_ROOT, run_reference
from dojo.testkit import rootfs, trees
from tests.learners import require_lab

SECONDS = 20
KATA = [sys.executable, "-m", "dojo", "solution", "3.3", "--"]
SOLUTIONS = [sys.executable, "-m", "solutions", "3.3"]
PROMPT = re.compile(rb"[#$] ")


@pytest.fixture(autouse=True)
def lab_here(request: pytest.FixtureRequest) -> None:
    require_lab(request)


def spawn(program: list[str], *words: str) -> pexpect.spawn:
    command, *arguments = [*program, *words]
    root = str(clone.here().root)
    return pexpect.spawn(
        command, arguments, cwd=root, timeout=SECONDS, env={**os.environ, "PS1": "$ "}
    )


@pytest.mark.parametrize("program", [KATA, SOLUTIONS], ids=["kata solution", "python -m solutions"])
def test_a_shell_in_a_container_on_a_terminal(program: list[str]) -> None:
    hostname = Path("/proc/sys/kernel/hostname").read_text()
    with_an_image = ["4.1" if word == "3.3" else word for word in program]  # and busybox's shell
    shell = spawn(with_an_image, "run", "--rm", "-it", "busybox", "sh")
    shell.expect(PROMPT)
    shell.sendline("echo pid=$$")
    shell.expect(rb"pid=1\r")
    shell.expect(PROMPT)
    shell.sendline("cd /proc; echo processes= [0-9]*")
    shell.expect(rb"processes= ([0-9 ]+)\r")
    assert len(shell.match[1].split()) <= 2
    shell.sendline("echo changed > /proc/sys/kernel/hostname; cat /proc/sys/kernel/hostname")
    shell.expect(rb"\nchanged\r")
    assert Path("/proc/sys/kernel/hostname").read_text() == hostname
    shell.sendline("exit 7")
    shell.expect(pexpect.EOF)
    shell.close()
    assert shell.exitstatus == 7


def test_over_its_memory_it_ends_with_137() -> None:
    take = ["sh", "-c", "dd if=/dev/zero of=/dev/null bs=64M count=1; exit $?"]
    for limit, status in (("128m", 0), ("32m", 137)):
        run = spawn(KATA, "run", "--rm", "-m", limit, "busybox", *take)
        run.expect(pexpect.EOF)
        run.close()
        assert run.exitstatus == status


def test_the_story_of_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write, delete a file of the image, commit, run from the new image; the old one stays."""
    monkeypatch.setenv("MYDOCKER_ROOT", str(tmp_path / "root"))
    kata = ["4.5" if word == "3.3" else word for word in KATA]
    script = "echo new > /new; rm /etc/passwd; echo ready; sleep 1000"
    box = spawn(kata, "run", "--rm", "--name", "box", "busybox", "sh", "-c", script)
    box.expect(b"ready")
    image = tmp_path / "root/images/busybox"
    before = trees.describe(image)
    commit = spawn(kata, "commit", "box", "copy")
    commit.expect(rb"^copy\r\n")
    commit.expect(pexpect.EOF)
    os.kill(box.pid, signal.SIGTERM)  # PID 1 has no handler for it: it goes on
    box.kill(signal.SIGKILL)
    box.expect(pexpect.EOF)
    shown = spawn(kata, "run", "--rm", "copy", "sh", "-c", "cat /new; cat /etc/passwd; exit 7")
    shown.expect(rb"new\r\n.*/etc/passwd.*No such file")
    shown.expect(pexpect.EOF)
    shown.close()
    assert shown.exitstatus == 7
    assert trees.describe(image) == before
    images = spawn(kata, "images")
    images.expect(rb"IMAGE.*busybox .*copy ")
    images.expect(pexpect.EOF)


def test_the_root_file_system_becomes_an_image(tmp_path: Path) -> None:
    environment = {**os.environ, "MYDOCKER_ROOT": str(tmp_path / "root")}
    words = [sys.executable, "-m", "dojo", "rootfs", "--import"]
    done = subprocess.run(
        words, cwd=clone.here().root, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"Image busybox is in {tmp_path}/root/images.\n"
    assert (tmp_path / "root/images/busybox/bin/busybox").exists()


@pytest.mark.parametrize(
    ("given", "root"), [(None, REFERENCE_ROOT), ("", REFERENCE_ROOT), ("/elsewhere", "/elsewhere")]
)
def test_it_has_a_root_of_its_own_unless_one_is_named(
    monkeypatch: pytest.MonkeyPatch, given: str | None, root: str
) -> None:
    """A mydocker takes an empty MYDOCKER_ROOT for none: the learner's containers would be there."""
    started: list[dict[str, str]] = []
    monkeypatch.setattr(os, "execve", lambda path, words, environment: started.append(environment))
    if given is not None:
        monkeypatch.setenv("MYDOCKER_ROOT", given)
    run_reference(Catalogue(clone.here()), "3.3", ["run", "busybox", "true"])
    assert [environment["MYDOCKER_ROOT"] for environment in started] == [root]


def test_an_unknown_chapter_is_one_line() -> None:
    for program in (KATA, SOLUTIONS):
        good = spawn(program, "run", "busybox", "true")
        good.expect(pexpect.EOF)
        good.close()
        assert good.exitstatus == 0
        bad = spawn(
            ["9.9" if word == "3.3" else word for word in program], "run", "busybox", "true"
        )
        bad.expect(pexpect.EOF)
        bad.close()
        assert bad.exitstatus == 2
        assert b"9.9" in bad.before
        assert len(bad.before.splitlines()) == 1


@pytest.mark.parametrize("program", ["-m solutions 3.1", "-m dojo solution 3.1 --"])
def test_it_can_be_tested_in_a_fresh_clone(tmp_path: Path, program: str) -> None:
    """On a test host the clone is read-only, and no state of the reference is there yet."""
    here = clone.here()
    fresh = tmp_path / "clone"
    without = shutil.ignore_patterns(".*", "__pycache__")
    for name in ("chapters", "dojo", "mydocker", "solutions"):
        shutil.copytree(here.root / name, fresh / name, ignore=without)
    shutil.copy(here.root / "pyproject.toml", fresh)
    tested = "chapters/3_1/test_run.py::test_the_exit_status_is_that_of_the_command"
    words = [sys.executable, "-m", "pytest", "-q", tested, "--mydocker"]
    environment = {
        **{name: os.environ[name] for name in os.environ if not name.startswith("PYTEST_")},
        "PYTHONPATH": str(fresh),
        "KATA_ROOTFS": str(rootfs.ensure(here)),
    }
    done = subprocess.run(
        [*words, f"env PYTHONPATH={fresh} {sys.executable} {program}"],
        cwd=fresh,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
    assert (fresh / ".kata/states").is_dir()
