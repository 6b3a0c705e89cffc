"""What the steps of a scan are given."""

from __future__ import annotations

import pytest
from mini_dataset import write_mini_dataset

from qsmxt_app.bids.dataset import find_acquisitions, open_dataset
from qsmxt_app.config import load_settings
from qsmxt_app.workflows.plan import plan_scan
from qsmxt_app.workflows.scan_steps import scan_nodes


@pytest.mark.parametrize(
    ("two_pass", "threads", "cores"),
    [
        (True, 4, {"tgv": 2, "tgv_reliable": 2}),
        (True, 3, {"tgv": 1, "tgv_reliable": 1}),
        (True, 1, {"tgv": 1, "tgv_reliable": 1}),
        (False, 4, {"tgv": 4}),
    ],
)
def test_both_passes_share_the_cores(tmp_path, two_pass, threads, cores):
    raw = write_mini_dataset(tmp_path / "raw")
    acquisition = find_acquisitions(open_dataset(raw)).acquisitions[0]
    settings = load_settings({"segmentation": "none", "two_pass": two_pass})
    scan = plan_scan(acquisition, settings).with_threads(threads)
    made = scan_nodes(scan, bids_dir=raw, output_dir=tmp_path / "out")
    assert {name: node.n_procs for name, node in made.items() if name.startswith("tgv")} == cores
    assert made["field"].n_procs == threads
    assert made["tgv"].inputs.num_threads == threads


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        ({"preset": "consensus"}, {"background", "background_reliable", "inversion", "inversion_reliable"}),
        ({"preset": "consensus", "two_pass": False}, {"background", "inversion"}),
        ({"local_field": True}, {"background", "tgv", "tgv_reliable"}),
    ],
)
def test_each_pass_of_two_steps_has_its_own_background(tmp_path, settings, steps):
    raw = write_mini_dataset(tmp_path / "raw")
    acquisition = find_acquisitions(open_dataset(raw)).acquisitions[0]
    scan = plan_scan(acquisition, load_settings({"segmentation": "none", **settings}))
    named = {step.name for step in scan.maps}
    assert {name for name in named if name.startswith(("background", "inversion", "tgv"))} == steps
