import gzip
import os

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from raw_dataset import AFFINE, write_image

from qsmxt_app.bids.headers import b0_direction, read_header, same_grid
from qsmxt_app.errors import NoInput, QsmxtError, UnusableData

VOXELS = np.random.default_rng(1).random((4, 5, 6), np.float32)


def _rotation(axis, degrees):
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    matrix = np.eye(4)
    i, j = [k for k in range(3) if k != axis]
    matrix[[i, i, j, j], [i, j, i, j]] = c, -s, s, c
    return matrix


@settings(deadline=None)
@given(st.floats(-170, 170), st.floats(-80, 80), st.tuples(*[st.floats(0.3, 3)] * 3))
def test_b0_direction_leads_along_scanner_z(around_x, around_y, voxel_size):
    affine = _rotation(0, around_x) @ _rotation(1, around_y) @ np.diag([*voxel_size, 1])
    direction = np.array(b0_direction(affine))
    # A step of 1 mm along the direction, in voxels, must move by 1 mm along the scanner's z and nowhere else.
    step = affine[:3, :3] @ (direction / np.array(voxel_size))
    np.testing.assert_allclose(step, [0, 0, 1], atol=1e-9)


def test_geometry_of_a_tilted_image(tmp_path):
    affine = _rotation(0, 30) @ AFFINE
    header = read_header(write_image(tmp_path / "a.nii.gz", VOXELS, affine=affine))
    assert header.shape == (4, 5, 6)
    np.testing.assert_allclose(header.voxel_size, (1, 1, 2), rtol=1e-6)
    np.testing.assert_allclose(header.affine, affine, atol=1e-6)
    direction = b0_direction(header.scanner_affine)
    np.testing.assert_allclose(np.abs(direction), (0, 0.5, np.cos(np.pi / 6)), atol=1e-6)


def _with_codes(path, sform_code, qform_code):
    image = nib.nifti1.Nifti1Image(VOXELS, AFFINE)
    image.set_sform(_rotation(0, 20) @ AFFINE, sform_code)
    image.set_qform(AFFINE, qform_code)
    nib.save(image, path)
    return read_header(path)


@pytest.mark.parametrize(("sform_code", "tilted", "warned"), [(1, True, 0), (2, False, 0), (4, False, 0)])
def test_b0_comes_from_scanner_coordinates(tmp_path, sform_code, tilted, warned):
    header = _with_codes(tmp_path / "a.nii.gz", sform_code, 1)
    assert (b0_direction(header.scanner_affine)[2] < 0.99) == tilted
    assert len(header.warnings) == warned


def test_a_header_without_scanner_coordinates_is_warned_about(tmp_path):
    assert "template" in _with_codes(tmp_path / "a.nii.gz", 4, 0).warnings[0]
    assert "no orientation" in _with_codes(tmp_path / "b.nii.gz", 0, 0).warnings[0]


def test_a_damaged_qform_does_not_stop_a_sound_sform(tmp_path):
    path = tmp_path / "a.nii"
    _with_codes(path, 2, 1)
    data = bytearray(path.read_bytes())
    data[256:268] = np.array([1, 1, 1], "<f4").tobytes()  # no quaternion has these three
    path.write_bytes(data)
    header = read_header(path)
    assert "qform is damaged" in header.warnings[0]
    np.testing.assert_allclose(header.scanner_affine, header.affine)


def test_grids(tmp_path):
    def header(name, shift=0.0, shape=(4, 5, 6)):
        affine = AFFINE.copy()
        affine[0, 3] += shift
        return read_header(write_image(tmp_path / name, np.ones(shape, np.float32), affine=affine))

    first = header("a.nii")
    assert same_grid(first, header("b.nii", 1e-4))
    assert not same_grid(first, header("c.nii", 0.2))
    assert not same_grid(first, header("d.nii", shape=(4, 5, 7)))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", [nib.nifti1.Nifti1Image, nib.nifti2.Nifti2Image])
@pytest.mark.parametrize("extension", [".nii", ".nii.gz"])
def test_every_kind_of_nifti(tmp_path, order, kind, extension):
    header = kind.header_class(endianness=order)
    path = tmp_path / f"a{extension}"
    nib.save(kind(VOXELS[..., None].astype(f"{order}f4"), AFFINE, header), path)
    assert read_header(path).shape == (4, 5, 6)
    np.testing.assert_allclose(read_header(path).affine, nib.load(path).affine)


def _truncated(length):
    def make(path):
        write_image(path, VOXELS)
        os.truncate(path, length)

    return make


def _annex_link(path):
    path.symlink_to("../../.git/annex/objects/ab/cd/MD5E-s1--e.nii.gz/MD5E-s1--e.nii.gz")


def _gzipped(content):
    return lambda path: path.write_bytes(gzip.compress(content))


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda path: None, NoInput, "No such file"),
        (lambda path: path.mkdir(), NoInput, "cannot be read"),
        (lambda path: path.write_bytes(b""), NoInput, "empty"),
        (lambda path: path.symlink_to("nowhere"), NoInput, "does not exist"),
        (_annex_link, NoInput, "datalad get"),
        (lambda path: path.write_bytes(b"/annex/objects/MD5E-s1--e.nii.gz\n"), NoInput, "datalad get"),
        (lambda path: path.write_bytes(b"hello"), UnusableData, "not gzip"),
        (_truncated(40), UnusableData, "truncated"),
        (_gzipped(b"hello" * 200), UnusableData, "not a NIfTI"),
        (_gzipped((348).to_bytes(4, "little") + bytes(400)), UnusableData, "not a NIfTI"),
        (lambda path: write_image(path, VOXELS[:, :, :1]), UnusableData, "single slice"),
        (lambda path: write_image(path, VOXELS[:, :, 0]), UnusableData, "4x5"),
        (lambda path: write_image(path, np.ones((2, 2, 2, 2, 2, 2))), UnusableData, "2x2x2x2x2x2"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_one_line(tmp_path, make, error, text):
    path = tmp_path / "a.nii.gz"
    make(path)
    with pytest.raises(error, match=text) as raised:
        read_header(path)
    assert str(raised.value).startswith(str(path))
    assert "\n" not in str(raised.value)


def test_a_truncated_uncompressed_image(tmp_path):
    path = write_image(tmp_path / "a.nii", VOXELS)
    os.truncate(path, path.stat().st_size - 1)
    with pytest.raises(UnusableData, match="truncated"):
        read_header(path)


def test_unreadable_file(tmp_path, monkeypatch):
    path = write_image(tmp_path / "a.nii.gz", VOXELS)

    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(path), "open", refuse)
    with pytest.raises(NoInput, match="Permission denied"):
        read_header(path)


@settings(deadline=None)
@given(st.binary(max_size=700), st.booleans())
def test_random_bytes_never_escape_as_another_error(tmp_path_factory, content, zipped):
    path = tmp_path_factory.mktemp("random") / ("a.nii.gz" if zipped else "a.nii")
    path.write_bytes(gzip.compress(content) if zipped else content)
    with pytest.raises(QsmxtError):
        read_header(path)


@settings(deadline=None)
@given(st.integers(4, 347), st.binary(min_size=1, max_size=8))
def test_damaged_headers_never_escape_as_another_error(tmp_path_factory, position, content):
    path = tmp_path_factory.mktemp("damaged") / "a.nii"
    write_image(path, VOXELS)
    data = bytearray(path.read_bytes())
    data[position : position + len(content)] = content
    path.write_bytes(data)
    try:
        header = read_header(path)
    except QsmxtError:
        return
    assert min(header.shape) >= 1
    assert np.isfinite(b0_direction(header.scanner_affine)).all() or header.warnings


@pytest.mark.parametrize(
    ("unit", "factor", "word"), [("meter", 1e-3, "metres"), ("micron", 1e3, "micrometres")]
)
def test_headers_in_another_unit_than_mm_are_refused(tmp_path, unit, factor, word):
    path = tmp_path / "image.nii"
    for scale in (1, factor):
        image = nib.Nifti1Image(np.ones((4, 4, 4), np.float32), np.diag([2 * scale] * 3 + [1]))
        image.header.set_xyzt_units("mm" if scale == 1 else unit)
        nib.save(image, path)
        if scale == 1:
            assert read_header(path).voxel_size == (2, 2, 2)
    with pytest.raises(UnusableData, match=rf"implausible \({word}\?\)"):
        read_header(path)
