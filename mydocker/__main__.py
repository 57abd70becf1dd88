"""`python -m mydocker` starts here."""

import gc
import os
import sys

if __name__ == "__main__":
    # All that a start loads stays to its end: to look for garbage in it takes a millisecond.
    gc.set_threshold(50_000)

    from mydocker.cli import main

    # Not sys.exit: to take the interpreter apart takes longer than to start a container.
    os._exit(main(sys.argv[1:]))
