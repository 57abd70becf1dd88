"""`python -m solutions CHAPTER run ...`: the reference solution as it is at a chapter."""

import sys

from dojo.callers import wait_for_children
from dojo.clone import here
from dojo.course.catalogue import Catalogue
from dojo.errors import KataError
from dojo.learner.reference import run_reference


def main(arguments: list[str]) -> None:
    wait_for_children()
    if not arguments or arguments[0].startswith("-"):
        print("usage: python -m solutions CHAPTER run [OPTION...] IMAGE COMMAND", file=sys.stderr)
        sys.exit(2)
    try:
        run_reference(Catalogue(here()), arguments[0], arguments[1:])
    except KataError as error:
        print(f"solutions: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main(sys.argv[1:])
