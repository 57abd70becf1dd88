"""What is common to many messages is found, and what is not, is not claimed."""

import pytest

from dojo.testkit.symptoms import in_common, symptoms

IDS = ("0a" * 32, "1b" * 32)


@pytest.mark.parametrize(
    ("rows", "wanted"),
    [
        (
            [("status", "0"), ("stderr", "(nothing)"), ("expected", "status 7")],
            ["the exit status is 0, and another is expected"],
        ),
        (
            [
                ("status", "125"),
                ("stderr", "mydocker: run: no\nand more"),
                ("expected", "status 7"),
            ],
            [
                "stderr says: mydocker: run: no",
                "the exit status is 125, and another is expected",
            ],
        ),
        (
            [("stderr", "Traceback (most recent call last):\n  File x\nNameError: nam")],
            ["stderr says: NameError: nam"],
        ),
        (
            [
                ("left", f"cgroup /sys/fs/cgroup/mydocker-{IDS[0]} was left"),
                ("expected", "nothing"),
            ],
            [
                "cgroup /sys/fs/cgroup/mydocker-… was left",
                "expected, and not so: nothing",
            ],
        ),
        ([("status", "killed by signal 9"), ("expected", "status 7")], []),
        ([("status", "0"), ("expected", "stdout exactly two")], []),
    ],
)
def test_what_can_be_said_of_others_too(rows: list[tuple[str, str]], wanted: list[str]) -> None:
    assert symptoms(rows) == wanted


def test_what_differs_by_chance_is_the_same() -> None:
    first, second = ([("left", f"process 123{n} {n * 64}")] for n in "12")
    assert symptoms(first) == symptoms(second)


def test_only_what_half_of_many_have_is_common() -> None:
    assert in_common([]) is None
    assert in_common([["a"]] * 4) is None
    assert in_common([["a"]] * 5) == "a"
    assert in_common([["a", "b"]] * 6 + [["b"]]) == "b"
    assert in_common([["a"]] * 5 + [["b"]] * 5) == "a"
    assert in_common([["a"]] * 5 + [["b"]] * 2 + [[]] * 4) is None
