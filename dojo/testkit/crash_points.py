"""Points at which a program can be killed or overtaken: before each change that it makes."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from dojo.scratch import Call, CrashPoint, Running
from dojo.testkit.testing import check, examples

if TYPE_CHECKING:
    from dojo.testkit.mydocker import Mydocker


def crash_points(
    number: int, *, looks: bool = False, also: Sequence[str] = ()
) -> Iterator[CrashPoint]:
    """Crash points of a program, as many starts of it: at its end, then before single changes.

    number: of changes at most, fewer on a slow machine: some of those that the program made when
    nothing held it up; all of them with --every-crash-point. It must do the same again each time.
    looks, also: see `CrashPoint`.
    """
    whole = CrashPoint(None, looks=looks, also=also)
    yield whole
    tried = len(whole.seen) if every_crash_point else examples(number, 3)
    for each in _some_of(whole.seen, tried):
        yield CrashPoint(each, looks=looks, also=also)


every_crash_point = False  # see --every-crash-point


def _some_of(names: Sequence[str], number: int) -> list[int]:
    """The places of some changes: of each kind, by what came before it, one; and then of the rest.

    The tenth of ten files that are made tells little, but the one change after them may.
    """
    kinds = list(zip(["", *names], names, strict=False))
    firsts = [place for place, kind in enumerate(kinds) if kind not in kinds[:place]]
    rest = [place for place in range(len(names)) if place not in firsts]
    found = _spread(firsts, number)
    return sorted(found + _spread(rest, number - len(found)))


def _spread(places: Sequence[int], number: int) -> list[int]:
    """At most that many of them, evenly spread."""
    tried = min(len(places), number)
    return [places[each * len(places) // tried] for each in range(tried)]


def beside(mydocker: "Mydocker", crash_point: CrashPoint, *words: str, **more: Any) -> Call:
    """Run a second command while the first is held up at a crash point.

    It gets as far as it can: to its end, or to where it waits for the first one. Then both go on.
    more: what `mydocker.start` takes.
    """
    with crash_point:
        running = as_far_as_it_can(mydocker, *words, **more)
    return running.wait()


def as_far_as_it_can(mydocker: "Mydocker", *words: str, **more: Any) -> Running:
    """Run a command until it has ended, or waits for somebody else."""
    crash_point = CrashPoint(None)
    running = mydocker.start(*words, **more, crash_point=crash_point)
    with crash_point:
        return running


def killed_at(crash_point: CrashPoint, running: Running) -> Call:
    """Kill it, and what it started, at a crash point. It may have ended before."""
    host = running.host
    with crash_point:
        running.kill()
    call = running.wait()
    left = host.until(lambda: not host.processes()) or host.processes()
    check(left is True, "no process is left", left, call)
    return call
