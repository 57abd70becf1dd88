"""Texts of a container's as they can be shown: printable, and not too long."""

import re


def printable(text: str) -> str:
    """What a container is called, or runs, must not move the cursor of whoever looks at it."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def cut(text: str, most: int) -> str:
    """Shortened at its end to that many characters, and printable."""
    text = printable(text)
    return text if len(text) <= most else f"{text[: most - 1]}…"


def cut_inside(path: str, most: int) -> str:
    """Shortened in its middle: of a long path the two ends tell most."""
    path = re.sub(r"[0-9a-f]{32,}", lambda found: f"{found[0][:12]}…", printable(path))
    if len(path) <= most:
        return path
    head = most // 3
    return f"{path[:head]}…{path[len(path) - (most - head - 1) :]}"
