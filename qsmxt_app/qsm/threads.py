"""Work on parts of an array, on as many threads as numba has."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from numba import get_num_threads


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
