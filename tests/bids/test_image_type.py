import pytest

from qsmxt_app.bids.image_type import filter_warnings


@pytest.mark.parametrize(
    "value",
    [
        ["ORIGINAL", "PRIMARY", "P", "ND", "FILTERED"],
        ["DERIVED", "SECONDARY", "PHASE", "HPF_64"],
        ["DERIVED", "PRIMARY", "SWI", "P"],
        "DERIVED\\PRIMARY\\homodyne",
        ["DERIVED", "PHASE_HIGHPASS"],
        ["DERIVED", "High-Pass"],
    ],
)
@pytest.mark.parametrize("key", ["ImageType", "ImageTypeText"])
def test_filters_are_read(key, value):
    (text,) = filter_warnings({key: value})
    assert text.startswith(f"{key} (")
    assert "high-pass filtered" in text


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        5,
        ["ORIGINAL", "PRIMARY", "P", "ND", "NORM", "DIS2D"],
        ["ORIGINAL", "PRIMARY", "PHASE MAP", "P", "FFE"],
        ["ORIGINAL", "PRIMARY", "P", "UNFILTERED"],
        ["ORIGINAL", "PRIMARY", "P", "FM4_1", "FIL"],  # an image filter, not a high-pass one
    ],
)
def test_raw_phase_is_not_suspected(value):
    assert filter_warnings({"ImageType": value}) == ()
