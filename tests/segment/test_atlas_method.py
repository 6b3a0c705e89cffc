"""The atlas method on a simulated head of 3 mm: from a T1w image in any position to labels of a scan."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from scipy.ndimage import binary_erosion
from scipy.spatial.transform import Rotation

from qsmxt_app.errors import UnusableData
from qsmxt_app.registration import Image, Transform, linear
from qsmxt_app.segment import alignment as alignment_module
from qsmxt_app.segment.alignment import align_to_t1w
from qsmxt_app.segment.atlas import Atlas
from qsmxt_app.segment.atlas_loading import load_atlas
from qsmxt_app.segment.brain import extract_brain
from qsmxt_app.segment.labelling import atlas_to_t1w, chi_nuclei, label_t1w, place_nuclei
from qsmxt_app.segment.prepare import PreparedT1w, prepare_t1w
from qsmxt_app.segment.scan_labels import labels_on_scan
from qsmxt_app.simulate import DigitalSubject, Protocol, simulate_subject
from qsmxt_app.simulate.anatomy import sample_anatomy
from qsmxt_app.simulate.person import make_person
from qsmxt_app.simulate.structural import StructuralImage, simulate_t1w
from qsmxt_app.simulate.tissues import LABELS

SEED, EDGE = 101, 3.0


@dataclass(frozen=True)
class Head:
    """A T1w image, what is in it, and how far it was carried off after the scan."""

    t1w: Image
    brain: np.ndarray
    tissue: np.ndarray
    carried: np.ndarray
    scan: StructuralImage


@pytest.fixture(scope="module")
def head() -> Head:
    """Strongly shaded, and in another position than the atlas: 30 degrees, 40 mm and the simulated motion."""
    scan = simulate_t1w(SEED, 1, voxel_size=EDGE)
    still = np.linalg.inv(scan.motion) @ scan.affine
    x, y, z = scan.image.shape
    tissue, _, brain = sample_anatomy(make_person(SEED, 1), still[:3, 3], still[:3, :3], (x, y, z))
    carried = np.eye(4)
    carried[:3, :3] = Rotation.from_rotvec(np.deg2rad(30) * np.array([0.8, 0.36, 0.48])).as_matrix()
    carried[:3, 3] = [24, -22, 23]
    shade = np.exp(0.3 * np.linspace(-1, 1, x, dtype=np.float32))[:, None, None]
    return Head(Image(scan.image * shade, carried @ scan.affine), brain, tissue, carried, scan)


@pytest.fixture(scope="module")
def atlas() -> Atlas:
    return load_atlas("qsmxt")


@pytest.fixture(scope="module")
def prepared(head: Head, atlas: Atlas) -> PreparedT1w:
    return prepare_t1w(head.t1w, atlas)


@pytest.fixture(scope="module")
def to_t1w(prepared: PreparedT1w, atlas: Atlas) -> Transform:
    return atlas_to_t1w(atlas, prepared)


@pytest.fixture(scope="module")
def subject() -> DigitalSubject:
    return simulate_subject(SEED, 1, Protocol(voxel_size=(EDGE,) * 3, echo_times=(0.005, 0.015)))


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def test_the_brain_is_found_wherever_the_head_lies(head: Head, prepared: PreparedT1w) -> None:
    assert prepared.had_skull
    assert dice(prepared.brain, head.brain) > 0.9
    assert any("3.0 mm" in warning for warning in prepared.warnings)


def test_shading_is_removed(head: Head, prepared: PreparedT1w) -> None:
    white = binary_erosion(
        np.isin(head.tissue, [LABELS[f"{side}-Cerebral-White-Matter"] for side in ("Left", "Right")])
    )
    place = np.argwhere(white)[:, 0] / head.brain.shape[0]
    before, after = (
        abs(np.polyfit(place, np.log(a[white]), 1)[0]) for a in (head.t1w.array, prepared.t1w.array)
    )
    assert before > 0.4
    assert after < before / 4


@pytest.mark.parametrize("name", ["Thalamus", "Putamen", "Caudate"])
def test_labels_lie_on_their_nuclei(
    name: str, head: Head, prepared: PreparedT1w, to_t1w: Transform, atlas: Atlas
) -> None:
    labels = label_t1w(atlas, to_t1w, prepared).labels.array
    for side in ("Left", "Right"):
        number = next(r.index for r in atlas.regions if (r.name, r.hemisphere) == (name.lower(), side[0]))
        assert dice(labels == number, head.tissue == LABELS[f"{side}-{name}"]) > 0.7


def test_without_a_skull_and_with_little_contrast(head: Head, atlas: Atlas) -> None:
    inside = head.t1w.array[head.brain]
    flat = np.where(head.brain, 0.85 * inside.mean() + 0.15 * head.t1w.array, 0).astype(np.float32)
    found = prepare_t1w(head.t1w.with_array(flat), atlas)
    assert not found.had_skull
    assert dice(found.brain, head.brain) > 0.98
    assert any("little contrast" in warning for warning in found.warnings)


def test_what_is_no_head_is_refused(atlas: Atlas) -> None:
    noise = np.random.default_rng(0).rayleigh(size=(50, 60, 50)).astype(np.float32)
    with pytest.raises(UnusableData, match="T1w image"):
        extract_brain(Image(noise, np.diag([4.0, 4.0, 4.0, 1.0])), atlas)
    with pytest.raises(UnusableData, match="constant"):
        extract_brain(Image(np.zeros((9, 9, 9), np.float32), np.eye(4)), atlas)


def test_the_scan_is_aligned_and_nuclei_follow_chi(
    head: Head, prepared: PreparedT1w, to_t1w: Transform, atlas: Atlas, subject: DigitalSubject
) -> None:
    magnitude = Image(np.sqrt((subject.magnitude**2).mean(-1)), subject.affine)
    mask = subject.truth.brain_mask
    found = align_to_t1w(magnitude, mask, prepared)
    assert found.used == "registration"
    assert found.cost_after < found.cost_before
    assert found.warning is not None  # 30 degrees are said
    truth = linear(np.linalg.inv(head.carried @ head.scan.motion))
    points = np.argwhere(prepared.brain)[::50] @ head.t1w.affine[:3, :3].T + head.t1w.affine[:3, 3]
    error = np.linalg.norm(found.transform.map_points(points) - truth.map_points(points), axis=-1)
    assert error.mean() < 0.5  # mm, a sixth of a voxel

    chi = Image(subject.truth.chi, subject.affine)
    plain = to_t1w.then(found.transform.inverse())
    placed = place_nuclei(atlas, to_t1w, found, chi, mask)
    assert placed is not None
    iron = []
    for nuclei, transform in ((chi_nuclei(atlas), plain), (placed.labels, placed.transform)):
        labels = labels_on_scan(nuclei, transform, magnitude.grid)
        iron.append(float(chi.array[labels > 0].mean()))
    assert iron[1] > iron[0] + 0.005  # ppm: more of what the labels hold is iron


def test_the_header_wins_over_a_worse_registration(
    head: Head, prepared: PreparedT1w, monkeypatch: pytest.MonkeyPatch
) -> None:
    off = np.eye(4)
    off[:3, 3] = [18, 0, 0]
    monkeypatch.setattr(alignment_module, "find_head", lambda *_, **__: linear(off))
    found = align_to_t1w(head.t1w, prepared.brain, replace(prepared, warnings=()))
    assert found.used == "header"
    assert found.cost_after == found.cost_before
    np.testing.assert_array_equal(found.transform.matrix, np.eye(4))
