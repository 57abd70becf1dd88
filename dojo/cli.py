"""The command line `kata`: what can be typed, and which module does it.

What takes long to import is imported by the command that needs it.
"""

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from dojo.callers import wait_for_children
from dojo.clone import here
from dojo.course.catalogue import Catalogue, Chapter
from dojo.errors import KataError

if TYPE_CHECKING:
    from dojo.course.steps import Steps

USAGE = 2
STOPPED = 130


class Kata(click.Group):
    """A group whose commands end with one line where something is wrong."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except KataError as error:
            line = " ".join(str(error).split("\n"))  # a reason may be another program's
            click.echo(f"kata: {line}", err=True)
            ctx.exit(USAGE)
        except KeyboardInterrupt:
            click.echo("kata: stopped", err=True)
            ctx.exit(STOPPED)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which they are needed."""
        return list(self.commands)


LAB = click.option(
    "--lab",
    type=click.Choice(["auto", "here", "vagrant"]),
    default="auto",
    help="Where the tests run: on this machine, or in the virtual one of `kata lab up`.",
)
UNTOUCHED = {"ignore_unknown_options": True, "allow_interspersed_args": False}


@click.group(
    cls=Kata, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.pass_context
def kata(ctx: click.Context) -> None:
    """Write your own Docker, chapter by chapter.

    Without a command: what to do next.
    """
    if ctx.invoked_subcommand is None:
        from dojo.learner import overview

        overview.what_next(Catalogue(here()))


@kata.command()
def status() -> None:
    """Show every chapter, and how far you are."""
    from dojo.learner import overview

    overview.status(Catalogue(here()))


@kata.command()
@click.argument("chapters", metavar="[CHAPTER]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Show every failure in full.")
@click.option("--mydocker", metavar="CMD", help="Test this program, not your mydocker/.")
@click.option("-m", "marked", metavar="EXPR", help="Only tests marked so, such as 'not ours'.")
@click.option("-n", "workers", type=click.IntRange(min=0), help="How many tests run at a time.")
@LAB
@click.option("--strict-lab", is_flag=True, help="What the machine cannot run fails.")
@click.option("--red-first", is_flag=True, help="Begin with what was red the last time.")
@click.option("--standby", is_flag=True, hidden=True)
def check(
    chapters: tuple[str, ...],
    everything: bool,
    mydocker: str | None,
    marked: str | None,
    workers: int | None,
    lab: str,
    strict_lab: bool,
    red_first: bool,
    standby: bool,
) -> None:
    """Run the tests of chapters, by default of the one you are at."""
    from dojo import screens
    from dojo.learner.check import Request
    from dojo.learner.check import check as run

    catalogue = Catalogue(here())
    request = Request(
        chapters=_chosen(catalogue, chapters),
        mydocker=mydocker,
        marked=marked,
        workers=workers,
        everything=everything,
        lab=lab,
        strict=strict_lab,
        red_first=red_first,
    )
    if sys.platform == "win32":  # how `watch` interrupts it
        signal.signal(signal.SIGBREAK, signal.default_int_handler)
    sys.exit(run(catalogue, request, screens.console(), standby))


@kata.command()
@click.argument("chapter", required=False)
@LAB
def watch(chapter: str | None, lab: str) -> None:
    """Check a chapter again at every save."""
    from dojo.learner.watch import watch as run

    catalogue = Catalogue(here())
    sys.exit(run(catalogue, _chosen(catalogue, [chapter] if chapter else [])[0], lab))


@kata.command()
@click.argument("chapter", required=False)
def read(chapter: str | None) -> None:
    """Read the lesson of a chapter."""
    from dojo.learner import reading

    catalogue = Catalogue(here())
    reading.lesson(_chosen(catalogue, [chapter] if chapter else [])[0])


@kata.command()
@click.argument("chapter", required=False)
@click.option("--task", type=click.IntRange(min=1), help="For this task, not the first red one.")
@click.option("--all", "everything", is_flag=True, help="Show all hints of the task.")
def hint(chapter: str | None, task: int | None, everything: bool) -> None:
    """Show the next hint for the first red task."""
    from dojo.learner import reading

    catalogue = Catalogue(here())
    chosen = _chosen(catalogue, [chapter] if chapter else [])[0]
    reading.hint(catalogue, chosen, task, everything=everything)


@kata.command()
@click.argument("chapter")
@click.option("--task", type=click.IntRange(min=1), help="This task only.")
def diff(chapter: str, task: int | None) -> None:
    """Show how the reference does a chapter, a patch for each task."""
    from dojo.learner import reading

    catalogue = Catalogue(here())
    reading.diff(_steps(catalogue), catalogue.chapter(chapter), task)


@kata.command()
@click.argument("chapter")
@click.option("--task", type=click.IntRange(min=1), default=1, help="To where this task begins.")
def goto(chapter: str, task: int) -> None:
    """Go to where a chapter begins. What you have is saved first."""
    from dojo.course import progress
    from dojo.learner import learning
    from dojo.screens import command

    catalogue = Catalogue(here())
    arrival = learning.goto(catalogue, _steps(catalogue), catalogue.chapter(chapter), task)
    progress.update(catalogue.clone, lambda known: known.gone_to(catalogue, arrival.chapter))
    if arrival.saved:
        click.echo(f"What was there is saved on branch {arrival.saved}.")
    number = arrival.chapter.number
    what = f"chapter {number}" if task == 1 else f"task {task} of chapter {number}"
    click.echo(f"Branch {learning.BRANCH} is now where {what} begins.")
    click.echo(f"Next  {command('read', number)}")


@kata.command(context_settings=UNTOUCHED)
@click.argument("chapter")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="-- run ...")
def solution(chapter: str, arguments: tuple[str, ...]) -> None:
    """Run the reference as it is at a chapter."""
    from dojo.learner.reference import run_reference

    run_reference(Catalogue(here()), chapter, list(arguments))


@kata.command()
def tags() -> None:
    """Make the git tags 3.1, 3.1-start, 3.1-task-1, ... in this clone."""
    from dojo.course.tags import make_tags

    catalogue = Catalogue(here())
    for name, outcome in make_tags(catalogue, _steps(catalogue)):
        click.echo(f"{name}: {outcome}")


@kata.command()
def doctor() -> None:
    """Say what this machine can run, and what to do about the rest."""
    from dojo import screens
    from dojo.learner.doctor import report
    from dojo.testkit import machine

    sys.exit(0 if report(screens.console(), machine.abilities(), here()) else 1)


@kata.command()
@click.option("--import", "imported", is_flag=True, help="Make image busybox of it, as root.")
def rootfs(imported: bool) -> None:
    """Make the containers' root file system; say where it is.

    With --import it becomes the image busybox below MYDOCKER_ROOT (/var/lib/mydocker), for your
    own mydocker to start containers from.
    """
    from dojo.learner import reference
    from dojo.testkit.rootfs import ensure

    tar = ensure(here(), say=lambda line: click.echo(line, err=True))
    if not imported:
        click.echo(tar)
        return
    if os.geteuid() != 0:
        raise KataError("rootfs --import: what is imported is root's: sudo ./kata rootfs --import")
    root = reference.root_or(reference.DEFAULT_ROOT)
    reference.import_image(Catalogue(here()), root)
    click.echo(f"Image {reference.IMAGE} is in {root}/images.")


@kata.command(context_settings=UNTOUCHED)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[PYTEST ARGUMENT]...")
def test(arguments: tuple[str, ...]) -> None:
    """Run the project's own tests, with pytest's own arguments."""
    _become_pytest(here().root, list(arguments))


@kata.group()
def lab() -> None:
    """Handle the virtual machine that tests can run in."""


@lab.command("status")
def lab_status() -> None:
    """Say whether it is there, and what it is."""
    from dojo import screens
    from dojo.learner import lab_commands

    sys.exit(0 if lab_commands.status(here(), screens.console()) else 1)


@lab.command("up")
def lab_up() -> None:
    """Make or start it, and take a snapshot of it when it is new."""
    from dojo import screens
    from dojo.learner import lab_commands

    lab_commands.up(here(), screens.console())


@lab.command("ssh", context_settings=UNTOUCHED)
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[COMMAND]...")
def lab_ssh(words: tuple[str, ...]) -> None:
    """Go there, or run one command there."""
    from dojo.learner import lab_commands

    sys.exit(lab_commands.ssh(here(), list(words)))


@lab.command("reset")
def lab_reset() -> None:
    """Make it what it was when it was new, by its snapshot."""
    from dojo import screens
    from dojo.learner import lab_commands

    lab_commands.reset(here(), screens.console())


@lab.command("down")
def lab_down() -> None:
    """Switch it off."""
    from dojo import screens
    from dojo.learner import lab_commands

    lab_commands.down(here(), screens.console())


@kata.group()
def steps() -> None:
    """Change the reference's steps (for contributors)."""


@steps.command("list")
@click.argument("chapters", metavar="[CHAPTER]...", nargs=-1)
def steps_list(chapters: tuple[str, ...]) -> None:
    """List the steps, and how many lines each adds."""
    from dojo import screens
    from dojo.learner import reading

    catalogue = Catalogue(here())
    chosen = _chosen(catalogue, chapters) if chapters else catalogue.chapters
    reading.list_steps(screens.console(), _steps(catalogue), chosen)


@steps.command("open")
def steps_open() -> None:
    """Lay the steps out as commits in a worktree, to be edited."""
    directory = _steps(Catalogue(here())).open()
    click.echo(f"The steps are in {directory}, a commit each. Edit, then save them:")
    click.echo("  git rebase --interactive --autosquash ...")
    click.echo("  kata steps save")


@steps.command("save")
def steps_save() -> None:
    """Write the edited commits back to solutions/."""
    _tell_changes(_steps(Catalogue(here())).save())


@steps.command("rebase")
@click.argument("branch")
def steps_rebase(branch: str) -> None:
    """Carry over what a branch has changed in the steps."""
    _tell_changes(_steps(Catalogue(here())).rebase(branch))


@steps.command("verify")
def steps_verify() -> None:
    """Prove that patches and solutions/mydocker/ agree to the byte."""
    catalogue = Catalogue(here())
    problems = _steps(catalogue).verify()
    for problem in problems:
        click.echo(f"kata: {problem}", err=True)
    if problems:
        sys.exit(1)
    click.echo(f"The steps of {len(catalogue.chapters)} chapters agree with solutions/mydocker/.")


@kata.group()
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


def _steps(catalogue: Catalogue) -> "Steps":
    from dojo.course.steps import Steps

    return Steps(catalogue)


@kata.command()
@click.argument("container", required=False)
@click.option("--svg", metavar="FILE", type=click.Path(path_type=Path), help="Draw it into FILE.")
@click.option("--html", metavar="FILE", type=click.Path(path_type=Path), help="The same as HTML.")
@click.option("--json", "as_json", is_flag=True, help="All that is known, for a program.")
@click.option("--live", is_flag=True, help="Look again and again, until it has ended.")
def xray(
    container: str | None, svg: Path | None, html: Path | None, as_json: bool, live: bool
) -> None:
    """Show what a container is made of, as the kernel has it.

    CONTAINER is a PID, the beginning of an id, or a name. Without one: the only one there is, or
    a list.
    """
    from dojo import screens
    from dojo.xray import command

    command.show(container, screens.console(), as_json, live, svg, html)


@kata.group(invoke_without_command=True)
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
    chosen = _chosen(catalogue, chapters) if chapters else catalogue.chapters
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
    """Write what was measured to docs/teeth and into the README, and what the lessons claim."""
    from dojo import screens
    from dojo.teeth import commands

    commands.write_document(Catalogue(here()), screens.console())


@kata.command()
def pictures() -> None:
    """Draw the lessons' pictures anew (for contributors)."""
    from dojo.pictures import files

    _tell_changes(files.write(Catalogue(here())))


@kata.command()
@click.option(
    "--output", metavar="DIR", type=click.Path(path_type=Path), help="Not site/, but this one."
)
def site(output: Path | None) -> None:
    """Build the lessons as a web site that needs no network."""
    from dojo.site.build import build

    catalogue = Catalogue(here())
    page = build(catalogue, output or catalogue.clone.root / "site")
    click.echo(f"The site is built. Its first page is {page}")


def _chosen(catalogue: Catalogue, typed: Sequence[str]) -> tuple[Chapter, ...]:
    """The chapters that were typed, in their order; or the one the learner is at, or the last."""
    if typed:
        chosen = {catalogue.chapter(word) for word in typed}
        return tuple(chapter for chapter in catalogue.chapters if chapter in chosen)
    from dojo.course import progress

    return (progress.load(catalogue.clone).current(catalogue) or catalogue.chapters[-1],)


def _become_pytest(root: Path, arguments: list[str]) -> NoReturn:
    """Run pytest at the root of the clone, two tests at a time unless something else was asked."""
    from dojo.learner.check import plugin_options

    given = " ".join(arguments)
    chosen = any(word.startswith(("-n", "--numprocesses", "--pdb")) for word in arguments)
    workers = [] if chosen or "no:xdist" in given else ["-n", "2"]
    argv = [sys.executable, "-m", "pytest", *plugin_options(), *workers, *arguments]
    os.chdir(root)
    os.execv(sys.executable, argv)


def main() -> None:
    wait_for_children()
    kata(prog_name="kata")


if __name__ == "__main__":
    main()
