"""Chapter 5.2: what there is and how it ended, from a record for each container."""

import contextlib
import itertools
import json
import os
import random
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest

from dojo.scratch import Call, CrashPoint, Process, Running
from dojo.testkit.callers import (
    ELSEWHERE,
    another_pid_namespace,
    is_refused_elsewhere,
    non_blocking,
    tells_what_it_cannot_print,
)
from dojo.testkit.containers import (
    container_process,
    container_processes,
    detached,
    end,
    end_detached,
    monitor_of,
    showed,
    started,
)
from dojo.testkit.crash_points import as_far_as_it_can, crash_points
from dojo.testkit.mydocker import Mydocker
from dojo.testkit.records import listed, objects_in, wrong_records
from dojo.testkit.testing import check, expect, guard, needs, ours, task, vm

STAY = ("sleep", "1000")
READY_AND_STAY = ("sh", "-c", "echo ready; exec sleep 1000")
TITLES = ["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "NAMES"]
WHILE = r"(Less than a second|1 second|\d+ seconds|About a minute|\d+ minutes)"
LONGEST = "n" * 128
MINUTE, HOUR, DAY = 60, 3600, 24 * 3600
LONG_AGO = [  # docker's words: hours are rounded, what is larger is cut off
    (65, "About a minute"),
    (10 * MINUTE + 5, "10 minutes"),
    (HOUR + 5 * MINUTE, "About an hour"),
    (7 * HOUR, "7 hours"),
    (3 * DAY, "3 days"),
    (13 * DAY, "13 days"),
    (28 * DAY + HOUR, "4 weeks"),
    (35 * DAY - 40 * MINUTE, "4 weeks"),
    (59 * DAY, "8 weeks"),
    (70 * DAY, "2 months"),
    (729 * DAY, "24 months"),
    (800 * DAY, "2 years"),
]


# Task 1: A container has a record


@task(1)
@ours
def test_the_record_is_a_file(mydocker):
    """`ps` is another process than `run`: what it knows, it knows from a file."""
    identity = detached(mydocker, "--name", "box", "busybox", *STAY)
    record = json.loads(record_of(mydocker, "box").read_text())
    check(isinstance(record, dict), "config.json holds one JSON object", record)
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    check(record.get("boot_id") == boot, f"`boot_id` is that of this boot, {boot}", record)
    check(identity in record.values(), "the whole id is in it", record)
    end_detached(mydocker)


@task(1)
@ours
def test_nothing_of_it_is_left_in_the_directories(mydocker):
    """Not the record, nor what lay beside it."""
    expect(mydocker("run", "--name", "good", "busybox", "true"), status=0)
    containers = record_of(mydocker, "good").parent.parent
    check(os.listdir(containers) == ["good"], "the record of `good`", os.listdir(containers))
    expect(mydocker("run", "--rm", "--name", "box", "busybox", "true"), status=0)
    detached(mydocker, "--rm", "--name", "box", "busybox", "true")
    nothing_lives(mydocker)
    expect(mydocker("run", "--name", "box", "busybox", "no-such-command"), status=127)
    found = os.listdir(containers)
    check(found == ["good"], "nothing but the record of `good`", found)


# Task 2: `ps` reads the records


@task(2)
def test_aq_shows_the_ids_of_all(mydocker):
    """For scripts: one ID a line, no header, the newest first; whole with --no-trunc."""
    ids = []
    for options in ((), ("--rm",)):
        ids.insert(0, detached(mydocker, *options, "busybox", *STAY))
        for words in (("-a", "-q"), ("-aq",), ("--all", "--quiet")):
            short = "".join(f"{identity[:12]}\n" for identity in ids)
            expect(mydocker("ps", *words), status=0, out=short, err="")
        whole = "".join(f"{identity}\n" for identity in ids)
        expect(mydocker("ps", "-aq", "--no-trunc"), status=0, out=whole, err="")
        end_detached(mydocker)


@task(2)
@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("--no-such-option",), 125),
        (("no-such-argument",), 1),
    ],
    ids=["option", "argument"],
)
def test_what_ps_does_not_know_is_refused(mydocker, words, status):
    """A word that is skipped in silence makes you believe in an answer that you did not get."""
    expect(mydocker("ps", "-a", "-q", "--no-trunc"), status=0, out="", err="")
    expect(mydocker("ps", *words), status=status, out="", complaint=[words[-1]])


@task(2)
@ours
def test_a_table_that_cannot_be_printed(mydocker):
    """`ps > /dev/full`: it is `ps` that fails, with a status of its own. `ps | head` is fine."""
    expect(mydocker("run", "--name", "box", "busybox", "true"), status=0)
    tells_what_it_cannot_print(mydocker, "ps", "-a")
    full = ("sh", "-c", 'exec "$@" 2> /dev/full', "sh")
    expect(mydocker("ps", "--no-such-option", before=full), status=125, out="", err="")


# Task 3: Which of them run


@task(3)
def test_q_shows_ids_alone(mydocker):
    """Without -a, `ps` shows what runs: what has ended is not in the way of a script."""
    expect(mydocker("run", "--name", "ended", "busybox", "true"), status=0)
    running = detached(mydocker, "busybox", *STAY)
    expect(mydocker("ps", "-q"), status=0, out=f"{running[:12]}\n", err="")
    expect(mydocker("ps", "--quiet", "--no-trunc"), status=0, out=f"{running}\n", err="")
    end_detached(mydocker)
    expect(mydocker("ps", "-q"), status=0, out="", err="")


# Task 4: An object a line


@task(4)
def test_json_is_an_object_a_line(mydocker):
    """For programs: each line is read by itself, and the keys are docker's."""
    expect(mydocker("run", "--name", "ended", "busybox", "sh", "-c", "exit 3"), status=3)
    identity = detached(mydocker, "--name", "running", "busybox", *STAY)
    for words in (("--format", "json"), ("--format=json",)):
        call = expect(mydocker("ps", "-a", *words), status=0, err="")
        lines = call.text.splitlines()
        check(len(lines) == 2, "two lines, no header", call.text, call)
        running, ended = objects_in(call)
        found = (running["ID"], running["Image"], running["State"], running["Names"])
        wanted = (identity[:12], "busybox", "running", "running")
        check(found == wanted, f"ID, Image, State, Names: {wanted}", found, call)
        check(running["Command"].strip('"') == "sleep 1000", "the command", running, call)
        check(running["Status"].startswith("Up "), "Up …", running["Status"], call)
        found = (ended["State"], ended["Status"][:6], ended["Names"])
        check(found == ("exited", "Exited", "ended"), "exited, Exited …, ended", found, call)
    (row,) = listed(mydocker)
    check(row["ID"] == identity, "the whole id with --no-trunc", row["ID"])
    end_detached(mydocker)


@task(4)
@ours
def test_a_format_that_ps_does_not_know_is_refused(mydocker):
    """Who asks for YAML and gets a table finds out in the middle of a script."""
    expect(mydocker("ps", "--format", "json"), status=0, out="", err="")
    words = ("ps", "--format", "no-such-format")
    expect(mydocker(*words), status=125, out="", complaint=["no-such-format"])


@task(4)
def test_running_and_ended_ones_together(mydocker):
    """`ps` shows what runs, `ps -a` shows all."""
    expect(mydocker("run", "--name", "ended", "busybox", "true"), status=0)
    detached(mydocker, "--name", "running", "busybox", *STAY)
    check(names(mydocker) == ["running"], "what runs", names(mydocker))
    found = sorted(names(mydocker, "-a"))
    check(found == ["ended", "running"], "both", found)
    end_detached(mydocker)


@task(4)
def test_what_was_never_started_is_not_listed_as_running(mydocker):
    """A record written too early shows a container that does not exist."""
    expect(mydocker("run", "--name", "good", "busybox", "true"), status=0)
    for detach in ((), ("-d",)):
        expect(mydocker("run", *detach, "--rm", "busybox", "no-such-command"), status=127)
        check(names(mydocker) == [], "no container", names(mydocker))
    check(names(mydocker, "-a") == ["good"], "the one that was started", names(mydocker, "-a"))


@task(4)
@ours
def test_a_start_that_failed_leaves_no_record(mydocker):
    """It was told at once, by the status and one line. There is nothing to come back for."""
    expect(mydocker("run", "--name", "good", "busybox", "true"), status=0)
    for words, status in (
        (("busybox", "no-such-command"), 127),
        (("busybox", "/etc"), 126),
        (("no-such-image", "true"), 125),
    ):
        for detach in ((), ("-d",)):
            call = mydocker("run", *detach, "--name", "bad", *words)
            expect(call, status=status, out="")
            found = names(mydocker, "-a")
            check(found == ["good"], "the one that was started, and no other", found, call)
    expect(mydocker("run", "--name", "bad", "busybox", "true"), status=0)  # the name is free


@task(4)
@pytest.mark.parametrize("detach", [(), ("-d",)], ids=["foreground", "detached"])
def test_rm_leaves_no_record(mydocker, detach):
    """`--rm` says beforehand that nobody will ask how it ended; and its name is free again."""
    for _ in range(2):
        call = mydocker("run", *detach, "--rm", "--name", "box", "busybox", "sh", "-c", "exit 7")
        expect(call, status=0 if detach else 7)
        nothing_lives(mydocker)
        check(names(mydocker, "-a") == [], "no container", names(mydocker, "-a"))
    expect(mydocker("run", "--name", "box", "busybox", "true"), status=0)
    check(names(mydocker, "-a") == ["box"], "one without --rm stays", names(mydocker, "-a"))


@task(4)
def test_it_is_listed_while_it_runs(mydocker):
    """`--rm` is about its end. Until then it is a container as any, and killed, it goes as well."""
    identity = detached(mydocker, "--rm", "--name", "box", "busybox", *STAY)
    (row,) = listed(mydocker)
    check((row["ID"], row["Names"]) == (identity, "box"), "box", row)
    end_detached(mydocker)
    mydocker.host.until(lambda: not names(mydocker, "-a"))
    check(names(mydocker, "-a") == [], "no container", names(mydocker, "-a"))


@task(4)
def test_a_container_has_the_name_that_it_was_given(mydocker):
    """A name is what you remember; an ID is what is never used twice."""
    wanted = []
    for name in ("b0", "Box_1.x-y", "config.json", LONGEST):
        detached(mydocker, "--name", name, "busybox", *STAY)
        check(names(mydocker) == [name], f"{name}", names(mydocker))
        end_detached(mydocker)
        wanted.insert(0, name)
        check(names(mydocker, "-a") == wanted, f"{wanted}", names(mydocker, "-a"))


@task(4)
@ours
def test_without_a_name_it_is_the_start_of_the_id(mydocker):
    """Docker makes a name up. Here it is the 12 digits that you know from the hostname."""
    identity = detached(mydocker, "busybox", *STAY)
    (row,) = listed(mydocker)
    check(row["Names"] == identity[:12], identity[:12], row["Names"])
    end_detached(mydocker)


@task(4)
@ours
def test_two_roots_never_see_each_other(mydocker):
    """MYDOCKER_ROOT is a world of its own: with its own images, containers and names."""
    other = mydocker.another_root()
    here = detached(mydocker, "--name", "box", "busybox", *STAY)
    there = detached(mydocker, "--name", "box", "busybox", *STAY, env=other)
    for env, identity in (({}, here), (other, there)):
        call = expect(mydocker("ps", "-aq", "--no-trunc", env=env), status=0, err="")
        check(call.text.split() == [identity], f"only {identity[:12]}", call.text, call)
    end_detached(mydocker, here)
    (row,) = listed(mydocker, env=other)
    check(row["ID"] == there, "the other one runs on", row)
    end_detached(mydocker, there)


@task(4)
def test_ps_at_any_moment_tells_something_whole(mydocker):
    """Who reads a record while it is being written must see the old one or the new one."""
    expect(mydocker("run", "--name", "lasting", "busybox", "true"), status=0)
    known = {"lasting"}
    for count in range(4):
        starting = mydocker.start("run", "--name", f"short{count}", "busybox", "sleep", "0.2")
        for look in itertools.count():
            rows = listed(mydocker, "-a")
            found = {row["Names"] for row in rows}
            check(known <= found, f"what was listed once stays listed: {sorted(known)}", found)
            known |= found
            states = {row["State"] for row in rows} - {"running", "exited", "created"}
            check(not states, "states: running, exited, created", states)
            if look >= 1 and any(
                row["Names"] == f"short{count}" and row["State"] == "exited" for row in rows
            ):
                break
            check(look < 200, f"short{count} is listed as exited", rows)
        expect(starting.wait(), status=0)


# Task 5: How it ended


@task(5)
@vm
def test_the_exit_status_is_kept(mydocker):
    """When you come back, you want to know how it ended: its own status, whoever saw it."""
    for detach in ((), ("-d",)):
        number = random.randrange(2, 125)
        name = f"ended-with-{number}{'-detached' if detach else ''}"
        mydocker("run", *detach, "--name", name, "busybox", "sh", "-c", f"exit {number}")
        ended_with(mydocker, name, number)


@task(5)
def test_a_foreground_container_has_ended_when_run_returns(mydocker):
    """`run` has returned: whoever looks now sees the end, without waiting for anybody."""
    for number in (0, 3):
        name = f"box{number}"
        call = mydocker("run", "--name", name, "busybox", "sh", "-c", f"exit {number}")
        expect(call, status=number)
        row = one(mydocker, name)
        found = (row["State"], row["Status"].partition(")")[0])
        check(found == ("exited", f"Exited ({number}"), f"Exited ({number}) …", row, call)


@task(5)
def test_an_end_by_a_signal_is_told(mydocker):
    """Killed from outside: 128 + 9. Such an end nobody announces: the monitor has to see it."""
    detached(mydocker, "--name", "box", "busybox", *STAY)
    end_detached(mydocker)
    ended_with(mydocker, "box", 137)
    end(in_the_foreground(mydocker, "other"))
    ended_with(mydocker, "other", 137)


# Task 6: The table


@task(6)
def test_the_header_names_the_columns(mydocker):
    """The same words as docker's, in its order: who knows one table, knows the other."""
    call = expect(mydocker("ps"), status=0, err="")
    header = call.text.splitlines()[:1] or [""]
    found = [title for title in re.split(" {3,}", header[0].strip()) if title != "PORTS"]
    check(found == TITLES, f"the titles {TITLES}, three blanks between them at least", header, call)


@task(6)
def test_on_a_fresh_machine_there_is_a_header_and_nothing_else(mydocker):
    """No container is no error: the table has a header, and the status is 0."""
    for options in ((), ("-a",)):
        call = expect(mydocker("ps", *options), status=0, err="")
        check(rows_of(call) == [], "the header, and no line below it", call.text, call)


@task(6)
@ours
def test_a_root_that_is_not_there_is_no_error_either(mydocker):
    """Before the first `run`, nothing has made MYDOCKER_ROOT; `ps` need not make it."""
    fresh = {"MYDOCKER_ROOT": str(mydocker.root / "not-there-yet")}
    call = expect(mydocker("ps", env=fresh), status=0, err="")
    check(rows_of(call) == [], "the header, and no container", call.text, call)
    for words in (("ps", "-a", "-q"), ("ps", "--format", "json")):
        expect(mydocker(*words, env=fresh), status=0, out="", err="")


@task(6)
@vm
def test_a_running_container_is_listed(mydocker):
    """`run -d` has returned: from that moment on, `ps` knows the container."""
    identity = detached(mydocker, "--name", "box", "busybox", *STAY)
    (row,) = the_rows(mydocker, 1)
    found = (row["CONTAINER ID"], row["IMAGE"], row["NAMES"])
    wanted = (identity[:12], "busybox", "box")
    check(found == wanted, f"its ID (12 digits), image and name: {wanted}", found)
    end_detached(mydocker)


@task(6)
def test_one_in_the_foreground_is_listed_too(mydocker):
    """Whether somebody watches it or not: a container is a container."""
    running = in_the_foreground(mydocker, "box")
    (row,) = the_rows(mydocker, 1)
    found = (row["IMAGE"], row["NAMES"], row["STATUS"].partition(" ")[0])
    check(found == ("busybox", "box", "Up"), "busybox, box, Up …", found)
    end(running)


@task(6)
@vm
def test_what_has_ended_is_listed_with_a(mydocker):
    """Without `--rm` a container that has ended is still there: you want to know how it ended."""
    expect(mydocker("run", "--name", "box", "busybox", "true"), status=0)
    the_rows(mydocker, 0)
    (row,) = the_rows(mydocker, 1, "-a")
    check(row["NAMES"] == "box", "the container `box`", row)
    (row,) = the_rows(mydocker, 1, "--all")
    check(row["NAMES"] == "box", "the container `box`", row)


@task(6)
def test_each_value_stands_below_its_title(mydocker):
    """A name longer than its title must not push the others out of their columns."""
    expect(mydocker("run", "--name", LONGEST, "busybox", "true"), status=0)
    expect(mydocker("run", "--name", "b2", "busybox", "sleep", "0"), status=0)
    first, second = the_rows(mydocker, 2, "-a")
    for row, command, name in ((first, '"sleep 0"', "b2"), (second, '"true"', LONGEST)):
        found = (row["IMAGE"], row["COMMAND"], row["NAMES"], row["STATUS"].partition(" ")[0])
        wanted = ("busybox", command, name, "Exited")
        check(found == wanted, f"below their titles: {wanted}", row)


@task(6)
def test_the_command_is_quoted_and_cut(mydocker):
    """A long command would tear the table apart: 20 characters, the last of them `…` for the rest.

    With --no-trunc it is there as a whole.
    """
    shown = {
        ("sleep", "0"): '"sleep 0"',
        ("echo", "1234567890abcde"): '"echo 1234567890abcde"',  # 20 characters
        ("echo", "1234567890abcdef"): '"echo 1234567890abcd…"',
        ("echo", "a" * 500): '"echo aaaaaaaaaaaaaa…"',
    }
    for command in shown:
        expect(mydocker("run", "busybox", *command), status=0)
    rows = the_rows(mydocker, len(shown), "-a")[::-1]
    whole = the_rows(mydocker, len(shown), "-a", "--no-trunc")[::-1]
    for (command, wanted), row, whole_row in zip(shown.items(), rows, whole, strict=True):
        check(row["COMMAND"] == wanted, wanted, row["COMMAND"])
        wanted = f'"{" ".join(command)}"'
        check(whole_row["COMMAND"] == wanted, f"with --no-trunc {wanted}", whole_row["COMMAND"])


@task(6)
def test_a_container_is_one_line_whatever_its_command(mydocker):
    """A newline in a command, or what moves the cursor, must not tear the table apart."""
    command = ("sh", "-c", "true\nx='\x1b[2J\r\t\"'")
    expect(mydocker("run", "--name", "box", "busybox", *command), status=0)
    for options in (("-a",), ("-a", "--no-trunc")):
        (row,) = the_rows(mydocker, 1, *options)
        check(row["NAMES"] == "box", "the name in its column", row)
        strange = [c for c in "".join(row.values()) if not c.isprintable()]
        check(not strange, "no control characters: they are written as \\n, \\x1b …", strange)
    (row,) = listed(mydocker, "-a")
    check(row["Names"] == "box", "the name", row)


@task(6)
@ours
def test_a_command_that_is_no_text(mydocker):
    """Arguments are bytes, and a table is text: it must not end in a traceback."""
    expect(mydocker("run", "--name", "box", "busybox", "echo", b"\xff\xfe"), status=0)
    for words in (("ps", "-a"), ("ps", "-a", "--no-trunc"), ("ps", "-a", "--format", "json")):
        for language in ("C.UTF-8", "C", "POSIX"):
            call = expect(mydocker(*words, env={"LC_ALL": language}), status=0, err="")
            check("box" in call.text, "the container", call.text, call)
    (row,) = the_rows(mydocker, 1, "-a", "--no-trunc")
    found = row["COMMAND"]
    check(found == '"echo \\xff\\xfe"', "each byte by its number: \\xff, \\xfe", found)


@task(6)
def test_the_newest_comes_first(mydocker):
    """What you have just started is what you look for."""
    order = ["second", "zz-last", "a-third", "first"]  # whichever way it is read, no alphabet
    for name in order:
        expect(mydocker("run", "--name", name, "busybox", "true"), status=0)
    found = names(mydocker, "-a")
    check(found == order[::-1], f"{order[::-1]}", found)
    table = [row["NAMES"] for row in the_rows(mydocker, 4, "-a")]
    check(table == found, "the same order in the table", table)


@task(6)
@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo"])
def test_created_is_the_moment_of_the_start(mydocker, zone):
    """Now, and not an hour ago: a moment is one thing, how a time zone spells it another."""
    before = time.time()
    detached(mydocker, "busybox", *STAY, env={"TZ": zone})
    (row,) = listed(mydocker, env={"TZ": zone})
    after = time.time()
    shown = crash_point(row["CreatedAt"])
    expected = "CreatedAt such as `2026-01-31 23:59:59 +0900 JST`"
    check(shown is not None, expected, row["CreatedAt"])
    expected = "CreatedAt between the moment before `run` and the moment after it"
    check(before - 1 <= shown <= after, expected, row["CreatedAt"])
    (row,) = the_rows(mydocker, 1)
    check(re.fullmatch(f"{WHILE} ago", row["CREATED"]), "such as `2 seconds ago`", row["CREATED"])
    end_detached(mydocker)


@task(6)
def test_the_status_says_for_how_long(mydocker):
    """`Up 3 seconds`, `Exited (0) 3 seconds ago`: both count from when it began or ended."""
    detached(mydocker, "busybox", *STAY)
    (row,) = the_rows(mydocker, 1)
    check(re.fullmatch(f"Up {WHILE}", row["STATUS"]), "such as `Up 3 seconds`", row["STATUS"])
    returned = time.monotonic()
    mydocker.host.until(lambda: time.monotonic() > returned + 1.1, 3)
    (row,) = the_rows(mydocker, 1)
    later = re.fullmatch(r"Up (1 second|\d+ seconds|About a minute)", row["STATUS"])
    check(later, "a second after it began, `Up 1 second` or more", row["STATUS"])
    end_detached(mydocker)
    (row,) = the_rows(mydocker, 1, "-a")
    wanted = re.fullmatch(rf"Exited \(137\) {WHILE} ago", row["STATUS"])
    check(wanted, "such as `Exited (137) 3 seconds ago`", row["STATUS"])


@task(6)
@ours
@pytest.mark.parametrize(("ago", "words"), LONG_AGO)
def test_long_times_have_larger_units(mydocker, ago, words):
    """Nobody counts a week in seconds. Here a record is made older, instead of waiting for it."""
    expect(mydocker("run", "--name", "box", "busybox", "true"), status=0)
    record = record_of(mydocker, "box")
    young = json.loads(record.read_text())
    older = earlier(young, ago)
    check(older != young, "the record has moments in it, in seconds since 1970", young)
    record.write_text(json.dumps(older))
    (row,) = the_rows(mydocker, 1, "-a")
    found = (row["CREATED"], row["STATUS"])
    wanted = (f"{words} ago", f"Exited (0) {words} ago")
    check(found == wanted, f"after {ago} seconds {wanted}", found, mydocker.calls[-1])


@task(6)
def test_a_caller_that_does_not_wait_for_room_gets_it_all(mydocker):
    """A pipe that is non-blocking takes what there is room for. Nobody shall see half a table."""
    argument = "x" * 100_000
    expect(mydocker("run", "--name", "box", "busybox", "true", argument), status=0)
    call = mydocker("ps", "-a", "--no-trunc", before=non_blocking(1))
    expect(call, status=0, err="")
    (row,) = rows_of(call)
    check(row["NAMES"] == "box", "the whole row", f"{len(call.out)} bytes", call)


# Task 7: Names


@task(7)
@pytest.mark.parametrize("detach", [(), ("-d",)], ids=["foreground", "detached"])
def test_a_taken_name_is_refused(mydocker, detach):
    """A second record of that name would overwrite the first, and hide that container for good."""
    expect(mydocker("run", "--name", "box", "busybox", "sh", "-c", "exit 5"), status=5)
    before = one(mydocker, "box")
    call = mydocker("run", *detach, "--name", "box", "busybox", "echo", "started")
    expect(call, status=125, out="", complaint=["box"])
    after = one(mydocker, "box")
    same = (after["ID"], after["CreatedAt"]) == (before["ID"], before["CreatedAt"])
    check(same, f"the first, untouched: {before}", after, call)
    ended_with(mydocker, "box", 5)
    expect(mydocker("run", "--name", "box2", "busybox", "true"), status=0)


@task(7)
def test_the_name_of_a_running_one_is_refused(mydocker):
    """And the first one does not notice: it runs on, and is listed as before."""
    identity = detached(mydocker, "--name", "box", "busybox", *STAY)
    for options in ((), ("--rm",), ("-d", "--rm")):
        call = mydocker("run", *options, "--name", "box", "busybox", "echo", "started")
        expect(call, status=125, out="", complaint=["box"])
        (row,) = listed(mydocker, "-a")
        found = (row["ID"], row["Names"], row["State"])
        check(found == (identity, "box", "running"), "the first, untouched", row, call)
    container_process(mydocker, identity)
    end_detached(mydocker)


@task(7)
def test_of_many_that_want_a_name_one_gets_it(mydocker):
    """First to look whether it is free and then to take it leaves a gap in between."""
    for round_ in range(3):
        words = ("run", "--name", f"box{round_}", "busybox", "true")
        calls = [running.wait() for running in [mydocker.start(*words) for _ in range(4)]]
        statuses = sorted(call.status or 0 for call in calls)
        check(statuses == [0, 125, 125, 125], "one 0, and 125 for the others", statuses)
        found = names(mydocker, "-a")
        check(found.count(f"box{round_}") == 1, f"box{round_} once", found)


@task(7)
@guard  # cli.py has refused it since 3.1
def test_a_name_that_leads_elsewhere_harms_nobody(mydocker):
    """`--name ../../x`: the directory of the record would be one of the host's, and be removed."""
    expect(mydocker("run", "--name", "good", "busybox", "true"), status=0)
    check(names(mydocker, "-a") == ["good"], "good", names(mydocker, "-a"))
    victim = mydocker.root.parent / "here" / "victim"
    victim.mkdir()
    (victim / "kept").write_text("kept\n")
    up = os.path.relpath(victim, mydocker.root / "containers")
    for options in ((), ("-d", "--rm")):
        for name in (up, str(victim), "../good", "good/", ".."):
            call = mydocker("run", *options, "--name", name, "busybox", "true")
            expect(call, status=125, out="", complaint=["name", name])
    check((victim / "kept").is_file(), "the host's directory, with its file", "it is gone")
    check(names(mydocker, "-a") == ["good"], "good", names(mydocker, "-a"))
    (victim / "kept").unlink()
    victim.rmdir()


# Task 8: A start that fails half-way


@task(8)
@ours
@pytest.mark.parametrize("detach", [(), ("-d",)], ids=["foreground", "detached"])
@pytest.mark.parametrize("scarce", ["size", "nr_inodes"])
def test_a_start_that_a_full_disk_ends_leaves_nothing(mydocker, detach, scarce):
    """One page more, or one file more, and it would have run: whichever write it is that fails.

    When it is the one between the fork and the command, there is a child by then, in its groups.
    """
    words = ("run", *detach, "--rm", "--name", "box", "busybox", "echo", "started")
    with small_disk(mydocker) as (env, leave_free):
        for free in range(100):
            leave_free(scarce, free)
            call = mydocker(*words, env=env)
            left = [*map(str, container_processes(mydocker)), *mydocker.host.groups.below()]
            if call.status == 0:
                break
            expect(call, status=125, out="", complaint=["No space left on device"])
            check(not left, "no process and no group of it", left, call)
            rows = listed(mydocker, "-a", env=env)
            check(not rows, "no record of it", rows, call)
        expect(call, status=0, out=None if detach else "started\n")
        is_id = re.fullmatch("[0-9a-f]{64}\n", call.text)
        check(is_id or not detach, "an ID of 64 hex digits, once there is room", call.text, call)
        nothing_lives(mydocker)


@contextlib.contextmanager
def small_disk(mydocker: Mydocker) -> Iterator[tuple[dict[str, str], Callable[[str, int], None]]]:
    """A disk of its own: the environment for a MYDOCKER_ROOT on it, and what limits the disk.

    The latter takes "size" or "nr_inodes", and how many pages or files more there shall be room
    for than there are now.
    """
    point = mydocker.directory / "small"
    point.mkdir()

    def as_root(script: str, *words: str) -> None:
        command = ["sh", "-ec", script, "sh", str(point), *words]
        expect(mydocker.host.run(command, env=mydocker.env), status=0)

    def leave_free(scarce: str, free: int) -> None:
        script = """mount -o remount,size=1g,nr_inodes=100k none "$1"
            set -- $(stat -f -c '%b %f %c %d' "$1") "$1" "$2" "$3"
            case $6 in
            size) mount -o remount,size=$((($1 - $2 + $7) * 4))k none "$5" ;;
            nr_inodes) mount -o remount,nr_inodes=$(($3 - $4 + $7)) none "$5" ;;
            esac"""
        as_root(script, scarce, str(free))

    image = str(mydocker.root / "images" / "busybox")
    as_root('mount -t tmpfs none "$1"; mkdir "$1/images"; cp -a "$2" "$1/images"', image)
    yield {"MYDOCKER_ROOT": str(point)}, leave_free
    as_root('umount "$1"')
    point.rmdir()


# Task 9: The truth


@task(9)
@ours
@pytest.mark.parametrize("detach", [True, False], ids=["detached", "foreground"])
def test_a_container_whose_monitor_was_killed_has_ended(mydocker, detach):
    """The container dies with its monitor, and nobody is left to write that down.

    The record still says what was true then. `ps` has to look whether the process is there.
    """
    after_a_crash(mydocker)
    if detach:
        detached(mydocker, "--name", "box", "busybox", *STAY)
        os.kill(monitor_of(mydocker, container_process(mydocker)).pid, signal.SIGKILL)
    else:
        running = in_the_foreground(mydocker, "box")
        running.send(signal.SIGKILL)
        running.wait()
    nothing_lives(mydocker)
    ended_with(mydocker, "box", 137)
    expect(mydocker("run", "--rm", "busybox", "echo", "next"), status=0, out="next\n", err="")
    ended_with(mydocker, "box", 137)


@task(9)
@ours
def test_a_pid_that_is_used_again_is_not_the_container(mydocker):
    """PIDs are used again, and the number that stands in a record may be anybody's by now.

    A process is named by its PID *and* the moment when it began: /proc/PID/stat, field 22.
    """
    after_a_crash(mydocker)
    detached(mydocker, "--name", "box", "busybox", *STAY)
    process = container_process(mydocker)
    monitor = monitor_of(mydocker, process)
    os.kill(monitor.pid, signal.SIGKILL)
    nothing_lives(mydocker)
    strangers = [stranger(mydocker, process.inner), stranger(mydocker, monitor.inner)]
    ended_with(mydocker, "box", 137)
    the_rows(mydocker, 0)
    for pid in (process.inner, monitor.inner):
        there = [p for p in mydocker.host.processes() if p.inner == pid and p.state != "Z"]
        check(there, f"the stranger that has the PID {pid} now is left alone", "it is gone")
        os.kill(there[0].pid, signal.SIGTERM)
    for each in strangers:
        each.wait()


@task(9)
@ours
def test_a_process_that_only_waits_to_be_collected_has_ended(mydocker):
    """A zombie still has its PID and the moment when it began, but it does not run any more."""
    detached(mydocker, "--name", "box", "busybox", *STAY)
    process = container_process(mydocker)
    monitor = monitor_of(mydocker, process)
    os.kill(monitor.pid, signal.SIGSTOP)  # it cannot collect it now
    os.kill(process.pid, signal.SIGKILL)
    mydocker.host.until(lambda: not container_processes(mydocker))
    found = names(mydocker)
    row = one(mydocker, "box")
    os.kill(monitor.pid, signal.SIGCONT)
    check(found == [], "no container runs", found)
    told = (row["State"], row["Status"][:12])
    check(told == ("exited", "Exited (137)"), "State exited, Status `Exited (137) … ago`", row)
    nothing_lives(mydocker)
    ended_with(mydocker, "box", 137)


@task(9)
@guard  # `commit` has told such a process from a zombie since 4.4
@ours
def test_one_whose_first_thread_has_ended_runs(mydocker):
    """The state of a process in /proc/PID/stat is that of its first thread, and others may go on.

    Then it says Z, as of a zombie, and there is more than one thread (field 20).
    """
    script = """
import ctypes, platform, threading, time
threading.Thread(target=time.sleep, args=(1000,)).start()
ctypes.CDLL(None).syscall(60 if platform.machine() == "x86_64" else 93, 0)  # exit: this thread only
"""
    python = f"{sys.base_prefix}/bin/python3"
    places = {os.path.realpath(sys.base_prefix), "/usr", "/lib", "/lib64"}
    volumes = [f"-v={place}:/host{place}:ro" for place in sorted(places) if Path(place).is_dir()]
    command = ("chroot", "/host", python, "-I", "-S", "-c", script)
    detached(mydocker, "--name", "box", *volumes, "busybox", *command)
    firsts = mydocker.host.until(lambda: first_processes_in_state_z(mydocker))
    check(firsts, "the first thread of PID 1 has ended: state Z", mydocker.host.processes())
    found = names(mydocker)
    check(found == ["box"], "the container runs, for another thread of its PID 1 does", found)
    os.kill(firsts[0].pid, signal.SIGKILL)
    nothing_lives(mydocker)
    ended_with(mydocker, "box", 137)


def first_processes_in_state_z(mydocker: Mydocker) -> list[Process]:
    there = mydocker.host.processes()
    return [
        process for process in there if process.is_first_of_a_container() and process.state == "Z"
    ]


@task(9)
@ours
def test_what_ran_before_a_reboot_has_ended(mydocker):
    """After a reboot all PIDs, and all the moments counted from the boot, come again.

    /proc/sys/kernel/random/boot_id is another one after each boot; the record holds it.
    """
    detached(mydocker, "--name", "box", "busybox", *STAY)
    check(one(mydocker, "box")["State"] == "running", "State running", one(mydocker, "box"))
    path = record_of(mydocker, "box")
    record = json.loads(path.read_text())
    record["boot_id"] = "00000000-0000-4000-8000-000000000000"
    path.with_name("edited").write_text(json.dumps(record))
    path.with_name("edited").rename(path)
    ended_with(mydocker, "box", 137)
    the_rows(mydocker, 0)
    end_detached(mydocker)


@task(9)
@ours
@needs("unotify")
def test_at_every_moment_ps_finds_whole_records(mydocker):
    """`ps` may look between any two steps of a `run`: at an old record, at a new one, or at none.

    Half a record is seen by whoever looks then, and stays there after a crash.
    """
    expect(mydocker("run", "--name", "before", "busybox", "true"), status=0)
    crash_point = CrashPoint(0)
    words = ["run", "-d", "--rm", "--name", "box", "busybox", "true"]
    running = mydocker.start(*words, crash_point=crash_point)
    states, waiting = [], []
    for _ in crash_point.steps():
        is_there = bool(container_processes(mydocker))
        look = as_far_as_it_can(mydocker, "ps", "-a", "--format", "json")
        if look.has_ended():
            state = state_of_box(call := look.wait())
            check(state or not is_there, "a container that has a PID 1 is listed", state, call)
            states.append(state)
        else:
            waiting.append(look)
    call = expect(running.wait(), status=0)
    check(len(call.text.strip()) == 64, "the ID of the container", call.text, call)
    for look in waiting:
        state_of_box(look.wait())
    life = [state for state, _ in itertools.groupby(states)]
    wanted = [None, "created", "running", "exited", None]
    left = iter(wanted)
    check(all(state in left for state in life), f"in this order, at most: {wanted}", life)


@task(9)
@guard  # a record has no state in it, and is whole since "Names"
@ours
@pytest.mark.parametrize("options", [[], ["-d"]], ids=["run", "run -d"])
@needs("unotify")
def test_after_a_crash_at_any_moment_ps_tells_the_truth(mydocker, options):
    """All of mydocker killed at once, at any moment of a start: `ps` finds no half record.

    What was there before is still there, nothing is said to run, and the next one starts.
    """
    after_a_crash(mydocker)
    expect(mydocker("run", "--name", "before", "busybox", "sh", "-c", "exit 5"), status=5)
    host = mydocker.host
    for number, crash_point in enumerate(crash_points(5)):
        words = ["run", *options, "--name", f"box{number}", "busybox", *STAY]
        running = mydocker.start(*words, crash_point=crash_point)
        with crash_point:
            running.kill()
            while left := [process for process in host.processes() if process.state != "Z"]:
                for process in left:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(process.pid, signal.SIGKILL)
        call = running.wait()
        nothing_lives(mydocker)
        rows = listed(mydocker, "-a")
        states = {row["Names"]: row["State"] for row in rows}
        check("running" not in states.values(), "nothing is said to run", states, call)
        ended_with(mydocker, "before", 5)
        expect(mydocker("run", "--rm", "busybox", "echo", "next"), status=0, out="next\n", err="")


# Task 10: PID 1 without its monitor


@task(10)
@ours
def test_one_that_has_changed_its_user_does_not_live_on_without_its_monitor(mydocker):
    """With another user ID, a process loses the wish to die with its parent: see prctl(2).

    So the kernel does not end it. Whoever looks next has to: it has no monitor now.
    """
    after_a_crash(mydocker)
    command = ("su", "-s", "/bin/sh", "nobody", "-c", f"exec {' '.join(STAY)}")
    detached(mydocker, "--name", "box", "busybox", *command)
    process = container_process(mydocker)
    user = Path(f"/proc/{process.pid}").stat
    changed = mydocker.host.until(lambda: user().st_uid != 0)
    check(changed, "PID 1 has changed its user", f"it is that of user {user().st_uid}")
    os.kill(process.parent, signal.SIGKILL)
    mydocker.host.until(lambda: process.parent not in [p.pid for p in mydocker.host.processes()])
    the_rows(mydocker, 0)
    nothing_lives(mydocker)
    ended_with(mydocker, "box", 137)


# Task 11: Another PID namespace


@task(11)
@ours
@pytest.mark.parametrize(
    "caller",
    [
        ELSEWHERE["its own /proc"],
        pytest.param(ELSEWHERE["the host's /proc"], marks=guard),  # which shows the very PIDs
    ],
    ids=ELSEWHERE,
)
def test_who_cannot_see_its_processes_does_not_say_that_it_has_ended(mydocker, caller):
    """In another PID namespace, the PIDs in its record are nobody's, or a stranger's.

    There, `ps` shows what is recorded, and writes nothing: an end that is recorded is believed.
    """
    expect(mydocker("run", "--name", "ended", "busybox", "sh", "-c", "exit 5"), status=5)
    detached(mydocker, "--name", "box", "busybox", *STAY)
    before = record_of(mydocker, "box").read_bytes()
    call = expect(mydocker("ps", "-a", "--format", "json", before=caller), status=0, err="")
    shown = {row["Names"]: row["Status"] for row in objects_in(call)}
    told = (shown.get("box", "")[:3], shown.get("ended", "")[:10])
    check(told == ("Up ", "Exited (5)"), "box `Up …`, and ended `Exited (5) …`", shown, call)
    after = record_of(mydocker, "box").read_bytes()
    check(after == before, f"the record as it was: {before!r}", after, call)
    check(names(mydocker) == ["box"], "where it was started, it is listed", names(mydocker))
    end_detached(mydocker)
    ended_with(mydocker, "box", 137)


@task(11)
@ours
def test_a_container_in_another_pid_namespace_is_not_committed(mydocker):
    """Whose files would it be? A stranger has the PID that stands in the record, or nobody."""
    detached(mydocker, "--name", "box", "busybox", *STAY)
    is_refused_elsewhere(mydocker, "commit", "box", "copy")
    end_detached(mydocker)


@task(11)
@ours
@needs("unotify")
def test_a_run_in_another_pid_namespace_removes_nothing_that_is_being_made(mydocker):
    """What a `run` that was killed has left is removed by the next one, if its PID is nobody's.

    But whose PID, and where? In another PID namespace it says nothing.
    """
    expect(mydocker("run", "--name", "good", "busybox", "true"), status=0)
    check(names(mydocker, "-a") == ["good"], "good", names(mydocker, "-a"))
    record = mydocker.root / "containers" / "box"
    crash_point = CrashPoint(0)
    running = mydocker.start(
        "run", "-d", "--rm", "--name", "box", "busybox", "true", crash_point=crash_point
    )
    with another_pid_namespace(mydocker) as inside:
        for _ in crash_point.steps():
            if not record.exists():
                other = mydocker.start("run", "--rm", "busybox", "true", before=inside)
                mydocker.host.until(other.has_ended)  # or it waits for the first
    call = expect(running.wait(), status=0, err="")
    check(len(call.text.strip()) == 64, "the ID of the container", call.text, call)
    nothing_lives(mydocker)


# Task 12: A PID namespace that has ended


@task(12)
@ours
def test_one_whose_pid_namespace_is_gone_has_ended(mydocker):
    """With a PID namespace all goes that runs in it, container and monitor.

    From outside, nobody can look for their PIDs. But a lock is let go of when its holder ends, and
    that can be seen from everywhere.
    """
    after_a_crash(mydocker)
    with another_pid_namespace(mydocker) as inside:
        detached(mydocker, "--name", "box", "busybox", *STAY, before=inside)
        row = one(mydocker, "box")
        check(row["State"] == "running", "State running, while its monitor lives", row)
    nothing_lives(mydocker)
    ended_with(mydocker, "box", 137)


# Task 13: Corrupt records


BROKEN = {
    "an empty directory": None,
    "an empty file": b"",
    "not text": bytes(range(256)),
    "no object": b"[1, 2]",
    "null": b"null",
    "an empty object": b"{}",
    "very deep": b"[" * 200_000,
    "a huge number": b"9" * 10_000,
    "half of a good one": lambda good: good[: len(good) // 2],
    "half of a good one, then zeros": lambda good: good[: len(good) // 2] + bytes(2000),
    "nothing in it": lambda good: with_all_values(good, None),
    "lists": lambda good: with_all_values(good, []),
    "objects": lambda good: with_all_values(good, {}),
    "numbers": lambda good: with_all_values(good, 10**30),
    "negative numbers": lambda good: with_all_values(good, -1),
    "empty texts": lambda good: with_all_values(good, ""),
    "half of a character": lambda good: with_all_values(good, "\ud83d"),
    "true": lambda good: with_all_values(good, True),
}


@task(13)
@ours
def test_a_broken_record_does_not_hide_the_others(mydocker):
    """The disk was full, somebody edited it, another program made it: `ps` shows all the others."""
    expect(mydocker("run", "--name", "ended", "busybox", "sh", "-c", "exit 5"), status=5)
    good = record_of(mydocker, "ended").read_bytes()
    mydocker.kept.add("broken")
    broken = mydocker.root / "containers" / "broken"
    detached(mydocker, "--rm", "--name", "running", "busybox", *STAY)
    for kind, content in BROKEN.items():
        broken.mkdir()
        if content is not None:
            whole = content(good) if callable(content) else content
            (broken / "config.json").write_bytes(whole)
        others_are_shown(mydocker, kind, ("--format", "json"))
        shutil.rmtree(broken)
    end_detached(mydocker)


def a_file(path: Path) -> None:
    path.write_text("not a directory\n")


def a_directory_for_a_file(path: Path) -> None:
    (path / "config.json").mkdir(parents=True)


def a_link_to_itself(path: Path) -> None:
    path.mkdir()
    (path / "config.json").symlink_to("config.json")


def a_fifo(path: Path) -> None:
    path.mkdir()
    os.mkfifo(path / "config.json")


@task(13)
@ours
@pytest.mark.parametrize("make", [a_file, a_directory_for_a_file, a_link_to_itself, a_fifo])
def test_what_is_no_record_does_not_hide_the_others(mydocker, make):
    """Whatever else lies among the records: `ps` must not stumble over it, nor must `run`."""
    expect(mydocker("run", "--name", "ended", "busybox", "sh", "-c", "exit 5"), status=5)
    record_of(mydocker, "ended")
    make(mydocker.root / "containers" / "broken")
    mydocker.kept.add("broken")
    detached(mydocker, "--rm", "--name", "running", "busybox", *STAY)
    others_are_shown(mydocker, make.__name__.replace("_", " "))
    end_detached(mydocker)


@task(13)
@ours
@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("an empty directory", marks=guard),  # it looks like one that is being removed
        "half of a good one",
        "no object",
    ],
)
def test_run_works_beside_a_broken_record(mydocker, kind):
    """One record that cannot be read is no reason to start no container any more."""
    expect(mydocker("run", "--name", "ended", "busybox", "sh", "-c", "exit 5"), status=5)
    good = record_of(mydocker, "ended").read_bytes()
    mydocker.kept.add("broken")
    broken = mydocker.root / "containers" / "broken"
    broken.mkdir()
    content = BROKEN[kind]
    if content is not None:
        (broken / "config.json").write_bytes(content(good) if callable(content) else content)
    expect(mydocker("run", "--rm", "busybox", "echo", "next"), status=0, out="next\n", err="")
    detached(mydocker, "--rm", "--name", "running", "busybox", *STAY)
    others_are_shown(mydocker, kind)
    end_detached(mydocker)


# Task 14: One wrong value


@task(14)
@ours
@pytest.mark.parametrize("name", ["ended", "running"])
def test_one_wrong_value_in_a_record_does_not_hide_the_others(mydocker, name):
    """A record in which everything is wrong is easily told. Here all is well but for one value.

    JSON has numbers, texts, lists, and nothing at all: any of them can stand in any place.
    """
    expect(mydocker("run", "--name", "ended", "busybox", "sh", "-c", "exit 5"), status=5)
    detached(mydocker, "--rm", "--name", "running", "busybox", *STAY)
    good = json.loads(record_of(mydocker, name).read_bytes())
    for place, copies in wrong_records(good, name, one(mydocker, name)["ID"]):
        broken = [mydocker.root / "containers" / each for each, _ in copies]
        for path, (_, text) in zip(broken, copies, strict=True):
            path.mkdir()
            (path / "config.json").write_text(text)
        others_are_shown(mydocker, f"records with a wrong value at {place}", ("--format", "json"))
        for path in broken:
            shutil.rmtree(path)
    end_detached(mydocker, one(mydocker, "running")["ID"])


def others_are_shown(mydocker: Mydocker, kind: str, *ways: tuple[str, ...]) -> None:
    """Expect `ps -a` to show the containers `running` and `ended` beside a corrupt record."""
    __tracebackhide__ = True
    for options in ways or ((), ("--format", "json")):
        call = mydocker("ps", "-a", *options)
        check("Traceback" not in call.errors, f"no traceback beside {kind}", call.errors, call)
        ends = call.status in (0, 1) and not call.problem
        check(ends, f"beside {kind}, it ends by itself, with 0 or 1", call.status, call)
        rows = rows_of(call) if not options else objects_in(call)
        title = "Names" if options else "NAMES"
        found = [row[title] for row in rows if row[title] in ("running", "ended")]
        check(found == ["running", "ended"], f"beside {kind}, running and ended", found, call)


def with_all_values(good: bytes, value: object) -> bytes:
    """A record whose values have all become another one."""
    return json.dumps(dict.fromkeys(json.loads(good), value)).encode()


def rows_of(call: Call) -> list[dict[str, str]]:
    """The lines of a table, by the titles that their values stand below."""
    __tracebackhide__ = True
    header, *lines = call.text.splitlines() or [""]
    titles = [(match[0], match.start()) for match in re.finditer(r"\S+( \S+)*", header)]
    check({*TITLES} <= {title for title, _ in titles}, f"a header with {TITLES}", header, call)
    starts = [start for _, start in titles]
    ends = [*starts[1:], None]
    return [
        {title: line[start:end].strip() for (title, start), end in zip(titles, ends, strict=True)}
        for line in lines
    ]


def the_rows(mydocker: Mydocker, count: int, *options: str) -> list[dict[str, str]]:
    """The rows of the table of `ps`: that many."""
    __tracebackhide__ = True
    call = expect(mydocker("ps", *options), status=0, err="")
    rows = rows_of(call)
    check(len(rows) == count, f"a header, and {count} lines below it", call.text, call)
    return rows


def in_the_foreground(mydocker: Mydocker, name: str) -> Running:
    """Start a container in the foreground that stays, and wait until it is listed."""
    __tracebackhide__ = True
    running = started(mydocker.start("run", "--name", name, "busybox", *READY_AND_STAY))
    mydocker.host.until(lambda: name in names(mydocker))
    check(name in names(mydocker), f"{name} is listed", names(mydocker), mydocker.calls[-1])
    return running


def crash_point(created_at: str) -> float | None:
    """The seconds since 1970 of what `ps` shows as CreatedAt; None if it is no date and time."""
    words = created_at.split()
    with contextlib.suppress(ValueError):
        return datetime.strptime(" ".join(words[:3]), "%Y-%m-%d %H:%M:%S %z").timestamp()
    return None


def names(mydocker: Mydocker, *options: str) -> list[str]:
    __tracebackhide__ = True
    return [row["Names"] for row in listed(mydocker, *options)]


def one(mydocker: Mydocker, name: str) -> dict[str, str]:
    """What `ps -a` says of the container with this name."""
    __tracebackhide__ = True
    rows = listed(mydocker, "-a")
    found = [row for row in rows if row["Names"] == name]
    check(len(found) == 1, f"one container called {name}", rows, mydocker.calls[-1])
    return found[0]


def ended_with(mydocker: Mydocker, name: str, status: int) -> None:
    """Expect `ps -a` to say, soon, that a container has ended with that status."""
    __tracebackhide__ = True

    def has_ended() -> bool:
        __tracebackhide__ = True
        return one(mydocker, name)["State"] != "running"

    mydocker.host.until(has_ended)
    row = one(mydocker, name)
    right = row["State"] == "exited" and re.fullmatch(
        rf"Exited \({status}\) {WHILE} ago", row["Status"]
    )
    check(right, f"State exited, Status `Exited ({status}) … ago`", row, mydocker.calls[-1])


def record_of(mydocker: Mydocker, name: str) -> Path:
    __tracebackhide__ = True
    path = mydocker.root / "containers" / name / "config.json"
    found = sorted(str(p.relative_to(mydocker.root)) for p in mydocker.root.glob("*/*"))
    check(path.is_file(), f"a file {path.relative_to(mydocker.root)} in MYDOCKER_ROOT", found)
    return path


def earlier(part: object, seconds: int) -> object:
    """A part of a record in which each moment of the last hour is earlier by so many seconds."""
    if isinstance(part, dict):
        return {name: earlier(value, seconds) for name, value in part.items()}
    if isinstance(part, list):
        return [earlier(value, seconds) for value in part]
    if isinstance(part, int | float) and abs(time.time() - part) < HOUR:
        return part - seconds
    return part


def state_of_box(call: Call) -> str | None:
    """What `ps -a --format json` says of the one called box; None if it is not listed.

    Both containers run `true`: whoever has ended has ended with 0, and never in another way.
    """
    expect(call, status=0, err="")
    rows = list(objects_in(call))
    states = {row["Names"]: row["State"] for row in rows}
    check(states.get("before") == "exited", "the other one is still listed", call.text, call)
    ended = [row["Status"] for row in rows if row["State"] == "exited"]
    with_0 = all(status.startswith("Exited (0) ") for status in ended)
    check(with_0, "`Exited (0)` for those that have ended", ended, call)
    return states.get("box")


def after_a_crash(mydocker: Mydocker) -> None:
    """Until 5.6, nothing clears away what is left after a crash."""
    mydocker.may_leave("cgroup", "file")


def nothing_lives(mydocker: Mydocker) -> None:
    """Expect containers, and their monitors, to be gone soon."""
    __tracebackhide__ = True
    host = mydocker.host
    left = host.until(lambda: not container_processes(mydocker)) or container_processes(mydocker)
    check(left is True, "no process of a container", left)
    mydocker.left_behind()  # waits until all has settled; what then is left fails the test


def stranger(mydocker: Mydocker, pid: int) -> Running:
    """Start a process that has nothing to do with mydocker and has this PID on the test host.

    The kernel counts PIDs up; /proc/sys/kernel/ns_last_pid says where it is, and can be set.
    """
    script = f"echo {pid - 1} > /proc/sys/kernel/ns_last_pid; sleep 1000 & echo $! is there; wait"
    for _ in range(20):
        running = mydocker.host.start(["sh", "-c", script], env=mydocker.env)
        showed(running, b" is there\n")
        if running.out == f"{pid} is there\n".encode():
            return running
        running.stop()
    raise LookupError(f"no process with the PID {pid} could be made")
