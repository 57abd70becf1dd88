"""Chapter 5.6: take a container away, and all that it ever was but its volumes."""

import contextlib
import json
import os
import signal
from pathlib import Path

import pytest

from dojo.scratch import Call, CrashPoint, Process
from dojo.testkit import machine
from dojo.testkit.callers import (
    ELSEWHERE,
    another_pid_namespace,
    is_quiet_where_nobody_reads,
    is_refused_elsewhere,
    stranger,
)
from dojo.testkit.containers import (
    container_process,
    container_processes,
    detached,
    end_detached,
    monitor_of,
    started,
    wait_for_text,
)
from dojo.testkit.crash_points import as_far_as_it_can, beside, crash_points
from dojo.testkit.mydocker import Mydocker
from dojo.testkit.records import listed, wrong_records
from dojo.testkit.testing import check, expect, guard, needs, ours, task, vm
from dojo.testkit.trees import describe, differences

STAY = ("sleep", "1000")
KILLED = 128 + 9  # by SIGKILL, which has no name where tests are only collected
OPTIONS = ("-m", "64m", "--pids-limit", "20")
ROUNDS = 6  # of two commands at once
FIRST_LOOKS = 6  # at what others change: in these, a command finds its container
CRASH_POINTS = 6  # at most, at which something happens to a command
TRACEBACK = "Traceback"
DEPTH = 1200  # of a path of more than 4096 bytes, and of more calls than Python nests


# Task 1: Nothing remains


@task(1)
@vm
def test_a_container_that_has_ended_is_removed(mydocker):
    """A container that has ended is still listed, with its log. `rm` is the end of all that."""
    one_that_has_ended(mydocker)
    check(names(mydocker) == ["box"], "`ps -a` lists it at first", names(mydocker))
    expect(mydocker("rm", "box"), status=0, out="box\n", err="")
    check(names(mydocker) == [], "`ps -a` does not list it any more", names(mydocker))
    for words in (["logs", "box"], ["stop", "box"], ["exec", "box", "true"], ["rm", "box"]):
        expect(mydocker(*words), status=1, out="", complaint=["box"])


@task(1)
def test_the_name_is_free_again_and_starts_clean(mydocker):
    """The next container of that name is another one: no file and no line of the first is left."""
    script = f"{guard_of(mydocker)}; echo first; echo first > /note; exit 3"
    one_that_has_ended(mydocker, script)
    expect(mydocker("logs", "box"), status=0, out="first\n")
    expect(mydocker("rm", "box"), status=0, out="box\n", err="")
    one_that_has_ended(mydocker, "echo second; test ! -e /note; exit $?")
    expect(mydocker("logs", "box"), status=0, out="second\n", err="")
    (row,) = listed(mydocker, "-a")
    check(str(row["Status"]).startswith("Exited (0)"), "no file of the first", row["Status"])
    expect(mydocker("rm", "box"), status=0, out="box\n", err="")


@task(1)
@vm
@ours
@needs("cgroup")
def test_nothing_of_it_is_left_on_disk(mydocker):
    """Record, log, layer, mount points: all that had its name or its ID in MYDOCKER_ROOT goes.

    Where only the record is removed, the rest fills the disk, and no command shows it.
    """
    script = f"{guard_of(mydocker)}; echo of the container > /note; rm /etc/shells"
    one_that_has_ended(mydocker, script, *OPTIONS)
    there = below(mydocker)
    check(there, "something of it below MYDOCKER_ROOT at first", there)
    call = expect(mydocker("rm", "box"), status=0, out="box\n", err="")
    nothing_left(mydocker, call)


@task(1)
@ours
def test_images_are_not_touched(mydocker):
    """An image is not the container's: others run from it, now and later."""
    images = mydocker.root / "images"
    before = describe(images)
    one_that_has_ended(mydocker, f"{guard_of(mydocker)}; rm /etc/shells; echo x >> /etc/passwd")
    expect(mydocker("rm", "box"), status=0, out="box\n", err="")
    found = differences(before, describe(images))
    check(not found, "the images as they were", "\n".join(found[:10]))


@task(1)
def test_names_are_printed_as_they_were_typed(mydocker):
    """By ID, by the start of the ID, by name: what was typed comes back, one name a line."""
    for digits in (64, 12, 5):
        identity = one_that_has_ended(mydocker)
        typed = identity[:digits]
        expect(mydocker("rm", typed), status=0, out=f"{typed}\n", err="")
        check(names(mydocker) == [], "it is not listed any more", names(mydocker))


@task(1)
def test_several_are_removed(mydocker):
    """One after the other, and only those that were named."""
    for name in ("one", "two", "three"):
        one_that_has_ended(mydocker, name=name)
    call = expect(mydocker("rm", "three", "one"), status=0, err="")
    check(sorted(call.text.split()) == ["one", "three"], "both names", call.text, call)
    check(names(mydocker) == ["two"], "the third is still listed", names(mydocker))
    expect(mydocker("logs", "two"), status=0, out="of two\n")
    expect(mydocker("rm", "two"), status=0, out="two\n", err="")


@task(1)
@needs("cgroup")
def test_a_stopped_one_is_removed(mydocker):
    """Stop, remove: how a container is put away in good order."""
    detached(mydocker, "--name", "box", *OPTIONS, "busybox", *STAY)
    expect(mydocker("stop", "-t", "0", "box"), status=0, out="box\n", err="")
    call = expect(mydocker("rm", "box"), status=0, out="box\n", err="")
    check(names(mydocker) == [], "it is not listed any more", names(mydocker))
    nothing_alive(mydocker, call)


@task(1)
@ours
@needs("cgroup")
def test_one_whose_monitor_was_killed_is_removed(mydocker):
    """It ended with its monitor, and nobody was there to clean up. `rm` makes up for it."""
    detached(mydocker, "--name", "box", *OPTIONS, "busybox", *STAY)
    kill_with_its_monitor(mydocker, container_process(mydocker))
    call = expect(mydocker("rm", "box"), status=0, out="box\n", err="")
    nothing_alive(mydocker, call)
    nothing_left(mydocker, call)


@task(1)
def test_one_that_runs_is_not_removed(mydocker):
    """What runs is in use. Without `-f` this is a refusal, and the container never notices."""
    script = "echo ready; trap 'echo asked' TERM; while :; do sleep 777 & wait; done"
    identity = detached(mydocker, "--name", "box", "busybox", "sh", "-c", script)
    first = container_process(mydocker)
    call = expect(mydocker("rm", "box"), status=1, out="", complaint=["box"])
    check("running" in call.errors, "a message that says that it is running", call.errors, call)
    now = container_process(mydocker)
    check(now == first, f"its PID 1 lives: {first}", now)
    there = [row["Names"] for row in listed(mydocker)]
    check(there == ["box"], "`ps` lists it", f"running, as `ps` says: {there}")
    expect(mydocker("exec", "box", "echo", "in"), status=0, out="in\n", err="")
    expect(mydocker("logs", "box"), status=0, out="ready\n", err="")
    end_detached(mydocker, identity)
    expect(mydocker("rm", "box"), status=0, out="box\n", err="")


@task(1)
def test_a_link_to_the_host_is_not_followed(mydocker, folder):
    """A container can make a link to any path. On the host, that path is somebody else's."""
    before = describe(folder)
    script = f"{guard_of(mydocker)}; mkdir /links; ln -s '{folder}' /links/out; ln -s / /links/root"
    one_that_has_ended(mydocker, script)
    call = expect(mydocker("rm", "box"), status=0, out="box\n", err="")
    found = kept(before, folder)
    check(not found, "what the link leads to as it was", found, call)


@task(1)
@needs("unotify")
def test_remove_one_while_somebody_looks(mydocker):
    """`ps` has found a name, and then there is nothing any more: no traceback, and no complaint."""
    for crash_point in crash_points(CRASH_POINTS, looks=True):
        one_that_has_ended(mydocker)
        looking = mydocker.start("ps", "-a", crash_point=crash_point)
        expect(beside(mydocker, crash_point, "rm", "box"), status=0, out="box\n", err="")
        expect(looking.wait(), status=0, err="")


@task(1)
@ours
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_all_go_though_nothing_can_be_printed(mydocker, stream):
    """No room for a name, or for a complaint, is no reason to stop at the first of three."""
    for name in ("one", "two"):
        one_that_has_ended(mydocker, name=name)
    number = {"stdout": 1, "stderr": 2}[stream]
    full = ("sh", "-c", f'exec "$@" {number}> /dev/full', "sh")
    call = mydocker("rm", "one", "no-such-container", "two", before=full)
    expect(call, status=1)
    check(names(mydocker) == [], "no container is left", names(mydocker), call)
    if stream == "stdout":
        check("rm one" in call.errors, "a message of `rm one`", call.errors, call)
        one_that_has_ended(mydocker, name="box")
        is_quiet_where_nobody_reads(mydocker, "rm", "box")


# Task 2: Running containers


@task(2)
@vm
def test_f_kills_one_that_runs(mydocker):
    """`-f` is for when it does not matter how it ends: SIGKILL, and no time to object."""
    script = "trap 'exit 43' TERM; echo ready; while :; do sleep 777 & wait; done"
    words = ("run", "--name", "box", "busybox", "sh", "-c", script)
    running = started(mydocker.start(*words))
    expect(mydocker("rm", "-f", "box"), status=0, out="box\n", err="")
    expect(running.wait(), status=KILLED, out="ready\n")
    check(names(mydocker) == [], "it is not listed any more", names(mydocker))


@task(2)
@ours
def test_one_in_another_pid_namespace_is_not_removed(mydocker):
    """Who does not see its processes must not take it for one that has ended: it is in use.

    And cannot kill it either. With `-f` it is refused as well.
    """
    detached(mydocker, "--name", "box", "busybox", *STAY)
    is_refused_elsewhere(mydocker, "rm", "box")
    is_refused_elsewhere(mydocker, "rm", "-f", "box")
    expect(mydocker("exec", "box", "echo", "in"), status=0, out="in\n", err="")
    expect(mydocker("rm", "-f", "box"), status=0, out="box\n", err="")


@task(2)
@ours
@pytest.mark.parametrize("caller", ELSEWHERE.values(), ids=ELSEWHERE)
def test_one_that_has_ended_is_removed_from_another_pid_namespace(mydocker, caller):
    """Its end is recorded: there is no process that one would have to see."""
    for options in ((), ("-f",)):
        one_that_has_ended(mydocker)
        call = mydocker("rm", *options, "box", before=caller)
        nothing_left(mydocker, expect(call, status=0, out="box\n", err=""))


@task(2)
@ours
@pytest.mark.parametrize(
    "options",
    [pytest.param((), marks=guard), ("-f",)],  # without -f, it is one that has ended
    ids=["rm", "rm -f"],
)
def test_one_whose_pid_namespace_is_gone_is_removed(mydocker, options):
    """All of it was killed at once, and its monitor too. Nobody would ever be there to see it."""
    with another_pid_namespace(mydocker) as inside:
        detached(mydocker, "--name", "box", *OPTIONS, "busybox", *STAY, before=inside)
    mydocker.host.until(lambda: not container_processes(mydocker))
    nothing_left(mydocker, expect(mydocker("rm", *options, "box"), status=0, out="box\n", err=""))


@task(2)
@ours
def test_f_does_not_wait_for_ever(mydocker):
    """Its monitor stands still, as if its reader were gone for lunch. It is killed as well."""
    detached(mydocker, "--name", "box", "busybox", *STAY)
    monitor = container_process(mydocker).parent
    os.kill(monitor, signal.SIGSTOP)
    call = expect(mydocker("rm", "-f", "box"), status=0, out="box\n", err="")
    nothing_left(mydocker, call)
    alive = mydocker.host.until(lambda: not mydocker.host.processes())
    check(alive, "no process, and no monitor", "; ".join(map(str, mydocker.host.processes())), call)


@task(2)
@needs("cgroup")
def test_nothing_is_alive_right_after(mydocker):
    """When `rm -f` returns, it is done: no process, no group, no mount, not in a moment, now."""
    script = "for n in 1 2 3 4 5 6 7 8 9; do sleep 777 & done; exec sleep 1000"
    before = mydocker.host.mountinfo()
    for _ in range(3):
        words = ("--name", "box", *OPTIONS, "busybox", "sh", "-c", script)
        detached(mydocker, *words)
        mydocker.host.until(lambda: len(inside(mydocker)) > 9)
        call = expect(mydocker("rm", "-f", "box"), status=0, out="box\n", err="")
        nothing_alive(mydocker, call)
        groups, mounts = mydocker.host.groups.below(), mydocker.host.mountinfo()
        check(not groups, "no group", groups, call)
        check(mounts == before, "the mounts of before", set(mounts) ^ set(before), call)


@task(2)
@ours
@needs("cgroup")
def test_nothing_is_left_of_one_that_ran(mydocker):
    """One that runs has more to take away than one that has ended: layer and mounts are in use."""
    script = f"{guard_of(mydocker)}; echo x > /note; cd /tmp; exec sleep 1000"
    for _ in range(3):
        detached(mydocker, "--name", "box", *OPTIONS, "busybox", "sh", "-c", script)
        joined = mydocker.start("exec", "box", "sh", "-c", "echo ready; exec sleep 777")
        started(joined)
        call = expect(mydocker("rm", "-f", "box"), status=0, out="box\n", err="")
        nothing_left(mydocker, call)
        expect(joined.wait(), status=KILLED, out="ready\n")


@task(2)
def test_of_several_the_rest_is_still_done(mydocker):
    """One that runs, one that has ended, one that nobody knows: each is handled on its own."""
    one_that_has_ended(mydocker, name="first")
    one_that_has_ended(mydocker, name="second")
    third = detached(mydocker, "--name", "third", "busybox", *STAY)
    call = expect(mydocker("rm", "first", "nosuch", "third", "second"), status=1)
    check(sorted(call.text.split()) == ["first", "second"], "those that are gone", call.text, call)
    lines = call.errors.splitlines()
    told = (
        len(lines) == 2
        and any("nosuch" in line for line in lines)
        and any("third" in line or third in line for line in lines)
    )
    check(told, "a line on stderr for each of the other two", call.errors, call)
    check(names(mydocker) == ["third"], "the one that runs is listed", names(mydocker), call)
    expect(mydocker("rm", "-f", "third"), status=0, out="third\n", err="")


@task(2)
def test_an_unknown_container_is_told(mydocker):
    """A slip of the fingers must not look like success. With `-f` it is success: it is not there.

    Scripts begin with `rm -f` of what a run before them may have left. It is said all the same.
    """
    one_that_has_ended(mydocker)
    for name in ("nosuch", "bo", "boxx"):
        expect(mydocker("rm", name), status=1, out="", complaint=[name])
        expect(mydocker("rm", "-f", name), status=0, out="", complaint=[name])
    call = expect(mydocker("rm", "-f", "nosuch", "box", "unknown"), status=0, out="box\n")
    told = "nosuch" in call.errors and "unknown" in call.errors
    check(told, "both unknown names on stderr", call.errors, call)
    check(names(mydocker) == [], "the one that is there is removed", names(mydocker), call)


@task(2)
@ours
def test_a_name_that_is_a_path_is_not_followed(mydocker, tmp_path):
    """Names become directories, and what `rm` removes is a directory. It must be a container's."""
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "config.json").write_text("{}")
    beside = mydocker.root / "precious"
    beside.mkdir()
    (beside / "config.json").write_text("{}")
    one_that_has_ended(mydocker)
    before = describe(mydocker.root)
    for name in ("../precious", str(precious), "../images", "..", ".", "", "box/", "./box", "b*"):
        call = mydocker("rm", "-f", name)
        check(call.status in (0, 1, 125), "status 0, 1 or 125", call.status, call)
        expect(call, out="", complaint=[name])
        check((precious / "config.json").exists(), "the directory as it was", "it is gone", call)
        found = kept(before, mydocker.root)
        check(not found, "MYDOCKER_ROOT as it was", found, call)
    expect(mydocker("rm", "-f", "box"), status=0, out="box\n", err="")
    (beside / "config.json").unlink()
    beside.rmdir()


@task(2)
@ours
@pytest.mark.parametrize(
    ("whose", "words"),
    [
        pytest.param("first process", "rm", marks=guard),  # nobody is killed without -f
        ("first process", "rm -f"),
        ("monitor", "rm -f"),
    ],
)
def test_a_pid_that_is_used_again_is_not_killed(mydocker, whose, words):
    """All of the container was killed, and its PID has gone to a process of the host's.

    So it does not run, and can be removed; and whoever has its number now must live.
    """
    detached(mydocker, "--name", "box", "busybox", *STAY)
    first = container_process(mydocker)
    monitor = monitor_of(mydocker, first)
    kill_with_its_monitor(mydocker, first)
    with stranger(mydocker, first.inner if whose == "first process" else monitor.inner):
        call = expect(mydocker(*words.split(), "box"), status=0, out="box\n", err="")
    nothing_left(mydocker, call)


@task(2)
@ours
@needs("cgroup", "unotify")
def test_after_the_monitor_was_killed_f_clears_all(mydocker):
    """Nobody cleaned up after the container that died with its monitor: `rm -f` does, to the last.

    Killed at any moment of its life, even before the container had begun.
    """
    detached(mydocker, "--name", "box", "busybox", *STAY)
    expect(mydocker("rm", "-f", "box"), status=0, out="box\n", err="")
    for crash_point in crash_points(CRASH_POINTS):
        words = ["run", "-d", "--name", "box", *OPTIONS, "busybox", *STAY]
        running = mydocker.start(*words, crash_point=crash_point)
        with (
            crash_point,
            contextlib.suppress(ProcessLookupError),
        ):  # `run` has ended, or has no child
            for process in running.descendants()[:1]:
                os.kill(process.pid, signal.SIGKILL)
        expect(running.wait())
        for process in container_processes(mydocker):
            if process.parent != mydocker.host.pid:  # else its monitor is dead, and it will be
                kill_with_its_monitor(mydocker, process)
        mydocker.host.until(lambda: not mydocker.host.processes())
        call = expect(mydocker("rm", "-f", "box"), status=0)
        nothing_alive(mydocker, call)
        nothing_left(mydocker, call)
        groups = mydocker.host.groups.below()
        check(not groups, "no group", groups, call)


@task(2)
def test_wrong_words_are_refused(mydocker):
    """Without a name there is nothing to remove; an unknown option was meant to do something."""
    one_that_has_ended(mydocker)
    for words, status in (([], 1), (["-f"], 1), (["-x", "box"], 125), (["--no-such", "box"], 125)):
        call = expect(mydocker("rm", *words), status=status, out="")
        check("rm" in call.errors, "a message that names `rm`", call.errors, call)
    check(names(mydocker) == ["box"], "it is still listed", names(mydocker))
    expect(mydocker("rm", "--force", "box"), status=0, out="box\n", err="")


@task(2)
@pytest.mark.parametrize(
    "how",
    [pytest.param("rm", marks=guard), "rm -f"],  # the kernel has unmounted it
)
def test_what_lies_in_a_volume_stays(mydocker, folder, how):
    """A volume is the host's own directory. The container goes, and its data stays."""
    before = describe(folder)
    volumes = ("-v", f"{folder}:/data", "-v", f"{folder}/below:/data/file-less/below")
    volumes += ("-v", f"{folder}/file:/settings", "-v", f"{folder}:/safe:ro")
    script = "echo new > /data/new; cd /data/below; exec sleep 1000"
    identity = detached(mydocker, "--name", "box", *volumes, "busybox", "sh", "-c", script)
    wait_for_text(mydocker, folder / "new")
    if how == "rm":
        end_detached(mydocker, identity)
    call = expect(mydocker(*how.split(), "box"), status=0, out="box\n", err="")
    written = (folder / "new").read_text() if (folder / "new").exists() else "no such file"
    check(written == "new\n", "what the container wrote there is kept", written, call)
    (folder / "new").unlink()
    found = kept(before, folder)
    check(not found, "the rest as it was", found, call)


@task(2)
def test_a_volume_that_is_in_use_stays(mydocker, folder):
    """A process of the host's works in there, so nothing can be unmounted: nor deleted, then."""
    before = describe(folder)
    busy = mydocker.host.start([*STAY], env=mydocker.env, cwd=folder / "below")
    detached(mydocker, "--name", "box", "-v", f"{folder}:/data", "busybox", *STAY)
    call = expect(mydocker("rm", "-f", "box"), status=0, out="box\n", err="")
    found = kept(before, folder)
    check(not found, "the volume as it was", found, call)
    check(names(mydocker) == [], "the container is not listed", names(mydocker), call)
    busy.stop()


@task(2)
@ours
def test_a_volume_survives_a_crash_and_what_clears_up_after_it(mydocker, folder):
    """The monitor was killed: nobody has unmounted anything in good order."""
    before = describe(folder)
    words = ("--name", "box", "-v", f"{folder}:/data", "-v", f"{folder}/file:/settings")
    detached(mydocker, *words, "busybox", *STAY)
    kill_with_its_monitor(mydocker, container_process(mydocker))
    call = expect(mydocker("rm", "-f", "box"), status=0, out="box\n", err="")
    found = kept(before, folder)
    check(not found, "the volume as it was", found, call)
    nothing_left(mydocker, call)


@task(2)
@ours
def test_nothing_is_deleted_through_a_mount(mydocker, folder):
    """Something is mounted below the container's directory. Who deletes that tree deletes it, too.

    A tree is removed only where nothing is mounted below it. Once that is gone, it can be.
    """
    before = describe(folder)
    one_that_has_ended(mydocker)
    point = mydocker.root / "containers" / "box" / "mounted"
    point.mkdir()
    mount = ["mount", "--bind", str(folder), str(point)]
    expect(mydocker.host.run(mount, env=mydocker.env), status=0)
    call = orderly(mydocker("rm", "-f", "box"))
    found = kept(before, folder)
    check(not found, "what is mounted there as it was", found, call)
    mydocker.host.run(["umount", str(point)], env=mydocker.env)
    call = expect(orderly(mydocker("rm", "-f", "box")), status=0)
    nothing_left(mydocker, call)


@task(2)
@ours
def test_a_tree_without_an_end_is_removed(mydocker):
    """A container makes as many directories in each other as it likes. No path is long enough."""
    detached(mydocker, "--name", "box", "busybox", *STAY)
    first = container_process(mydocker)
    with contextlib.ExitStack() as opened:
        there = os.open(f"/proc/{first.pid}/root", os.O_RDONLY | os.O_DIRECTORY)
        opened.callback(os.close, there)
        for _ in range(DEPTH):
            os.mkdir("below", dir_fd=there)
            there = os.open("below", os.O_RDONLY | os.O_DIRECTORY, dir_fd=there)
            opened.callback(os.close, there)
    kill_with_its_monitor(mydocker, first)
    call = expect(mydocker("rm", "-f", "box"), status=0, out="box\n", err="")
    nothing_left(mydocker, call)


# Task 3: Two at once


@task(3)
@ours
@needs("unotify")
def test_never_another_one_of_its_name(mydocker):
    """Between the moment in which a container is found and that in which it is removed, its name
    can have become another one's. That one is nobody's to remove.
    """
    for number in range(FIRST_LOOKS):
        old = one_that_has_ended(mydocker, name="box")
        crash_point = CrashPoint(number, looks=True)
        removing = mydocker.start("rm", old, crash_point=crash_point)
        new = ""
        with crash_point:
            other = as_far_as_it_can(mydocker, "rm", "box")
            if other.has_ended():
                new = detached(mydocker, "--name", "box", "busybox", *STAY)
        call = orderly(removing.wait())
        orderly(other.wait())
        found = [row["ID"] for row in listed(mydocker)]
        check(found == [new] * bool(new), f"what runs: {new[:12] or 'nothing'}", found, call)
        expect(mydocker("rm", "-f", "box"), status=0)
        all_is_clear(mydocker)


@task(3)
@guard  # a race, and without a lock it is seldom lost
@needs("cgroup")
def test_remove_and_stop_at_the_same_time(mydocker):
    """Each looks, and then does something; in between, the others have done it already.

    Each of them ends, and says at most in one line that there was nothing left to do.
    """
    for _ in range(max(3, int(ROUNDS / machine.patience()))):
        detached(mydocker, "--name", "box", *OPTIONS, "busybox", *STAY)
        commands = (["rm", "-f", "box"], ["stop", "-t", "0", "box"], ["rm", "box"], ["ps", "-a"])
        there = [mydocker.start(*words) for words in (*commands, commands[0])]
        calls = [orderly(running.wait()) for running in there]
        for number in (0, 4):
            expect(calls[number], status=0)
        expect(calls[3], status=0, err="")
        all_is_clear(mydocker)


@task(3)
@guard  # a race, and without a lock it is seldom lost
def test_two_remove_one_that_has_ended(mydocker):
    """One of the two removes it. For the other one it is not there, or it was just as quick."""
    for _ in range(max(3, int(ROUNDS / machine.patience()))):
        one_that_has_ended(mydocker)
        there = [mydocker.start("rm", "box") for _ in range(3)]
        calls = [orderly(running.wait()) for running in there]
        done = [call for call in calls if call.status == 0]
        check(done, "one of them removes it", [call.status for call in calls], calls[0])
        for call in done:
            expect(call, out="box\n", err="")
        all_is_clear(mydocker)


@task(3)
@guard  # the removal of 4.3 works with others beside it
@needs("cgroup", "unotify")
def test_remove_one_that_ends_at_this_moment(mydocker):
    """With `--rm` it removes itself when it ends. Whoever comes second finds nothing."""
    for crash_point in crash_points(CRASH_POINTS, looks=True):
        detached(mydocker, "--rm", "--name", "box", *OPTIONS, "busybox", *STAY)
        first = container_process(mydocker)
        running = mydocker.start("rm", "-f", "box", crash_point=crash_point)
        with crash_point, contextlib.suppress(ProcessLookupError):
            os.kill(first.pid, signal.SIGKILL)
        call = expect(orderly(running.wait()), status=0)
        check(call.out in (b"box\n", b""), "its name, or nothing", call.text, call)
        mydocker.host.until(lambda: not names(mydocker) and not mydocker.host.processes())
        all_is_clear(mydocker)


@task(3)
@guard  # `exec` looks again since 5.4
@needs("unotify")
def test_remove_while_somebody_joins(mydocker):
    """`exec` is in there, or it is too late. It never runs anywhere else, and never waits on."""
    script = f"{guard_of(mydocker)}; echo in; exec sleep 777"
    detached(mydocker, "--name", "box", "busybox", *STAY)
    joined = started(mydocker.start("exec", "box", "sh", "-c", script), b"in")
    expect(mydocker("rm", "-f", "box"), status=0, out="box\n", err="")
    expect(joined.wait(), status=KILLED, out="in\n")
    for crash_point in crash_points(CRASH_POINTS, looks=True):
        identity = detached(mydocker, "--name", "box", "busybox", *STAY)
        joining = mydocker.start("exec", "box", "sh", "-c", script, crash_point=crash_point)
        removed = beside(mydocker, crash_point, "rm", "-f", "box")
        expect(removed, status=0, out="box\n", err="")
        call = orderly(joining.wait())
        check(call.status in (1, KILLED), "status 1 or 137", call.status, call)
        if call.status == 1:
            expect(call, out="")
            named = "box" in call.errors or identity[:12] in call.errors
            check(named, "a message that names the container", call.errors, call)
        all_is_clear(mydocker)


@task(3)
@guard  # a race, and without a lock it is seldom lost
@needs("cgroup", "unotify")
def test_a_new_one_of_the_same_name_while_the_old_one_goes(mydocker):
    """The new one gets the name or is told that it is taken. It is never half removed with it."""
    for crash_point in crash_points(CRASH_POINTS, looks=True):
        detached(mydocker, "--name", "box", *OPTIONS, "busybox", *STAY)
        removing = mydocker.start("rm", "-f", "box", crash_point=crash_point)
        call = orderly(
            beside(mydocker, crash_point, "run", "--name", "box", "busybox", "echo", "new")
        )
        removed = expect(orderly(removing.wait()), status=0)
        check(call.status in (0, 125, KILLED), "status 0, or 125: taken", call.status, call)
        if call.status == 0:
            expect(call, out="new\n", err="")
        elif call.status == 125:
            expect(call, out="", complaint=["box"])
        check(b"box" in removed.out, "the old one is removed", removed.out, removed)
        expect(orderly(mydocker("rm", "-f", "box")), status=0)
        all_is_clear(mydocker)
    expect(mydocker("run", "--name", "box", "busybox", "echo", "new"), status=0, out="new\n")
    expect(mydocker("rm", "box"), status=0, out="box\n", err="")


@task(3)
@guard  # the record goes last since task 1
@ours
@needs("cgroup", "unotify")
@pytest.mark.parametrize("state", ["running", "its monitor was killed"])
def test_a_removal_that_was_killed_can_be_done_again(mydocker, state):
    """Half removed is the worst: not there for `ps`, and still in the way. `rm -f` finishes it."""
    for crash_point in crash_points(CRASH_POINTS if state == "running" else 12):
        detached(mydocker, "--name", "box", *OPTIONS, "busybox", *STAY)
        if state != "running":
            kill_with_its_monitor(mydocker, container_process(mydocker))
        running = mydocker.start("rm", "-f", "box", crash_point=crash_point)
        with crash_point:
            running.kill()
        running.wait()
        expect(mydocker("ps", "-a"), status=0)
        expect(orderly(mydocker("rm", "-f", "box")), status=0)
        all_is_clear(mydocker)
        nothing_left(mydocker)
    expect(
        mydocker("run", "--rm", "--name", "box", "busybox", "echo", "new"), status=0, out="new\n"
    )


# Task 4: Records that cannot be read


@task(4)
@ours
@pytest.mark.parametrize("what", ["nothing", "half a record", "another's record", "zeros"])
def test_a_broken_record_can_be_removed(mydocker, what):
    """A full disk or a power failure leaves half a file. It must not stay for ever."""
    one_that_has_ended(mydocker, name="good")
    record = mydocker.root / "containers" / "good" / "config.json"
    contents = {
        "half a record": record.read_bytes()[:-20],
        "another's record": b'["of another program"]\n',
        "zeros": bytes(100),
    }
    broken = record.parent.with_name("broken")
    broken.mkdir()
    if what in contents:
        (broken / "config.json").write_bytes(contents[what])
    call = expect(mydocker("rm", "-f", "broken"), status=0)
    check(not broken.exists(), "its directory is gone", "it is there", call)
    check(names(mydocker) == ["good"], "the good one is still listed", names(mydocker), call)
    expect(mydocker("rm", "-f", "good"), status=0, out="good\n", err="")


@task(4)
@ours
@pytest.mark.parametrize("what", ["a file", "a link", "a link to nothing"])
def test_what_lies_in_the_place_of_a_record_is_removed(mydocker, folder, what):
    """Somebody has moved the directory, and left this behind. It goes, and nothing behind it."""
    one_that_has_ended(mydocker, name="good")
    before = describe(folder)
    place = mydocker.root / "containers" / "box"
    if what == "a file":
        place.write_text("not here any more\n")
    else:
        place.symlink_to(folder if what == "a link" else folder / "no-such-file")
    call = expect(mydocker("rm", "-f", "box"), status=0)
    check(
        not os.path.lexists(place), f"{what} in the place of a record is gone", "it is there", call
    )
    found = kept(before, folder)
    check(not found, "what the link leads to as it was", found, call)
    check(names(mydocker) == ["good"], "the good one is still listed", names(mydocker), call)
    expect(mydocker("rm", "-f", "good"), status=0, out="good\n", err="")


@task(4)
@ours
def test_records_with_one_wrong_value_can_be_removed(mydocker):
    """All is well in them but for one value: a name that is another's, an ID that is a path …

    Who believes that kills or removes what belongs to somebody else. The name of the directory is
    what was typed; nothing else in there is to be trusted.
    """
    one_that_has_ended(mydocker, name="good")
    detached(mydocker, "--name", "running", "busybox", *STAY)
    rows = {row["Names"]: row["ID"] for row in listed(mydocker, "-a")}
    victim = mydocker.root.parent / "here" / "victim"
    victim.mkdir()
    (victim / "kept").write_text("kept\n")
    containers = mydocker.root / "containers"
    away = os.path.relpath(victim, containers)
    good = json.loads((containers / "good" / "config.json").read_text())
    elsewhere = ("running", "good", away, str(victim), f"{rows['running']}/..")
    for place, copies in wrong_records(good, "good", rows["good"], elsewhere):
        for name, text in copies:
            (containers / name).mkdir()
            (containers / name / "config.json").write_text(text)
        typed = [name for name, _ in copies]
        call = mydocker("rm", "-f", *typed)
        check("Traceback" not in call.errors, f"no traceback: wrong at {place}", call.errors, call)
        expect(call, status=0, out="".join(f"{name}\n" for name in typed))
        left = sorted(os.listdir(containers))
        what = f"the others alone are left when there was a wrong value at {place}"
        check(left == ["good", "running"], what, left, call)
        check((victim / "kept").exists(), f"{victim} is nobody's here", "it is gone", call)
        check(len(container_processes(mydocker)) == 1, "the other one runs on", "it ended", call)
    (victim / "kept").unlink()
    victim.rmdir()
    expect(mydocker("rm", "-f", "good", "running"), status=0, out="good\nrunning\n", err="")


@task(4)
@ours
def test_what_runs_ends_though_its_record_is_broken(mydocker):
    """Its record goes, so it must not run on: nobody would ever find it again."""
    identity = detached(mydocker, "--name", "box", "busybox", *STAY)
    container_process(mydocker, identity)
    record = mydocker.root / "containers" / "box" / "config.json"
    good = json.loads(record.read_text())
    record.write_text(json.dumps({**good, "boot_id": None}))
    call = expect(mydocker("rm", "-f", "box"), status=0, out="box\n", err="")
    nothing_alive(mydocker, call)
    all_is_clear(mydocker)


@task(4)
@ours
@needs("cgroup")
@pytest.mark.parametrize("caller", ELSEWHERE.values(), ids=ELSEWHERE)
def test_a_broken_record_of_one_in_another_pid_namespace_stays(mydocker, caller):
    """Its groups are found by its ID, but `cgroup.procs` shows no PID in there, or a 0.

    Who kills process 0 kills itself, and who waits for the others' end waits for ever.
    """
    detached(mydocker, "--name", "box", *OPTIONS, "busybox", *STAY)
    first = container_process(mydocker)
    record = mydocker.root / "containers" / "box" / "config.json"
    good = record.read_text()
    record.write_text(json.dumps({**json.loads(good), "name": None}))
    call = expect(mydocker("rm", "-f", "box", before=caller), status=1, out="", complaint=["box"])
    check(container_process(mydocker) == first, "its PID 1 lives", "another", call)
    check(record.exists(), "its record is there", "it is gone", call)
    record.write_text(good)
    nothing_left(mydocker, expect(mydocker("rm", "-f", "box"), status=0, out="box\n", err=""))


# What the tests are made of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A directory of the host's, with something in it that nobody must lose."""
    path = tmp_path / "folder"
    (path / "below" / "deeper").mkdir(parents=True)
    (path / "file-less" / "below").mkdir(parents=True)
    (path / "file").write_text("of the host\n")
    (path / "below" / "kept").write_text("kept\n")
    (path / "below" / "deeper" / "kept").write_text("kept\n")
    return path


def one_that_has_ended(
    mydocker: Mydocker, script: str = "", *options: str, name: str = "box"
) -> str:
    """Run a script in a detached container, and wait until it has ended. Returns its ID."""
    __tracebackhide__ = True
    words = ("--name", name, *options, "busybox", "sh", "-c", script or f"echo of {name}")
    identity = detached(mydocker, *words)
    host = mydocker.host
    host.until(lambda: not listed(mydocker) and not host.processes())
    check(name in names(mydocker), f"`ps -a` lists {name}, which has ended", names(mydocker))
    return identity


def guard_of(mydocker: Mydocker) -> str:
    """The beginning of a script that must not run where it sees the host's files."""
    return f"test ! -e '{mydocker.root}' || exit 99"


def names(mydocker: Mydocker) -> list[str]:
    """The names that `ps -a` lists."""
    __tracebackhide__ = True
    return sorted(str(row.get("Names")) for row in listed(mydocker, "-a"))


def inside(mydocker: Mydocker) -> list[Process]:
    """All processes that are in some container, as far as they have not ended."""
    return [p for p in mydocker.host.processes() if len(p.pids) > 2 and p.state != "Z"]


def nothing_alive(mydocker: Mydocker, call: Call) -> None:
    __tracebackhide__ = True
    left = inside(mydocker)
    check(not left, "no process of the container", "; ".join(map(str, left)), call)


def below(mydocker: Mydocker) -> list[str]:
    """What lies below MYDOCKER_ROOT, but for the images and the directories at the top."""
    found = []
    for folder, directories, files in os.walk(mydocker.root):
        at_the_top = Path(folder) == mydocker.root
        if at_the_top:
            directories.remove("images")
        shown = files if at_the_top else [*directories, *files]
        found += [str(Path(folder, name).relative_to(mydocker.root)) for name in shown]
    return sorted(found)


def nothing_left(mydocker: Mydocker, call: Call | None = None) -> None:
    __tracebackhide__ = True
    left = below(mydocker)
    check(not left, "nothing of a container below MYDOCKER_ROOT", "\n".join(left[:10]), call)


def all_is_clear(mydocker: Mydocker) -> None:
    """Expect that there is no container any more, not in the table and not in the kernel."""
    __tracebackhide__ = True
    host = mydocker.host
    host.until(lambda: not host.processes() and not host.groups.below())
    check(not host.processes(), "no process", "; ".join(map(str, host.processes())))
    check(not host.groups.below(), "no group", host.groups.below())
    check(names(mydocker) == [], "no container is listed", names(mydocker))


def orderly(call: Call) -> Call:
    """Expect that a command has ended by itself, and has said at most one line about why not."""
    __tracebackhide__ = True
    if call.err:
        return expect(call, complaint=[])
    return expect(call)


def kept(before, folder: Path) -> str:
    """What has changed in a directory, but for the times, which a file that was made changes."""
    found = differences(before, describe(folder))
    return "\n".join(line for line in found if "time of change" not in line)


def kill_with_its_monitor(mydocker: Mydocker, first: Process) -> None:
    """Kill the parent of PID 1, its monitor. Both numbers are free then: no zombie has one."""
    __tracebackhide__ = True
    os.kill(monitor_of(mydocker, first).pid, signal.SIGKILL)

    def left() -> list[int]:
        return [pid for pid in (first.pid, first.parent) if Path(f"/proc/{pid}").exists()]

    mydocker.host.until(lambda: not left())
    check(not left(), "the container dies with its monitor", f"{first} lives")
