"""Chapter 5.1: a container that lives on when the command that started it has returned."""

import contextlib
import os
import re
import select
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from dojo.scratch import CrashPoint, Process, Running
from dojo.scratch.typed import Before
from dojo.testkit.callers import CALLERS, FULL
from dojo.testkit.containers import (
    container_process,
    container_processes,
    detached,
    end_detached,
    monitor_of,
    start_detached,
    started,
)
from dojo.testkit.crash_points import crash_points
from dojo.testkit.mydocker import Mydocker
from dojo.testkit.testing import check, expect, guard, needs, ours, task, vm

STAY = ("sleep", "1000")
BEAT = "while :; do echo >> /shared/beats; sleep 0.05; done"


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A directory of the host's. Containers tell in it what they see: nobody reads their stdout."""
    path = tmp_path / "shared"
    path.mkdir()
    return path


# Task 1: It prints the ID and returns


@task(1)
@vm
def test_it_prints_the_id(mydocker):
    """The ID is how you speak of the container from now on: 64 hex digits, and no other word."""
    detached(mydocker, "busybox", "true")
    gone(mydocker)


@task(1)
@vm
def test_it_returns_while_the_container_runs(mydocker):
    """`-d` starts the container and gives you your prompt back; the command goes on behind it."""
    start_detached(mydocker, "busybox", *STAY)
    process = container_process(mydocker)
    check(process.command == "sleep 1000", "the command is PID 1, and runs", process)
    end_detached(mydocker)


@task(1)
def test_it_ends_with_0_whatever_the_command_does_later(mydocker):
    """The status of `run -d` says whether the container was started. Its end is another matter."""
    detached(mydocker, "busybox", "sh", "-c", "exit 7")
    gone(mydocker)


@task(1)
def test_what_the_command_writes_is_not_in_the_way(mydocker, shared):
    """Scripts write `id=$(mydocker run -d …)`: stdout is the ID alone, and nobody keeps it open.

    `$(…)` reads until every process that has the pipe has closed it.
    """
    script = f"echo out; echo err >&2; echo written > /shared/done; exec {' '.join(STAY)}"
    start_detached(mydocker, *mount(shared), "busybox", "sh", "-c", script)
    wait_for(mydocker, shared / "done", "written\n")
    end_detached(mydocker)


@task(1)
def test_the_id_is_the_containers(mydocker):
    """It is the ID that the hostname comes from, and the next container has another one."""
    identities = []
    for _ in range(2):
        identities.append(detached(mydocker, "busybox", *STAY))
        end_detached(mydocker, identities[-1])  # which finds it by that ID
    check(identities[0] != identities[1], "another id for each container", identities)


@task(1)
def test_the_long_option_is_the_same(mydocker):
    """In scripts, `--detach` is easier to read than `-d`."""
    call = expect(mydocker("run", "--detach", "busybox", *STAY), status=0, err="")
    check(len(call.text.split()) == 1, "the ID", call.text, call)
    end_detached(mydocker)


@task(1)
@pytest.mark.parametrize("options", [("-it",), ("-i",), ("-t",)], ids=" ".join)
def test_no_terminal_is_needed(mydocker, options):
    """`-it` asks for a terminal to type at. Nobody types at a detached container: it starts."""
    start_detached(mydocker, *options, "busybox", *STAY, stdin=b"")
    end_detached(mydocker)


@task(1)
def test_the_stdin_of_the_caller_stays_the_callers(mydocker, shared):
    """A container in the background that reads from your terminal would eat what you type."""
    mine, other = os.pipe()
    os.write(other, b"a line for the caller\n")
    script = "cat > /shared/read; echo end >> /shared/read"
    start_detached(mydocker, *mount(shared), "busybox", "sh", "-c", script, stdin=mine)
    os.close(other)
    wait_for(mydocker, shared / "read", "end\n")
    left = os.read(mine, 100)
    os.close(mine)
    check(left == b"a line for the caller\n", "the caller can still read its line", left)
    gone(mydocker)


@task(1)
@ours
def test_an_id_that_cannot_be_printed_is_told_elsewhere(mydocker):
    """stdout takes nothing: the container runs all the same, and somebody has to know its ID."""
    words = ("run", "-d", "--rm", "busybox", *STAY)
    call = mydocker(*words, before=FULL)
    expect(call, status=125, out="", complaint=["run -d", "No space left"])
    found = re.findall("[0-9a-f]{64}", call.errors)
    check(len(found) == 1, "the ID of the container that runs, 64 hex digits", call.errors, call)
    end_detached(mydocker, found[0])


@task(1)
def test_it_does_not_hold_the_callers_stdin(mydocker):
    """The other end of a pipe: who writes to it is told when nobody is left to read it."""
    mine, other = os.pipe()
    try:
        start_detached(mydocker, "-i", "busybox", *STAY, stdin=mine)
    finally:
        os.close(mine)
    with os.fdopen(other, "wb", buffering=0) as pipe:
        told = mydocker.host.until(lambda: is_broken(pipe.fileno()), 5)
    check(told, "nobody reads from that pipe any more (EPIPE)", "it is still open")
    end_detached(mydocker)


@task(1)
def test_much_output_does_not_stop_it(mydocker, shared):
    """Nobody reads what it writes. It must neither wait for a reader nor die of having none."""
    script = "head -c 1000000 /dev/zero && head -c 1000000 /dev/zero >&2 && echo all > /shared/done"
    start_detached(mydocker, *mount(shared), "busybox", "sh", "-c", script)
    wait_for(mydocker, shared / "done", "all\n")
    gone(mydocker)


@task(1)
@vm
def test_no_zombie_is_left(mydocker):
    """Each process that ends has to be waited for; until then it takes a place among the PIDs."""
    start_detached(mydocker, "busybox", *STAY)
    container_process(mydocker)
    left = mydocker.host.until(lambda: not zombies(mydocker), 3) or zombies(mydocker)
    check(left is True, "no zombie while the container runs", left)
    end_detached(mydocker)
    left = mydocker.host.until(lambda: not zombies(mydocker), 3) or zombies(mydocker)
    check(left is True, "no zombie when it has ended", left)


@task(1)
@ours
def test_the_container_dies_with_its_monitor(mydocker):
    """Nobody could wait for it, or say how it ended. So it ends, too, and the next one starts."""
    mydocker.may_leave("cgroup", "file")  # until 5.6, nothing clears these away after a crash
    start_detached(mydocker, "busybox", *STAY)
    os.kill(monitor_of(mydocker, container_process(mydocker)).pid, signal.SIGKILL)
    gone(mydocker)
    expect(mydocker("run", "--rm", "busybox", "echo", "next"), status=0, out="next\n", err="")


@task(1)
def test_the_signals_of_the_caller_do_not_matter(mydocker, shared):
    """With SIGCHLD ignored, as some callers have it, nobody could wait for a child any more."""
    caller = ("env", "--ignore-signal=INT,HUP,CHLD", "--block-signal=USR1,TERM,CHLD")
    script = "exec grep -E '^Sig(Blk|Ign):' /proc/1/status > /shared/signals"
    start_detached(mydocker, *mount(shared), "busybox", "sh", "-c", script, before=caller)
    none = "0000000000000000"
    wait_for(mydocker, shared / "signals", f"SigBlk:\t{none}\nSigIgn:\t{none}\n")
    gone(mydocker)


@task(1)
@pytest.mark.parametrize("options", [(), ("--rm",)], ids=["", "--rm"])
def test_what_it_used_is_taken_back(mydocker, shared, options):
    """Its caller is long gone: it is for its monitor to clear away after it."""
    limits = ("-m", "64m", "--pids-limit", "20")
    script = "echo written > /in-the-layer; echo ended > /shared/done"
    words = (*options, *limits, *mount(shared), "busybox", "sh", "-c", script)
    start_detached(mydocker, *words)
    wait_for(mydocker, shared / "done", "ended\n")
    gone(mydocker)
    left = mydocker.host.until(lambda: not mydocker.host.groups.below(), 3)
    check(left, "no group is left", sorted(mydocker.host.groups.below()))


@task(1)
def test_one_that_is_killed_is_cleared_away_too(mydocker):
    """SIGKILL from outside, or out of memory: for its monitor, that is an end as any."""
    start_detached(mydocker, "--rm", "-m", "64m", "busybox", "sh", "-c", "sleep 1001 & sleep 1002")
    end_detached(mydocker)
    gone(mydocker)
    left = mydocker.host.until(lambda: not mydocker.host.groups.below(), 3)
    check(left, "no group is left", sorted(mydocker.host.groups.below()))


@task(1)
def test_it_takes_its_processes_along(mydocker, shared):
    """When PID 1 ends, all of the container ends; with `-d` nobody else is there to look."""
    script = "sleep 1000 & sleep 1000 & echo ended > /shared/done"
    start_detached(mydocker, *mount(shared), "busybox", "sh", "-c", script)
    wait_for(mydocker, shared / "done", "ended\n")
    gone(mydocker)


@task(1)
def test_short_ones_in_a_row(mydocker, shared):
    """A container may be over before its caller has read that it began: it was started anyway.

    And when its monitor has gone, the next one finds nothing in its way.
    """
    for count in range(6):
        script = f"echo {count} > /shared/count"
        start_detached(mydocker, "--rm", *mount(shared), "busybox", "sh", "-c", script)
        gone(mydocker)
        wait_for(mydocker, shared / "count", f"{count}\n")


@task(1)
def test_the_files_of_a_volume_stay(mydocker, shared):
    """Whoever clears away after a container must not clear away the host's own files."""
    (shared / "kept").write_text("kept\n")
    host = mydocker.host
    start_detached(mydocker, "--rm", *mount(shared), "busybox", *STAY)
    sitter = host.start(["sleep", "1000"], env=mydocker.env, cwd=shared)  # keeps the volume busy
    end_detached(mydocker)
    sitter.stop()
    gone(mydocker)
    found = sorted(path.name for path in shared.iterdir())
    check(found == ["kept"], "the file of the host's is still there", found)


@task(1)
def test_another_one_does_not_clear_away_the_first(mydocker, shared):
    """What lies in MYDOCKER_ROOT may be in use: a `run` that tidies up first destroys what lives.

    Until 5.7 a second container may be refused; what it must never do is harm the first.
    """
    (shared / "kept").write_text("kept\n")
    script = """echo mine > /in-the-layer; echo ready > /shared/ready
        while ! test -e /shared/ask; do sleep 0.05; done
        cat /in-the-layer /shared/kept > /shared/answer; head -n 1 /etc/group >> /shared/answer
        rm /etc/shells && echo deleted >> /shared/answer; exec sleep 1000"""
    identity = detached(mydocker, *mount(shared), "busybox", "sh", "-c", script)
    wait_for(mydocker, shared / "ready", "ready\n")
    for words in (
        ("--rm", "busybox", "true"),
        ("--rm", "-v", f"{shared}:/other", "busybox", "true"),
        ("-d", "--rm", "busybox", "true"),
        ("--rm", "busybox", "no-such-command"),
        ("--rm", "no-such-image", "true"),
    ):
        call = mydocker("run", *words)
        check(not call.problem, "it ends by itself, whatever comes of it", call.problem, call)
    mydocker.host.until(lambda: len(container_processes(mydocker)) == 1)
    (shared / "ask").touch()
    wanted = "mine\nkept\nroot:x:0:\ndeleted\n"
    wait_for(mydocker, shared / "answer", wanted)
    end_detached(mydocker, identity)
    check((shared / "kept").exists(), "the host's file in the volume", "it is gone")


# Task 2: It lives on by itself


@task(2)
@pytest.mark.parametrize(
    "how",
    [
        pytest.param("closed", marks=guard),  # the monitor blocks SIGHUP, PID 1 ignores it
        "Ctrl-C",
    ],
)
def test_it_survives_the_terminal_of_its_caller(mydocker, shared, how):
    """You log out, and the terminal hangs up on all that belongs to it; Ctrl-C does the same.

    The container's monitor has to belong to no terminal: to a session of its own.
    """
    script = 'trap "exit 0" INT; "$@" || exit; echo started; while read line; do exit 0; done'
    shell = ("sh", "-c", script, "sh")
    words = ("run", "-d", *mount(shared), "busybox", "sh", "-c", BEAT)
    running = started(mydocker.start(*words, before=shell, terminal=True), b"started")
    beats_on(mydocker, shared)
    running.type(b"\x03" if how == "Ctrl-C" else b"\n")
    expect(running.wait(), status=0)
    beats_on(mydocker, shared)
    end_detached(mydocker)


@task(2)
def test_it_belongs_to_no_session_of_its_callers(mydocker):
    """A session is what a terminal speaks to when it hangs up: setsid(2) makes a new one."""
    script = '"$@" || exit; echo started; read line'
    words = ("run", "-d", "busybox", *STAY)
    running = mydocker.start(*words, before=("sh", "-c", script, "sh"), stdin=None)
    started(running, b"started")
    process = container_process(mydocker)
    sessions = {session_of(process.pid), session_of(process.parent)}
    callers = session_of(running.pid)
    running.type(b"\n")
    expect(running.wait(), status=0)
    found = f"the caller's is {callers}, theirs are {sorted(sessions)}"
    check(callers not in sessions, "other sessions for the container and its monitor", found)
    end_detached(mydocker)


@task(2)
@pytest.mark.parametrize("numbers", [range(3, 23), (300, 1000)], ids=["3 to 22", "300 and 1000"])
def test_it_holds_none_of_the_callers_descriptors(mydocker, numbers):
    """Whoever reads from a pipe waits until the last process that could write to it has closed it.

    A container that holds such a pipe for a thousand seconds keeps somebody waiting that long.
    """
    read, write = os.pipe()
    try:
        start_detached(mydocker, "busybox", *STAY, holding=[write], before=with_copies(numbers))
    finally:
        os.close(write)
    closed = bool(select.select([read], [], [], 5 * mydocker.host.patience)[0])
    os.close(read)
    held = f"the pipe that the caller held as {', '.join(map(str, numbers))}"
    check(closed, f"{held} is closed, as the caller is gone", "it is open")
    end_detached(mydocker)


@task(2)
def test_it_stays_in_no_directory_of_its_callers(mydocker, tmp_path):
    """Who was called on a stick would keep it from being unmounted, for as long as it lives."""
    host, stick = mydocker.host, tmp_path / "stick"
    stick.mkdir()
    mount_it = ["mount", "-t", "tmpfs", "none", str(stick)]
    expect(host.run(mount_it, env=mydocker.env), status=0)
    start_detached(mydocker, "busybox", *STAY, cwd=stick)
    monitor = os.readlink(f"/proc/{container_process(mydocker).parent}/cwd")
    call = host.run(["umount", str(stick)], env=mydocker.env)
    if call.status != 0:
        host.run(["umount", "--lazy", str(stick)], env=mydocker.env)
    expected = f"{stick}, where `run -d` was called, can be unmounted while the container runs"
    check(call.status == 0, expected, f"the container's monitor is in {monitor}", call)
    end_detached(mydocker)


@task(2)
@guard  # a monitor that stays where its caller was finds it there
@ours
def test_a_relative_root_is_the_callers(mydocker):
    """Whoever goes to `/` must know before where things are: a relative path is another one then.

    The next command has to find in the same place what this one has put there.
    """
    root = {"MYDOCKER_ROOT": os.path.relpath(mydocker.root, mydocker.directory)}
    expect(mydocker("run", "--rm", "busybox", "true", env=root), status=0)
    start_detached(mydocker, "busybox", *STAY, env=root)
    end_detached(mydocker)


@task(2)
@guard  # a monitor that ends as nobody reads its word takes the container along
@ours
@needs("unotify")
def test_a_caller_that_is_killed_leaves_all_or_nothing(mydocker):
    """Killed at any moment, `run -d` leaves a container that runs or none, and the next one starts.

    A half-made one, that waits for a word from its caller for ever, would be in everybody's way.
    """
    mydocker.may_leave("cgroup", "file")  # until 5.6, nothing clears these away after a crash
    host = mydocker.host
    start_detached(mydocker, "busybox", *STAY)
    end_detached(mydocker)
    for crash_point in crash_points(7):
        running = mydocker.start("run", "-d", "busybox", *STAY, crash_point=crash_point)
        with crash_point:
            running.kill()
        call = running.wait()
        whole = host.until(lambda: not host.processes() or runs(mydocker))
        found = "; ".join(map(str, host.processes()))
        check(whole, "a container whose command runs, or no process at all", found, call)
        if runs(mydocker):
            end_detached(mydocker)
        expect(mydocker("run", "--rm", "busybox", "echo", "next"), status=0, out="next\n", err="")


@task(2)
@ours
@needs("unotify")
def test_one_that_runs_stays_when_its_caller_is_killed(mydocker):
    """The word that all is well finds no reader then (EPIPE). That is no reason to end it."""
    host, words = mydocker.host, ("run", "-d", "busybox", *STAY)
    whole = CrashPoint(None)
    running = mydocker.start(*words, crash_point=whole)
    with whole:
        changes = range(len(whole.seen))
    expect(running.wait(), status=0)
    end_detached(mydocker)
    for number in changes[-3:]:
        crash_point = CrashPoint(number)
        running = mydocker.start(*words, crash_point=crash_point)
        with crash_point:
            ran = runs(mydocker)
            running.kill()
            host.until(running.has_ended)
        goes_on = not host.until(lambda held=crash_point: len(held.seen) > len(changes), 1.0)
        if ran and not goes_on:  # its monitor does something that it does not do for others
            goes_on = not host.until(lambda: not runs(mydocker))
        check(goes_on or not ran, "the container that ran goes on", "it was ended", running.wait())
        end_detached(mydocker)


# Task 3: What cannot be started


@task(3)
@pytest.mark.parametrize(
    ("command", "status"), [("no-such-command", 127), ("/etc/passwd", 126), ("/etc", 126)]
)
def test_a_command_that_cannot_be_started_is_told(mydocker, command, status):
    """The caller waits until the command has started: what went wrong before that is still its."""
    start_detached(mydocker, "busybox", "true")
    gone(mydocker)
    call = mydocker("run", "-d", "--rm", "busybox", command)
    expect(call, status=status, complaint=[command])
    gone(mydocker)


@task(3)
@ours
def test_no_id_is_printed_for_it(mydocker):
    """An ID on stdout means: there is such a container. Here there is none, and never was."""
    start_detached(mydocker, "busybox", "true")
    gone(mydocker)
    expect(mydocker("run", "-d", "busybox", "no-such-command"), status=127, out="")


@task(3)
@ours
def test_nothing_is_left_of_it(mydocker):
    """When `run -d` returns with an error, all is as before: at once, the next one can start."""
    limits = ("-m", "64m", "--pids-limit", "20")
    for command, status in (("no-such-command", 127), ("/etc/passwd", 126)):
        call = mydocker("run", "-d", "--name", "box", *limits, "busybox", command)
        expect(call, status=status, out="")
        left = [*map(str, container_processes(mydocker)), *mydocker.host.groups.below()]
        check(not left, "no process and no group of the container", left, call)
        start_detached(mydocker, "--rm", "--name", "box", *limits, "busybox", *STAY)
        end_detached(mydocker)


@task(3)
@ours
@needs("unotify")
def test_when_it_is_told_all_is_undone(mydocker):
    """Whoever gets his 127 types the next command at once: it must find nothing in its way.

    Here the monitor is held up at each of the last things that it does, and the caller is not.
    """
    words = ("run", "-d", "--name", "box", "busybox", "no-such-command")
    start_detached(mydocker, "--rm", "busybox", "true")
    gone(mydocker)
    whole = CrashPoint(None)
    running = mydocker.start(*words, crash_point=whole)
    with whole:
        expect(running.wait(), status=127)
    for number in range(len(whole.seen))[-8:]:
        crash_point = CrashPoint(number)
        running = mydocker.start(*words, crash_point=crash_point)
        with crash_point:
            left = [] if waits(running) else mydocker.left_behind()
        call = expect(running.wait(), status=127)
        found = "; ".join(str(leak) for leak in left if leak.kind != "process")
        check(not found, "all is undone when `run -d` has ended", found, call)
        gone(mydocker)


@task(3)
def test_an_unknown_image_is_told(mydocker):
    """Also with `-d` this is an error of the caller's, who hears of it: 125."""
    start_detached(mydocker, "busybox", "true")
    gone(mydocker)
    call = mydocker("run", "-d", "no-such-image", "true")
    expect(call, status=125, out="", complaint=["no-such-image"])
    gone(mydocker)


@task(3)
@guard  # the options are looked at before the fork
@pytest.mark.parametrize(
    ("good", "bad"),
    [
        (("-m", "64m"), ("-m", "64q")),
        (("--name", "box"), ("--name", "../box")),
        (("-v", "/usr:/data:ro"), ("-v", "/usr:data")),
    ],
)
def test_options_are_checked_all_the_same(mydocker, good, bad):
    """What is wrong with an option is told to the one who typed it, and nothing is started."""
    start_detached(mydocker, "--rm", *good, "busybox", "true")
    gone(mydocker)
    call = mydocker("run", "-d", "--rm", *bad, "busybox", *STAY)
    expect(call, status=125, out="", complaint=[bad[1]])
    gone(mydocker)


@task(3)
@ours
@pytest.mark.parametrize("caller", CALLERS)
def test_a_failure_is_told_whatever_the_caller_does_with_signals(mydocker, caller):
    """Whoever waits for the process in between must be able to: SIGCHLD may be ignored by now."""
    start_detached(mydocker, "--rm", "busybox", "true", before=CALLERS[caller])
    gone(mydocker)
    call = mydocker("run", "-d", "--rm", "busybox", "no-such-command", before=CALLERS[caller])
    expect(call, status=127, out="", complaint=["no-such-command"])
    gone(mydocker)


@task(3)
@ours
def test_a_step_that_fails_is_named(mydocker):
    """Without CAP_NET_ADMIN `lo` cannot be set up. It is the caller who must be told which step."""
    harmless = ("setpriv", "--bounding-set=-sys_time", "--inh-caps=-sys_time")
    start_detached(mydocker, "busybox", "true", before=harmless)
    gone(mydocker)
    without = ("setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin")
    call = mydocker("run", "-d", "busybox", *STAY, before=without)
    expect(call, status=125, out="", complaint=["lo", "not permitted"])
    gone(mydocker)


@task(3)
@ours
def test_a_monitor_that_is_killed_early_is_noticed(mydocker):
    """The caller waits for word from it. A pipe that is closed without a word is not good news."""
    mydocker.may_leave("cgroup", "file")  # until 5.6, nothing clears these away after a crash
    host = mydocker.host
    start_detached(mydocker, "busybox", "true")
    gone(mydocker)
    for _ in range(5):
        running = mydocker.start("run", "-d", "busybox", *STAY)
        found = host.until(lambda caller=running: children_of(caller) or is_gone(caller), 5)
        children = [] if found is True else found  # none, where it was faster than we are
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGSTOP)
        early = children and waits(running) and not runs(mydocker)
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGKILL)
        call = running.wait()
        if early:
            expect(call, status=125, out="", complaint=[])
        check(not call.problem, "it ends by itself", call.problem, call)
        if not children:
            end_detached(mydocker)
        left = host.until(lambda: not host.processes()) or host.processes()
        check(left is True, "no process is left", left, call)
    expect(mydocker("run", "--rm", "busybox", "echo", "next"), status=0, out="next\n", err="")


def mount(shared: Path) -> tuple[str, str]:
    return ("-v", f"{shared}:/shared")


def with_copies(numbers: Sequence[int]) -> Before:
    """What starts a program with its descriptor 3 at these numbers as well."""
    code = f"import os, sys; [os.dup2(3, number) for number in {list(numbers)}]; "
    argv = (sys.executable, "-S", "-c", f"{code}os.execvp(sys.argv[1], sys.argv[1:])")
    return Before(argv, f"its descriptor 3 is also open as {', '.join(map(str, numbers))}")


def text(path: Path) -> str | None:
    """The content of a file; None if there is none."""
    return path.read_text() if path.is_file() else None


def wait_for(mydocker: Mydocker, path: Path, wanted: str) -> None:
    """Wait until a container has written that to a file of the shared directory."""
    __tracebackhide__ = True
    mydocker.host.until(lambda: text(path) == wanted)
    found = text(path)
    expected = f"the container lives and writes {wanted!r} to /shared/{path.name}"
    check(found == wanted, expected, f"in that file: {found!r}", mydocker.calls[-1])


def beats_on(mydocker: Mydocker, shared: Path) -> None:
    """Expect a container that runs BEAT to be alive, now and in a moment."""
    __tracebackhide__ = True

    def beats() -> int:
        return len(text(shared / "beats") or "")

    before = beats()
    alive = mydocker.host.until(lambda: beats() > before + 2)
    found = "; ".join(map(str, mydocker.host.processes())) or "no process"
    check(alive, "the container goes on: it writes to /shared/beats", found)


def gone(mydocker: Mydocker) -> None:
    """Expect that a container, and its monitor, ends by itself soon."""
    __tracebackhide__ = True
    host = mydocker.host
    left = host.until(lambda: not container_processes(mydocker)) or container_processes(mydocker)
    check(left is True, "no process of a container", left, mydocker.calls[-1])
    mydocker.left_behind()  # waits until all has settled; what then is left fails the test


def runs(mydocker: Mydocker) -> bool:
    """Whether there is a container whose command has started."""
    return any(process.command == "sleep 1000" for process in container_processes(mydocker))


def children_of(running: Running) -> list[Process]:
    """What a program has started itself, and lives."""
    with contextlib.suppress(ProcessLookupError):
        own = running.pid
        return [p for p in running.descendants() if p.parent == own and p.state != "Z"]
    return []


def is_gone(running: Running) -> bool:
    """Whether there is no such process any more, without waiting for it."""
    try:
        return not running.pid
    except ProcessLookupError:
        return True


def waits(running: Running) -> bool:
    """Whether it sleeps, and goes on doing so: one that has heard something runs, then ends."""
    if running.host.wait(running.inner, 0.1) is not None:
        return False
    return [p.state for p in running.host.processes() if p.inner == running.inner] == ["S"]


def zombies(mydocker: Mydocker) -> list[Process]:
    return [process for process in mydocker.host.processes() if process.state == "Z"]


def session_of(pid: int) -> int:
    return os.getsid(pid)


def is_broken(pipe: int) -> bool:
    """Whether nobody is left who could read from a pipe."""
    try:
        os.write(pipe, b"x")
    except BrokenPipeError:
        return True
    return False
