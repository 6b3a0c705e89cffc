from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy.ndimage import binary_dilation, mean

from qsmxt_app.errors import NoInput, UnusableData
from qsmxt_app.segment.atlas import Atlas
from qsmxt_app.segment.atlas_loading import load_atlas

TABLE = "index\tname\themisphere\tkind\n1\tputamen\tL\tnucleus\n2\tputamen\tR\tnucleus\n"


def write(folder: Path, *, labels: tuple[int, ...] = (1, 2), chi: bool = True, stem: str = "") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    head = np.full((6, 6, 6), 100.0, dtype=np.float32)
    labelled = np.zeros((6, 6, 6), dtype=np.int16)
    for number in labels:
        labelled[number] = number
    nib.save(nib.Nifti1Image(head, affine), folder / f"{stem}T1w.nii.gz")
    nib.save(nib.Nifti1Image(labelled, affine), folder / f"{stem}{'atlas-A_' if stem else ''}dseg.nii.gz")
    (folder / f"{stem}{'atlas-A_' if stem else ''}dseg.tsv").write_text(TABLE)
    if chi:
        nib.save(nib.Nifti1Image(head / 1000, affine), folder / f"{stem}Chimap.nii.gz")


def test_a_folder_is_an_atlas(tmp_path: Path) -> None:
    write(tmp_path / "my-atlas_2")
    atlas = load_atlas(tmp_path / "my-atlas_2")
    assert atlas.name == "myatlas2"  # as a BIDS label may be
    assert [(r.index, r.name, r.hemisphere) for r in atlas.regions] == [
        (1, "putamen", "L"),
        (2, "putamen", "R"),
    ]
    assert atlas.chi is not None
    np.testing.assert_array_equal(np.unique(atlas.labels.array), [0, 1, 2])


def test_what_a_folder_lacks_is_named(tmp_path: Path) -> None:
    write(tmp_path / "a")
    (tmp_path / "a" / "dseg.tsv").unlink()
    with pytest.raises(NoInput, match=r"dseg\.tsv does not exist"):
        load_atlas(tmp_path / "a")
    write(tmp_path / "b", labels=(5,))
    with pytest.raises(UnusableData, match="none of the table's labels"):
        load_atlas(tmp_path / "b")
    write(tmp_path / "c")
    (tmp_path / "c" / "T1w.nii.gz").write_bytes(b"no image")
    with pytest.raises(NoInput, match=r"T1w\.nii\.gz: cannot be read"):
        load_atlas(tmp_path / "c")


def test_templateflow_is_read_from_its_cache_and_never_from_the_net(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEMPLATEFLOW_HOME", str(tmp_path))
    with pytest.raises(NoInput, match="Atlas 'tplX:A' was not found"):
        load_atlas("tplX:A")
    write(tmp_path / "tpl-X", stem="tpl-X_res-01_", chi=False)
    atlas = load_atlas("X:A")
    assert atlas.name == "XA"
    assert atlas.chi is None
    assert len(atlas.regions) == 2


@pytest.fixture(scope="module")
def built_in() -> Atlas:
    return load_atlas("qsmxt")


def test_the_built_in_atlas_has_what_it_promises(built_in: Atlas) -> None:
    volume = float(np.prod(built_in.labels.voxel_size))
    names = {
        (r.name, r.hemisphere): (built_in.labels.array == r.index).sum() * volume for r in built_in.regions
    }
    # mm3 of one side in MNI space, where brains are about a third larger than in life
    for name, least, most in (
        ("thalamus", 7000, 12000), ("caudate", 3500, 6500), ("putamen", 5000, 9500),
        ("globus-pallidus-external", 1000, 2500), ("globus-pallidus-internal", 400, 1200),
        ("substantia-nigra", 300, 1200), ("red-nucleus", 200, 600), ("subthalamic-nucleus", 80, 300),
        ("dentate-nucleus", 500, 2500), ("hippocampus", 4000, 7500), ("insula", 5000, 14000),
        ("frontal-white-matter", 80e3, 170e3), ("occipital-white-matter", 15e3, 50e3),
    ):  # fmt: skip
        for side in "LR":
            assert least < names[name, side] < most, (name, side)
        assert 0.75 < names[name, "L"] / names[name, "R"] < 1.33, name
    assert len({r.index for r in built_in.regions}) == len(built_in.regions)
    assert set(np.unique(built_in.labels.array)) - {0} == {r.index for r in built_in.regions}


def test_left_of_the_built_in_atlas_is_left(built_in: Atlas) -> None:
    labels = built_in.labels
    x = np.arange(labels.array.shape[0]) * labels.affine[0, 0] + labels.affine[0, 3]
    places = np.broadcast_to(x[:, None, None], labels.array.shape)
    sided = [region for region in built_in.regions if region.hemisphere]
    for region, middle in zip(sided, mean(places, labels.array, [r.index for r in sided]), strict=True):
        assert (middle < 0) == (region.hemisphere == "L"), region


def test_claustrum_and_capsules_lie_between_putamen_and_insula(built_in: Atlas) -> None:
    labels, number = built_in.labels.array, {(r.name, r.hemisphere): r.index for r in built_in.regions}
    for side in "LR":
        grown = binary_dilation(labels == number["putamen", side])
        touching = np.count_nonzero(grown & (labels == number["insula", side]))
        assert touching < 120  # mm2; FreeSurfer's average alone has 350
        assert np.count_nonzero(labels == number["claustrum", side]) > 300


def test_iron_is_bright_on_the_atlas_chi(built_in: Atlas) -> None:
    assert built_in.chi is not None
    numbers = [region.index for region in built_in.regions]
    values = mean(built_in.chi.array, built_in.labels.array, numbers)
    chi = {region.name: value for region, value in zip(built_in.regions, values, strict=True)}
    assert chi["globus-pallidus-external"] > chi["putamen"] > chi["thalamus"] > chi["frontal-white-matter"]
    assert chi["substantia-nigra"] > 0.05
