"""How many threads a step may use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from qsmxt_app.environment import environment_variables

THREAD_VARIABLES = ("OMP_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")
"""What libraries read whenever they start threads, not only when they are imported."""


@contextmanager
def limited_threads(count: int) -> Iterator[None]:
    """Keep numba, BLAS, OpenMP, FFTs and ITK to a number of threads within the block."""
    import numba
    import scipy.fft
    from threadpoolctl import threadpool_limits

    before = numba.get_num_threads()
    most = int(getattr(numba.config, "NUMBA_NUM_THREADS", count))
    with ExitStack() as stack:
        stack.enter_context(environment_variables(dict.fromkeys(THREAD_VARIABLES, str(count))))
        stack.enter_context(threadpool_limits(count))
        stack.enter_context(scipy.fft.set_workers(count))
        numba.set_num_threads(min(count, most))
        stack.callback(numba.set_num_threads, before)
        yield
