"""Signals that ask to stop: SIGINT and SIGTERM end a run, wherever it is when they come."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn


class Terminated(BaseException):
    """SIGTERM was received."""


class StopHandler:
    """Raise an exception when its signal comes, and remember it.

    Python drops an exception that is raised while it removes an object. Who works in a loop asks
    `obey_stop_signals` too.
    """

    def __init__(self, error: type[BaseException]) -> None:
        self.error, self.received = error, False

    def __call__(self, number: int, frame: FrameType | None) -> NoReturn:
        """Remember the signal, and raise."""
        self.received = True
        raise self.error


@contextlib.contextmanager
def stop_signals() -> Iterator[None]:
    """Handle SIGTERM, and SIGINT where nobody else does, while the block runs."""
    handlers: dict[int, StopHandler] = {signal.SIGTERM: StopHandler(Terminated)}
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        handlers[signal.SIGINT] = StopHandler(KeyboardInterrupt)
    previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def obey_stop_signals() -> None:
    """Raise the exception of a signal that came within `stop_signals`, and was lost.

    Raises
    ------
    KeyboardInterrupt, Terminated
        By the signal.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        handler = signal.getsignal(number)
        if isinstance(handler, StopHandler) and handler.received:
            raise handler.error
