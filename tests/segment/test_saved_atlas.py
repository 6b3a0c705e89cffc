import numpy as np
import pytest

from qsmxt_app.registration import Image
from qsmxt_app.segment.atlas import Atlas
from qsmxt_app.segment.regions import Region
from qsmxt_app.segment.saved_atlas import load_saved_atlas, save_atlas


@pytest.mark.parametrize("with_chi", [True, False])
def test_an_atlas_reads_back_as_it_was(tmp_path, with_chi):
    rng, affine = np.random.default_rng(2), np.diag([-1.0, 2.0, 1.5, 1.0])
    affine[:3, 3] = [90, -126.5, -72]
    atlas = Atlas(
        "mine",
        Image(rng.random((5, 6, 7)).astype(np.float32), affine),
        Image(rng.integers(0, 15000, (4, 4, 4)).astype(np.int32), np.eye(4)),
        (Region(3, "putamen", "L", "nucleus"), Region(14170, "brainstem")),
        Image(rng.normal(size=(5, 6, 7)).astype(np.float32), affine) if with_chi else None,
        ("a paper", "another"),
        "MNI152NLin2009cAsym",
    )
    again = load_saved_atlas(save_atlas(atlas, tmp_path / "atlas"))
    assert (again.name, again.regions, again.sources) == (atlas.name, atlas.regions, atlas.sources)
    assert again.space == atlas.space
    for one, other in zip(
        (atlas.t1w, atlas.labels, atlas.chi), (again.t1w, again.labels, again.chi), strict=True
    ):
        assert (one is None) == (other is None)
        if one is not None:
            assert np.array_equal(one.array, other.array)
            assert np.allclose(one.affine, other.affine, atol=1e-6)
