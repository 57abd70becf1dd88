"""A line that says how far something is, for whoever waits at a terminal."""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator

FIRST_SECONDS = 1.0  # what is done by then says nothing
NEXT_SECONDS = 0.25
CLEAR_LINE = "\r\x1b[K"


@contextlib.contextmanager
def shown(what: str, measure: Callable[[], int]) -> Iterator[None]:
    """Show on stderr how many bytes there are so far, as long as the block takes."""
    if not os.isatty(2):
        yield
        return
    done = threading.Event()
    thread = threading.Thread(target=show, args=(what, measure, done), daemon=True)
    try:
        thread.start()
    except RuntimeError:  # the kernel has no room for one more: nothing is shown
        yield
        return
    try:
        yield
    finally:
        done.set()
        thread.join()


def show(what: str, measure: Callable[[], int], done: threading.Event) -> None:
    if done.wait(FIRST_SECONDS):
        return
    while not done.wait(NEXT_SECONDS):
        write(f"{CLEAR_LINE}{what}: {measure() // 1_000_000} MB")
    write(CLEAR_LINE)


def write(text: str) -> None:
    with contextlib.suppress(OSError):  # a terminal that has gone: nobody looks any more
        os.write(2, text.encode(errors="backslashreplace"))
