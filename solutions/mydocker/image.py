"""Images: the file systems that containers start from, in `images/` below MYDOCKER_ROOT.

`NAME.tar` is an image. Its files are unpacked when they are first needed, into a directory of
`.unpacked/` whose name says of which tar they are, and `NAME` is a link to it. So a new tar that
takes the place of an old one, in a single rename, is all that it takes to replace an image: the
next container gets the new files, and those that run go on with the directory that they hold.

A plain directory `NAME` that somebody laid there is an image as well.
"""

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator

from mydocker import paths
from mydocker.errors import MydockerError

IMAGE_LINK = "image"  # in the directory of a record: a link to nothing, whose text is a key


class Image:
    """An image that is held: while it is, nobody removes its directory.

    directory: its files, never written to. key: what these very files are called, whatever becomes
    of the image.
    """

    def __init__(self, name: str, directory: str, handle: int) -> None:
        self.name = name
        self.directory = directory
        self.key = key_of(name, directory, handle)
        self._handle = handle

    def let_go(self) -> None:
        """The last one that holds the files of an image that was replaced removes them."""
        os.close(self._handle)
        remove_replaced(self.name)


def hold(name: str) -> Image:
    """Find an image and hold it; unpack it first, if that is still to be done.

    Raises MydockerError where there is none, or where its tar cannot be unpacked.
    """
    while True:
        directory = unpacked(name)
        if directory is None:
            unpack_tar(name)
            continue
        with contextlib.suppress(FileNotFoundError):  # removed since we looked
            handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(handle, fcntl.LOCK_SH)
            if paths.is_still(directory, handle):
                return Image(name, directory, handle)
            os.close(handle)


def names() -> list[str]:
    """The names of all images."""
    with contextlib.suppress(FileNotFoundError):
        there = os.listdir(images())
        return sorted({name.removesuffix(".tar") for name in there if not name.startswith(".")})
    return []


@contextlib.contextmanager
def replacing(name: str) -> Iterator[int]:
    """The descriptor of a new tar to write. When the block ends well, it is the image.

    Until then it has no name: whatever happens, nothing half made is ever seen, or left.
    """
    paths.make_directory(paths.root(), 0o700)  # nobody else needs the programs in there
    paths.make_directory(images())
    tar = os.open(images(), os.O_TMPFILE | os.O_RDWR, 0o600)
    try:
        yield tar
        os.fsync(tar)
        with paths.locked(images()) as handle:
            new = f".{name}.tar"
            with contextlib.suppress(FileNotFoundError):  # of one that was killed right here
                os.unlink(new, dir_fd=handle)
            unnamed = f"/proc/self/fd/{tar}"
            os.link(unnamed, new, src_dir_fd=handle, dst_dir_fd=handle, follow_symlinks=True)
            os.rename(new, f"{name}.tar", src_dir_fd=handle, dst_dir_fd=handle)
            os.fsync(handle)
    finally:
        os.close(tar)


def unpack(name: str, tar: int) -> None:
    """Unpack a tar that is the image of that name, or that will be.

    Raises ArchiveError for one that is damaged, or that would write elsewhere.
    """
    # Imported here, since hardly any command gets here: mostly it is unpacked already.
    from mydocker import archive, linux, progress

    os.umask(0o022)  # for a directory that a tar implies and does not list
    paths.make_directory(unpacked_images(), 0o700)
    with paths.locked(unpacked_images()):
        directory = directory_of(name, os.fstat(tar))
        if os.path.isdir(directory):  # another one was faster
            return
        new = f"{unpacked_images()}/.new"
        paths.remove_tree(new)  # of one that was killed
        os.mkdir(new)
        with contextlib.ExitStack() as undo:
            undo.callback(paths.remove_tree, new)
            archive.check(tar)
            with progress.shown(f"unpack {name}", archive.position_in(tar)):
                archive.extract(tar, new)
            linux.syncfs(new)
            os.rename(new, directory)
            undo.pop_all()


def unpack_tar(name: str) -> None:
    """Unpack the tar of an image, and link to what came out of it."""
    from mydocker.archive import ArchiveError

    try:
        with open(f"{images()}/{name}.tar", "rb") as tar:
            unpack(name, tar.fileno())
    except ArchiveError as error:
        raise MydockerError(f"unpack {images()}/{name}.tar", str(error)) from error
    link_to_unpacked(name)


def link_to_unpacked(name: str) -> None:
    """Let `NAME` be a link to the files of `NAME.tar`, and remove those of earlier ones."""
    directory = unpacked(name)
    if directory is not None and directory.startswith(unpacked_images()):
        with paths.locked(images()):
            place, link = f"{images()}/{name}", f"{images()}/.{name}.link"
            if is_laid(place):  # and replaced now
                os.rename(place, f"{unpacked_images()}/{key_of_laid(name, os.stat(place))}")
            with contextlib.suppress(FileNotFoundError):  # of one that was killed right here
                os.unlink(link)
            os.symlink(os.path.relpath(directory, images()), link)
            os.rename(link, place)
    remove_replaced(name)


def remove_replaced(name: str) -> None:
    """Remove the files of earlier images of that name, but for those that somebody needs.

    Who holds them has locked them; a container that does not run names them in its record.
    """
    try:
        kept = unpacked(name)
    except MydockerError:  # somebody has removed the image
        kept = None
    with contextlib.suppress(FileNotFoundError):
        mine = [key for key in os.listdir(unpacked_images()) if key.partition("@")[0] == name]
        replaced = [key for key in mine if f"{unpacked_images()}/{key}" != kept]
        needed = keys_in_records() if replaced else set()
        for key in replaced:
            directory = f"{unpacked_images()}/{key}"
            if key not in needed:
                with (
                    contextlib.suppress(BlockingIOError),
                    paths.locked(directory, fcntl.LOCK_EX | fcntl.LOCK_NB),
                ):
                    paths.remove_tree(directory)


def keys_in_records() -> set[str]:
    """The keys of the files that containers were started from: their records' links IMAGE_LINK."""
    found: set[str] = set()
    with contextlib.suppress(FileNotFoundError):
        for entry in os.scandir(f"{paths.root()}/containers"):
            with contextlib.suppress(OSError):
                found.add(os.readlink(f"{entry.path}/{IMAGE_LINK}"))
    return found


def directory_by_key(key: str) -> str:
    """The directory of files that a record names. Raises FileNotFoundError where they are gone."""
    directory = f"{unpacked_images()}/{key}"
    if "@" in key and "/" not in key and os.path.isdir(directory):
        return directory
    place = f"{images()}/{key.partition('@')[0]}"
    if os.path.isdir(place) and key == key_of_laid(os.path.basename(place), os.stat(place)):
        return os.path.realpath(place)  # somebody may have laid a link there
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), directory)


def key_of(name: str, directory: str, handle: int) -> str:
    if os.path.dirname(directory) == unpacked_images():
        return os.path.basename(directory)
    return key_of_laid(name, os.fstat(handle))


def key_of_laid(name: str, found: os.stat_result) -> str:
    """What a directory that somebody laid there is called: as such, once it is replaced."""
    return f"{name}@laid-{found.st_ino:x}"


def unpacked(name: str) -> str | None:
    """The directory of an image's files, None while they are in its tar only.

    Raises MydockerError where there is no such image.
    """
    place = f"{images()}/{name}"
    try:
        tar = os.stat(f"{place}.tar")
    except FileNotFoundError:
        if os.path.isdir(place):
            return behind(place)
        raise MydockerError(f"run {name}", "no such image") from None
    if is_laid(place) and os.stat(place).st_ctime_ns > tar.st_ctime_ns:
        return place
    directory = directory_of(name, tar)
    return directory if os.path.isdir(directory) else None


def behind(place: str) -> str:
    """The directory that the name of an image leads to: one of `.unpacked/` by its path in there.

    Told by what it is, not by its path: links may lead to MYDOCKER_ROOT, or to `images/`.
    """
    found = os.path.realpath(place)
    ours = f"{unpacked_images()}/{os.path.basename(found)}"
    return ours if os.path.isdir(ours) and os.path.samefile(ours, found) else found


def is_laid(place: str) -> bool:
    """Whether a directory was laid there, and is not our link to what was unpacked."""
    return os.path.isdir(place) and not os.path.islink(place)


def stored_as(name: str) -> str:
    """The path of what an image is: its tar, or a directory that was laid there."""
    tar = f"{images()}/{name}.tar"
    return tar if os.path.exists(tar) else f"{images()}/{name}"


def directory_of(name: str, tar: os.stat_result) -> str:
    """Where the files of this very tar are unpacked."""
    return f"{unpacked_images()}/{name}@{tar.st_ino:x}-{tar.st_mtime_ns:x}-{tar.st_size:x}"


def images() -> str:
    return f"{paths.root()}/images"


def unpacked_images() -> str:
    return f"{images()}/.unpacked"
