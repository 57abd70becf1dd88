"""Chapter 3.3: the command travels down a pipe, and what went wrong travels back."""

import os
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dojo.testkit.crash_points import crash_points
from dojo.testkit.testing import check, examples, expect, guard, needs, ours, task, vm

CONTAINER_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SHOW_OWN_ARGUMENTS = ("sh", "-c", "cat /proc/1/cmdline; exit 0", "sh")


# Task 1: What went wrong travels back


@task(1)
@vm
@pytest.mark.parametrize("command", ["no-such-command", "/no/such/command", "/etc/passwd/x", ""])
def test_a_command_that_is_not_there_is_127(mydocker, command):
    """Shells end with 127 where a command is not found, and scripts can tell that from others."""
    expect(mydocker("run", "--rm", "busybox", "true"), status=0)
    call = mydocker("run", "--rm", "busybox", command, "--with-an-argument")
    expect(call, status=127, out="", complaint=[command])


@task(1)
@pytest.mark.parametrize("command", ["/etc/passwd", "/etc"])
def test_a_command_that_cannot_be_executed_is_126(mydocker, command):
    """It is there, but it is a directory, or nobody may execute it: 126, as shells have it."""
    expect(mydocker("run", "--rm", "busybox", "/bin/true"), status=0)
    call = mydocker("run", "--rm", "busybox", command)
    expect(call, status=126, out="", complaint=[command])


@task(1)
@ours
def test_a_file_that_is_no_program_is_126(mydocker):
    """The kernel refuses it (ENOEXEC). A shell would go on and read it as a script: we do not."""
    program = mydocker.put("program", "#!/bin/sh\necho started\n", 0o755)
    nothing = mydocker.put("nothing", "echo started\n", 0o755)
    expect(mydocker("run", "--rm", "busybox", program), status=0, out="started\n")
    call = mydocker("run", "--rm", "busybox", nothing)
    expect(call, status=126, out="", complaint=[nothing])


@task(1)
def test_nothing_is_left_of_a_command_that_is_not_there(mydocker):
    """A container that never came to life leaves no group, no process and no directory."""
    limits = ("-m", "64m", "--pids-limit", "20")
    expect(mydocker("run", "--rm", *limits, "busybox", "true"), status=0)
    call = mydocker("run", *limits, "busybox", "no-such-command")
    expect(call, status=127, out="", complaint=["no-such-command"])
    left = mydocker.host.groups.below()
    check(not left, "no group", left, call)


@task(1)
@ours
@guard
def test_a_step_that_fails_is_named(mydocker):
    """Without CAP_NET_ADMIN `lo` cannot be set up. The message says so, not "it did not work"."""
    harmless = ("setpriv", "--bounding-set=-sys_time", "--inh-caps=-sys_time")
    expect(mydocker("run", "busybox", "echo", "started", before=harmless), status=0)
    without = ("setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin")
    call = mydocker("run", "busybox", "echo", "started", before=without)
    expect(call, status=125, out="", complaint=["lo", "not permitted"])


@task(1)
@ours
@guard
def test_a_step_that_fails_is_named_though_the_command_is_long(mydocker):
    """More than a pipe holds: whoever still writes is told that nobody reads (EPIPE).

    That is not what went wrong. What went wrong, the child has said by then.
    """
    long = ["x" * 100_000] * 10
    expect(mydocker("run", "busybox", "true", *long), status=0)
    without = ("setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin")
    call = mydocker("run", "busybox", "true", *long, before=without)
    expect(call, status=125, out="", complaint=["lo", "not permitted"])


# Task 2: Where a command is found


@task(2)
def test_the_path_of_the_caller_does_not_matter(mydocker):
    """The caller's PATH is about the caller's files. The container has files of its own."""
    expect(mydocker("run", "--rm", "busybox", "true"), status=0)
    for path in ("", "/nonexistent"):
        call = mydocker("run", "--rm", "busybox", "echo", "found", env={"PATH": path})
        expect(call, status=0, out="found\n", err="")


@task(2)
def test_a_command_of_the_path_of_the_caller_is_not_found(mydocker):
    """What only the caller's PATH leads to is not a command of the container's."""
    tool = Path(mydocker.put("callers-tool", "#!/bin/sh\necho started\n", 0o755))
    expect(mydocker("run", "--rm", "busybox", str(tool)), status=0, out="started\n")
    path = f"{tool.parent}:{CONTAINER_PATH}"
    call = mydocker("run", "--rm", "busybox", tool.name, env={"PATH": path})
    expect(call, status=127, out="", complaint=[tool.name])


@task(2)
def test_the_command_sees_the_path_of_the_container(mydocker):
    """What the command starts itself is looked up in the same places as the command was."""
    script = 'echo "$PATH"'
    call = mydocker("run", "--rm", "busybox", "sh", "-c", script, env={"PATH": "/nonexistent:/bin"})
    expect(call, status=0, out=f"{CONTAINER_PATH}\n")


@task(2)
@guard
def test_a_name_with_a_slash_is_a_path(mydocker):
    """`bin/sh` is not looked up anywhere: it is a path from the working directory."""
    expect(mydocker("run", "--rm", "busybox", "true"), status=0)
    expect(mydocker("run", "--rm", "busybox", "bin/sh", "-c", "exit 5", cwd=Path("/")), status=5)


# Task 3: Descriptors that leak


@task(3)
@vm
def test_the_command_has_three_descriptors(mydocker):
    """A descriptor that goes in is a door: an open directory is a way out of the container."""
    script = "ls /proc/$$/fd; echo end"
    held = [os.open("/", os.O_RDONLY) for _ in range(7)]
    try:
        call = mydocker("run", "--rm", "busybox", "sh", "-c", script, holding=held)
    finally:
        for descriptor in held:
            os.close(descriptor)
    expect(call, status=0, out="0\n1\n2\nend\n")


@task(3)
@ours
@pytest.mark.parametrize(
    ("closed", "out", "err"),
    [
        ("<&-", "out\n", "err\n"),
        (">&-", "", "err\n"),
        pytest.param("2>&-", "out\n", "", marks=guard),
        pytest.param("<&- >&- 2>&-", "", "", marks=guard),
    ],
)
def test_a_caller_without_all_three_streams(mydocker, closed, out, err):
    """The next descriptor that is opened would get the number 0, 1 or 2, and stand for a stream."""
    caller = ("sh", "-c", f'exec "$@" {closed}', "sh")
    script = "echo out; echo err >&2; cat; exit 7"
    call = mydocker("run", "-i", "busybox", "sh", "-c", script, before=caller)
    expect(call, status=7, out=out, err=err)


# Task 4: The command travels down a pipe


@task(4)
@guard
@settings(
    max_examples=examples(usual=24, least=6),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(
    arguments=st.lists(
        st.one_of(
            st.text(alphabet=" \n\t'\"\\$;`*?-äñ€\u2028", max_size=10).map(str.encode),
            st.sampled_from([b"", b"-i", b"--", b"--rm", b"a  b"]),
        ),
        max_size=10,
    )
)
def test_every_argument_arrives_as_it_is(mydocker, arguments):
    """Joined with blanks and split again, `''` and `'a  b'` are lost."""
    arrive(mydocker, arguments)


@task(4)
@ours
@guard
@settings(
    max_examples=examples(usual=20, least=5),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(arguments=st.lists(st.binary(max_size=40).map(lambda word: word.replace(b"\0", b""))))
def test_every_byte_arrives_as_it_is(mydocker, arguments):
    """An argument is bytes, not text: a file's name, say. Any byte but NUL may come."""
    arrive(mydocker, arguments)


def arrive(mydocker, arguments: list[bytes]) -> None:
    __tracebackhide__ = True
    command = [*SHOW_OWN_ARGUMENTS, *arguments]
    call = mydocker("run", "--rm", "busybox", *command)
    wanted = b"".join(os.fsencode(word) + b"\0" for word in command)
    expect(call, status=0, out=wanted, err="")


@task(4)
@guard
def test_long_arguments_arrive(mydocker):
    """One argument can have 128 KiB on Linux, and a pipe holds 64 KiB: somebody has to read on."""
    argument = bytes(random.choices(range(1, 128), k=100 * 1024))
    for arguments in ([argument], [argument] * 10):
        command = [*SHOW_OWN_ARGUMENTS, *arguments]
        call = mydocker("run", "--rm", "busybox", *command)
        expect(call, status=0, err="")
        wanted = b"".join(os.fsencode(word) + b"\0" for word in command)
        found = f"{len(call.out)} bytes"
        check(call.out == wanted, f"all {len(wanted)} bytes of the command line", found)


@task(4)
@vm
@guard
def test_no_shell_is_in_between(mydocker):
    """A shell would put the value of HOME in, and run `id`."""
    call = mydocker("run", "--rm", "busybox", "echo", "$HOME;id", "`id`", "*")
    expect(call, status=0, out="$HOME;id `id` *\n")


@task(4)
@ours
@guard
@needs("unotify")
def test_a_parent_that_dies_early_leaves_no_child(mydocker):
    """Killed at any moment of the start, even before the command was sent, it leaves no child.

    A child that waits at a pipe for ever is not seen by anybody, and never ends.
    """
    mydocker.may_leave("cgroup", "file")  # until 5.6, nothing clears these away after a crash
    expect(mydocker("run", "busybox", "echo", "started"), status=0, out="started\n")
    host = mydocker.host
    for crash_point in crash_points(8):
        running = mydocker.start("run", "busybox", "sleep", "1000", crash_point=crash_point)
        with crash_point:
            running.kill()
        call = running.wait()
        left = host.until(lambda: not host.processes()) or host.processes()
        check(left is True, "no process is left", left, call)
