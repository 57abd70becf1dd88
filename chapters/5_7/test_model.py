"""Chapter 5.7: any commands in any order, and beside them a model that says what is to come out."""

import contextlib
import os
import random
import re
import signal
from dataclasses import dataclass, field

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from dojo.scratch import Call
from dojo.testkit.containers import container_process
from dojo.testkit.mydocker import Mydocker
from dojo.testkit.records import listed
from dojo.testkit.testing import Unmet, check, examples, expect, guard, layers, task

NAMES = ("one", "two", "three")
COLOURS = ("red", "blue")  # of images; nothing takes images away, so each sequence has its own
PATHS = ("/etc/shells", "/mine", "/srv/deep")  # the first one is a file of the image
OF_BUSYBOX = {"/etc/shells": "/bin/sh"}
LOOK = f"for path in {' '.join(PATHS)}; do test -e $path && head -n 1 $path | sed s,^,$path=,; done"
SETTINGS = settings(
    stateful_step_count=12,
    deadline=None,
    database=None,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],  # making a failing sequence shorter would take minutes
)


@task(4)
@guard  # it needs this task only where an image is replaced that one of those drawn has
@layers
def test_any_commands_in_any_order(mydocker):
    """Three names, three images, a dozen commands, drawn by chance: then the next dozen.

    A dictionary in the test says what has to come out of each, which containers there are, how they
    have ended, and which files each of them has. You have to do as well as a dictionary.
    """
    story = Story()
    try:
        # Until it is green, the next run begins with the same seed: see dojo/plugin/draws.py.
        machine = seed(random.getrandbits(64))(lambda: Containers(mydocker, story))
        number = examples(usual=4, least=3)
        run_state_machine_as_test(machine, settings=settings(SETTINGS, max_examples=number))
    except Exception as error:
        if story.unmet is None:
            raise
        raise Unmet([*(("before", shown) for shown in story.before), *story.unmet.rows]) from error


@dataclass
class Story:
    """What was done in one sequence, and what went wrong in the end."""

    number: int = 0
    done: list[str] = field(default_factory=list)
    before: list[str] = field(default_factory=list)
    unmet: Unmet | None = None


@dataclass
class Container:
    """What is to be true of a container. status: its exit status, None while it runs."""

    identity: str
    files: dict[str, str]
    status: int | None = None

    @property
    def state(self) -> tuple[str, int | None]:
        return ("running" if self.status is None else "exited", self.status)


names = st.sampled_from(NAMES)
colours = st.sampled_from(COLOURS)
images = st.sampled_from(("busybox", *COLOURS))
paths = st.sampled_from(PATHS)
by_id = st.booleans()


class Containers(RuleBasedStateMachine):
    """The program under test, and the model of what it has to do."""

    def __init__(self, mydocker: Mydocker, story: Story) -> None:
        if story.unmet:  # Hypothesis tries it once more, where nobody may have cleared away
            raise story.unmet
        super().__init__()
        self.mydocker = mydocker
        self.story = story
        self.story.number += 1
        self.story.done = []
        self.failed = False
        self.containers: dict[str, Container] = {}
        self.images = {"busybox": dict(OF_BUSYBOX)}
        self.written = 0
        self.compared = 0

    # What is typed

    @initialize()
    def begin_with_two(self) -> None:
        for name in ("one", "two"):
            self.run_detached(name, "busybox")
        for name in ("one", "two"):
            self.write(name, "/mine", by_id=False)
        for name in ("one", "two"):
            self.look(name, by_id=True)

    @rule(name=names, image=images)
    def run_detached(self, name: str, image: str) -> None:
        image = self.image(image)
        words = ("run", "-d", "--name", name, image, "sleep", "1000")
        if self.is_refused(name, image, words):
            return
        call = self.type(*words, status=0, err="")
        self.check(len(call.text) == 65, "an ID of 64 digits", call.text, call)
        self.containers[name] = Container(call.text.strip(), dict(self.images[image]))

    @rule(name=names, image=images, path=paths, status=st.sampled_from([0, 1, 42, 255]))
    def run_to_its_end(self, name: str, image: str, path: str, status: int) -> None:
        image = self.image(image)
        text = self.something_new()
        script = f"mkdir -p /srv; echo {text} > {path}; exit {status}"
        words = ("run", "--name", name, image, "sh", "-c", script)
        if self.is_refused(name, image, words):
            return
        self.type(*words, status=status, out="", err="")
        row = next((row for row in self.rows() if row["Names"] == name), None)
        self.check(row, f"`ps -a` lists {name}", self.mydocker.calls[-1].text)
        files = {**self.images[image], path: text}
        self.containers[name] = Container(row["ID"], files, status)

    @rule(name=names, image=images)
    def run_and_forget(self, name: str, image: str) -> None:
        image = self.image(image)
        words = (
            "run",
            "--rm",
            "--name",
            name,
            image,
            "sh",
            "-c",
            f"{LOOK}; rm -f /etc/shells; exit 7",
        )
        if not self.is_refused(name, image, words):
            self.type(*words, status=7, out=shown(self.images[image]))

    @rule(name=names, path=paths, by_id=by_id)
    def write(self, name: str, path: str, by_id: bool) -> None:
        text = self.something_new()
        script = f"mkdir -p /srv; echo {text} > {path}"
        if self.does_in(name, by_id, script, ""):
            self.containers[name].files[path] = text

    @rule(name=names, path=paths, by_id=by_id)
    def delete(self, name: str, path: str, by_id: bool) -> None:
        if self.does_in(name, by_id, f"rm -f {path}", ""):
            self.containers[name].files.pop(path, None)

    @rule(name=names, by_id=by_id)
    def look(self, name: str, by_id: bool) -> None:
        there = self.containers.get(name)
        self.does_in(name, by_id, f"{LOOK}; true", shown(there.files) if there else "")

    @rule(name=names, by_id=by_id)
    def stop(self, name: str, by_id: bool) -> None:
        typed = self.typed(name, by_id)
        if name not in self.containers:
            self.type("stop", "-t", "0", typed, status=1, out="", complaint=[typed])
            return
        self.type("stop", "-t", "0", typed, status=0, out=f"{typed}\n", err="")
        if self.containers[name].status is None:
            self.containers[name].status = 137

    @precondition(lambda self: any(map(self.runs, NAMES)))
    @rule(last=st.booleans())
    def kill(self, last: bool) -> None:
        """No command: somebody on the host kills the PID 1 of one that runs."""
        name = list(filter(self.runs, NAMES))[-1 if last else 0]
        pid = self.watch(container_process, self.containers[name].identity).pid
        self.story.done.append(f"kill -9 PID 1 of {name}")
        os.kill(pid, signal.SIGKILL)
        self.mydocker.host.until(lambda: dict(self.seen())[name][0] == "exited")
        self.containers[name].status = 137

    @rule(name=names, by_id=by_id)
    def remove(self, name: str, by_id: bool) -> None:
        typed = self.typed(name, by_id)
        if name not in self.containers or self.runs(name):
            self.fail("rm", typed, name=name)
        else:
            self.type("rm", typed, status=0, out=f"{typed}\n", err="")
            del self.containers[name]

    @rule(name=names, by_id=by_id)
    def remove_by_force(self, name: str, by_id: bool) -> None:
        typed = self.typed(name, by_id)
        if name in self.containers:
            self.type("rm", "-f", typed, status=0, out=f"{typed}\n", err="")
            del self.containers[name]
        else:
            self.type("rm", "-f", typed, status=0, out="", complaint=[typed])

    @rule(two=st.permutations(NAMES))
    def remove_two(self, two: list[str]) -> None:
        """Each on its own: what is wrong with one does not keep the other from going."""
        first, second, _ = two
        goes = [name for name in (first, second) if name in self.containers and not self.runs(name)]
        out = "".join(f"{name}\n" for name in goes)
        self.type("rm", first, second, status=0 if len(goes) == 2 else 1, out=out)
        for name in goes:
            del self.containers[name]

    @rule(name=names, image=colours, by_id=by_id)
    def commit(self, name: str, image: str, by_id: bool) -> None:
        image = self.image(image)
        typed = self.typed(name, by_id)
        if name not in self.containers:
            self.type("commit", typed, image, status=1, out="", complaint=[typed])
            return
        self.type("commit", typed, image, status=0, err="")
        self.images[image] = dict(self.containers[name].files)

    # What has to be true

    @invariant()
    def ps_tells_the_truth(self) -> None:
        """After each command, and what the test itself has done."""
        if self.compared == len(self.story.done):
            return
        self.compared = len(self.story.done)
        wanted = [(name, there.state) for name, there in reversed(self.containers.items())]
        found = self.seen()
        self.check(found == wanted, f"`ps -a` lists, newest first, {wanted}", found)

    def teardown(self) -> None:
        """Look at all that there is, then clear it away."""
        try:
            if not self.failed:
                self.look_at_everything()
        finally:
            with contextlib.suppress(Unmet):
                self.mydocker("rm", "-f", *NAMES)
        if not self.failed:
            found = self.seen()
            self.check(not found, "after `rm -f` of all, `ps -a` lists none", found)

    def look_at_everything(self) -> None:
        for name, container in list(self.containers.items()):
            if self.runs(name):
                self.does_in(name, False, f"{LOOK}; true", shown(container.files))
            else:
                self.commit(name, "red", False)
                self.look_into_image(self.image("red"))
        for image in self.images:
            self.look_into_image(image)

    def look_into_image(self, image: str) -> None:
        words = ("run", "--rm", image, "sh", "-c", f"{LOOK}; true")
        self.type(*words, status=0, out=shown(self.images[image]), err="")

    # Helpers

    def runs(self, name: str) -> bool:
        return name in self.containers and self.containers[name].status is None

    def image(self, name: str) -> str:
        return name if name == "busybox" else f"{name}-{self.story.number}"

    def typed(self, name: str, by_id: bool) -> str:
        """How a container is named: by its name, or by a part of its ID."""
        return self.containers[name].identity[:16] if by_id and name in self.containers else name

    def something_new(self) -> str:
        self.written += 1
        return f"text-{self.written}"

    def is_refused(self, name: str, image: str, words: tuple[str, ...]) -> bool:
        """Whether `run` cannot do it, as there is such a container, or no such image. Tries it."""
        wrong = [name] if name in self.containers else []
        wrong += [image] if image not in self.images else []
        if wrong:
            call = self.type(*words, status=125, out="", complaint=[])
            named = any(word in call.errors for word in wrong)
            self.check(named, f"a message that names {' or '.join(wrong)}", call.errors, call)
        return bool(wrong)

    def does_in(self, name: str, by_id: bool, script: str, out: str) -> bool:
        """Whether `exec` can do it, as there is such a container, and it runs. Tries it."""
        words = ("exec", self.typed(name, by_id), "sh", "-c", script)
        if self.runs(name):
            self.type(*words, status=0, out=out, err="")
        else:
            self.fail(*words, name=name)
        return self.runs(name)

    def fail(self, *words: str, name: str) -> None:
        """Try what cannot be done with this container, as it is not there, or in another state."""
        call = self.type(*words, status=1, out="", complaint=[])
        known = [name]
        if name in self.containers:
            known.append(self.containers[name].identity[:12])
        named = any(word in call.errors for word in known)
        self.check(named, f"a message that names {name}", call.errors, call)

    def type(self, *words: str, **wanted: object) -> Call:
        call = self.mydocker(*words)
        self.watch(lambda _: expect(call, **wanted))
        self.story.done.append(call.shown)
        return call

    def check(
        self, condition: object, expected: str, got: object, call: Call | None = None
    ) -> None:
        self.watch(lambda _: check(condition, expected, got, call))

    def rows(self) -> list[dict]:
        return self.watch(listed, "-a")

    def seen(self) -> list[tuple[str, tuple[str, int | None]]]:
        """The containers as `ps -a` lists them, in its order."""
        found = []
        for row in self.rows():
            number = re.match(r"Exited \((\d+)\)", row["Status"])
            status = int(number[1]) if number else None
            found.append((row["Names"], (row["State"], status)))
        return found

    def watch(self, action, *arguments):
        """Do something; where an expectation is not met, note what was done before."""
        try:
            return action(self.mydocker, *arguments)
        except Unmet as unmet:
            self.failed = True
            self.story.unmet = unmet
            self.story.before = list(self.story.done)
            raise


def shown(files: dict[str, str]) -> str:
    """What LOOK prints of a container that has these files."""
    return "".join(f"{path}={files[path]}\n" for path in PATHS if path in files)
