"""What numba does not offer by itself: arrays that never overlap, and memory asked for ahead of its use."""

from __future__ import annotations

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.extending import intrinsic


class DistinctArrays(CompilerBase):
    """Tell the compiler that no two array arguments share memory.

    Without, every vectorised loop is preceded by comparisons of all pairs of addresses, row by row, or not
    vectorised at all. For use as ``njit(pipeline_class=DistinctArrays)``.
    """

    def define_pipelines(self):  # type: ignore[no-untyped-def]  # noqa: D102
        self.state.flags.noalias = True
        return [DefaultPassBuilder.define_nopython_pipeline(self.state)]  # type: ignore[no-untyped-call]


@intrinsic
def prefetch(typingctx, array, index):  # type: ignore[no-untyped-def]
    """Ask for the cache line of an element of an array without waiting for it; never fails, reads nothing.

    Into the second level of the cache: the first is full of the row at hand.
    """
    del typingctx

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        address, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [address, number, number, number])
        function = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]
            builder.module, kind, "llvm.prefetch.p0"
        )
        element = builder.bitcast(builder.gep(data, [arguments[1]]), address)
        to_read, second_level, data_cache = number(0), number(2), number(1)
        builder.call(function, [element, to_read, second_level, data_cache])
        return context.get_dummy_value()

    return types.void(array, index), generate
