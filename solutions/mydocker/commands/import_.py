"""mydocker import: a tar file becomes an image."""

import contextlib
import os

from mydocker import archive, image, progress
from mydocker.errors import FAILED, MydockerError, say


def import_(source: str, name: str) -> int:
    """Make an image of that name from a tar file, "-" for stdin, and print the name.

    Raises MydockerError where the file is not there or not good; then all is as before.
    """
    tried = f"import {source}"
    try:
        with contextlib.ExitStack() as undo:
            file = 0 if source == "-" else os.open(source, os.O_RDONLY)
            if file:
                undo.callback(os.close, file)
            with image.replacing(name) as tar:
                with progress.shown(tried, archive.size_of(tar)):
                    archive.copy_plain(file, tar)
                image.unpack(name, tar)
            image.link_to_unpacked(name)
    except archive.ArchiveError as error:
        raise MydockerError(tried, str(error), FAILED) from error
    except OSError as error:
        raise MydockerError(tried, error.strerror or str(error), FAILED) from error
    say(f"{name}\n", tried)
    return 0
