"""Small made-up clones of the kata, for the tests of its tools: three chapters of a few lines."""

import atexit
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from dojo.clone import Clone
from dojo.course.catalogue import Catalogue
from dojo.course.editor import Editor
from dojo.course.steps import Steps

Contents = dict[str, bytes]

START: Contents = {
    "__init__.py": b"",
    "__main__.py": b"from mydocker.cli import main\n\nmain()\n",
    "cli.py": b'def main():\n    raise SystemExit("chapter 3.1 starts here")\n',
    "linux.py": b"import ctypes\n\n\ndef unshare(flags):\n    return flags\n",
    "old.py": b"gone in 3.2\n",
}

STATES: dict[str, Contents] = {
    "3.1": START
    | {
        "cli.py": b"import os\nimport sys\n\n\ndef main():\n    print(3.1, sys.argv[1:])\n",
        "empty.py": b"",
        "no_newline.txt": b"one\ntwo",
        "script.sh": b"#!/bin/sh\n",
    },
}
STATES["3.2"] = STATES["3.1"] | {
    "cgroups/__init__.py": b"",
    "cgroups/v1.py": b"CPU = 1\n" + b"# v1\n" * 20,
    "cli.py": STATES["3.1"]["cli.py"].replace(b"3.1", b"3.2"),
    "no_newline.txt": b"one\ntwo\nthree",
}
del STATES["3.2"]["old.py"]
STATES["3.3"] = STATES["3.2"] | {
    "cgroups/v1.py": STATES["3.2"]["cgroups/v1.py"] + b"MEMORY = 1\n",
    "carriage.txt": b"one\r\ntwo\n",
    "cli.py": STATES["3.2"]["cli.py"].replace(b"3.2", b"3.3")
    + b'    print(os.environ["MYDOCKER_ROOT"])\n',
    "zero.bin": b"a\0b\xff\n",
}

MESSAGES = {
    "3.1": "3.1.1: run a process that's alone\n\nThe first namespaces: un début.",
    "3.2": "3.2.1: give it no more than its share\n\nA cgroup — le début.\n\n---\n\nAnd more.",
    "3.3": "3.3.1: a pipe",
}

# Where the patches are stored, below solutions/steps/.
PATCHES = {
    "3.1": "3.1/1-run-a-process-thats-alone.patch",
    "3.2": "3.2/1-give-it-no-more-than-its-share.patch",
    "3.3": "3.3/1-a-pipe.patch",
}


def make_clone(root: Path) -> Clone:
    """A clone with one commit on branch main, whose owner has no git configuration."""
    shutil.copytree(_template(), root, symlinks=True)
    return Clone(root)


def make_files(root: Path) -> None:
    """The same without a repository, as a zip has it."""
    shutil.copytree(
        _template(), root, symlinks=True, dirs_exist_ok=True, ignore=lambda *_: {".git"}
    )


@cache
def _template() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="kata-clone-"))
    atexit.register(shutil.rmtree, folder)
    root = folder / "clone"
    _write_files(root)
    git(root, "init", "--quiet", "--initial-branch=main")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message=The kata")
    return root


def _write_files(root: Path) -> None:
    for number in STATES:
        write_chapter(root, number)
    write(root / "README.md", b"The kata\n")
    write(root / ".gitignore", b"/.kata/\n__pycache__/\n*.pyc\n*.ignored\n")
    write(
        root / ".gitattributes",
        b"* text=auto eol=lf\n*.patch -text\ncarriage.txt -text\n*.bin binary\n",
    )
    write_contents(root / "mydocker", START)
    write_contents(root / "solutions" / "mydocker", STATES["3.3"])
    write(root / "solutions" / "__init__.py", b"")
    write_patches(root / "solutions" / "steps")


def write_chapter(root: Path, number: str) -> None:
    write(
        root / "chapters" / number.replace(".", "_") / "chapter.toml",
        f'number = "{number}"\ntitle = "run"\nline = "."\nneeds = []\n'
        'tasks = ["One", "Two"]\n'.encode(),
    )


def write_contents(folder: Path, contents: Contents) -> None:
    for name, data in contents.items():
        write(folder / name, data)
        if name.endswith(".sh"):
            (folder / name).chmod(0o755)


def write_patches(folder: Path) -> None:
    """The patches as plain git makes them, without the code under test."""
    scratch = folder / "scratch"
    scratch.mkdir(parents=True)
    git(scratch, "init", "--quiet")
    for contents in (START, *STATES.values()):
        git(scratch, "rm", "-rq", "--ignore-unmatch", ".")
        write_contents(scratch / "mydocker", contents)
        git(scratch, "add", "--all")
        git(scratch, "commit", "--quiet", "--message=state")
    for later, number in zip((2, 1, 0), STATES, strict=True):
        between = (f"HEAD~{later + 1}", f"HEAD~{later}")
        diff = git(scratch, "diff", "--no-renames", "--text", "--histogram", *between)
        lines = [line for line in diff.split(b"\n") if not line.startswith(b"index ")]
        text = MESSAGES[number].encode() + b"\n---\n" + b"\n".join(lines)
        write(folder / PATCHES[number], text)
    shutil.rmtree(scratch)


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def git(
    folder: Path, *arguments: str, check: bool = True, env: dict[str, str] | None = None
) -> bytes:
    """Git as a contributor types it, with an identity and without the machine's configuration."""
    result = subprocess.run(
        ["git", *arguments], cwd=folder, env=ENVIRONMENT | (env or {}), capture_output=True
    )
    assert not check or result.returncode == 0, result.stderr.decode()
    return result.stdout


ENVIRONMENT = {
    **{key: value for key, value in os.environ.items() if not key.startswith("GIT_")},
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.org",
    "GIT_EDITOR": "true",
    "GIT_SEQUENCE_EDITOR": "true",
}


def steps_of(clone: Clone) -> Steps:
    return Steps(Catalogue(clone))


SECOND_TASK: Contents = {"second.py": b"SECOND = 2\nTHIRD = 3\n"}


def add_a_second_task(clone: Clone) -> None:
    """Give chapter 3.3 a second task, in main's next commit."""
    steps = steps_of(clone)
    place = Editor(steps).open()
    write_contents(place / "mydocker", SECOND_TASK)
    git(place, "add", "--all")
    git(place, "commit", "--quiet", "--message=3.3.2: a second task")
    Editor(steps).save()
    git(clone.root, "worktree", "remove", "--force", str(place))
    git(clone.root, "branch", "--quiet", "-D", "steps")
    commit_all(clone)


def commit_all(clone: Clone, message: str = "A change") -> None:
    git(clone.root, "add", "--all")
    git(clone.root, "commit", "--quiet", f"--message={message}")


def contents_of(folder: Path) -> dict[str, tuple[bytes, bool]]:
    """What is in a folder: content, and whether it can be executed; without Python's caches."""
    found = {}
    for top, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in ("__pycache__", ".git")]
        for name in names:
            path = Path(top, name)
            found[path.relative_to(folder).as_posix()] = (
                os.readlink(path).encode() if path.is_symlink() else path.read_bytes(),
                bool(path.lstat().st_mode & 0o100),
            )
    return found


def expected(contents: Contents) -> dict[str, tuple[bytes, bool]]:
    return {name: (data, name.endswith(".sh")) for name, data in contents.items()}
