"""What `ps` says of containers, and records that are wrong."""

import itertools
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from dojo.scratch import Call
from dojo.testkit.testing import check, expect

if TYPE_CHECKING:
    from dojo.testkit.mydocker import Mydocker


def listed(mydocker: "Mydocker", *options: str, **more: Any) -> list[dict[str, Any]]:
    """What `ps --no-trunc --format json` shows, in its order. options: such as `-a`."""
    __tracebackhide__ = True
    words = ("ps", *options, "--no-trunc", "--format", "json")
    return objects_in(expect(mydocker(*words, **more), status=0, err=""))


def objects_in(call: Call) -> list[dict[str, Any]]:
    """The containers that `ps --format json` has shown: an object a line, with docker's keys."""
    __tracebackhide__ = True
    try:
        rows = [json.loads(line) for line in call.text.splitlines()]
    except ValueError:
        rows = [None]
    objects = all(isinstance(row, dict) for row in rows)
    check(objects, "on each line of stdout, one JSON object", call.text, call)
    missing = sorted({key for row in rows for key in OF_A_CONTAINER if key not in row})
    check(not missing, f"the keys {', '.join(OF_A_CONTAINER)}", f"without {missing}", call)
    return rows


OF_A_CONTAINER = ("ID", "Image", "Command", "State", "Status", "CreatedAt", "Names")

# What may stand in a record where something else should: JSON allows all of it, NaN in Python's.
WRONG_VALUES: list[Any] = [
    *(None, True, -1, 1.5, 300, 10**30, float("nan"), float("inf")),
    *("", "no", "..", "\ud83d", "a\0b", "a/b", "=", "A" * 300),
    *([], [1], ["no", None], {}, {"no": 1}, {"pid": 1}),
]


def wrong_records(
    good: Any, name: str, identity: str, more: Iterable[Any] = ()
) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Copies of a record, each with another name and id, and with one value wrong, or missing.

    more: other wrong values. For each place in the record, such as "command[0]": the names of the
    copies, and their texts.
    """
    numbers = itertools.count()
    places = [place for place, _ in _places(good, ())]
    for place in places:
        copies = []
        for value in [_MISSING, *WRONG_VALUES, *more]:
            other = f"broken-{next(numbers)}"
            own = {name: other, identity: os.urandom(32).hex()}
            copies.append((other, json.dumps(_replaced(good, place, value, own))))
        yield "".join(f"[{step!r}]" for step in place), copies


_MISSING = object()


def _places(part: Any, place: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """All values in a JSON value, but not itself, with the keys that lead to each."""
    keys: Iterable[Any] = part if isinstance(part, dict) else ()
    keys = range(len(part)) if isinstance(part, list) else keys
    for key in keys:
        yield (*place, key), part[key]
        yield from _places(part[key], (*place, key))


def _replaced(part: Any, place: tuple[Any, ...], value: Any, own: Mapping[str, str]) -> Any:
    """A copy of a JSON value with one in it replaced, and its own texts in place of others."""
    if isinstance(part, dict | list):
        items = part.items() if isinstance(part, dict) else enumerate(part)
        new = {
            key: value if place == (key,) else _replaced(each, _below(place, key), value, own)
            for key, each in items
        }
        left = {key: each for key, each in new.items() if each is not _MISSING}
        return left if isinstance(part, dict) else [*left.values()]
    return own.get(part, part) if isinstance(part, str) else part


def _below(place: tuple[Any, ...], key: Any) -> tuple[Any, ...]:
    return place[1:] if place[:1] == (key,) else ()
