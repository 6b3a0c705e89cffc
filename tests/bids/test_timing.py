from pathlib import Path

import pytest

from qsmxt_app.bids.timing import (
    agreed_echo_time,
    check_ascending,
    echo_time_of,
    field_strength_of,
    readout_is_bipolar,
)
from qsmxt_app.errors import UnusableData

FILE = Path("sub-01_echo-1_part-phase_MEGRE.nii.gz")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (4.0, r"milliseconds.*Write 0.004"),
        (0, "not positive"),
        (-0.004, "not positive"),
        (0.6, "longer than"),
        ("0.004", "not a number"),
        (True, "not a number"),
        (float("nan"), "not a number"),
        ([0.004, 8], "milliseconds"),
    ],
)
def test_wrong_echo_times(value, text):
    with pytest.raises(UnusableData, match=text) as error:
        echo_time_of({"EchoTime": value}, FILE)
    assert str(error.value).startswith(str(FILE))


def test_echo_times_of_magnitude_and_phase_must_agree():
    assert agreed_echo_time({Path("a"): None, Path("b"): 0.004}) == 0.004
    assert agreed_echo_time({Path("a"): 0.004, Path("b"): 0.004001}) == 0.004
    with pytest.raises(UnusableData, match=r"a: EchoTime is 0.004 s, but 0.005 s for b"):
        agreed_echo_time({Path("a"): 0.004, Path("b"): 0.005})
    with pytest.raises(UnusableData, match="a: no EchoTime"):
        agreed_echo_time({Path("a"): None, Path("b"): None})


@pytest.mark.parametrize(
    ("times", "text"),
    [
        ((0.004, 0.004), "the same as"),
        ((0.008, 0.004), "shorter than the echo before"),
        # divided by 1000 once too often
        ((4e-6, 8e-6), "shorter than any gradient echo"),
    ],
)
def test_echo_times_must_ascend(times, text):
    with pytest.raises(UnusableData, match=f"b: .*{text}"):
        check_ascending(times, [Path("a"), Path("b")])
    check_ascending((0.004, 0.008), [Path("a"), Path("b")])


@pytest.mark.parametrize(
    ("metadata", "strength", "warned"),
    [
        ({"MagneticFieldStrength": 3}, 3.0, False),
        # Siemens' 3 T magnets: what they resonate at counts, not their name.
        ({"MagneticFieldStrength": 3, "ImagingFrequency": 123.249}, 2.89470, False),
        ({"ImagingFrequency": 297.2}, 6.98021, False),
        ({"MagneticFieldStrength": 7, "ImagingFrequency": 123.2}, 7.0, True),
        ({"MagneticFieldStrength": 7, "ImagingFrequency": "?"}, 7.0, False),
    ],
)
def test_field_strength(metadata, strength, warned):
    found, warnings = field_strength_of(metadata, FILE)
    assert found == pytest.approx(strength, abs=1e-5)
    assert bool(warnings) == warned


@pytest.mark.parametrize(
    ("metadata", "text"),
    [
        ({}, "no MagneticFieldStrength"),
        ({"MagneticFieldStrength": 30000}, "implausible"),
        ({"MagneticFieldStrength": 0}, "not a positive number"),
        ({"MagneticFieldStrength": "3T"}, "not a positive number"),
        ({"MagneticFieldStrength": 0.001}, "implausible"),
    ],
)
def test_wrong_field_strength(metadata, text):
    with pytest.raises(UnusableData, match=text):
        field_strength_of(metadata, FILE)


@pytest.mark.parametrize(
    ("metadata", "bipolar"),
    [
        ({}, None),
        ({"Bipolar": True}, True),
        ({"ReadoutPolarity": "monopolar"}, False),
        ({"ReadoutMode": "Bipolar"}, True),
        ({"ReadoutMode": "other"}, None),
        ({"PulseSequenceType": "Bipolar multi-echo gradient echo"}, True),
        ({"PulseSequenceType": "Gradient echo"}, None),
    ],
)
def test_readout_polarity(metadata, bipolar):
    assert readout_is_bipolar(metadata) is bipolar
