"""How many stored levels are 2 pi: decided by vendor and header, never by extremes alone."""

import numpy as np
import pytest

from qsmxt_app.convert.dicom.phase_scaling import phase_scaling
from qsmxt_app.convert.dicom.vendors import StoredPhase


def stored(
    manufacturer: str, slope: float, intercept: float, lowest: float, highest: float, **more: object
) -> StoredPhase:
    defaults: dict = {"bits": 12, "signed": False, "integers": True}
    return StoredPhase(
        manufacturer, slope=slope, intercept=intercept, lowest=lowest, highest=highest, **(defaults | more)
    )


@pytest.mark.parametrize(
    ("given", "levels", "radians"),
    [
        # Siemens: 0..4095, zero in the middle, whatever the rescaling and however little is used
        (stored("SIEMENS", 2, -4096, 0, 4095), (0, 2048, 3072), (-np.pi, 0, np.pi / 2)),
        (stored("Siemens Healthineers", 1, 0, 1900, 2300), (0, 2048, 3072), (-np.pi, 0, np.pi / 2)),
        (stored("SIEMENS", 2, -4096, 0, 4095, bits=16), (2048, 3072), (0, np.pi / 2)),
        # without a name, Siemens' rescaling tells
        (stored("", 2, -4096, 100, 4000), (0, 2048), (-np.pi, 0)),
        # Philips: made radians by the converter, or millirad where private elements were removed
        (stored("Philips", 0.0015344619, -3.1415925, 0, 4095), (0, 4095), (-np.pi, np.pi)),
        (stored("Philips Medical Systems", 1.5345543, -3142, 1000, 3000), (0, 4095), (-3.142, 3.142)),
        # GE: millirad, of opposite sign
        (stored("GE MEDICAL SYSTEMS", 1, 0, -3142, 3141, bits=16, signed=True), (1000, -500), (-1, 0.5)),
        (stored("GE MEDICAL SYSTEMS", 1, 0, -900, 300, bits=16, signed=True), (1000,), (-1,)),
    ],
)  # fmt: skip
def test_known_scalings(given: StoredPhase, levels: tuple[float, ...], radians: tuple[float, ...]) -> None:
    scaling = phase_scaling(given)
    assert scaling.units == "rad"
    np.testing.assert_allclose(
        scaling.slope * np.array(levels) + scaling.intercept, radians, atol=1e-3, rtol=1e-3
    )


@pytest.mark.parametrize(
    "given",
    [
        stored("UIH", 1, 0, 0, 4095),
        stored("CANON_MEC", 1, 0, -2048, 2047, bits=16, signed=True),
        stored("SIEMENS", 1, 0, 0, 60000, bits=16),
        stored("SIEMENS", 0.001, 0, 0.0, 3.0, integers=False),
        stored("Philips", 1.0, 0, 0, 4095),
    ],
)
def test_what_is_not_known_is_not_guessed(given: StoredPhase) -> None:
    scaling = phase_scaling(given)
    assert (scaling.slope, scaling.intercept, scaling.units) == (given.slope, given.intercept, "arbitrary")


def test_ge_phase_in_unknown_levels_is_turned_all_the_same() -> None:
    given = stored("GE MEDICAL SYSTEMS", 1, 0, -32000, 32000, bits=16, signed=True)
    scaling = phase_scaling(given)
    assert (scaling.slope, scaling.units) == (-1, "arbitrary")
