"""The record of a container, as it is read: whatever may have become of it meanwhile.

A disk was full, somebody has edited it, another program has written it. What comes out of here has
the keys and the types that all others expect, and no value that would lead them astray: a name that
is a path, or an ID that is one, would have them remove or kill what is not the container's.
"""

import json
import os
import stat
from collections.abc import Callable

from mydocker.cli import container_name, image_name
from mydocker.files import read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ID_LENGTH, ID_DIGITS = 64, frozenset("0123456789abcdef")
LAST_MOMENT = 253402300800  # the year 10000 begins
LAST_PID = 1 << 22  # PID_MAX_LIMIT, linux/threads.h
LAST_TICK = 1 << 63
LAST_STATUS = 255
LAST_INODE = 1 << 64


def values_of(path: str, name: str) -> "dict[str, Any]":
    """What the record at this path says of the container of that name.

    Raises OSError where there is none, ValueError where it is broken.
    """
    try:
        values: dict[str, Any] = parsed(path)
        for key, is_right in RIGHT.items():
            if not is_right(values[key]):
                raise ValueError(f"{key}: {values[key]!r}")
        if not is_namespace(values.setdefault("pid_namespace", None)):  # of an earlier version
            raise ValueError(f"pid_namespace: {values['pid_namespace']!r}")
        if values["name"] != name:
            raise ValueError(f"the record of {values['name']}")
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"no record: {error!r}") from error
    return values


def id_in(path: str) -> str | None:
    """The ID in a corrupt record; None where that cannot be read either."""
    try:
        identity = parsed(path)["id"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return identity if is_id(identity) else None


def parsed(path: str) -> "Any":
    if not stat.S_ISREG(os.stat(path).st_mode):  # a fifo would keep us waiting for ever
        raise ValueError("no file")
    return json.loads(read(path))


def is_text(value: object) -> bool:
    return isinstance(value, str)


def is_id(value: object) -> bool:
    return isinstance(value, str) and len(value) == ID_LENGTH and set(value) <= ID_DIGITS


def is_name(value: object) -> bool:
    return isinstance(value, str) and container_name(value) == value


def is_image(value: object) -> bool:
    return isinstance(value, str) and image_name(value) == value


def is_command(value: object) -> bool:
    return isinstance(value, list) and value != [] and all(is_text(word) for word in value)


def is_environment(value: object) -> bool:
    return isinstance(value, dict) and all(
        key and "=" not in key and can_be_passed(key) and can_be_passed(content)
        for key, content in value.items()
    )


def can_be_passed(value: object) -> bool:
    """Whether a program can be given this text: bytes, and no zero among them."""
    try:
        return isinstance(value, str) and b"\0" not in value.encode(errors="surrogateescape")
    except UnicodeEncodeError:  # half of a character
        return False


def is_number(value: object, least: float, end: float) -> bool:
    """Whether it is a number, `least` at least and below `end`: NaN is neither, True is none."""
    return type(value) in (int, float) and least <= value < end  # type: ignore[operator]


def is_whole(value: object, least: int, end: int) -> bool:
    return type(value) is int and least <= value < end


def is_moment(value: object) -> bool:
    return is_number(value, 0, LAST_MOMENT)


def is_status(value: object) -> bool:
    return is_whole(value, 0, LAST_STATUS + 1)


def is_namespace(value: object) -> bool:
    return value is None or is_whole(value, 1, LAST_INODE)


def is_process(value: object) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == {"pid", "start"}
        and is_whole(value["pid"], 1, LAST_PID + 1)
        and is_whole(value["start"], 0, LAST_TICK)
    )


def or_none(is_right: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: value is None or is_right(value)


RIGHT: dict[str, Callable[[object], bool]] = {
    "id": is_id,
    "name": is_name,
    "image": is_image,
    "command": is_command,
    "environment": is_environment,
    "created": is_moment,
    "driver": is_text,
    "boot_id": is_text,
    "monitor": is_process,
    "process": or_none(is_process),
    "exit_status": or_none(is_status),
    "finished": or_none(is_moment),
}
