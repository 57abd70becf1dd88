"""Messages: rows of a name and a text, and texts as a terminal can show them."""

from collections.abc import Iterable

NAME_WIDTH = 9  # of the names of a lesson's rows


def an(noun: str) -> str:
    """A noun with its article: "an ipc namespace", "a uts namespace", whose u is spoken "you"."""
    return f"an {noun}" if noun[:1].lower() in tuple("aeio") else f"a {noun}"


def laid_out(rows: Iterable[tuple[str, str]], width: int = 8, margin: int = 0, gap: int = 2) -> str:
    """Rows below each other, the further lines of a text as deep as its first.

    width: of the names. margin: before them. gap: after them.
    """
    deep = "\n" + " " * (margin + width + gap)
    lines = (f"{name:<{width}}{' ' * gap}{text}".replace("\n", deep) for name, text in rows)
    return "\n".join(" " * margin + line for line in lines)


def readable(text: str, size: str = "", most: int = 2400, lines: int = 36) -> str:
    """A text with all escaped that is neither printed nor the end of a line, and cut if it is long.

    What a program under test has written gets into messages in many ways: as its output, as names
    of files, as what was found. most: how many characters are shown, of at most so many lines: of
    what is longer, the beginning and the end. size: how long it is, if that is not its length.
    """
    ends = text if len(text) <= 2 * most else text[:most] + text[-most:]
    shown = "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in ends)
    shown = shown.removesuffix("\n")
    if len(ends) == len(text) and len(shown) <= most and shown.count("\n") < lines:
        return shown
    room, rows = most - 100, lines - 2  # what was cut once is not cut again
    head = shown[: room * 2 // 3].split("\n")[: rows * 2 // 3]
    tail = shown[-(room // 3) :].split("\n")[-(rows // 3) :]
    middle = f"… (the middle of {size or f'{len(text)} characters'} is left out) …"
    return "\n".join([*head, middle, *tail])
