import pytest

from qsmxt_app.group.custom_segmentation import custom_regions, is_label_description, read_label_description
from qsmxt_app.segment.regions import Region

SNAP = """################################################
# ITK-SnAP Label Description File
################################################
    0     0    0    0        0  0  0    "Clear Label"
    1   255    0    0        1  1  1    "Left putamen"
   12     0  255    0      0.5  1  0    "my "odd" lesion"
"""


def test_itk_snap_file() -> None:
    assert is_label_description(SNAP)
    assert read_label_description(SNAP) == (
        Region(1, "putamen", "L"),
        Region(12, 'my "odd" lesion'),
    )


def test_a_table_is_no_label_description() -> None:
    assert not is_label_description("index\tname\n1\tputamen\n")
    assert not is_label_description("")


def test_contradictions_and_nonsense_are_refused() -> None:
    with pytest.raises(ValueError, match="two names"):
        read_label_description(SNAP + '1 0 0 0 1 1 1 "caudate"\n')
    with pytest.raises(ValueError, match="describes no label"):
        read_label_description("1 red putamen\n")


def test_every_drawn_label_has_a_name_and_no_other() -> None:
    names = (Region(1, "putamen", "L"), Region(5, "never drawn"))
    assert custom_regions(names, [0, 7, 1]) == (Region(1, "putamen", "L"), Region(7, "label 7"))
    with pytest.raises(ValueError, match="no label"):
        custom_regions(names, [0])
    with pytest.raises(ValueError, match="above 0"):
        custom_regions(names, [-1, 2])
