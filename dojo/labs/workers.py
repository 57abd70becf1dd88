"""The tests of one run on the lab's machine: pytest collects them once, workers run them.

The workers are forked when everything is imported and collected: starting an interpreter for each
takes many seconds on a machine that is emulated. Each runs one test after the other, as it is told,
and its reports go to the other side as they come.
"""

import importlib
import os
import select
import signal
import tempfile
import warnings
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from dojo.errors import KataError
from dojo.labs.children import PATIENCE_SECONDS, fork
from dojo.labs.landing import Channel
from dojo.testkit import machine, program, surroundings

NOT_OURS = ("terminal", "cacheprovider", "xdist", "xdist.looponfail", "randomly")


def run(channel: Channel, clone: str, message: dict[str, Any]) -> int:
    """Run tests and say what becomes of each. Returns pytest's exit status.

    message: `items`, pairs of a file and the rest of a test's id; `options`, pytest's, by their
    names in its code; `arguments`, those that pytest needs as words; `workers`, how many tests run
    at a time; `maxfail`, after how many failures it stops, 0 for never; `lacks`, see
    `lab.known_to_lack`.
    """
    surroundings.clear_for_tests()
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    os.environ["KATA_LAB_LACKS"] = message["lacks"]
    items = [(file, rest) for file, rest in message["items"]]
    files = list(dict.fromkeys(file for file, _ in items))
    arguments = [f"--rootdir={clone}", f"--config-file={clone}/pyproject.toml"]
    arguments += ["--override-ini=addopts=", "--import-mode=importlib"]
    arguments += [word for name in NOT_OURS for word in ("-p", f"no:{name}")]
    arguments += message["arguments"]
    # As modules: by their names, pytest warns that it cannot rewrite what is imported already.
    plugins = [importlib.import_module(name) for name in ("dojo.plugin", _HYPOTHESIS)]
    with tempfile.TemporaryDirectory("-lab", "kata-", ignore_cleanup_errors=True) as directory:
        plugin = Workers(channel, message, items, Path(directory))
        return int(pytest.main([*arguments, *files], plugins=[*plugins, plugin]))


_HYPOTHESIS = "_hypothesis_pytestplugin"


@dataclass(eq=False)
class Worker:
    """A process that runs tests, one at a time.

    running, promised: the places of the test that it runs, and of the one that it is to run next.
    failed: whether the one that it runs has failed so far.
    """

    pid: int
    asked: Channel
    running: int | None = None
    promised: int | None = None
    failed: bool = False


@dataclass(eq=False)
class Workers:
    """The pytest plugin that has the tests run by workers.

    They start one after the other, so that a first result comes as early as it can. waiting: the
    places of tests that nobody has been given yet. reserved: what the next workers begin with.
    """

    channel: Channel
    message: dict[str, Any]
    wanted: Sequence[tuple[str, str]]
    directory: Path
    failures: int = 0
    waiting: deque[int] = field(default_factory=deque)
    workers: list[Worker] = field(default_factory=list)
    reserved: list[int] = field(default_factory=list)
    started: int = 0

    # Before the tests

    @pytest.hookimpl(tryfirst=True)
    def pytest_cmdline_main(self, config: pytest.Config) -> None:
        """Take over the options of the other side's pytest."""
        for name, value in self.message["options"].items():
            setattr(config.option, name, value)
        config.option.lab = "inside"
        try:
            program.words_of(config.option.mydocker)
        except KataError as error:
            self.channel.say(refused=str(error))

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(
        self, session: pytest.Session, items: list[pytest.Item]
    ) -> None:
        """Keep the tests that were chosen, in the order in which they were chosen."""
        found = {(name_of_file(item), rest_of(item)): item for item in items}
        self.places = {}
        items.clear()
        for place, key in enumerate(self.wanted):
            if key in found:
                self.places[place] = found[key]
                items.append(found[key])
            else:
                self.channel.say(missing=place)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.channel.say(uncollected=report.nodeid, text=report.longreprtext)

    def pytest_internalerror(self, excrepr: object) -> None:
        self.channel.say(broken=str(excrepr))

    # The tests

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self.session = session
        self.waiting.extend(self.places)
        most = min(self.message["workers"], len(self.waiting))
        self.reserved = [self.waiting.popleft() for _ in range(most)]
        self._start_next()
        try:
            while self.workers:
                self._hear()
        finally:
            self._stop_all()
        return True

    def _start_next(self) -> None:
        """Start the next worker that has a test reserved for it."""
        if self.reserved:
            self._start_one(self.reserved.pop(0))

    def _start_one(self, first: int) -> None:
        """Start a worker. first: the place of its first test."""
        self.started += 1
        number = self.started
        to_worker, from_worker = os.pipe(), os.pipe()
        others = [d for w in self.workers for d in (w.asked.reading, w.asked.writing)]

        def work() -> int:
            for descriptor in (to_worker[1], from_worker[0], *others):
                os.close(descriptor)
            directory = self.directory / f"worker-{number}"
            directory.mkdir()
            return _Work(self.session, Channel(to_worker[0], from_worker[1])).go_on(
                self.places, directory
            )

        pid = fork(work)
        os.close(to_worker[0])
        os.close(from_worker[1])
        worker = Worker(pid, Channel(from_worker[0], to_worker[1]), promised=first)
        self.workers.append(worker)
        self._give(worker)

    def _take(self) -> int | None:
        return self.waiting.popleft() if self.waiting else None

    def _give(self, worker: Worker) -> None:
        """Tell a worker which test to run, and which comes after it: fixtures may live that long.

        Where there is none, it ends.
        """
        worker.running, worker.promised = worker.promised, self._take()
        with suppress(BrokenPipeError):  # it has died: that is heard, too
            worker.asked.say(run=worker.running, then=worker.promised)

    def _hear(self) -> None:
        poll = select.poll()
        for worker in self.workers:
            poll.register(worker.asked.reading, select.POLLIN)
        ready = {descriptor for descriptor, _ in poll.poll()}
        for worker in [one for one in self.workers if one.asked.reading in ready]:
            self._obey(worker, worker.asked.read())
            while worker in self.workers and worker.asked.has_line():
                self._obey(worker, worker.asked.read())

    def _obey(self, worker: Worker, event: dict[str, Any] | None) -> None:
        if event is None:
            self._bury(worker)
            return
        if "done" not in event:
            self.channel.say(**event)
        if "report" in event:  # it has set up what a session needs: the next one may do so, too
            self._start_next()
        worker.failed = worker.failed or bool(event.get("failed"))
        if "finished" in event:
            self.failures += worker.failed
            worker.failed = False
        if "done" in event and self._has_had_enough():
            worker.running = None
            self._stop_all()
        elif "done" in event:
            self._give(worker)

    def _bury(self, worker: Worker) -> None:
        """A worker has ended: by itself, or in the middle of a test, which has then failed."""
        self._forget(worker)
        if worker.running is not None:
            self.failures += 1
            self.channel.say(crashed=worker.running)
            if worker.promised is not None:
                self.waiting.appendleft(worker.promised)
            if self._has_had_enough():
                self._stop_all()
            elif self.reserved:
                self._start_next()
            elif self.waiting:
                self._start_one(self.waiting.popleft())

    def _has_had_enough(self) -> bool:
        most = self.message["maxfail"]
        return bool(most) and self.failures >= most

    def _forget(self, worker: Worker) -> None:
        self.workers.remove(worker)
        os.close(worker.asked.reading)
        os.close(worker.asked.writing)
        os.waitpid(worker.pid, 0)

    def _stop_all(self) -> None:
        """Interrupt all workers, and wait until they have cleaned up."""
        self.waiting.clear()
        self.reserved.clear()
        poll = select.poll()
        for worker in self.workers:
            with suppress(ProcessLookupError):
                os.kill(worker.pid, signal.SIGINT)
        for worker in list(self.workers):
            ended = os.pidfd_open(worker.pid)
            poll.register(ended, select.POLLIN)
            # What it says now, nobody wants to hear; it must not wait for it to be heard, either.
            os.close(worker.asked.reading)
            if not poll.poll(PATIENCE_SECONDS * machine.patience() * 1000 / 2):
                os.kill(worker.pid, signal.SIGKILL)
            poll.unregister(ended)
            os.close(ended)
            worker.asked.reading = os.open(os.devnull, os.O_RDONLY)
            self._forget(worker)


# In a worker ---------------------------------------------------------------------------------


class _Work:
    """A worker's side: it runs what it is told to, and says what became of it."""

    def __init__(self, session: pytest.Session, channel: Channel) -> None:
        self.session = session
        self.config = session.config
        self.channel = channel
        self.place = -1

    def go_on(self, places: dict[int, pytest.Item], directory: Path) -> int:
        """Run tests until there are no more. directory: where they put their files."""
        os.environ["PYTEST_DEBUG_TEMPROOT"] = str(directory)
        _capture_apart(self.config)
        for plugin in [p for p in self.config.pluginmanager.get_plugins() if type(p) is Workers]:
            self.config.pluginmanager.unregister(plugin)
        self.config.pluginmanager.register(self, "kata-worker")
        status = pytest.ExitCode.OK
        try:
            while (order := self.channel.read()) and order["run"] is not None:
                self.place = order["run"]
                then = places.get(order["then"]) if order["then"] is not None else None
                item = places[self.place]
                self.config.hook.pytest_runtest_protocol(item=item, nextitem=then)
                self.channel.say(finished=self.place)
                self.channel.say(done=True)
        except (KeyboardInterrupt, BrokenPipeError):
            status = pytest.ExitCode.INTERRUPTED
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self.config.hook.pytest_sessionfinish(session=self.session, exitstatus=status)
        return int(status)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        data = self.config.hook.pytest_report_to_serializable(config=self.config, report=report)
        self.channel.say(report=self.place, data=data, failed=report.failed)

    def pytest_warning_recorded(
        self,
        warning_message: warnings.WarningMessage,
        when: str,
        nodeid: str,
        location: tuple[str, int, str] | None,
    ) -> None:
        if when != "runtest":
            return  # the other side collects, too
        self.channel.say(
            warning=str(warning_message.message),
            category=warning_message.category.__name__,
            file=warning_message.filename,
            line=warning_message.lineno,
            when=when,
            nodeid=nodeid,
        )


def _capture_apart(config: pytest.Config) -> None:
    """The files that output is captured in are the parent's until they are made anew."""
    capture: Any = config.pluginmanager.get_plugin("capturemanager")
    if capture is not None and capture.is_globally_capturing():
        capture.stop_global_capturing()
        capture.start_global_capturing()


def name_of_file(item: pytest.Item) -> str:
    return item.path.relative_to(item.config.rootpath).as_posix()


def rest_of(item: pytest.Item) -> str:
    """The ID of a test without the name of its file."""
    return item.nodeid.partition("::")[2]
