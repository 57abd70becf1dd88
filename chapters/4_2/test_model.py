"""Chapter 4.2: layers beside a plain directory, with whatever can be done to files."""

import contextlib
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings

from dojo.testkit import machine
from dojo.testkit.containers import end, first_process, started
from dojo.testkit.mydocker import Mydocker
from dojo.testkit.operations import lay_base, sequences
from dojo.testkit.testing import Unmet, check, examples, guard, layers, ours, task
from dojo.testkit.trees import describe, differences
from dojo.testkit.twins import twins_on

PHASES = [Phase.explicit, Phase.reuse, Phase.generate]
if machine.patience() < 4:  # to find the shortest sequence takes some hundred containers
    PHASES.append(Phase.shrink)


@task(2)
@guard  # it starts many containers, and what the one before did may not matter
@layers
@ours
@settings(
    max_examples=examples(usual=20, least=3),
    deadline=None,
    phases=PHASES,
    suppress_health_check=list(HealthCheck),
)
@given(operations=sequences())
def test_layers_are_like_a_plain_directory(mydocker, operations):
    """The same is done to a container's files and to a plain copy: both must stay the same.

    Names of any bytes, modes, owners, times, contents, links, devices, xattrs; and what fails in
    one place fails in the other. What layers may do otherwise, `Twins` in dojo/testkit/twins.py
    names, and `TwinsOnAufs` what AUFS may.
    """
    driver = mydocker.env["MYDOCKER_STORAGE_DRIVER"]
    # Beside the root: what a truncation to the same length does is up to the file system.
    image, plain = mydocker.root / "images/busybox/model", mydocker.root.parent / "plain"
    if not image.exists():
        lay_base(image)
    lay_base(plain)
    before = describe(image)
    try:
        with container(mydocker) as layered:
            check(not differences(before, describe(layered)), "/model as the image has it", "other")
            since = time.time() - 1
            with twins_on(driver, layered, plain) as twins:
                for operation in operations:
                    twins.do(operation)
                same(operations, twins.differences(since), "the same as in a plain directory")
        same(operations, differences(before, describe(image)), "the image is what it was")
    finally:
        shutil.rmtree(plain)


@contextlib.contextmanager
def container(mydocker: Mydocker) -> Iterator[Path]:
    """A container that runs. Where its /model is seen from here."""
    words = ("run", "busybox", "sh", "-c", "echo ready; exec sleep 1000")
    running = started(mydocker.start(*words))
    try:
        model = Path(f"/proc/{first_process(running).pid}/root/model")
        check(model.is_dir(), "the directory /model of the image", "there is none")
        yield model
        end(running)
    finally:
        running.stop()
        mydocker.host.until(lambda: not mydocker.host.processes())


def same(operations, unlike: list[str], expected: str) -> None:
    """Expect no difference; else show what was done, and the first things that are unlike."""
    __tracebackhide__ = True
    if unlike:
        done = [("did", str(operation)) for operation in operations]
        found = [("found", sentence) for sentence in unlike[:10]]
        raise Unmet([*done, *found, ("expected", expected)])
