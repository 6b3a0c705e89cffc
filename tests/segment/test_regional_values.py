import io

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import binary_erosion

from qsmxt_app.segment.regional_values import (
    COLUMNS,
    QuantitativeMap,
    column_descriptions,
    erode_labels,
    regional_values,
    values_table,
)
from qsmxt_app.segment.regions import Region

REGIONS = (
    Region(4, "putamen", "L", "nucleus"),
    Region(9, "putamen", "R", "nucleus"),
    Region(2, "brainstem"),
    Region(77, "absent"),
)


def one_map(values, mask=None, **told):
    mask = np.ones(values.shape, bool) if mask is None else mask
    return QuantitativeMap(
        **{"name": "chi", "units": "ppm", "reference": "mean"} | told, values=values, mask=mask
    )


def row(table, index, name="chi"):
    return table[(table["index"] == index) & (table["map"] == name)].iloc[0]


def test_numbers_of_a_known_distribution():
    labels = np.zeros((20, 11, 10), np.int32)
    labels[:, :, :5] = 4
    values = np.full(labels.shape, np.float32(1e6))
    values[labels == 4] = np.random.default_rng(3).permutation(1100) + 1.0  # 1, 2, ... 1100
    table = regional_values(labels, REGIONS, [one_map(values)], voxel_volume=0.5, atlas="qsmxt")
    found = row(table, 4)
    assert found["n_voxels"] == 1100
    assert found["volume_mm3"] == 550
    assert found["mean"] == 550.5
    assert found["median"] == 550.5
    assert found["std"] == pytest.approx(np.sqrt(1100 * 1101 / 12))
    assert found["mad"] == 275
    assert found["min"] == 1
    assert found["max"] == 1100
    # of n evenly spaced values the share p lies at 1 + p (n - 1)
    for name, share in (("p05", 0.05), ("p25", 0.25), ("p75", 0.75), ("p95", 0.95)):
        assert found[name] == pytest.approx(1 + share * 1099)


def test_only_voxels_inside_the_mask_count():
    labels = np.full((4, 4, 4), 9, np.int32)
    values = np.ones(labels.shape, np.float32)
    mask = np.ones(labels.shape, bool)
    mask[0], values[0] = False, -1000
    found = row(regional_values(labels, REGIONS, [one_map(values, mask)], voxel_volume=1, atlas="a"), 9)
    assert found["in_mask_fraction"] == 0.75
    assert found["n_voxels"] == 48
    assert found["min"] == 1


def test_every_region_has_a_row_for_every_map():
    labels = np.zeros((3, 3, 3), np.int32)
    labels[1, 1, 1] = 2
    chi, r2star = np.full((2, 3, 3, 3), np.float32([[[[0.1]]], [[[30]]]]))
    outside = np.zeros(labels.shape, bool)
    maps = [one_map(chi), one_map(r2star, outside, name="r2star", units="1/s", reference="")]
    table = regional_values(labels, REGIONS, maps, voxel_volume=8, atlas="qsmxt")
    assert list(table["index"]) == [4, 9, 2, 77] * 2
    assert row(table, 2)["mean"] == pytest.approx(0.1)
    assert np.isnan(row(table, 2)["std"])  # of a single voxel
    assert row(table, 2, "r2star")["in_mask_fraction"] == 0
    assert np.isnan(row(table, 2, "r2star")["mean"])
    assert row(table, 77)["n_voxels"] == 0
    assert np.isnan(row(table, 77)["in_mask_fraction"])


def test_the_table_reads_back():
    labels = np.zeros((3, 3, 3), np.int32)
    labels[1, 1, :2] = 2
    values = np.linspace(0, 1, 27, dtype=np.float32).reshape(3, 3, 3)
    text = values_table(regional_values(labels, REGIONS, [one_map(values)], voxel_volume=1, atlas="qsmxt"))
    assert text.splitlines()[0].split("\t") == list(COLUMNS)
    assert set(column_descriptions({})) == set(COLUMNS)
    assert "\t\t" not in text
    back = pd.read_csv(io.StringIO(text), sep="\t", na_values=["n/a"], keep_default_na=False)
    assert row(back, 2)["mean"] == pytest.approx(values[1, 1, :2].mean(), rel=1e-6)
    assert np.isnan(row(back, 77)["mean"])


def test_a_map_on_another_grid_is_refused():
    labels = np.zeros((3, 3, 3), np.int32)
    with pytest.raises(ValueError, match="do not match"):
        regional_values(labels, REGIONS, [one_map(np.zeros((3, 3, 4)))], voxel_volume=1, atlas="a")


@pytest.mark.parametrize("layers", [0, 1, 2])
def test_erosion_takes_the_layers_off_each_label_alone(layers):
    rng = np.random.default_rng(5)
    labels = np.kron(rng.integers(0, 3, (4, 4, 4)), np.ones((6, 5, 7), int)).astype(np.int32)
    eroded = erode_labels(labels, layers)
    for label in (1, 2):
        expected = binary_erosion(labels == label, iterations=layers) if layers else labels == label
        assert np.array_equal(eroded == label, expected)


def test_each_value_says_how_sure_its_place_is():
    labels = np.zeros((4, 4, 4), np.int32)
    labels[:2], labels[2:] = 9, 2
    mask = np.ones(labels.shape, bool)
    mask[0, :, :3] = False  # more than a third of region 9
    one = one_map(np.ones(labels.shape, np.float32), mask)
    doubts = {2: "not visible in chi"}
    table = regional_values(labels, REGIONS, [one], voxel_volume=1, atlas="a", doubts=doubts)
    assert (row(table, 9)["confidence"], row(table, 9)["doubt"]) == ("doubtful", "partly covered")
    assert row(table, 2)["doubt"] == "not visible in chi"
    assert row(table, 77)["doubt"] == "no voxel in the map"
    sure = regional_values(labels, REGIONS, [one], voxel_volume=1, atlas="a")
    assert (row(sure, 2)["confidence"], row(sure, 2)["doubt"]) == ("good", "")
