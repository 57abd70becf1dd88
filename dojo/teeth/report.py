"""What people read of the teeth: a table on the terminal, and a text in docs.

All of it is made from what `results.py` keeps, so it says what was measured, and nothing else.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from rich.table import Table

from dojo.course.catalogue import Catalogue
from dojo.teeth.claims import Judged
from dojo.teeth.results import Caught, EngineRun, Mutant, Results

HEADINGS = ("wrong solutions", "mutants", "Docker", "podman")


@dataclass(frozen=True)
class Share:
    """So many of so many; nothing of nothing where it was not measured."""

    part: int
    whole: int

    def __str__(self) -> str:
        return f"{self.part} / {self.whole}" if self.whole else "-"

    def __add__(self, other: "Share") -> "Share":
        return Share(self.part + other.part, self.whole + other.whole)


NOTHING = Share(0, 0)


def rows(catalogue: Catalogue, results: Results) -> list[tuple[str, tuple[Share, ...]]]:
    """A line for each chapter, and one for all: its name, and a share for each heading."""
    lines = []
    total = (NOTHING,) * len(HEADINGS)
    for chapter in catalogue.chapters:
        shares = (
            _of_wrong(each for each in results.wrong.values() if each.chapter == chapter.number),
            _of_mutants(m for m in results.mutants.values() if m.chapter == chapter.number),
            _of_engine(results.engines.get(f"docker {chapter.number}")),
            _of_engine(results.engines.get(f"podman {chapter.number}")),
        )
        lines.append((f"{chapter.number} {chapter.title}", shares))
        total = tuple(a + b for a, b in zip(total, shares, strict=True))
    return [*lines, ("all", total)]


def _of_wrong(found: Iterable[Caught]) -> Share:
    judged = list(found)
    return Share(sum(not each.unnoticed for each in judged), len(judged))


def _of_mutants(found: Iterable[Mutant]) -> Share:
    """Killed, or with a reason why nothing can notice."""
    judged = list(found)
    return Share(sum(bool(each.killed_by or each.reason) for each in judged), len(judged))


def _of_engine(run: EngineRun | None) -> Share:
    return Share(run.passed, run.all) if run else NOTHING


def table(catalogue: Catalogue, results: Results, claims: list[Judged]) -> Table:
    """What was measured last, and beside it the claims of the lessons as they are now."""
    shown = Table("chapter", "claims", *HEADINGS, title="How sharp the tests are")
    for column in shown.columns[1:]:
        column.justify = "right"
    of_claims = _of_claims(catalogue, claims)
    lines = rows(catalogue, results)
    for claimed, (name, shares) in zip(of_claims, lines, strict=True):
        cells = map(str, (claimed, *shares))
        shown.add_row(name, *cells, end_section=name == lines[-2][0])
    return shown


def _of_claims(catalogue: Catalogue, claims: list[Judged]) -> list[Share]:
    """Those that have a tooth, or say that nothing tests them: by chapter, and of all."""
    mine = [[c for c in claims if c.chapter == chapter.number] for chapter in catalogue.chapters]
    return [Share(sum(not each.missing for each in of), len(of)) for of in [*mine, claims]]


def markdown_table(catalogue: Catalogue, results: Results) -> str:
    lines = [f"| chapter | {' | '.join(HEADINGS)} |", "|---" + "|--:" * len(HEADINGS) + "|"]
    for name, shares in rows(catalogue, results):
        cells = " | ".join(map(str, shares))
        lines.append(f"| {name} | {cells} |")
    return "\n".join(lines)


def document(catalogue: Catalogue, results: Results) -> str:
    """All that came of it: the table, and what a learner with each mistake is told."""
    parts = [_INTRODUCTION, markdown_table(catalogue, results), *_of_the_engines(results)]
    parts += _of_the_rounds(results)
    parts += _of_the_mutants(results)
    for chapter in catalogue.chapters:
        mine = {n: c for n, c in sorted(results.wrong.items()) if c.chapter == chapter.number}
        if mine:
            parts.append(f"## {chapter.number} {chapter.title}: what a wrong solution is told")
        for name, caught in mine.items():
            parts += _of_one(name, caught)
    return "\n\n".join(parts) + "\n"


_INTRODUCTION = """\
# How sharp the tests are

*Made by `./kata teeth document`; the figures are those of the last `./kata teeth measure`.*

- **Wrong solutions**: the reference with one mistake that people make, each in `tests/wrong/`. The
  chapter's tests have to notice.
- **Mutants**: changes to the reference by chance, a sample of them. Killed by a test, or with the
  reason why nothing can tell it from the original.
- **Docker, podman**: how many of the tests that are not marked `ours` a real engine passes."""


def _of_the_engines(results: Results) -> list[str]:
    parts = []
    for engine, version in sorted(results.versions.items()):
        runs = [run for run in results.engines.values() if run.engine == engine]
        lines = [
            f"- {run.chapter} `{name}`: {reason}"
            for run in sorted(runs, key=lambda run: run.chapter)
            for name, reason in sorted(run.explained.items())
        ]
        unexplained = [
            f"- {run.chapter} `{n}`: *not explained*" for run in runs for n in run.unexplained
        ]
        if lines or unexplained:
            parts.append(f"## Where {version} differs")
            parts.append("\n".join([*lines, *unexplained]))
    return parts


def _of_the_rounds(results: Results) -> list[str]:
    if not results.rounds:
        return []
    red = {seed: failed for seed, failed in results.rounds.items() if failed}
    lines = [f"- seed {seed}: {', '.join(failed)}" for seed, failed in sorted(red.items())]
    green = len(results.rounds) - len(red)
    counted = f"All chapters {len(results.rounds)} times, in any order, under load: {green} green."
    return ["## Flakes", "\n".join([counted, *([""] if lines else []), *lines])]


def _of_the_mutants(results: Results) -> list[str]:
    alive = [m for m in results.mutants.values() if not m.killed_by]
    if not alive:
        return []
    lines = [
        f"- `{m.file}` ({m.chapter}): `{m.was}` → `{m.became}`: {m.reason or '*survived*'}"
        for m in sorted(alive, key=lambda m: (m.reason is None, m.file, m.line))
    ]
    return ["## Mutants that no test kills", "\n".join(lines)]


def _of_one(name: str, caught: Caught) -> list[str]:
    parts = [f"### {name}", f"The mistake: {caught.title}."]
    for test, message in caught.told.items():
        parts.append(f"<details><summary><code>{test}</code></summary>\n")
        parts.append(f"```text\n{message.strip()}\n```\n\n</details>")
    parts += [f"`{test}` does not notice." for test in caught.unnoticed]
    return parts
