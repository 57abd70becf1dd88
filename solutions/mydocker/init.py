"""The child's side of a container: PID 1, inside, until it becomes the user's command."""

import contextlib
import errno
import os
import select
import signal

from mydocker import linux, pipe, rootfs
from mydocker.cgroups.groups import Group
from mydocker.container import Container
from mydocker.environment import PATH
from mydocker.errors import CANNOT_EXECUTE, MYDOCKER_FAILED, NOT_FOUND, MydockerError, end_child
from mydocker.layer import Layer
from mydocker.spec import ContainerSpec, ExecSpec
from mydocker.streams import make_blocking
from mydocker.terminal import Terminal


def become_the_command(
    record: Container,
    spec: ContainerSpec,
    streams: dict[int, int],
    terminal: Terminal | None,
    layer: Layer,
    group: Group,
    channel: pipe.Channel,
) -> None:
    """Build the walls, then turn into the command. Never returns to the code that forked.

    streams: what to write to, by the number of the stream, if there is no terminal. layer: what
    becomes the root. group: where the limits are.
    """
    try:
        die_with(channel.parent)
        group.join()
        enter_new_namespaces()
        linux.sethostname(record.identity[:12])
        linux.set_interface_up("lo")
        rootfs.enter(layer, spec.volumes)
        attach_streams(spec, streams, terminal)
        forget_the_caller()
        pipe.tell_ready(channel.failure_to_write)
        execute(pipe.receive_command(channel.command_to_read), record.environment)
    except BaseException as error:
        pipe.send_failure(channel.failure_to_write, error)
    finally:
        end_child(MYDOCKER_FAILED)


def die_with(parent: int) -> None:
    """Have the kernel kill us when our parent dies, so that no container is left unmonitored."""
    linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
    died_before_that, _, _ = select.select([parent], [], [], 0)
    if died_before_that:
        os._exit(MYDOCKER_FAILED)


def enter_new_namespaces() -> None:
    linux.unshare(linux.CLONE_NEWNS | linux.CLONE_NEWUTS | linux.CLONE_NEWIPC | linux.CLONE_NEWNET)
    rootfs.make_mounts_private()


def attach_streams(
    spec: ContainerSpec | ExecSpec, streams: dict[int, int], terminal: Terminal | None
) -> None:
    """Give the command a terminal, or the caller's stdin, if any, and what to write to.

    In a session of its own either way, or Ctrl-C would come twice: once from the caller's terminal,
    and once passed on.
    """
    if terminal:
        return terminal.open()
    os.setsid()
    for stream, pipe_to_write in streams.items():
        os.dup2(pipe_to_write, stream)
    if not spec.interactive:
        empty = os.open("/dev/null", os.O_RDONLY)
        os.dup2(empty, 0)
        os.close(empty)
    make_blocking()
    return None


def forget_the_caller() -> None:
    """Take back what an exec would keep: ignored and blocked signals, the umask, descriptors."""
    for number in signal.valid_signals():
        if signal.getsignal(number) != signal.SIG_DFL:
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.umask(0o022)
    for descriptor in os.listdir("/proc/self/fd"):
        if int(descriptor) > 2:
            with contextlib.suppress(OSError):  # the one that listed the others is closed by now
                os.set_inheritable(int(descriptor), False)


def execute(command: list[str], environment: dict[str, str]) -> None:
    """Turn into the command, looked up in the container's PATH. Raises MydockerError."""
    tried, why, status = f"exec '{command[0]}'", os.strerror(errno.ENOENT), NOT_FOUND
    for path in places_of(command[0], environment.get("PATH", PATH)):
        try:
            os.execve(path, command, environment)
        except (FileNotFoundError, NotADirectoryError):
            continue  # it may be in the next directory
        except OSError as error:
            why, status = error.strerror or str(error), CANNOT_EXECUTE
    raise MydockerError(tried, why, status)


def places_of(name: str, path: str) -> list[str]:
    """Where a command can be: a name with a slash is a path, any other is looked up in `path`."""
    if not name:
        return []
    return (
        [name] if "/" in name else [f"{directory or '.'}/{name}" for directory in path.split(":")]
    )
