"""Work on parts of an array, on as many threads as numba has."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import update_wrapper
from typing import Any

from numba import get_num_threads, njit

PARTS = 32
"""Of a loop: enough to keep threads equally busy where a part of the volume is empty."""


def in_parts(work: Callable[[slice], None], length: int, longest: int) -> None:
    """Call a function for each part of an axis; the parts do not depend on the number of threads.

    Parameters
    ----------
    work
        What is done with a part; most of its time it must not hold Python's lock.
    length, longest
        Of the axis, and of a part.
    """
    parts = [slice(n, min(length, n + longest)) for n in range(0, length, longest)]
    if get_num_threads() == 1 or len(parts) == 1:
        for part in parts:
            work(part)
        return
    with ThreadPoolExecutor(get_num_threads()) as pool:
        list(pool.map(work, parts))


class Threaded:
    """A compiled loop that threads share: made by `threaded`, called with its length and its arguments."""

    def __init__(self, loop: Callable[..., None], options: dict[str, Any]) -> None:
        self._compiled = njit(cache=True, nogil=True, **options)(loop)
        update_wrapper(self, loop)

    def __call__(self, length: int, *arguments: Any) -> None:
        """Run the loop over indices from 0 to the length, which is no part of them."""

        def work(part: slice) -> None:
            self._compiled(part.start, part.stop, *arguments)

        in_parts(work, length, max(1, -(-length // PARTS)))


def threaded(**options: Any) -> Callable[[Callable[..., None]], Threaded]:
    """Compile a loop once, as for one thread, and let threads share its range.

    For loops that take longer than threads take to start. numba's own parallel loops start faster, and take
    three to five times as long to compile.

    Parameters
    ----------
    **options
        Of `numba.njit`.

    Examples
    --------
    >>> import numpy as np
    >>> @threaded()
    ... def square(first, last, numbers):
    ...     for i in range(first, last):
    ...         numbers[i] = numbers[i] ** 2
    >>> numbers = np.arange(4.0)
    >>> square(numbers.size, numbers)
    >>> numbers.tolist()
    [0.0, 1.0, 4.0, 9.0]
    """
    return lambda loop: Threaded(loop, options)
