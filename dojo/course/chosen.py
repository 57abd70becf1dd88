"""The chapters that somebody typed."""

from collections.abc import Sequence

from dojo.course import progress
from dojo.course.catalogue import Catalogue, Chapter


def chosen_chapters(catalogue: Catalogue, typed: Sequence[str]) -> tuple[Chapter, ...]:
    """The chapters that were typed, in their order; or the one the learner is at, or the last."""
    if typed:
        wanted = {catalogue.chapter(word) for word in typed}
        return tuple(chapter for chapter in catalogue.chapters if chapter in wanted)
    return (progress.load(catalogue.clone).current(catalogue) or catalogue.chapters[-1],)
