"""Plan and convert folders of synthetic series, and compare images with what was written."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from dicom_writer import (
    PHILIPS_FLOAT_SLOPE,
    PHILIPS_MAGNITUDE,
    DicomSeries,
    on_written_grid,
    write_all,
)
from numpy.typing import NDArray

from qsmxt_app.convert.converted_image import ConvertedImage
from qsmxt_app.convert.dicom.classify import classify
from qsmxt_app.convert.dicom.execute import run_plan
from qsmxt_app.convert.dicom.find import find_dicom
from qsmxt_app.convert.dicom.group_acquisitions import group_acquisitions
from qsmxt_app.convert.dicom.grouping import group_series
from qsmxt_app.convert.dicom.planned_acquisition import Entry, PlannedAcquisition
from qsmxt_app.qsm.phase import scale_phase, wrap_phase

ECHO_TIMES = (0.00423, 0.00876, 0.01329)
ONE_LEVEL = 2 * np.pi / 4096


def plan_of(folder: Path) -> tuple[PlannedAcquisition, ...]:
    series, _ = group_series(find_dicom(folder).headers)
    types = classify(series)
    entries = [Entry(s, types[s.key].role, types[s.key].components, "01", None) for s in series]
    return group_acquisitions(entries).plan


def converted(tmp_path: Path, series: list[DicomSeries]) -> list[ConvertedImage]:
    write_all(tmp_path / "dicom", series)
    images, failures = run_plan(plan_of(tmp_path / "dicom"), tmp_path / "work", 2)
    assert [failure.reason for failure in failures] == []
    return images


def voxels(image: ConvertedImage, series: DicomSeries) -> NDArray[np.float64]:
    return on_written_grid(nib.nifti1.load(image.path), series)


def phase_error(image: ConvertedImage, series: DicomSeries, phase: NDArray) -> NDArray:
    assert image.sidecar["Units"] == "rad"
    return np.abs(wrap_phase(voxels(image, series) - phase))


def check_echoes(
    images: list[ConvertedImage], series: DicomSeries, magnitude: NDArray, phase: NDArray, tolerance: float
) -> None:
    assert [(i.echo, i.part) for i in sorted(images, key=lambda i: (i.echo or 0, i.part or ""))] == [
        (echo + 1, part) for echo in range(magnitude.shape[3]) for part in ("mag", "phase")
    ]
    scale = 1.0
    if series.vendor.startswith("philips") and "magnitude" in {v.component for v in series.volumes}:
        scale = 1 / (PHILIPS_MAGNITUDE[0] * PHILIPS_FLOAT_SLOPE["magnitude"])
    for image in images:
        echo = (image.echo or 1) - 1
        assert image.suffix == "MEGRE"
        assert image.sidecar["EchoTime"] == ECHO_TIMES[echo]
        assert image.sidecar["MagneticFieldStrength"] == 3
        assert image.sidecar["RepetitionTime"] == pytest.approx(0.035)
        if image.part == "mag":
            np.testing.assert_allclose(
                voxels(image, series), magnitude[..., echo] * scale, atol=1.5 * scale, rtol=1e-5
            )
    # as the rest of the program reads them: all echoes together
    phases = [image for image in sorted(images, key=lambda i: i.echo or 0) if image.part == "phase"]
    (units,) = {image.sidecar["Units"] for image in phases}
    found = scale_phase(np.stack([voxels(image, series) for image in phases], axis=-1), units).phase
    assert np.abs(wrap_phase(found - phase)).max() < tolerance
