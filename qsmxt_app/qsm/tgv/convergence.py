# mypy: disable-error-code="no-untyped-def"
"""Whether an iteration has converged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from qsmxt_app.arrays import FloatArray
from qsmxt_app.qsm.tgv import sweep
from qsmxt_app.qsm.tgv.problem import Problem


@dataclass(frozen=True)
class Convergence:
    """History of the stopping criterion.

    Attributes
    ----------
    iteration
        Iterations done at every check.
    chi_change
        Root mean square change of chi since the check before, over the standard deviation of chi.
    equation_residual
        Norm of the field equation's residual over the norm of the measured Laplacian, inside the layers
        with slack.
    """

    iteration: tuple[int, ...] = ()
    chi_change: tuple[float, ...] = ()
    equation_residual: tuple[float, ...] = ()

    @property
    def iterations(self) -> int:
        """Iterations done at the last check."""
        return self.iteration[-1] if self.iteration else 0

    def and_then(self, iteration: int, chi_change: float, equation_residual: float) -> Convergence:
        """History with one more check."""
        return Convergence(
            (*self.iteration, iteration),
            (*self.chi_change, chi_change),
            (*self.equation_residual, equation_residual),
        )

    def met(self, tolerance: float, equation_tolerance: float, since: int = 0) -> bool:
        """Whether the criterion held at each of the last two checks, both after iteration `since`."""
        checks = zip(self.iteration, self.chi_change, self.equation_residual, strict=True)
        last = [check for check in checks if check[0] > since][-2:]
        return len(last) == 2 and all(c < tolerance and r < equation_tolerance for _, c, r in last)


class Snapshot(NamedTuple):
    """The state of a problem at a check.

    Attributes
    ----------
    chi_change, chi_spread : float
        Root mean square change of chi since the look before, and its standard deviation.
    equation_residual : float
        Norm of the residual relative to that of the data.
    """

    chi_change: float
    chi_spread: float
    equation_residual: float


class ConvergenceMonitor:
    """What changes in a problem from check to check.

    Attributes
    ----------
    data_norm : float
        Root mean square of the measured Laplacian where the residual is judged.
    """

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._before = problem.state[sweep.CHI].copy()
        cap = problem.state[sweep.CAP]
        self._highest_cap = np.float32(cap.max())
        equations, judged, _, _, _, squares = self._sums(problem.state[sweep.LAPLACIAN])
        self._voxels, self._judged = max(equations, 1.0), max(judged, 1.0)
        self.data_norm = float(np.sqrt(squares / self._judged))

    def check(self) -> Snapshot:
        """Measure what has changed since the last check."""
        _, _, total, squares, changes, residual = self._sums(self._problem.state[sweep.RESIDUAL])
        variance = max(squares / self._voxels - (total / self._voxels) ** 2, 0.0)
        change, residual = np.sqrt(changes / self._voxels), np.sqrt(residual / self._judged)
        return Snapshot(float(change), float(np.sqrt(variance)), float(residual) / max(self.data_norm, 1e-30))

    def _sums(self, equation: FloatArray) -> NDArray[np.float64]:
        rows, state = self._problem.rows, self._problem.state
        sums = np.zeros((rows.shape[0], 6))
        _measure(
            rows.base, rows.start, rows.stop, self._problem.flags, state[sweep.CAP], self._highest_cap,
            state[sweep.CHI], self._before, equation, sums,
        )  # fmt: skip
        return np.asarray(sums.sum(axis=0))


@njit(parallel=True, cache=True, nogil=True)
def _measure(base, start, stop, flags, cap, highest_cap, chi, before, equation, sums):
    """Sums of every slab, which do not depend on the number of threads; what is seen becomes what was."""
    for x in prange(base.shape[0]):
        voxels, judged, total, squares, changes, residual = 0, 0, 0.0, 0.0, 0.0, 0.0
        for y in range(base.shape[1]):
            for k in range(base[x, y] + start[x, y], base[x, y] + stop[x, y]):
                if np.uint32(flags[k]) & np.uint32(sweep.EQUATION) == 0:
                    continue
                value, change = np.float64(chi[k]), np.float64(chi[k]) - np.float64(before[k])
                voxels += 1
                total += value
                squares += value * value
                changes += change * change
                before[k] = chi[k]
                # where non-tissue sources have a low penalty, they take up the residual
                if cap[k] == highest_cap:
                    judged += 1
                    residual += np.float64(equation[k]) * np.float64(equation[k])
        sums[x, 0], sums[x, 1], sums[x, 2] = voxels, judged, total
        sums[x, 3], sums[x, 4], sums[x, 5] = squares, changes, residual
