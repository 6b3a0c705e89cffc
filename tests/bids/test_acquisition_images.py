import gzip
import os
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from raw_dataset import ECHO_TIMES, write_image

from qsmxt_app.bids import acquisition_images
from qsmxt_app.bids.acquisition_images import load_acquisition, read_image, stored_range
from qsmxt_app.bids.dataset import find_acquisitions, open_dataset
from qsmxt_app.errors import InputOutputFailed, NoInput, UnusableData


@pytest.fixture
def acquisition(raw):
    return find_acquisitions(open_dataset(raw.root)).acquisitions[0]


def _voxels(path):
    return nib.load(path).get_fdata(dtype=np.float32)


@pytest.mark.parametrize("name", ["image.nii", "image.nii.gz"])
def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path, monkeypatch, name):
    path = tmp_path / name
    nib.save(nib.Nifti1Image(np.ones((4, 4, 4), np.float32), np.eye(4)), path)
    read_image(path)
    state = os.fstat

    def and_then_somebody_writes(descriptor):
        found = state(descriptor)
        with path.open("ab") as stream:
            stream.write(b"more")
        return found

    monkeypatch.setattr(acquisition_images.os, "fstat", and_then_somebody_writes)
    with pytest.raises(UnusableData, match="changed while it was read"):
        read_image(path)


def test_echoes_are_stacked_in_order(acquisition):
    images = load_acquisition(acquisition)
    assert images.magnitude.shape == images.phase.shape == (8, 8, 8, 3)
    assert images.magnitude.dtype == images.phase.dtype == np.float32
    assert images.warnings == ()
    for index, echo in enumerate(acquisition.echoes):
        np.testing.assert_array_equal(images.magnitude[..., index], _voxels(echo.magnitude))
        np.testing.assert_allclose(images.phase[..., index], _voxels(echo.phase), atol=1e-6)


def test_real_and_imaginary_parts_become_magnitude_and_phase(acquisition):
    polar = load_acquisition(acquisition)
    signal = polar.magnitude * np.exp(1j * polar.phase)
    for index, echo in enumerate(acquisition.echoes):
        write_image(echo.magnitude, signal.real[..., index].astype(np.float32))
        write_image(echo.phase, signal.imag[..., index].astype(np.float32))
    images = load_acquisition(replace(acquisition, complex_parts=True))
    np.testing.assert_allclose(images.magnitude, polar.magnitude, rtol=1e-5)
    np.testing.assert_allclose(images.phase, polar.phase, atol=1e-5)


def test_an_alternating_sign_of_complex_parts_is_repaired(acquisition):
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, 8)] * 3, indexing="ij")
    phases = [0.9 * echo * (x + y * z) for echo in (1, 2, 3)]
    for echo, phase in zip(acquisition.echoes, phases, strict=True):
        signal = 50 * np.exp(1j * phase)
        signal[:, :, 1::2] *= -1
        write_image(echo.magnitude, signal.real.astype(np.float32))
        write_image(echo.phase, signal.imag.astype(np.float32))
    images = load_acquisition(replace(acquisition, complex_parts=True))
    np.testing.assert_allclose(np.exp(1j * images.phase), np.exp(1j * np.stack(phases, -1)), atol=1e-5)
    assert "every second slice" in images.phase_scaling


def test_echoes_in_one_file(empty_dataset):
    rng = np.random.default_rng(4)
    common = {"MagneticFieldStrength": 3, "EchoTime": list(ECHO_TIMES)}
    stacks = {"mag": rng.uniform(1, 2, (4, 4, 4, 3)), "phase": rng.uniform(-3, 3, (4, 4, 4, 3))}
    for part, stack in stacks.items():
        path = empty_dataset.file(f"sub-01_part-{part}_MEGRE.nii.gz")
        write_image(path, stack.astype(np.float32), **common, Units="rad")
    images = load_acquisition(find_acquisitions(open_dataset(empty_dataset.root)).acquisitions[0])
    np.testing.assert_allclose(images.magnitude, stacks["mag"], rtol=1e-6)
    np.testing.assert_allclose(images.phase, stacks["phase"], atol=1e-6)


def test_a_constant_image_may_be_a_mask(tmp_path):
    path = write_image(tmp_path / "mask.nii.gz", np.ones((4, 4, 4), np.uint8))
    assert read_image(path).all()


def test_slope_and_intercept_are_applied(tmp_path):
    path = tmp_path / "a.nii.gz"
    image = nib.nifti1.Nifti1Image(np.arange(64, dtype=np.int16).reshape(4, 4, 4), np.eye(4))
    image.header.set_slope_inter(1.5, -3142)
    nib.save(image, path)
    np.testing.assert_allclose(read_image(path).ravel(), np.arange(64) * 1.5 - 3142)


def test_philips_phase_uses_its_declared_range(acquisition):
    rescaled = replace(
        acquisition, metadata={"PhilipsRescaleSlope": 1.53455, "PhilipsRescaleIntercept": -3142}
    )
    stored = np.linspace(-3000, 2900, 64, dtype=np.float32)
    assert stored_range(rescaled, stored) == pytest.approx((-3142, 3142), abs=0.1)
    assert stored_range(rescaled, np.linspace(-3.1, 3.1, 64, dtype=np.float32)) is None
    assert stored_range(rescaled, stored * 2) is None
    assert stored_range(acquisition, stored) is None


def _spoil(voxel):
    def change(path):
        voxels = _voxels(path)
        voxels[3, 4, 5] = voxel
        write_image(path, voxels)

    return change


@pytest.mark.parametrize("part", ["magnitude", "phase"])
@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        (_spoil(np.nan), UnusableData, "1 voxels are NaN or infinite"),
        (_spoil(-np.inf), UnusableData, "1 voxels are NaN or infinite"),
        (lambda path: write_image(path, np.zeros((8, 8, 8), np.float32)), UnusableData, "every voxel is 0"),
        (lambda path: write_image(path, np.full((8, 8, 8), 7, np.float32)), UnusableData, "every voxel is 7"),
        (lambda path: os.truncate(path, path.stat().st_size // 2), UnusableData, "truncated or damaged"),
        (lambda path: os.truncate(path, path.stat().st_size - 4), UnusableData, "truncated or damaged"),
        (lambda path: write_image(path, np.ones((8, 8, 8), np.complex64)), UnusableData, "complex64"),
        (lambda path: path.unlink(), NoInput, "No such file"),
    ],
)
def test_unusable_voxels(acquisition, part, change, error, text):
    path = getattr(acquisition.echoes[1], part)
    change(path)
    with pytest.raises(error, match=text) as raised:
        load_acquisition(acquisition)
    assert str(raised.value).startswith(str(path))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("part", ["magnitude", "phase"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_outside_the_object_is_no_signal(acquisition, part, value):
    """As after a division by a mask; some images have more of it than others."""
    inside = np.zeros((8, 8, 8), bool)
    inside[2:6, 2:6, 2:6] = True
    for echo in acquisition.echoes:
        write_image(echo.magnitude, np.where(inside, _voxels(echo.magnitude), 0.001).astype(np.float32))
    path = getattr(acquisition.echoes[1], part)
    write_image(path, np.where(inside, _voxels(path), value).astype(np.float32))
    images = load_acquisition(acquisition)
    (warning,) = (text for text in images.warnings if "NaN" in text)
    assert warning.startswith(f"{path.name}: {np.count_nonzero(~inside)} voxels outside")
    assert np.isfinite(images.phase).all()
    assert not images.magnitude[~inside].any()
    assert (images.magnitude[inside] > 0).all()


@pytest.mark.parametrize("stored", [False, True])
def test_a_flipped_bit_is_found(acquisition, stored):
    path = acquisition.echoes[0].phase
    # Without compression nothing but the checksum at the end tells that a voxel is wrong.
    data = bytearray(gzip.compress(gzip.decompress(path.read_bytes()), 0) if stored else path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)
    with pytest.raises(UnusableData, match="damaged"):
        load_acquisition(acquisition)


def test_a_failing_disk_is_no_fault_of_the_data(acquisition, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(acquisition_images, "_content", fail)
    with pytest.raises(InputOutputFailed, match="Input/output error") as error:
        load_acquisition(acquisition)
    assert error.value.exit_code == 74


def test_phase_that_is_the_magnitude(acquisition):
    for echo in acquisition.echoes:
        write_image(echo.phase, _voxels(echo.magnitude))
    with pytest.raises(UnusableData, match="the same voxels as the magnitude"):
        load_acquisition(acquisition)


def test_phase_that_looks_like_the_magnitude_is_warned_about(acquisition):
    for echo in acquisition.echoes:
        write_image(echo.phase, _voxels(echo.magnitude) * 40)
    warnings = load_acquisition(replace(acquisition, phase_units="arbitrary")).warnings
    assert any("looks like a magnitude" in warning for warning in warnings)


def test_negative_magnitude_is_warned_about(acquisition):
    echo = acquisition.echoes[2]
    write_image(echo.magnitude, _voxels(echo.magnitude) - 50)
    images = load_acquisition(acquisition)
    assert any("negative magnitude" in warning for warning in images.warnings)
    assert images.magnitude.min() == 0


def test_an_echo_whose_phase_was_stretched_is_rescaled(acquisition):
    x, y, z = np.meshgrid(*[np.arange(8.0)] * 3, indexing="ij")
    phases = [1.3 * echo * x + 0.9 * y + 1.1 * z for echo in (1, 2, 3)]
    for echo, phase, factor in zip(acquisition.echoes, phases, (1, 0.9, 1), strict=True):
        write_image(echo.phase, (factor * np.angle(np.exp(1j * phase))).astype(np.float32))
    images = load_acquisition(replace(acquisition, phase_units="rad"))
    difference = np.angle(np.exp(1j * (images.phase - np.stack(phases, -1))))
    assert abs(difference).max() < 0.1
    assert any("echo 2 (0.90)" in warning for warning in images.warnings)


def test_units_that_are_no_phase(acquisition):
    with pytest.raises(UnusableData, match="Units"):
        load_acquisition(replace(acquisition, phase_units="Hz"))
