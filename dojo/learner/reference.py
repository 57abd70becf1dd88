"""The reference solution as a person runs it: `kata solution CHAPTER -- run ...`."""

import os
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

from dojo.course.catalogue import Catalogue
from dojo.course.steps import Steps
from dojo.errors import KataError
from dojo.testkit import rootfs

DEFAULT_ROOT = "/var/lib/mydocker"  # mydocker's own
REFERENCE_ROOT = "/var/lib/mydocker-solution"
IMAGE = "busybox"
IMAGES_BEGIN = (4, 1)  # before, IMAGE is read and ignored


def run_reference(catalogue: Catalogue, typed: str, arguments: list[str]) -> NoReturn:
    """Become the reference solution as it is at a chapter.

    typed: the chapter as a person wrote it. arguments: mydocker's; a leading `--` is skipped.
    The containers lie under a root of their own, unless MYDOCKER_ROOT says otherwise: so that the
    reference never reads a learner's records. There is an image `busybox` in it, made now where it
    is missing. Raises KataError for an unknown chapter.
    """
    chapter = catalogue.chapter(typed)
    state = Steps(catalogue).state(chapter)
    given = arguments[1:] if arguments[:1] == ["--"] else arguments
    root = root_or(REFERENCE_ROOT)
    environment = {**os.environ, "MYDOCKER_ROOT": str(root)}
    if chapter.order >= IMAGES_BEGIN and os.geteuid() == 0 and not has_image(root):
        import_image(catalogue, root)
    os.execve(sys.executable, _mydocker(*given), _at(state, environment))


def root_or(default: str) -> Path:
    """The MYDOCKER_ROOT of whoever calls, `default` if there is none."""
    return Path(os.environ.get("MYDOCKER_ROOT") or default)  # "" is none for mydocker, too


def has_image(root: Path) -> bool:
    """Whether a MYDOCKER_ROOT has an image `busybox`."""
    return any(os.path.lexists(root / "images" / name) for name in (IMAGE, f"{IMAGE}.tar"))


def import_image(catalogue: Catalogue, root: Path) -> None:
    """Import the root file system as image `busybox`, with the finished reference.

    Raises KataError where there is none, or with what `import` said.
    """
    tar = rootfs.ensure(catalogue.clone)
    state = Steps(catalogue).state(catalogue.chapters[-1])
    environment = _at(state, {**os.environ, "MYDOCKER_ROOT": str(root)})
    argv = _mydocker("import", str(tar), IMAGE)
    done = subprocess.run(argv, env=environment, capture_output=True, check=False)
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()
        raise KataError(said.removeprefix("mydocker: ") or f"import {tar}: failed")


def _mydocker(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "mydocker", *arguments]


def _at(state: Path, environment: dict[str, str]) -> dict[str, str]:
    """The environment in which `-m mydocker` is the one of a state.

    Without PYTHONSAFEPATH it would be the learner's, in the working directory.
    """
    return {**environment, "PYTHONPATH": str(state), "PYTHONSAFEPATH": "1"}
