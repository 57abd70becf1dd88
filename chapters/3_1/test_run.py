"""Chapter 3.1: a process that believes it is alone."""

import contextlib
import os
import random
import signal

import pytest

from dojo.rows import an
from dojo.scratch import CrashPoint
from dojo.testkit.callers import CALLERS, in_two_pieces, non_blocking
from dojo.testkit.containers import drawn, end, first_process, sleeping, started
from dojo.testkit.mydocker import Mydocker
from dojo.testkit.readings import has_taken_its_signals, same_mounts, type_ctrl_c
from dojo.testkit.testing import check, expect, guard, needs, ours, task, vm

NAMESPACES = ("uts", "pid", "mnt", "net", "ipc")
UNPRIVILEGED = ("setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin")


def run(mydocker: Mydocker, script: str, *options: str, **more):
    return mydocker("run", "--rm", *options, "busybox", "sh", "-c", script, **more)


# Task 1: A child becomes the command


@task(1)
def test_a_command_that_succeeds_ends_with_0(mydocker):
    """`true` does nothing and succeeds. If this fails, nothing has been started at all."""
    expect(mydocker("run", "busybox", "true"), status=0, out="", err="")
    one, other = random.randrange(10**8), random.randrange(10**8)
    call = mydocker("run", "busybox", "expr", str(one), "+", str(other))
    expect(call, status=0, out=f"{one + other}\n")


@task(1)
def test_the_exit_status_is_that_of_the_command(mydocker):
    """Scripts decide by the exit status of `run`, as if they had called the command themselves."""
    for status in random.sample(range(2, 125), 2):
        expect(run(mydocker, f"exit {status}"), status=status)


@task(1)
def test_all_arguments_arrive(mydocker):
    """What follows IMAGE is the command with its arguments, not only its first word.

    Each stays one, whatever blanks are in it: `sh -c` takes its whole script as one argument.
    """
    expect(mydocker("run", "--rm", "busybox", "echo", "a", "b"), status=0, out="a b\n")
    call = mydocker("run", "--rm", "busybox", "printf", "[%s]", "a", "b c", "  d")
    expect(call, status=0, out="[a][b c][  d]")


@task(1)
def test_what_follows_the_image_belongs_to_the_command(mydocker):
    """Options end at IMAGE: `-i`, `--rm`, `--` and `--help` behind it are the command's own."""
    call = mydocker("run", "--rm", "--", "busybox", "echo", "-i", "--rm", "--", "x", "--help")
    expect(call, status=0, out="-i --rm -- x --help\n")


@task(1)
@pytest.mark.parametrize(("program", "status"), [("no-such-program", 127), ("/etc/passwd", 126)])
def test_a_missing_program_is_told(mydocker, program, status):
    """There is nothing to become for the child: it says so, once, and ends, but not with 0.

    If it goes on, it is a second parent, and waits for a child that it does not have.
    """
    expect(mydocker("run", "--rm", "busybox", "true"), status=0)
    call = expect(mydocker("run", "--rm", "busybox", program), out="", complaint=[program])
    wanted = f"status 125; from chapter 3.3 on, it is {status}"
    check(call.status in (125, status), wanted, call.status, call)


@task(1)
def test_stdout_is_that_of_the_command_to_the_byte(mydocker):
    """Whoever pipes `run` into another program wants the command's output and nothing else."""
    expect(mydocker("run", "--rm", "busybox", "printf", "X"), status=0, out="X", err="")


@task(1)
def test_stderr_is_that_of_the_command_to_the_byte(mydocker):
    """The two streams stay apart: a script that reads stdout must not find error messages in it."""
    expect(run(mydocker, "printf out; printf err >&2"), status=0, out="out", err="err")


@task(1)
def test_much_output_comes_through(mydocker):
    """A megabyte is more than a pipe holds: nobody may wait for the end before reading."""
    call = mydocker("run", "--rm", "busybox", "head", "-c", "1000000", "/dev/zero")
    expect(call, status=0, err="")
    check(call.out == bytes(1000000), "1000000 zeros", f"{len(call.out)} bytes", call)


@task(1)
def test_stdin_is_attached_with_i(mydocker):
    """`-i` hands the caller's stdin on, so that a container can stand in a pipeline."""
    content = random.randbytes(200_000)
    call = mydocker("run", "--rm", "-i", "busybox", "cat", stdin=content)
    expect(call, status=0, err="")
    check(call.out == content, "every byte of stdin comes back on stdout", f"{len(call.out)} bytes")


@task(1)
def test_a_terminal_is_handed_on_with_it(mydocker):
    """`-it` is for a shell to type into, and programs ask whether they are at a terminal."""
    number, computed = drawn()
    script = f"test -t 0 && test -t 1 && test -t 2 && echo {computed}"
    call = mydocker.start("run", "-it", "busybox", "sh", "-c", script, terminal=True).wait()
    expect(call, status=0)
    wrote = number in call.text.splitlines()
    check(wrote, f"{number} if stdin, stdout and stderr are a terminal", call.text, call)


@task(1)
@pytest.mark.parametrize(
    "name",
    ["x", "_box", "a/b", "../../etc", "a b", "", pytest.param("x" * 129, marks=ours)],
)
def test_a_name_that_could_be_a_path_is_refused(mydocker, name):
    """Names become directories. One that leads elsewhere must be refused before anything."""
    expect(mydocker("run", "--rm", "--name", "a-good.name_1", "busybox", "true"), status=0)
    call = mydocker("run", "--rm", "--name", name, "busybox", "echo", "started")
    expect(call, status=125, out="", complaint=["name", name])


@task(1)
@pytest.mark.parametrize("image", ["BusyBox", "../busybox", "busybox.tar"])
def test_an_image_name_that_could_be_a_path_is_refused(mydocker, image):
    """Images are named in lower case, and their names become files and directories, too."""
    expect(mydocker("run", "--rm", "busybox", "echo", "started"), status=0, out="started\n")
    expect(mydocker("run", "--rm", image, "echo", "started"), status=125, out="", complaint=[image])


@task(1)
def test_an_unknown_option_is_refused(mydocker):
    """An option that is skipped silently makes people believe in a protection that is not there."""
    expect(mydocker("run", "--rm", "busybox", "echo", "started"), status=0, out="started\n")
    call = mydocker("run", "--no-such-option", "busybox", "echo", "started")
    expect(call, status=125, out="", complaint=["--no-such-option"])


@task(1)
def test_a_missing_command_is_told(mydocker):
    """An image can bring a command of its own; this one does not, so there is nothing to run."""
    expect(mydocker("run", "busybox", "true"), status=0)
    expect(mydocker("run", "busybox"), status=125, out="", complaint=["command"])


@task(1)
def test_a_missing_image_is_told(mydocker):
    """The number of arguments is wrong: that is status 1, before anything is started."""
    expect(mydocker("run", "busybox", "true"), status=0)
    expect(mydocker("run", "--rm"), status=1, out="", complaint=[])


@task(1)
def test_an_unknown_command_of_mydocker_is_told(mydocker):
    """`mydocker rum` is a slip of the fingers, and deserves an answer that names it."""
    expect(mydocker("run", "busybox", "true"), status=0)
    expect(mydocker("rum", "busybox", "true"), status=1, out="", complaint=["rum"])


# Task 2: Streams


@task(2)
def test_stdin_is_empty_without_i(mydocker):
    """Without `-i` the input stays the caller's: a loop that reads lines must not lose any."""
    mine, other = os.pipe()
    os.write(other, b"a line for the caller\n")
    call = mydocker("run", "--rm", "busybox", "wc", "-c", stdin=mine)
    os.close(other)
    left = os.read(mine, 100)
    os.close(mine)
    expect(call, status=0, out="0\n")
    check(left == b"a line for the caller\n", "the caller can still read its line", left, call)


@task(2)
@pytest.mark.parametrize("stream", [1, 2], ids=["stdout", "stderr"])
def test_a_caller_that_does_not_wait_for_room_loses_nothing(mydocker, stream):
    """ssh and Node.js make streams non-blocking, for all who share them. Most programs cannot cope.

    They are told "try again" where they would have waited, and give up: half of the output is lost.
    """
    # One write(2), of much more than a pipe holds: no reader is so quick that there is always room.
    dd = f"dd if=/dev/zero bs=8000000 count=1 >&{stream} 2>/dev/null"
    script = f"{dd} && printf end >&{stream}"
    call = expect(run(mydocker, script, before=non_blocking(stream)), status=0)
    got = call.out if stream == 1 else call.err
    check(got == bytes(8000000) + b"end", "8000000 zeros, then `end`", f"{len(got)} bytes", call)


@task(2)
def test_a_stdin_with_nothing_in_it_yet_is_waited_for(mydocker):
    """A stdin may be non-blocking, too. That nothing is there at this moment is not its end."""
    content = b"one line\n" * 100
    words = ("run", "--rm", "-i", "busybox", "cat")
    expect(in_two_pieces(mydocker, *words, content=content), status=0, out=content, err="")


@task(2)
def test_it_without_a_terminal_is_refused(mydocker):
    """A shell that waits for a terminal that is not there would hang: better to say so at once."""
    good = mydocker.start("run", "-it", "busybox", "echo", "started", terminal=True).wait()
    expect(good, status=0)
    call = mydocker("run", "-it", "busybox", "echo", "started", stdin=b"typed\n")
    expect(call, status=1, out="")
    named = "terminal" in call.errors.lower() or "tty" in call.errors.lower()
    check(named, "a message that says that stdin is no terminal", call.errors, call)


# Task 3: Namespaces


@task(3)
@vm
@pytest.mark.parametrize("name", NAMESPACES)
def test_each_namespace_is_a_new_one(mydocker, name):
    """A namespace is what makes a process see another world. /proc/self/ns tells which it is in."""
    call = mydocker("run", "--rm", "busybox", "readlink", f"/proc/self/ns/{name}")
    outside = os.readlink(f"/proc/{mydocker.host.pid}/ns/{name}")
    expect(call, status=0)
    inside = call.text.strip()
    check(inside.startswith(f"{name}:["), f"the {name} namespace's number", call.text, call)
    check(inside != outside, f"{an(name)} namespace that is not the caller's", inside, call)


@task(3)
def test_the_parent_stays_outside(mydocker):
    """What is unshared before the fork, both sides share: a mount inside is one for the parent.

    It would live among the container's mounts, and in its root, once there is one.
    """
    running = sleeping(mydocker)
    inside, parent = f"/proc/{first_process(running).pid}", f"/proc/{running.pid}"
    for name in NAMESPACES:
        found = os.readlink(f"{parent}/ns/{name}")
        outside = os.readlink(f"/proc/{mydocker.host.pid}/ns/{name}")
        theirs = os.readlink(f"{inside}/ns/{name}")
        expected = f"`run` itself is in the {name} namespace of its caller, {outside}"
        check(found == outside, expected, f"{found}; the container is in {theirs}")
    end(running)


@task(3)
@vm
def test_the_command_is_pid_1(mydocker):
    """The first process of a PID namespace is its init: PID 1, whatever it is outside."""
    expect(run(mydocker, "echo $$"), out="1\n")


@task(3)
def test_when_pid_1_ends_everything_in_there_ends(mydocker):
    """A process that the command left in the background ends with it, and `run` does not wait."""
    expect(run(mydocker, "sleep 1000 & echo started"), status=0, out="started\n")
    left = mydocker.host.until(lambda: not mydocker.host.processes()) or mydocker.host.processes()
    check(left is True, "no process of the container", left)


@task(3)
def test_pid_1_cannot_kill_itself(mydocker):
    """The kernel shields the init of a namespace from its own: SIGKILL from inside does nothing."""
    expect(run(mydocker, "kill -9 $$; echo alive"), out="alive\n")


@task(3)
def test_a_command_that_is_killed_ends_with_128_and_the_signal(mydocker):
    """A shell says 137 for a process that SIGKILL (9) ended, and so does docker run."""
    running = sleeping(mydocker)
    os.kill(first_process(running).pid, signal.SIGKILL)
    expect(running.wait(), status=128 + signal.SIGKILL)


@task(3)
def test_the_hostname_is_the_start_of_an_id(mydocker):
    """Each container has an ID of 64 hex digits; its first 12 are the hostname that it sees."""
    names = []
    for _ in range(2):
        call = mydocker("run", "--rm", "busybox", "cat", "/proc/sys/kernel/hostname")
        names.append(expect(call, status=0).text.strip())
        hex_digits = len(names[-1]) == 12 and set(names[-1]) <= set("0123456789abcdef")
        check(hex_digits, "12 hex digits (0-9, a-f)", repr(names[-1]), call)
    check(names[0] != names[1], "another name for each container", names)


@task(3)
def test_the_hostname_of_the_host_stays(mydocker):
    """A new UTS namespace starts with a copy of the host's name. Only the copy may change."""
    before = mydocker.host.facts()["hostname"]
    script = "echo changed > /proc/sys/kernel/hostname && cat /proc/sys/kernel/hostname"
    call = expect(run(mydocker, script), status=0, out="changed\n")
    after = mydocker.host.facts()["hostname"]
    check(after == before, f"the host is still called {before}", after, call)


@task(3)
def test_sysv_objects_of_the_host_are_not_seen(mydocker):
    """Shared memory has no name in any file system: the IPC namespace is all that hides it."""
    made = mydocker.host.run(["ipcmk", "--shmem", "4096"], env=mydocker.env)
    identity = made.text.split()[-1]
    try:
        call = mydocker("run", "--rm", "busybox", "cat", "/proc/sysvipc/shm")
        expect(call, status=0)
        check(len(call.text.splitlines()) == 1, "the header, and no segment", call.text, call)
    finally:
        mydocker.host.run(["ipcrm", "--shmem-id", identity], env=mydocker.env)


@task(3)
@guard  # a program without namespaces sees the test host's, which has lo alone
def test_the_only_interface_is_lo_and_it_is_up(mydocker):
    """A new network namespace is empty but for `lo`, and `lo` is down until somebody sets it up."""
    call = mydocker("run", "--rm", "busybox", "cat", "/proc/net/dev", "/proc/net/fib_trie")
    expect(call, status=0)
    interfaces, _, addresses = call.text.partition("Main:")
    names = {line.partition(":")[0].strip() for line in interfaces.splitlines()[2:] if ":" in line}
    fresh = set(mydocker.host.interfaces())  # some kernels put tunnels into each new namespace
    check("lo" in names and names <= fresh, "lo and nothing of the host's", sorted(names), call)
    check("127.0.0.1" in addresses, "lo is up: 127.0.0.1 can be reached", addresses, call)


@task(3)
@vm
def test_nothing_is_left_of_a_start_that_failed(mydocker):
    """Without the capability CAP_SYS_ADMIN no namespace can be made. That is told in one line."""
    harmless = ("setpriv", "--bounding-set=-sys_time", "--inh-caps=-sys_time")
    expect(mydocker("run", "busybox", "echo", "started", before=harmless), status=0)
    call = mydocker("run", "busybox", "echo", "started", before=UNPRIVILEGED)
    expect(call, status=125, out="", complaint=["not permitted"])


# Task 4: What the host must not notice


@task(4)
def test_a_mount_inside_is_not_seen_outside(mydocker):
    """What is mounted in a container is there for the container alone, while it runs and after."""
    script = "mount -t tmpfs of-the-container /mnt; grep -c of-the /proc/mounts; read line"
    running = mydocker.start("run", "-i", "busybox", "sh", "-c", script, stdin=None)
    started(running, b"1")
    seen = [line for line in mydocker.host.mountinfo() if "of-the-container" in line]
    running.type(b"\n")
    call = expect(running.wait(), status=0, out="1\n")
    check(not seen, "the host does not see the mount", seen, call)


# Task 5: PID 1 and /proc


@task(5)
def test_proc_shows_the_processes_of_the_container_only(mydocker):
    """A new PID namespace alone does not change /proc: it shows the namespace that mounted it."""
    call = expect(mydocker("run", "--rm", "busybox", "ls", "/proc"), status=0)
    there = [name for name in call.text.split() if name.isdigit()]
    check(there == ["1"], "one process in /proc: 1", there, call)


@task(5)
def test_nothing_runs_in_between(mydocker):
    """/proc/1/cmdline is the user's command: no shell and no helper of ours sits on PID 1."""
    call = mydocker("run", "--rm", "busybox", "cat", "/proc/1/cmdline")
    expect(call, status=0, out=b"cat\0/proc/1/cmdline\0")


@task(5)
@pytest.mark.parametrize("propagation", ["shared", "private"])
def test_the_proc_of_the_host_stays(mydocker, propagation):
    """With systemd `/` is shared: a mount over /proc would cover the host's, unless it is private.

    On other machines it is private from the start, and `run` has to work there all the same.
    """
    before = mydocker.host.mountinfo()
    in_a_shell = ("unshare", "--mount", f"--propagation={propagation}")
    call = mydocker("run", "--rm", "busybox", "readlink", "/proc/self", before=in_a_shell)
    expect(call, status=0, out="1\n")
    same_mounts(mydocker, before, call)
    call = mydocker("run", "--rm", "busybox", "true")
    after = mydocker.host.run(["cat", "/proc/self/comm"], env=mydocker.env)
    check(after.text == "cat\n", "on the host, /proc/self is whoever looks at it", after, call)


# Task 6: A fresh process


@task(6)
def test_ignored_and_blocked_signals_are_not_inherited(mydocker):
    """exec keeps what is ignored and blocked: Python ignores SIGPIPE and SIGXFSZ, nohup SIGHUP."""
    caller = ("env", "--ignore-signal=INT,HUP,CHLD", "--block-signal=USR1,TERM")
    command = ("grep", "-E", "^Sig(Blk|Ign):", "/proc/1/status")
    call = mydocker("run", "--rm", "busybox", *command, before=caller)
    none = "0000000000000000"
    expect(call, status=0, out=f"SigBlk:\t{none}\nSigIgn:\t{none}\n")


@task(6)
@pytest.mark.parametrize(
    "caller",
    ["ignores all signals", "ignores SIGCHLD", pytest.param("blocks all signals", marks=guard)],
)
def test_the_status_is_known_whatever_the_caller_does_with_signals(mydocker, caller):
    """Where SIGCHLD is ignored, the kernel takes a child that ends away, and its status with it.

    Daemons ignore it, so that their children leave no zombies, and an exec keeps what is ignored.
    """
    call = mydocker("run", "--rm", "busybox", "false", before=CALLERS[caller])
    expect(call, status=1, out="", err="")


@task(6)
def test_the_umask_is_fresh(mydocker):
    """Files that the command makes must not be more or less open because of who called `run`."""
    caller = ("sh", "-c", 'umask 077; exec "$@"', "sh")
    expect(run(mydocker, "umask", before=caller), status=0, out="0022\n")


# Task 7: Signals


@task(7)
@pytest.mark.parametrize("name", ["TERM", "INT", "HUP"])
def test_a_signal_sent_to_run_reaches_the_command(mydocker, name):
    """Who ends `run` with Ctrl-C or `kill` means the container: it must get the signal."""
    script = f'trap "echo {name}; exit" {name}; echo ready; while :; do sleep 777 & wait; done'
    running = started(mydocker.start("run", "busybox", "sh", "-c", script))
    running.send(signal.Signals[f"SIG{name}"])
    expect(running.wait(), out=f"ready\n{name}\n")


@task(7)
def test_each_signal_reaches_the_command(mydocker):
    """A second SIGTERM is no command to `run` itself: it hands on this one, too, and goes on."""
    script = "n=0; trap 'n=$((n + 1)); echo $n' TERM; trap 'echo INT; exit' INT; echo ready"
    script += "; while :; do sleep 777 & wait; done"
    running = started(mydocker.start("run", "busybox", "sh", "-c", script))
    for number in (b"1", b"2", b"3"):
        running.send(signal.SIGTERM)
        started(running, number)
    running.send(signal.SIGINT)
    expect(running.wait(), out="ready\n1\n2\n3\nINT\n")


@task(7)
def test_a_signal_that_the_command_does_not_handle_is_ignored(mydocker):
    """PID 1 has no default actions: the kernel drops a SIGTERM that it has no handler for."""
    script = "echo ready; read line; echo $line"
    running = started(mydocker.start("run", "-i", "busybox", "sh", "-c", script, stdin=None))
    running.send(signal.SIGTERM)
    mydocker.host.until(lambda: has_taken_its_signals(running.pid))
    with contextlib.suppress(BrokenPipeError):
        running.type(b"still here\n")
    expect(running.wait(), out="ready\nstill here\n")


@task(7)
@vm
@guard  # with -it the command is in the caller's group, and has the terminal's signals
def test_ctrl_c_reaches_the_command(mydocker):
    """The terminal sends SIGINT to what runs in its foreground; with -it that is the container."""
    # A line of its own: the terminal echoes ^C before it.
    script = 'trap "echo; echo INT; exit" INT; echo ready; while :; do sleep 777 & wait; done'
    words = ("run", "-it", "busybox", "sh", "-c", script)
    running = started(mydocker.start(*words, terminal=True))
    running.type(b"\x03")
    call = expect(running.wait())
    check("INT" in call.text.splitlines(), "INT, from the command", call.text, call)


@task(7)
def test_ctrl_c_comes_once_without_t(mydocker):
    """The terminal sends SIGINT to all that is in its foreground, and `run` passes it on.

    A command that is in the foreground beside `run` gets it twice: many take two for "at once!".
    """
    script = "n=0; trap 'n=$((n + 1))' INT; trap 'echo; echo INT came: $n; exit' TERM"
    script += "; echo ready"
    script += "; while :; do sleep 777 & wait; done"
    running = started(mydocker.start("run", "busybox", "sh", "-c", script, terminal=True))
    type_ctrl_c(running, first_process(running).pid)
    running.send(signal.SIGTERM)
    call = running.wait()
    once = "INT came: 1" in call.text.splitlines()
    check(once, "SIGINT comes once: the line `INT came: 1`", call.text, call)


# Task 8: The monitor


@task(8)
@ours
def test_the_container_dies_with_its_monitor(mydocker):
    """SIGKILL leaves `run` no time to clean up. The kernel has to end the container for it."""
    mydocker.may_leave("cgroup", "file")  # until 5.6, nothing clears these away after a crash
    running = sleeping(mydocker)
    first_process(running)
    running.send(signal.SIGKILL)
    call = running.wait()
    host = mydocker.host
    left = host.until(lambda: not host.processes()) or host.processes()
    check(left is True, "no process of the container is left", left, call)


@task(8)
@ours
@needs("unotify")
def test_a_parent_that_died_just_before_is_noticed(mydocker):
    """prctl(PR_SET_PDEATHSIG) is about deaths to come. For one that has been, no signal comes.

    Here `run` is killed right before its child calls prctl: nobody would ever end the container.
    """
    mydocker.may_leave("cgroup", "file")  # until 5.6, nothing clears these away after a crash
    host, words = mydocker.host, ("run", "busybox", "sleep", "1000")
    crash_point = CrashPoint(None, also=["prctl"])
    running = mydocker.start(*words, crash_point=crash_point)
    with crash_point:
        first_process(running)
        running.kill()
    left = host.until(lambda: not host.processes()) or host.processes()
    check(left is True, "no process of the container is left, killed later", left, running.wait())
    for number in [n for n, name in enumerate(crash_point.seen) if name == "prctl"]:
        held = CrashPoint(number, also=["prctl"])
        running = mydocker.start(*words, crash_point=held)
        with held:
            running.kill()
            host.until(running.has_ended)
        left = host.until(lambda: not host.processes()) or host.processes()
        check(left is True, "no process of the container is left", left, running.wait())
