"""The clone that the tool works on, and the person it belongs to.

Tests need root; the clone usually belongs to somebody else (`sudo ./kata check 3.1`). What the tool
writes into the clone must stay that person's, and git must neither refuse to work in it
(`safe.directory`) nor leave root's files in `.git`. So whatever touches the clone is run as its
owner, or handed back to the owner afterwards.
"""

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Clone:
    """A checkout of this project.

    root: the directory that holds `chapters/`, `solutions/` and the learner's `mydocker/`.
    """

    root: Path

    @property
    def chapters(self) -> Path:
        return self.root / "chapters"

    @property
    def learner(self) -> Path:
        """The learner's package."""
        return self.root / "mydocker"

    @property
    def solutions(self) -> Path:
        return self.root / "solutions"

    @property
    def state(self) -> Path:
        """What the tool keeps between two commands (progress, caches); never committed."""
        return self.root / ".kata"

    def foreign_owner(self) -> os.stat_result | None:
        """The stat of the root if we are root and the clone is somebody else's, else None."""
        if not hasattr(os, "geteuid") or os.geteuid() != 0:
            return None
        found = self.root.stat()
        return found if found.st_uid != 0 else None

    def run_as_owner(
        self,
        argv: Sequence[str],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        stdin: bytes = b"",
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a command as the clone's owner, with its output captured.

        env: the whole environment of the command, or None for the caller's.
        """
        owner = self.foreign_owner()
        return subprocess.run(
            argv,
            cwd=cwd or self.root,
            env=dict(env) if env is not None else None,
            input=stdin,
            capture_output=True,
            check=False,
            user=owner.st_uid if owner else None,
            group=owner.st_gid if owner else None,
            extra_groups=[] if owner else None,
        )

    def give_back(self, *paths: Path) -> None:
        """Make the clone's owner the owner of everything below these paths, links included.

        What `.ci/vm` keeps is left alone: while it makes a box, another system's files lie there.
        """
        owner = self.foreign_owner()
        if owner is None:
            return
        its_own = {self.state / "box", self.state / "vm"}
        for top in paths:
            for path in _tree(top, its_own):
                if path.lstat().st_uid == 0:
                    os.lchown(path, owner.st_uid, owner.st_gid)


def _tree(top: Path, without: set[Path]) -> Iterator[Path]:
    if not os.path.lexists(top):
        return
    yield top
    for folder, directories, files in os.walk(top):
        directories[:] = [name for name in directories if Path(folder, name) not in without]
        for name in directories + files:
            yield Path(folder, name)


def here() -> Clone:
    """The clone that this very file lies in."""
    return Clone(Path(__file__).resolve().parent.parent)
