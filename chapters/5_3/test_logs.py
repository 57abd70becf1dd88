"""Chapter 5.3: what a container wrote, to the byte."""

import contextlib
import os
import random
import re
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from dojo.scratch import Call
from dojo.testkit.callers import CALLERS, ELSEWHERE, FULL, few_processes, non_blocking
from dojo.testkit.containers import (
    container_process,
    container_processes,
    detached,
    end_detached,
    end_process,
    monitor_of,
    showed,
    started,
)
from dojo.testkit.crash_points import crash_points
from dojo.testkit.mydocker import Mydocker
from dojo.testkit.records import listed
from dojo.testkit.testing import check, expect, guard, needs, ours, task, vm

STAY = "exec sleep 1000"
ALL_BYTES = bytes(range(256))
MEBIBYTE = 1024 * 1024
CRASH_POINTS = 5  # at most, at which something happens to a command
# Says a word on each stream, as often as somebody writes a line to /shared/ask.
ANSWER = """echo ready; count=0; while :; do
    while read word; do
        count=$((count + 1)); test $count -gt $seen || continue
        seen=$count; echo "$word"; echo "no $word" >&2
    done < /shared/ask; count=0; sleep 0.05
    done"""


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A directory of the host's, for containers to take from what they write."""
    path = tmp_path / "shared"
    path.mkdir()
    return path


LONG_LOG = 64 * 1024 * 1024
# Runs a program, keeps nothing of what it writes, and tells the most memory that it had, in KiB.
PEAK = """
import resource, subprocess, sys
program = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE)
read = 0
while chunk := program.stdout.read(65536):
    read += len(chunk)
status = program.wait()
print(read, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(status)
"""


# Task 1: What it wrote


@task(1)
def test_what_a_detached_container_wrote(mydocker):
    """Nobody was there when it wrote that. `logs` shows it to the byte, and not a word more."""
    detached(mydocker, "--name", "box", "busybox", "echo", "hello")
    nothing_lives(mydocker)
    for _ in range(2):  # reading does not use it up
        expect(mydocker("logs", "box"), status=0, out="hello\n", err="")


@task(1)
def test_a_detached_one_with_t_has_a_log(mydocker):
    """`-d` has no terminal to hand on. What goes past the log there is lost."""
    detached(mydocker, "-t", "--name", "box", "busybox", "echo", "hello")
    nothing_lives(mydocker)
    call = expect(mydocker("logs", "box"), status=0, err="")
    check(call.text.splitlines() == ["hello"], "the line `hello`", call.text, call)


@task(1)
def test_while_it_runs(mydocker):
    """That is when you need it most: to see what the container is doing."""
    script = f"echo one; printf half; {STAY}"
    detached(mydocker, "--name", "box", "busybox", "sh", "-c", script)
    logged(mydocker, "box", b"one\nhalf")
    end_detached(mydocker)
    expect(mydocker("logs", "box"), status=0, out="one\nhalf", err="")


@task(1)
def test_one_that_wrote_nothing(mydocker):
    """An empty log is no error, and no line of ours stands in it."""
    expect(mydocker("run", "--name", "box", "busybox", "sh", "-c", "exit 3"), status=3)
    expect(mydocker("logs", "box"), status=0, out="", err="")


@task(1)
def test_the_log_of_one_that_was_killed(mydocker):
    """You want to read the last words of those that did not end well, above all."""
    detached(mydocker, "--name", "box", "busybox", "sh", "-c", f"echo last words; {STAY}")
    logged(mydocker, "box", b"last words\n")
    end_detached(mydocker)
    expect(mydocker("logs", "box"), status=0, out="last words\n", err="")


@task(1)
def test_a_container_is_found_by_its_id(mydocker):
    """Every ID that mydocker has shown: what `run -d` printed, what `ps` prints, and its start."""
    identity = detached(mydocker, "--name", "box", "busybox", "echo", "hello")
    nothing_lives(mydocker)
    short = expect(mydocker("ps", "-aq"), status=0).text.strip()
    for word in ("box", identity, short, identity[:20], identity[:4], identity[:1]):
        expect(mydocker("logs", word), status=0, out="hello\n", err="")


@task(1)
def test_each_has_a_log_of_its_own(mydocker):
    """Containers without a name, too: a log that two of them write to is of no use to anybody."""
    identities = {}
    for word in ("one", "two", "three"):
        identities[word] = detached(mydocker, "busybox", "echo", word)
        nothing_lives(mydocker)
    for word, identity in identities.items():
        expect(mydocker("logs", identity), status=0, out=f"{word}\n", err="")


@task(1)
@ours
def test_two_roots_never_see_each_other(mydocker):
    """The same name in two roots: two containers at the same time, two logs."""
    other = mydocker.another_root()
    script = f"echo %s; {STAY}"
    here = detached(mydocker, "--name", "box", "busybox", "sh", "-c", script % "here")
    words = ("--name", "box", "busybox", "sh", "-c", script % "there")
    there = detached(mydocker, *words, env=other)
    logged(mydocker, "box", b"here\n")
    logged(mydocker, "box", b"there\n", env=other)
    expect(mydocker("logs", here, env=other), status=1, out="", complaint=[here])
    expect(mydocker("logs", there), status=1, out="", complaint=[there])
    end_detached(mydocker, here)
    end_detached(mydocker, there)


@task(1)
def test_with_rm_the_log_goes_with_the_container(mydocker):
    """While it runs it has a log as any other; afterwards there is no such container."""
    script = f"echo hello; {STAY}"
    identity = detached(mydocker, "--rm", "--name", "box", "busybox", "sh", "-c", script)
    logged(mydocker, "box", b"hello\n")
    end_detached(mydocker)
    for word in ("box", identity):
        expect(mydocker("logs", word), status=1, out="", complaint=[word])


@task(1)
def test_an_unknown_container_is_told(mydocker):
    """A slip of the fingers must not look like an empty log: 1, and a line that names it."""
    detached(mydocker, "--name", "box", "busybox", "echo", "hello")
    nothing_lives(mydocker)
    expect(mydocker("logs", "box"), status=0, out="hello\n", err="")
    for name in ("bo", "boxx", "f" * 64):
        expect(mydocker("logs", name), status=1, out="", complaint=[name])


@task(1)
def test_what_logs_does_not_know_is_refused(mydocker):
    """One container, and the options that there are."""
    detached(mydocker, "--name", "box", "busybox", "echo", "hello")
    nothing_lives(mydocker)
    expect(mydocker("logs", "box"), status=0, out="hello\n", err="")
    for words, status, named in (
        (("--no-such-option", "box"), 125, "--no-such-option"),
        ((), 1, "logs"),
        (("box", "box"), 1, "logs"),
    ):
        expect(mydocker("logs", *words), status=status, out="", complaint=[named])


@task(1)
def test_the_start_of_two_ids_is_refused(mydocker):
    """Which of the two did you mean? A guess would show you one's words as the other's."""
    first_digits: dict[str, str] = {}
    for count in range(17):  # there are 16 digits
        identity = detached(mydocker, "busybox", "echo", str(count))
        nothing_lives(mydocker)
        if other := first_digits.get(identity[0]):
            break
        first_digits[identity[0]] = identity
    same = length_in_common(identity, other)
    expect(mydocker("logs", identity[: same + 1]), status=0, out=f"{count}\n", err="")
    expect(mydocker("logs", identity[:1]), status=1, out="", complaint=[identity[:1]])


@task(1)
@ours
def test_a_name_that_leads_elsewhere_shows_nothing(mydocker):
    """What is typed becomes a path. `logs ../../x` must not read what lies there."""
    detached(mydocker, "--name", "box", "busybox", "echo", "hello")
    nothing_lives(mydocker)
    expect(mydocker("logs", "box"), status=0, out="hello\n", err="")
    outside = mydocker.directory / "outside"
    shutil.copytree(mydocker.root / "containers" / "box", outside, symlinks=True)
    try:
        up = os.path.relpath(outside, mydocker.root / "containers")
        for name in (up, str(outside), "../containers/box", "./box", "box/", ".", "", "/"):
            call = expect(mydocker("logs", name), out="", complaint=[name])
            check(call.status in (1, 125), "status 1 or 125", call.status, call)
    finally:
        shutil.rmtree(outside)


@task(1)
@ours
def test_a_broken_record_is_in_nobodys_way(mydocker):
    """Whoever looks for a name or an ID reads all records: one that is broken is not the one."""
    identity = detached(mydocker, "--name", "box", "busybox", "echo", "hello")
    nothing_lives(mydocker)
    expect(mydocker("logs", "box"), status=0, out="hello\n", err="")
    for content in (b"", b"{}", b"[1, 2]", bytes(range(256)), b'{"id": "', b'{"id": 1, "name": 2}'):
        broken = mydocker.root / "containers" / "broken"
        broken.mkdir()
        (broken / "config.json").write_bytes(content)
        for word in ("box", identity, identity[:10]):
            expect(mydocker("logs", word), status=0, out="hello\n")
        call = expect(mydocker("logs", "nobody"), status=1, out="")
        check("nobody" in call.errors, "a message that names `nobody`", call.errors, call)
        shutil.rmtree(broken)


# Task 2: The monitor reads


@task(2)
def test_a_foreground_container_has_a_log_too(mydocker):
    """What went by on a screen can be read again; and the screen still gets all of it, at once."""
    words = ("run", "-i", "--name", "box", "busybox", "sh", "-c", "echo one; read x; echo two")
    running = started(mydocker.start(*words, stdin=None), b"one")
    logged(mydocker, "box", b"one\n")
    running.type(b"typed\n")
    expect(running.wait(), status=0, out="one\ntwo\n", err="")
    expect(mydocker("logs", "box"), status=0, out="one\ntwo\n", err="")


@task(2)
@pytest.mark.parametrize(
    "detach",
    [(), pytest.param(("-d",), marks=guard)],  # detached, it needs no monitor to be written down
    ids=["foreground", "detached"],
)
def test_megabytes_come_back(mydocker, shared, detach):
    """More than any pipe or buffer holds, and nobody reads: it is written on, to the last byte."""
    content = random.randbytes(6 * MEBIBYTE)
    (shared / "out").write_bytes(content)
    words = (*detach, "--name", "box", *mount(shared), "busybox", "cat", "/shared/out")
    mydocker("run", *words)
    nothing_lives(mydocker)
    call = expect(mydocker("logs", "box"), status=0, err="")
    same_bytes(call, call.out, content, "stdout")


@task(2)
@vm
def test_the_last_words_are_there(mydocker):
    """When PID 1 has ended, a pipe may still be full of what it wrote just before."""
    script = "sleep 1000 & head -c 60000 /dev/zero; printf end"
    wanted = bytes(60000) + b"end"
    for count in range(4):
        call = mydocker("run", "--name", f"box{count}", "busybox", "sh", "-c", script)
        expect(call, status=0, err="")
        same_bytes(call, call.out, wanted, "stdout")
        call = expect(mydocker("logs", f"box{count}"), status=0, err="")
        same_bytes(call, call.out, wanted, "stdout")


@task(2)
def test_an_id_then_a_name_then_the_start_of_an_id(mydocker):
    """A name may look like an ID. There is an order, so that each word means one container only."""
    one = detached(mydocker, "busybox", "echo", "one")
    nothing_lives(mydocker)
    for name in (one[:3], one):  # names of other containers
        expect(mydocker("run", "--name", name, "busybox", "echo", f"named {len(name)}"), status=0)
    expect(mydocker("logs", one), status=0, out="one\n", err="")
    expect(mydocker("logs", one[:3]), status=0, out="named 3\n", err="")
    expect(mydocker("logs", one[:40]), status=0, out="one\n", err="")


@task(2)
@ours
def test_a_log_that_cannot_be_printed(mydocker):
    """`logs > /dev/full`: nobody has seen the lines. To end with 0 would be a lie."""
    expect(mydocker("run", "--name", "box", "busybox", "echo", "hello"), status=0, out="hello\n")
    call = mydocker("logs", "box", before=FULL)
    expect(call, status=1, out="", complaint=["logs box", "No space left"])


@task(2)
@ours
@guard
def test_a_caller_that_reads_no_more(mydocker):
    """`run … | head -n 1`: the container is told by SIGPIPE, as if it wrote to `head` itself."""
    caller = ("sh", "-c", '"$@" | head -n 1', "sh")
    script = "yes; echo yes ended with $? >&2"
    call = mydocker("run", "--name", "box", "busybox", "sh", "-c", script, before=caller)
    expect(call, status=0, out="y\n", err="yes ended with 141\n")


@task(2)
@ours
@guard
def test_output_that_does_not_reach_the_caller_is_told(mydocker):
    """`run … > /dev/full`: what the container has written is lost, and somebody should say so."""
    words = ("run", "--rm", "busybox", "echo", "hello")
    expect(mydocker(*words), status=0, out="hello\n", err="")
    call = expect(mydocker(*words, before=FULL), out="")
    check("No space left" in call.errors, "that there is no space left", call.errors, call)


@task(2)
@ours
@guard
@pytest.mark.parametrize("detach", [(), ("-d",)], ids=["foreground", "detached"])
def test_a_start_without_processes_or_threads_leaves_nothing(mydocker, detach):
    """The caller may have few of both: whichever it is that the kernel refuses, it is told.

    A thread that reads what the container writes may be the one, and there is a child by then.
    """
    for most in range(1, 20):
        with few_processes(mydocker, most) as before:
            words = ("run", *detach, "--rm", "busybox", "echo", "started")
            call = mydocker(*words, before=before)
            left = [*map(str, container_processes(mydocker)), *made_groups(mydocker)]
        if call.status == 0:
            break
        expect(call, status=125, out="", complaint=["Resource temporarily unavailable"])
        check(not left, "no process and no group of it", left, call)
    expect(call, status=0, out=None if detach else "started\n", err="")
    is_id = re.fullmatch("[0-9a-f]{64}\n", call.text)
    check(is_id or not detach, "an ID of 64 hex digits, once it may start", call.text, call)
    nothing_lives(mydocker)


def made_groups(mydocker: Mydocker) -> list[str]:
    """The groups on the test host, but for that of `few_processes`."""
    return [name for name in mydocker.host.groups.below() if "few-processes" not in name]


# Task 3: An end that somebody keeps


@task(3)
@ours
def test_an_end_that_somebody_keeps_holds_nobody_up(mydocker):
    """A descriptor can be handed out of the container. When PID 1 has ended, it is over anyway."""
    detached(mydocker, "--name", "box", "busybox", "sh", "-c", f"echo last words; {STAY}")
    logged(mydocker, "box", b"last words\n")
    process = container_process(mydocker)
    with open(f"/proc/{process.pid}/fd/1", "wb"):
        end_detached(mydocker)
        expect(mydocker("logs", "box"), status=0, out="last words\n", err="")


# Task 4: Two streams


@task(4)
@vm
@pytest.mark.parametrize("detach", [(), ("-d",)], ids=["foreground", "detached"])
def test_each_stream_comes_back_on_its_own(mydocker, detach):
    """`logs box 2> errors` has to work as it did for the command itself: stderr is not lost."""
    script = "echo out; echo err >&2; printf more; printf worse >&2"
    call = mydocker("run", *detach, "--name", "box", "busybox", "sh", "-c", script)
    if not detach:
        expect(call, status=0, out="out\nmore", err="err\nworse")
    nothing_lives(mydocker)
    expect(mydocker("logs", "box"), status=0, out="out\nmore", err="err\nworse")


@task(4)
def test_stderr_alone(mydocker):
    """Many programs write to stderr only, and those are the lines that you look for."""
    detached(mydocker, "--name", "box", "busybox", "sh", "-c", "exec >&-; echo err >&2")
    nothing_lives(mydocker)
    expect(mydocker("logs", "box"), status=0, out="", err="err\n")


@task(4)
@pytest.mark.parametrize("detach", [(), ("-d",)], ids=["foreground", "detached"])
def test_every_byte_comes_back(mydocker, shared, detach):
    """Output is bytes, not text: any of the 256, and no newline at the end unless there was one."""
    content = ALL_BYTES + random.randbytes(70_000) + b"\r\n\0\n\n" + ALL_BYTES[::-1] + b"the end"
    (shared / "out").write_bytes(content)
    (shared / "err").write_bytes(content[::-1])
    words = (*detach, "--name", "box", *mount(shared), "busybox", "sh", "-c")
    mydocker("run", *words, "cat /shared/out; cat /shared/err >&2")
    nothing_lives(mydocker)
    call = expect(mydocker("logs", "box"), status=0)
    same_bytes(call, call.out, content, "stdout")
    same_bytes(call, call.err, content[::-1], "stderr")


@task(4)
def test_a_word_here_and_a_word_there(mydocker):
    """Written in turn, hundreds of times: in each stream nothing is lost, doubled or moved."""
    script = "for n in $(seq 500); do echo out $n; echo err $n >&2; printf $n; done; exit 7"
    call = mydocker("run", "--name", "box", "busybox", "sh", "-c", script)
    out = "".join(f"out {n}\n{n}" for n in range(1, 501))
    err = "".join(f"err {n}\n" for n in range(1, 501))
    expect(call, status=7, out=out, err=err)
    expect(mydocker("logs", "box"), status=0, out=out, err=err)


@task(4)
def test_much_on_both_at_once(mydocker, shared):
    """Two processes, one on each stream: whoever reads one to its end first stops the other."""
    contents = {name: random.randbytes(2 * MEBIBYTE) for name in ("out", "err")}
    for name, content in contents.items():
        (shared / name).write_bytes(content)
    script = "cat /shared/out & cat /shared/err >&2; wait"
    detached(mydocker, "--name", "box", *mount(shared), "busybox", "sh", "-c", script)
    nothing_lives(mydocker)
    call = expect(mydocker("logs", "box"), status=0)
    same_bytes(call, call.out, contents["out"], "stdout")
    same_bytes(call, call.err, contents["err"], "stderr")


@task(4)
def test_log_lines_that_look_like_anything(mydocker, shared):
    """However a log is kept in its file, no output may be taken for what marks it there."""
    lines = [b'{"stream": "stderr"}', b"o 5 hello", b"stderr: x", b"\x02\0\0\0\0\0\0\x05hello", b""]
    content = b"\n".join([*lines, *lines[::-1], b"\x01\0\0\0", b"\xff" * 9])
    (shared / "out").write_bytes(content)
    script = "cat /shared/out; cat /shared/out >&2; cat /shared/out"
    call = mydocker("run", "--name", "box", *mount(shared), "busybox", "sh", "-c", script)
    expect(call, status=0, out=content * 2, err=content)
    expect(mydocker("logs", "box"), status=0, out=content * 2, err=content)


@task(4)
@pytest.mark.parametrize(
    "stream",
    [pytest.param(1, marks=guard), 2],  # stdout comes back on stdout since task 1
    ids=["stdout", "stderr"],
)
def test_a_caller_that_does_not_wait_for_room_loses_nothing(mydocker, stream):
    """Who passes output on is told "try again" by a non-blocking stream: wait, and lose nothing.

    It is not what a reader that has gone looks like.
    """
    dd = f"dd if=/dev/zero bs=8000000 count=1 >&{stream} 2>/dev/null"
    script = f"{dd}; printf end >&{stream}; exit 7"
    words = ("run", "--name", "box", "busybox", "sh", "-c", script)
    wanted = bytes(8000000) + b"end"
    for status, call in (
        (7, mydocker(*words, before=non_blocking(stream))),
        (0, mydocker("logs", "box", before=non_blocking(stream))),
    ):
        expect(call, status=status)
        same_bytes(call, call.out if stream == 1 else call.err, wanted, f"stream {stream}")


@task(4)
@ours
@guard  # who reads no more after a write that failed stops nobody, either
@pytest.mark.parametrize("detach", [(), ("-d",)], ids=["foreground", "detached"])
def test_a_full_disk_stops_nobody_for_ever(mydocker, shared, detach):
    """No room is left for the log: the container goes on, or its write fails. Nobody hangs.

    And what has been written down before can still be read.
    """
    script = f"""echo begin; sleep 0.1; head -c 7000000 /dev/zero; echo $? > /shared/status
        {STAY if detach else "exit 7"}"""
    with small_root(mydocker) as env:
        words = ("--name", "box", *mount(shared), "busybox", "sh", "-c", script)
        if detach:
            detached(mydocker, *words, env=env)
        else:
            call = mydocker("run", *words, env=env)
            check(not call.problem, "it ends by itself", call.problem, call)
            check(call.out.startswith(b"begin\n\0"), "the output comes through", call, call)
        mydocker.host.until(lambda: (shared / "status").exists())
        there = (shared / "status").exists()
        expected = "the command writes how `head` has ended: it is not stopped for ever"
        check(there, expected, "nothing from it so far")
        call = expect(mydocker("logs", "box", env=env), status=0)
        check(call.out.startswith(b"begin\n\0"), "what was written down in time", call, call)
        (row,) = listed(mydocker, "-a", env=env)
        state = "running" if detach else "exited"
        check(row["State"] == state, f"State {state}", row)
        if detach:
            end_detached(mydocker)
            (row,) = listed(mydocker, "-a", env=env)
            check(row["State"] == "exited", "State exited", row)
        left = mydocker.host.until(lambda: not mydocker.host.processes())
        check(left, "no process is left", "; ".join(map(str, mydocker.host.processes())))


@contextlib.contextmanager
def small_root(mydocker: Mydocker) -> Iterator[dict[str, str]]:
    """The environment for a MYDOCKER_ROOT on a disk of its own, with 4 MiB beside the image."""
    image = mydocker.root / "images" / "busybox"
    used = sum(
        -(-path.lstat().st_size // 4096) * 4096 + 4096 for path in (image, *image.rglob("*"))
    )
    point = mydocker.directory / "small"
    point.mkdir()
    script = """set -e
        mount -t tmpfs -o size="$1" none "$2"; mkdir "$2/images"; cp -a "$3" "$2/images" """
    words = ["sh", "-c", script, "sh", str(used + 4 * MEBIBYTE), str(point), str(image)]
    expect(mydocker.host.run(words, env=mydocker.env), status=0)
    yield {"MYDOCKER_ROOT": str(point)}
    expect(mydocker.host.run(["umount", str(point)], env=mydocker.env), status=0)
    point.rmdir()


# Task 5: Follow


@task(5)
@vm
def test_f_shows_what_comes_later(mydocker, shared):
    """`-f` begins with what is there, stays, and shows each word as it is written."""
    answering(mydocker, shared)
    follower = started(mydocker.start("logs", "-f", "box"))
    ask(shared, "one")
    started(follower, b"one")
    ask(shared, "two")
    started(follower, b"two")
    end_detached(mydocker)
    expect(follower.wait(), status=0, out="ready\none\ntwo\n", err="no one\nno two\n")


@task(5)
@ours
def test_f_shows_half_a_line(mydocker):
    """A program that asks `Password: ` writes no newline, and waits: you must see it anyway."""
    script = f"printf 'half a line'; {STAY}"
    detached(mydocker, "--name", "box", "busybox", "sh", "-c", script)
    follower = showed(mydocker.start("logs", "--follow", "box"), b"half a line")
    end_detached(mydocker)
    expect(follower.wait(), status=0, out="half a line", err="")


@task(5)
def test_f_ends_with_the_container(mydocker, shared):
    """When nothing more can come, it is over; with the last words, and with status 0."""
    content = random.randbytes(2 * MEBIBYTE)
    (shared / "out").write_bytes(content)
    script = """echo ready; while ! test -e /shared/ask; do sleep 0.05; done; cat /shared/out
        echo last words >&2; exit 7"""
    detached(mydocker, "--name", "box", *mount(shared), "busybox", "sh", "-c", script)
    followers = [started(mydocker.start("logs", "-f", "box")) for _ in range(2)]
    (shared / "ask").touch()
    for follower in followers:
        call = expect(follower.wait(), status=0, err="last words\n")
        same_bytes(call, call.out, b"ready\n" + content, "stdout")
    nothing_lives(mydocker)


@task(5)
@ours
@pytest.mark.parametrize("caller", ELSEWHERE.values(), ids=ELSEWHERE)
def test_f_in_another_pid_namespace(mydocker, shared, caller):
    """There, nobody sees the monitor. But its lock says whether more can come, and when it ends."""
    answering(mydocker, shared)
    first = container_process(mydocker)
    follower = started(mydocker.start("logs", "-f", "box", before=caller))
    ask(shared, "one")
    started(follower, b"one")
    ask(shared, "two")
    started(follower, b"two")
    end_process(mydocker, first)
    expect(follower.wait(), status=0, out="ready\none\ntwo\n", err="no one\nno two\n")


@task(5)
def test_f_of_one_that_has_ended(mydocker):
    """There is nothing to wait for: it shows all, and is over."""
    expect(mydocker("run", "--name", "box", "busybox", "sh", "-c", "echo hello; exit 3"), status=3)
    expect(mydocker("logs", "-f", "box"), status=0, out="hello\n", err="")


@task(5)
def test_f_of_one_in_the_foreground(mydocker):
    """From another terminal, you see what happens in the first."""
    words = ("run", "-i", "--name", "box", "busybox", "sh", "-c", "echo one; read x; echo two")
    running = started(mydocker.start(*words, stdin=None), b"one")
    logged(mydocker, "box", b"one\n")
    follower = started(mydocker.start("logs", "-f", "box"), b"one")
    running.type(b"typed\n")
    expect(running.wait(), status=0, out="one\ntwo\n")
    expect(follower.wait(), status=0, out="one\ntwo\n", err="")


@task(5)
def test_f_follows_one_container_and_no_other_of_its_name(mydocker):
    """With --rm, a name is free when its container has ended. The next one of that name has an end
    of its own: who was busy meanwhile must not wait for that.
    """
    named = ("--rm", "--name", "box", "busybox", "sh", "-c")
    first = detached(mydocker, *named, f"echo ready; {STAY}")
    follower = started(mydocker.start("logs", "-f", "box"))
    follower.send(signal.SIGSTOP)
    end_detached(mydocker, first)
    second = detached(mydocker, *named, f"echo of the next one; {STAY}")
    follower.send(signal.SIGCONT)
    expect(follower.wait(), status=0, out="ready\n", err="")
    end_detached(mydocker, second)


@task(5)
@needs("unotify")
def test_never_the_log_of_another_one_of_its_name(mydocker):
    """Between the moment in which a container is found and that in which its log is opened, its
    name can have become another one's.
    """
    named = ("--rm", "--name", "box", "busybox", "sh", "-c")
    # One of few looks is the one that matters, and a slow machine tries fewer: so try nearly all.
    for crash_point in crash_points(60, looks=True):
        first = detached(mydocker, *named, f"echo ready; {STAY}")
        reading = mydocker.start("logs", first, crash_point=crash_point)
        with crash_point:
            end_detached(mydocker, first)
            second = detached(mydocker, *named, f"echo of the next one; {STAY}")
            logged(mydocker, "box", b"of the next one\n")
        call = reading.wait()
        check(b"next" not in call.out, "what that container wrote, or nothing", call.text, call)
        end_detached(mydocker, second)


@task(5)
@ours
def test_f_ends_when_the_monitor_is_killed(mydocker):
    """Nobody writes the end down in that case. Who follows must not wait for it for ever."""
    mydocker.may_leave("cgroup", "file")  # until 5.6, nothing clears these away after a crash
    detached(mydocker, "--name", "box", "busybox", "sh", "-c", f"echo ready; {STAY}")
    follower = started(mydocker.start("logs", "-f", "box"))
    os.kill(monitor_of(mydocker, container_process(mydocker)).pid, signal.SIGKILL)
    expect(follower.wait(), status=0, out="ready\n", err="")
    nothing_lives(mydocker)


@task(5)
def test_who_follows_does_not_disturb(mydocker, shared):
    """You watch, and go away again, with Ctrl-C or worse: the container is not concerned."""
    answering(mydocker, shared)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        follower = started(mydocker.start("logs", "-f", "box"))
        follower.send(number)
        call = follower.wait()
        check(not call.problem, "it ends", call.problem, call)
        check("Traceback" not in call.errors, "no traceback", call.errors, call)
        # For a shell both are the same: the signal ends it, or it catches it, and says so.
        expected = f"signal {number} ends it, or status {128 + number}"
        ended = call.status in (-number, 128 + number)
        check(ended, expected, call.status, call)
    ask(shared, "hello")
    logged(mydocker, "box", b"ready\nhello\n", b"no hello\n")
    end_detached(mydocker)


@task(5)
def test_who_reads_no_more_ends_it(mydocker):
    """`logs box | head -n 1` is over when `head` is, without a complaint."""
    expect(mydocker("run", "--name", "box", "busybox", "seq", "200000"), status=0)
    pipeline = ("sh", "-c", '"$@" | head -n 1', "sh")
    for caller in ((), *CALLERS.values()):
        for options in ((), ("-f",)):
            call = mydocker("logs", *options, "box", before=(*caller, *pipeline))
            expect(call, status=0, out="1\n", err="")


# Task 6: The last lines


@task(6)
def test_tail_shows_the_last_lines(mydocker):
    """The end of a long log is what you want to see; 0 is no line at all, an empty line is one."""
    lines = ["one\n", "two\n", "\n", "\n", "five\n"]
    command = ("printf", "".join(lines).replace("\n", "\\n"))
    expect(mydocker("run", "--name", "box", "busybox", *command), status=0)
    for number in (0, 1, 2, 4, 5, 6, 1000, 2**31, 2**63 - 1, 2**63, 10**19 - 1):
        wanted = "".join(lines[max(0, len(lines) - number) :])
        expect(mydocker("logs", "--tail", str(number), "box"), status=0, out=wanted, err="")
    expect(mydocker("logs", "--tail=2", "box"), status=0, out="\nfive\n", err="")


@task(6)
def test_the_last_line_need_not_be_finished(mydocker):
    """What follows the last newline is a line, too: the prompt that a program waits at."""
    expect(mydocker("run", "--name", "box", "busybox", "printf", r"one\ntwo\nhalf"), status=0)
    for number, wanted in (("0", ""), ("1", "half"), ("2", "two\nhalf"), ("9", "one\ntwo\nhalf")):
        expect(mydocker("logs", "--tail", number, "box"), status=0, out=wanted, err="")


@task(6)
def test_tail_of_both_streams(mydocker):
    """The last line is the last that was written, whichever stream it was on."""
    script = "echo one; read x; echo two >&2; read x; echo three; read x; echo four >&2"
    words = ("run", "-i", "--name", "box", "busybox", "sh", "-c", script)
    running = mydocker.start(*words, stdin=None)
    for out, err in ((b"one\n", b""), (b"one\n", b"two\n"), (b"one\nthree\n", b"two\n")):
        logged(mydocker, "box", out, err)  # each is in the log before the next is written
        running.type(b"\n")
    expect(running.wait(), status=0)
    for number, out, err in (
        ("0", "", ""),
        ("1", "", "four\n"),
        ("2", "three\n", "four\n"),
        ("3", "three\n", "two\nfour\n"),
        ("4", "one\nthree\n", "two\nfour\n"),
    ):
        expect(mydocker("logs", "--tail", number, "box"), status=0, out=out, err=err)


@task(6)
@ours
def test_a_line_is_a_line_however_long(mydocker):
    """Read from a pipe, a long line comes in pieces, and many short ones in one. Count lines."""
    script = "seq 5000; head -c 300000 /dev/zero | tr '\\0' x; echo; seq 3"
    expect(mydocker("run", "--name", "box", "busybox", "sh", "-c", script), status=0)
    call = expect(mydocker("logs", "--tail", "4", "box"), status=0, err="")
    same_bytes(call, call.out, b"x" * 300_000 + b"\n1\n2\n3\n", "stdout")
    call = expect(mydocker("logs", "--tail", "104", "box"), status=0, err="")
    lines = call.out.splitlines()
    check(lines[:1] == [b"4901"] and len(lines) == 104, "104 lines from 4901 on", lines[:1])


@task(6)
def test_tail_and_follow_together(mydocker, shared):
    """The last lines, to know where you are, and then what comes: so people watch a service."""
    answering(mydocker, shared)
    logged(mydocker, "box", b"ready\n")  # or what is on stderr may be written down before it
    ask(shared, "one")
    logged(mydocker, "box", b"ready\none\n", b"no one\n")
    last = mydocker.start("logs", "-f", "--tail", "2", "box")
    started(last, b"one")
    ask(shared, "two")
    started(last, b"two")
    end_detached(mydocker)
    expect(last.wait(), status=0, out="one\ntwo\n", err="no one\nno two\n")


@task(6)
def test_follow_without_what_was_before(mydocker, shared):
    """`--tail 0 -f`: only what comes from now on, and of that every word."""
    answering(mydocker, shared)
    logged(mydocker, "box", b"ready\n")
    follower = mydocker.start("logs", "--tail", "0", "--follow", "box")
    asked = []

    def has_begun() -> bool:  # it says nothing when it begins to follow: ask until it answers
        asked.append(f"word {len(asked)}")
        ask(shared, asked[-1])
        return bool(follower.out) or mydocker.host.wait(follower.inner, 0.05) is not None

    mydocker.host.until(has_begun)
    ask(shared, "last")
    started(follower, b"last")
    end_detached(mydocker)
    call = expect(follower.wait(), status=0)
    every = "".join(f"{word}\n" for word in [*asked, "last"])
    check(every.endswith(call.text), f"the end of {every!r}", call.text, call)


@task(6)
@ours
def test_the_log_of_one_whose_monitor_was_killed(mydocker):
    """What has been written down stays written down, whatever process of mydocker dies."""
    mydocker.may_leave("cgroup", "file")  # until 5.6, nothing clears these away after a crash
    content = "".join(f"{number}\n" for number in range(1, 1001))
    script = f"seq 1000; echo ready >&2; {STAY}"
    detached(mydocker, "--name", "box", "busybox", "sh", "-c", script)
    logged(mydocker, "box", content.encode(), b"ready\n")
    os.kill(monitor_of(mydocker, container_process(mydocker)).pid, signal.SIGKILL)
    nothing_lives(mydocker)
    expect(mydocker("logs", "box"), status=0, out=content, err="ready\n")
    expect(mydocker("logs", "-f", "--tail", "1", "box"), status=0)  # and does not wait for more


@task(6)
@ours
@pytest.mark.parametrize(
    "options",
    [pytest.param((), marks=guard), ("--tail", "5")],  # chunk by chunk it is read since task 4
    ids=["all", "--tail"],
)
def test_a_long_log_needs_no_large_memory(mydocker, tmp_path, options):
    """A service may write for years. Whoever reads its log whole needs as much memory as it has."""
    script = f"yes | head -c {LONG_LOG}"
    before = ("sh", "-c", '"$@" > /dev/null', "sh")
    words = ("run", "--name", "box", "busybox", "sh", "-c", script)
    expect(mydocker(*words, before=before), status=0, err="")
    (tmp_path / "peak.py").write_text(PEAK)
    before = (sys.executable, str(tmp_path / "peak.py"))
    call = expect(mydocker("logs", *options, "box", before=before), status=0)
    read, peak = map(int, call.text.split())
    wanted = 5 * len("y\n") if options else LONG_LOG
    check(read == wanted, f"{wanted} bytes on stdout of `logs`", f"{read} bytes", call)
    check(peak < LONG_LOG // 1024, "less memory than the log is long", f"{peak} KiB", call)


@task(6)
@ours
def test_a_number_that_is_none_is_refused(mydocker):
    """`--tail ten` must not show all, nor nothing: it is a word that means nothing here."""
    expect(mydocker("run", "--name", "box", "busybox", "echo", "hello"), status=0)
    expect(mydocker("logs", "--tail", "10", "box"), status=0, out="hello\n", err="")
    for number in ("x", "1x", "1.5", "", "0x10", "1 2"):
        call = mydocker("logs", "--tail", number, "box")
        expect(call, status=125, out="", complaint=["--tail", number])
    expect(mydocker("logs", "--tail"), status=125, out="", complaint=["--tail"])


@task(6)
@pytest.mark.parametrize("option", ["-f", "--tail=1"])
def test_who_asks_for_the_end_of_an_unknown_one_is_told(mydocker, option):
    """Nothing to follow, and no last line: that is no empty log, either."""
    expect(mydocker("run", "--name", "box", "busybox", "echo", "hello"), status=0)
    expect(mydocker("logs", option, "--tail=1", "box"), status=0, out="hello\n", err="")
    expect(mydocker("logs", option, "boxx"), status=1, out="", complaint=["boxx"])


def mount(shared: Path) -> tuple[str, str]:
    return ("-v", f"{shared}:/shared")


def answering(mydocker: Mydocker, shared: Path) -> None:
    """Start a container called `box` that says what `ask` asks for."""
    __tracebackhide__ = True
    (shared / "ask").touch()
    script = f"seen=0; {ANSWER}"
    detached(mydocker, "--name", "box", *mount(shared), "busybox", "sh", "-c", script)


def ask(shared: Path, word: str) -> None:
    with (shared / "ask").open("a") as file:
        file.write(f"{word}\n")


def logged(mydocker: Mydocker, name: str, out: bytes, err: bytes = b"", **more) -> None:
    """Expect `logs` to show that, soon."""
    __tracebackhide__ = True

    def is_there() -> bool:
        __tracebackhide__ = True
        call = expect(mydocker("logs", name, **more), status=0)
        return (call.out, call.err) == (out, err)

    # One in the foreground may write before it is listed.
    mydocker.host.until(lambda: name in [row["Names"] for row in listed(mydocker, "-a", **more)])
    mydocker.host.until(is_there)
    expect(mydocker("logs", name, **more), status=0, out=out, err=err)


def same_bytes(call: Call, got: bytes, wanted: bytes, stream: str) -> None:
    """Expect a stream to be that, without showing megabytes."""
    __tracebackhide__ = True
    if got != wanted:
        same = length_in_common(got, wanted)
        found = f"{len(got)} bytes, of which the first {same} are right"
        check(False, f"{stream}: the {len(wanted)} bytes that were written", found, call)


def length_in_common(one: Sequence, other: Sequence) -> int:
    """How long two sequences are the same from the start."""
    pairs = zip(one, other, strict=False)
    shorter = min(len(one), len(other))
    return next((place for place, (a, b) in enumerate(pairs) if a != b), shorter)


def nothing_lives(mydocker: Mydocker) -> None:
    """Expect containers, and their monitors, to be gone soon."""
    __tracebackhide__ = True
    host = mydocker.host
    left = host.until(lambda: not container_processes(mydocker), 20) or "it still runs"
    check(left is True, "the container ends", left, mydocker.calls[-1])
    mydocker.left_behind()  # waits until all has settled; what then is left fails the test
