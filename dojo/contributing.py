"""What a contributor types: the project's own tests, steps, wrong solutions, teeth, pictures, site.

What takes long to import is imported by the command that needs it.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from dojo.clone import here
from dojo.course.catalogue import Catalogue
from dojo.course.chosen import chosen_chapters
from dojo.errors import KataError

if TYPE_CHECKING:
    from dojo.course.editor import Editor
    from dojo.course.steps import Steps

UNTOUCHED = {"ignore_unknown_options": True, "allow_interspersed_args": False}


@click.command(context_settings=UNTOUCHED)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[PYTEST ARGUMENT]...")
def test(arguments: tuple[str, ...]) -> None:
    """Run the project's own tests, with pytest's own arguments."""
    _become_pytest(here().root, list(arguments))


@click.group()
def steps() -> None:
    """Change the reference's steps (for contributors)."""


@steps.command("list")
@click.argument("chapters", metavar="[CHAPTER]...", nargs=-1)
def steps_list(chapters: tuple[str, ...]) -> None:
    """List the steps, and how many lines each adds."""
    from dojo import screens
    from dojo.learner import reading

    catalogue = Catalogue(here())
    chosen = chosen_chapters(catalogue, chapters) if chapters else catalogue.chapters
    reading.list_steps(screens.console(), steps_of(catalogue), chosen)


@steps.command("open")
def steps_open() -> None:
    """Lay the steps out as commits in a worktree, to be edited."""
    directory = _editor().open()
    click.echo(f"The steps are in {directory}, a commit each. Edit, then save them:")
    click.echo("  git rebase --interactive --autosquash ...")
    click.echo("  kata steps save")


@steps.command("save")
def steps_save() -> None:
    """Write the edited commits back to solutions/."""
    _tell_changes(_editor().save())


@steps.command("rebase")
@click.argument("branch")
def steps_rebase(branch: str) -> None:
    """Carry over what a branch has changed in the steps."""
    _tell_changes(_editor().rebase(branch))


@steps.command("verify")
def steps_verify() -> None:
    """Prove that patches and solutions/mydocker/ agree to the byte."""
    catalogue = Catalogue(here())
    problems = steps_of(catalogue).verify()
    for problem in problems:
        click.echo(f"kata: {problem}", err=True)
    if problems:
        sys.exit(1)
    click.echo(f"The steps of {len(catalogue.chapters)} chapters agree with solutions/mydocker/.")


@click.group()
def wrong() -> None:
    """Carry the wrong solutions over (for contributors)."""


@wrong.command("rebase")
@click.argument("commit", default="HEAD")
def wrong_rebase(commit: str) -> None:
    """Carry over from the reference as COMMIT has it, HEAD by default, to that of now."""
    from dojo.teeth import rebase

    rebased = rebase.rebase(Catalogue(here()), commit)
    for name in rebased.carried:
        click.echo(f"carried over: {name}")
    for conflict in rebased.conflicts:
        click.echo(f"conflict: {conflict.name}, in {conflict.place}: {', '.join(conflict.files)}")
    if rebased.conflicts:
        click.echo("Edit, `git add`, then:")
        click.echo("  kata wrong save")
        sys.exit(1)
    if not rebased.carried:
        click.echo("Nothing has changed.")


@wrong.command("save")
def wrong_save() -> None:
    """Write back those whose conflicts are solved."""
    from dojo.teeth import rebase

    for name in rebase.save(Catalogue(here())):
        click.echo(f"saved: {name}")


def _tell_changes(paths: Sequence[str]) -> None:
    for path in paths:
        click.echo(f"changed: {path}")
    if not paths:
        click.echo("Nothing has changed.")


def steps_of(catalogue: Catalogue) -> "Steps":
    from dojo.course.steps import Steps

    return Steps(catalogue)


def _editor() -> "Editor":
    from dojo.course.editor import Editor

    return Editor(steps_of(Catalogue(here())))


@click.group(invoke_without_command=True)
@click.pass_context
def teeth(ctx: click.Context) -> None:
    """Show how sharp the tests are."""
    if ctx.invoked_subcommand is None:
        from dojo import screens
        from dojo.teeth import commands

        commands.show(Catalogue(here()), screens.console())


@teeth.command()
@click.argument("what", type=click.Choice(["wrong", "mutants", "docker", "podman", "flakes"]))
@click.argument("chapters", metavar="[CHAPTER]...", nargs=-1)
@click.option("--sample", default=60, show_default=True, help="How many mutants are made.")
@click.option("--rounds", default=20, show_default=True, help="How often flakes are looked for.")
@click.option(
    "--seed", default=1, show_default=True, help="Of what is drawn: the same for the same seed."
)
def measure(what: str, chapters: tuple[str, ...], sample: int, rounds: int, seed: int) -> None:
    """Have the tests judge wrong solutions, mutants of the reference, or a real engine.

    Or look for flakes: all chapters again and again, in any order, under load. Takes its time:
    hours for many mutants.
    """
    from dojo import extras, screens
    from dojo.teeth import commands
    from dojo.testkit import lab

    catalogue = Catalogue(here())
    chosen = chosen_chapters(catalogue, chapters) if chapters else catalogue.chapters
    extras.require("dev", commands.NEEDED.get(what, ()), f"teeth measure {what}")
    if reason := lab.cannot(["namespaces", "cgroup"]):
        raise KataError(f"teeth measure: the tests cannot run here: {reason}")
    console = screens.console()
    if what == "wrong":
        good = commands.measure_wrong(catalogue, chosen, console)
    elif what == "mutants":
        good = commands.measure_mutants(catalogue, sample, seed, console)
    elif what == "flakes":
        good = commands.measure_flakes(catalogue, rounds, seed, console)
    else:
        good = commands.measure_engine(catalogue, what, chosen, console)
    sys.exit(0 if good else 1)


@teeth.command()
def document() -> None:
    """Write to docs/teeth what was measured, and what the lessons claim."""
    from dojo import screens
    from dojo.teeth import commands

    commands.write_document(Catalogue(here()), screens.console())


@click.command()
def pictures() -> None:
    """Draw the lessons' pictures anew (for contributors)."""
    from dojo.pictures import files

    _tell_changes(files.write(Catalogue(here())))


@click.command()
@click.option(
    "--output", metavar="DIR", type=click.Path(path_type=Path), help="Not site/, but this one."
)
def site(output: Path | None) -> None:
    """Build the lessons as a web site that needs no network."""
    from dojo.site.build import build

    catalogue = Catalogue(here())
    page = build(catalogue, output or catalogue.clone.root / "site")
    click.echo(f"The site is built. Its first page is {page}")


def _become_pytest(root: Path, arguments: list[str]) -> NoReturn:
    """Run pytest at the root of the clone, two tests at a time unless something else was asked."""
    from dojo.learner.run import plugin_options

    given = " ".join(arguments)
    chosen = any(word.startswith(("-n", "--numprocesses", "--pdb")) for word in arguments)
    workers = [] if chosen or "no:xdist" in given else ["-n", "2"]
    argv = [sys.executable, "-m", "pytest", *plugin_options(), *workers, *arguments]
    os.chdir(root)
    os.execv(sys.executable, argv)
