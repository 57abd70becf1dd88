"""What the messages of many failed tests have in common: one cause may be behind all of them."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from itertools import chain

FEWEST = 5  # failures that are many


def symptoms(rows: Iterable[tuple[str, str]]) -> list[str]:
    """What can be said of a failure that may be said of others, too; a sentence each.

    rows: of its message, see `dojo.testkit.testing.Unmet`. What differs from test to test by
    chance, such as a status that was drawn, or a PID, is not in there.
    """
    of_name: dict[str, list[str]] = {}
    for name, text in rows:
        of_name.setdefault(name, []).append(text)
    status, stderr = of_name.get("status", [""])[-1], of_name.get("stderr", [""])[-1]
    expected = of_name.get("expected", [])
    found = [f"stderr says: {said}" for said in _worth_telling(stderr)]
    if any(text.startswith("status ") for text in expected) and status.isdecimal():
        found.append(f"the exit status is {status}, and another is expected")
    found += [_without_numbers(text) for text in of_name.get("left", [])]
    own = [text for text in expected if not text.startswith(("status ", "stdout ", "stderr "))]
    found += [f"expected, and not so: {_without_numbers(text)}" for text in own[:1]]
    return list(dict.fromkeys(found))


def in_common(of_tests: Sequence[Collection[str]]) -> str | None:
    """What at least half of many failures have in common; None if there is nothing.

    of_tests: the symptoms of each failed test. Of two that are as frequent, the one that is told
    first says more.
    """
    counted = Counter(chain.from_iterable(of_tests))
    for symptom, number in counted.most_common(1):
        if number >= max(FEWEST, len(of_tests) / 2):
            return symptom
    return None


def _worth_telling(stderr: str) -> list[str]:
    """The line of stderr that names the trouble: of a traceback that is the last."""
    lines = [line for line in stderr.splitlines() if line.strip()]
    if not lines or lines == ["(nothing)"]:
        return []
    line = lines[-1] if lines[0].startswith("Traceback ") else lines[0]
    return [_without_numbers(line.strip()[:200])]


def _without_numbers(text: str) -> str:
    """Long hex digits and numbers go: an ID, a PID, an inode of a namespace."""
    return re.sub(r"\b(?=\w*\d)[0-9a-f]{6,}\b|\b\d{3,}\b", "…", text)
