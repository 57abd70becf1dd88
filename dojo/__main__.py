"""`python -m dojo`: the tool `kata`."""

from dojo.cli import main

if __name__ == "__main__":
    main()
