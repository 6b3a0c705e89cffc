"""Conjugate gradients for operators on volumes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from qsmxt_app.arrays import FloatArray


def inner_product(a: FloatArray, b: FloatArray) -> float:
    """Sum of products, in an order that does not depend on the number of threads."""
    return float(np.sum(a * b, dtype=np.float64))


def conjugate_gradients(
    operator: Callable[[FloatArray], FloatArray],
    rhs: FloatArray,
    *,
    tolerance: float = 1e-3,
    max_iterations: int = 50,
) -> tuple[FloatArray, int, bool]:
    """Solve a symmetric positive semidefinite system.

    Parameters
    ----------
    operator
        The symmetric linear operator.
    rhs : ndarray
        Right-hand side, of any shape.
    tolerance
        Norm of the residual relative to that of the right-hand side.
    max_iterations
        Cap on the iterations.

    Returns
    -------
    solution : ndarray
    iterations : int
    converged : bool

    References
    ----------
    Hestenes MR, Stiefel E. J Res Natl Bur Stand 49:409-436 (1952). doi:10.6028/jres.049.044
    """
    solution = np.zeros_like(rhs)
    residual = rhs.copy()
    direction = residual.copy()
    squared = inner_product(residual, residual)
    target = tolerance**2 * inner_product(rhs, rhs)
    iteration = 0
    while squared > target and iteration < max_iterations:
        image = operator(direction)
        curvature = inner_product(direction, image)
        # positive for a positive definite operator; once the residual is rounding alone it need not be
        if curvature <= 0:
            break
        # the minimum along the direction; the residual follows by recursion, without another product
        length = np.float32(squared / curvature)
        solution += length * direction
        residual -= length * image
        squared, previous = inner_product(residual, residual), squared
        # conjugate to all earlier directions with respect to the operator, by this one coefficient
        direction *= np.float32(squared / previous)
        direction += residual
        iteration += 1
    return solution, iteration, squared <= target
