"""Chapter 5.8: the environment that a container sees."""

import json
import os
import random
import re
import subprocess
from pathlib import Path

import pytest

from dojo.scratch import Call
from dojo.testkit.callers import ASCII_ONLY
from dojo.testkit.containers import detached
from dojo.testkit.mydocker import Mydocker
from dojo.testkit.testing import check, expect, guard, ours, task, vm

CONTAINER_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SHOW = ("cat", "/proc/self/environ")  # as the kernel keeps it: no shell adds anything of its own
BYTES = b"\xff\xfe \x80"
SECRET = {"SECRET": "of the caller", "TERM": "vt220", "LC_ALL": "C", "EDITOR": "ed", "_": "/x"}
ODD = {
    "BLANKS": "  a  b ",
    "EQUALS": "a=b=c",
    "EMPTY": "",
    "QUOTES": "'one' \"two\"",
    "SHELL_WORDS": "$HOME `id` $(id) ~ *;true",
    "LINES": "one\ntwo\n",
    "HASH": "a # b",
    "BACKSLASH": "a\\nb\\",
    "OTHERS": "zwölf €",
    "NO_ENDS_OF_LINES": "a\x0bb\x0cc\x1dd\x85e\u2028f",
    "LONG": "x" * 100_000,
    "lower.case-name": "yes",
}


# Task 1: Nothing of the caller's


@task(1)
def test_nothing_of_the_callers_gets_in(mydocker):
    """A password in the caller's environment is not the container's business, nor is a setting.

    What is there is what a container always has: PATH, HOME and HOSTNAME.
    """
    call = run(mydocker, env=SECRET)
    exactly_these(call)
    identity = environment(call)[b"HOSTNAME"]
    hex_digits = len(identity) == 12 and set(identity) <= set(b"0123456789abcdef")
    check(hex_digits, "HOSTNAME with the 12 hex digits of a short ID", identity, call)


@task(1)
def test_the_hostname_is_the_one_that_it_has(mydocker):
    """Two ways to ask for the same thing must not give two answers."""
    script, caller = "hostname; echo $HOSTNAME", {"HOSTNAME": "of-the-caller"}
    call = mydocker("run", "--rm", "busybox", "sh", "-c", script, env=caller)
    lines = expect(call, status=0, err="").text.splitlines()
    check(len(lines) == 2 and lines[0] == lines[1], "the same name twice", call.text, call)


@task(1)
def test_nothing_of_the_callers_gets_into_a_detached_one(mydocker):
    """It does not matter in which way it was started, nor through how many processes."""
    identity = detached(mydocker, "busybox", *SHOW, env=SECRET)
    mydocker.host.until(lambda: not expect(mydocker("ps", "-q"), status=0).out)
    seen = expect(mydocker("logs", identity), status=0, err="")
    exactly(seen, PATH=CONTAINER_PATH, HOME="/root", HOSTNAME=identity[:12])
    remove(mydocker, identity)


@task(1)
def test_with_a_terminal_there_is_term(mydocker):
    """Programs ask TERM what the terminal can do. xterm is what nearly all of them understand."""
    words = ("run", "--rm", "-it", "busybox", *SHOW)
    call = mydocker.start(*words, terminal=True, env=SECRET).wait()
    exactly_these(call, TERM="xterm")
    exactly_these(run(mydocker, "-i"))


@task(1)
def test_a_detached_one_with_a_terminal_has_term(mydocker):
    """`-t` is what counts, and not whether somebody sits in front of it."""
    identity = detached(mydocker, "-t", "busybox", *SHOW, env=SECRET)
    mydocker.host.until(lambda: not expect(mydocker("ps", "-q"), status=0).out)
    seen = expect(mydocker("logs", identity), status=0)
    exactly(seen, PATH=CONTAINER_PATH, HOME="/root", HOSTNAME=identity[:12], TERM="xterm")
    remove(mydocker, identity)


# Task 2: Variables


@task(2)
@vm
def test_a_variable_is_there(mydocker):
    """`-e K=V` is how a program in a container is told what it needs to know."""
    call = mydocker("run", "--rm", "-e", "GREETING=hello", "busybox", "sh", "-c", "echo $GREETING")
    expect(call, status=0, out="hello\n", err="")


@task(2)
def test_as_many_as_wanted(mydocker):
    """Each is there. Of two with the same name, the last one counts, and it is there once."""
    seen = run(mydocker, "-e", "ONE=1", "-e", "TWO=2", "-e", "ONE=one", "-e", "THREE=3")
    contains(seen, ONE="one", TWO="2", THREE="3")


@task(2)
def test_a_value_is_taken_as_it_is(mydocker):
    """Blanks, quotes, newlines, a second `=`, nothing at all: no shell reads it, nor anybody."""
    options = [word for name, value in ODD.items() for word in ("-e", f"{name}={value}")]
    contains(run(mydocker, *options), **ODD)


@task(2)
@ours
def test_a_value_can_be_any_bytes(mydocker):
    """The kernel knows no encodings. What is no UTF-8 is a value, too."""
    call = run(mydocker, "-e", "BYTES", env={"BYTES": os.fsdecode(BYTES)})
    found = environment(call).get(b"BYTES")
    check(found == BYTES, "BYTES with the bytes ff fe 20 80", found, call)


@task(2)
def test_a_name_alone_takes_the_callers_value(mydocker):
    """`-e K` hands on what the caller has, so that it need not be typed, or be seen by `ps`."""
    caller = {"MINE": "of the caller\nand more ", "EMPTY": ""}
    seen = run(mydocker, "-e", "MINE", "-e", "EMPTY", env=caller)
    contains(seen, **caller)


@task(2)
def test_a_name_alone_that_the_caller_has_not_is_not_set(mydocker):
    """Not even to nothing: programs tell a variable that is empty from one that is not there."""
    seen = run(mydocker, "-e", "NOT_THERE", "-e", "THERE", env={"THERE": "yes"})
    contains(seen, THERE="yes")
    lacks(seen, "NOT_THERE")


@task(2)
def test_a_name_alone_takes_back_what_would_be_set(mydocker):
    """Where the caller has none, there is none: not the usual HOME, and not what came before.

    The last word on a name counts, also if it says that there is to be none.
    """
    options = ("-e", "ONE=1", "-e", "ONE", "-e", "TWO=2", "-e", "HOME")
    has_neither = ("env", "--unset=HOME", "--unset=ONE")
    call = run(mydocker, *options, before=has_neither)
    contains(call, TWO="2")
    lacks(call, "ONE")
    lacks(call, "HOME")


@task(2)
def test_what_is_asked_for_wins(mydocker):
    """HOME and HOSTNAME have values of their own, until others are wanted. None is there twice."""
    options = ("-e", "HOME=/srv", "-e", "HOSTNAME=another", "-e", "TERM=dumb")
    at_a_terminal = mydocker.start(
        "run", "--rm", "-it", *options, "busybox", *SHOW, terminal=True
    ).wait()
    for seen in (run(mydocker, *options), at_a_terminal):
        exactly(seen, PATH=CONTAINER_PATH, HOME="/srv", HOSTNAME="another", TERM="dumb")


@task(2)
def test_the_variable_hostname_does_not_name_the_container(mydocker):
    """`-e HOSTNAME=x` is a variable like any other. The container's name is its ID's beginning."""
    script = "echo $HOSTNAME; hostname"
    call = mydocker("run", "--rm", "-e", "HOSTNAME=another", "busybox", "sh", "-c", script)
    lines = expect(call, status=0, err="").text.splitlines()
    named = len(lines) == 2 and lines[0] == "another" and re.fullmatch("[0-9a-f]{12}", lines[1])
    check(named, "another, and then 12 hex digits", call.text, call)


@task(2)
def test_a_path_of_its_own(mydocker):
    """A bare name is looked up where the container's PATH says, and that is what `-e` has set."""
    contains(run(mydocker, "-e", "PATH=/nonexistent:/bin"), PATH="/nonexistent:/bin")
    contains(run(mydocker, "-e", "PATH", env={"PATH": "/bin:/callers"}), PATH="/bin:/callers")
    call = mydocker("run", "--rm", "-e", "PATH=/nonexistent:/tmp", "busybox", *SHOW)
    expect(call, status=127, out="", complaint=["cat"])


@task(2)
@ours
def test_it_is_not_the_environment_of_mydocker(mydocker):
    """What is asked for is for the container: `run` unpacks an image with its own PATH."""
    images = mydocker.root / "images"
    packing = ["tar", "-C", str(images / "busybox"), "-cf", str(images / "fresh.tar"), "."]
    subprocess.run(packing, check=True)
    words = ("-e", "PATH=/nowhere", "-e", "LD_PRELOAD=/nowhere.so", "fresh", "/bin/echo", "started")
    expect(mydocker("run", "--rm", *words), status=0, out="started\n", err="")


@task(2)
@ours
def test_the_settings_of_mydocker_are_the_callers(mydocker):
    """mydocker itself is set up by variables. The user of a container must not change those."""
    options = ("-e", "MYDOCKER_STORAGE_DRIVER=none", "-e", "MYDOCKER_ROOT=/nowhere")
    seen = mydocker("run", "--rm", *options, "busybox", *SHOW)
    contains(seen, MYDOCKER_STORAGE_DRIVER="none", MYDOCKER_ROOT="/nowhere")


@task(2)
def test_a_detached_container_has_them_too(mydocker):
    """Between the command that was typed and the container there is one process more."""
    options = [word for name, value in ODD.items() for word in ("-e", f"{name}={value}")]
    identity = detached(mydocker, *options, "-e", "MINE", "busybox", *SHOW, env={"MINE": "mine"})
    mydocker.host.until(lambda: not expect(mydocker("ps", "-q"), status=0).out)
    seen = expect(mydocker("logs", identity), status=0, err="")
    contains(seen, MINE="mine", **ODD)
    remove(mydocker, identity)


@task(2)
@pytest.mark.parametrize("word", ["=x", "=", ""])
def test_a_variable_without_a_name_is_refused(mydocker, word):
    """There is none, so nobody could ever ask for its value: the caller has mistyped something."""
    contains(run(mydocker, "-e", "x="), x="")
    call = mydocker("run", "--rm", "-e", word, "busybox", "echo", "started")
    expect(call, status=125, out="", complaint=[word])


# Task 3: Files of variables


@task(3)
@vm
def test_a_file_of_variables(mydocker, tmp_path):
    """A line for each. Lines that begin with `#` and empty ones are for people."""
    path = file(tmp_path, "# what it needs\nONE=1\n\nTWO=2\n#THREE=3\n   \n\t\nFOUR=4\n\n")
    exactly_these(run(mydocker, "--env-file", path), ONE="1", TWO="2", FOUR="4")


@task(3)
def test_nothing_in_a_file_is_unquoted(mydocker, tmp_path):
    """It looks like a shell script and is none: what stands behind the first `=` is the value."""
    values = {name: value for name, value in ODD.items() if name not in ("LINES", "LONG")}
    content = "".join(f"{name}={value}\n" for name, value in values.items())
    exactly_these(run(mydocker, "--env-file", file(tmp_path, content)), **values)


@task(3)
def test_a_file_that_begins_with_a_byte_order_mark(mydocker, tmp_path):
    """Some editors write three invisible bytes first. They are no part of the first name."""
    path = file(tmp_path, "\ufeffONE=1\nTWO=\ufeff2\n")
    exactly_these(run(mydocker, "--env-file", path), ONE="1", TWO="\ufeff2")


@task(3)
def test_a_line_may_begin_with_blanks_and_hold_a_carriage_return(mydocker, tmp_path):
    """Blanks before a name are for people. A line ends at the newline, and at nothing else.

    One carriage return just before it belongs to the end of the line, as Windows writes it.
    """
    path = file(tmp_path, "  ONE=1\n\t# nothing\nTWO=a\rb\nTHREE=3\r\n")
    exactly_these(run(mydocker, "--env-file", path), ONE="1", TWO="a\rb", THREE="3")


@task(3)
def test_a_name_alone_in_a_file(mydocker, tmp_path):
    """As with `-e K`: the caller's value, and where there is none, no such variable."""
    path = file(tmp_path, "MINE\nNOT_THERE\nEMPTY=\nLAST=last")
    seen = run(mydocker, "--env-file", path, env={"MINE": "of the caller"})
    exactly_these(seen, MINE="of the caller", EMPTY="", LAST="last")


@task(3)
def test_several_files(mydocker, tmp_path):
    """They are read in the order in which they are given, and the last word on a name counts."""
    one = file(tmp_path, "ONE=1\nBOTH=1\nTWICE=1\nTWICE=2\n", "one")
    two = file(tmp_path, "TWO=2\nBOTH=2\n", "two")
    seen = run(mydocker, "--env-file", one, "--env-file", two)
    exactly_these(seen, ONE="1", TWO="2", BOTH="2", TWICE="2")
    contains(run(mydocker, "--env-file", two, "--env-file", one), BOTH="1")


@task(3)
def test_what_is_typed_wins_over_a_file(mydocker, tmp_path):
    """Wherever it stands: a file is for what is usual, `-e` for this one time."""
    path = file(tmp_path, "ONE=file\nTWO=file\nTHREE=file\nHOME=/file\n")
    options = ("-e", "ONE=typed", "--env-file", path, "-e", "TWO=typed")
    seen = run(mydocker, *options)
    exactly_these(seen, ONE="typed", TWO="typed", THREE="file", HOME="/file")


@task(3)
def test_a_file_is_found_from_where_the_caller_is(mydocker):
    """A path that does not begin with `/` begins at the caller's working directory."""
    path = Path(file(mydocker.directory, "ONE=1\n", "near"))
    seen = run(mydocker, "--env-file", "near")
    path.unlink()
    exactly_these(seen, ONE="1")


@task(3)
@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("BAD NAME=x", "BAD NAME"),
        ("NAME =x", "NAME"),
        ("BAD\tNAME=x", "BAD"),
        ("BAD NAME", "BAD NAME"),
        ("=x", "=x"),
    ],
    ids=["inside", "end", "tab", "alone", "none"],
)
def test_a_line_that_is_no_variable_is_refused(mydocker, tmp_path, line, named):
    """A blank in a name, or no name: half of a file is not what the caller has asked for."""
    good = file(tmp_path, "GOOD=1\nAB=x y\n")
    exactly_these(run(mydocker, "--env-file", good), GOOD="1", AB="x y")
    bad = file(tmp_path, f"GOOD=1\n{line}\nAB=x\n", "wrong")
    call = mydocker("run", "--rm", "--env-file", bad, "busybox", "echo", "started")
    expect(call, status=125, out="", complaint=[named])


@task(3)
@ours
@pytest.mark.parametrize(
    "line", ["BAD NAME=x", "=x", "AB=x\0y"], ids=["blank", "none", "zero byte"]
)
def test_the_line_that_is_wrong_is_named(mydocker, tmp_path, line):
    """In a file with a hundred lines, whoever reads the message wants to know where to look."""
    lines = [f"NAME_{number}=x" for number in range(1, 100)]
    expect(run(mydocker, "--env-file", file(tmp_path, "\n".join(lines))), status=0)
    where = random.randrange(30, 90)
    lines[where - 1] = line
    bad = file(tmp_path, "\n".join(lines), "wrong")
    call = mydocker("run", "--rm", "--env-file", bad, "busybox", "echo", "started")
    expect(call, status=125, out="", complaint=[bad])
    told = re.findall(r"\d+", call.errors.replace(bad, ""))
    check(str(where) in told, f"the number of the line, {where}", call.errors, call)


@task(3)
def test_a_file_that_cannot_be_read_is_told(mydocker, tmp_path):
    """One that is missing, and what is no file at all. Nothing is started without it."""
    exactly_these(run(mydocker, "--env-file", file(tmp_path, "GOOD=1\n")), GOOD="1")
    for path in (f"{tmp_path}/no-such-file", str(tmp_path)):
        for options in ((), ("-d",)):
            words = ("run", *options, "--env-file", path, "busybox", "echo", "started")
            expect(mydocker(*words), status=125, out="", complaint=[path])


@task(3)
@pytest.mark.parametrize("language", [{}, ASCII_ONLY], ids=["utf-8", "ascii"])
def test_text_that_is_not_ascii(mydocker, tmp_path, language):
    """Values are bytes. The language of who calls, now or later, changes none of them."""
    path = file(tmp_path, "FROM_A_FILE=grüße\n")
    words = ("--name", "box", "--env-file", path, "-e", "TYPED=ärger", "busybox", "sleep", "1000")
    detached(mydocker, *words, env=language)
    for later in (ASCII_ONLY, {}):
        seen = execute(mydocker, "box", "-e", "NOW=später", env=later)
        contains(seen, FROM_A_FILE="grüße", TYPED="ärger", NOW="später")
    remove(mydocker, "box")


# Task 4: exec sees the same


@task(4)
@guard
@vm
def test_exec_sees_what_run_was_given(mydocker, tmp_path):
    """Who looks into a container to find out what is wrong has to see what its command sees."""
    path = file(tmp_path, "FILE=file\nODD=file\n")
    options = [word for name, value in ODD.items() for word in ("-e", f"{name}={value}")]
    words = ("--env-file", path, *options, "-e", "MINE", "busybox", "sleep", "1000")
    identity = detached(mydocker, *words, env={"MINE": "of run's caller"})
    Path(path).unlink()
    call = execute(mydocker, identity, env={"MINE": "of exec's caller"})
    always = {"PATH": CONTAINER_PATH, "HOME": "/root", "HOSTNAME": identity[:12]}
    given = {"FILE": "file", "MINE": "of run's caller", **ODD}
    exactly(call, **always, **given, ODD="file")
    remove(mydocker, identity)


@task(4)
@guard
@ours
def test_exec_sees_any_bytes(mydocker):
    """What is no UTF-8 has to come through whatever the container's record is written in."""
    caller = {"BYTES": os.fsdecode(BYTES)}
    identity = detached(mydocker, "-e", "BYTES", "busybox", "sleep", "1000", env=caller)
    call = execute(mydocker, identity)
    found = environment(call).get(b"BYTES")
    check(found == BYTES, "BYTES with the bytes ff fe 20 80", found, call)
    remove(mydocker, identity)


@task(4)
def test_exec_has_its_own_on_top(mydocker):
    """`exec -e` is for this one command: it wins there, and the container does not change."""
    options = ("-e", "ONE=run", "-e", "TWO=run")
    identity = detached(mydocker, *options, "busybox", "sleep", "1000")
    own = ("-e", "TWO=exec", "-e", "THREE=exec", "-e", "MINE", "-e", "NOT_THERE", "-e", "HOME=/srv")
    call = execute(mydocker, identity, *own, env={"MINE": "of exec's caller"})
    always = {"PATH": CONTAINER_PATH, "HOSTNAME": identity[:12]}
    wanted = {"ONE": "run", "TWO": "exec", "THREE": "exec", "MINE": "of exec's caller"}
    exactly(call, **always, **wanted, HOME="/srv")
    exactly(execute(mydocker, identity), **always, HOME="/root", ONE="run", TWO="run")
    remove(mydocker, identity)


@task(4)
@guard
def test_nothing_of_any_caller_gets_into_exec(mydocker):
    """Neither of who has started the container, nor of who looks into it now."""
    identity = detached(mydocker, "-e", "ONE=1", "busybox", "sleep", "1000", env=SECRET)
    call = execute(mydocker, identity, env={**SECRET, "ONE": "of exec's caller"})
    always = {"PATH": CONTAINER_PATH, "HOME": "/root", "HOSTNAME": identity[:12]}
    exactly(call, **always, ONE="1")
    remove(mydocker, identity)


@task(4)
@guard
@ours  # Docker's exec ends with 126 where a command is not found
def test_exec_finds_commands_in_the_same_path(mydocker):
    """What the container's command can call by a bare name, `exec` can, too, and nothing else."""
    options = ("-e", "PATH=/nonexistent:/bin")
    identity = detached(mydocker, *options, "busybox", "sleep", "1000")
    contains(execute(mydocker, identity), PATH="/nonexistent:/bin")
    call = mydocker("exec", identity, "env")  # which is in /usr/bin
    expect(call, status=127, out="", complaint=["env"])
    remove(mydocker, identity)


@task(4)
def test_exec_with_a_terminal_has_term(mydocker):
    """And `exec` without one has none, in a container that has none."""
    identity = detached(mydocker, "-e", "ONE=1", "busybox", "sleep", "1000")
    always = {"PATH": CONTAINER_PATH, "HOME": "/root", "HOSTNAME": identity[:12], "ONE": "1"}
    exactly(execute(mydocker, identity), **always)
    running = mydocker.start("exec", "-it", identity, *SHOW, terminal=True, env=SECRET)
    exactly(running.wait(), **always, TERM="xterm")
    remove(mydocker, identity)


@task(4)
@guard  # exec -t sets none so far
@ours  # Docker's exec -t sets TERM anew
def test_exec_with_a_terminal_leaves_the_containers_term(mydocker):
    """Who started the container with `-e TERM=dumb` knows what its programs can do."""
    identity = detached(mydocker, "-e", "TERM=dumb", "busybox", "sleep", "1000")
    contains(execute(mydocker, identity), TERM="dumb")
    running = mydocker.start("exec", "-it", identity, *SHOW, terminal=True, env=SECRET)
    contains(running.wait(), TERM="dumb")
    remove(mydocker, identity)


@task(4)
def test_exec_with_a_name_alone_takes_back_what_the_container_has(mydocker):
    """`exec -e K` is the value of who calls `exec`. Where that one has none, K is not set."""
    identity = detached(mydocker, "-e", "ONE=run", "-e", "TWO=run", "busybox", "sleep", "1000")
    call = execute(mydocker, identity, "-e", "ONE", "-e", "TWO", env={"TWO": "of exec's caller"})
    contains(call, TWO="of exec's caller")
    lacks(call, "ONE")
    contains(execute(mydocker, identity), ONE="run")
    remove(mydocker, identity)


@task(4)
@guard
@ours  # Docker's exec looks a command up in the container's PATH
def test_exec_finds_commands_in_the_path_that_it_is_given(mydocker):
    """A bare name is looked up in the PATH that results: that is the one the command will have."""
    identity = detached(mydocker, "busybox", "sleep", "1000")
    contains(execute(mydocker, identity, "-e", "PATH=/nonexistent:/bin"), PATH="/nonexistent:/bin")
    call = mydocker("exec", "-e", "PATH=/nonexistent:/bin", identity, "env")  # it is in /usr/bin
    expect(call, status=127, out="", complaint=["env"])
    remove(mydocker, identity)


WRONG = {
    "a number for a value": {"PROBE": 3},
    "a zero byte in a value": {"PROBE": "a\0b"},
    "half of a character in a value": {"PROBE": "\ud83d"},
    "an equals sign in a name": {"PROBE=x": "1"},
    "no name": {"": "1"},
    "a list": ["PROBE=1"],
}


@task(4)
@guard
@ours
@pytest.mark.parametrize("kind", WRONG)
def test_a_record_with_an_environment_that_cannot_be_is_told(mydocker, kind):
    """`exec` reads the environment in the record: what no program can be given is no traceback."""
    detached(mydocker, "--name", "box", "-e", "PROBE=1", "busybox", "sleep", "1000")
    path = mydocker.root / "containers" / "box" / "config.json"
    good = path.read_text()
    record = json.loads(good)
    names = [name for name, value in record.items() if is_environment(value)]
    check(len(names) == 1, "in the record an object with PROBE in it, name and value", record)
    contains(execute(mydocker, "box"), PROBE="1")
    path.write_text(json.dumps({**record, names[0]: WRONG[kind]}))
    call = mydocker("exec", "box", "echo", "started")
    path.write_text(good)
    expect(call, status=1, out="", complaint=["box"])
    remove(mydocker, "box")


# Helpers


def run(mydocker: Mydocker, *options: str, **more) -> Call:
    """A container that shows its environment."""
    return mydocker("run", "--rm", *options, "busybox", *SHOW, **more)


def is_environment(value: object) -> bool:
    return isinstance(value, dict) and value.get("PROBE") == "1"


def execute(mydocker: Mydocker, name: str, *options: str, **more) -> Call:
    """A command in a container that shows its environment."""
    return mydocker("exec", *options, name, *SHOW, **more)


def remove(mydocker: Mydocker, name: str) -> None:
    expect(mydocker("rm", "-f", name), status=0)


def file(folder: Path, content: str, name: str = "variables") -> str:
    path = folder / name
    path.write_text(content)
    return str(path)


def environment(call: Call) -> dict[bytes, bytes]:
    """What SHOW has shown. Each variable is there once."""
    expect(call, status=0, err="")
    lines = call.out.replace(b"\r\n", b"\n").split(b"\0")
    pairs = [line.partition(b"=") for line in lines if line]
    names = [name for name, _, _ in pairs]
    twice = sorted({name for name in names if names.count(name) > 1})
    check(not twice, "each variable once", f"{twice} more than once", call)
    return {name: value for name, _, value in pairs}


def contains(call: Call, **wanted: str) -> None:
    """Expect these variables, and whatever others."""
    found = environment(call)
    for name, value in wanted.items():
        got = found.get(name.encode())
        unmet = f"{name} is {_short(got)}" if got is not None else f"there is no {name}"
        check(got == value.encode(), f"{name} is {_short(value.encode())}", unmet, call)


def lacks(call: Call, name: str) -> None:
    found = environment(call)
    check(name.encode() not in found, f"no variable {name}", found.get(name.encode()), call)


def exactly(call: Call, **wanted: str) -> None:
    """Expect these variables and no others."""
    contains(call, **wanted)
    others = environment(call).keys() - {name.encode() for name in wanted}
    names = ", ".join(sorted(os.fsdecode(name) for name in others))
    check(not others, f"{', '.join(sorted(wanted))}, and no others", f"also {names}", call)


def exactly_these(call: Call, **wanted: str) -> None:
    """Expect these variables, those that are always there, and no others."""
    hostname = os.fsdecode(environment(call).get(b"HOSTNAME", b""))
    check(hostname, "a variable HOSTNAME with the short ID", "there is none", call)
    always = {"PATH": CONTAINER_PATH, "HOME": "/root", "HOSTNAME": hostname}
    exactly(call, **{**always, **wanted})


def _short(value: bytes) -> str:
    return repr(value) if len(value) < 60 else f"{value[:40]!r}… ({len(value)} bytes)"
