"""A git that knows only what the oldest supported one does, and refuses the rest as that one would.

What came to git after 2.34, by its release notes, as far as a tool like ours may come to use it.
"""

import shutil
from pathlib import Path

from dojo.learner.doctor import OLDEST_GIT

VERSION = ".".join(map(str, OLDEST_GIT)) + ".1"

NEWER_COMMANDS = ("backfill", "diff-pairs", "history", "last-modified", "refs", "repo", "replay")
NEWER_OPTIONS = {
    "apply": ("--allow-empty",),
    "archive": ("--mtime",),
    "cat-file": ("-z", "-Z", "--batch-command", "--filter", "--use-mailmap"),
    "check-attr": ("--source",),
    "cherry-pick": ("--empty",),
    "clone": ("--also-filter-submodules", "--bundle-uri", "--ref-format", "--revision"),
    "config": ("get", "list", "set", "unset", "edit"),
    "diff": ("--remerge-diff",),
    "diff-tree": ("--remerge-diff",),
    "fetch": ("--porcelain", "--refetch"),
    "for-each-ref": (
        "--exclude",
        "--include-root-refs",
        "--omit-empty",
        "--start-after",
        "--stdin",
    ),
    "init": ("--ref-format",),
    "log": ("--clear-decorations", "--remerge-diff", "--since-as-filter"),
    "ls-files": ("--format",),
    "ls-remote": ("--branches",),
    "ls-tree": ("--format", "--object-only"),
    "merge-file": ("--diff-algorithm", "--object-id"),
    "merge-tree": ("--merge-base", "--messages", "--name-only", "--stdin", "--write-tree"),
    "push": ("--branches",),
    "rebase": ("--update-refs",),
    "rev-list": ("--exclude-hidden",),
    "rev-parse": ("--show-ref-format",),
    "show-ref": ("--exists",),
    "stash": ("--staged",),
    "symbolic-ref": ("--no-recurse",),
    "update-ref": ("--batch-updates",),
    "worktree": ("-z", "--orphan"),
}

SCRIPT = """\
#!/bin/bash
given=("$@")
refuse() {{ echo "error: unknown option: $1" >&2; exit 129; }}
while [[ ${{1:-}} == -* ]]; do
    case $1 in
        --version | -v) echo "git version {version}"; exit ;;
        --attr-source*) refuse "$1" ;;
        -c | -C | --git-dir | --work-tree) shift 2 ;;
        *) shift ;;
    esac
done
command=$1
case $command in {commands}) refuse "$command" ;; esac
shift
for word; do
    case "$command $word" in
        *" --") break ;;
{options}
    esac
done
exec {git} "${{given[@]}}"
"""


def script() -> str:
    lines = []
    for command, options in NEWER_OPTIONS.items():
        lines += [
            f'        "{command} {word}" | "{command} {word}="*) refuse "$word" ;;'
            for word in options
        ]
    return SCRIPT.format(
        version=VERSION,
        commands=" | ".join(NEWER_COMMANDS),
        options="\n".join(lines),
        git=shutil.which("git"),
    )


def install(folder: Path) -> None:
    """Put it into a folder that anybody may read."""
    folder.mkdir()
    folder.chmod(0o755)
    path = folder / "git"
    path.write_text(script())
    path.chmod(0o755)
