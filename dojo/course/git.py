"""Git, run so that nobody's settings change what comes out.

What the tool makes with git (states, tags, patches, saved work) must come out the same on every
machine: no user or system configuration is read, no hook runs, no line ending is converted, and
what the repository's own configuration says about such things is overruled. Nothing is signed
either: plumbing signs only when told to. It all runs as the clone's owner (see `dojo.clone`).
"""

import io
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

from dojo.clone import Clone
from dojo.course.folders import LINK, File, Files, mode_of, read_folder, scratch
from dojo.errors import KataError

NAME = "kata"
ADDRESS = "kata@kata.invalid"

Argument = str | bytes | Path


class Git:
    """Git commands in one directory of a clone.

    directory: the top of a work tree, or a folder in no repository; the clone's root if not given.
    A repository that only *surrounds* the directory is never found: a zip of the kata may have been
    unpacked in somebody's repository, and `git apply` in there would silently skip our paths.
    """

    def __init__(self, clone: Clone, directory: Path | None = None) -> None:
        self.clone = clone
        self.directory = directory or clone.root

    def run(
        self,
        *arguments: Argument,
        stdin: bytes = b"",
        index: Path | None = None,
        date: str | None = None,
    ) -> bytes:
        """Run a git command and return what it printed.

        index: the index file to work with, the repository's own if None.
        date: when a commit is made and written ("@1700000000 +0000"), now if None.
        Raises KataError with what was tried and git's own reason.
        """
        result = self.attempt(*arguments, stdin=stdin, index=index, date=date)
        if result.returncode != 0:
            tried = " ".join(os.fsdecode(argument) for argument in arguments)
            raise KataError(f"git {tried}: {reason(result)}")
        return result.stdout

    def attempt(
        self,
        *arguments: Argument,
        stdin: bytes = b"",
        index: Path | None = None,
        date: str | None = None,
    ) -> CompletedProcess[bytes]:
        """Like `run`, for those who want to see the exit status. Raises KataError without git."""
        argv = ["git", *_SETTINGS, *(os.fsdecode(argument) for argument in arguments)]
        environment = self._environment(index, date)
        try:
            return self.clone.run_as_owner(argv, cwd=self.directory, env=environment, stdin=stdin)
        except FileNotFoundError as error:
            if error.filename != "git":
                raise KataError(f"run git in {self.directory}: {error.strerror}") from error
            raise KataError("git is not installed (Debian, Ubuntu: apt install git)") from error
        except OSError as error:
            raise KataError(f"run git in {self.directory}: {error.strerror}") from error

    def line(self, *arguments: Argument, stdin: bytes = b"", index: Path | None = None) -> str:
        """What a command printed, decoded and without its last newline. Raises as `run` does."""
        return os.fsdecode(self.run(*arguments, stdin=stdin, index=index)).removesuffix("\n")

    # What there is

    def is_repository(self) -> bool:
        return os.path.lexists(self.directory / ".git")

    def require_repository(self) -> None:
        """Raises KataError where there is none, or none that git will work in."""
        if not self.is_repository():
            raise KataError(
                f"{self.directory} is not a git repository (a zip download?): get the kata with"
                " `git clone`"
            )
        self.run("rev-parse", "--git-dir")

    def commit(self, name: str) -> str | None:
        """The ID of the commit that a name stands for, None if there is no such commit."""
        result = self.attempt("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
        return result.stdout.decode().strip() if result.returncode == 0 else None

    def main(self) -> str:
        """The commit that `main` stands for: the branch, else origin's, else where HEAD is.

        Raises KataError in a repository without a commit.
        """
        self.require_repository()
        for name in ("refs/heads/main", "refs/remotes/origin/main", "HEAD"):
            commit = self.commit(name)
            if commit is not None:
                return commit
        raise KataError(f"{self.directory}: there is no commit yet")

    def date(self, commit: str) -> str:
        """The committer's date in the form that `run` takes."""
        return "@" + self.line("log", "-1", "--format=%cd", "--date=raw", commit)

    def folder(self) -> Path:
        """Where git keeps what it knows of this work tree."""
        return Path(self.line("rev-parse", "--absolute-git-dir"))

    def unfinished(self) -> str | None:
        """What was begun with git here and not ended ("a rebase"), None if nothing was."""
        folder = self.folder()
        for name, what in _UNFINISHED.items():
            if (folder / name).exists():
                return what
        return None

    def conflicts(self, index: Path | None = None) -> list[str]:
        """The files that git could not merge by itself and nobody has resolved."""
        listed = self.run("ls-files", "--unmerged", "-z", index=index).split(b"\0")[:-1]
        return sorted({os.fsdecode(entry.split(b"\t", 1)[1]) for entry in listed})

    def worktrees(self) -> list["Worktree"]:
        # Its -z is git 2.36's. Without it a path may have lines of its own.
        listed = self.run("worktree", "list", "--porcelain")
        return [_worktree(*found.groups()) for found in _WORKTREE.finditer(listed)]

    # Trees: folders as git keeps them

    def merge(self, base: str, ours: str, theirs: str) -> "Merge":
        """Merge two trees that come from a third one."""
        with scratch(self.clone, self.clone.state) as folder:
            work_tree = folder / "files"
            work_tree.mkdir()
            self.clone.give_back(work_tree)
            # Since 2.38 `merge-tree --write-tree` does this in one, without files.
            there, index = f"--work-tree={work_tree}", folder / "index"
            self.run(there, "read-tree", "--reset", "-u", ours, index=index)
            result = self.attempt(there, "merge-recursive", base, "--", ours, theirs, index=index)
            conflicts = self.conflicts(index)
            if result.returncode != 0 and not conflicts:
                raise KataError(f"git merge-recursive: {reason(result)}")
            tree = None if conflicts else self.line("write-tree", index=index)
            return Merge(tree, tuple(conflicts))

    def store(self, top: Path, names: Iterable[str]) -> list["Entry"]:
        """Store files and links as they lie on the disk, to the byte and without any filter.

        names: relative to `top`. Raises KataError if one cannot be read.
        """
        modes = {name: mode_of(os.lstat(top / name)) for name in names}
        files = [name for name, mode in modes.items() if mode != LINK]
        listed = b"".join(_quoted(os.fsencode(top / name)) + b"\n" for name in files)
        stored = self.run(
            "hash-object", "-w", "--no-filters", "--stdin-paths", stdin=listed
        ).split()
        ids = dict(zip(files, (blob.decode() for blob in stored), strict=True))
        for name in modes.keys() - ids.keys():
            target = os.fsencode(os.readlink(top / name))
            ids[name] = self.line("hash-object", "-w", "--stdin", stdin=target)
        return [Entry(mode, ids[name], name) for name, mode in modes.items()]

    def tree(self, entries: Iterable["Entry"]) -> str:
        """The ID of the tree that holds just these entries."""
        listed = b"".join(
            f"{entry.mode} {entry.blob}\t".encode() + os.fsencode(entry.name) + b"\0"
            for entry in entries
        )
        with scratch(self.clone, self.clone.state) as folder:
            index = folder / "index"
            self.run("update-index", "-z", "--index-info", stdin=listed, index=index)
            return self.line("write-tree", index=index)

    def tree_of(self, folder: Path) -> str:
        """The ID of the tree that holds a folder as `read_folder` sees it."""
        return self.tree(self.store(folder, read_folder(folder)))

    def graft(self, top: str, name: str, subtree: str) -> str:
        """The ID of a tree: that of `top` with the folder `name` replaced by another tree."""
        entries = self.run("ls-tree", "-z", top).split(b"\0")[:-1]
        others = [entry for entry in entries if entry.split(b"\t", 1)[1] != name.encode()]
        if subtree != self.empty():
            others.append(f"040000 tree {subtree}\t{name}".encode())
        return self.line("mktree", "-z", stdin=b"".join(entry + b"\0" for entry in others))

    def subtree(self, commit: str, name: str) -> str:
        """The ID of a folder's tree in a commit, that of an empty tree if it has no such folder."""
        listed = self.run("ls-tree", "-z", "-d", commit, "--", name).split(b"\0")[0]
        return listed.split(b"\t")[0].split()[2].decode() if listed else self.empty()

    def empty(self) -> str:
        return self.line("mktree")

    def entries(self, tree: str) -> list["Entry"]:
        """All files below a tree, without what is in them."""
        return [_listed(line) for line in self.run("ls-tree", "-r", "-z", tree).split(b"\0")[:-1]]

    def read_tree(self, tree: str) -> "Files":
        """All files below a tree, to the byte."""
        entries = self.entries(tree)
        blobs = self._read(entry.blob for entry in entries)
        return {
            entry.name: File(entry.mode, data) for entry, data in zip(entries, blobs, strict=True)
        }

    def commit_tree(
        self, tree: str, parents: Iterable[str], message: str, date: str | None = None
    ) -> str:
        """Make a commit and return its ID: the same for the same arguments, if a date is given."""
        flags = [flag for parent in parents for flag in ("-p", parent)]
        made = self.run("commit-tree", tree, *flags, "-F", "-", stdin=message.encode(), date=date)
        return made.decode().strip()

    def patch(self, before: str, after: str, folder: str = "") -> bytes:
        """The patch between two trees or commits: the same text for the same trees, anywhere.

        folder: where the trees belong, "mydocker/", as the patch is to name their files.
        """
        prefixes = (f"--src-prefix=a/{folder}", f"--dst-prefix=b/{folder}")
        diff = self.run("diff-tree", *_PATCH, *prefixes, before, after)
        # With --text there is nothing but lines of text; what is in a file starts with " +-\\".
        return b"\n".join(line for line in diff.split(b"\n") if not line.startswith(b"index "))

    def _read(self, blobs: Iterable[str]) -> Iterator[bytes]:
        wanted = "".join(blob + "\n" for blob in blobs)
        answer = io.BytesIO(self.run("cat-file", "--batch", stdin=wanted.encode()))
        while header := answer.readline():
            size = int(header.split()[2])
            yield answer.read(size)
            answer.read(1)

    def _environment(self, index: Path | None, date: str | None) -> dict[str, str]:
        # GIT_DIR and its like are set where the tool is called from a hook.
        kept = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
        made = kept | {
            "LC_ALL": "C",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_OPTIONAL_LOCKS": "0",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_LITERAL_PATHSPECS": "1",
            "GIT_CEILING_DIRECTORIES": str(self.directory.parent),
            "GIT_AUTHOR_NAME": NAME,
            "GIT_AUTHOR_EMAIL": ADDRESS,
            "GIT_COMMITTER_NAME": NAME,
            "GIT_COMMITTER_EMAIL": ADDRESS,
        }
        if index is not None:
            made["GIT_INDEX_FILE"] = str(index)
        if date is not None:
            made |= {"GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date}
        return made


@dataclass(frozen=True)
class Worktree:
    """path: where it lies. branch: what is checked out there ("refs/heads/x"), None if detached."""

    path: Path
    branch: str | None


@dataclass(frozen=True)
class Merge:
    """What came of a merge. tree: None if there are conflicts. conflicts: the files that have."""

    tree: str | None
    conflicts: tuple[str, ...]


@dataclass(frozen=True)
class Entry:
    """A file of a tree. mode: as git writes it. blob: the ID of what is in it."""

    mode: str
    blob: str
    name: str


def reason(result: CompletedProcess[bytes]) -> str:
    """Why a git command failed, in one line and in git's words."""
    lines = result.stderr.decode(errors="replace").strip().splitlines()
    for line in lines:
        for prefix in ("fatal: ", "error: "):
            if line.startswith(prefix):
                return line.removeprefix(prefix)
    return lines[-1] if lines else f"exit status {result.returncode}"


def _quoted(path: bytes) -> bytes:
    """A path as `--stdin-paths` takes it, whatever characters it has."""
    return b'"' + path.replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n") + b'"'


def _listed(line: bytes) -> Entry:
    """An entry as `ls-tree` lists it."""
    about, name = line.split(b"\t", 1)
    mode, _, blob = about.decode().split()
    return Entry(mode, blob, os.fsdecode(name))


def _worktree(path: bytes, branch: bytes | None) -> Worktree:
    return Worktree(Path(os.fsdecode(path)), os.fsdecode(branch) if branch else None)


_WORKTREE = re.compile(
    rb"^worktree (.+?)\n(?:bare|HEAD [0-9a-f]+\n(?:detached|branch (\S+)))\n",
    re.DOTALL | re.MULTILINE,
)

_UNFINISHED = {
    "rebase-merge": "a rebase",
    "rebase-apply": "a rebase",
    "MERGE_HEAD": "a merge",
    "CHERRY_PICK_HEAD": "a cherry-pick",
    "REVERT_HEAD": "a revert",
    "sequencer": "a cherry-pick or a revert",
    "BISECT_LOG": "a bisect",
}

_PATCH = (
    "-r",
    "--patch",
    "--text",
    "--no-renames",
    "--no-color",
    "--no-ext-diff",
    "--no-textconv",
    "--unified=3",
    "--inter-hunk-context=0",
    "--diff-algorithm=histogram",
    "--indent-heuristic",
)

_SETTINGS = [
    flag
    for setting in (
        "apply.ignoreWhitespace=no",
        "apply.whitespace=nowarn",
        "branch.autoSetupMerge=false",
        "color.ui=false",
        f"core.attributesFile={os.devnull}",
        "core.autocrlf=false",
        f"core.excludesFile={os.devnull}",
        "core.fsmonitor=false",
        f"core.hooksPath={os.devnull}",
        "core.quotePath=false",
        "core.safecrlf=false",
        "core.untrackedCache=false",
        "diff.suppressBlankEmpty=false",
        "gc.auto=0",
        "i18n.commitEncoding=utf-8",
        "i18n.logOutputEncoding=utf-8",
        "log.showSignature=false",
        "maintenance.auto=false",
        "merge.directoryRenames=false",
        "merge.renames=true",
        "submodule.recurse=false",
    )
    for flag in ("-c", setting)
]
