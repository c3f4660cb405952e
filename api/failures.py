"""Why a command cannot do what it was told, in words made for its user; the program ends with `code`, and without a traceback."""


class CannotStart(Exception):
    code = 1


class Misused(CannotStart):
    """The command's arguments, or a file that they name, are wrong."""

    code = 2
