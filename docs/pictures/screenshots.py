"""Takes the pictures of `docs/pictures/`: a real terminal, and the site in a real browser.

    sudo .venv/bin/python docs/pictures/screenshots.py [NAME]...

It needs Debian's xvfb, xterm, imagemagick, fonts-dejavu-core and chromium, and what
`./kata site` needs. All happens in a copy of what is committed, and on test hosts.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from xrays import running  # beside this file

from dojo import clone
from dojo.course.catalogue import Catalogue
from dojo.course.steps import Steps
from dojo.errors import KataError

SECONDS = 120.0
HERE = clone.here().root
PICTURES = HERE / "docs" / "pictures"
PROGRAMS = ("Xvfb", "xterm", "import", "mogrify", "chromium")
COLOURS = ["-bg", "#181a22", "-fg", "#d8dee9"]
FONT = ["-fa", "DejaVu Sans Mono", "-fs", "11"]
BROWSER = (
    *("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"),
    *("--no-first-run", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--hide-scrollbars", "--virtual-time-budget=5000"),
)
PAGES = {
    "site-start": "index.html",
    "site-lesson": "chapters/4_2/index.html",
    "site-step": "chapters/3_1/step.html",
}


def main() -> None:
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing or os.geteuid() != 0:
        sys.exit(f"screenshots.py: needs root and {', '.join(missing or PROGRAMS)}")
    shots: dict[str, Callable[[Path, str], None]] = {
        "check-red": check_red,
        "check-green": check_green,
        "status": status,
        **{f"xray-{number}": xray for number in ("3.1", "4.2", "5.9")},
        **dict.fromkeys(PAGES, page),
    }
    try:
        with TemporaryDirectory(prefix="kata-") as directory:
            for name in sys.argv[1:] or shots:
                shots[name](Path(directory), name)
                print(f"docs/pictures/{name}.png")
    except KataError as error:
        sys.exit(f"screenshots.py: {error}")


# The terminal ------------------------------------------------------------------------------------


def check_red(directory: Path, name: str) -> None:
    with terminal(directory, 100, 42) as types:
        types(kata(a_copy(directory), "check 3.1"), "$ sudo ./kata check 3.1", name)


def check_green(directory: Path, name: str) -> None:
    copy = a_copy(directory)
    finish(copy, "3.1")
    with terminal(directory, 100, 42) as types:
        types(kata(copy, "check 3.1"), "$ sudo ./kata check 3.1", name)


def status(directory: Path, name: str) -> None:
    copy = a_copy(directory)
    finish(copy, "3.2")
    for number in ("3.1", "3.2", "3.3"):
        subprocess.run(
            ["sh", "-c", kata(copy, f"check {number}")], capture_output=True, check=False
        )
    with terminal(directory, 100, 26) as types:
        types(kata(copy, "status"), "$ ./kata status", name)


def xray(directory: Path, name: str) -> None:
    catalogue = Catalogue(clone.here())
    chapter = catalogue.chapter(name.partition("-")[2])
    with running(catalogue, chapter) as host, terminal(directory, 100, 78) as types:
        enter = f"nsenter --target {host.pid} --mount --uts --ipc --net --pid --cgroup"
        inside = f"env PYTHONPATH={HERE} {sys.executable} -m dojo xray"
        types(f"{enter} {inside}", "$ sudo ./kata xray", name)


@contextmanager
def terminal(
    directory: Path, columns: int, lines: int
) -> Iterator[Callable[[str, str, str], None]]:
    """An xterm on a screen of its own. Yields what runs a command in it and takes its picture."""
    read, write = os.pipe()
    screen = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", "1600x1800x24", "-nolisten", "tcp"],
        pass_fds=[write],
        stderr=subprocess.DEVNULL,
    )
    os.close(write)
    try:
        with os.fdopen(read) as file:
            display = f":{file.readline().strip()}"

        def types(command: str, shown: str, name: str) -> None:
            done = directory / "done"
            done.unlink(missing_ok=True)
            script = f"echo '{shown}'; {command}; touch {done}; exec sleep 1000"
            window = subprocess.Popen(
                [
                    *("xterm", *FONT, *COLOURS, "+sb", "-b", "12", "-T", name),
                    *("-geometry", f"{columns}x{lines}", "-e", "sh", "-c", script),
                ],
                env={**os.environ, "DISPLAY": display, "TERM": "xterm-256color"},
                cwd=directory,
            )
            try:
                wait_for(done.exists, f"{command} does not end")
                take_picture(display, name)
            finally:
                window.kill()
                window.wait()

        yield types
    finally:
        screen.kill()
        screen.wait()


def take_picture(display: str, name: str) -> None:
    """Take it when two pictures in a row are the same: all is drawn then."""
    path = PICTURES / f"{name}.png"
    before = b""

    def is_drawn() -> bool:
        nonlocal before
        words = ["import", "-display", display, "-window", name, f"png:{path}"]
        subprocess.run(words, check=True)
        last, before = before, path.read_bytes()
        return last == before

    wait_for(is_drawn, "the terminal does not come to rest")
    background = COLOURS[1]
    tidy = ["-trim", "+repage", "-bordercolor", background, "-border", "14", "-strip"]
    subprocess.run(["mogrify", *tidy, "-colors", "64", str(path)], check=True)


def a_copy(directory: Path) -> Path:
    """The clone as a new learner has it."""
    copy = directory / "mydocker-kata"
    shutil.rmtree(copy, ignore_errors=True)
    subprocess.run(["git", "clone", "-q", str(HERE), str(copy)], check=True)
    subprocess.run(["git", "-C", str(copy), "remote", "remove", "origin"], check=True)
    return copy


def kata(copy: Path, words: str) -> str:
    """What `./kata` comes to, once it has set things up: here they are, in this clone's .venv."""
    return f"cd {copy}; env PYTHONPATH={copy} {sys.executable} -P -m dojo {words}"


def finish(copy: Path, number: str) -> None:
    """Let a learner have finished a chapter."""
    catalogue = Catalogue(clone.here())
    state = Steps(catalogue).state(catalogue.chapter(number))
    shutil.rmtree(copy / "mydocker")
    shutil.copytree(state / "mydocker", copy / "mydocker")


def wait_for(found: Callable[[], bool], problem: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not found():
        if time.monotonic() > deadline:
            raise KataError(problem)
        time.sleep(0.1)


# The browser -------------------------------------------------------------------------------------


def page(directory: Path, name: str) -> None:
    site = directory / "site"
    if not site.exists():
        words = [sys.executable, "-m", "dojo", "site", "--output", str(site)]
        subprocess.run(words, cwd=HERE, check=True, capture_output=True)
    place = site / PAGES[name]
    if not place.exists():
        raise KataError(f"the site has no page {PAGES[name]}")
    words = [*BROWSER, f"--user-data-dir={directory / 'profile'}", "--window-size=1280,1000"]
    words += [f"--screenshot={PICTURES / f'{name}.png'}", place.as_uri()]
    subprocess.run(words, check=True, capture_output=True)


if __name__ == "__main__":
    main()
