"""What goes wrong in a way that a person can act on."""


class KataError(Exception):
    """An error that ends the command with one clear line and no traceback.

    The text says what was tried, why it failed and what to do about it.
    """
