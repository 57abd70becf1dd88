"""`python -m mydocker` starts here."""

import os
import sys

from mydocker.cli import main

if __name__ == "__main__":
    # Not sys.exit: to take the interpreter apart takes longer than to start a container.
    os._exit(main(sys.argv[1:]))
