"""Voxels keep their values when their order in memory changes."""

from __future__ import annotations

import numpy as np
import pytest

from qsmxt_app.qsm.array_layout import echoes_apart, echoes_together
from qsmxt_app.qsm.phase import wrap_phase


@pytest.mark.parametrize("shape", [(37, 18, 23, 3), (16, 2, 32, 1), (5, 4, 1, 6), (20, 3, 17)])
def test_echoes_together_and_apart(shape):
    image = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    for ordered in (np.asfortranarray(image), image, image[::-1]):
        together = echoes_together(ordered)
        assert together.flags.c_contiguous
        assert np.array_equal(together, ordered)
        apart = echoes_apart(ordered)
        assert apart.flags.f_contiguous
        assert np.array_equal(apart, ordered)


def test_wrapping_keeps_the_order_of_files():
    phase = np.random.default_rng(1).uniform(-9, 9, (7, 6, 5, 2)).astype(np.float32)
    wrapped = wrap_phase(np.asfortranarray(phase))
    assert wrapped.flags.f_contiguous
    assert np.array_equal(wrapped, wrap_phase(phase))
