"""The program under test, on a test host of the test's own."""

import os
import shutil
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from dojo import clone
from dojo.scratch import Call, CrashPoint, Running, TestHost, leaks
from dojo.scratch.typed import show_call
from dojo.testkit import program, rootfs

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
IMAGE = "root/images/busybox"  # in what is laid out for a test
WITH_A_VALUE = (
    *("--name", "-m", "--memory", "--cpu-shares", "--cpuset-cpus", "--pids-limit"),
    *("-v", "--volume", "-e", "--env", "--env-file"),
)
SECONDS = 20.0  # for one call; a hanging one is ended and reported
SETTLE_SECONDS = 3.0  # for what the kernel and a killed parent's children still have to do


class Mydocker:
    """The program under test. Call it with what a person would type after `mydocker`.

    host: the test host that it runs on. root: its MYDOCKER_ROOT. directory: where it is called,
    an empty one. calls: what was run to its end so far, in order. made: the same, with what was
    left running. begun: how many were made for earlier examples. held_up: what was last held up,
    and where. kept: the names of containers whose records may stay: of those without --rm.
    """

    def __init__(self, command: Sequence[str], host: TestHost, root: Path, caches: Path) -> None:
        self.command = list(command)
        self.host = host
        self.root = root / "root"
        self.directory = root / "here"
        self.calls: list[Call] = []
        self.made: list[Running] = []
        self.begun = 0
        self.held_up: tuple[str, CrashPoint] | None = None
        self.env = {
            "PATH": PATH,
            "HOME": "/root",
            "LANG": "C.UTF-8",
            "MYDOCKER_ROOT": str(self.root),
            "PYTHONPATH": program.search_path(clone.here()),
            "PYTHONPYCACHEPREFIX": str(caches),
        }
        self.usual = dict(self.env)  # what no message needs to say
        self.pardoned: set[str] = set()
        self.kept: set[str] = set()
        self._nameless = 0  # how many of these were given none
        self._of_networks: list[tuple[str, Running]] = []  # `network create` and `network rm`
        self.new = leaks.take(host, [root])

    def __call__(
        self,
        *words: str | bytes,
        stdin: bytes | int | None = b"",
        env: Mapping[str, str] | None = None,
        holding: Sequence[int] = (),
        before: Sequence[str] = (),
        cwd: Path | None = None,
        seconds: float = SECONDS,
    ) -> Call:
        """Run it to its end. env: variables on top of the usual ones.

        holding: descriptors that it finds open as 3, 4, … before: a program and its options that
        starts it, such as `setpriv --bounding-set=-sys_admin`.
        """
        self._note(words)
        shown = self.typed(words, before, env, cwd, stdin, holding)
        running = self.host.start(
            [*before, *self.command, *self.spelled(words)],
            stdin=stdin,
            env={**self.env, **(env or {})},
            cwd=cwd or self.directory,
            holding=holding,
            shown=shown,
        )
        self._made(words, running)
        call = running.wait(seconds)
        self.calls.append(call)
        return call

    def start(
        self,
        *words: str | bytes,
        stdin: bytes | int | None = b"",
        env: Mapping[str, str] | None = None,
        before: Sequence[str] = (),
        terminal: bool = False,
        crash_point: CrashPoint | None = None,
    ) -> Running:
        """Start it and leave it running.

        terminal: on a terminal of its own. crash_point: where it is held up.
        """
        self._note(words)
        # To keep a compiled module is a change, too, but of the first start only.
        same_each_time = {"PYTHONDONTWRITEBYTECODE": "1"} if crash_point else {}
        shown = self.typed(words, before, env, stdin=stdin, terminal=terminal)
        if crash_point and crash_point.number is not None:
            self.held_up = (shown, crash_point)
        running = self.host.start(
            [*before, *self.command, *self.spelled(words)],
            stdin=stdin,
            env={**self.env, **same_each_time, **(env or {})},
            cwd=self.directory,
            shown=shown,
            terminal=terminal,
            crash_point=crash_point,
        )
        self._made(words, running)
        return running

    def spelled(self, words: Sequence[str | bytes]) -> list[str | bytes]:
        """What is typed, in the spelling of the program under test."""
        return [*words]

    def typed(
        self,
        words: Sequence[str | bytes],
        before: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stdin: bytes | int | None = b"",
        holding: Sequence[int] = (),
        terminal: bool = False,
    ) -> str:
        """What a person would have typed, with all that is this test's own."""
        given = {**self.env, **(env or {})}
        return show_call(
            ["mydocker", *words],
            before=before,
            env={name: value for name, value in given.items() if self.usual.get(name) != value},
            cwd=None if cwd == self.directory else cwd,
            stdin=stdin,
            holding=holding,
            terminal=terminal,
        )

    def put(self, name: str, content: str, mode: int) -> str:
        """Make a file that the host and the image both have, at the same path. Returns the path."""
        path = self.root.parent / "files" / name
        for place in (path, self.root.parent / IMAGE / path.relative_to("/")):
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(content)
            place.chmod(mode)
        self.new = self.new.with_files([self.root.parent / "files"])
        return str(path)

    def lay_image(self, tar: Path, name: str) -> None:
        """Make an image of a tar file without the program under test, whose `import` is 4.5's."""
        directory = self.root / "images" / name
        directory.mkdir()
        rootfs.unpack(tar, directory)

    def another_root(self) -> dict[str, str]:
        """The environment for a second container at the same time, with the same images.

        Roots never see each other, and until 5.7 one has room for one container.
        """
        root = self.root.with_name("another-root")
        shutil.copytree(self.root / "images", root / "images", symlinks=True)
        self.new = self.new.with_files([root])
        return {"MYDOCKER_ROOT": str(root)}

    def notice(self) -> None:
        """Give it the time to hear that a container has ended, whose monitor has ended too."""

    def look_again(self) -> None:
        """Take what is there now for what was there at the beginning."""
        self.new = leaks.take(self.host, [self.root.parent])

    def networks(self) -> dict[str, str]:
        """The ID of each network, by its name, that was created and not removed."""
        networks: dict[str, str] = {}
        for name, running in self._of_networks:
            for line in running.so_far().text.splitlines():
                if name:
                    networks[name] = line
                elif line in networks:
                    del networks[line]
                else:  # it was named by its ID
                    networks = {n: i for n, i in networks.items() if not i.startswith(line)}
        return networks

    def _made(self, words: Sequence[str | bytes], running: Running) -> None:
        self.made.append(running)
        if words[:2] == ("network", "create"):
            self._of_networks.append((os.fsdecode(words[-1]), running))
        elif words[:2] == ("network", "rm"):
            self._of_networks.append(("", running))

    def _note(self, words: Sequence[str | bytes]) -> None:
        """Remember a container that stays when it has ended: one that is run without --rm."""
        if words[:1] != ("run",):
            return
        name, rest = "", [os.fsdecode(word) for word in words[1:]]
        while rest and rest[0].startswith("-") and rest[0] != "--":
            option, _, value = rest.pop(0).partition("=")
            if option == "--rm":
                return
            if option in WITH_A_VALUE and not value and rest:
                value = rest.pop(0)
            name = value if option == "--name" else name
        if name:
            self.kept.add(name)
        else:
            self._nameless += 1

    def may_leave(self, *kinds: str) -> None:
        """Pardon leaks of these kinds in this test, see `leaks.DEALT_WITH`.

        Who may leave a cgroup was killed, and has not removed a record either.
        """
        self.pardoned.update(kinds, ["record"] if "cgroup" in kinds else [])

    def pardons(self, leak: leaks.Leak) -> bool:
        return leak.kind in self.pardoned

    def left_behind(self, always: Collection[str] = ()) -> list[leaks.Leak]:
        """What is there now and was not at the beginning, once things have settled.

        always: the kinds of what is known to stay; nobody waits for it to go.
        """
        left: list[leaks.Leak] = []

        def is_settled() -> bool:
            nonlocal left
            left = self._compare()
            return all(leak.kind in always for leak in left)

        self.host.until(is_settled, SETTLE_SECONDS)
        return left

    def left_at_the_end(self, always: Collection[str] = ()) -> list[leaks.Leak]:
        """What fails the test. always: see `left_behind`."""
        return self.left_behind(always)

    def _compare(self) -> list[leaks.Leak]:
        directories = [self.root.parent]
        found = leaks.compare(self.new, leaks.take(self.host, directories, self.networks()))
        found += leaks.of_containers(self.root.parent, self.kept, self._nameless)
        return [leak for leak in found if not self.pardons(leak)]
