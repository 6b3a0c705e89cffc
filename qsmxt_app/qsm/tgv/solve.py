"""TGV-QSM: from the Laplacian of the measured field to susceptibility, in one convex problem."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numba

from . import sweep
from .iteration import balance, prepare, thread_count
from .layout import BoolArray, FloatArray
from .problem import build_problem
from .regularisation import TGVOptions, relative_weight, scaled_alpha


@dataclass(frozen=True)
class Convergence:
    """What the stopping criterion saw.

    Attributes
    ----------
    iteration
        Iterations done at every check.
    chi_change
        Root mean square change of chi since the check before, over the standard deviation of chi.
    equation_residual
        Norm of the field equation's residual over the norm of the measured Laplacian.
    """

    iteration: tuple[int, ...]
    chi_change: tuple[float, ...]
    equation_residual: tuple[float, ...]


@dataclass(frozen=True)
class TGVResult:
    """A susceptibility map in ppm, zero outside the mask, with zero mean inside, and how it converged."""

    chi: FloatArray
    iterations: int
    converged: bool
    history: Convergence


def solve_tgv(
    laplacian: FloatArray,
    mask: BoolArray,
    *,
    voxel_size: Sequence[float],
    b0_direction: Sequence[float],
    noise: FloatArray | None = None,
    options: TGVOptions = TGVOptions(),  # noqa: B008 (frozen)
    threads: int | None = None,
) -> TGVResult:
    pass
    weight, noise_level = relative_weight(noise, mask, options)
    problem = build_problem(
        laplacian, mask, weight, voxel_size=voxel_size, b0_direction=b0_direction, extend=options.extend
    )
    c = problem.coefficients
    alpha_1, alpha_0 = scaled_alpha(options, noise_level, voxel_size)
    c[sweep.C_ALPHA_1], c[sweep.C_ALPHA_0] = alpha_1 / problem.length, alpha_0 / problem.length**2
    c[sweep.C_RIM] = options.rim_alpha
    threads = thread_count(threads)
    before = numba.get_num_threads()
    numba.set_num_threads(threads)
    try:
        iteration = prepare(problem, threads=threads)
        history, converged = _iterate(iteration, options)
    finally:
        numba.set_num_threads(before)
    chi = problem.rows.to_volume(problem.rows.unflatten(problem.state[sweep.CHI]))
    chi = np.where(mask, chi - chi[mask].mean(dtype=np.float64), 0).astype(np.float32)
    return TGVResult(chi, history.iteration[-1], converged, history)


def _iterate(iteration, options, callback=None):
    problem = iteration.problem
    state, c = problem.state, problem.coefficients
    inside = (problem.flags & sweep.EQUATION) != 0
    scale = float(np.sqrt(np.mean(state[sweep.LAPLACIAN][inside].astype(np.float64) ** 2)))
    spread = 0.5 * scale
    c[sweep.C_RELAX] = options.relaxation
    balance(iteration, spread)
    norm = np.linalg.norm(state[sweep.LAPLACIAN][inside].astype(np.float64))
    done, rows, good = 0, [], 0
    previous = np.zeros_like(state[sweep.CHI])
    rebalanced = 0
    while done < options.max_iterations:
        iteration.run(options.check_every)
        done += options.check_every
        chi = state[sweep.CHI]
        sd = float(np.std(chi[inside], dtype=np.float64))
        change = float(np.sqrt(np.mean((chi - previous)[inside].astype(np.float64) ** 2))) / max(sd, 1e-30)
        res = float(np.linalg.norm(state[sweep.RESIDUAL].astype(np.float64))) / norm
        rows.append((done, change, res))
        if callback:
            callback(done, chi, change, res)
        previous[:] = chi
        good = good + 1 if change < options.tolerance and res < options.equation_tolerance else 0
        if good == 2:
            break
        if rebalanced < 2:
            rebalanced += 1
            balance(iteration, sd)
    return Convergence(*(tuple(col) for col in zip(*rows, strict=True))), good == 2
