"""Which files hold the same image, and which share only an identifier."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_writer import t1w, write_series

from qsmxt_app.convert.dicom.duplicates import without_duplicates
from qsmxt_app.convert.dicom.find import find_dicom


def _same(dataset: pydicom.Dataset) -> None:
    dataset.StudyDescription = "sent again"


def _other_pixels(dataset: pydicom.Dataset) -> None:
    dataset.PixelData = bytes(len(dataset.PixelData))


def _other_place(dataset: pydicom.Dataset) -> None:
    x, y, z = map(float, dataset.ImagePositionPatient)
    dataset.ImagePositionPatient = [x, y, z + 50]


@pytest.mark.parametrize(("change", "images"), [(_same, 1), (_other_pixels, 2), (_other_place, 2)])
def test_files_of_one_uid_are_one_image_only_where_place_and_pixels_agree(
    tmp_path: Path, change: Callable[[pydicom.Dataset], None], images: int
) -> None:
    (path,) = write_series(tmp_path, t1w("siemens", np.arange(48).reshape(8, 6, 1)))
    dataset = pydicom.dcmread(path)
    uid = dataset.SOPInstanceUID
    change(dataset)
    assert dataset.SOPInstanceUID == uid
    dataset.save_as(tmp_path / "other")
    kept, left_out = without_duplicates(find_dicom(tmp_path).headers)
    assert (len(kept), len(left_out)) == (images, 2 - images)
    assert all("the same image as" in one.reason for one in left_out)
