"""Which images R2 is found from, and what is said of those that cannot be used."""

import numpy as np
import pytest
from raw_dataset import RawDataset, write_image

from qsmxt_app.bids.acquisition import R2Images
from qsmxt_app.bids.dataset import find_acquisitions, open_dataset
from qsmxt_app.bids.selection import Selection

VOXELS = np.ones((8, 8, 8), np.float32)


def acquisition(dataset: RawDataset, **selection):
    dataset.megre("sub-01")
    return find_acquisitions(open_dataset(dataset.root), Selection(**selection)).acquisitions[0]


def spin_echoes(dataset, *times, stem="sub-01"):
    names = [f"{stem}_echo-{n}_MESE.nii.gz" for n in range(1, len(times) + 1)]
    return tuple(
        write_image(dataset.file(name), VOXELS, EchoTime=time)
        for name, time in zip(names, times, strict=True)
    )


def test_spin_echoes_in_the_order_of_their_times(empty_dataset):
    files = spin_echoes(empty_dataset, 0.02, 0.01, 0.03)
    found = acquisition(empty_dataset).r2
    assert found == R2Images("MESE", (files[1], files[0], files[2]), (0.01, 0.02, 0.03))


def test_a_4d_file_with_a_list_of_times(empty_dataset):
    file = empty_dataset.file("sub-01_MESE.nii.gz")
    write_image(file, np.ones((8, 8, 8, 3), np.float32), EchoTime=[0.01, 0.02, 0.03])
    assert acquisition(empty_dataset).r2 == R2Images("MESE", (file,), (0.01, 0.02, 0.03))


@pytest.mark.parametrize(
    ("suffix", "units", "scale"), [("T2map", "ms", 1e-3), ("T2map", None, 1), ("R2map", "1/ms", 1e3)]
)
def test_a_map_goes_before_spin_echoes(empty_dataset, suffix, units, scale):
    spin_echoes(empty_dataset, 0.01, 0.02, 0.03)
    more = {"Units": units} if units else {}
    file = write_image(empty_dataset.file(f"sub-01_{suffix}.nii.gz"), VOXELS, **more)
    assert acquisition(empty_dataset).r2 == R2Images(suffix, (file,), scale=scale)


def test_what_cannot_be_used_is_said_and_the_next_taken(empty_dataset):
    write_image(empty_dataset.file("sub-01_R2map.nii.gz"), VOXELS, Units="ppm")
    spin_echoes(empty_dataset, 0.01, 0.02)
    found = acquisition(empty_dataset)
    assert found.r2 is None
    assert found.warnings == ()
    units, echoes = found.r2_problems
    assert units.startswith("sub-01_R2map.nii.gz is not used for R2: its Units are 'ppm'")
    assert "2 files with 2 echo times, and 3 are needed" in echoes


def test_images_of_another_session_are_not_used(empty_dataset):
    spin_echoes(empty_dataset, 0.01, 0.02, 0.03, stem="sub-01_ses-B")
    assert acquisition(empty_dataset).r2 is None


def test_a_filter_file_selects(empty_dataset):
    for label in ("a", "b"):
        write_image(empty_dataset.file(f"sub-01_acq-{label}_R2map.nii.gz"), VOXELS)
    found = acquisition(empty_dataset, bids_filters={"r2": {"acq": "b"}})
    assert [file.name for file in found.r2.files] == ["sub-01_acq-b_R2map.nii.gz"]
