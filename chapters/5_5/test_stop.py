"""Chapter 5.5: end a container: ask first, then kill, and never anybody else."""

import contextlib
import json
import os
import random
import re
import signal
import time
from functools import partial
from pathlib import Path

import pytest

from dojo.scratch import Process
from dojo.testkit import machine
from dojo.testkit.callers import (
    ELSEWHERE,
    is_refused_elsewhere,
    stranger,
    tells_what_it_cannot_print,
)
from dojo.testkit.containers import (
    container_process,
    container_processes,
    detached,
    end_detached,
    monitor_of,
    started,
)
from dojo.testkit.crash_points import crash_points
from dojo.testkit.mydocker import Mydocker
from dojo.testkit.records import listed
from dojo.testkit.testing import check, expect, guard, needs, ours, task, vm

STAY = ("sleep", "1000")  # as PID 1 it has no handler for SIGTERM, so the kernel drops it
KILLED = 128 + 9  # by SIGKILL, which has no name where tests are only collected
NOT_WAITED_FOR = "600"  # seconds: a `stop` that waits them out takes too long for the test
CRASH_POINTS = 6  # at most, at which a container ends by itself while it is stopped
DEFAULT_SECONDS = 10


# Task 1: Ask, and wait for the end


@task(1)
@vm
def test_a_container_is_asked_to_end(mydocker):
    """SIGTERM lets a program finish its work. It ends in its own way, with its own status."""
    status = random.randrange(2, 125)
    asked(mydocker, f"trap 'echo bye; exit {status}' TERM")
    expect(mydocker("stop", "box"), status=0, out="box\n", err="")
    check(ended(mydocker) == status, f"it is listed as ended with {status}", ended(mydocker))
    expect(mydocker("logs", "box"), status=0, out="ready\nbye\n", err="")


@task(1)
def test_nobody_waits_longer_than_needed(mydocker):
    """The seconds are the most that it gets. One that ends at once is not waited for."""
    asked(mydocker, "trap 'exit 43' TERM")
    expect(mydocker("stop", "-t", NOT_WAITED_FOR, "box"), status=0, out="box\n", err="")
    check(ended(mydocker) == 43, "it is listed as ended with 43", ended(mydocker))


@task(1)
def test_a_container_in_the_foreground_can_be_stopped(mydocker):
    """It is stopped from another terminal. The `run` that waits for it hears how it ended."""
    script = waits_for("trap 'exit 43' TERM")
    words = ("run", "--rm", "--name", "box", "busybox", "sh", "-c", script)
    running = started(mydocker.start(*words))
    expect(mydocker("stop", "-t", NOT_WAITED_FOR, "box"), status=0, out="box\n", err="")
    expect(running.wait(), status=43, out="ready\n", err="")


@task(1)
def test_one_that_has_ended_is_stopped_already(mydocker):
    """What was wanted is the case. A script that stops all it started must not fail on this."""
    detached(mydocker, "--name", "box", "busybox", "sh", "-c", "exit 5")
    mydocker.host.until(lambda: not listed(mydocker))
    for _ in range(2):
        expect(mydocker("stop", "box"), status=0, out="box\n", err="")
    check(ended(mydocker) == 5, "it is listed as before, with status 5", ended(mydocker))


@task(1)
def test_ps_tells_at_once_that_it_has_ended(mydocker):
    """`stop` and then `ps -a` in a script: the second must not see what was before the first."""
    for number in range(3):
        name = f"box-{number}"
        asked(mydocker, f"trap 'sleep 0.2; exit {number}' TERM", name)
        expect(mydocker("stop", name), status=0, out=f"{name}\n", err="")
        running = listed(mydocker)
        check(not running, "`ps` shows no container that runs", running)
        found = ended(mydocker, name)
        check(found == number, f"`ps -a` shows {name} as ended with {number}", found)


@task(1)
def test_two_can_stop_it_at_the_same_time(mydocker):
    """Both want it to end, and it ends. It got one chance to do so in its own way, not none."""
    for number in range(3):
        name = f"box-{number}"
        asked(mydocker, "trap 'sleep 0.1; exit 43' TERM", name)
        both = [mydocker.start("stop", "-t", NOT_WAITED_FOR, name) for _ in range(2)]
        for running in both:
            expect(running.wait(), status=0, out=f"{name}\n", err="")
        check(ended(mydocker, name) == 43, "it is listed as ended with 43", ended(mydocker, name))


@task(1)
@ours
@pytest.mark.parametrize("whose", ["first process", "monitor"])
def test_a_pid_that_is_used_again_is_not_signalled(mydocker, whose):
    """A PID is a number that is given out again. The record has it, and somebody else is it now.

    Here all of the container was killed, so that nobody could write down that it has ended.
    """
    mydocker.may_leave("cgroup", "file")  # until 5.6, nothing clears these away after a crash
    detached(mydocker, "--name", "box", "busybox", *STAY)
    first = container_process(mydocker)
    monitor = monitor_of(mydocker, first)
    kill_both(mydocker, first, monitor)
    with stranger(mydocker, first.inner if whose == "first process" else monitor.inner):
        expect(mydocker("stop", "-t", "1", "box"), status=0, out="box\n", err="")
    check(ended(mydocker) == KILLED, f"it is listed as ended with {KILLED}", ended(mydocker))


@task(1)
@ours
def test_the_pid_of_one_that_has_ended_is_not_signalled(mydocker):
    """It ended long ago, and that is known: nobody has to be signalled at all."""
    identity = detached(mydocker, "--name", "box", "busybox", *STAY)
    first = container_process(mydocker)
    end_detached(mydocker, identity)
    with stranger(mydocker, first.inner):
        expect(mydocker("stop", "-t", "1", "box"), status=0, out="box\n", err="")


@task(1)
@ours
def test_a_pid_that_is_used_again_while_stop_waits_is_not_signalled(mydocker):
    """It ends after SIGTERM, its number goes to a stranger, and the time is not up yet.

    The monitor stands still here, and so cannot say that it has ended: PID 1 is a zombie at first,
    whose number is taken; then both are gone.
    """
    mydocker.may_leave("cgroup", "file")  # until 5.6, nothing clears these away after a crash
    asked(mydocker, "trap 'exit 43' TERM")
    first = container_process(mydocker)
    monitor = monitor_of(mydocker, first)
    os.kill(monitor.pid, signal.SIGSTOP)
    running = mydocker.start("stop", "-t", "3", "box")
    mydocker.host.until(lambda: gone(first))
    kill_both(mydocker, first, monitor)
    with stranger(mydocker, first.inner):
        expect(running.wait(), status=0, out="box\n", err="")


@task(1)
@ours
def test_a_pid_from_before_a_reboot_is_not_signalled(mydocker):
    """After a reboot all PIDs are given out anew, and start times count from the start again.

    Only the ID of the boot tells the two apart. Here the record says that it is from another one.
    """
    identity = detached(mydocker, "--name", "box", "busybox", *STAY)
    first = container_process(mydocker)
    path = mydocker.root / "containers" / "box" / "config.json"
    record = json.loads(path.read_text())
    here = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    check(record.get("boot_id") == here, f"a boot_id {here} in the record", record)
    record["boot_id"] = "00000000-0000-4000-8000-000000000000"
    path.write_text(json.dumps(record))
    expect(mydocker("stop", "-t", "1", "box"), status=0, out="box\n", err="")
    check(not gone(first), f"{first} lives: it is not the container's", "it is gone")
    end_detached(mydocker, identity)


@task(1)
@ours
def test_one_whose_monitor_was_killed_is_stopped(mydocker):
    """The container died with it (chapter 3.1), and nobody wrote that down: it is seen now."""
    mydocker.may_leave("cgroup", "file")  # until 5.6, nothing clears these away after a crash
    detached(mydocker, "--name", "box", "busybox", *STAY)
    first = container_process(mydocker)
    kill_both(mydocker, first, monitor_of(mydocker, first))
    expect(mydocker("stop", "box"), status=0, out="box\n", err="")
    check(ended(mydocker) == KILLED, f"it is listed as ended with {KILLED}", ended(mydocker))


# Task 2: Kill when the time is up


@task(2)
@vm
def test_one_that_does_not_react_is_killed(mydocker):
    """A PID 1 without a handler for SIGTERM does not even notice. When time is up: SIGKILL."""
    detached(mydocker, "--name", "box", "busybox", *STAY)
    first = container_process(mydocker)
    begun = time.monotonic()
    expect(mydocker("stop", "-t", "1", "box"), status=0, out="box\n", err="")
    took = time.monotonic() - begun
    check(gone(first), f"{first} is gone", "it lives")
    check(took >= 1, "it had a second to end by itself", f"{took:.2f} s")
    check(ended(mydocker) == KILLED, f"it is listed as ended with {KILLED}", ended(mydocker))


@task(2)
def test_one_that_refuses_is_killed(mydocker):
    """A program may hear SIGTERM and decide to go on. It cannot decide so about SIGKILL."""
    asked(mydocker, "trap 'echo no' TERM")
    expect(mydocker("stop", "-t", "1", "box"), status=0, out="box\n", err="")
    check(ended(mydocker) == KILLED, f"it is listed as ended with {KILLED}", ended(mydocker))
    expect(mydocker("logs", "box"), status=0, out="ready\nno\n", err="")


@task(2)
def test_it_has_ten_seconds_if_nothing_else_is_said(mydocker):
    """Time to write down what is to be kept, and not so much that one waits for ever."""
    detached(mydocker, "--name", "box", "busybox", *STAY)
    begun = time.monotonic()
    expect(mydocker("stop", "box", seconds=40), status=0, out="box\n", err="")
    took = time.monotonic() - begun
    most = DEFAULT_SECONDS + 5 * machine.patience()
    check(DEFAULT_SECONDS <= took < most, f"about {DEFAULT_SECONDS} seconds", f"{took:.2f} s")
    check(ended(mydocker) == KILLED, f"it is listed as ended with {KILLED}", ended(mydocker))


@task(2)
@pytest.mark.parametrize(
    "words", [("-t", "0", "box"), ("box", "-t", "0")], ids=["before", "behind"]
)
def test_no_time_at_all(mydocker, words):
    """`-t 0` is for those who do not want to wait: the container is killed at once.

    As with docker, options may stand before the name and behind it.
    """
    asked(mydocker, "trap 'sleep 1; exit 43' TERM")
    expect(mydocker("stop", *words), status=0, out="box\n", err="")
    check(ended(mydocker) == KILLED, f"it is listed as ended with {KILLED}", ended(mydocker))


@task(2)
def test_names_are_printed_as_they_were_typed(mydocker):
    """By ID, by the start of the ID, by name: what was typed comes back, one name a line."""
    identity = detached(mydocker, "--name", "box", "busybox", *STAY)
    for name in (identity[:7], identity, "box"):  # the second time, it has ended already
        expect(mydocker("stop", "-t", "0", name), status=0, out=f"{name}\n", err="")
    call = mydocker("stop", "box", identity)
    expect(call, status=0, err="")
    names = sorted(call.text.splitlines())
    check(names == sorted(["box", identity]), "both, as typed", call.text, call)


@task(2)
@guard  # to say that it was not stopped is the truth, too
@ours
@needs("unotify")
def test_one_that_is_just_starting_is_stopped(mydocker):
    """It has a record, and no PID 1 yet. Who is told that it is stopped must not find it later."""
    for crash_point in crash_points(CRASH_POINTS):
        words = ("run", "-d", "--rm", "--name", "box", "busybox", *STAY)
        starting = mydocker.start(*words, crash_point=crash_point)
        with crash_point:
            stopping = mydocker.start("stop", "-t", "0", "box")
            mydocker.host.until(stopping.has_ended, 0.5)  # or it waits for the other one
        starting.wait()
        call = stopping.wait()
        if call.status == 0:
            expect(call, out="box\n", err="")
            left = container_processes(mydocker)
            check(not left, "no container runs", "; ".join(map(str, left)), call)
        else:
            expect(call, status=1, out="", complaint=["box"])  # it was not recorded yet
            end_detached(mydocker)
        mydocker.host.until(lambda: not mydocker.host.processes())


@task(2)
@vm
def test_nothing_is_alive_right_after(mydocker):
    """Whoever stops a database and then copies its files relies on it: it has ended, now.

    A signal that has been sent is not a process that has ended.
    """
    begin = "for n in 1 2 3 4 5 6 7 8 9; do sleep 777 & done"
    refuses, ends = ("trap : TERM", "0"), ("trap 'exit 0' TERM", NOT_WAITED_FOR)
    for trap, seconds in (refuses, refuses, ends):
        script = f"{begin}; {waits_for(trap)}"
        identity = detached(mydocker, "--rm", "--name", "box", "busybox", "sh", "-c", script)
        mydocker.host.until(lambda: len(inside(mydocker)) > 9)
        call = expect(mydocker("stop", "-t", seconds, "box"), status=0, out="box\n", err="")
        left = inside(mydocker)
        check(not left, "no process of the container", "; ".join(map(str, left)), call)
        mydocker.host.until(partial(forgotten, mydocker, identity))


@task(2)
@ours
@needs("cgroup")
def test_what_it_lived_in_is_gone_right_after(mydocker, tmp_path):
    """Its group, its mounts, its monitor: `stop` returns when there is nothing to wait for."""
    before = mydocker.host.mountinfo()
    options = ("-m", "64m", "-v", f"{tmp_path}:/data")
    detached(mydocker, "--name", "box", *options, "busybox", *STAY)
    check(mydocker.host.groups.below(), "a group while it runs", "none")
    call = expect(mydocker("stop", "-t", "0", "box"), status=0, out="box\n", err="")
    groups, mounts = mydocker.host.groups.below(), mydocker.host.mountinfo()
    check(not groups, "no group", groups, call)
    check(mounts == before, "the mounts of before", set(mounts) ^ set(before), call)


@task(2)
@ours
def test_one_with_rm_is_removed_right_after(mydocker):
    """With `--rm` the end of the container is the end of its record: its name is free again."""
    for _ in range(3):
        detached(mydocker, "--rm", "--name", "box", "busybox", *STAY)
        expect(mydocker("stop", "-t", "0", "box"), status=0, out="box\n", err="")
        rows = listed(mydocker, "-a")
        check(not rows, "no container is listed", rows)


@task(2)
def test_who_is_inside_is_told(mydocker):
    """`exec` waits for a process of the container. When that is killed, it ends as well: 137."""
    detached(mydocker, "--name", "box", "busybox", *STAY)
    words = ("exec", "box", "sh", "-c", "echo ready; exec sleep 777")
    running = started(mydocker.start(*words))
    expect(mydocker("stop", "-t", "0", "box"), status=0, out="box\n", err="")
    expect(running.wait(), status=KILLED, out="ready\n")


@task(2)
def test_one_whose_first_process_stands_still_can_be_stopped(mydocker):
    """A process that SIGSTOP has stopped does not see SIGTERM. SIGKILL ends it all the same."""
    asked(mydocker, "trap 'exit 43' TERM")
    os.kill(container_process(mydocker).pid, signal.SIGSTOP)
    expect(mydocker("stop", "-t", "0", "box"), status=0, out="box\n", err="")
    check(ended(mydocker) == KILLED, f"it is listed as ended with {KILLED}", ended(mydocker))


@task(2)
@guard  # it ends without SIGKILL
@needs("unotify")
def test_one_that_ends_at_this_moment_is_stopped(mydocker):
    """It ran when `stop` looked, and has ended when `stop` sends its signal: all the better."""
    for number, crash_point in enumerate(crash_points(CRASH_POINTS, looks=True)):
        name = f"box-{number}"
        identity = detached(mydocker, "--name", name, "busybox", *STAY)
        running = mydocker.start("stop", "-t", "1", name, crash_point=crash_point)
        with crash_point:
            for process in container_processes(mydocker, identity):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)
        expect(running.wait(), status=0, out=f"{name}\n", err="")
        check(ended(mydocker, name) == KILLED, "it is listed as killed", ended(mydocker, name))


@task(2)
@ours
def test_a_name_that_cannot_be_printed(mydocker):
    """`stop > /dev/full`: the container is stopped all the same, and `stop` says what it could not.

    (It is a second time that it is stopped here, which is no failure.)
    """
    detached(mydocker, "--name", "box", "busybox", *STAY)
    expect(mydocker("stop", "-t", "0", "box"), status=0, out="box\n", err="")
    tells_what_it_cannot_print(mydocker, "stop", "box")


@task(2)
@ours
def test_the_processes_of_another_container_live(mydocker):
    """What is stopped is one container: not all that look like it, nor what else is running."""
    there = mydocker.another_root()
    other = detached(mydocker, "--rm", "--name", "box", "busybox", *STAY, env=there)
    spared = container_process(mydocker, other)
    beside = mydocker.host.start([*STAY], env=mydocker.env)
    detached(mydocker, "--name", "box", "busybox", *STAY)
    expect(mydocker("stop", "-t", "0", "box"), status=0, out="box\n", err="")
    check(not gone(spared), "the container of another root lives", "it is gone")
    check(mydocker.host.wait(beside.inner, 0.01) is None, "`sleep` on the host lives", "it ended")
    beside.stop()
    expect(mydocker("stop", "-t", "0", "box", env=there), status=0, out="box\n", err="")


@task(2)
def test_an_unknown_container_is_told(mydocker):
    """A slip of the fingers must not look like success: the container would go on running."""
    detached(mydocker, "--name", "box", "busybox", *STAY)
    for name in ("nosuch", "bo", "boxx", "../box", ""):
        call = expect(mydocker("stop", "-t", "0", name), out="", complaint=[name])
        check(call.status in (1, 125), "status 1", call.status, call)
    there = [row["Names"] for row in listed(mydocker)]
    check(there == ["box"], "the box still runs: `ps` lists it", f"running, as `ps` says: {there}")
    expect(mydocker("stop", "-t", "0", "box"), status=0, out="box\n", err="")
    expect(mydocker("stop", "nosuch"), status=1, out="", complaint=["nosuch"])


@task(2)
@pytest.mark.parametrize(
    "values",
    [("x", "1.5", "", "5s"), pytest.param(("-1", "1_0", "٣"), marks=ours)],
    ids=["words", "numbers"],
)
def test_a_time_that_is_none_is_refused(mydocker, values):
    """Not a number of seconds: nobody can say what was meant, so nothing is done."""
    detached(mydocker, "--name", "first", "--rm", "busybox", *STAY)
    expect(mydocker("stop", "-t", "0", "first"), status=0, out="first\n", err="")
    mydocker.host.until(lambda: not mydocker.host.processes())
    identity = detached(mydocker, "--name", "second", "busybox", *STAY)
    for value in values:
        call = expect(mydocker("stop", "-t", value, "second"), status=125, out="")
        check(value in call.errors, f"a message that names {value!r}", call.errors, call)
    there = [row["Names"] for row in listed(mydocker)]
    check(there == ["second"], "it still runs: `ps` lists it", f"running, as `ps` says: {there}")
    end_detached(mydocker, identity)


@task(2)
def test_a_wrong_option_is_refused(mydocker):
    """An option that is skipped silently was meant to do something."""
    detached(mydocker, "--name", "box", "busybox", *STAY)
    for options in (["--no-such-option"], ["-x"]):
        call = expect(mydocker("stop", *options, "box"), status=125, out="")
        named = options[0].lstrip("-") in call.errors
        check(named, f"a message that names {options[0]}", call.errors, call)
    call = expect(mydocker("stop", "-t"), status=125, out="")
    check("-t" in call.errors, "a message that names -t", call.errors, call)
    there = [row["Names"] for row in listed(mydocker)]
    check(there == ["box"], "it still runs: `ps` lists it", f"running, as `ps` says: {there}")
    expect(mydocker("stop", "-t", "0", "box"), status=0, out="box\n", err="")


@task(2)
def test_a_missing_name_is_told(mydocker):
    """Without a name there is nothing to stop: most likely a variable was empty."""
    detached(mydocker, "--name", "box", "busybox", *STAY)
    for words in ([], ["-t", "0"]):
        call = expect(mydocker("stop", *words), status=1, out="")
        check("stop" in call.errors, "a message that names `stop`", call.errors, call)
    expect(mydocker("stop", "-t", "0", "box"), status=0, out="box\n", err="")


# Task 3: One that cannot be stopped


@task(3)
def test_of_several_the_rest_is_still_done(mydocker):
    """One that runs, one that has ended, one that nobody knows: each is handled on its own."""
    identity = detached(mydocker, "--name", "first", "busybox", "true")
    mydocker.host.until(lambda: not listed(mydocker) and settled(mydocker, identity))
    detached(mydocker, "--name", "second", "busybox", *STAY)
    call = mydocker("stop", "-t", "0", "nosuch", "first", "unknown", "second")
    expect(call, status=1)
    names = sorted(call.text.splitlines())
    check(names == ["first", "second"], "the names of the two that are stopped", call.text, call)
    lines = call.errors.splitlines()
    told = len(lines) == 2 and all(any(n in line for line in lines) for n in ("nosuch", "unknown"))
    check(told, "a line on stderr for each of the other two", call.errors, call)
    check(not listed(mydocker), "no container runs", listed(mydocker))


@task(3)
@ours
def test_one_in_another_pid_namespace_is_not_stopped(mydocker):
    """A PID is a number of one PID namespace. In another, it is that of a stranger, or of nobody.

    Who cannot see the container says so: neither that it is stopped nor that it has ended.
    """
    detached(mydocker, "--name", "ended", "busybox", "true")
    mydocker.host.until(lambda: not listed(mydocker))
    detached(mydocker, "--name", "box", "busybox", *STAY)
    is_refused_elsewhere(mydocker, "stop", "-t", "0", "box")
    call = mydocker("stop", "-t", "0", "box", "ended", before=ELSEWHERE["its own /proc"])
    expect(call, status=1, out="ended\n", complaint=["box"])
    expect(mydocker("stop", "-t", "0", "box"), status=0, out="box\n", err="")


# What the tests are made of


def waits_for(trap: str) -> str:
    """A script that says that it is ready, and then waits for signals."""
    return f"{trap}\necho ready; while :; do sleep 777 & wait; done"


def asked(mydocker: Mydocker, trap: str, name: str = "box") -> str:
    """A detached container that is ready to be asked to end. Returns its ID."""
    __tracebackhide__ = True
    identity = detached(mydocker, "--name", name, "busybox", "sh", "-c", waits_for(trap))
    ready = mydocker.host.until(lambda: mydocker("logs", name).out == b"ready\n")
    check(ready, "`ready` in the log of the container", mydocker.calls[-1].out, mydocker.calls[-1])
    return identity


def ended(mydocker: Mydocker, name: str = "box") -> int | str:
    """With which status a container has ended, as `ps -a` tells it; else what is told instead."""
    __tracebackhide__ = True
    rows = [row for row in listed(mydocker, "-a") if row.get("Names") == name]
    check(len(rows) == 1, f"one line with {name}", rows)
    status = str(rows[0].get("Status"))
    found = re.match(r"Exited \((\d+)\)", status)
    return int(found[1]) if found else status


def inside(mydocker: Mydocker) -> list[Process]:
    """All processes that are in some container, as far as they have not ended."""
    return [p for p in mydocker.host.processes() if len(p.pids) > 2 and p.state != "Z"]


def gone(process: Process) -> bool:
    """Whether it has ended, waited for or not."""
    try:
        stat = Path(f"/proc/{process.pid}/stat").read_text()
    except OSError:
        return True
    return stat.rpartition(")")[2].split()[0] in "ZX"


def forgotten(mydocker: Mydocker, identity: str) -> bool:
    return identity not in [row["ID"] for row in listed(mydocker, "-a")]


def settled(mydocker: Mydocker, identity: str) -> bool:
    return not container_processes(mydocker, identity) and not mydocker.host.processes()


def kill_both(mydocker: Mydocker, first: Process, monitor: Process) -> None:
    """Kill the monitor, and the container with it. Both PIDs are free then: no zombie has one."""
    __tracebackhide__ = True
    os.kill(monitor.pid, signal.SIGKILL)

    def left() -> list[str]:
        return [str(p) for p in (first, monitor) if Path(f"/proc/{p.pid}").exists()]

    mydocker.host.until(lambda: not left())
    check(not left(), "the container dies with its monitor", left())
