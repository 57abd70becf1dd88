"""Draws `chapters/N/xray.svg`: the reference at the end of each chapter, x-rayed.

    sudo .venv/bin/python docs/pictures/xrays.py [CHAPTER]...

Each chapter's container runs on a test host of its own, and `kata xray` looks at it from there.
Numbers of namespaces and processes are those of the moment, so no two pictures are the same to the
byte; `./kata pictures` then has the lessons show them.
"""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from dojo import clone
from dojo.course.catalogue import Catalogue, Chapter
from dojo.course.steps import Steps
from dojo.errors import KataError
from dojo.scratch import TestHost, groups
from dojo.testkit import machine, rootfs

SECONDS = 60.0
PYTHON = "/usr/bin/python3"
PATH = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
NAMES = groups.unique_names()

# A machine as a person has it: with a mydocker that keeps its things where it does by itself.
PREPARE = """\
mount -t tmpfs tmpfs /var/lib && mount -t tmpfs tmpfs /srv || exit
mkdir -p /var/lib/mydocker/images/busybox /srv/data
tar -xf "$1" -C /var/lib/mydocker/images/busybox
echo precious > /srv/data/file
"""

CHANGES = "echo new > /new; echo more >> /etc/passwd; rm /etc/group; sleep 1000 & exec sleep 2000"
LIMITS = ["--memory", "64m", "--pids-limit", "100"]
VOLUME = ["-v", "/srv/data:/data"]


def words_of(chapter: Chapter) -> list[str]:
    """What is typed after `mydocker` to have one of each thing that there is by then."""
    order = chapter.order
    words = ["run"]
    words += ["-d", "--name", "box"] if order >= (5, 1) else []
    words += LIMITS if order >= (3, 2) else []
    words += VOLUME if order >= (4, 3) else []
    words += ["-e", "GREETING=hello"] if order >= (5, 8) else []
    command = ["sh", "-c", CHANGES] if order >= (4, 2) else ["sleep", "2000"]
    return [*words, "busybox", *command]


def main() -> None:
    catalogue = Catalogue(clone.here())
    if os.geteuid() != 0:
        sys.exit("docs/pictures/xrays.py: containers need root: sudo .venv/bin/python …")
    try:
        for typed in sys.argv[1:] or [chapter.number for chapter in catalogue.chapters]:
            print(draw(catalogue, catalogue.chapter(typed)))
    except KataError as error:
        sys.exit(f"docs/pictures/xrays.py: {error}")


def draw(catalogue: Catalogue, chapter: Chapter) -> Path:
    """Run the reference, look at it, and write what is seen. Returns the picture's path."""
    with TemporaryDirectory(prefix="kata-") as directory:
        picture = Path(directory, "xray.svg")
        with running(catalogue, chapter, Path(directory)) as host:
            words = [sys.executable, "-m", "dojo", "xray", "--svg", str(picture)]
            kata = {"PYTHONPATH": str(catalogue.clone.root)}
            must(host.run(words, env=PATH | kata, cwd="/", seconds=SECONDS))
        title = f"kata xray, at the end of {chapter.number}"
        drawn = picture.read_text().replace("kata&#160;xray&#160;", "kata xray ")
    place = chapter.folder / "xray.svg"
    place.write_text(re.sub(r"kata xray \d+", title, drawn))
    catalogue.clone.give_back(place)
    return place.relative_to(catalogue.clone.root)


@contextmanager
def running(catalogue: Catalogue, chapter: Chapter, *writable: Path) -> Iterator[TestHost]:
    """A test host on which the reference runs a container as it can at the end of a chapter."""
    tar = rootfs.ensure(catalogue.clone)
    host = TestHost(next(NAMES), machine.patience(), writable, guarded=False)
    try:
        must(host.run(["sh", "-c", PREPARE, "sh", str(tar)], env=PATH))
        state = {"PYTHONPATH": str(Steps(catalogue).state(chapter)), "TERM": "xterm"}
        words = [PYTHON, "-P", "-m", "mydocker", *words_of(chapter)]
        host.start(words, env=PATH | state, cwd="/")
        if not host.until(lambda: _has_come_up(host), SECONDS):
            raise KataError(f"{chapter.number}: the container does not come up")
        yield host
    finally:
        host.close()


def _has_come_up(host: TestHost) -> bool:
    return any(
        process.is_first_of_a_container() and process.command == "sleep 2000"
        for process in host.processes()
    )


def must(call: object) -> None:
    if getattr(call, "status", 1) != 0:
        raise KataError(str(call))


if __name__ == "__main__":
    main()
