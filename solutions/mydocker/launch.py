"""The parent's side of a container: outside, in the namespaces of the caller."""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator

from mydocker import image, init, linux, log, pipe, storage, volume
from mydocker.cgroups import groups
from mydocker.cgroups.limits import Limits
from mydocker.cli import RunRequest
from mydocker.container import Container
from mydocker.environment import given
from mydocker.errors import MydockerError, complain, end_child, from_bug, from_kernel
from mydocker.layer import Layer
from mydocker.pump import Pump

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mydocker.terminal import Terminal

# Whoever sends one of these to a `run` in the foreground means the container.
FORWARDED = {
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGUSR1,
    signal.SIGUSR2,
}
BLOCKED = {*FORWARDED, signal.SIGCHLD, signal.SIGWINCH, signal.SIGTTOU}


def detach(identity: str, request: RunRequest, limits: Limits) -> None:
    """Start a container that lives on, monitored by a process in the background.

    Raises MydockerError where it could not be started; then nothing of it is left.
    """
    outcome_to_read, outcome_to_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(outcome_to_read)
        monitor_in_background(identity, request, limits, outcome_to_write)
    os.close(outcome_to_write)
    failure = pipe.receive_outcome(outcome_to_read)
    if failure:
        os.waitpid(pid, 0)  # by now it has undone what it did
        raise failure


def monitor_in_background(
    identity: str, request: RunRequest, limits: Limits, outcome_to_write: int
) -> None:
    """Run the container in a process that belongs to nobody. Never returns to the code that forked.

    outcome_to_write: a pipe that takes how the start went.
    """

    def tell_started() -> None:
        with contextlib.suppress(BrokenPipeError):  # who asked is gone: the container stays
            pipe.tell_ready(outcome_to_write)
        os.close(outcome_to_write)

    try:
        leave_the_caller(outcome_to_write)
        run(identity, request, limits, tell_started)
    except MydockerError as error:
        pipe.send_failure(outcome_to_write, error)
    except OSError as error:
        pipe.send_failure(outcome_to_write, from_kernel(error))
    except Exception:
        pipe.send_failure(outcome_to_write, from_bug())
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


def run(
    identity: str, request: RunRequest, limits: Limits, tell_started: Callable[[], None]
) -> int:
    """Start a container and monitor it until it ends. Returns the exit status of its PID 1.

    tell_started: called once it runs. Raises MydockerError where it could not be started; then
    nothing of it is left.
    """
    with contextlib.ExitStack() as undo:
        held = image.hold(request.image)
        undo.callback(held.let_go)
        name = request.name or identity[:12]
        wanted = {**request.environment_of_files, **request.environment}
        environment = given(identity[:12], request.tty, wanted)
        record = Container(identity, name, request.image, request.command, environment)
        record.driver = storage.choose()
        record.create(held.key)
        removal = undo.enter_context(contextlib.ExitStack())
        removal.callback(remove, record)
        layer = Layer(name, held.directory, record.driver)
        layer.make()
        wait_for_signals_only_when_asked()
        group = groups.create(f"mydocker-{identity}", limits)
        undo.callback(group.remove)
        made = undo.enter_context(volume.make_sources(request.volumes))
        recorder = log.Recorder(record, passed_on=not request.detach)
        undo.callback(recorder.close)
        pump = Pump(recorder.take)
        terminal = new_terminal() if request.tty else None
        if terminal:
            undo.callback(terminal.restore)
        pid = start(record, request, terminal, layer, group, pump)
        made.pop_all()  # they are the user's from now on
        if not request.rm:
            removal.pop_all()
        tell_started()
        return monitor(pid, record, terminal, pump)


def remove(record: Container) -> None:
    """Remove what there is of a container, once nobody makes an image of it any more."""
    from mydocker.lifecycle import remove_files

    with contextlib.suppress(FileNotFoundError), record.locked():  # somebody else may have done it
        remove_files(record)


def fill_standard_streams() -> None:
    """Keep our own descriptors out of the places of stdin, stdout and stderr, if one is closed."""
    while (descriptor := os.open("/dev/null", os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)


def wait_for_signals_only_when_asked() -> None:
    """Let no signal end this process half-way: from now on `monitor` takes them one by one."""
    signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED)


def start(
    record: Container,
    request: RunRequest,
    terminal: "Terminal | None",
    layer: Layer,
    group: groups.Group,
    pump: Pump,
) -> int:
    """Fork PID 1 of a new PID namespace and send it the command.

    Returns its PID as seen from here, once it has become the command. Raises MydockerError where
    one of the steps on its side failed.
    """
    parent = os.pidfd_open(os.getpid())
    command_to_read, command_to_write = os.pipe()
    failure_to_read, failure_to_write = os.pipe()
    streams = {} if terminal else {stream: os.pipe() for stream in (log.STDOUT, log.STDERR)}
    ours = os.open("/proc/self/ns/pid", os.O_RDONLY)
    linux.unshare(linux.CLONE_NEWPID)  # for the child: no process changes its own PID
    pid = os.fork()
    if pid == 0:
        os.close(command_to_write)
        os.close(failure_to_read)
        init.become_the_command(
            record.identity,
            request,
            {stream: write for stream, (_, write) in streams.items()},
            terminal,
            record.environment,
            layer,
            group,
            parent,
            command_to_read,
            failure_to_write,
        )
    os.close(command_to_read)
    os.close(failure_to_write)
    with ended_by_failure(pid):
        # Our own next children, and threads, are to be where we are: else we could have no threads.
        linux.setns(ours, linux.CLONE_NEWPID)
        os.close(ours)
        for _, write in streams.values():
            os.close(write)
        pump.start({stream: read for stream, (read, _) in streams.items()})
        failure = pipe.wait_until_ready(failure_to_read)
        if not failure:
            if terminal:
                terminal.receive()
                pump.start({log.STDOUT: terminal.master})
                if request.interactive and not request.detach:
                    terminal.pass_keys_on()
            record.has_started(pid)  # now its files are its own, and nothing of the command has run
            with contextlib.suppress(BrokenPipeError):  # it was killed: then it has an end to read
                pipe.send_command(command_to_write, request.command)
            failure = pipe.receive_failure(failure_to_read)
        if failure:
            raise failure
    return pid


@contextlib.contextmanager
def ended_by_failure(pid: int) -> Iterator[None]:
    """End a child when a step fails on either side: while it lives, its group cannot be removed."""
    try:
        yield
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise


def new_terminal() -> "Terminal":
    from mydocker.terminal import Terminal  # what it needs takes long to import

    return Terminal()


def monitor(pid: int, record: Container, terminal: "Terminal | None", pump: Pump) -> int:
    """Monitor a container until it ends. Returns its exit status.

    The end is recorded when all that the container wrote is in the log, and before it is waited
    for: until then whoever asks finds a zombie, and not nothing.
    """
    status = exit_status(wait_for_end(pid, terminal))
    pump.finish()
    try:
        record.has_ended(status)
    except FileNotFoundError:
        pass  # somebody has removed the container while we waited for its reader
    except OSError as error:  # a full disk, say: the container has ended all the same
        complain(f"record the end of {record.name}: {error.strerror}")
    os.waitpid(pid, 0)
    return status


def wait_for_end(pid: int, terminal: "Terminal | None") -> os.waitid_result:
    """Hand signals on to a child until it has ended. It is a zombie then."""
    awaited = {*FORWARDED, signal.SIGCHLD, signal.SIGWINCH}
    while True:
        received = signal.sigwait(awaited)
        if received == signal.SIGCHLD:
            ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended:
                return ended
        elif received != signal.SIGWINCH:
            os.kill(pid, received)
        elif terminal:
            terminal.fit()


def exit_status(ended: os.waitid_result) -> int:
    """The exit status for what waitid(2) says: 128+N where signal N ended the process."""
    return ended.si_status if ended.si_code == os.CLD_EXITED else 128 + ended.si_status
