"""Units of maps that another program made."""

import numpy as np
import pytest

from qsmxt_app.qsm.susceptibility_units import units_of, values_mask

RNG = np.random.default_rng(3)
MASK = np.zeros((12, 12, 12), bool)
MASK[2:-2, 2:-2, 2:-2] = True
PPM = np.where(MASK, RNG.normal(0, 0.05, MASK.shape), 0)


@pytest.mark.parametrize(
    ("factor", "told", "name", "known_by"),
    [
        (1, "ppm", "ppm", "its sidecar"),
        (1, "", "ppm", "the spread of its values"),
        (1e3, "ppb", "ppb", "its sidecar"),
        (1e3, "parts per billion", "ppb", "its sidecar"),
        (1e3, "", "ppb", "the spread of its values"),
        (1e-6, "", "1", "the spread of its values"),
    ],
)
def test_units_are_those_of_the_sidecar_or_of_the_spread(factor, told, name, known_by):
    found = units_of(PPM * factor, MASK, told)
    assert (found.name, found.known_by) == (name, known_by)
    np.testing.assert_allclose(PPM * factor * found.to_ppm, PPM)


@pytest.mark.parametrize(
    ("factor", "told", "said"),
    [
        (1, "rad", "its Units are rad, which is no susceptibility"),
        (1, "Hz", "no susceptibility"),
        (1e3, "ppm", r"its Units are ppm, but its values spread by 5\d\.?\d*, as they do in ppb"),
        (1, "ppb", "as they do in ppm"),
        (1e9, "", "as no susceptibility does"),
        (0, "ppm", "as no susceptibility does"),
    ],
)
def test_what_contradicts_itself_is_refused(factor, told, said):
    with pytest.raises(ValueError, match=said):
        units_of(PPM * factor, MASK, told)


@pytest.mark.parametrize("outside", [0, np.nan, -0.0123])
def test_a_map_ends_at_the_constant_around_it(outside):
    np.testing.assert_array_equal(values_mask(np.where(MASK, PPM, outside)), MASK)


def test_a_map_without_an_end_is_refused():
    with pytest.raises(ValueError, match="nothing tells where they end"):
        values_mask(RNG.normal(size=(9, 9, 9)))
    with pytest.raises(ValueError, match="no values"):
        values_mask(np.zeros((9, 9, 9)))
