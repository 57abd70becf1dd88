"""Proofs: what is taken over, what is proven again, and what makes a kept result worthless."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dojo import clone
from dojo.course.catalogue import Catalogue
from dojo.teeth import proofs
from tests.clones import git

ROOT = clone.here().root
TESTS = [f"test_{number}" for number in range(40)]


class Project:
    """A copy of this project, with one file of tests whose results follow from a file."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for folder in ("dojo", "solutions", "chapters"):
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / folder, root / folder, ignore=ignored)
        (root / "tests").mkdir()
        shutil.copy(ROOT / "tests/conftest.py", root / "tests")
        shutil.copy(ROOT / "pyproject.toml", root)
        (root / "tests/test_it.py").write_text(
            "from pathlib import Path\n\nimport pytest\n\n"
            "FILE = Path(__file__).with_name('text')\n\n"
            "@pytest.mark.proof(of=lambda name: [FILE])\n"
            f"@pytest.mark.parametrize('name', {TESTS})\n"
            "def test_it(name):\n    assert 'good' in FILE.read_text()\n"
        )
        self.write("good")
        git(root, "init", "--quiet", "--initial-branch=main")
        self.commit()

    def write(self, text: str) -> None:
        (self.root / "tests/text").write_text(text)

    def commit(self) -> None:
        git(self.root, "commit", "--quiet", "--allow-empty", "--message=A change")

    def run(self, *options: str) -> str:
        """The last lines of pytest."""
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, "tests"],
            cwd=self.root,
            env={**os.environ, "PYTHONPATH": str(self.root)},
            capture_output=True,
            text=True,
            check=False,
        )
        return "\n".join(done.stdout.splitlines()[-3:])

    def kept(self) -> dict[str, str]:
        return proofs.read(self.root)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "project")


@pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["one process", "two"])
def test_what_has_not_changed_is_taken_over_but_for_some(
    project: Project, options: tuple[str, ...]
) -> None:
    assert "40 passed" in project.run(*options)
    assert len(project.kept()) == 40
    drawn = sum(proofs.is_drawn(name, head(project)) for name in project.kept())
    again = project.run(*options)
    assert f"{40 - drawn} results were taken over from tests/proofs.txt" in again
    assert f"{drawn} passed" in again or drawn == 0
    assert "40 passed" in project.run(*options, "--whole")


def test_what_has_changed_is_proven_again(project: Project) -> None:
    project.run()
    before = project.kept()
    project.write("good, too")
    assert "40 passed" in project.run()
    now = project.kept()
    assert now.keys() == before.keys()
    assert not set(now.values()) & set(before.values())


def test_what_fails_is_forgotten(project: Project) -> None:
    project.run()
    project.write("bad")
    assert "40 failed" in project.run()
    assert project.kept() == {}


def test_a_false_proof_fails_at_one_commit_or_another(project: Project) -> None:
    project.write("bad")
    key = proofs.key(project.root, [project.root / "tests" / name for name in ALL_PARTS])
    names = [f"tests/test_it.py::test_it[{name}]" for name in TESTS]
    proofs.write(project.root, dict.fromkeys(names, key))
    while not any(proofs.is_drawn(name, head(project)) for name in names):
        project.commit()
    assert "failed" in project.run()


ALL_PARTS = ("test_it.py", "conftest.py", "text")


def head(project: Project) -> str:
    return git(project.root, "rev-parse", "HEAD").decode().strip()


def test_one_of_twenty_is_drawn_anew_for_each_commit() -> None:
    names = [f"test_{number}" for number in range(2000)]
    first, second = ([n for n in names if proofs.is_drawn(n, commit)] for commit in "ab")
    assert 60 < len(first) < 140
    assert first == [n for n in names if proofs.is_drawn(n, "a")]
    assert len(set(first) & set(second)) < 20


@pytest.mark.parametrize(
    ("changed", "counts"),
    [
        ("chapters/3_1/test_run.py", True),
        ("chapters/3_1/chapter.toml", True),
        ("dojo/testkit/testing.py", True),
        ("dojo/testkit/twins.py", True),
        ("dojo/scratch/inside.py", True),
        ("dojo/plugin/hooks.py", True),
        ("chapters/3_1/README.md", False),
        ("chapters/3_2/test_limits.py", False),
        ("dojo/xray/drawing.py", False),
    ],
)
def test_what_goes_into_a_chapters_tests(tmp_path: Path, changed: str, counts: bool) -> None:
    for folder in ("dojo", "chapters"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=ignored)
    chapter = Catalogue(clone.Clone(tmp_path)).chapter("3.1")
    proofs.forget_files()
    before = proofs.key(tmp_path, proofs.files_of(chapter))
    with (tmp_path / changed).open("a") as file:
        file.write("\n# a change\n")
    proofs.forget_files()
    assert (proofs.key(tmp_path, proofs.files_of(chapter)) != before) == counts


def test_each_proof_is_of_a_test_that_there_is() -> None:
    """Kept for nothing, it would be believed when a test of that name comes again."""
    files = sorted({name.partition("::")[0] for name in proofs.read(ROOT)})
    listed = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--collect-only", "--whole", *files],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(proofs.read(ROOT)) <= set(listed.stdout.splitlines())
