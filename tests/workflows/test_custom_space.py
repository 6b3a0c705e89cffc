"""In whose space a custom segmentation is, where the user names it."""

from pathlib import Path

import pytest

from qsmxt_app.config import load_settings
from qsmxt_app.errors import NothingSelected, WrongUsage
from qsmxt_app.workflows.study_level.custom_segmentation import CustomSegmentation, custom_segmentation_on
from qsmxt_app.workflows.study_level.inputs import GroupScan

SCANS = [
    GroupScan("01", stem, dict(part.split("-") for part in stem.split("_")), {})
    for stem in ("sub-01_run-1", "sub-01_run-2", "sub-02_ses-A_acq-hr", "sub-02_ses-A_acq-lr_rec-norm")
]


def space(name: str) -> str | None:
    custom = CustomSegmentation(Path("drawn.nii.gz"), (), "drawn")
    found = custom_segmentation_on(custom, load_settings({"custom_space": name}), SCANS, None, "study")
    return found.stem if found else None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sub-01_run-2", "sub-01_run-2"),
        ("sub-02_acq-hr", "sub-02_ses-A_acq-hr"),
        ("sub-02_ses-A_rec-norm", "sub-02_ses-A_acq-lr_rec-norm"),
        ("template", None),
    ],
)
def test_a_name_stands_for_the_one_scan_that_has_all_its_parts(name: str, expected: str | None) -> None:
    assert space(name) == expected


def test_a_name_of_several_or_of_none_is_refused() -> None:
    with pytest.raises(WrongUsage, match="matches 2 scans"):
        space("sub-02_ses-A")
    with pytest.raises(NothingSelected, match="no scan of the group"):
        space("sub-03")
