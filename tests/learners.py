"""A made-up clone with two small chapters and a learner who knows some words, for tests of `kata`.

The learner's program says the words that it knows; the chapters' tests ask for five of them.
"""

import atexit
import compileall
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from dojo import clone
from dojo.clone import Clone
from dojo.learner.run import plugin_options
from dojo.testkit import lab, rootfs

CHAPTERS = {
    "3.1": """\
import pytest

from dojo.testkit.testing import expect, task


@task(2)
def test_it_says_three(mydocker):
    \"\"\"Three comes after two.\"\"\"
    expect(mydocker("run", "busybox", "three"), status=0, out="three\\n")


@task(2)
def test_it_says_four(mydocker):
    \"\"\"Four comes after three.\"\"\"
    expect(mydocker("run", "busybox", "four"), status=0, out="four\\n")


@task(1)
@pytest.mark.parametrize("word", ["one", "two"])
def test_it_says(mydocker, word):
    \"\"\"Who counts begins so.\"\"\"
    expect(mydocker("run", "busybox", word), status=0, out=f"{word}\\n")
""",
    "3.2": """\
from dojo.testkit.testing import expect, task


@task(1)
def test_it_says_five(mydocker):
    \"\"\"Five comes after four.\"\"\"
    expect(mydocker("run", "busybox", "five"), status=0, out="five\\n")
""",
}

PROGRAM = """\
import os
import sys
import time

from mydocker.words import KNOWN

word = sys.argv[-1]
if "hang" in KNOWN and word not in {*KNOWN, "--help", "true"}:
    print("hanging", flush=True)
    time.sleep(1000)
if "leave" in KNOWN and word != "--help":
    os.mkdir(os.environ["MYDOCKER_ROOT"] + "/left")
print(word if word in KNOWN else "what?")
"""

# A test host and a root file system for every test take long, and few tests of `kata` need them.
WITHOUT_SCRATCH_HOSTS = """\
import subprocess
import sys

import pytest

from dojo.scratch import Call


@pytest.fixture
def mydocker():
    def run(*words):
        done = subprocess.run([sys.executable, "-m", "mydocker", *words], capture_output=True)
        return Call(" ".join(["mydocker", *words]), done.returncode, done.stdout, done.stderr)

    return run
"""

HINTS = """\
# Hints

## Task 1: Small words

### Hint 1

Look at `words.py`.

### Hint 2

```python
### Hint 3 is no heading in here
KNOWN = {"one"}
```

## Task 2: Larger words

### Hint 1

Larger ones go there too.
"""


@dataclass(frozen=True)
class Learner:
    """A learner and their clone."""

    clone: Clone

    @property
    def environment(self) -> dict[str, str]:
        """Of what they type: no colours, and the root file system at hand."""
        ours = ("PYTEST_", "KATA_LAB_LACKS")
        kept = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
        tar = rootfs.ensure(clone.here(), say=lambda line: None)
        return {
            **kept,
            "KATA_ROOTFS": str(tar),
            "PYTHONPATH": str(self.clone.root),
            "PYTHONDONTWRITEBYTECODE": "1",
            "NO_COLOR": "1",
            "TERM": "xterm",
        }

    def knows(self, *words: str) -> None:
        """They write a program that knows these words, and no other."""
        self.writes("words.py", f"KNOWN = {set(words) or set()!r}\n")

    def writes(self, name: str, text: str) -> None:
        (self.clone.learner / name).write_text(text)

    def has_scratch_hosts(self) -> None:
        """From now on the chapters' tests run as they do in the kata."""
        (self.clone.chapters / "conftest.py").unlink()

    def types(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """They type a command of `kata`, in their clone."""
        return self.runs(kata(*words), **environment)

    def runs(self, words: Sequence[str], **environment: str) -> subprocess.CompletedProcess[str]:
        """They type any command, in their clone."""
        return subprocess.run(
            words,
            cwd=self.clone.root,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )


def kata(*words: str) -> list[str]:
    return [sys.executable, "-m", "dojo", *words]


def make_learner(root: Path) -> Learner:
    """A learner at the very beginning: the program knows nothing."""
    shutil.copytree(_template(), root)
    return Learner(Clone(root))


@cache
def _template() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="learner-"))
    atexit.register(shutil.rmtree, folder)
    here, root = clone.here().root, folder / "clone"
    shutil.copytree(here / "dojo", root / "dojo", ignore=shutil.ignore_patterns("__pycache__"))
    compileall.compile_dir(root / "dojo", quiet=2)  # else every command would do it anew
    shutil.copy(here / "pyproject.toml", root)
    for number, tests in CHAPTERS.items():
        write_chapter(root, number, tests)
    learner = Learner(Clone(root))
    (learner.clone.chapters / "conftest.py").write_text(WITHOUT_SCRATCH_HOSTS)
    learner.clone.learner.mkdir()
    learner.writes("__init__.py", "")
    learner.writes("__main__.py", PROGRAM)
    learner.knows()
    _keep_what_pytest_compiles(learner)
    return root


def _keep_what_pytest_compiles(learner: Learner) -> None:
    """It compiles plugins in a way of its own, and would do so at every check."""
    words = [sys.executable, "-m", "pytest", *plugin_options(), "--collect-only"]
    done = learner.runs(words, PYTHONDONTWRITEBYTECODE="")
    assert done.returncode == 0, done.stdout + done.stderr


def write_chapter(root: Path, number: str, tests: str) -> None:
    folder = root / "chapters" / number.replace(".", "_")
    folder.mkdir(parents=True)
    (folder / "chapter.toml").write_text(
        f'number = "{number}"\ntitle = "words of {number}"\nline = "It counts."\n'
        'needs = ["namespaces"]\ntasks = ["Small words", "Larger words"]\n'
    )
    (folder / f"test_{number.replace('.', '_')}.py").write_text(tests)
    (folder / "README.md").write_text(LESSON)
    (folder / "hints.md").write_text(HINTS)


LESSON = """\
# Words

It *counts*, to the byte: [link](x)  .

```mermaid
flowchart LR
    one --> two
```

## Small words
"""


def require_lab(request: pytest.FixtureRequest, *more: str) -> None:
    """Skip a test that runs containers where that cannot be; fail it with --strict-lab.

    more: abilities beyond namespaces and control groups.
    """
    require(request, lab.cannot(["namespaces", "cgroup", *more]))


def require(request: pytest.FixtureRequest, reason: str | None) -> None:
    """Skip a test, or fail it with --strict-lab, where there is a reason why it cannot run."""
    if reason is not None:
        if request.config.getoption("--strict-lab"):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
