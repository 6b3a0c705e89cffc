from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from qsmxt_app.errors import NoInput, UnusableData
from qsmxt_app.segment.existing_labels import ExistingLabels, find_labels, load_labels
from qsmxt_app.segment.freesurfer import freesurfer_regions
from qsmxt_app.segment.regions import Region


def touch(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def found(root, subject="01", session=None):
    labels = find_labels([root], subject, session)
    return labels.image.relative_to(root).as_posix()


def test_the_finest_labelling_of_freesurfer_is_taken(tmp_path):
    touch(tmp_path, "sub-01/mri/aseg.mgz", "sub-011/mri/aparc+aseg.mgz")
    assert found(tmp_path) == "sub-01/mri/aseg.mgz"
    touch(tmp_path, "sub-01/mri/aparc+aseg.mgz")
    assert find_labels([tmp_path], "01", None) == ExistingLabels(
        tmp_path / "sub-01/mri/aparc+aseg.mgz", None, "aparc+aseg"
    )


def test_a_session_has_labels_of_its_own_or_the_participants(tmp_path):
    touch(tmp_path, "sub-01/mri/aseg.mgz", "sub-01_ses-A/mri/aseg.mgz")
    assert found(tmp_path, session="A") == "sub-01_ses-A/mri/aseg.mgz"
    assert found(tmp_path, session="B") == "sub-01/mri/aseg.mgz"
    touch(tmp_path, "sub-01_ses-B.long.sub-01/mri/aseg.mgz")
    assert found(tmp_path, session="B") == "sub-01_ses-B.long.sub-01/mri/aseg.mgz"


@pytest.mark.parametrize(
    "name",
    [
        "sub-01/mri/aparc.DKTatlas+aseg.deep.mgz",  # FastSurfer
        "sub-01/mri/synthseg.mgz",  # recon-all-clinical
        "sourcedata/freesurfer/sub-01/mri/aparc+aseg.mgz",  # fMRIPrep
        "sub-01_T1w_synthseg.nii.gz",
        "sub-01/anat/sub-01_acq-mprage_T1w_synthseg.nii.gz",
        "sub-01/anat/sub-01_desc-aparcaseg_dseg.nii.gz",
    ],
)
def test_other_programs_are_known(tmp_path, name):
    assert found(touch(tmp_path, name)) == name


def test_of_fmriprep_the_labels_in_the_t1w_space_are_taken(tmp_path):
    anat = "sub-01/anat/sub-01"
    touch(
        tmp_path,
        f"{anat}_dseg.nii.gz",
        f"{anat}_desc-aseg_dseg.nii.gz",
        f"{anat}_space-MNI152NLin6Asym_desc-aparcaseg_dseg.nii.gz",
        "desc-aseg_dseg.tsv",
    )
    labels = find_labels([tmp_path], "01", "A")
    assert labels.image.name == "sub-01_desc-aseg_dseg.nii.gz"
    assert labels.table == tmp_path / "desc-aseg_dseg.tsv"


def test_labels_with_numbers_of_their_own_need_a_table(tmp_path):
    touch(tmp_path, "sub-01/ses-A/anat/sub-01_ses-A_seg-mine_dseg.nii.gz")
    with pytest.raises(NoInput, match=r"no labels of sub-01 ses-A"):
        find_labels([tmp_path], "01", "A")
    touch(tmp_path, "sub-01/ses-A/anat/sub-01_ses-A_seg-mine_dseg.tsv")
    assert find_labels([tmp_path], "01", "A").name == "mine"


def test_folders_are_looked_through_in_their_order(tmp_path):
    first, second = touch(tmp_path / "a", "sub-02/mri/aseg.mgz"), touch(tmp_path / "b", "sub-01/mri/aseg.mgz")
    assert find_labels([first, second], "01", None).image.is_relative_to(second)


def test_the_header_places_the_labels(tmp_path):
    labels = np.zeros((10, 12, 14), np.int32)
    labels[2, 3, 4], labels[5:7] = 11, 2035
    affine = np.array([[-1.0, 0, 0, 120], [0, 0, 1, -118], [0, -1, 0, 127], [0, 0, 0, 1]])
    path = tmp_path / "aparc+aseg.mgz"
    nib.freesurfer.MGHImage(labels, affine).to_filename(path)
    image, regions = load_labels(ExistingLabels(path, None, "aparc+aseg"))
    assert np.array_equal(image.array, labels)
    assert np.allclose(image.affine, affine, atol=1e-5)
    assert regions == (Region(11, "caudate", "L", "nucleus"), Region(2035, "insula", "R", "cortex"))


@pytest.mark.parametrize("voxels", [np.full((4, 4, 4), 0.5), np.zeros((4, 4, 4)), np.ones((4, 4, 4, 2))])
def test_what_is_no_label_image_is_refused(tmp_path, voxels):
    path = tmp_path / "sub-01_dseg.nii.gz"
    nib.Nifti1Image(voxels.astype(np.float32), np.eye(4)).to_filename(path)
    with pytest.raises(UnusableData, match="not a label volume"):
        load_labels(ExistingLabels(path, None, "x"))


def test_damaged_labels_are_named(tmp_path):
    path = tmp_path / "aseg.mgz"
    path.write_bytes(b"no image at all")
    with pytest.raises(UnusableData, match=r"aseg\.mgz: cannot be read"):
        load_labels(ExistingLabels(path, None, "aseg"))


def test_real_labels_have_names(test_data: Path):
    path = test_data / "labelled-t1w" / "aparc.a2009s+aseg.mgz"
    image, regions = load_labels(ExistingLabels(path, None, "aparc.a2009s+aseg"))
    assert not [region for region in regions if region.name.startswith("label")]
    sides = {}
    for region in regions:
        if region.hemisphere:
            sides.setdefault(region.name, {})[region.hemisphere] = region.index
    # world x points to the right, so the left of every pair lies further down that axis
    for name in ("putamen", "thalamus", "S_central", "G_insular_short"):
        pair = sides[name]
        x = {
            side: (np.argwhere(image.array == index).mean(0) @ image.affine[:3, :3].T + image.affine[:3, 3])[
                0
            ]
            for side, index in pair.items()
        }
        assert x["L"] < x["R"] - 10


def test_unknown_numbers_keep_themselves_as_names():
    assert freesurfer_regions([0, 9999, 52]) == (
        Region(52, "pallidum", "R", "nucleus"),
        Region(9999, "label-9999"),
    )
