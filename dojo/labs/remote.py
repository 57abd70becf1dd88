"""The pytest plugin of this side: tests are collected here, and run in the virtual machine.

What comes back of each is given to this pytest's hooks as if the test had run here: so its output,
`-x`, `--lf`, `--junitxml` and all that hears of results are as ever.
"""

import os
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest
from _pytest.main import Interrupted

from dojo.clone import Clone
from dojo.errors import KataError
from dojo.labs.connection import Connection, Lost

# What chooses tests, shows results, or names places of this side: all this stays here.
OF_THIS_SIDE = {
    "basetemp",
    "cacheclear",
    "cacheshow",
    "capture",
    "chapter",
    "collectonly",
    "confcutdir",
    "debug",
    "deselect",
    "dist",
    "distload",
    "failedfirst",
    "file_or_dir",
    "help",
    "ignore",
    "ignore_glob",
    "importmode",
    "inifilename",
    "keepduplicates",
    "keyword",
    "lab",
    "lab_times",
    "last_failed_no_failures",
    "lf",
    "log_file",
    "looponfail",
    "markexpr",
    "maxfail",
    "maxprocesses",
    "mydocker",
    "newfirst",
    "numprocesses",
    "override_ini",
    "pastebin",
    "plugins",
    "px",
    "pyargs",
    "pythonwarnings",
    "rootdir",
    "rsyncdir",
    "rsyncignore",
    "stepwise",
    "stepwise_reset",
    "stepwise_skip",
    "trace",
    "tx",
    "usepdb",
    "usepdb_cls",
    "version",
    "xmlpath",
}


class LabFailed(Interrupted):
    """The lab has failed before all tests were run. The text says how, and what to do."""

    __module__ = "builtins"  # so that pytest shows its bare name


@dataclass
class Times:
    """When something happened, in seconds since the beginning of the run."""

    begin: float = field(default_factory=time.monotonic)
    marks: dict[str, float] = field(default_factory=dict)

    def mark(self, what: str) -> None:
        self.marks.setdefault(what, time.monotonic() - self.begin)

    def __str__(self) -> str:
        return ", ".join(f"{what} after {seconds:.1f} s" for what, seconds in self.marks.items())


@dataclass(eq=False)
class Remote:
    """The plugin.

    connect: reaches the lab, when it is needed; raises KataError. is_of_the_lab: which tests run
    there; all others run here.
    """

    clone: Clone
    connect: Callable[[], Connection]
    is_of_the_lab: Callable[[pytest.Item], bool]
    times: Times = field(default_factory=Times)

    # Before the tests

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        self.config = session.config
        try:
            self.connection = self.connect()
            self.times.mark("connected")
            self.connection.begin(self.config.getoption("--mydocker"))
        except KataError as error:
            raise pytest.UsageError(str(error)) from error
        self.times.mark("files sent")

    def describe(self) -> str:
        hello = self.connection.hello
        return f"{self.connection.name}, {hello.kernel}"

    def pytest_collection_finish(self) -> None:
        self.times.mark("collected")

    # The tests

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        if session.testsfailed and not session.config.option.continue_on_collection_errors:
            return None  # pytest itself says that nothing is run then
        theirs = [item for item in session.items if self.is_of_the_lab(item)]
        if not theirs or session.config.option.collectonly:
            return None
        self._run_here(session, [item for item in session.items if item not in theirs])
        self._run_there(session, theirs)
        return True

    def _run_here(self, session: pytest.Session, items: list[pytest.Item]) -> None:
        for item, following in zip(items, [*items[1:], None], strict=False):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            _stop_where_pytest_would(session)

    def _run_there(self, session: pytest.Session, items: list[pytest.Item]) -> None:
        hearing = _Hearing(session, items, self.describe(), self.connection.hello.clone, self.times)
        try:
            for event in self.connection.run(self._request(items)):
                hearing.hear(event)
                _stop_where_pytest_would(session)
        except Lost as error:
            raise LabFailed(f"{error} ({hearing.count()})") from error
        except (KeyboardInterrupt, pytest.Session.Failed):
            self.connection.stop()
            raise
        finally:
            self.times.mark("ended")
        hearing.check_that_all_were_run(self.connection.last_words)

    def _request(self, items: Iterable[pytest.Item]) -> dict[str, Any]:
        option = self.config.option
        options = {name: value for name, value in vars(option).items() if _can_go_over(name, value)}
        typed = self.config.getoption("--mydocker")
        options["mydocker"] = self.connection.translated(typed, self.config.invocation_params.dir)
        arguments = [f"--capture={option.capture}"]
        arguments += [f"-o{setting}" for setting in option.override_ini or ()]
        arguments += [f"-W{setting}" for setting in option.pythonwarnings or ()]
        self.connection.shows_output = option.capture == "no"
        return {
            "do": "run",
            "items": [
                (item.path.relative_to(self.clone.root).as_posix(), item.nodeid.partition("::")[2])
                for item in items
            ],
            "options": options,
            "arguments": [a for a in arguments if not a.startswith("-oaddopts=")],
            "workers": self._at_a_time(),
            "maxfail": option.maxfail,
            "lacks": os.environ.get("KATA_LAB_LACKS", ""),
        }

    def _at_a_time(self) -> int:
        """What -n says; as many as it has CPUs, where it says nothing or `auto`."""
        asked = getattr(self.config.known_args_namespace, "numprocesses", None)
        return max(1, asked) if isinstance(asked, int) else self.connection.hello.cpus

    # After the tests

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.config.getoption("--lab-times"):
            sent = f"{self.connection.changed} files had changed"
            terminalreporter.write_line(f"lab: {self.times} ({sent})")

    def pytest_unconfigure(self) -> None:
        if hasattr(self, "connection"):
            self.connection.close()


@dataclass
class _Hearing:
    """What is heard of a run over there, and told to the hooks here."""

    session: pytest.Session
    items: list[pytest.Item]
    where: str
    clone: str
    times: Times

    def __post_init__(self) -> None:
        self.hook = self.session.config.hook
        self._reports: dict[int, list[pytest.TestReport]] = {}
        self._ended: set[int] = set()
        self._problem = ""

    def hear(self, event: dict[str, Any]) -> None:
        match event:
            case {"report": int(place), "data": dict(data)}:
                self._reports.setdefault(place, []).append(self._report(place, data))
            case {"finished": int(place)}:
                self._tell(place)
            case {"crashed": int(place)}:
                self._fail(place, "the process that ran this test in the lab has died")
            case {"missing": int(place)}:
                self._fail(place, "collected here, but not in the lab: see its imports and marks")
            case {"uncollected": str(name), "text": str(text)}:
                self._problem = f"{name} cannot be collected in the lab:\n{text}"
            case {"broken": str(text)}:
                self._problem = text
            case {"refused": str(text)}:
                raise pytest.UsageError(text)
            case {"warning": str(text)}:
                self._warn(text, event)
            case {"ended": int(status)} if status in (3, 4, 70) or status < 0:
                self._problem = self._problem or f"pytest there has ended with {status}"

    def check_that_all_were_run(self, last_words: Callable[[], str]) -> None:
        """Raises LabFailed where something was broken. last_words: what was said beside events."""
        if self._problem:
            said = "" if "\n" in self._problem else f": {last_words()}"
            raise LabFailed(f"lab: {self._problem}{said} ({self.count()})")

    def count(self) -> str:
        return f"{len(self._ended)} of {len(self.items)} tests were run"

    def _report(self, place: int, data: dict[str, Any]) -> pytest.TestReport:
        """A report as it would have been, had the test run here."""
        item = self.items[place]
        data |= {"nodeid": item.nodeid, "location": item.location}
        report: pytest.TestReport = self.hook.pytest_report_from_serializable(
            config=self.session.config, data=data
        )
        report.user_properties = [(name, value) for name, value in report.user_properties]
        report.user_properties = [
            *(pair for pair in report.user_properties if pair[0] != "lab"),
            ("lab", self.where),
        ]
        report.sections = [(title, text) for title, text in report.sections]
        if isinstance(report.longrepr, list):  # of a skipped test: where, which line, why
            path, line, reason = report.longrepr
            root = str(self.session.config.rootpath)
            report.longrepr = (str(path).replace(self.clone, root, 1), line, reason)
        return report

    def _tell(self, place: int) -> None:
        """Tell all of a test at once, so that tests that ran at the same time are not mixed."""
        item = self.items[place]
        self.times.mark("first result")
        self._ended.add(place)
        self.hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        for report in self._reports.pop(place, []):
            self.hook.pytest_runtest_logreport(report=report)
        self.hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)

    def _fail(self, place: int, why: str) -> None:
        item = self.items[place]
        report = pytest.TestReport(
            nodeid=item.nodeid,
            location=item.location,
            keywords={},
            outcome="failed",
            longrepr=why,
            when="call",
            user_properties=[("lab", self.where)],
        )
        ended = pytest.TestReport(
            item.nodeid, item.location, {}, "passed", None, "teardown", duration=0
        )
        self._reports.setdefault(place, []).extend([report, ended])
        self._tell(place)

    def _warn(self, text: str, event: dict[str, Any]) -> None:
        category = getattr(__import__("builtins"), event["category"], UserWarning)
        message = warnings.WarningMessage(category(text), category, event["file"], event["line"])
        self.hook.pytest_warning_recorded.call_historic(
            kwargs={
                "warning_message": message,
                "when": event["when"],
                "nodeid": event["nodeid"],
                "location": None,
            }
        )


def _stop_where_pytest_would(session: pytest.Session) -> None:
    if session.shouldfail:
        raise session.Failed(session.shouldfail)
    if session.shouldstop:
        raise session.Interrupted(session.shouldstop)


def _can_go_over(name: str, value: object) -> bool:
    plain = (str, int, float, type(None))
    simple = isinstance(value, plain) or (
        isinstance(value, list) and all(isinstance(one, plain) for one in value)
    )
    return simple and name not in OF_THIS_SIDE
