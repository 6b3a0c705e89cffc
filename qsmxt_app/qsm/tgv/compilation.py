"""Compilation of kernels whose arrays never overlap."""

from __future__ import annotations

from numba.core.compiler import CompilerBase, DefaultPassBuilder


class DistinctArrays(CompilerBase):
    """Promise the optimiser that no two array arguments share memory.

    Without, every vectorised loop is preceded by comparisons of all pairs of addresses, row by row, or not
    vectorised at all. For use as ``njit(pipeline_class=DistinctArrays)``.
    """

    def define_pipelines(self):  # type: ignore[no-untyped-def]  # noqa: D102
        self.state.flags.noalias = True
        return [DefaultPassBuilder.define_nopython_pipeline(self.state)]  # type: ignore[no-untyped-call]
