from dataclasses import replace

import nibabel
import numpy as np
import pytest

from qsmxt_app.qsm.masking import MaskOptions, build_masks, check_mask, mask_score

ECHO_TIMES = np.array([5e-3, 12e-3, 20e-3])
RAW = MaskOptions(source="magnitude", threshold="fixed", value=0.5, bias_correction=False, closing_mm=0)


class Head:
    """Brain in a skull in a scalp, with an air sinus below and a strong source in the brain above it."""

    def __init__(self, voxel_size=(3.0, 3.0, 3.0), snr=30, seed=21, coil=None):
        self.voxel_size = voxel_size
        shape = tuple(round(length / size) for length, size in zip((210, 240, 210), voxel_size, strict=True))
        x, y, z = np.meshgrid(
            *((np.arange(n) - (n - 1) / 2) * size for n, size in zip(shape, voxel_size, strict=True)),
            indexing="ij",
        )

        def ellipsoid(a, b, c):
            return (x / a) ** 2 + (y / b) ** 2 + (z / c) ** 2 <= 1

        self.brain = ellipsoid(65, 80, 60)
        self.scalp = ellipsoid(90, 105, 85) & ~ellipsoid(80, 95, 75)
        distance = np.sqrt(x**2 + (y - 40) ** 2 + (z + 62) ** 2)
        self.sinus = distance < 14
        self.brain &= ~self.sinus
        self.void = (np.sqrt(x**2 + (y - 40) ** 2 + (z + 38) ** 2) < 9) & self.brain
        neck = (np.abs(x) < 4) & (np.abs(y - 40) < 4) & (z < -38)
        self.void |= neck & self.brain  # an open way from the void to the sinus and the air
        tissue = (self.brain & ~self.void) | self.scalp
        field = 40 * np.exp(-(distance**2) / 30**2) + 0.1 * z
        echoes = np.exp(-np.multiply.outer(np.full(shape, 25.0), ECHO_TIMES))
        profile = np.ones(shape) if coil is None else coil(x, y, z)
        signal = (tissue * profile)[..., None] * echoes * np.exp(2j * np.pi * field[..., None] * ECHO_TIMES)
        random = np.random.default_rng(seed)
        signal = signal + (random.normal(size=signal.shape) + 1j * random.normal(size=signal.shape)) / snr
        self.magnitude = np.abs(signal).astype(np.float32)
        self.phase = np.angle(signal).astype(np.float32)

    def masks(self, options=None, **kwargs):
        options = options or MaskOptions()
        return build_masks(
            self.magnitude, self.phase, ECHO_TIMES, voxel_size=self.voxel_size, options=options, **kwargs
        )


@pytest.fixture(scope="module")
def head():
    return Head()


def covered(part, mask):
    return np.count_nonzero(part & mask) / np.count_nonzero(part)


SOURCES = ["magnitude", "phase-quality", "combined"]


@pytest.mark.parametrize("threshold", ["otsu", "gaussian"])
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("voxel_size", [(3, 3, 3), (2, 2.5, 5)])
def test_the_brain_is_covered_and_air_is_not(source, threshold, voxel_size):
    head = Head(voxel_size)
    masks = head.masks(MaskOptions(source=source, threshold=threshold))
    assert covered(head.brain, masks.filled) > 0.98
    air = ~(head.brain | head.scalp)
    assert covered(air, masks.filled) < 0.1
    assert not (masks.reliable & ~masks.filled).any()


@pytest.mark.parametrize("source", SOURCES)
def test_a_void_that_a_sinus_opens_is_a_hole_for_the_first_pass_and_filled_for_the_second(head, source):
    masks = head.masks(MaskOptions(source=source))
    core = head.void & (np.indices(head.void.shape)[2] * 3 > 60)
    assert covered(core, masks.reliable) < 0.15
    assert covered(head.void, masks.filled) > 0.95
    assert covered(head.sinus, masks.filled) < 0.5
    assert 0 < masks.hole_fraction < 0.1


def test_without_closing_and_filling_both_masks_are_one(head):
    masks = head.masks(MaskOptions(closing_mm=0, max_hole_ml=0, max_hole_cm2=0))
    np.testing.assert_array_equal(masks.reliable, masks.filled)
    assert masks.hole_fraction == 0


def test_a_coil_profile_does_not_eat_the_centre():
    def rim_coil(x, y, z):  # six times brighter in front than in the centre
        return 0.25 * np.exp((x / 80) ** 2 + (y / 80) ** 2 + (z / 80) ** 2) * np.exp(y / 100)

    head = Head(coil=rim_coil, snr=60)
    usable = head.brain & ~head.void
    plain = head.masks(MaskOptions(source="magnitude", bias_correction=False))
    assert covered(usable, plain.reliable) < 0.9
    for source in ("magnitude", "combined"):
        masks = head.masks(MaskOptions(source=source))
        assert covered(usable, masks.reliable) > 0.98
        assert covered(~(head.brain | head.scalp), masks.filled) < 0.1


def test_separation_takes_the_scalp_off_where_bridges_hold_it(head):
    bridged = Head(seed=4)
    bridged.magnitude[34:36, 39:41] = 1  # a vessel through the skull, 6 mm wide
    bridged.phase[34:36, 39:41] = 0
    kept = bridged.masks(MaskOptions(source="magnitude"))
    cut = bridged.masks(MaskOptions(source="magnitude", separation_mm=6))
    assert covered(bridged.scalp, kept.filled) > 0.9
    assert covered(bridged.scalp, cut.filled) < 0.1
    assert covered(bridged.brain, cut.filled) > 0.98


def test_a_body_keeps_several_parts():
    magnitude = np.zeros((30, 20, 20), np.float32)
    magnitude[2:12, 2:18, 2:18] = 1
    magnitude[18:26, 4:16, 4:16] = 1
    magnitude[28, 2, 2] = 1
    two = build_masks(magnitude, None, [0.01], voxel_size=(2, 2, 2), options=replace(RAW, components=10))
    assert two.reliable.sum() == 10 * 16 * 16 + 8 * 12 * 12
    one = build_masks(magnitude, None, [0.01], voxel_size=(2, 2, 2), options=replace(RAW, components=1))
    assert one.reliable.sum() == 10 * 16 * 16


@pytest.fixture
def ramp():
    return np.arange(1000, dtype=np.float32).reshape(10, 10, 10)


def test_fixed_threshold(ramp):
    masks = build_masks(ramp, None, [0.01], voxel_size=(1, 1, 1), options=replace(RAW, value=600.0))
    np.testing.assert_array_equal(masks.reliable, ramp >= 600)
    assert masks.threshold == 600


def test_percentile_threshold(ramp):
    options = replace(RAW, threshold="percentile", value=30.0)
    masks = build_masks(ramp, None, [0.01], voxel_size=(1, 1, 1), options=options)
    assert masks.reliable.sum() == 700


@pytest.mark.parametrize(
    ("erosion", "edges"),
    [({"erosion_voxels": 2}, (12, 12, 12)), ({"erosion_mm": 4.0}, (8, 12, 14)), ({}, (16, 16, 16))],
)
def test_erosion_in_voxels_and_in_millimetres(erosion, edges):
    magnitude = np.zeros((24, 24, 24), np.float32)
    magnitude[4:20, 4:20, 4:20] = 1
    masks = build_masks(magnitude, None, [0.01], voxel_size=(1, 2, 4), options=replace(RAW, **erosion))
    extent = [np.ptp(np.flatnonzero(masks.filled.any(axis=other))) + 1 for other in ((1, 2), (0, 2), (0, 1))]
    assert tuple(extent) == edges
    np.testing.assert_array_equal(masks.reliable, masks.filled)


@pytest.mark.parametrize("erosion", [{"erosion_voxels": 2}, {"erosion_mm": 4.0}])
def test_erosion_leaves_the_face_that_the_field_of_view_cuts(erosion):
    magnitude = np.zeros((20, 20, 10), np.float32)
    magnitude[4:16, 4:16] = 1
    masks = build_masks(magnitude, None, [0.01], voxel_size=(2, 2, 2), options=replace(RAW, **erosion))
    assert masks.filled[:, :, 0].sum() == masks.filled[:, :, 5].sum() == 8 * 8


def test_combined_leaves_out_what_is_bright_but_incoherent(head):
    ghost = np.zeros(head.brain.shape, bool)
    ghost[30:40, 30:40, 30:40] = True
    phase = head.phase.copy()
    phase[ghost] = np.random.default_rng(9).uniform(-np.pi, np.pi, phase[ghost].shape)
    inside = np.zeros_like(ghost)
    inside[31:39, 31:39, 31:39] = True
    shares = {
        source: covered(
            inside,
            build_masks(head.magnitude, phase, ECHO_TIMES, voxel_size=(3, 3, 3), options=options).reliable,
        )
        for source, options in ((source, MaskOptions(source=source)) for source in SOURCES)
    }
    assert shares["magnitude"] == 1
    assert shares["combined"] < 0.1
    assert shares["phase-quality"] < 0.1


def test_closing_is_as_wide_in_millimetres_along_every_axis():
    magnitude = np.zeros((60, 60, 30), np.float32)
    magnitude[10:50, 10:50, 5:25] = 1
    options = replace(RAW, closing_mm=4.0, max_hole_cm2=0, max_hole_ml=0)
    filled = []
    for cut in (np.s_[28:32], np.s_[:, 28:32], np.s_[:, :, 14:16]):  # 4 mm wide in each direction
        split = magnitude.copy()
        split[cut] = 0
        voxel_size = (1, 1, 2)
        masks = build_masks(
            split, None, [0.01], voxel_size=voxel_size, options=replace(options, components=2)
        )
        filled.append(masks.filled[15:45, 15:45, 8:22].all())
    assert all(filled)


def test_a_given_mask_becomes_the_filled_mask_and_the_data_decide_what_is_reliable(head):
    masks = head.masks(within=head.brain.astype(np.uint8))
    np.testing.assert_array_equal(masks.filled, head.brain)
    assert covered(head.brain & ~head.void, masks.reliable) > 0.95
    assert covered(head.void, masks.reliable) < 0.3


def test_phase_alone_and_magnitude_alone(head):
    no_magnitude = build_masks(
        None, head.phase, ECHO_TIMES, voxel_size=head.voxel_size, options=MaskOptions(source="phase-quality")
    )
    assert covered(head.brain & ~head.void, no_magnitude.filled) > 0.95
    with pytest.raises(ValueError, match="needs phase images"):
        build_masks(head.magnitude, None, ECHO_TIMES, voxel_size=head.voxel_size)
    with pytest.raises(ValueError, match="needs magnitude images"):
        build_masks(None, head.phase, ECHO_TIMES, voxel_size=head.voxel_size)


def test_a_single_echo_is_enough(head):
    magnitude, phase = head.magnitude[..., 1], head.phase[..., 1]
    masks = build_masks(magnitude, phase, ECHO_TIMES[1:2], voxel_size=head.voxel_size)
    assert covered(head.brain, masks.filled) > 0.98


def test_two_runs_give_the_same_masks(head):
    first, second = head.masks(), head.masks()
    assert first.threshold == second.threshold
    np.testing.assert_array_equal(first.filled, second.filled)
    np.testing.assert_array_equal(first.reliable, second.reliable)


def test_the_volume_may_be_all_tissue():
    random = np.random.default_rng(1)
    magnitude = (1 + 0.1 * random.normal(size=(20, 20, 20, 3))).astype(np.float32)
    phase = 0.05 * random.normal(size=magnitude.shape).astype(np.float32)
    masks = build_masks(magnitude, phase, ECHO_TIMES, voxel_size=(1, 1, 1))
    assert masks.reliable.mean() > 0.99
    # a crop inside the head has no background, but a threshold that somebody chose may be too low
    assert masks.warnings == ()
    options = MaskOptions(threshold="fixed", value=1e-3)
    masks = build_masks(magnitude, phase, ECHO_TIMES, voxel_size=(1, 1, 1), options=options)
    assert any("any background" in warning for warning in masks.warnings)


def test_an_empty_result_says_what_to_do(head):
    with pytest.raises(
        ValueError, match=r"mask is empty: the magnitude score reaches .* lower the threshold"
    ):
        head.masks(replace(RAW, value=1e6))
    with pytest.raises(ValueError, match="erode less"):
        head.masks(MaskOptions(erosion_mm=200.0))
    with pytest.raises(ValueError, match="zero everywhere"):
        build_masks(np.zeros((5, 5, 5, 3)), np.zeros((5, 5, 5, 3)), ECHO_TIMES, voxel_size=(1, 1, 1))


def test_values_that_are_not_finite_are_no_signal(head):
    magnitude = head.magnitude.copy()
    magnitude[:5] = np.nan
    score = mask_score(magnitude, head.phase, ECHO_TIMES, voxel_size=head.voxel_size)
    assert np.isfinite(score).all()
    assert not score[:5].any()


@pytest.mark.parametrize(
    "options",
    [
        {"threshold": "fixed"},
        {"threshold": "percentile"},
        {"threshold": "otsu", "value": 3.0},
        {"threshold_factor": 0.0},
        {"components": 0},
        {"closing_mm": -1.0},
    ],
)
def test_options_that_contradict(options):
    with pytest.raises(ValueError, match="mask"):
        MaskOptions(**options)


@pytest.mark.parametrize("kind", [bool, np.uint8, np.int16, np.float32, np.float64])
def test_a_given_mask_of_any_type(kind):
    values = np.zeros((4, 4, 4))
    values[1:3] = 1
    given = check_mask(values.astype(kind), (4, 4, 4))
    np.testing.assert_array_equal(given.filled, values > 0)
    np.testing.assert_array_equal(given.reliable, given.filled)
    assert given.warnings == ()
    assert check_mask((values * 255)[..., None], (4, 4, 4)).filled.sum() == 32


def test_labels_and_probabilities_are_taken_with_a_warning():
    labels = np.array([[[0, 3, 7]]])
    assert check_mask(labels, (1, 1, 3)).filled.tolist() == [[[False, True, True]]]
    probabilities = np.array([[[0.2, 0.6, 1.0]]])
    given = check_mask(probabilities, (1, 1, 3))
    assert given.filled.tolist() == [[[False, True, True]]]
    assert "not binary" in given.warnings[0]


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.zeros((4, 4, 4)), "empty"),
        (np.ones((4, 4, 5)), "shape"),
        (np.full((4, 4, 4), np.nan), "not finite"),
    ],
)
def test_given_masks_that_cannot_be(mask, message):
    with pytest.raises(ValueError, match=message):
        check_mask(mask, (4, 4, 4))


@pytest.fixture(scope="module")
def philips(test_data):
    folder = test_data / "philips-3t"

    def load(name):
        return np.asanyarray(nibabel.load(folder / name).dataobj)

    stem = "nifti_GRE/2001_fcMRI_Field_Mapping_e{}{}.nii.gz"
    magnitude = np.stack([load(stem.format(echo, "")) for echo in (1, 2)], -1).astype(np.float32)
    phase = np.stack([load(stem.format(echo, "_ph")) for echo in (1, 2)], -1).astype(np.float32)
    return magnitude, phase, load("reference_masks_labels/GRE_deepbet_mask.nii.gz") > 0


@pytest.mark.parametrize("source", ["magnitude", "combined"])
def test_a_real_head(philips, source):
    magnitude, phase, brain = philips
    masks = build_masks(
        magnitude, phase, [2.3e-3, 4.6e-3], voxel_size=(3, 3, 3), options=MaskOptions(source=source)
    )
    assert covered(brain, masks.filled) > 0.99
    # a head holds about as much scalp, muscle and face as brain in this field of view, and half of it is air
    assert masks.filled.sum() < 2.5 * brain.sum()
    separated = build_masks(
        magnitude,
        phase,
        [2.3e-3, 4.6e-3],
        voxel_size=(3, 3, 3),
        options=MaskOptions(source=source, separation_mm=6),
    )
    assert covered(brain, separated.filled) > 0.98
    assert separated.filled.sum() < masks.filled.sum()


def test_a_real_crop_without_background(test_data):
    magnitude = np.asanyarray(nibabel.load(test_data / "megre-crop/Mag.nii").dataobj)
    phase = np.asanyarray(nibabel.load(test_data / "megre-crop/Phase.nii").dataobj)
    phase = (phase * (np.pi / np.abs(phase).max())).astype(np.float32)
    masks = build_masks(magnitude, phase, [4e-3, 8e-3, 12e-3], voxel_size=(0.47, 0.47, 1.0))
    assert masks.filled.mean() > 0.99


def test_of_a_head_the_mask_ends_beside_the_brain_unless_it_is_given(head):
    whole, masks = head.masks(), head.masks(MaskOptions(brain=True))
    assert whole.brain is None
    assert covered(head.scalp, whole.filled) > 0.95
    assert covered(head.scalp, masks.filled) < 0.02
    assert covered(head.scalp, masks.outline) > 0.95  # its field is that of the head
    assert covered(head.brain & ~head.void, masks.brain) > 0.99
    assert covered(head.brain, masks.filled) > covered(head.brain, whole.filled) - 0.005
    given = head.masks(MaskOptions(brain=True), within=whole.filled)
    np.testing.assert_array_equal(given.filled, whole.filled)
    assert covered(head.brain & ~head.void, given.brain) > 0.99
    assert covered(head.scalp, given.brain) < 0.02
