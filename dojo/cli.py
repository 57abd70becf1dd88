"""The command line `kata`: what can be typed, and which module does it.

What takes long to import is imported by the command that needs it.
"""

import os
import signal
import sys
from pathlib import Path

import click

from dojo.callers import wait_for_children
from dojo.clone import here
from dojo.contributing import UNTOUCHED, pictures, site, steps, steps_of, teeth, test, wrong
from dojo.course.catalogue import Catalogue
from dojo.course.chosen import chosen_chapters
from dojo.errors import KataError

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
    from dojo.learner.check import check as run
    from dojo.learner.run import Request

    catalogue = Catalogue(here())
    request = Request(
        chapters=chosen_chapters(catalogue, chapters),
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
    sys.exit(run(catalogue, chosen_chapters(catalogue, [chapter] if chapter else [])[0], lab))


@kata.command()
@click.argument("chapter", required=False)
def read(chapter: str | None) -> None:
    """Read the lesson of a chapter."""
    from dojo.learner import reading

    catalogue = Catalogue(here())
    reading.lesson(chosen_chapters(catalogue, [chapter] if chapter else [])[0])


@kata.command()
@click.argument("chapter", required=False)
@click.option("--task", type=click.IntRange(min=1), help="For this task, not the first red one.")
@click.option("--all", "everything", is_flag=True, help="Show all hints of the task.")
def hint(chapter: str | None, task: int | None, everything: bool) -> None:
    """Show the next hint for the first red task."""
    from dojo.learner import reading

    catalogue = Catalogue(here())
    chosen = chosen_chapters(catalogue, [chapter] if chapter else [])[0]
    reading.hint(catalogue, chosen, task, everything=everything)


@kata.command()
@click.argument("chapter")
@click.option("--task", type=click.IntRange(min=1), help="This task only.")
def diff(chapter: str, task: int | None) -> None:
    """Show how the reference does a chapter, a patch for each task."""
    from dojo.learner import reading

    catalogue = Catalogue(here())
    reading.diff(steps_of(catalogue), catalogue.chapter(chapter), task)


@kata.command()
@click.argument("chapter")
@click.option("--task", type=click.IntRange(min=1), default=1, help="To where this task begins.")
def goto(chapter: str, task: int) -> None:
    """Go to where a chapter begins. What you have is saved first."""
    from dojo.course import progress
    from dojo.learner import learning
    from dojo.screens import command

    catalogue = Catalogue(here())
    arrival = learning.goto(catalogue, steps_of(catalogue), catalogue.chapter(chapter), task)
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
    for name, outcome in make_tags(catalogue, steps_of(catalogue)):
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

    CONTAINER is a PID, the beginning of an ID, or a name. Without one: the only one there is, or
    a list.
    """
    from dojo import screens
    from dojo.xray import command

    command.show(container, screens.console(), as_json, live, svg, html)


for command in (test, steps, wrong, teeth, pictures, site):
    kata.add_command(command)


def main() -> None:
    wait_for_children()
    kata(prog_name="kata")


if __name__ == "__main__":
    main()
