"""Where `kata check` runs tests: the same questions to this machine and to the virtual one."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Protocol

from dojo.clone import Clone
from dojo.errors import KataError
from dojo.labs import choice
from dojo.labs.connection import Connection, Lost
from dojo.labs.remote import Remote
from dojo.plugin.items import chapter_of
from dojo.testkit import program, rootfs
from dojo.testkit.program import Trouble

Say = Callable[[str], object]


class Lab(Protocol):
    """Where tests run.

    name: as `--lab` has it. starts_early: whether pytest can start before `open`.
    """

    name: str
    starts_early: bool

    def where(self) -> str:
        """How a sentence ends that names it, if it is elsewhere."""

    def prepare(self) -> None:
        """Do what can be done before it is known whether there will be tests. Never fails."""

    def open(self) -> None:
        """Be ready for tests. Raises KataError where there can be none."""

    def at_a_time(self, asked: int | None) -> int:
        """How many tests run at a time. asked: what the person said, if anything."""

    def trouble(self, say: Say) -> Trouble | None:
        """Why the program under test does not start. say: gets a line before what takes long."""

    def plugins(self) -> Sequence[object]:
        """What pytest needs to run the tests there."""

    def clear_away(self) -> None:
        """Remove what a test that was stopped in the middle may have left of its test host."""


@contextmanager
def lab_of(wanted: str, clone: Clone, mydocker: str | None, as_root: str) -> Iterator[Lab]:
    """The lab for what was asked for, closed afterwards.

    wanted: one of `choice.LABS`. mydocker: the command of the program under test. as_root: what to
    type to run the tests on this machine. Raises KataError where there is no such program.
    """
    if not choice.is_elsewhere(wanted):
        yield _Here(wanted, clone, mydocker, as_root)
        return
    lab = _Elsewhere(wanted, clone, mydocker, as_root)
    try:
        yield lab
    finally:
        lab.close()


class _Here:
    """This machine."""

    starts_early = True

    def __init__(self, name: str, clone: Clone, mydocker: str | None, as_root: str) -> None:
        self.name = name
        self._clone = clone
        self._mydocker = mydocker
        self._as_root = as_root

    def where(self) -> str:
        return ""

    def prepare(self) -> None:
        """There is nothing to reach."""

    def open(self) -> None:
        refusal = choice.refusal_here(self._as_root)
        if refusal is not None:
            raise KataError(refusal)
        self._words = program.words_of(self._mydocker)

    def at_a_time(self, asked: int | None) -> int:
        return min(2, os.cpu_count() or 1) if asked is None else max(1, asked)

    def trouble(self, say: Say) -> Trouble | None:
        rootfs.ensure(self._clone, say)
        return program.trouble_of(self._words, self._clone)

    def plugins(self) -> Sequence[object]:
        return []

    def clear_away(self) -> None:
        from dojo.scratch import groups

        groups.remove_stale()
        for hierarchy in groups.hierarchies():
            for group in hierarchy.point.glob(f"{groups.PREFIX}{os.getpid()}-*"):
                groups.remove_group(group)


class _Elsewhere:
    """The virtual machine."""

    name = "vagrant"
    starts_early = False  # how many tests run at a time, the machine says

    def __init__(self, wanted: str, clone: Clone, mydocker: str | None, as_root: str) -> None:
        self._wanted = wanted
        self._clone = clone
        self._mydocker = mydocker
        self._as_root = as_root
        self._connection: Connection | None = None

    def where(self) -> str:
        return f", in the lab: {self.name}, {self._open.hello.kernel}"

    @property
    def _open(self) -> Connection:
        assert self._connection is not None
        return self._connection

    def prepare(self) -> None:
        with suppress(KataError):  # `open` tries once more, and tells
            self._connect()

    def open(self) -> None:
        if self._connection is not None:
            try:
                self._connection.begin(self._mydocker)
            except Lost:
                self.close()
            else:
                return
        self._connect()

    def _connect(self) -> None:
        connection = choice.connect(self._wanted, self._clone, self._as_root)
        self._connection = connection
        connection.begin(self._mydocker)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def at_a_time(self, asked: int | None) -> int:
        return self._open.hello.cpus if asked is None else max(1, asked)

    def trouble(self, say: Say) -> Trouble | None:
        return self._open.trouble(self._mydocker)

    def plugins(self) -> Sequence[object]:
        return [Remote(self._clone, lambda: self._open, lambda item: chapter_of(item) is not None)]

    def clear_away(self) -> None:
        """The agent does so by itself."""
