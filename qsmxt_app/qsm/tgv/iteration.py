"""Step sizes and the iteration itself."""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import pairwise

import numba
import numpy as np
from numpy.typing import NDArray

from qsmxt_app.arrays import FloatArray
from qsmxt_app.qsm.tgv import sweep
from qsmxt_app.qsm.tgv.layout import IndexArray, aligned_zeros
from qsmxt_app.qsm.tgv.multilevel import Multilevel, ascend_multilevel, build_multilevel
from qsmxt_app.qsm.tgv.problem import Problem

# After 20 steps the norm is 3 to 6 % below that after 80, on heads and on brains; steps that are too long
# diverge, steps that are a few percent too short cost as much time.
_POWER_STEPS = 20
_POWER_MARGIN = 1.1
_NORM = 0.995
_VOXELS_PER_THREAD = 50_000

# Balance of the steps in units of the mean voxel edge, found by scanning factors of two on simulated heads.
# The primal step of chi is this fraction of its standard deviation over the largest force that the
# regularisation can exert on it.
_TAU_PHI = 0.3
_CHI_FRACTION = 0.06
_TAU_W_SIGMA_P = 0.002


@dataclass
class Iteration:
    """A problem with its step sizes, threads and work space.

    Attributes
    ----------
    seams : ndarray (threads + 1,)
        First slab of every thread.
    known_norm
        A primal step of chi and the field equation's norm for it, once :func:`balance` has found it.
    """

    problem: Problem
    multilevel: Multilevel | None
    seams: IndexArray
    ring: FloatArray
    ring_base: IndexArray
    known_norm: tuple[float, float] | None = None

    def run(self, count: int) -> None:
        """Run a number of iterations."""
        for _ in range(count):
            self.sweep()
            self._ascend()

    def sweep(self, laplacian: FloatArray | None = None) -> None:
        """Update everything but the dual of the field equation."""
        problem, rows = self.problem, self.problem.rows
        state = problem.state
        data = state[sweep.LAPLACIAN] if laplacian is None else laplacian
        sweep.sweep(  # type: ignore[call-arg]
            self.seams, rows.base, rows.start, rows.stop, self.ring_base, problem.oblique,
            problem.coefficients, problem.flags, *state[: sweep.ETA], state[sweep.RESIDUAL],
            state[sweep.ETA], state[sweep.WEIGHT], data, *self.ring,
        )  # fmt: skip

    def _ascend(self) -> None:
        state, c = self.problem.state, self.problem.coefficients
        sigma = np.float32(c[sweep.C_SIGMA_ETA] * c[sweep.C_RELAX])
        residual, eta = state[sweep.RESIDUAL], state[sweep.ETA]
        self.precondition(residual, eta, sigma)

    def precondition(self, residual: FloatArray, eta: FloatArray, sigma: np.float32) -> None:
        """Add the preconditioned residual, times sigma, to eta, up to its cap."""
        rows, cap = self.problem.rows, self.problem.state[sweep.CAP]
        if self.multilevel is None:
            sweep.ascend(self.seams, rows.base, rows.start, rows.stop, sigma, cap, residual, eta)
        else:
            coarse = self.multilevel.spread(residual, rows)
            ascend_multilevel(self.seams, rows.base, rows.start, rows.stop, sigma, cap, residual, coarse, eta)


def prepare(problem: Problem, *, threads: int, preconditioned: bool = True) -> Iteration:
    """Divide a problem among threads and reserve the work space."""
    rows = problem.rows
    nx, ny, nz = rows.shape
    seams = _partition((rows.stop - rows.start).astype(np.int64).sum(axis=1), threads)
    slot = np.full(nx, sweep.RING * (len(seams) - 1), dtype=np.int64)
    for t, (first, last) in enumerate(pairwise(seams)):
        # Two of a thread's five slots keep its first two slabs; the others are reused in rotation and hold
        # its last three in the end: the duals on the seams between threads need both after the sweeps.
        i = np.arange(last - first)
        slot[first:last] = sweep.RING * t + np.where(i < 2, i, 2 + (i - 2) % 3)
    guard = 64
    ring_base = guard + (slot[:, None] * ny + np.arange(ny)[None, :]) * nz
    length = (slot.max() + 1) * ny * nz + 2 * guard
    ring = aligned_zeros(5, int(length))
    # a cap is a projection voxel by voxel, which is exact only where the preconditioner mixes no voxels
    uncapped = rows.unflatten(
        (problem.flags & sweep.EQUATION != 0) & (problem.state[sweep.CAP] >= sweep.NO_CAP)
    )
    multilevel = build_multilevel(uncapped) if preconditioned else None
    return Iteration(problem, multilevel, np.array(seams, np.uint64), ring, ring_base.astype(np.uint64))


def _partition(load: NDArray[np.int64], threads: int) -> list[int]:
    """Contiguous runs of at least four slabs with about equal loads."""
    used = np.flatnonzero(load)
    first, last = int(used[0]), int(used[-1]) + 1
    threads = max(1, min(threads, (last - first) // 4))
    total = np.cumsum(load)
    seams = [first]
    for t in range(1, threads):
        ideal = int(np.searchsorted(total, total[-1] * t / threads)) + 1
        seams.append(min(max(ideal, seams[-1] + 4), last - 4 * (threads - t)))
    return [*seams, last]


def balance(iteration: Iteration, chi_spread: float) -> None:
    """Choose the steps for a standard deviation of chi, such that the iteration converges.

    The ratio of primal to dual steps is free in the method of Chambolle & Pock and decides its speed: it
    should be the ratio of the primal to the dual solution's size. The product is limited by the norm of the
    operator, here the norm of the matrix of its blocks' norms (Pock & Chambolle 2011, lemma 2, with blocks
    instead of entries). The field equation's norm is estimated once, before anything moves: for a step of
    chi that is f times as long it is at most max(1, f) times as large.

    Parameters
    ----------
    chi_spread
        Standard deviation of chi in the problem's unit.

    References
    ----------
    Chambolle A, Pock T. J Math Imaging Vis 40:120-145 (2011).
    Pock T, Chambolle A. Proc ICCV 1762-1769 (2011).
    Condat L. J Optim Theory Appl 158:460-479 (2013), for the over-relaxation.
    """
    c = iteration.problem.coefficients
    # forward differences change sign from voxel to voxel at worst: |grad|^2 <= 4 sum 1/h^2
    gradient = 4 * float(np.sum(c[sweep.C_GX : sweep.C_GZ + 1].astype(np.float64) ** 2))
    tau_phi = _TAU_PHI
    tau_chi = _CHI_FRACTION * chi_spread / float(c[sweep.C_ALPHA_1])
    sigma_p = 0.35 / (gradient * tau_chi)
    tau_w = _TAU_W_SIGMA_P / sigma_p
    sigma_q = 0.5 / (gradient * tau_w)
    if iteration.known_norm is None:
        iteration.known_norm = tau_chi, _POWER_MARGIN * _equation_norm(iteration, tau_phi, tau_chi)
    known_tau, joint = iteration.known_norm
    joint *= max(1.0, tau_chi / known_tau)
    sigma_eta = 0.5 / joint
    # Norms of the operator's blocks, scaled by the roots of the steps: rows are the duals eta, p and q, and
    # columns (phi, chi) and w. The iteration converges if the norm of the whole is below one.
    blocks = np.array(
        [
            [np.sqrt(sigma_eta * joint), 0.0],
            [np.sqrt(sigma_p * tau_chi * gradient), np.sqrt(sigma_p * tau_w)],
            [0.0, np.sqrt(sigma_q * tau_w * gradient)],
        ]
    )
    scale = _NORM / np.linalg.norm(blocks, 2)
    c[sweep.C_TAU_PHI], c[sweep.C_TAU_CHI], c[sweep.C_TAU_W] = tau_phi * scale, tau_chi * scale, tau_w * scale
    c[sweep.C_SIGMA_ETA], c[sweep.C_SIGMA_P], c[sweep.C_SIGMA_Q] = (
        np.array([sigma_eta, sigma_p, sigma_q]) * scale
    )


def _equation_norm(iteration: Iteration, tau_phi: float, tau_chi: float, steps: int = _POWER_STEPS) -> float:
    """Largest eigenvalue of the field equation's preconditioned normal operator, by power iteration.

    A sweep without relaxation and data moves nothing and leaves minus twice the normal operator's product
    in the residual. All variables must still be zero.
    """
    problem = iteration.problem
    state, c = problem.state, problem.coefficients
    weight, cap, coefficients = state[sweep.WEIGHT].copy(), state[sweep.CAP].copy(), c.copy()
    state[sweep.WEIGHT][weight < sweep.HELD] = 0
    state[sweep.CAP] = sweep.NO_CAP
    c[sweep.C_TAU_PHI], c[sweep.C_TAU_CHI], c[sweep.C_RELAX] = tau_phi, tau_chi, 0.0
    c[sweep.C_SIGMA_P] = c[sweep.C_SIGMA_Q] = c[sweep.C_TAU_W] = 0.0
    # With a relaxation of zero the sweep keeps no primal step, but its extrapolation 2 new - old is twice the
    # step, -2 T K' eta, of which the residual is K times that. So eta = -G v / 2 leaves K T K' G v: one step
    # of a power iteration, whose Rayleigh quotient uses the inner product of the preconditioner G. Without
    # weights the implicit step of phi is at its longest, which is the worst case.
    no_data = np.zeros_like(state[sweep.LAPLACIAN])
    vector = np.random.default_rng(0).standard_normal(problem.rows.size).astype(np.float32)
    vector[(problem.flags & sweep.EQUATION) == 0] = 0
    eta, product = state[sweep.ETA], state[sweep.RESIDUAL]
    for step in range(steps):
        source = product if step > 0 else vector
        np.divide(source, max(source.max(), -source.min(), np.float32(1e-30)), out=vector)
        eta[:] = 0
        iteration.precondition(vector, eta, np.float32(-0.5))
        iteration.sweep(no_data)
    norm = _product(eta, product) / _product(eta, vector) if product.any() else 1.0
    c[:], state[sweep.WEIGHT], state[sweep.CAP] = coefficients, weight, cap
    state[: sweep.WEIGHT] = 0
    return norm


def _product(a: FloatArray, b: FloatArray) -> float:
    """Inner product whose rounding, unlike that of BLAS, does not depend on the number of threads."""
    return float(np.sum(a * b, dtype=np.float64))


def thread_count(threads: int | None, voxels: int) -> int:
    """Threads to use: as many as asked for, at most as there are and as keep busy between barriers."""
    available: int = min(numba.config.NUMBA_NUM_THREADS, os.cpu_count() or 1)  # type: ignore[attr-defined]
    return max(1, min(threads or available, available, voxels // _VOXELS_PER_THREAD))
