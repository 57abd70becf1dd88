"""mydocker rm: containers go, with all that is theirs."""

import contextlib
import signal

from mydocker import container as containers
from mydocker import lifecycle
from mydocker.cli import unforeseen
from mydocker.container import Container
from mydocker.errors import FAILED, MydockerError, Unread, complain, say

TOGETHER = 20  # containers that end at the same time: their monitors need some CPU to clean up


def rm(names: list[str], force: bool) -> int:
    """Remove containers, and print the name of each that is gone. Returns 1 if one is not.

    force: one that runs is killed first, one that is not there is no failure, and a record that
    cannot be read is removed as well.
    """
    broken = {name for name in set(names) & set(containers.names()) if containers.is_broken(name)}
    everyone = list(containers.all_containers(lambda path: None))
    killed: set[str] = set()
    status = 0
    for number, name in enumerate(names):
        if force and number % TOGETHER == 0:
            next_ones = names[number : number + TOGETHER]
            killed |= kill_together([n for n in next_ones if n not in broken], everyone)
        try:
            if name in broken:
                remove_broken(name, force)
            else:
                remove(name, force, everyone, killed)
            say(f"{name}\n", f"rm {name}")
        except OSError as error:
            complain(str(unforeseen(f"rm {name}", error)))
            status = FAILED
        except Unread:  # the others go all the same
            status = FAILED
        except MydockerError as error:
            complain(str(error))
            status = FAILED
        except lifecycle.Gone:
            complain(f"rm {name}: no such container")
            status = status if force else FAILED
    return status


def kill_together(names: list[str], everyone: list[Container]) -> set[str]:
    """Begin to end those that run: none need wait for another. Returns their IDs."""
    killed = set()
    for name in names:
        with contextlib.suppress(OSError, MydockerError):  # it is told when its turn comes
            found = containers.look_for(name, f"rm {name}", everyone)
            if found and found.state() != "exited":
                found.refuse_unseen(f"rm {name}")
                lifecycle.send(found, signal.SIGKILL)
                killed.add(found.identity)
    return killed


def remove_broken(name: str, force: bool) -> None:
    if not force:
        raise MydockerError(f"rm {name}", "its record cannot be read, rm -f removes it", FAILED)
    lifecycle.remove_broken(name)


def remove(name: str, force: bool, everyone: list[Container], killed: set[str]) -> None:
    """Remove one of these containers. Raises lifecycle.Gone where there is none, or not any more.

    killed: the IDs of those that are about to end because they are to be removed.
    """
    found = containers.look_for(name, f"rm {name}", everyone)
    if found is None:
        containers.remove_unfinished()  # it may be what a crash has left of it
        raise lifecycle.Gone
    found.refuse_unseen(f"rm {name}")
    if found.identity not in killed and found.state() == "exited":
        return lifecycle.remove(found)
    if not force:
        raise MydockerError(f"rm {name}", "it is running: stop it first, or rm -f", FAILED)
    killed.discard(found.identity)
    lifecycle.kill(found)
    with contextlib.suppress(lifecycle.Gone):  # with --rm, its monitor has removed it
        lifecycle.remove(found)
    return None
