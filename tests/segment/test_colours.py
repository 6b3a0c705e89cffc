"""Colours of regions, as BIDS, FreeSurfer and ITK-SNAP have them."""

import re

from qsmxt_app.segment.atlas_loading import atlas_regions
from qsmxt_app.segment.colours import freesurfer_table, hex_colour, itksnap_table, region_colour
from qsmxt_app.segment.regions import Region, read_regions, regions_table

REGIONS = (
    Region(11, "caudate", "L"),
    Region(50, "caudate", "R"),
    Region(304, "red nucleus", "L"),
    Region(305, 'a "name"'),
    Region(306, "mine", color="#0102ff"),
)


def test_both_sides_share_a_colour_and_a_table_keeps_its_own():
    left, right, red, _, mine = map(region_colour, REGIONS)
    assert left == right == (122, 186, 220)  # as FreeSurfer shows the caudate
    assert red == region_colour(Region(354, "red nucleus", "R")) != left
    assert mine == (1, 2, 255)


def test_structures_of_the_atlas_can_be_told_apart():
    colours = {region.name: region_colour(region) for region in atlas_regions("qsmxt")}
    assert len(set(colours.values())) == len(colours)


def test_viewers_read_the_tables(tmp_path):
    rows = [line.split() for line in freesurfer_table(REGIONS).splitlines()]
    assert {len(row) for row in rows} == {6}  # FreeSurfer's names have no spaces
    assert rows[3][1] == "Left-red-nucleus"
    labels = [line for line in itksnap_table(REGIONS).splitlines() if not line.startswith("#")]
    pattern = re.compile(r'\d+ (?:\d{1,3} ){3}[01] [01] [01] "[^"]*"')
    assert all(map(pattern.fullmatch, labels))
    path = tmp_path / "dseg.tsv"
    path.write_text(regions_table(REGIONS))
    assert hex_colour(read_regions(path)[4]) == "#0102FF"
