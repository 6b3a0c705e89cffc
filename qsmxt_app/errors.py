"""Errors that end a run, each with the exit code that the command documents."""

from __future__ import annotations

from typing import ClassVar


class QsmxtError(Exception):
    """Something went wrong that a user can act on.

    Parameters
    ----------
    message
        One line: which file or option, and what is wrong.
    hint
        What to do about it, as a second sentence of the same line.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, hint: str = "") -> None:
        self.message = message
        self.hint = hint
        super().__init__(f"{message} {hint}".strip())


class InvalidDataset(QsmxtError):
    """The input is not valid BIDS."""

    exit_code = 16


class NothingSelected(QsmxtError):
    """The selection of participants, sessions or runs matches nothing."""

    exit_code = 18


class WrongUsage(QsmxtError):
    """Options that contradict each other or cannot be understood."""

    exit_code = 64


class UnusableData(QsmxtError):
    """Data that exist but that no map can be made from."""

    exit_code = 65


class NoInput(QsmxtError):
    """An input file or folder that does not exist or cannot be read."""

    exit_code = 66


class CannotCreateOutput(QsmxtError):
    """An output that cannot be created."""

    exit_code = 73


class InputOutputFailed(QsmxtError):
    """Reading or writing failed half-way (a full disk, a lost mount), or no process can be started."""

    exit_code = 74


MORE_PROCESSES = "allow more processes and threads (ulimit -u, pids.max), or lower --n-cpus"


def limit_reached(error: BaseException) -> InputOutputFailed | None:
    """Return what to say of an error that a limit on processes and threads caused, or None.

    Examples
    --------
    >>> print(str(limit_reached(RuntimeError("can't start new thread")))[:35])
    No process or thread can be started
    """
    no_thread = isinstance(error, RuntimeError) and "start new thread" in str(error)
    if no_thread or isinstance(error, BlockingIOError):
        return InputOutputFailed(f"No process or thread can be started: {MORE_PROCESSES}.")
    return None
