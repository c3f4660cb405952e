"""Errors that end a command. The message is for the person who ran it: no traceback is shown, and `code` is the exit status."""


class CannotStart(Exception):
    code = 1


class Misused(CannotStart):
    """The arguments of the command, or a file that they name, are wrong."""

    code = 2
