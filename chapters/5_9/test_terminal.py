"""Chapter 5.9: a terminal of the container's own."""

import contextlib
import os
import select
import signal
import struct
from collections.abc import Callable, Iterator

import pytest

from dojo.scratch import Process, Running
from dojo.testkit.callers import few_processes, non_blocking
from dojo.testkit.containers import (
    container_process,
    container_processes,
    detached,
    end_process,
    nothing_beside,
    process_called,
    showed,
    started,
)
from dojo.testkit.mydocker import Mydocker
from dojo.testkit.readings import state_of
from dojo.testkit.testing import check, expect, guard, ours, task, vm

STAY = ("sleep", "1000")
KILLED = 128 + 9  # by SIGKILL, which has no name where tests are only collected

# What `exec` has of it belongs to the last task.
run_and_exec = pytest.mark.parametrize("verb", ["run", pytest.param("exec", marks=task(5))])


# Task 1: A pair of its own


@task(1)
@vm
@run_and_exec
def test_t_makes_a_terminal_of_the_container(mydocker, verb):
    """The host's terminal has no name in the container: its /dev/pts is another one.

    So a new pair of terminals is made in there. `tty` finds its name, and it is the one that
    /dev/tty stands for.
    """
    script = """tty; test "$(tty)" -ef /proc/self/fd/0 && echo the same
        test -t 1 && test -t 2 && echo all three; echo written > /dev/tty"""
    with place(mydocker, verb) as words:
        call = expect(mydocker(*words("-t"), "sh", "-c", script), status=0)
    name, *rest = call.text.split("\r\n")
    check(name.startswith("/dev/pts/"), "a terminal in /dev/pts", call.text, call)
    check(rest == ["the same", "all three", "written", ""], "it is in all places", rest, call)


@task(1)
@run_and_exec
def test_t_works_where_the_caller_has_no_terminal(mydocker, verb):
    """A terminal of the container needs none of the caller's: its output is one stream.

    A terminal ends lines with carriage return and newline, and knows no second stream.
    """
    script = "tty > /dev/null && echo out; echo err >&2; exit 5"
    with place(mydocker, verb) as words:
        call = mydocker(*words("-t"), "sh", "-c", script)
        expect(call, status=5, out="out\r\nerr\r\n", err="")


@task(1)
@run_and_exec
def test_all_output_arrives_before_the_end(mydocker, verb):
    """What lies in the terminal when the command ends has yet to be read: to the last line."""
    with place(mydocker, verb) as words:
        command = ("sh", "-c", "tty > /dev/null && seq 1 20000")
        call = expect(mydocker(*words("-t"), *command), status=0)
    wanted = "".join(f"{number}\r\n" for number in range(1, 20001))
    found = f"{len(call.text)} characters that end in {call.text[-20:]!r}"
    check(call.text == wanted, f"all 20000 lines, {len(wanted)} characters", found)


@task(1)
def test_a_detached_container_can_have_a_terminal(mydocker):
    """`-d -t` needs no terminal of the caller's: the container gets its own, and keeps it."""
    with box(mydocker, "-t"):
        script = "for n in 0 1 2; do readlink /proc/1/fd/$n; done"
        call = mydocker("exec", "box", "sh", "-c", script)
        expect(call, status=0, out="/dev/pts/0\n" * 3, err="")


@task(1)
def test_the_log_of_a_terminal_is_one_stream(mydocker):
    """At a terminal both streams are one already when they come out, in the order of writing."""
    script = "echo out; echo err >&2; echo out again; exec sleep 1000"
    with box(mydocker, "-t", command=("sh", "-c", script)):
        mydocker.host.until(lambda: b"again" in mydocker("logs", "box").out)
        call = mydocker("logs", "box")
        expect(call, status=0, out="out\r\nerr\r\nout again\r\n", err="")


@task(1)
@ours
@run_and_exec
def test_a_terminal_without_processes_or_threads_is_told(mydocker, verb):
    """The caller may have few of both. What the kernel refuses is told, and nothing is left."""
    words = {"run": ("run", "-it", "--rm", "busybox"), "exec": ("exec", "-it", "box")}[verb]
    with box(mydocker) if verb == "exec" else contextlib.nullcontext():
        there = container_processes(mydocker)
        for most in range(1, 20):
            with few_processes(mydocker, most) as before:
                running = mydocker.start(
                    *words, "sh", "-c", "tty; exit 7", before=before, terminal=True
                )
                call = running.wait()
            if call.status == 7:
                break
            expect(call, status=125)
            lines = call.text.splitlines()
            is_told = len(lines) == 1 and "Resource temporarily unavailable" in lines[0]
            check(is_told, "one line that says what the kernel has refused", call.text, call)
            left = container_processes(mydocker)
            check(left == there, "no container more than before", left, call)
        expect(call, status=7)
        check(call.text.split() == ["/dev/pts/0"], "the name of the terminal", call.text, call)


# Task 2: What is typed


@task(2)
def test_the_terminal_is_the_callers_again(mydocker):
    """Who is not in the foreground cannot read: after `run -it`, a script could ask nothing more.

    An interactive shell takes the foreground back by itself, so there you would not notice.
    """
    script = '"$@"; echo ended; read line && echo "got $line"'
    words = ("run", "-it", "busybox", "sh")
    running = mydocker.start(*words, before=("sh", "-c", script, "sh"), terminal=True)
    showed(running, b"# ").type(b"exit\n")
    started(running, b"ended")
    running.type(b"a word\n")
    call = running.wait()
    read = "got a word" in call.text.splitlines()
    check(read, "the caller's script reads `a word` from the terminal", call.text, call)


@task(2)
@run_and_exec
def test_a_terminal_that_does_not_wait_is_waited_for(mydocker, verb):
    """The caller's terminal may be non-blocking: no key is there yet, or no room for more text."""
    script = """tty > /dev/null && echo ready; read line
        head -c 200000 /dev/zero | tr '\\0' x; echo; echo $line; exit 7"""
    with at_a_terminal(mydocker, verb, script, before=non_blocking(0)) as running:
        showed(running, b"ready").type(b"typed\n")
        call = expect(running.wait(), status=7)
    ending = b"x" * 200000 + b"\ntyped\n"  # each line ends with carriage returns, however many
    check(
        call.out.replace(b"\r", b"").endswith(ending),
        "200000 letters, and the typed line",
        f"{len(call.out)} bytes",
    )


# Task 3: Raw, and back again


@task(3)
@run_and_exec
def test_what_is_typed_is_shown_once(mydocker, verb):
    """Two terminals in a row would both show what is typed. The caller's has to be quiet (raw)."""
    script = "tty > /dev/null && echo ready; cat; exit 6"
    with at_a_terminal(mydocker, verb, script) as running:
        started(running)
        running.type("grün\n".encode())
        showed(running, "\r\ngrün\r\ngrün\r\n".encode())
        running.type(b"\x04")
        expect(running.wait(), status=6, out="ready\r\ngrün\r\ngrün\r\n")


@task(3)
def test_the_log_of_a_terminal_in_the_foreground(mydocker):
    """What was seen at the terminal is in the log, typed lines included: it echoed them."""
    words = ("run", "-it", "--name", "box", "busybox", "sh", "-c", "tty; read line; echo $line >&2")
    running = started(mydocker.start(*words, terminal=True), b"/dev/pts/0")
    running.type(b"typed\n")
    seen = expect(running.wait(), status=0, out="/dev/pts/0\r\ntyped\r\ntyped\r\n")
    expect(mydocker("logs", "box"), status=0, out=seen.out, err="")


@task(3)
@run_and_exec
def test_a_shell_has_job_control(mydocker, verb):
    """Ctrl-Z, `fg`, Ctrl-C: a shell moves its jobs in and out of the foreground of its terminal.

    It can do so where the terminal is the controlling one of a session that it leads itself. And
    the keys have to get there: at the caller's terminal, they would mean `mydocker`.
    """
    with at_a_terminal(mydocker, verb) as running:
        showed(running, b"# ").type(b"tty\n")
        showed(running, b"\n/dev/pts/")
        running.type(b"/bin/busybox sleep 777\n")
        job = process_called(mydocker, "/bin/busybox sleep 777", running)
        running.type(b"\x1a")
        showed(running, b"Stopped")
        running.type(b"fg\n")
        goes_on = mydocker.host.until(lambda: state_of(job.pid) == "S")
        check(goes_on, f"`fg` goes on with {job}: state S", f"state {state_of(job.pid)}")
        running.type(b"\x03")
        ended = mydocker.host.until(lambda: state_of(job.pid) == "")
        check(ended, f"Ctrl-C ends {job}", f"it is there, in state {state_of(job.pid)}")
        running.type(b"exit 7\n")
        call = expect(running.wait(), status=7)
    check("job control" not in call.text, "no complaint of the shell's", call.text, call)


@task(3)
@run_and_exec
@pytest.mark.parametrize("how", ["ends", "is killed"])
def test_the_terminal_of_the_caller_is_restored(mydocker, verb, how):
    """A terminal that stays raw shows nothing that you type. However it ended: as it was before."""
    import termios

    def raw() -> bool:
        return not termios.tcgetattr(terminal)[3] & (termios.ECHO | termios.ICANON | termios.ISIG)

    script = "tty > /dev/null && echo ready; exec cat"
    status = {"ends": 0, "is killed": KILLED}[how]
    with at_a_terminal(mydocker, verb, script, before=WAITING) as running:
        started(running, b"typed?")
        with terminal_of(running) as terminal:
            before = termios.tcgetattr(terminal)
            running.type(b"\n")
            started(running)
            check(raw(), "the caller's terminal is raw meanwhile", termios.tcgetattr(terminal))
            if how == "ends":
                running.type(b"\x04")
            else:
                os.kill(container_process(mydocker).pid, signal.SIGKILL)
            mydocker.host.wait(running.inner, 20)
            after = termios.tcgetattr(terminal)
        call = expect(running.wait(), status=status)
    check(after == before, "the settings of the caller's terminal as before", after, call)


@task(3)
@run_and_exec
@guard  # who never gets as far as to change the settings has none to restore
def test_the_terminal_of_the_caller_stays_where_nothing_starts(mydocker, verb):
    """A command that is not there is told to somebody who sees what he types afterwards."""
    import termios

    with at_a_terminal(mydocker, verb, "no-such-command", before=WAITING) as running:
        started(running, b"typed?")
        with terminal_of(running) as terminal:
            before = termios.tcgetattr(terminal)
            running.type(b"\n")
            mydocker.host.wait(running.inner, 20)
            after = termios.tcgetattr(terminal)
        call = expect(running.wait(), status=127)
    check(after == before, "the settings of the caller's terminal as before", after, call)


# Task 4: The size of the window


@task(4)
@run_and_exec
def test_the_window_has_the_size_of_the_callers(mydocker, verb):
    """An editor draws as many lines as its terminal has. A new terminal has none at all: 0 0."""
    script = """tty > /dev/null && for _ in 1 2 3 4 5 6 7 8 9 10; do
        test "$(stty size)" = "33 101" && break; sleep 0.02; done && stty size"""
    caller = ("sh", "-c", 'stty rows 33 cols 101; exec "$@"', "sh")
    with at_a_terminal(mydocker, verb, script, before=caller) as running:
        expect(running.wait(), status=0, out="33 101\r\n")


@task(4)
@run_and_exec
def test_a_change_of_the_size_arrives(mydocker, verb):
    """Who pulls the window larger sends SIGWINCH to what runs in it. It has to be passed on."""
    script = """trap 'echo size $(stty size)' WINCH; trap 'exit 9' INT
        tty > /dev/null && echo ready; while :; do sleep 0.02; done"""
    with at_a_terminal(mydocker, verb, script) as running:
        started(running)
        for rows, columns in ((40, 132), (10, 20)):
            resize(running, rows, columns)
            started(running, f"size {rows} {columns}".encode())
        running.type(b"\x03")
        expect(running.wait(), status=9)


# Task 5: A terminal for exec


@task(5)
def test_ctrl_c_ends_the_command_and_not_the_container(mydocker):
    """Ctrl-C goes to what is in the foreground of the terminal: the command, and not `exec`."""
    with box(mydocker) as first:
        ready = "tty > /dev/null && echo ready"
        script = f"trap 'exit 42' INT; {ready}; while :; do sleep 0.02; done"
        words = ("exec", "-it", "box")
        running = started(mydocker.start(*words, "sh", "-c", script, terminal=True))
        running.type(b"\x03")
        expect(running.wait(), status=42)
        running = mydocker.start(*words, "sh", "-c", f"{ready}; exec sleep 777", terminal=True)
        started(running).type(b"\x03")
        expect(running.wait(), status=128 + signal.SIGINT)
        nothing_beside(mydocker, first)


@task(5)
@ours
def test_a_terminal_that_cannot_be_made_is_told(mydocker):
    """The terminal is made in the container, and root in there can do what it likes to /dev."""
    with box(mydocker):
        expect(mydocker("exec", "-t", "box", "echo", "ran"), status=0, out="ran\r\n")
        expect(mydocker("exec", "box", "rm", "/dev/ptmx"), status=0)
        call = mydocker("exec", "-t", "box", "echo", "ran")
        expect(call, status=125, out="", complaint=["No such file or directory"])


@task(5)
@ours
def test_the_container_can_end_while_nobody_reads_what_exec_passes_on(mydocker, tmp_path):
    """With a terminal, `exec` passes the output on, and waits for a caller that does not read.

    The command has ended meanwhile. While nobody waits for it, it is a zombie in the container, and
    that cannot end.
    """
    identity = detached(mydocker, "--name", "box", "busybox", "sleep", "1000")
    place = tmp_path / "fifo"
    os.mkfifo(place)
    reader = os.open(place, os.O_RDONLY | os.O_NONBLOCK)
    before = ("sh", "-c", f'exec "$@" > {place}', "sh")
    script = "tty > /dev/null && head -c 1000000 /dev/zero; exec sleep 1000"
    running = mydocker.start("exec", "-t", "box", "sh", "-c", script, before=before)
    writer = os.open(place, os.O_WRONLY | os.O_NONBLOCK)
    full = mydocker.host.until(lambda: not select.select([], [writer], [], 0)[1])
    check(full, "as much output as a pipe takes", "there is room for more")
    os.kill(container_process(mydocker, identity).pid, signal.SIGKILL)
    ended = mydocker.host.until(lambda: "Exited (137)" in mydocker("ps", "-a").text)
    call = mydocker("ps", "-a")
    check(ended, "`Exited (137)`: PID 1 of the container was killed", call.text, call)
    for end_of_fifo in (reader, writer):
        os.close(end_of_fifo)
    running.wait()


# What the tests are made of

# Settings of the caller's that nobody guesses; it waits until the test has looked at them.
WAITING = ("sh", "-c", 'stty intr ^B -ixon; echo typed?; read line; exec "$@"', "sh")


@contextlib.contextmanager
def box(mydocker: Mydocker, *options: str, command: tuple[str, ...] = STAY) -> Iterator[Process]:
    """A detached container called `box`, which goes on running until the block ends. Its PID 1."""
    identity = detached(mydocker, "--rm", "--name", "box", *options, "busybox", *command)
    yield container_process(mydocker, identity)
    for process in container_processes(mydocker, identity):  # it may be about to end
        end_process(mydocker, process)


@contextlib.contextmanager
def place(mydocker: Mydocker, verb: str) -> Iterator[Callable[..., tuple[str, ...]]]:
    """Where a command can run: in a new container, or in one that is there, the box.

    Gives what makes the words before the command, from options.
    """
    if verb == "run":
        yield lambda *options: ("run", "--rm", *options, "busybox")
    else:
        with box(mydocker):
            yield lambda *options: ("exec", *options, "box")


@contextlib.contextmanager
def at_a_terminal(
    mydocker: Mydocker, verb: str, *command: str, before: tuple[str, ...] = ()
) -> Iterator[Running]:
    """A command, a script in one word, or a shell: by `run -it` or `exec -it`, at a terminal."""
    if len(command) == 1 and " " in command[0]:
        command = ("sh", "-c", *command)
    with place(mydocker, verb) as words:
        yield mydocker.start(*words("-it"), *(command or ("sh",)), terminal=True, before=before)


@contextlib.contextmanager
def terminal_of(running: Running) -> Iterator[int]:
    """The caller's terminal, opened once more. While it is, the terminal does not end."""
    descriptor = os.open(f"/proc/{running.pid}/fd/0", os.O_RDWR | os.O_NOCTTY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def resize(running: Running, rows: int, columns: int) -> None:
    import fcntl
    import termios

    with terminal_of(running) as terminal:
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
