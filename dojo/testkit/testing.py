"""What the chapters' tests are written with.

A test says in its docstring why the behaviour matters, in words that a learner of its chapter
knows, and in its `task` which section of the lesson explains it. `expect` and `check` put both
beside what was run, what came out and what was expected.
"""

import contextlib
import itertools
import json
import os
import random
import re
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dojo.rows import laid_out, readable
from dojo.scratch import Call, Moment, Process, Running
from dojo.scratch.calls import describe_status, show
from dojo.scratch.groups import start_time
from dojo.scratch.typed import Before
from dojo.testkit import machine

if TYPE_CHECKING:
    from dojo.testkit.mydocker import Mydocker

guard = pytest.mark.guard
ours = pytest.mark.ours
needs = pytest.mark.needs
layers = pytest.mark.layers  # once for each storage driver
vm = pytest.mark.vm  # of the few that CI runs in a virtual machine, too

# How callers leave their signals to those whom they call: an exec keeps it.
CALLERS = {
    "ignores all signals": ("env", "--ignore-signal"),
    "ignores SIGCHLD": ("env", "--ignore-signal=CHLD"),
    "blocks all signals": ("env", "--block-signal"),
}

# Callers in a PID namespace of their own: where /proc shows it, and where /proc shows the host's.
ELSEWHERE = {
    "its own /proc": ("unshare", "--pid", "--fork", "--mount-proc"),
    "the host's /proc": ("unshare", "--pid", "--fork"),
}


def in_a_chroot(mydocker: "Mydocker", top: Path) -> Before:
    """What starts a program in a chroot on a mount point, as rescue systems and builders do.

    top: an empty directory. The root of the mount namespace has a file `/of-the-host`, nothing in
    the place of the test's own files, and little else that is no mount: so it is small, for whoever
    takes it for the container's.
    """
    script = """
        set -e; top=$1; own=$2; shift 2
        mount -t tmpfs small "$top"; mount --make-unbindable "$top"
        cd "$top"; echo of the host > of-the-host
        for each in /*; do
            if test -L "$each"; then cp -P "$each" .
            elif test -d "$each"; then mkdir ".$each"; mount --rbind "$each" ".$each"
            fi
        done
        mkdir old chroot; pivot_root . old; umount -l /old
        mount --make-private /; mount --rbind / /chroot
        mount -t tmpfs nothing "$own"; exec chroot /chroot "$@"
        """
    top.mkdir()
    words = ("sh", str(top), str(mydocker.root.parent))
    argv = ("unshare", "--mount", "--propagation=private", "sh", "-c", script, *words)
    return Before(argv, f"in a chroot on the mount point {top}/chroot")


def task(number: int) -> pytest.MarkDecorator:
    """Mark a test as part of a task of its chapter: 1 is the first in chapter.toml.

    The title of the task is also the heading of the section of the lesson that explains it.
    """
    return pytest.mark.task(number)


def examples(usual: int, least: int) -> int:
    """How many examples hypothesis draws: the fewer, the longer a process takes to start here.

    usual: on a usual machine. least: on the slowest one.
    """
    return max(least, int(usual / (patience or machine.patience())))


patience: float | None = None  # of the test that runs: that of its last run, if it was red


class Unmet(AssertionError):
    """What a test expected and did not get.

    rows: pairs of a word and a text, in the order in which a person wants to read them.
    """

    def __init__(self, rows: Iterable[tuple[str, str]]) -> None:
        self.rows = list(rows)
        super().__init__(laid_out((name, readable(text)) for name, text in self.rows))


def expect(
    call: Call,
    *,
    status: int | None = None,
    out: bytes | str | None = None,
    err: bytes | str | None = None,
    complaint: Iterable[str] | None = None,
) -> Call:
    """Expect a call to have ended by itself, and in this way. Returns it.

    out, err: the whole of the stream, to the byte. complaint: stderr is one line, and every one of
    these words is in it. Raises Unmet.
    """
    __tracebackhide__ = True
    unmet = []
    if call.problem:
        unmet.append("it ends by itself, and takes what it started along")
    if status is not None and call.status != status:
        unmet.append(f"status {describe_status(status)}")
    for name, wanted, got in (("stdout", out, call.out), ("stderr", err, call.err)):
        if wanted is not None and got != _bytes(wanted):
            unmet.append(f"{name} exactly {show(_bytes(wanted))}")
    if complaint is not None:
        unmet += _missing_from_complaint(call, list(complaint))
    if unmet:
        raise Unmet([*call.rows(), *_remark(call), *(("expected", text) for text in unmet)])
    return call


def started(running: Running, line: bytes = b"ready") -> Running:
    """Expect a program that was left running to write this line to stdout. Returns it.

    The whole line: a program that starts nothing, and logs the command that it was given, writes
    the word as well.
    """
    __tracebackhide__ = True
    return _awaited(running, running.wait_for_line(line), f"the line {show(line)}")


def sleeping(mydocker: "Mydocker", *options: str, **more: Any) -> Running:
    """Leave a container running that only sleeps: `run` with these options, and `sleep 1000`.

    That it runs is seen from the host. So nothing here depends on streams, or on an argument with
    blanks. more: what `mydocker.start` takes.
    """
    __tracebackhide__ = True
    running = mydocker.start("run", *options, "busybox", "sleep", "1000", **more)

    def is_asleep() -> bool:
        below = running.descendants()
        return any(p.is_first_of_a_container() and p.command == "sleep 1000" for p in below)

    if not mydocker.host.until(lambda: is_asleep() or running.has_ended()) or not is_asleep():
        there = "; ".join(map(str, running.descendants())) or "no process below `run`"
        expected = "`sleep 1000` as PID 1 of a container, and it goes on running"
        call = running.so_far()
        running.stop()
        raise Unmet([*call.rows(), *_remark(call), ("found", there), ("expected", expected)])
    return running


def showed(running: Running, part: bytes) -> Running:
    """The same, where there is no whole line: a prompt, or what a terminal echoes."""
    __tracebackhide__ = True
    return _awaited(running, running.wait_for_output(part), show(part))


def _awaited(running: Running, came: bool, what: str) -> Running:
    __tracebackhide__ = True
    if not came:
        call = running.so_far()
        running.stop()
        expected = f"{what} on stdout, and a container that goes on running"
        raise Unmet([*call.rows(), *_remark(call), ("expected", expected)])
    return running


def drawn() -> tuple[str, str]:
    """A number that was drawn, and how a shell computes it.

    Who writes the number has run the script: it stands nowhere in what was typed.
    """
    number, summand = random.randrange(10**8, 10**9), random.randrange(10**7)
    return str(number), f"$(({number - summand} + {summand}))"


def first_process(running: Running) -> Process:
    """PID 1 of the container that this `run` has started, as the host sees it."""
    __tracebackhide__ = True
    below = running.descendants()
    found = [process for process in below if process.is_first_of_a_container()]
    if len(found) != 1:
        there = "; ".join(str(process) for process in below) or "no process"
        expected = "a process below `run` that is PID 1 in a PID namespace of its own"
        raise Unmet([*running.so_far().rows(), ("found", there), ("expected", expected)])
    return found[0]


@contextlib.contextmanager
def another_pid_namespace(mydocker: "Mydocker") -> Iterator[tuple[str, ...]]:
    """What starts a program in a PID namespace that is there until the end of the block.

    Then all that runs in it is killed.
    """
    __tracebackhide__ = True
    words = [
        "unshare",
        "--pid",
        "--fork",
        "--mount-proc",
        "sh",
        "-c",
        "echo ready; exec sleep 1000",
    ]
    running = started(mydocker.host.start(words, env=mydocker.env))
    (first,) = running.descendants()
    yield ("nsenter", f"--target={first.inner}", "--pid", "--mount")
    os.kill(first.pid, signal.SIGKILL)
    running.wait()


def is_refused_elsewhere(mydocker: "Mydocker", *words: str) -> None:
    """Expect a command on a container that runs, `box`, to fail in another PID namespace.

    And to do nothing: the container runs on, and its record is as it was.
    """
    __tracebackhide__ = True
    first = container_process(mydocker)
    record = mydocker.root / "containers" / "box" / "config.json"
    before = record.read_bytes()
    for caller in ELSEWHERE.values():
        call = mydocker(*words, before=caller)
        expect(call, status=1, out="", complaint=["box", "PID namespace"])
        left = [process.pid for process in container_processes(mydocker)]
        check(left == [first.pid], f"{first} runs on", left or "it does not", call)
        found = record.read_bytes() if record.exists() else b"it is gone"
        check(found == before, f"the record as it was: {before!r}", found, call)


def end(running: Running) -> Call:
    """End a container by killing its PID 1. Returns how `run` ended; its status is 3.1's matter."""
    __tracebackhide__ = True
    os.kill(first_process(running).pid, signal.SIGKILL)
    return expect(running.wait())


def detached(mydocker: "Mydocker", *words: str | bytes, **more: Any) -> str:
    """Start a container that lives on: `run -d` with these words. Returns its id.

    Expects status 0, nothing on stderr, and on stdout one line with an id of 64 hex digits. more:
    what a call of `mydocker` takes. If it does not end by itself, `end_detached` ends it.

    Where nobody needs the id, `start_detached` says less of a program that does not print it.
    """
    __tracebackhide__ = True
    call = expect(start_detached(mydocker, *words, **more), err="")
    identity = call.text.removesuffix("\n")
    is_one = re.fullmatch("[0-9a-f]{64}", identity) is not None
    wanted = "the id of the container on a line of its own: 64 hex digits"
    check(is_one, wanted, repr(identity), call)
    return identity


def start_detached(mydocker: "Mydocker", *words: str | bytes, **more: Any) -> Call:
    """Start a container that lives on, see `detached`. Expects status 0 alone."""
    __tracebackhide__ = True
    return expect(mydocker("run", "-d", *words, **more), status=0)


def container_process(mydocker: "Mydocker", identity: str | None = None) -> Process:
    """PID 1 of the container with this id, as the host sees it; of the only one if there is no id.

    It is waited for, and one that has ended does not count. Raises Unmet where there is no such
    process, or more than one.
    """
    __tracebackhide__ = True
    host = mydocker.host
    found = host.until(lambda: container_processes(mydocker, identity), 5.0)
    if len(found) != 1:
        there = "; ".join(str(process) for process in host.processes()) or "no process"
        whose = "the container" if identity is None else f"the container {identity[:12]}"
        expected = f"one process that is PID 1 in {whose}, and lives"
        raise Unmet([*_last_call(mydocker), ("found", there), ("expected", expected)])
    return found[0]


def minder_of(mydocker: "Mydocker", first: Process) -> Process:
    """The process that minds a container: the parent of its PID 1. It is there to be killed.

    Raises Unmet where nobody does, since what had started PID 1 has gone: its parent then is PID 1
    of the scratch host, with which all would end.
    """
    __tracebackhide__ = True
    for process in mydocker.host.processes():
        if process.pid == first.parent:
            return process
    gone = "has gone" if first.parent != mydocker.host.pid else "is PID 1 of the test host"
    nobody = f"nobody minds the container: the parent of {first} {gone}"
    expected = "a process of mydocker's that is the parent of PID 1, and waits for it"
    raise Unmet([*_last_call(mydocker), ("found", nobody), ("expected", expected)])


def container_processes(mydocker: "Mydocker", identity: str | None = None) -> list[Process]:
    """The PID 1s of all containers that live on the scratch host, or of the one with this id."""
    return [
        process
        for process in mydocker.host.processes()
        if process.is_first_of_a_container()
        and process.state != "Z"
        and (identity is None or _belongs_to(process, identity))
    ]


def end_detached(mydocker: "Mydocker", identity: str | None = None) -> None:
    """End a container that lives on by killing its PID 1, as `container_process` finds it.

    Waits until that process and its parent, which minds it, are gone: what is left of the container
    then stays. Raises Unmet if they are not.
    """
    __tracebackhide__ = True
    end_process(mydocker, container_process(mydocker, identity))


def end_process(mydocker: "Mydocker", process: Process) -> None:
    """End a container by killing this PID 1 of it, which may have ended meanwhile.

    See `end_detached`.
    """
    __tracebackhide__ = True
    minder = process.parent
    begun = {pid: start_time(pid) for pid in (process.pid, minder) if pid != mydocker.host.pid}
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGKILL)

    def left() -> list[int]:
        return [pid for pid, time in begun.items() if time and start_time(pid) == time]

    mydocker.host.until(lambda: not left())
    mydocker.notice()
    names = {process.pid: "PID 1 of the container", minder: "the process that minds it"}
    there = " and ".join(names[pid] for pid in left())
    expected = "when PID 1 is killed, it is waited for, and what minds the container ends"
    if there:
        raise Unmet(
            [*_last_call(mydocker), ("found", f"{there}: still there"), ("expected", expected)]
        )


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


@dataclass(frozen=True)
class Mounted:
    """A line of a mountinfo. kind: of its file system, as mount(8) names it."""

    point: str
    kind: str
    line: str


def mounts_in(call: Call) -> list[Mounted]:
    """What a container has shown of its /proc/self/mountinfo, see proc_pid_mountinfo(5)."""
    __tracebackhide__ = True
    found = [
        Mounted(match[1], match[2], match[0])
        for match in re.finditer(r"^\d+ \d+ \S+ \S+ (\S+) .* - (\S+) .*$", call.text, re.M)
    ]
    check(len(found) == len(call.text.splitlines()) > 0, "a mountinfo on stdout", call.text, call)
    return found


def same_mounts(mydocker: "Mydocker", before: Sequence[str], call: Call) -> None:
    """Expect the host to have the mounts that it had before. before: its mountinfo."""
    __tracebackhide__ = True
    after = mydocker.host.mountinfo()
    changed = [f"new: {line}" for line in after if line not in before]
    changed += [f"gone: {line}" for line in before if line not in after]
    told = "\n".join(changed) or "the same ones in another order"
    check(after == before, "the host's mounts as they were", told, call)


def first_words(table: Call) -> list[str]:
    """The first word of each line below the header, sorted."""
    lines = [line.split() for line in table.text.splitlines()[1:]]
    return sorted(words[0] if words else "(an empty line)" for words in lines)


def number_in(call: Call) -> int:
    """The number that stdout consists of."""
    __tracebackhide__ = True
    found = re.fullmatch(r"\s*(\d+)\s*", call.text)
    if found is None:
        check(False, "a number on stdout, and nothing else", repr(call.text), call)
        raise AssertionError  # for those who read types
    return int(found[1])


# A caller for whom text is ASCII, as it is for many a daemon and cron job.
ASCII_ONLY = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}

FULL = ("sh", "-c", 'exec "$@" > /dev/full', "sh")  # before a command: its stdout takes nothing


def tells_what_it_cannot_print(mydocker: "Mydocker", *words: str) -> None:
    """Expect a command that cannot print what was asked for to say so, under its own name.

    And to say nothing where nobody reads it, see `is_quiet_where_nobody_reads`.
    """
    __tracebackhide__ = True
    call = mydocker(*words, before=FULL)
    expect(call, status=1, out="", complaint=[words[0], "No space left"])
    is_quiet_where_nobody_reads(mydocker, *words)


def is_quiet_where_nobody_reads(mydocker: "Mydocker", *words: str) -> None:
    """Expect no complaint where who has read stdout is gone, as `head` after ten lines."""
    __tracebackhide__ = True
    gone, stdout = os.pipe()
    os.close(gone)
    try:
        to_nobody = ("sh", "-c", 'exec "$@" >&3 3>&-', "sh")
        call = mydocker(*words, before=to_nobody, holding=[stdout])
    finally:
        os.close(stdout)
    check(call.err == b"", "silence where nobody reads stdout any more", call.errors, call)
    ends = not call.problem and call.status != 125
    check(ends, "an end, as by SIGPIPE, and no failure of mydocker's own", call.status, call)


@contextlib.contextmanager
def stranger(mydocker: "Mydocker", inner: int) -> Iterator[None]:
    """A process of the host's that gets this PID there, and lives to the end of the block."""
    __tracebackhide__ = True
    script = f"""exec 3<&0; echo {inner - 1} > /proc/sys/kernel/ns_last_pid; cat <&3 &
        echo $$ > /proc/sys/kernel/ns_last_pid; wait"""  # new numbers for those who come later
    running = mydocker.host.start(["sh", "-c", script], env=mydocker.env, stdin=None)
    running.type(b"ready\n")
    started(running)
    there = [process for process in running.descendants() if process.inner == inner]
    check(there, f"a process of the host's with the PID {inner}", running.descendants())
    yield
    with contextlib.suppress(BrokenPipeError):
        running.type(b"here\n")
    lives = running.wait_for_output(b"here\n")  # one that a signal is on its way to says nothing
    left = [process for process in running.descendants() if process.inner == inner]
    found = "; ".join(map(str, left)) or "it has gone"
    check(lives, f"{there[0]} of the host lives: it is a stranger", f"no answer of it: {found}")
    os.kill(there[0].pid, signal.SIGKILL)
    running.wait()


def moments(number: int, *, looks: bool = False) -> Iterator[Moment]:
    """Moments of a program's work, as many starts of it: at its end, then before single changes.

    number: of changes at most, fewer on a slow machine: some of those that the program made when
    nothing held it up; all of them with --every-moment. It must do the same again each time.
    looks: see `Moment`.
    """
    whole = Moment(None, looks=looks)
    yield whole
    tried = len(whole.seen) if every_moment else examples(number, 3)
    for each in _some_of(whole.seen, tried):
        yield Moment(each, looks=looks)


every_moment = False  # see --every-moment


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


def non_blocking(*streams: int) -> Before:
    """What to put before a command whose caller has made these of its streams non-blocking.

    If one is a pipe, there is room for a page only, so that it is full at once.
    """
    script = f"""if True:
        import contextlib, fcntl, os, sys
        for stream in {streams}:
            with contextlib.suppress(OSError):  # no pipe
                fcntl.fcntl(stream, fcntl.F_SETPIPE_SZ, 4096)
            os.set_blocking(stream, False)
        os.execvp(sys.argv[1], sys.argv[1:])"""
    names = " and ".join(("stdin", "stdout", "stderr")[stream] for stream in streams)
    return Before((sys.executable, "-c", script), f"{names}: non-blocking, a pipe of one page")


def in_two_pieces(
    mydocker: "Mydocker", *words: str, content: bytes, first: int | None = None
) -> Call:
    """Run a command whose stdin is non-blocking, and has the beginning of the content at first.

    When all of that has been read, there is nothing to read for a while: then the rest comes.
    first: how many bytes come at first.
    """
    import fcntl  # not where the tests are only looked for
    import termios

    mine, other = os.pipe()
    os.set_blocking(mine, False)
    begun = first or min(len(content) // 2, 4096)  # what a pipe holds
    os.write(other, content[:begun])
    running = mydocker.start(*words, stdin=mine)

    def is_read() -> bool:
        left = fcntl.ioctl(mine, termios.FIONREAD, bytes(4))
        return left == bytes(4) or running.has_ended()

    mydocker.host.until(is_read)
    os.close(mine)
    with contextlib.suppress(BrokenPipeError):
        os.write(other, content[begun:])
    os.close(other)
    return running.wait()


@contextlib.contextmanager
def few_processes(mydocker: "Mydocker", most: int) -> Iterator[Before]:
    """What to put before a command that may have so many processes and threads at a time.

    Those of a container do not count: they are in groups of its own.
    """
    host = mydocker.host
    hierarchy = next(each for each in host.groups.hierarchies if "pids" in each.controllers)
    group = str(hierarchy.point / "few-processes")  # as the host sees it
    script = f"""set -e; cd {hierarchy.point}
        test ! -e cgroup.subtree_control || echo +pids > cgroup.subtree_control
        mkdir {group}; echo {most} > {group}/pids.max"""
    expect(host.run(["sh", "-c", script], env=mydocker.env), status=0)
    try:
        argv = ("sh", "-c", f'echo $$ > {group}/cgroup.procs; exec "$@"', "sh")
        yield Before(argv, f"in a cgroup with pids.max {most}")
    finally:
        is_empty = ["sh", "-c", f"rmdir {group} 2>/dev/null"]
        host.until(lambda: host.run(is_empty, env=mydocker.env).status == 0)


def beside(mydocker: "Mydocker", moment: Moment, *words: str, **more: Any) -> Call:
    """Run a second command while the first is held up at a moment of its work.

    It gets as far as it can: to its end, or to where it waits for the first one. Then both go on.
    more: what `mydocker.start` takes.
    """
    with moment:
        running = as_far_as_it_can(mydocker, *words, **more)
    return running.wait()


def as_far_as_it_can(mydocker: "Mydocker", *words: str, **more: Any) -> Running:
    """Run a command until it has ended, or waits for somebody else."""
    moment = Moment(None)
    running = mydocker.start(*words, **more, moment=moment)
    with moment:
        return running


def wait_for_text(mydocker: "Mydocker", path: Path) -> None:
    """Wait until something stands in a file: a shell makes it first, and writes to it then."""
    mydocker.host.until(lambda: path.exists() and path.read_text())


def type_ctrl_c(running: Running, command: int) -> None:
    """Type Ctrl-C at the terminal of a program. command: the PID of what it has started.

    The program stands still until the terminal has sent its signal, and then hands it on. So who
    gets it from both gets two: at the same time, they would be one.
    """
    host, own = running.host, running.pid
    running.send(signal.SIGSTOP)
    host.until(lambda: state_of(own) == "T")
    running.type(b"\x03")
    host.until(lambda: has_signals_pending(own))
    host.until(lambda: has_taken_its_signals(command))
    running.send(signal.SIGCONT)
    host.until(lambda: has_taken_its_signals(own))
    host.until(lambda: has_taken_its_signals(command))


def has_taken_its_signals(pid: int) -> bool:
    """Whether a process has dealt with its signals, and waits again; or has ended."""
    return not has_signals_pending(pid) and state_of(pid) in ("S", "")


def has_signals_pending(pid: int) -> bool:
    """Whether a signal is on its way to a process; not to one that has ended."""
    rows = _status(pid)
    return any(int(rows.get(name, "0"), 16) for name in ("SigPnd", "ShdPnd"))


def state_of(pid: int) -> str:
    """The letter that ps(1) shows for a process; none for one that has ended."""
    return _status(pid).get("State", "").strip()[:1]


def _status(pid: int) -> dict[str, str]:
    """What proc_pid_status(5) tells of a process; nothing of one that has ended."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except (ProcessLookupError, FileNotFoundError):
        return {}
    return dict(line.split(":", 1) for line in text.splitlines())


def check(condition: object, expected: str, got: object, call: Call | None = None) -> None:
    """Expect a condition to hold. expected: what, as a sentence; got: what there was instead."""
    __tracebackhide__ = True
    if not condition:
        rows = call.rows() if call else []
        found = [] if got is call and rows else [("found", described(got))]  # not twice
        raise Unmet([*rows, *found, ("expected", expected)])


def described(got: object) -> str:
    """What a test has found, as it is told: never how Python writes an object of ours."""
    if isinstance(got, bytes | bytearray):
        return show(bytes(got))
    if isinstance(got, list | tuple | set | frozenset) and not _is_plain(got):
        return "; ".join(map(str, got))
    return str(got) or "(nothing)"


def _is_plain(several: Iterable[object]) -> bool:
    return all(isinstance(each, _PLAIN) for each in several)


_PLAIN = (str, bytes, int, float, type(None), list, tuple, dict)


def _belongs_to(process: Process, identity: str) -> bool:
    """Whether its cgroup or its hostname says that it is of this container."""
    try:
        groups = Path(f"/proc/{process.pid}/cgroup").read_text()
    except OSError:  # it has ended
        return False
    if identity in groups:
        return True
    words = ["nsenter", f"--uts=/proc/{process.pid}/ns/uts", "cat", "/proc/sys/kernel/hostname"]
    told = subprocess.run(words, capture_output=True, text=True, check=False)
    return told.stdout.strip() == identity[:12]


def _last_call(mydocker: "Mydocker") -> list[tuple[str, str]]:
    return mydocker.made[-1].so_far().rows() if mydocker.made else []


def _missing_from_complaint(call: Call, words: list[str]) -> list[str]:
    lines = call.errors.splitlines()
    if "Traceback (most recent call last)" in call.errors:
        return [
            "no traceback: an error is one line on stderr, for the person who typed the command"
        ]
    if call.in_its_own_words:
        return [] if lines else ["something on stderr that says what went wrong"]
    if len(lines) != 1:
        return [f"one line on stderr that says what went wrong, not {len(lines)}"]
    return [f"a message that names {word!r}" for word in words if not _names(call.errors, word)]


def _names(message: str, word: str) -> bool:
    """Whether a message names a word; an option with one dash or two: Go's flag package has one."""
    word = word.removeprefix("-") if word.startswith("--") else word
    if word.isalnum():  # "lo" stands in "allowed", too
        return re.search(rf"(?<![^\W_]){re.escape(word)}(?![^\W_])", message) is not None
    return word in message


def _remark(call: Call) -> list[tuple[str, str]]:
    if "Traceback (most recent call last)" not in call.errors:
        return []
    last = call.errors.strip().splitlines()[-1]
    return [("note", f"the program under test ended with a Python traceback of its own: {last}")]


def _bytes(text: bytes | str) -> bytes:
    return text.encode() if isinstance(text, str) else text
