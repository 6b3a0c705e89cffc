"""From DICOM files to images: voxels, geometry, echoes and phase come back as they were written."""

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from dicom_writer import (
    CLASSIC,
    PHILIPS_FLOAT_SLOPE,
    VENDORS,
    Vendor,
    echoes,
    field_map_in_hz,
    gradient_echo,
    oblique_affine,
    on_written_grid,
    phase_difference,
    straight_affine,
    t1w,
    write_all,
    write_series,
)
from planned import ECHO_TIMES, ONE_LEVEL, check_echoes, converted, phase_error, plan_of, voxels

from qsmxt_app.convert.dicom.converter import ConversionFailed
from qsmxt_app.convert.dicom.execute import run_plan
from qsmxt_app.convert.dicom.gaps import fill_gaps
from qsmxt_app.convert.dicom.volumes import Volume
from qsmxt_app.qsm.phase import wrap_phase


@pytest.mark.parametrize("vendor", VENDORS)
def test_every_vendor_comes_back(tmp_path: Path, vendor: Vendor) -> None:
    magnitude, phase = echoes(echo_times=ECHO_TIMES, seed=4)
    series = gradient_echo(vendor, magnitude, phase, ECHO_TIMES)
    images = converted(tmp_path, series)
    check_echoes(images, series[0], magnitude, phase, ONE_LEVEL + 1e-3)
    if vendor not in {"canon", "uih"}:  # they do not say how many levels are 2 pi
        assert {image.sidecar.get("Units") for image in images} == {None, "rad"}


@pytest.mark.parametrize("vendor", ["siemens", "ge", "philips", "philips-enhanced"])
def test_phase_that_uses_little_of_its_range_is_not_stretched(tmp_path: Path, vendor: Vendor) -> None:
    """A crop without noise: extremes do not tell the range, the header does."""
    magnitude, phase = echoes(echo_times=ECHO_TIMES, seed=6)
    phase = 0.9 + 0.1 * phase
    series = gradient_echo(vendor, magnitude, phase, ECHO_TIMES)
    check_echoes(converted(tmp_path, series), series[0], magnitude, phase, ONE_LEVEL + 1e-3)


@pytest.mark.parametrize("vendor", ["siemens", "ge"])
@pytest.mark.parametrize("split", ["none", "parts", "echoes", "both"])
def test_split_series_are_joined_again(tmp_path: Path, vendor: Vendor, split: str) -> None:
    magnitude, phase = echoes(echo_times=ECHO_TIMES, seed=5)
    series = gradient_echo(vendor, magnitude, phase, ECHO_TIMES, split=split)
    images = converted(tmp_path, series)
    check_echoes(images, series[0], magnitude, phase, ONE_LEVEL + 1e-3)
    assert len({image.group for image in images}) == 1


@pytest.mark.parametrize("vendor", ["ge", "philips", "philips-enhanced"])
@pytest.mark.parametrize("with_magnitude", [True, False])
def test_real_and_imaginary_become_magnitude_and_phase(
    tmp_path: Path, vendor: Vendor, with_magnitude: bool
) -> None:
    """GE: with the sign of every second slice changed, and the opposite direction of rotation."""
    magnitude, phase = echoes(shape=(12, 10, 7), echo_times=ECHO_TIMES, seed=7)
    components = ("magnitude", "real", "imaginary") if with_magnitude else ("real", "imaginary")
    scale = 1 / (PHILIPS_FLOAT_SLOPE["real"]) if vendor != "ge" and not with_magnitude else 1.0
    sagittal = np.array([[0, 0, 2, -9], [-2, 0, 0, 4], [0, -2, 0, 7], [0, 0, 0, 1.0]])
    series = gradient_echo(vendor, magnitude, phase, ECHO_TIMES, components=components, affine=sagittal)
    images = converted(tmp_path, series)
    assert {image.sidecar["Units"] for image in images if image.part == "phase"} == {"rad"}
    for image in images:
        kind = image.sidecar["ImageType"]
        assert kind[-1] in {"mag": {"MAGNITUDE", "MIXED"}, "phase": {"PHASE"}}[image.part or ""]
        assert not {"REAL", "IMAGINARY", "R", "I"} & set(kind)
        if image.part == "mag" and scale != 1:
            got = voxels(image, series[0]) / scale
            np.testing.assert_allclose(got, magnitude[..., (image.echo or 1) - 1], atol=1.5)
        if image.part == "phase":
            assert phase_error(image, series[0], phase[..., (image.echo or 1) - 1]).max() < 0.005
    if scale == 1:
        check_echoes(images, series[0], magnitude, phase, 0.005)


def test_ge_phase_images_are_repaired_and_turned(tmp_path: Path) -> None:
    """Without the repair every second slice is pi off; without the turn the field is upside down."""
    magnitude, phase = echoes(echo_times=ECHO_TIMES, seed=8)
    series = gradient_echo("ge", magnitude, phase, ECHO_TIMES)
    for image in converted(tmp_path, series):
        if image.part == "phase":
            assert phase_error(image, series[0], phase[..., (image.echo or 1) - 1]).max() < 0.002
            assert "GE" in image.sidecar["PhaseScaling"]


def test_ge_without_alternating_sign_is_left_alone(tmp_path: Path) -> None:
    magnitude, phase = echoes(echo_times=ECHO_TIMES, seed=8)
    series = gradient_echo("ge", magnitude, phase, ECHO_TIMES, alternating_sign=False)
    check_echoes(converted(tmp_path, series), series[0], magnitude, phase, 0.002)


def test_uncombined_channels_become_one_image(tmp_path: Path) -> None:
    shape, coils = (20, 18, 12), [f"H{n}" for n in range(1, 6)]
    echo_times = ECHO_TIMES[:2]
    magnitude, phase = echoes(shape=shape, echo_times=echo_times, seed=3)
    x, y, z = (g / n - 0.5 for g, n in zip(np.indices(shape), shape, strict=True))
    channel_magnitude, channel_phase = [], []
    for n in range(len(coils)):
        direction = np.array([np.cos(n), np.sin(n), 0.3 * np.cos(2 * n)])
        weight = np.exp(-((x - 0.6 * direction[0]) ** 2 + (y - 0.6 * direction[1]) ** 2 + z**2))
        own = 2.5 * (direction[0] * x + direction[1] * y + direction[2] * z) + 1.7 * n
        channel_magnitude.append(magnitude * weight[..., None])
        channel_phase.append(wrap_phase(phase + own[..., None]))
    series = gradient_echo(
        "siemens", np.stack(channel_magnitude, -1), np.stack(channel_phase, -1), echo_times, coils=coils,
        affine=straight_affine((3, 3, 3)),
    )  # fmt: skip
    images = converted(tmp_path, series)
    assert len(images) == 2 * len(echo_times)
    found = {(i.echo, i.part): voxels(i, series[0]) for i in images}
    power = np.sqrt(np.sum(np.square(channel_magnitude), axis=0))
    for echo in range(len(echo_times)):
        np.testing.assert_allclose(found[echo + 1, "mag"], power[..., echo], rtol=0.01)
        error = wrap_phase(found[echo + 1, "phase"] - phase[..., echo])
        centred = np.angle(np.exp(1j * error) / np.mean(np.exp(1j * error)))
        assert np.abs(centred).max() < 0.2  # noise in the phase of `echoes` is 0.05 rad in each echo


def test_phase_difference_stays_a_field_map(tmp_path: Path) -> None:
    magnitude, phase = echoes(echo_times=(0.00492, 0.00738), seed=9)
    series = phase_difference("siemens", magnitude, phase, (0.00492, 0.00738))
    images = {image.suffix: image for image in converted(tmp_path, series)}
    assert images.keys() == {"phasediff", "magnitude1", "magnitude2"}
    difference = images["phasediff"]
    assert (difference.sidecar["EchoTime1"], difference.sidecar["EchoTime2"]) == (0.00492, 0.00738)
    assert difference.part is None
    assert phase_error(difference, series[1], phase[..., 1] - phase[..., 0]).max() < ONE_LEVEL
    np.testing.assert_allclose(voxels(images["magnitude2"], series[0]), magnitude[..., 1], atol=0.5)


@pytest.mark.parametrize("vendor", ["philips", "philips-enhanced"])
def test_field_map_is_in_hz(tmp_path: Path, vendor: Vendor) -> None:
    magnitude, phase = echoes(seed=2)
    field = 150 * phase[..., 0]
    series = field_map_in_hz(vendor, magnitude[..., 0], field)
    images = {image.suffix: image for image in converted(tmp_path, [series])}
    assert images.keys() == {"fieldmap", "magnitude"}
    assert images["fieldmap"].sidecar["Units"] == "Hz"
    np.testing.assert_allclose(voxels(images["fieldmap"], series), field, atol=0.13)


@pytest.mark.parametrize("vendor", CLASSIC)
def test_sagittal_structural_image_keeps_its_geometry(tmp_path: Path, vendor: Vendor) -> None:
    magnitude, _ = echoes(shape=(14, 12, 9), seed=1)
    affine = np.array([[0.1, 0, 1.5, -20], [-1.2, 0.05, 0.1, 30], [0, -1.3, 0.1, 12], [0, 0, 0, 1.0]])
    affine[:3, :3] = np.linalg.qr(affine[:3, :3])[0] @ np.diag([1.2, 1.3, 1.5])
    series = t1w(vendor, magnitude[..., 0], affine=affine)
    (image,) = converted(tmp_path, [series])
    assert (image.suffix, image.part, image.echo) == ("T1w", None, None)
    got = voxels(image, series)
    np.testing.assert_allclose(got / got.mean(), magnitude[..., 0] / magnitude[..., 0].mean(), rtol=4e-3)


def test_strange_names_and_gzip_make_no_difference(tmp_path: Path) -> None:
    magnitude, phase = echoes(echo_times=ECHO_TIMES)
    series = gradient_echo("siemens", magnitude, phase, ECHO_TIMES, patient_name="Ünal^Åsa", patient_id="ä 1")
    names = ["Größe 1;&", "$(x) y", "IM.0001", "- b", "ж"]

    def name(index: int) -> str:
        return f"{names[index % 5]}{index}"

    write_all(tmp_path / "dicom é", series[:1], name=name)
    write_all(tmp_path / "dicom é" / "sub 'folder'", series[1:], name=name, compress=True)
    images, failures = run_plan(plan_of(tmp_path / "dicom é"), tmp_path / "wörk", 2)
    assert not failures
    check_echoes(images, series[0], magnitude, phase, ONE_LEVEL + 1e-3)


def test_real_philips_classic_and_enhanced_give_the_same_voxels(test_data: Path, tmp_path: Path) -> None:
    folder = test_data / "philips-3t"
    classic, failed = run_plan(plan_of(folder / "classic_2001_GRE"), tmp_path / "classic", 2)
    enhanced, failed_too = run_plan(plan_of(folder / "enhanced_2001_GRE"), tmp_path / "enhanced", 2)
    assert not failed + failed_too
    assert len(classic) == len(enhanced) == 4
    for one, two in zip(classic, enhanced, strict=True):
        first, second = nib.nifti1.load(one.path), nib.nifti1.load(two.path)
        assert np.array_equal(first.dataobj, second.dataobj)
        np.testing.assert_allclose(first.affine, second.affine, atol=1e-5)
        assert (one.echo, one.part, one.suffix) == (two.echo, two.part, two.suffix)
        name = f"2001_fcMRI_Field_Mapping_e{one.echo}{'_ph' if one.part == 'phase' else ''}.nii.gz"
        expected = nib.as_closest_canonical(nib.nifti1.load(folder / "nifti_GRE" / name))
        np.testing.assert_allclose(
            nib.as_closest_canonical(first).get_fdata(), expected.get_fdata(), rtol=1e-6, atol=1e-6
        )


def test_real_siemens_xa_gives_t1w_and_a_field_map(test_data: Path, tmp_path: Path) -> None:
    images, failures = run_plan(plan_of(test_data / "siemens-xa30"), tmp_path, 2)
    assert not failures
    assert sorted(image.suffix for image in images) == ["T1w", "T1w", "magnitude1", "magnitude2", "phasediff"]
    difference = next(image for image in images if image.suffix == "phasediff")
    assert (difference.sidecar["EchoTime1"], difference.sidecar["EchoTime2"]) == (0.01, 0.01246)
    values = np.asarray(nib.nifti1.load(difference.path).dataobj)
    assert -np.pi - 1e-3 <= values.min() < -3
    assert 3 < values.max() <= np.pi


@pytest.mark.parametrize("upside_down", [False, True])
def test_slices_that_are_missing_are_left_empty(tmp_path: Path, upside_down: bool) -> None:
    """What is there stays where it was in space; the spacing is the true one."""
    magnitude, phase = echoes(shape=(9, 8, 7), echo_times=ECHO_TIMES)
    affine = straight_affine((2, 2, -3) if upside_down else (2, 2, 3), origin=(5, 6, 7))
    series = gradient_echo("siemens", magnitude, phase, ECHO_TIMES, split="both", affine=affine)
    for one in series:
        write_series(tmp_path / "dicom", one, skip=(2, 3))
    images, failures = run_plan(plan_of(tmp_path / "dicom"), tmp_path / "work", 2)
    assert not failures
    there = [0, 1, 4, 5, 6]
    for image in images:
        echo = (image.echo or 1) - 1
        got = voxels(image, series[0])
        if image.part == "mag":
            np.testing.assert_allclose(got[:, :, there], magnitude[:, :, there, echo], atol=0.5)
            assert not got[:, :, 2:4].any()
        else:
            assert np.abs(wrap_phase(got - phase[..., echo]))[:, :, there].max() < ONE_LEVEL
            np.testing.assert_allclose(got[:, :, 2:4], 0, atol=ONE_LEVEL)
        assert len(image.sidecar["MissingSlices"]) == 2


@pytest.mark.parametrize("vendor", ["siemens", "philips", "ge"])
def test_a_slice_that_one_phase_lacks_is_empty_in_all_images(tmp_path: Path, vendor: Vendor) -> None:
    magnitude, phase = echoes(shape=(9, 8, 7), echo_times=ECHO_TIMES)
    series = gradient_echo(vendor, magnitude, phase, ECHO_TIMES, split="parts", alternating_sign=False)
    bare = [
        replace(one, volumes=tuple(replace(v, slope=None, intercept=None) for v in one.volumes))
        for one in series
    ]
    for one in bare if vendor == "siemens" else series:
        write_series(tmp_path / "dicom", one, skip=(9,) if one.volumes[0].component == "phase" else ())
    images, failures = run_plan(plan_of(tmp_path / "dicom"), tmp_path / "work", 2)
    assert not failures
    for image in images:
        got = voxels(image, series[0])
        assert len(image.sidecar["MissingSlices"]) == 1
        if image.part == "mag":
            assert not got[:, :, 2].any() and got[:, :, [0, 1, 3, 4, 5, 6]].all()
        elif image.echo == 2:
            np.testing.assert_allclose(got[:, :, 2], 0, atol=ONE_LEVEL)


@pytest.mark.parametrize("vendor", ["philips", "philips-enhanced", "siemens-xa"])
def test_repetitions_do_not_mix(tmp_path: Path, vendor: Vendor) -> None:
    """The converter writes both repetitions of an enhanced file into one 4D image."""
    magnitude, phase = echoes(echo_times=ECHO_TIMES)
    first, second = (
        gradient_echo(vendor, magnitude + more, phase * share, ECHO_TIMES, split="none")[0]
        for more, share in ((0, 1), (300, 0.5))
    )
    again = tuple(replace(volume, repetition=2) for volume in second.volumes)
    images = converted(tmp_path, [replace(first, volumes=first.volumes + again)])
    groups = sorted({image.group for image in images})
    assert len(groups) == 2
    for group, (more, share) in zip(groups, ((0, 1), (300, 0.5)), strict=True):
        of_group = [image for image in images if image.group == group]
        check_echoes(of_group, first, magnitude + more, phase * share, ONE_LEVEL + 1e-3)


def test_slices_with_numbers_and_times_of_their_own_stay_one_image(tmp_path: Path) -> None:
    magnitude, phase = echoes(echo_times=ECHO_TIMES)
    series = gradient_echo("siemens", magnitude, phase, ECHO_TIMES)
    for index, path in enumerate(write_all(tmp_path / "dicom", series)):
        dataset = pydicom.dcmread(path)
        dataset.AcquisitionNumber = 1 + index % 6 // 3
        dataset.AcquisitionTime, dataset.FlipAngle = f"10150{index % 6}", 15 + index % 2
        dataset.save_as(path)
    images, failures = run_plan(plan_of(tmp_path / "dicom"), tmp_path / "work", 2)
    assert not failures
    check_echoes(images, series[0], magnitude, phase, ONE_LEVEL + 1e-3)


def test_gaps_are_filled_whichever_way_the_slices_run(tmp_path: Path) -> None:
    magnitude, _ = echoes(shape=(6, 5, 7))
    series = t1w("siemens", magnitude[..., 0], affine=straight_affine((2, 2, 3)))
    write_series(tmp_path / "dicom", series, skip=(2,))
    (acquisition,) = plan_of(tmp_path / "dicom")
    stack = acquisition.members[0].stack
    there = np.delete(series.volumes[0].stored, 2, axis=2)[:, :, ::-1].astype(np.int16)
    affine = series.affine @ np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, -1.2, 6], [0, 0, 0, 1.0]])
    nib.save(nib.nifti1.Nifti1Image(there, affine), tmp_path / "reversed.nii")
    filled = fill_gaps(Volume(stack, tmp_path / "reversed.nii", None, {}), tmp_path / "filled.nii")
    got = on_written_grid(nib.nifti1.load(filled.path), series)
    expected = series.volumes[0].stored.copy()
    expected[:, :, 2] = 0
    np.testing.assert_array_equal(got, expected)
    uneven = replace(stack, offsets=(*stack.offsets[:-1], stack.offsets[-1] + 1.4))
    with pytest.raises(ConversionFailed, match="not evenly spaced"):
        fill_gaps(Volume(uneven, tmp_path / "reversed.nii", None, {}), tmp_path / "again.nii")


@pytest.mark.parametrize("form", ["rle", "big-endian", "deflated", "no preamble", "bare"])
def test_forms_of_dicom_give_the_same_voxels(tmp_path: Path, form: str) -> None:
    magnitude, phase = echoes(echo_times=ECHO_TIMES)
    series = gradient_echo("siemens", magnitude, phase, ECHO_TIMES)
    for path in write_all(tmp_path / "dicom", series):
        dataset = pydicom.dcmread(path)
        plain = pydicom.Dataset(dataset)
        if form == "rle":
            dataset.compress(pydicom.uid.RLELossless)
            dataset.save_as(path)
        elif form == "big-endian":
            plain.PixelData = dataset.pixel_array.astype(">u2").tobytes()
            plain.file_meta = dataset.file_meta
            plain.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRBigEndian
            pydicom.dcmwrite(path, plain, enforce_file_format=True)
        elif form == "deflated":
            dataset.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
            dataset.save_as(path, enforce_file_format=True)
        elif form == "no preamble":
            path.write_bytes(path.read_bytes()[132:])
        else:
            plain.save_as(path, implicit_vr=True, little_endian=True, enforce_file_format=False)
    images, failures = run_plan(plan_of(tmp_path / "dicom"), tmp_path / "work", 2)
    assert not failures
    check_echoes(images, series[0], magnitude, phase, ONE_LEVEL + 1e-3)


@pytest.mark.parametrize("vendor", ["siemens-xa", "ge", "canon"])
def test_one_enhanced_file_of_everything_is_taken_apart(tmp_path: Path, vendor: Vendor) -> None:
    """The converter stacks all echoes, magnitude and phase to one heap of slices."""
    magnitude, phase = echoes(echo_times=ECHO_TIMES, seed=4)
    (series,) = gradient_echo(vendor, magnitude, phase, ECHO_TIMES, split="none")
    write_series(tmp_path / "dicom", series, one_file=True)
    images, failures = run_plan(plan_of(tmp_path / "dicom"), tmp_path / "work", 2)
    assert not failures
    check_echoes(images, series, magnitude, phase, ONE_LEVEL + 1e-3)


def test_mosaic_is_taken_apart(tmp_path: Path) -> None:
    magnitude, phase = echoes(shape=(12, 10, 7), echo_times=ECHO_TIMES[:1])
    series = gradient_echo(
        "siemens", magnitude, phase, ECHO_TIMES[:1], affine=oblique_affine(degrees=(9, 0, 0))
    )
    write_all(tmp_path / "dicom", series, mosaic=True)
    images, failures = run_plan(plan_of(tmp_path / "dicom"), tmp_path / "work", 1)
    assert not failures
    found = {image.part: image for image in images}
    np.testing.assert_allclose(voxels(found["mag"], series[0]), magnitude[..., 0], atol=0.5)
    assert phase_error(found["phase"], series[0], phase[..., 0]).max() < ONE_LEVEL
