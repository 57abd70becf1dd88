"""The tags: `git checkout 3.2` is chapter 3.2 done, `git checkout 3.2-start` where it begins.

And `git checkout 3.2-task-2` is where task 2 is done.
"""

from collections.abc import Iterator
from pathlib import Path

from dojo.course.catalogue import Catalogue, Chapter
from dojo.course.git import ADDRESS, Git
from dojo.course.steps import Steps

KEPT = "kept: it is not the kata's"


def make_tags(catalogue: Catalogue, steps: Steps) -> list[tuple[str, str]]:
    """Make the tags `N`, `N-start` and `N-task-K` of every chapter; return what became of each.

    A tag is a commit on main's, with main's tree and its date, but for `mydocker/`: so that it is
    the same commit whenever it is made, until main changes. The steps are those that main has, not
    those of the working tree. What became of a tag: "new", "same", "remade" where main or its steps
    had changed, KEPT where somebody has used the name for something else.
    Raises KataError where main's steps do not fit together; no tag is changed then.
    """
    git = Git(catalogue.clone)
    main = git.main()
    there = _tags(git)
    made = _commits(git, main, catalogue, steps.at(main))
    outcome = {name: _outcome(there.get(name), commit) for name, commit in made.items()}
    updates = "".join(
        f"update refs/tags/{name} {commit}\n"
        for name, commit in made.items()
        if outcome[name] in ("new", "remade")
    )
    git.run("update-ref", "--stdin", stdin=updates.encode())
    return list(outcome.items())


def _commits(git: Git, main: str, catalogue: Catalogue, steps: Steps) -> dict[str, str]:
    date = git.date(main)
    commits = {}
    for chapter in catalogue.chapters:
        for name, what, folder in _states(chapter, steps):
            tree = git.graft(main, "mydocker", git.tree_of(folder / "mydocker"))
            message = f"{_subject(name)} {what}"
            commits[name] = git.commit_tree(tree, [main], message, date)
    return commits


def _states(chapter: Chapter, steps: Steps) -> Iterator[tuple[str, str, Path]]:
    """The tags of a chapter: name, what is there, and the folder that has it."""
    yield f"{chapter.number}-start", f"chapter {chapter.number} begins", steps.start(chapter)
    for patch in steps.patches(chapter):
        what = f"task {patch.task} of chapter {chapter.number} is done"
        yield f"{chapter.number}-task-{patch.task}", what, steps.state(chapter, patch.task)
    yield chapter.number, f"chapter {chapter.number} is done", steps.state(chapter)


def _tags(git: Git) -> dict[str, tuple[str, bool]]:
    """All tags there are: what each points at, and whether this module made it."""
    tags = {}
    form = "--format=%(refname:lstrip=2) %(objectname) %(committeremail) %(subject)"
    for line in git.line("for-each-ref", form, "refs/tags").splitlines():
        # An annotated tag, always somebody's own, has a tagger and no committer.
        name, commit, email, subject = line.split(" ", 3)
        tags[name] = (commit, email == f"<{ADDRESS}>" and subject.startswith(_subject(name)))
    return tags


def _subject(name: str) -> str:
    return f"{name}: mydocker/ where"


def _outcome(there: tuple[str, bool] | None, commit: str) -> str:
    if there is None:
        return "new"
    at, ours = there
    if at == commit:
        return "same"
    return "remade" if ours else KEPT
