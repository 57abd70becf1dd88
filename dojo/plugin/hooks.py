"""What the plugin does at each moment of a test run."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from functools import partial, wraps
from pathlib import Path

import pytest

from dojo import clone
from dojo.callers import wait_for_children
from dojo.course import progress
from dojo.course.catalogue import Catalogue
from dojo.engines import kind_of
from dojo.errors import KataError
from dojo.labs import choice
from dojo.labs.remote import Remote
from dojo.plugin import draws, standby
from dojo.plugin.fixtures import HOSTS, RUN, command_under_test
from dojo.plugin.items import (
    CATALOGUE,
    abilities_for,
    can_run,
    chapter_of,
    needs_of,
    number_of,
    place_of,
    task_of,
    title_of,
)
from dojo.plugin.messages import lesson_of, not_understood
from dojo.testkit import crash_points, lab, program
from dojo.testkit.history import in_short
from dojo.testkit.mydocker import Mydocker
from dojo.testkit.symptoms import symptoms
from dojo.testkit.testing import Unmet

FIRST = pytest.StashKey[set[pytest.Item]]()  # those that tell what any run leaves behind
STORAGE_DRIVERS = ("overlay", "aufs")  # also what a machine must have to run a test on one


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("kata", "the mydocker kata")
    group.addoption(
        "--mydocker",
        metavar="CMD",
        help="the program under test, in any language; default: the learner's python -m mydocker",
    )
    group.addoption(
        "--chapter",
        action="append",
        default=[],
        metavar="N",
        help="only the tests of this chapter, 3.1 or 3_1; as often as wanted",
    )
    group.addoption(
        "--up-to-task",
        type=int,
        metavar="N",
        help="only the tests of tasks 1 to N of each chapter",
    )
    group.addoption(
        "--lab",
        choices=choice.LABS,
        default="auto",
        help="where the chapters' tests run: here, on this Linux machine, as root; in the virtual "
        "machine of `vagrant up`; default: here where that can be, else there",
    )
    group.addoption(
        "--lab-times",
        action="store_true",
        help="say when the virtual machine was reached, and when its first result came",
    )
    group.addoption(
        "--red-first",
        action="store_true",
        help="begin with the tests that were red when `kata check` ran them last",
    )
    group.addoption(
        "--draw-anew",
        action="store_true",
        help="what tests draw by chance is new each time, not kept as long as they are red",
    )
    group.addoption(
        "--every-crash-point",
        action="store_true",
        help="only the tests that kill or overtake a command at crash points, and each time at "
        "every crash point that there is, not at some of them",
    )
    group.addoption(
        "--strict-lab",
        action="store_true",
        help="a test that this machine cannot run fails, it is not skipped",
    )


def pytest_configure(config: pytest.Config) -> None:
    wait_for_children()
    for marker in (
        "task(number): the task of the chapter that a test belongs to",
        "guard: holds before its chapter too, and must never break",
        "ours: what no other engine promises",
        "layers: runs once for each storage driver",
        "needs(*abilities): what the machine must have, see `kata doctor`",
        "vm: one of the few that CI runs in a virtual machine too",
    ):
        config.addinivalue_line("markers", marker)
    config.stash[CATALOGUE] = Catalogue(clone.here())
    if _concerns_chapters(config):
        draws.keep_examples(clone.here())
    try:
        for typed in config.getoption("--chapter"):
            config.stash[CATALOGUE].chapter(typed)
        program.split(config.getoption("--mydocker") or "")
        if not _runs_elsewhere(config):
            command_under_test(config)
            return
    except KataError as error:
        raise pytest.UsageError(str(error)) from error
    _run_elsewhere(config)


def _runs_elsewhere(config: pytest.Config) -> bool:
    """Whether chapters' tests are run, and that in the virtual machine."""
    if hasattr(config, "workerinput") or any(map(config.getoption, _RUN_NOTHING)):
        return False
    return _concerns_chapters(config) and choice.is_elsewhere(config.getoption("--lab"))


_RUN_NOTHING = ("collectonly", "showfixtures", "show_fixtures_per_test", "help", "version")


def _concerns_chapters(config: pytest.Config) -> bool:
    chapters = clone.here().chapters
    typed = (word.partition("::")[0] for word in config.args)
    paths = [Path(config.invocation_params.dir, word).resolve() for word in typed]
    return any(path.is_relative_to(chapters) or chapters.is_relative_to(path) for path in paths)


def _run_elsewhere(config: pytest.Config) -> None:
    """Have the chapters' tests run in the virtual machine, as many at a time as that one can."""
    for option in ("usepdb", "trace"):
        if config.getoption(option):
            name = {"usepdb": "pdb"}.get(option, option)
            raise pytest.UsageError(
                f"--{name}: not over the lab: a debugger needs the terminal that the test has; "
                "run it on a Linux machine, as root, with --lab here"
            )
    config.option.numprocesses, config.option.dist, config.option.tx = None, "no", []
    if remote_of(config) is None:
        wanted = config.getoption("--lab")
        as_root = "sudo .venv/bin/pytest " + " ".join(config.invocation_params.args)
        connect = partial(choice.connect, wanted, clone.here(), as_root)
        plugin = Remote(clone.here(), connect, lambda item: chapter_of(item) is not None)
        config.pluginmanager.register(plugin, "kata-remote")


def remote_of(config: pytest.Config) -> Remote | None:
    """The plugin that has tests run elsewhere, if they do."""
    plugins = config.pluginmanager.get_plugins()
    return next((plugin for plugin in plugins if isinstance(plugin, Remote)), None)


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> None:
    """A worker of a check that stands by looks for tests when there is something to check."""
    if hasattr(session.config, "workerinput"):
        standby.wait()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test of layers on each storage driver; one that the kernel lacks skips it.

    Another engine has drivers of its own, and chooses.
    """
    if metafunc.definition.get_closest_marker("layers"):
        chosen = STORAGE_DRIVERS[:1] if _is_an_engine(metafunc.config) else STORAGE_DRIVERS
        drivers = [pytest.param(d, marks=pytest.mark.needs(d)) for d in chosen]
        metafunc.parametrize("storage_driver", drivers, indirect=True)


def pytest_report_header(config: pytest.Config) -> list[str]:
    command = config.getoption("--mydocker") or "the learner's mydocker/"
    remote = remote_of(config)
    return [f"mydocker: {command}", f"lab: {remote.describe() if remote else lab.describe()}"]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the chapters that were asked for, and what any engine promises, in their order."""
    catalogue = config.stash[CATALOGUE]
    wanted = {catalogue.chapter(typed).number for typed in config.getoption("--chapter")}
    kept = items
    if wanted:
        kept = [item for item in kept if number_of(item) in wanted]
    last = config.getoption("--up-to-task")
    if last is not None:
        kept = [item for item in kept if task_of(item) <= last]
    if _is_an_engine(config):
        kept = [item for item in kept if not (chapter_of(item) and item.get_closest_marker("ours"))]
    if config.getoption("--every-crash-point"):
        kept = [item for item in kept if "unotify" in needs_of(item)]
    if dropped := set(items).difference(kept):
        config.hook.pytest_deselected(items=[item for item in items if item in dropped])
    items[:] = sorted(kept, key=place_of)
    if config.getoption("--red-first"):
        red = progress.load(catalogue.clone).red()
        items.sort(key=lambda item: item.nodeid not in red)


def _is_an_engine(config: pytest.Config) -> bool:
    """Whether the program under test is a real engine, which promises nothing that is `ours`."""
    typed = program.split(config.getoption("--mydocker") or "")
    return bool(typed) and kind_of(typed[0]) is not None


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what this machine cannot run, and say why."""
    chapter = chapter_of(item)
    if chapter is None:
        return
    crash_points.every_crash_point = item.config.getoption("--every-crash-point")
    wanted = abilities_for(item)
    reason = lab.cannot(sorted(wanted))
    if reason is None:
        draws.begin(item, clone.here())
        return
    strict = item.config.getoption("--strict-lab") or item.config.getoption("--lab") == "here"
    if strict and lab.cannot(sorted(wanted - lab.known_to_lack())):
        pytest.fail(f"this machine cannot run it: {reason}", pytrace=False)
    pytest.skip(f"this machine cannot run it: {reason}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """A test that passed, and left something behind, has failed."""
    under_test = item.stash.get(RUN, None)
    with each_example_noted(item, under_test):
        result = yield
    if under_test is not None:
        check_what_is_left(item, under_test)
    return result


def check_what_is_left(item: pytest.Item, under_test: Mydocker) -> None:
    """Fail for what a test has left behind, and each chapter only once for what any run leaves.

    Without that, one forgotten directory would turn all tests red, and hide what they are about.
    The first test of a chapter is the one that tells, whatever it is about itself.
    """
    made = under_test.made
    if chapter_of(item) is None or _is_an_engine(item.config):
        left = under_test.left_at_the_end()
    else:
        hosts = item.stash[HOSTS]
        left = under_test.left_at_the_end(hosts.always_left())
        if tells_of_any_run(item):
            plain = hosts.plain_runs(under_test.command)
            runs = [[leak for leak in run if not under_test.pardons(leak)] for run in plain.left]
            if any(runs) and not left:
                left, made = max(runs, key=len), [plain.last]
        elif left:
            always = hosts.plain_runs(under_test.command).always()
            for leak in left:
                if leak.kind in always:
                    item.add_report_section("call", "left, as by any run", f"{leak}\n")
            left = [leak for leak in left if leak.kind not in always]
    if left:
        calls = ("ran", in_short(made))
        raise Unmet([calls, *(("left", str(leak)) for leak in left), _NOTHING_LEFT])


def tells_of_any_run(item: pytest.Item) -> bool:
    """Whether a test is the first one that runs of its chapter, of those that need mydocker."""
    stash = item.session.stash
    if FIRST not in stash:
        first: dict[str, pytest.Item] = {}
        for other in item.session.items:
            chapter = chapter_of(other)
            if chapter and "mydocker" in getattr(other, "fixturenames", ()) and can_run(other):
                first.setdefault(chapter.number, other)
        stash[FIRST] = set(first.values())
    return item in stash[FIRST]


@contextmanager
def each_example_noted(item: pytest.Item, under_test: Mydocker | None) -> Iterator[None]:
    """Have it be known which calls a test of Hypothesis has made for its last example."""
    test = getattr(getattr(item, "obj", None), "hypothesis", None)
    if test is None or under_test is None:
        yield
        return
    inner = test.inner_test

    @wraps(inner)
    def noted(*arguments: object, **more: object) -> object:
        __tracebackhide__ = True
        under_test.begun = len(under_test.made)
        return inner(*arguments, **more)

    test.inner_test = noted
    try:
        yield
    finally:
        test.inner_test = inner


_NOTHING_LEFT = (
    "expected",
    "when a container has ended, nothing of it remains and the host is as it was",
)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show an unmet expectation as a lesson, not as a traceback."""
    report = yield
    chapter = chapter_of(item)
    if chapter is not None:
        number = task_of(item)
        under_test = item.stash.get(RUN, None)
        report.user_properties += [("chapter", chapter.number), ("task", number)]
        report.user_properties += [("lab", lab.name())]
        report.user_properties += [("guard", item.get_closest_marker("guard") is not None)]
        if call.when == "call" and not report.skipped:
            draws.end(item, clone.here(), report.passed)
        if report.failed and call.excinfo is not None:
            error = call.excinfo.value
            if isinstance(error, Unmet):
                report.longrepr = lesson_of(item, chapter, error)
                report.user_properties.append(("symptoms", symptoms(error.rows)))
            elif isinstance(error, KataError):
                report.longrepr = f"{chapter.number} {title_of(item)}\n  {error}"
            elif under_test is not None and isinstance(error, Exception):
                report.sections.append(("where the test gave up", report.longreprtext))
                report.longrepr = lesson_of(item, chapter, not_understood(call.excinfo, under_test))
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Under sudo: what pytest wrote into somebody's clone is theirs."""
    here = clone.here()
    if here.foreign_owner() is not None:
        caches = [path for path in here.root.rglob("__pycache__") if ".venv" not in path.parts]
        here.give_back(here.root / ".pytest_cache", here.root / ".hypothesis", here.state, *caches)
