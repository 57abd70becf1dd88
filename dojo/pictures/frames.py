"""A frame of the story: what stands where, and how it is drawn."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from dojo.pictures.shapes import Shape, State


@dataclass(frozen=True)
class Frame:
    """A picture.

    title: its headline. line: one sentence below that. says: what is to be seen, for who cannot
    see it. things: the shapes by name, what is drawn first lies below. bottom: how far down they
    reach. states: whether each is new.
    """

    title: str
    line: str
    says: str
    things: Mapping[str, Shape]
    bottom: int
    states: Mapping[str, State] = field(default_factory=dict)

    def state(self, name: str) -> State:
        return self.states.get(name, "old")


NOT_IN_THE_WHOLE = ("new image", "keeps out", "exec reads", "no tie", "host files")


THE_CONTAINER = (
    "walls",
    "parent",
    "first",
    "down",
    "up",
    "descriptors",
    "group",
    "root",
    "proc",
    "sys",
    "dev",
    "volume mount",
    "volume point",
    "what root is",
    "layer",
    "work",
    "record",
    "record path",
    "log",
    "writes record",
    "writes log",
    "no tie",
)
