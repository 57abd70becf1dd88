"""`kata teeth`: show how sharp the tests are, measure it anew, write it down."""

import re
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.text import Text

from dojo.course.catalogue import Catalogue, Chapter
from dojo.screens import command, next_steps, say
from dojo.teeth import claims, engines, flakes, mutants, report, results, wrong
from dojo.teeth.results import Caught, name_of

# By what is measured: the modules that only contributors have.
NEEDED = {"mutants": ("cosmic_ray",), "flakes": ("pytest_randomly",)}


def show(catalogue: Catalogue, console: Console) -> None:
    """The table of what was measured last, and the claims that have no tooth."""
    kept = results.read(catalogue.clone)
    if not (kept.wrong or kept.mutants or kept.engines):
        say(console, "Nothing has been measured yet.", "")
        typed = command("teeth", "measure", "wrong", as_root=True)
        next_steps(console, [(typed, "have the tests judge the wrong solutions")])
        return
    judged = claims.judge_all(catalogue)
    say(console, report.table(catalogue, kept, judged))
    bare = [each for each in judged if each.missing]
    for each in bare:
        why = "; ".join(each.missing)
        say(console, Text(f"{each.chapter}  {each.claim}\n") + Text(f"    {why}", "red"))
    say(console, Text(f"claims without a tooth: {len(bare)}", "red" if bare else "green"))


def measure_wrong(catalogue: Catalogue, chapters: Sequence[Chapter], console: Console) -> bool:
    """Have the tests judge the wrong solutions of chapters. Returns whether all were noticed."""
    numbers = {chapter.number for chapter in chapters}
    all_noticed = True
    for each in wrong.read_all(catalogue):
        if each.chapter not in numbers:
            continue
        with tempfile.TemporaryDirectory() as directory:
            verdict = wrong.judge(catalogue, each, Path(directory))
        told = {name: _shown(outcome.message) for name, outcome in verdict.failed.items()}
        kept = results.read(catalogue.clone)
        kept.wrong[each.name] = Caught(each.chapter, each.title, told, verdict.unnoticed)
        results.write(catalogue.clone, kept)  # at once: it takes long, and may be stopped
        all_noticed &= not verdict.unnoticed
        mark = Text("noticed ", "green") if not verdict.unnoticed else Text("MISSED  ", "red")
        say(console, mark + Text(f"{each.name}  {each.title}"))
    _forget_what_is_gone(catalogue)
    return all_noticed


def measure_mutants(catalogue: Catalogue, number: int, seed: int, console: Console) -> bool:
    """Have the tests judge a sample of mutants. Returns whether all were killed or explained."""
    chosen = mutants.sample(mutants.candidates(catalogue), number, seed)
    alive = 0
    for candidate in chosen:
        with tempfile.TemporaryDirectory() as directory:
            mutant = mutants.judge(catalogue, candidate, Path(directory))
        if mutant is None:
            continue
        kept = results.read(catalogue.clone)
        kept.mutants[name_of(mutant)] = mutant
        results.write(catalogue.clone, kept)
        alive += not (mutant.killed_by or mutant.reason)
        ended = mutant.killed_by or mutant.reason or "SURVIVED"
        colour = "green" if mutant.killed_by else "yellow" if mutant.reason else "red"
        say(console, Text(f"{mutant.file}:{mutant.line}  {mutant.was} → {mutant.became}"))
        say(console, Text(f"    {ended}", colour))
    return not alive


def measure_engine(
    catalogue: Catalogue, engine: str, chapters: Sequence[Chapter], console: Console
) -> bool:
    """Have a real engine take the tests of chapters. Returns whether each failure has a reason.

    Raises KataError where the engine is not installed.
    """
    version = engines.version(engine)
    all_explained = True
    for run in engines.measure(catalogue, engine, chapters):
        kept = results.read(catalogue.clone)
        kept.engines[f"{engine} {run.chapter}"] = run
        kept.versions[engine] = version
        results.write(catalogue.clone, kept)
        all_explained &= not run.unexplained
        line = f"{run.chapter}  {run.passed} of {run.all} passed, {len(run.explained)} explained"
        say(console, Text(line, "green" if not run.unexplained else "red"))
        for name in run.unexplained:
            say(console, Text(f"    {name}: nobody knows why", "red"))
    return all_explained


def measure_flakes(catalogue: Catalogue, rounds: int, seed: int, console: Console) -> bool:
    """Run all chapters on the finished runtime, under load. Returns whether none ever failed."""
    all_green = True
    for each in flakes.measure(catalogue, rounds, seed):
        kept = results.read(catalogue.clone)
        kept.rounds[str(each.seed)] = sorted(each.failed)
        results.write(catalogue.clone, kept)
        all_green &= not each.failed
        line = f"seed {each.seed}: {each.passed} passed, {len(each.failed)} failed"
        colour = "red" if each.failed else "green"
        say(console, Text(f"{line}, {each.seconds:.0f} s", colour))
        for name, message in each.failed.items():
            say(console, Text(f"{name}\n", "red") + Text(message))
    return all_green


def write_document(catalogue: Catalogue, console: Console) -> None:
    """Write docs/teeth/README.md and claims.md."""
    kept = results.read(catalogue.clone)
    _take_over_reasons(catalogue, kept)
    place = results.folder(catalogue.clone) / "README.md"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(report.document(catalogue, kept))
    of_claims = place.with_name("claims.md")
    of_claims.write_text(claims.document(catalogue, claims.judge_all(catalogue)))
    written = ", ".join(str(path.relative_to(catalogue.clone.root)) for path in (place, of_claims))
    say(console, f"written: {written}")


def _take_over_reasons(catalogue: Catalogue, kept: results.Results) -> None:
    """A mutant that survived may have been explained since."""
    reasons = mutants.equivalent(catalogue)
    for name, mutant in kept.mutants.items():
        if not mutant.killed_by:
            kept.mutants[name] = replace(mutant, reason=reasons.get(name))
    results.write(catalogue.clone, kept)


def _forget_what_is_gone(catalogue: Catalogue) -> None:
    kept = results.read(catalogue.clone)
    for name in set(kept.wrong) - {each.name for each in wrong.read_all(catalogue)}:
        del kept.wrong[name]
    results.write(catalogue.clone, kept)


def _shown(message: str) -> str:
    """What a learner reads, without the names of directories that are new in each run.

    And without the row for whoever tests another program.
    """
    return re.sub(
        r"/tmp/((kata|pytest-of)-[\w-]+(/(kata|pytest)-[\w-]+)*|tmp\w+/state)",
        "/tmp/…",
        re.sub(r"^  ours +real engines .*\n", "", message.strip(), flags=re.M),
    )
