"""The parent's side of a container: outside, in the namespaces of the caller."""

import contextlib
import os
from collections.abc import Callable

from mydocker import image, init, linux, log, pipe, storage, volume
from mydocker.cgroups import groups
from mydocker.container import Container
from mydocker.environment import given
from mydocker.errors import end_child
from mydocker.layer import Layer
from mydocker.pump import Pump
from mydocker.spec import ContainerSpec
from mydocker.supervise import ended_by_failure, monitor, wait_for_signals_only_when_asked
from mydocker.terminal import Terminal


def detach(identity: str, spec: ContainerSpec) -> None:
    """Start a container that lives on, monitored by a process in the background.

    Raises MydockerError where it could not be started; then nothing of it is left.
    """
    outcome_to_read, outcome_to_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(outcome_to_read)
        monitor_in_background(identity, spec, outcome_to_write)
    os.close(outcome_to_write)
    failure = pipe.receive_outcome(outcome_to_read)
    if failure:
        os.waitpid(pid, 0)  # by now it has undone what it did
        raise failure


def monitor_in_background(identity: str, spec: ContainerSpec, outcome_to_write: int) -> None:
    """Run the container in a process that belongs to nobody. Never returns to the code that forked.

    outcome_to_write: a pipe that takes how the start went.
    """

    def tell_started() -> None:
        with contextlib.suppress(BrokenPipeError):  # who asked is gone: the container stays
            pipe.tell_ready(outcome_to_write)

    try:
        leave_the_caller(outcome_to_write)
        run(identity, spec, tell_started)
    except BaseException as error:
        pipe.send_failure(outcome_to_write, error)
    finally:
        end_child(0)


def leave_the_caller(kept: int) -> None:
    """Let go of terminal, working directory and descriptors, all but one of ours."""
    os.setsid()
    os.chdir("/")
    nothing = os.open("/dev/null", os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) != kept:
            with contextlib.suppress(OSError):  # the one that listed the others is closed by now
                os.close(int(name))


def run(identity: str, spec: ContainerSpec, tell_started: Callable[[], None]) -> int:
    """Start a container and monitor it until it ends. Returns the exit status of its PID 1.

    tell_started: called once it runs. Raises MydockerError where it could not be started; then
    nothing of it is left.
    """
    with contextlib.ExitStack() as undo:
        held = image.hold(spec.image)
        undo.callback(held.let_go)
        name = spec.name or identity[:12]
        wanted = {**spec.environment_of_files, **spec.environment}
        environment = given(identity[:12], spec.tty, wanted)
        record = Container(identity, name, spec.image, spec.command, environment)
        record.driver = storage.choose()
        record.create(held.key)
        removal = undo.enter_context(contextlib.ExitStack())
        removal.callback(remove, record)
        layer = Layer(name, held.directory, record.driver)
        layer.make()
        wait_for_signals_only_when_asked()
        group = groups.create(f"mydocker-{identity}", spec.limits)
        undo.callback(group.remove)
        made = undo.enter_context(volume.make_sources(spec.volumes))
        recorder = log.Recorder(record, passed_on=not spec.detach)
        undo.callback(recorder.close)
        pump = Pump(recorder.take)
        terminal = Terminal() if spec.tty else None
        if terminal:
            undo.callback(terminal.restore)
        pid = start(record, spec, terminal, layer, group, pump)
        made.pop_all()  # they are the user's from now on
        if not spec.rm:
            removal.pop_all()
        tell_started()
        return monitor(pid, record, terminal, pump)


def remove(record: Container) -> None:
    """Remove what there is of a container, once nobody makes an image of it any more."""
    from mydocker.lifecycle import remove_files

    with contextlib.suppress(FileNotFoundError), record.locked():  # somebody else may have done it
        remove_files(record)


def start(
    record: Container,
    spec: ContainerSpec,
    terminal: Terminal | None,
    layer: Layer,
    group: groups.Group,
    pump: Pump,
) -> int:
    """Fork PID 1 of a new PID namespace and send it the command.

    Returns its PID as seen from here, once it has become the command. Raises MydockerError where
    one of the steps on its side failed.
    """
    channel = pipe.Channel()
    streams = {} if terminal else {stream: os.pipe() for stream in (log.STDOUT, log.STDERR)}
    ours = os.open("/proc/self/ns/pid", os.O_RDONLY)
    linux.unshare(linux.CLONE_NEWPID)  # for the child: no process changes its own PID
    pid = os.fork()
    if pid == 0:
        channel.keep_childs_ends()
        theirs = {stream: write for stream, (_, write) in streams.items()}
        init.become_the_command(record, spec, theirs, terminal, layer, group, channel)
    channel.keep_parents_ends()
    with ended_by_failure(pid):
        # Our own next children, and threads, are to be where we are: else we could have no threads.
        linux.setns(ours, linux.CLONE_NEWPID)
        os.close(ours)
        for _, write in streams.values():
            os.close(write)
        pump.start({stream: read for stream, (read, _) in streams.items()})
        failure = pipe.wait_until_ready(channel.failure_to_read)
        if not failure:
            if terminal:
                terminal.receive()
                pump.start({log.STDOUT: terminal.master})
                if spec.interactive and not spec.detach:
                    terminal.pass_keys_on()
            record.has_started(pid)  # now its files are its own, and nothing of the command has run
            with contextlib.suppress(BrokenPipeError):  # it was killed: then it has an end to read
                pipe.send_command(channel.command_to_write, spec.command)
            failure = pipe.receive_failure(channel.failure_to_read)
        if failure:
            raise failure
    return pid
