"""How another process gets into a container that runs."""

import contextlib
import errno
import os

from mydocker import init, linux, pidfd, pipe
from mydocker.cgroups import groups
from mydocker.container import Container
from mydocker.environment import changed
from mydocker.errors import FAILED, MYDOCKER_FAILED, MydockerError, end_child
from mydocker.process import Process
from mydocker.pump import Pump
from mydocker.spec import ExecSpec
from mydocker.streams import fill_standard_streams, write_all
from mydocker.supervise import (
    ended_by_failure,
    exit_status,
    wait_for_end,
    wait_for_signals_only_when_asked,
)
from mydocker.terminal import Terminal

END_SECONDS = 1.0

# In this order: behind the mount namespace, the host's /proc is out of reach.
NAMESPACES = {
    "uts": linux.CLONE_NEWUTS,
    "ipc": linux.CLONE_NEWIPC,
    "net": linux.CLONE_NEWNET,
    "pid": linux.CLONE_NEWPID,
    "mnt": linux.CLONE_NEWNS,
}


def run(container: Container, spec: ExecSpec, tried: str) -> int:
    """Run a command in a container and wait for it. Returns its exit status.

    Raises MydockerError where it could not be started: nothing has been run then, and least of all
    on the host.
    """
    container.refuse_unseen(tried)
    first = container.process
    if container.state() != "running" or first is None:
        raise not_running(tried)
    fill_standard_streams()
    wait_for_signals_only_when_asked()
    try:
        with first.held() as handle:
            held = os.dup(handle)  # its PID means another process where we are going
    except ProcessLookupError as error:
        raise not_running(tried) from error
    try:
        return enter_and_run(container, first, spec)
    except OSError as error:
        # What we wanted to join goes a moment before the process itself does. A lack of privileges
        # has nothing to do with that.
        if error.errno != errno.EPERM and pidfd.ends_within(held, END_SECONDS):
            raise not_running(tried) from error
        raise


def not_running(tried: str) -> MydockerError:
    return MydockerError(tried, "the container does not run", FAILED)


def enter_and_run(container: Container, first: Process, spec: ExecSpec) -> int:
    ours = os.open("/proc/self/ns/pid", os.O_RDONLY)
    with first.held():
        doors = groups.find(f"mydocker-{container.identity}").doors()
        namespaces = {
            kind: os.open(f"/proc/{first.pid}/ns/{name}", os.O_RDONLY)
            for name, kind in NAMESPACES.items()
        }
    terminal = Terminal() if spec.tty else None
    # All of them before the fork. A child that is in there, and has not joined them all, could be
    # found by the container's processes, and through its /proc/PID/root the host's files.
    for kind, namespace in namespaces.items():
        linux.setns(namespace, kind)
    channel = pipe.Channel()
    pid = os.fork()
    if pid == 0:
        channel.keep_childs_ends()
        of_terminal = {"TERM": "xterm"} if spec.tty else {}
        environment = changed({**of_terminal, **container.environment}, spec.environment)
        become_the_command(environment, spec, terminal, doors, channel)
    channel.keep_parents_ends()
    with ended_by_failure(pid):
        linux.setns(ours, linux.CLONE_NEWPID)
    return monitor(pid, spec, terminal, channel)


def monitor(pid: int, spec: ExecSpec, terminal: Terminal | None, channel: pipe.Channel) -> int:
    """Send the child its command, and wait for its end. Returns the exit status.

    A zombie is in the container as any process is, and PID 1 cannot end before it has gone.
    """
    pump = Pump(write_all)
    with contextlib.ExitStack() as undo:
        with ended_by_failure(pid):
            failure = pipe.wait_until_ready(channel.failure_to_read)
            if not failure:
                if terminal:
                    undo.callback(terminal.restore)
                    terminal.receive()
                    pump.start({1: terminal.master})
                    if spec.interactive:
                        terminal.pass_keys_on()
                with contextlib.suppress(BrokenPipeError):  # it was killed: it has an end to read
                    pipe.send_command(channel.command_to_write, spec.command)
                failure = pipe.receive_failure(channel.failure_to_read)
            if failure:
                raise failure
        ended = wait_for_end(pid, terminal)
        os.waitpid(pid, 0)
        pump.finish()
    return exit_status(ended)


def become_the_command(
    environment: dict[str, str],
    spec: ExecSpec,
    terminal: Terminal | None,
    doors: list[int],
    channel: pipe.Channel,
) -> None:
    """In the container's namespaces: turn into the command. Never returns to the code that forked.

    doors: what to write to, to be in the container's groups.
    """
    try:
        init.die_with(channel.parent)
        groups.Group.enter(doors)
        init.attach_streams(spec, {}, terminal)
        init.forget_the_caller()
        pipe.tell_ready(channel.failure_to_write)
        init.execute(pipe.receive_command(channel.command_to_read), environment)
    except BaseException as error:
        pipe.send_failure(channel.failure_to_write, error, command="exec")
    finally:
        end_child(MYDOCKER_FAILED)
