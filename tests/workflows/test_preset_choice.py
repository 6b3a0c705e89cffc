import numpy as np
import pytest

from qsmxt_app.bids.acquisition import Acquisition
from qsmxt_app.config import load_settings
from qsmxt_app.workflows.preset_choice import choose_preset, settings_for


def scan(**metadata):
    return Acquisition(
        "01", None, {}, "MEGRE", (), 3.0, np.eye(4), (9, 9, 9), (1.0, 1.0, 1.0), (0.0, 0.0, 1.0),
        metadata=metadata,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("metadata", "preset"),
    [
        ({}, "gre"),
        ({"ScanningSequence": "GR", "MRAcquisitionType": "3D"}, "gre"),
        ({"ScanningSequence": "EP_GR"}, "epi"),
        ({"ScanningSequence": "EP\\GR"}, "epi"),
        ({"ScanningSequence": ["EP", "GR"]}, "epi"),
        ({"SequenceName": "*epfid2d1_64"}, "epi"),
        ({"PulseSequenceType": "3D-EPI"}, "epi"),
        # a segmented k-space and a repeated phase are no echo-planar readout
        ({"ScanningSequence": "GR", "SequenceName": "*fl3d5_ep"}, "gre"),
        ({"BodyPartExamined": "BRAIN"}, "gre"),
        ({"BodyPartExamined": "HEADNECK"}, "gre"),
        ({"BodyPartExamined": "LIVER"}, "body"),
        ({"BodyPart": "knee"}, "body"),
        ({"BodyPartExamined": "UNKNOWN"}, "gre"),
        ({"BodyPartExamined": "LIVER", "ScanningSequence": "EP"}, "body"),
    ],
)
def test_the_sidecar_decides(metadata, preset):
    choice = choose_preset(scan(**metadata))
    assert choice.preset == preset
    if preset != "gre":
        assert any(key in choice.reason for key in metadata)


def test_a_preset_that_was_named_is_kept():
    settings = load_settings({"preset": "fast"})
    assert settings_for(scan(BodyPartExamined="LIVER"), settings) == (settings, None)


def test_what_the_user_chose_stays():
    asked = load_settings({"preset": "auto", "mask_components": "7"})
    settings, choice = settings_for(scan(BodyPartExamined="LIVER"), asked)
    assert choice.preset == settings.preset == "body"
    assert settings.mask_components == 7
