"""Chapter 5.4: another process joins a container that runs."""

import contextlib
import io
import os
import random
import signal
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dojo import clone
from dojo.scratch import Call, Process, Running
from dojo.scratch.groups import groups_of
from dojo.testkit import rootfs
from dojo.testkit.callers import (
    another_pid_namespace,
    few_processes,
    in_a_chroot,
    in_two_pieces,
    is_refused_elsewhere,
    non_blocking,
)
from dojo.testkit.containers import (
    container_process,
    container_processes,
    detached,
    end,
    end_detached,
    end_process,
    monitor_of,
    nothing_beside,
    process_called,
    showed,
    started,
    wait_for_text,
)
from dojo.testkit.crash_points import crash_points
from dojo.testkit.mydocker import Mydocker
from dojo.testkit.readings import number_in, state_of, type_ctrl_c
from dojo.testkit.records import listed
from dojo.testkit.testing import check, examples, expect, guard, needs, ours, task, vm

STAY = ("sleep", "1000")
SHOW_OWN_ARGUMENTS = ("sh", "-c", "cat /proc/$$/cmdline; exit 0", "sh")
KILLED = 128 + 9  # by SIGKILL, which has no name where tests are only collected
ODD_TEXT = st.text(alphabet=" \n\t'\"\\$;`*?-äñ€\u2028", max_size=10)
ODD_WORDS = ["", "-i", "--", "a;b", "a  b", "$HOME", "`id`"]
CRASH_POINTS = 8  # at most, at which a container ends while somebody joins it


# Task 1: Into the same world


@task(1)
def test_a_command_runs_in_a_container_that_is_there(mydocker):
    """`exec` starts one more program in a container, so that you can look around in there."""
    with box(mydocker):
        expect(mydocker("exec", "box", "echo", "a", "b"), status=0, out="a b\n", err="")


@task(1)
def test_a_container_is_found_by_id_by_name_and_by_the_start_of_its_id(mydocker):
    """What `run -d` and `ps` show is what people copy: the whole id, twelve digits, the name."""
    with box(mydocker):
        (identity,) = (row["ID"] for row in listed(mydocker))
        for name in (identity, identity[:12], identity[:5], "box"):
            call = mydocker("exec", name, "cat", "/proc/sys/kernel/hostname")
            expect(call, status=0, out=f"{identity[:12]}\n", err="")


@task(1)
@vm
def test_it_is_in_all_namespaces_of_the_container(mydocker):
    """One that is left out is a hole: the command would see that part of the host instead."""
    with box(mydocker) as first:
        wanted = namespaces_of(first.pid)
        script = "for name; do echo $name $(readlink /proc/self/ns/$name); done"
        call = expect(mydocker("exec", "box", "sh", "-c", script, "sh", *wanted), status=0, err="")
    found = dict(line.partition(" ")[::2] for line in call.text.splitlines())
    others = {name: number for name, number in found.items() if number != wanted.get(name)}
    check(not others and len(found) == len(wanted), f"those of PID 1: {wanted}", found, call)


@task(1)
@ours
def test_its_root_is_the_containers_also_where_that_was_started_in_a_chroot(mydocker, tmp_path):
    """setns(2) leads to the root of a mount namespace. If `run` was called in a chroot, that need
    not be the container's, and a command would find itself among the host's files.
    """
    caller = in_a_chroot(mydocker, tmp_path / "top")
    identity = detached(mydocker, "--rm", "--name", "box", "busybox", *STAY, before=caller)
    first = container_process(mydocker, identity)
    call = execute(mydocker, "test ! -e /of-the-host && echo of exec > /mine")
    expect(call, status=0, out="", err="")
    mine = Path(f"/proc/{first.pid}/root/mine")
    check(mine.exists(), "what it has written is in the container", "it is not there", call)
    end_process(mydocker, first)


@task(1)
def test_it_sees_the_processes_of_the_container(mydocker):
    """It is one more process beside PID 1, with a number of its own in the same PID namespace."""
    with box(mydocker):
        call = mydocker("exec", "box", "cat", "/proc/1/cmdline")
        expect(call, status=0, out=b"sleep\x001000\0", err="")
        call = expect(execute(mydocker, 'test -e "/proc/$$/root" && echo $$'), status=0, err="")
        check(number_in(call) > 1, "a PID of its own, which is not 1", call.text, call)


@task(1)
def test_it_sees_the_files_of_the_container(mydocker):
    """What PID 1 wrote is there, and what the new one writes is there for all who come later."""
    wait = f"test ! -e '{mydocker.root}' && echo of PID 1 > /tmp/first; exec sleep 1000"
    with box(mydocker, command=("sh", "-c", wait)) as first:
        wait_for_text(mydocker, Path(f"/proc/{first.pid}/root/tmp/first"))
        call = execute(mydocker, "cat /tmp/first; echo of exec > /tmp/second")
        expect(call, status=0, out="of PID 1\n", err="")
        expect(execute(mydocker, "cat /tmp/second"), status=0, out="of exec\n", err="")


@task(1)
def test_it_sees_what_is_mounted_there(mydocker, tmp_path):
    """A mount belongs to a mount namespace: in the same one, everybody has the same mounts."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "file").write_text("of the host\n")
    with box(mydocker, "-v", f"{folder}:/data"):
        script = "cat /data/file; mount -t tmpfs of-the-container /mnt && echo new > /mnt/new"
        expect(execute(mydocker, script), status=0, out="of the host\n", err="")
        expect(execute(mydocker, "cat /mnt/new"), status=0, out="new\n", err="")
        seen = [line for line in mydocker.host.mountinfo() if "of-the-container" in line]
        check(not seen, "the host does not see the mount", seen)


@task(1)
def test_it_starts_in_the_root_of_the_container(mydocker, tmp_path):
    """A working directory that stays behind on the host is a way out, whatever the root is."""
    with box(mydocker):
        for directory in (mydocker.directory, tmp_path):
            call = mydocker("exec", "box", "sh", "-c", "pwd; ls -d bin proc", cwd=directory)
            expect(call, status=0, out="/\nbin\nproc\n", err="")


@task(1)
def test_it_joins_a_container_in_the_foreground(mydocker):
    """Somebody else's `run` is a container, too: look into it from a second terminal."""
    script = "echo ready; exec sleep 1000"
    words = ("run", "--rm", "--name", "box", "busybox", "sh", "-c", script)
    running = started(mydocker.start(*words))
    expect(mydocker("exec", "box", "cat", "/proc/1/comm"), status=0, out="sleep\n", err="")
    end(running)


@task(1)
def test_the_exit_status_is_that_of_the_command(mydocker):
    """A script that asks something in a container decides by the status, as everywhere."""
    with box(mydocker):
        for status in (0, *random.sample(range(2, 125), 2)):
            expect(execute(mydocker, f"exit {status}"), status=status, out="", err="")


@task(1)
def test_a_command_that_is_killed_ends_with_128_and_the_signal(mydocker):
    """It is not PID 1, so the kernel does not shield it from signals, not even from its own."""
    with box(mydocker):
        expect(execute(mydocker, "exit 7"), status=7)
        for name in ("KILL", "TERM"):
            call = execute(mydocker, f"kill -{name} $$; sleep 1000")
            expect(call, status=128 + signal.Signals[f"SIG{name}"], out="")


@task(1)
def test_a_command_that_is_not_there_is_127(mydocker):
    """The same answer as from `run`: scripts can tell it from what the command itself says."""
    with box(mydocker) as first:
        expect(mydocker("exec", "box", "true"), status=0)
        for command in ("no-such-command", "/no/such/command", "/etc/passwd/x", ""):
            call = mydocker("exec", "box", command, "--with-an-argument")
            expect(call, status=127, out="", complaint=[command])
        nothing_beside(mydocker, first)


@task(1)
def test_a_command_that_cannot_be_executed_is_126(mydocker):
    """It is there, but it is a directory, or nobody may execute it."""
    with box(mydocker) as first:
        expect(mydocker("exec", "box", "/bin/true"), status=0)
        for command in ("/etc/passwd", "/etc"):
            call = mydocker("exec", "box", command)
            expect(call, status=126, out="", complaint=[command])
        nothing_beside(mydocker, first)


@task(1)
@ours
def test_a_file_that_is_no_program_is_126(mydocker):
    """A shell would take over and read it as a script. `exec` is no shell."""
    script = "echo 'echo started' > /tmp/nothing; chmod 755 /tmp/nothing"
    with box(mydocker) as first:
        expect(execute(mydocker, script), status=0, out="", err="")
        expect(mydocker("exec", "box", "sh", "/tmp/nothing"), status=0, out="started\n")
        call = mydocker("exec", "box", "/tmp/nothing")
        expect(call, status=126, out="", complaint=["/tmp/nothing"])
        nothing_beside(mydocker, first)


@task(1)
def test_the_path_of_the_caller_does_not_matter(mydocker):
    """A bare name is looked up in the container's PATH, among the container's files."""
    with box(mydocker):
        for path in ("", "/nonexistent"):
            call = mydocker("exec", "box", "true", env={"PATH": path})
            expect(call, status=0, err="")


@task(1)
def test_the_streams_are_those_of_the_command_to_the_byte(mydocker):
    """Whoever pipes `exec` into a program wants what the command wrote, and nothing else."""
    with box(mydocker):
        call = execute(mydocker, "printf out; printf err >&2; exit 3")
        expect(call, status=3, out="out", err="err")
        call = expect(execute(mydocker, "head -c 1000000 /dev/zero; printf end"), status=0, err="")
    check(call.out == bytes(1000000) + b"end", "a million zeros, and `end`", f"{len(call.out)}")


@task(1)
def test_stdin_is_attached_with_i(mydocker):
    """`exec -i box tar x < archive` is how files get in; where the input ends, `cat` ends."""
    content = random.randbytes(200_000)
    with box(mydocker):
        call = expect(mydocker("exec", "-i", "box", "cat", stdin=content), status=0, err="")
    check(call.out == content, "every byte of stdin comes back on stdout", f"{len(call.out)} bytes")


@task(1)
def test_a_terminal_is_handed_on_with_it(mydocker):
    """`exec -it box sh` is for a shell to type into. /dev/tty is the terminal that you are at."""
    with box(mydocker):
        script = "test -t 0 && test -t 1 && test -t 2 && read line && echo it was $line > /dev/tty"
        running = mydocker.start("exec", "-it", "box", "sh", "-c", script, terminal=True)
        running.type(b"typed\n")
        call = expect(running.wait(), status=0)
    check("it was typed" in call.text.splitlines(), "`it was typed`", call.text, call)


@task(1)
def test_what_follows_the_container_belongs_to_the_command(mydocker):
    """Options end at CONTAINER: what looks like one behind it is the command's own word."""
    words = ("echo", "-i", "-t", "-e", "X=1", "--", "x")
    with box(mydocker):
        expect(mydocker("exec", "--", "box", *words), status=0, out="-i -t -e X=1 -- x\n", err="")


@task(1)
def test_every_argument_arrives_as_it_is(mydocker):
    """Joined with blanks and given to a shell, `a;b` would be two commands, and `''` nothing."""

    @settings(
        max_examples=examples(usual=20, least=5),
        deadline=None,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    @given(arguments=st.lists(st.one_of(ODD_TEXT, st.sampled_from(ODD_WORDS)), max_size=6))
    def any_of_them(arguments: list[str]) -> None:
        round_trip(mydocker, [argument.encode() for argument in arguments])

    with box(mydocker):
        any_of_them()


@task(1)
@ours
def test_any_bytes_and_long_arguments_arrive(mydocker):
    """Any byte but NUL may come, 128 KiB in one argument; and a pipe holds 64 KiB."""
    with box(mydocker):
        round_trip(mydocker, [bytes(range(1, 256)), b"", b"\xff"])
        for arguments in ([100 * 1024], [100 * 1024] * 10):
            round_trip(mydocker, [bytes(random.choices(range(1, 256), k=n)) for n in arguments])


@task(1)
def test_no_shell_is_needed(mydocker, tmp_path):
    """Many images have one program and no shell. Who starts commands through `sh` fails there."""
    tar = tmp_path / "bare.tar"
    tar.write_bytes(image_of("printf", "sleep", "ls"))
    expect(mydocker("import", str(tar), "bare"), status=0)
    with box(mydocker, image="bare"):
        expect(mydocker("exec", "box", "ls", "/bin"), status=0, out="busybox\nls\nprintf\nsleep\n")
        call = mydocker("exec", "box", "printf", "[%s]", "a;b", "c d", "$HOME", "")
        expect(call, status=0, out="[a;b][c d][$HOME][]", err="")
        expect(mydocker("exec", "box", "sh", "-c", "exit 0"), status=127, out="", complaint=["sh"])


@task(1)
def test_the_container_goes_on(mydocker):
    """Whoever looks in must not change it: PID 1 is as before, and no zombie stays behind."""
    with box(mydocker) as first:
        for script in ("exit 3", "kill -9 $$", "sleep 0 & wait"):
            expect(execute(mydocker, f"echo ran; {script}"), out="ran\n")
        nothing_beside(mydocker, first)
        now = container_process(mydocker)
        check(now == first, f"still {first}", now)
        states = [row["State"] for row in listed(mydocker)]
        check(states == ["running"], "one container, which is running, as `ps` says", states)


@task(1)
def test_many_can_join_at_once(mydocker):
    """No command waits for another one: a shell that stays open must not lock the others out."""
    with box(mydocker):
        words = ("exec", "-i", "box", "sh", "-c", "echo ready; read line; echo $0 $line; exit $0")
        there = [started(mydocker.start(*words, str(n), stdin=None)) for n in range(6)]
        for number, running in reversed(list(enumerate(there))):
            running.type(f"line {number}\n".encode())
            expect(running.wait(), status=number, out=f"ready\n{number} line {number}\n", err="")


@task(1)
def test_when_pid_1_ends_the_command_ends(mydocker):
    """PID 1 takes all of its PID namespace along. Who waits for one of them is told: 137."""
    with box(mydocker):
        running = started(mydocker.start("exec", "box", "sh", "-c", "echo ready; exec sleep 777"))
    expect(running.wait(), status=KILLED, out="ready\n")


@task(1)
@ours
def test_the_container_can_end_where_the_hosts_first_process_collects_nobody(mydocker):
    """A PID namespace is gone when each process in it has been waited for, that of `exec` too.

    Who has not waited for it leaves that to PID 1 of the host. In a development container that may
    be a `sleep`, which waits for nobody: then the container never ends.
    """
    with another_pid_namespace(mydocker) as inside:
        identity = detached(mydocker, "--name", "box", "busybox", "sleep", "1000", before=inside)
        expect(mydocker("exec", "box", "echo", "hello", before=inside), status=0, out="hello\n")
        os.kill(container_process(mydocker, identity).pid, signal.SIGKILL)
        host, look = mydocker.host, ("ps", "-a")
        ended = host.until(lambda: "Exited (137)" in mydocker(*look, before=inside).text)
        call = mydocker(*look, before=inside)
        check(ended, "`Exited (137)`: PID 1 of the container was killed", call.text, call)


@task(1)
def test_an_unknown_container_is_told(mydocker, tmp_path):
    """There is nothing to join. The one thing that must not happen is to run it right here."""
    with box(mydocker):
        expect(execute(mydocker, "echo ran"), status=0, out="ran\n")
        for name in ("nosuch", "bo", "boxx", "0" * 64):
            refused(mydocker, tmp_path, name)


@task(1)
def test_the_wrong_number_of_arguments_is_told(mydocker):
    """Without a command there is nothing to do. That is status 1, and nothing runs."""
    with box(mydocker) as first:
        expect(mydocker("exec", "box", "true"), status=0)
        for words in ([], ["box"], ["-i", "box"]):
            call = expect(mydocker("exec", *words), status=1, out="")
            check("exec" in call.errors, "a message that names `exec`", call.errors, call)
        nothing_beside(mydocker, first)


@task(1)
def test_a_wrong_option_is_refused(mydocker):
    """An option that is skipped silently was meant to do something."""
    with box(mydocker):
        expect(mydocker("exec", "-i", "box", "echo", "ran"), status=0, out="ran\n")
        for options in (["--no-such-option"], ["-x"], ["-iy"]):
            call = expect(mydocker("exec", *options, "box", "echo", "ran"), status=125, out="")
            option = options[-1].lstrip("-")  # docker names 'y' in -iy, Go's flag package all of it
            named = f"-{option}" in call.errors or f"'{option[-1]}'" in call.errors
            check(named, f"a message that names {options[-1]}", call.errors, call)


# Task 2: Its groups and its environment


@task(2)
@vm
@needs("cgroup")
def test_it_is_in_the_groups_of_the_container(mydocker):
    """Limits hold for groups. Outside of them, the new process could take what it wants."""
    with box(mydocker, "-m", "64m", "--pids-limit", "20") as first:
        running = mydocker.start("exec", "box", "sleep", "777")
        joined = process_called(mydocker, "sleep 777", running)
        wanted, found = groups_of(first.pid), groups_of(joined.pid)
        others = [name for name in wanted if found.get(name) != wanted[name]]
        expected = "; ".join(f"{name} {wanted[name]}" for name in others)
        there = "; ".join(f"{name} {found.get(name)}" for name in others)
        check(not others, f"the groups of PID 1: {expected}", there)
        os.kill(joined.pid, signal.SIGKILL)
        expect(running.wait(), status=KILLED)


@task(2)
@needs("cgroup")
def test_the_limit_on_memory_holds_for_it(mydocker):
    """What a container may have is for all of its processes together, however they came in."""
    with box(mydocker, "-m", "32m"):
        take = ("dd", "if=/dev/zero", "of=/dev/null", "count=1")
        expect(mydocker("exec", "box", *take, "bs=1M"), status=0)
        expect(mydocker("exec", "box", *take, "bs=64M"), status=KILLED)


@task(2)
def test_it_has_the_environment_of_the_container(mydocker):
    """Variables are passwords and addresses as often as not: the caller's are not for in there."""
    with box(mydocker):
        wanted = expect(mydocker("exec", "box", "cat", "/proc/1/environ"), status=0).out
        hostile = {
            "HOSTVAR": "1",
            "PATH": f"/nonexistent:{os.environ['PATH']}",
            "HOME": "/home/caller",
        }
        call = mydocker("exec", "box", "cat", "/proc/self/environ", env=hostile)
    expect(call, status=0, err="")
    found = sorted(call.out.split(b"\0"))
    check(found == sorted(wanted.split(b"\0")), f"PID 1's: {wanted!r}", call.out, call)
    check(b"HOSTVAR=1" not in found, "not the caller's HOSTVAR", call.out, call)


@task(2)
def test_e_adds_a_variable(mydocker):
    """`-e K=V` sets a variable for this one command. The others in there never see it."""
    options = ("-e", "ONE=1", "-e", "TWO=a  b=c", "--env", "NONE=", "-e", "ONE=last")
    with box(mydocker):
        call = mydocker("exec", *options, "box", "env")
        expect(call, status=0, err="")
        lines = call.text.splitlines()
        for wanted in ("ONE=last", "TWO=a  b=c", "NONE="):
            check(wanted in lines, f"a line {wanted}", call.text, call)
        names = [line.partition("=")[0] for line in lines]
        check(len(set(names)) == len(names), "each name once", names, call)
        check("PATH" in names, "the rest as it was", call.text, call)
        call = mydocker("exec", "box", "env")
        expect(call, status=0)
        check("ONE=" not in call.text, "none of them in the next command", call.text, call)


@task(2)
def test_e_wins_over_the_variables_of_the_container(mydocker):
    """What is typed for this command counts more than what was there for all of them."""
    with box(mydocker):
        call = mydocker("exec", "-e", "PATH=/nowhere", "box", "/bin/sh", "-c", 'echo "$PATH"')
        expect(call, status=0, out="/nowhere\n", err="")


# Task 3: Streams, signals and the end


@task(3)
def test_stdin_is_empty_without_i(mydocker):
    """Without `-i` the input stays the caller's: a loop that reads lines must not lose any."""
    mine, other = os.pipe()
    os.write(other, b"a line for the caller\n")
    with box(mydocker):
        call = mydocker("exec", "box", "cat", stdin=mine)
    os.close(other)
    left = os.read(mine, 100)
    os.close(mine)
    expect(call, status=0, out="", err="")
    check(left == b"a line for the caller\n", "the caller can still read its line", left, call)


@task(3)
def test_streams_that_do_not_wait_lose_nothing(mydocker):
    """The caller's streams may be non-blocking, with which hardly any command can cope."""
    content = b"one line\n" * 100
    with box(mydocker):
        call = in_two_pieces(mydocker, "exec", "-i", "box", "cat", content=content)
        expect(call, status=0, out=content, err="")
        script = "dd if=/dev/zero bs=8000000 count=1 2>/dev/null && exit 7"
        words = ("exec", "box", "sh", "-c", script)
        call = expect(mydocker(*words, before=non_blocking(1)), status=7, err="")
        check(call.out == bytes(8000000), "8000000 zeros", f"{len(call.out)} bytes", call)


@task(3)
def test_it_without_a_terminal_is_refused(mydocker):
    """A shell that waits for a terminal that is not there would hang: better to say so at once."""
    with box(mydocker):
        good = mydocker.start("exec", "-it", "box", "echo", "started", terminal=True).wait()
        expect(good, status=0, out="started\r\n")
        call = mydocker("exec", "-it", "box", "echo", "started", stdin=b"typed\n")
        expect(call, status=1, out="")
    named = "terminal" in call.errors.lower() or "tty" in call.errors.lower()
    check(named, "a message that says that stdin is no terminal", call.errors, call)


@task(3)
def test_the_command_has_three_descriptors(mydocker):
    """A descriptor that goes in is a door: an open directory of the host's is a way out.

    Those of the caller's, and those that `exec` itself has opened to find its way in.
    """
    script = "ls /proc/$$/fd; echo end"
    held = [os.open("/", os.O_RDONLY) for _ in range(7)]
    with box(mydocker):
        for options in ((), ("-i",)):
            words = ("exec", *options, "box", "sh", "-c", script)
            expect(mydocker(*words, holding=held), status=0, out="0\n1\n2\nend\n", err="")
    for descriptor in held:
        os.close(descriptor)


@task(3)
def test_ignored_and_blocked_signals_and_the_umask_are_fresh(mydocker):
    """exec(2) keeps them. What the caller ignores is not what the command wants ignored."""
    caller = ("env", "--ignore-signal=INT,HUP,CHLD", "--block-signal=USR1,TERM")
    command = ("grep", "-E", "^Sig(Blk|Ign):", "/proc/self/status")
    none = "0000000000000000"
    with box(mydocker):
        call = mydocker("exec", "box", *command, before=caller)
        expect(call, status=0, out=f"SigBlk:\t{none}\nSigIgn:\t{none}\n", err="")
        masked = ("sh", "-c", 'umask 077; exec "$@"', "sh")
        expect(execute(mydocker, "umask", before=masked), status=0, out="0022\n", err="")


@task(3)
@ours
def test_an_exec_that_is_killed_leaves_no_process(mydocker):
    """SIGKILL leaves it no time to do anything. The process in there must not stay for ever."""
    with box(mydocker) as first:
        for options in ((), ("-i",), ("-t",), ("-it",)):
            words = ("exec", *options, "box", "sleep", "777")
            running = mydocker.start(*words, terminal=options == ("-it",))
            process_called(mydocker, "sleep 777", running)
            running.stop()
            nothing_beside(mydocker, first)


@task(3)
def test_each_signal_reaches_the_command(mydocker):
    """Who sends a signal to `exec` means the command, the second time as well."""
    script = "n=0; trap 'n=$((n + 1)); echo $n' TERM; trap 'exit 4$n' INT; echo ready"
    script += "; while :; do sleep 777 > /dev/null 2>&1 & wait; done"
    with box(mydocker):
        running = started(mydocker.start("exec", "box", "sh", "-c", script))
        for number in (b"1", b"2", b"3"):
            running.send(signal.SIGTERM)
            started(running, number)
        running.send(signal.SIGINT)
        expect(running.wait(), status=43)


@task(3)
def test_ctrl_c_comes_once_without_t(mydocker):
    """As for `run`: from the terminal itself, or handed on by `exec`, and not both."""
    script = "n=0; trap 'n=$((n + 1))' INT; trap 'exit 4$n' TERM; echo ready"
    script += "; while :; do sleep 777 > /dev/null 2>&1 & wait; done"
    with box(mydocker):
        running = started(mydocker.start("exec", "box", "sh", "-c", script, terminal=True))
        own = running.pid
        (command,) = [each.pid for each in running.descendants() if each.parent == own]
        type_ctrl_c(running, command)
        running.send(signal.SIGTERM)
        call = running.wait()
        check(call.status == 41, "SIGINT comes once (status 41), not twice (42)", call.status, call)


# Task 4: Never on the host


@task(4)
@pytest.mark.parametrize("how", ["by itself", "killed", "with its monitor"])
def test_a_container_that_has_ended_is_told(mydocker, tmp_path, how):
    """Its namespaces are gone. What goes on without them, goes on as root on the host."""
    if how == "with its monitor":
        mydocker.may_leave("cgroup", "file")  # until 5.6, nothing clears these away after a crash
    script = "until test -e /tmp/end; do sleep 0.1; done"
    detached(mydocker, "--name", "box", "busybox", "sh", "-c", script)
    first = container_process(mydocker)
    expect(execute(mydocker, "echo ran"), status=0, out="ran\n")
    if how == "by itself":
        execute(mydocker, "touch /tmp/end")  # it may be killed with the container
    if how == "killed":
        os.kill(first.pid, signal.SIGKILL)
    if how == "with its monitor":
        os.kill(monitor_of(mydocker, first).pid, signal.SIGKILL)
    mydocker.host.until(lambda: not listed(mydocker))
    refused(mydocker, tmp_path, "box")


@task(4)
@ours
def test_a_first_process_that_nobody_has_waited_for_has_ended(mydocker, tmp_path):
    """PID 1 is dead, and its number still taken: a zombie. It has no namespaces any more."""
    with box(mydocker) as first:
        expect(execute(mydocker, "echo ran"), status=0, out="ran\n")
        monitor = monitor_of(mydocker, first)
        os.kill(monitor.pid, signal.SIGSTOP)
        os.kill(first.pid, signal.SIGKILL)
        mydocker.host.until(lambda: state_of(first.pid) == "Z")
        refused(mydocker, tmp_path, "box")
        os.kill(monitor.pid, signal.SIGCONT)


@task(4)
@ours
def test_a_container_in_another_pid_namespace_is_not_joined(mydocker):
    """The PID in the record is that of another process here, or of none. Which one is meant?

    And no command runs, in there or here.
    """
    with box(mydocker):
        expect(execute(mydocker, "echo ran"), status=0, out="ran\n")
        is_refused_elsewhere(mydocker, "exec", "box", "echo", "ran")


@task(4)
@ours
def test_a_pid_that_is_used_again_is_not_joined(mydocker, tmp_path):
    """The record has the PID of PID 1. After the end, that number goes to somebody else.

    The new owner is a process of the host. To join its namespaces is to run on the host.
    """
    mydocker.may_leave("cgroup", "file")  # until 5.6, nothing clears these away after a crash
    detached(mydocker, "--name", "box", "busybox", *STAY)
    expect(execute(mydocker, "echo ran"), status=0, out="ran\n")
    first = container_process(mydocker)
    # So that nobody writes down that it has ended.
    os.kill(monitor_of(mydocker, first).pid, signal.SIGKILL)
    mydocker.host.until(lambda: state_of(first.pid) == "")
    stranger, process = stranger_with_pid(mydocker, first.inner)
    refused(mydocker, tmp_path, "box")
    os.kill(process.pid, signal.SIGKILL)
    stranger.wait()


@task(4)
@ours
@guard  # the wrapper of setns(2) raises, so nothing goes on
@pytest.mark.parametrize("capability", ["sys_admin", "sys_chroot"])
def test_what_cannot_join_does_not_run(mydocker, tmp_path, capability):
    """setns(2) can fail, for some namespaces or for all. Then there is an error, and no command.

    Without CAP_SYS_ADMIN no namespace can be joined; without CAP_SYS_CHROOT all but the mounts.
    """
    with box(mydocker) as first:
        harmless = without("sys_time")
        expect(execute(mydocker, "echo ran", before=harmless), status=0, out="ran\n")
        call = refused(mydocker, tmp_path, "box", status=None, before=without(capability))
        check("permi" in call.errors.lower(), "a message that says why", call.errors, call)
        check(call.status in (1, 125), "a status that says that it failed", call.status, call)
        nothing_beside(mydocker, first)


@task(4)
@needs("unotify")
def test_a_container_that_ends_at_this_moment(mydocker, tmp_path):
    """It was there when `exec` looked, and is gone when `exec` joins: in, or not at all."""
    marker = tmp_path / "marker"
    marker.write_text("of the host\n")
    script = f"echo ran; cat '{marker}' 2> /dev/null; exit 0"
    identity = detached(mydocker, "--rm", "--name", "box", "busybox", *STAY)
    expect(mydocker("exec", "box", "sh", "-c", script), status=0, out="ran\n")
    end_detached(mydocker, identity)
    for crash_point in crash_points(CRASH_POINTS, looks=True):
        identity = detached(mydocker, "--rm", "--name", "box", "busybox", *STAY)
        running = mydocker.start("exec", "box", "sh", "-c", script, crash_point=crash_point)
        process = container_process(mydocker, identity)
        with crash_point:
            os.kill(process.pid, signal.SIGKILL)
        call = expect(running.wait())
        end_process(mydocker, process)
        check(call.status in (0, 1, KILLED), "status 0, 1 or 137", call.status, call)
        check(call.out in (b"", b"ran\n"), "nothing of the host's files", call.text, call)
        if call.status == 1:
            expect(call, out="", complaint=["box"])


@task(4)
@ours
def test_an_exec_without_processes_is_told(mydocker):
    """The kernel may have no process for `exec`. The container runs all the same: that is 125."""
    with box(mydocker) as first:
        for most in range(1, 20):
            with few_processes(mydocker, most) as before:
                call = mydocker("exec", "box", "sh", "-c", "echo ran; exit 7", before=before)
            if call.status == 7:
                break
            expect(call, status=125, out="", complaint=["Resource temporarily unavailable"])
            nothing_beside(mydocker, first)
        expect(call, status=7, out="ran\n", err="")


# What the tests are made of


@contextlib.contextmanager
def box(
    mydocker: Mydocker, *options: str, image: str = "busybox", command: tuple[str, ...] = STAY
) -> Iterator[Process]:
    """A detached container called `box`, which goes on running until the block ends. Its PID 1."""
    words = ("--rm", "--name", "box", *options, image, *command)
    identity = detached(mydocker, *words)
    yield container_process(mydocker, identity)
    for process in container_processes(mydocker, identity):  # it may be about to end
        end_process(mydocker, process)


def execute(mydocker: Mydocker, script: str, **more) -> Call:
    """A script in the box; not where it would see the host's files, for it could change them."""
    outside = f"test ! -e '{mydocker.root}' || {{ echo this is the host >&2; exit 99; }}"
    return mydocker("exec", "box", "sh", "-c", f"{outside}\n{script}", **more)


def refused(
    mydocker: Mydocker,
    tmp_path: Path,
    name: str,
    status: int | None = 1,
    before: tuple[str, ...] = (),
) -> Call:
    """Expect that `exec` says no, and that the command has run nowhere, least of all here."""
    __tracebackhide__ = True
    there, made = tmp_path / "there", tmp_path / "made"
    there.write_text("of the host\n")
    script = f"echo ran; cat '{there}'; : > '{made}'"
    call = mydocker("exec", name, "sh", "-c", script, before=before)
    check(not made.exists(), "nothing runs on the host", f"{made} was made there", call)
    return expect(call, status=status, out="", complaint=[name] if status else [])


def round_trip(mydocker: Mydocker, arguments: list[bytes]) -> None:
    """Expect the command to find these arguments, to the byte."""
    __tracebackhide__ = True
    command = [*SHOW_OWN_ARGUMENTS, *arguments]
    call = expect(mydocker("exec", "box", *command), status=0, err="")
    wanted = b"".join(os.fsencode(word) + b"\0" for word in command)
    found = call.out if len(call.out) < 1000 else f"{len(call.out)} bytes"
    check(call.out == wanted, f"{wanted[:1000]!r}, {len(wanted)} bytes", found, call)


def namespaces_of(pid: int) -> dict[str, str]:
    """The numbers of a process's namespaces: {"uts": "uts:[4026531838]", …}."""
    names = (name for name in os.listdir(f"/proc/{pid}/ns") if "_for_children" not in name)
    return {name: os.readlink(f"/proc/{pid}/ns/{name}") for name in names}


def stranger_with_pid(mydocker: Mydocker, inner: int) -> tuple[Running, Process]:
    """A process of the host's that has this PID there. What has started it, and itself."""
    __tracebackhide__ = True
    script = f"""echo {inner - 1} > /proc/sys/kernel/ns_last_pid; sleep 777 & echo $!
        echo $$ > /proc/sys/kernel/ns_last_pid; wait"""  # new numbers for those who come later
    running = mydocker.host.start(["sh", "-c", script], env=mydocker.env)
    showed(running, b"\n")
    found = [process for process in running.descendants() if process.inner == inner]
    check(found, f"a process of the host's with the PID {inner}", running.out)
    return running, found[0]


def without(capability: str) -> tuple[str, ...]:
    return ("setpriv", f"--bounding-set=-{capability}", f"--inh-caps=-{capability}")


def image_of(*names: str) -> bytes:
    """A tar file of an image that has busybox under these names, and no other program."""
    with tarfile.open(rootfs.ensure(clone.here())) as archive:
        busybox = archive.extractfile("bin/busybox").read()
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for directory in ("bin", "dev", "proc", "sys", "tmp"):
            member = tarfile.TarInfo(directory)
            member.type, member.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(member)
        member = tarfile.TarInfo("bin/busybox")
        member.size, member.mode = len(busybox), 0o755
        archive.addfile(member, io.BytesIO(busybox))
        for name in names:
            member = tarfile.TarInfo(f"bin/{name}")
            member.type, member.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(member)
    return file.getvalue()
