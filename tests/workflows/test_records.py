"""What the record tells of a scan after its steps have run."""

from __future__ import annotations

import json
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
from mini_dataset import write_mini_dataset

from qsmxt_app.bids.dataset import find_acquisitions, open_dataset
from qsmxt_app.config import load_settings
from qsmxt_app.records.scan import Segmentation
from qsmxt_app.report.acquisition_text import acquisition_sentences
from qsmxt_app.workflows.nodes import FitField
from qsmxt_app.workflows.plan import plan_scan
from qsmxt_app.workflows.records import obliquity_degrees, scan_record
from qsmxt_app.workflows.segmentation.segmentation_record import RegionResult

TIMES = (0.004, 0.009, 0.014, 0.019)


def fitted(folder, difference):
    """The facts of the field of a ball; its echoes alternate by a phase difference in rad."""
    grid = np.meshgrid(*[np.arange(24) - 11.5] * 3, indexing="ij")
    inside = sum(axis**2 for axis in grid) < 10**2
    field = 4 * grid[0] + grid[1] ** 2 / 4  # Hz
    turns = [2 * np.pi * field * time + difference * (n % 2) for n, time in enumerate(TIMES)]
    noise = np.random.default_rng(1).normal(0, 0.02, (24, 24, 24, len(TIMES)))
    images = {
        "magnitude": np.stack([inside + 0.01] * len(TIMES), -1),
        "phase": np.angle(np.exp(1j * (np.stack(turns, -1) + noise))),
        "filled": inside,
        "reliable": inside,
        "outline": inside,
    }
    files = {name: str(folder / f"{name}.nii") for name in images}
    for name, image in images.items():
        nib.save(nib.Nifti1Image(image.astype(np.float32), np.diag([2.0, 2.0, 2.0, 1.0])), files[name])
    step = FitField(
        **files, echo_times=list(TIMES), voxel_size=(2.0, 2.0, 2.0), b0_direction=(0.0, 0.0, 1.0),
        field_strength=3.0, bipolar="auto", unwrapping="laplacian",
    )  # fmt: skip
    return step.compute(folder)


@pytest.mark.parametrize(("difference", "bipolar"), [(0.0, False), (0.8, True)])
def test_the_readout_is_recorded_as_it_was_found_in_the_phase(tmp_path, difference, bipolar):
    raw = write_mini_dataset(tmp_path / "raw")
    acquisition = find_acquisitions(open_dataset(raw)).acquisitions[0]
    plan = plan_scan(acquisition, load_settings({"segmentation": "none"}))
    facts = json.loads(json.dumps({"field": fitted(tmp_path, difference) | {"seconds": 1, "peak_mb": 1}}))
    scan = SimpleNamespace(plan=plan, steps=("field",), facts=facts.__getitem__)
    record = scan_record(
        scan, RegionResult(Segmentation()), raw, tmp_path, ended=["field"], errors=(), command="qsmxt"
    )
    assert not plan.bipolar
    assert record.inputs.bipolar is bipolar
    assert ("bipolar readout" in acquisition_sentences(record)[0]) is bipolar


@pytest.mark.parametrize(
    ("direction", "degrees"),
    [
        ((0, 0, 1), 0),
        ((-1, 0, 0), 0),
        ((0, -0.6, 0.8), 36.87),
        ((0.6, 0, -0.8), 36.87),
        ((0, 0.96, 0.28), 16.26),
    ],
)
def test_obliquity_is_the_angle_to_the_nearest_axis(direction, degrees):
    assert obliquity_degrees(direction) == pytest.approx(degrees, abs=0.01)
