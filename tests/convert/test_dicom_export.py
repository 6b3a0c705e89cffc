"""Maps as DICOM series: read back by pydicom and by dcm2niix."""

import subprocess
from pathlib import Path

import dcm2niix
import nibabel as nib
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from scipy.spatial.transform import Rotation

from qsmxt_app.convert.dicom.export import QUANTITIES, read_source, write_series
from qsmxt_app.errors import NoInput, UnusableData
from qsmxt_app.tools.qsm import main

SHAPE = (10, 12, 7)
CHI = np.random.default_rng(5).normal(0, 0.08, SHAPE).astype(np.float32)
ORIENTATIONS = {
    "axial": np.eye(3),
    "flipped": np.diag([-1.0, 1.0, 1.0]),
    "oblique": Rotation.from_euler("xyz", [20, -12, 33], degrees=True).as_matrix(),
    "sagittal": np.array([[0, 0, 1.0], [1, 0, 0], [0, 1, 0]]),
}


def affine_of(turn, sizes=(1.25, 0.9, 2.0)):
    affine = np.eye(4)
    affine[:3, :3] = turn * sizes
    affine[:3, 3] = [-83.25, 17.125, 42.5]
    return affine


def on_grid(image, affine, shape):
    """Voxels of an image at the places of another grid that has the same voxels in another order."""
    index = np.moveaxis(np.indices(shape), 0, -1) @ affine[:3, :3].T + affine[:3, 3]
    there = np.linalg.inv(image.affine)
    found = index @ there[:3, :3].T + there[:3, 3]
    assert np.abs(found - np.rint(found)).max() < 5e-3
    return image.get_fdata()[tuple(np.rint(np.moveaxis(found, -1, 0)).astype(int))]


def source(folder, **changes):
    """Write an image of the scan."""
    dataset = Dataset()
    values = {
        "PatientName": "Müller^Ada", "PatientID": "77", "PatientSex": "F", "StudyInstanceUID": "1.2.3.4",
        "SeriesInstanceUID": "1.2.3.4.5", "FrameOfReferenceUID": "1.2.3.9", "StudyDate": "20240102",
        "AccessionNumber": "A1",
    } | changes  # fmt: skip
    for name, value in values.items():
        setattr(dataset, name, value)
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = pydicom.uid.MRImageStorage
    dataset.SOPInstanceUID = pydicom.uid.generate_uid()
    dataset.Rows = dataset.Columns = 2
    dataset.BitsAllocated, dataset.SamplesPerPixel, dataset.PixelRepresentation = 16, 1, 0
    dataset.PhotometricInterpretation, dataset.BitsStored, dataset.HighBit = "MONOCHROME2", 16, 15
    dataset.PixelData = b"\0" * 8
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    folder.mkdir(exist_ok=True)
    dataset.save_as(folder / f"{len(list(folder.iterdir()))}.dcm", enforce_file_format=True)
    return folder


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_voxels_and_places_read_back_equal(tmp_path, name):
    affine = affine_of(ORIENTATIONS[name])
    paths = write_series(CHI, affine, tmp_path / "out", QUANTITIES["chi"])
    images = [pydicom.dcmread(path) for path in paths]
    assert len(images) == SHAPE[2]
    row, column = np.split(np.array(images[0].ImageOrientationPatient, float), 2)
    for direction in (row, column):  # to the left, the back, or down, as viewers show images
        main_axis = np.argmax(np.abs(direction))
        assert direction[main_axis] * (-1 if main_axis == 2 else 1) > 0
    to_index = np.linalg.inv(np.diag([-1, -1, 1, 1]) @ affine)
    for image in images:
        values = image.pixel_array * float(image.RescaleSlope) + float(image.RescaleIntercept)
        down, across = (float(size) for size in image.PixelSpacing)
        corner = np.array(image.ImagePositionPatient, float)
        for i, j in ((0, 0), (3, 0), (0, 5), (image.Columns - 1, image.Rows - 1)):
            place = to_index @ [*(corner + i * across * row + j * down * column), 1]
            voxel = tuple(np.rint(place[:3]).astype(int))
            assert np.abs(place[:3] - voxel).max() < 1e-3
            assert values[j, i] == pytest.approx(1000 * CHI[voxel], abs=0.051)


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_another_reader_finds_the_same_map(tmp_path, name):
    affine = affine_of(ORIENTATIONS[name])
    write_series(CHI, affine, tmp_path / "dicom", QUANTITIES["chi"])
    (tmp_path / "nifti").mkdir()
    command = [dcm2niix.bin, "-f", "chi", "-o", tmp_path / "nifti", tmp_path / "dicom"]
    subprocess.run(list(map(str, command)), check=True, capture_output=True, timeout=60)
    (path,) = Path(tmp_path / "nifti").glob("*.nii")
    np.testing.assert_allclose(on_grid(nib.load(path), affine, SHAPE), 1000 * CHI, atol=0.051)


def test_it_lies_in_the_study_of_the_scan(tmp_path):
    told = read_source(source(source(tmp_path / "scan")))
    paths = write_series(CHI, affine_of(np.eye(3)), tmp_path / "out", QUANTITIES["chi"], told)
    first, second = (pydicom.dcmread(path) for path in paths[:2])
    assert (first.PatientName, first.PatientID, first.AccessionNumber) == ("Müller^Ada", "77", "A1")
    assert (first.StudyInstanceUID, first.FrameOfReferenceUID) == ("1.2.3.4", "1.2.3.9")
    assert first.SeriesInstanceUID == second.SeriesInstanceUID != "1.2.3.4.5"
    assert first.SOPInstanceUID != second.SOPInstanceUID
    mapping = first.RealWorldValueMappingSequence[0]
    assert mapping.MeasurementUnitsCodeSequence[0].CodeValue == "[ppb]"
    assert mapping.RealWorldValueSlope == first.RescaleSlope == 0.1
    again = write_series(CHI, affine_of(np.eye(3)), tmp_path / "again", QUANTITIES["chi"], told)
    assert again[0].read_bytes() == paths[0].read_bytes()
    other = write_series(CHI + 0.01, affine_of(np.eye(3)), tmp_path / "other", QUANTITIES["chi"], told)
    assert pydicom.dcmread(other[0]).SeriesInstanceUID != first.SeriesInstanceUID


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_hostile_and_absent_elements_are_left_out(tmp_path):
    pydicom.config.settings.writing_validation_mode = pydicom.config.IGNORE
    try:
        folder = source(
            tmp_path / "scan", PatientID="x" * 5000, StudyInstanceUID="../../etc", StudyDate="tomorrow",
            AccessionNumber="A\n1", PatientSex="",
        )  # fmt: skip
    finally:
        pydicom.config.settings.writing_validation_mode = None
    paths = write_series(CHI, affine_of(np.eye(3)), tmp_path / "out", QUANTITIES["chi"], read_source(folder))
    first = pydicom.dcmread(paths[0])
    assert first.PatientID == first.StudyDate == ""
    assert first.AccessionNumber == "A1"
    assert first.StudyInstanceUID.is_valid
    assert first.FrameOfReferenceUID == "1.2.3.9"


def test_what_cannot_be_told_is_refused(tmp_path):
    sheared = affine_of(np.eye(3))
    sheared[0, 1] = 0.3
    with pytest.raises(UnusableData, match="right angles"):
        write_series(CHI, sheared, tmp_path / "out", QUANTITIES["chi"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(NoInput, match="no DICOM images"):
        read_source(tmp_path / "empty")
    two = source(source(tmp_path / "two"), StudyInstanceUID="1.2.8")
    with pytest.raises(UnusableData, match="2 studies"):
        read_source(two)


def test_large_values_and_no_numbers_are_stored(tmp_path):
    extreme = CHI.copy()
    extreme[0, 0, 0], extreme[1, 0, 0] = 20.0, np.nan
    image = pydicom.dcmread(write_series(extreme, affine_of(np.eye(3)), tmp_path, QUANTITIES["chi"])[0])
    values = image.pixel_array * float(image.RescaleSlope)
    assert values.max() == pytest.approx(20000, rel=1e-4)
    assert np.isfinite(values).all()


def test_the_command_writes_a_series_once(tmp_path, capsys):
    chi = tmp_path / "chi.nii.gz"
    nib.Nifti1Image(CHI, affine_of(np.eye(3))).to_filename(chi)
    scan = source(tmp_path / "scan")
    command = ["dicom", "--map", str(chi), "--source-dicom", str(scan), "-o", str(tmp_path / "out")]
    assert main(command) == 0
    assert pydicom.dcmread(tmp_path / "out" / "0001.dcm").StudyInstanceUID == "1.2.3.4"
    assert main(command) == 73
    assert "is not an empty folder" in capsys.readouterr().err
