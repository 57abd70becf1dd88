"""Callers of mydocker as there are many: their signals, streams, limits and namespaces."""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from dojo.scratch import Call
from dojo.scratch.typed import Before
from dojo.testkit.containers import container_process, container_processes, started
from dojo.testkit.testing import check, expect

if TYPE_CHECKING:
    from dojo.testkit.mydocker import Mydocker

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


def in_a_chroot(
    mydocker: "Mydocker", top: Path, kind: str = "mount point", watched: bool = False
) -> Before:
    """What starts a program in a chroot, as rescue systems and builders do.

    top: an empty directory. kind: "mount point" or "plain directory": what becomes its root. The
    root of the mount namespace has a file `/of-the-host`, nothing in the place of the test's own
    files, and little else that is no mount: so it is small, for whoever takes it for the
    container's. watched: all mounts are shared with the program's own copies of them, and where one
    of them is gone when it has ended, the status is 99.
    """
    script = """
        set -e; top=$1; own=$2; kind=$3; watched=$4; shift 4
        everything_below() {
            for each in /*; do
                if test -L "$each"; then cp -P "$each" "$1"
                elif test -d "$each" -a ! "$each" -ef "$1"; then
                    mkdir "$1$each"; mount --rbind "$each" "$1$each"
                fi
            done
        }
        mount -t tmpfs small "$top"; mount --make-unbindable "$top"
        everything_below "$top"
        cd "$top"; echo of the host > of-the-host
        mkdir old; pivot_root . old; umount -l /old; rmdir /old; mount --make-private /
        mkdir chroot
        if test "$kind" = "mount point"; then mount --rbind / /chroot
        else everything_below /chroot
        fi
        mount -t tmpfs nothing "$own"
        if test -z "$watched"; then exec chroot /chroot "$@"; fi
        mount --make-rshared /
        before=$(wc -l < /proc/self/mountinfo)
        status=0; chroot /chroot "$@" || status=$?
        after=$(wc -l < /proc/self/mountinfo) || after=none
        if test "$after" != "$before"; then
            echo "of the caller's $before mounts, $after are left" >&2; exit 99
        fi
        exit $status
        """
    top.mkdir()
    words = ("sh", str(top), str(mydocker.root.parent), kind, "watched" if watched else "")
    argv = ("unshare", "--mount", "--propagation=private", "sh", "-c", script, *words)
    return Before(argv, f"in a chroot on the {kind} {top}/chroot")


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
