import numpy as np
import pytest
from mini_dataset import SHAPE, VOXEL_SIZE, mini_head
from scipy import ndimage

from qsmxt_app.records.scan import STRIPPED
from qsmxt_app.workflows.node_base import FACTS_FILE, load_mask, read_json, save
from qsmxt_app.workflows.nodes import BuildMasks

AFFINE = np.diag([*VOXEL_SIZE, 1.0])
BRAIN = mini_head(0).head


def masks(magnitude, folder, **options):
    x, y, _ = np.indices(SHAPE)
    phase = np.stack([0.02 * echo * (x + y) for echo in (1, 2)], axis=-1)
    step = BuildMasks(
        magnitude=save(np.stack([magnitude, 0.8 * magnitude], axis=-1), AFFINE, folder / "magnitude.nii"),
        phase=save(phase, AFFINE, folder / "phase.nii"),
        echo_times=[0.01, 0.02], voxel_size=VOXEL_SIZE, b0_direction=(0.0, 0.0, 1.0),
        threshold="otsu", closing_mm=3.0, erosion_voxels=0, components=3, separation_mm=4.0,
        **{"method": "combined", "find_brain": False, **options},
    )  # fmt: skip
    step.run(cwd=str(folder))
    return load_mask(folder / "filled.nii"), read_json(folder / FACTS_FILE)


@pytest.fixture
def magnitude():
    return np.random.default_rng(0).uniform(0.8, 1.2, SHAPE).astype(np.float32)


def test_a_stripped_magnitude_keeps_its_rim(magnitude, tmp_path):
    mask, facts = masks(magnitude * BRAIN, tmp_path)
    assert np.array_equal(mask, BRAIN)
    assert facts["method"] == STRIPPED
    assert facts["volume_ml"] == pytest.approx(BRAIN.sum() * 0.064)


def test_a_mask_of_the_user_comes_first(magnitude, tmp_path):
    smaller = ndimage.binary_erosion(BRAIN)
    file = save(smaller, AFFINE, tmp_path / "mask.nii")
    mask, facts = masks(magnitude * BRAIN, tmp_path, mask_file=file)
    assert np.array_equal(mask, smaller)
    assert facts["method"] == "given mask"
    background = np.where(BRAIN, magnitude, 0.02 * magnitude)
    assert masks(background, tmp_path)[1]["method"] == "combined"


def test_the_brain_is_told_where_it_is_looked_for(magnitude, tmp_path):
    _, facts = masks(magnitude * BRAIN, tmp_path)
    assert "brain_ml" not in facts
    assert not (tmp_path / "brain.nii").exists()
    mask, facts = masks(magnitude * BRAIN, tmp_path, find_brain=True)
    assert np.array_equal(mask, BRAIN)  # of a stripped magnitude, nothing is cut
    brain = load_mask(tmp_path / "brain.nii")
    assert facts["brain_ml"] == pytest.approx(brain.sum() * 0.064)
    assert brain.sum() > 0.98 * BRAIN.sum()
