"""mydocker stop: containers that run come to their end."""

from mydocker import lifecycle
from mydocker.container import Container, all_containers, find
from mydocker.errors import FAILED, MydockerError, complain, say


def stop(names: list[str], seconds: int) -> int:
    """Stop containers, and print the name of each that is stopped. Returns 1 if one is not."""
    everyone = list(all_containers(lambda path: None))
    found: dict[str, Container] = {}
    for name in names:
        try:
            container = find(name, f"stop {name}", everyone)
            container.refuse_unseen(f"stop {name}")
            found[name] = container
        except MydockerError as error:
            complain(str(error))
    different = {container.identity: container for container in found.values()}
    left = {c.identity for c in lifecycle.stop(list(different.values()), seconds)}
    for name in names:
        if name in found and found[name].identity in left:
            complain(f"stop {name}: it is still running after SIGKILL")
    say("".join(f"{n}\n" for n in names if n in found and found[n].identity not in left), "stop")
    return FAILED if left or len(found) < len(set(names)) else 0
