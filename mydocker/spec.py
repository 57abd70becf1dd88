"""What is to be run. The command line fills it in, and both sides of a start go by it."""


class ContainerSpec:
    """What a `run` asks for. The attributes are the options' long names."""

    def __init__(self) -> None:
        self.interactive = False
        self.tty = False
        self.rm = False
        self.name: str | None = None
        self.image = ""
        self.command: list[str] = []
