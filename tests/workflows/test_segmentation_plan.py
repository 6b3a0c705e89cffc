from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from qsmxt_app.bids.acquisition import Acquisition
from qsmxt_app.config import load_settings
from qsmxt_app.errors import WrongUsage
from qsmxt_app.workflows.plan import plan_scan
from qsmxt_app.workflows.segmentation.plan import plan_segmentation
from qsmxt_app.workflows.segmentation.steps import anatomy_nodes


@pytest.fixture
def scan(tmp_path):
    t1w = tmp_path / "sub-01_ses-A_T1w.nii.gz"
    return Acquisition(
        "01", "A", {}, "MEGRE", (), 3.0, np.eye(4), (64, 64, 40), (3.0, 3.0, 3.0), (0.0, 0.0, 1.0), t1w=t1w
    )


def test_a_t1w_is_labelled_once_and_its_scans_follow(scan):
    plan = plan_segmentation(scan, load_settings({}))
    assert plan.reason == "atlas qsmxt, registered to sub-01_ses-A_T1w.nii.gz"
    assert plan.anatomy_steps == ("prepare_t1w", "register_atlas", "label_t1w", "write_t1w")
    assert plan.region_steps == ("align", "label", "regions")


def test_without_a_t1w_the_magnitude_is_labelled(scan):
    plan = plan_segmentation(replace(scan, t1w=None), load_settings({}))
    assert "the magnitude, as there is no T1w" in plan.reason
    assert plan.anatomy_steps == ("prepare_t1w", "register_atlas", "label_t1w")
    assert plan.region_steps == ("label", "regions")


def test_spaces_are_planned_where_there_is_a_way(scan):
    settings = load_settings({"output_spaces": ["template", "native", "T1w"]})
    plan = plan_segmentation(scan, settings)
    assert (plan.spaces, plan.no_spaces) == (("T1w", "template"), ())
    assert plan.region_steps == ("align", "label", "regions", "spaces")
    assert plan.step_sizes(scan)["spaces"] > plan.step_sizes(scan)["regions"]
    alone = plan_segmentation(replace(scan, t1w=None), settings)
    assert alone.spaces == ("template",)
    assert alone.lines[1] == "No maps in T1w space (--output-spaces): there is no T1w image."
    none = plan_segmentation(scan, replace(settings, segmentation="none"))
    assert none.spaces == ()
    assert none.no_spaces[0].startswith("No maps in template space (--output-spaces): nothing is registered")
    with pytest.raises(WrongUsage, match=r"--output-spaces t1w is not a valid choice. Did you mean T1w"):
        load_settings({"output_spaces": ["t1w"]})


@pytest.mark.parametrize(
    ("flags", "metadata", "reason"),
    [
        ({"segmentation": "none"}, {}, "--segmentation none"),
        ({"preset": "fast"}, {}, "--segmentation none"),
        ({"preset": "body"}, {}, "--segmentation none"),
        ({}, {"BodyPartExamined": "LIVER"}, "BodyPartExamined LIVER is not a head"),
    ],
)
def test_what_is_no_head_or_not_asked_for_has_no_regions(scan, flags, metadata, reason):
    plan = plan_segmentation(replace(scan, metadata=metadata), load_settings(flags))
    assert plan.reason == reason
    assert plan.anatomy_steps == plan.region_steps == ()
    assert plan.lines == [f"none: {reason}"]


def test_labels_of_another_program_are_used_and_missed(scan, tmp_path):
    folder = tmp_path / "freesurfer"
    folder.mkdir()
    settings = load_settings({"derivatives": [str(folder)]})
    plan = plan_segmentation(scan, settings)
    assert "no labels of sub-01 ses-A" in plan.problem
    assert plan.anatomy_steps == plan.region_steps == ()
    image = folder / "sub-01_ses-A" / "mri" / "aseg.mgz"
    image.parent.mkdir(parents=True)
    image.touch()
    plan = plan_segmentation(scan, settings)
    assert (plan.source, plan.labels.image) == ("aseg", image)
    assert plan.anatomy_steps == ("prepare_t1w", "label_t1w", "write_t1w")
    assert "there is none" in plan_segmentation(replace(scan, t1w=None), settings).problem


def test_a_network_needs_its_folder_and_a_t1w(scan, tmp_path):
    with pytest.raises(WrongUsage, match="--model"):
        load_settings({"segmentation": "meshnet"})
    settings = load_settings({"segmentation": "meshnet", "model": str(tmp_path)})
    assert "no model.json" in plan_segmentation(scan, settings).problem
    for name in ("model.json", "colormap.json", "model.pth"):
        (tmp_path / name).touch()
    assert plan_segmentation(scan, settings).anatomy_steps == ("prepare_t1w", "label_t1w", "write_t1w")
    assert "needs a T1w" in plan_segmentation(replace(scan, t1w=None), settings).problem


def test_names_of_files_hold_only_what_bids_allows(scan, tmp_path):
    folder = tmp_path / "my atlas.v2"
    folder.mkdir()
    plan = plan_segmentation(scan, load_settings({"atlas": str(folder)}))
    assert (plan.source, plan.label) == ("my atlas.v2", "myatlasv2")


@pytest.mark.parametrize(
    ("flag", "files", "inputs"),
    [
        ("model", ("model.json", "colormap.json", "model.pth"), {"label_t1w": ("model", "files")}),
        ("atlas", ("T1w.nii.gz", "dseg.nii.gz", "dseg.tsv"), {"prepare_t1w": ("atlas",)}),
        ("derivatives", ("sub-01_ses-A/mri/aseg.mgz",), {"label_t1w": ("existing",)}),
    ],
)
def test_steps_find_what_is_named_relative_to_the_current_folder(
    scan, tmp_path, monkeypatch, flag, files, inputs
):
    for path in (scan.t1w, *(tmp_path / "mine" / name for name in files)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.chdir(tmp_path)
    settings = load_settings({flag: ["mine"] if flag == "derivatives" else "mine"})
    plan = plan_segmentation(scan, settings)
    assert not plan.problem
    nodes = anatomy_nodes(plan_scan(scan, settings), bids_dir=tmp_path, output_dir=tmp_path / "out")
    for step, names in inputs.items():
        for name in names:
            found = getattr(nodes[step].inputs, name)
            for path in found if isinstance(found, list) else [found]:
                assert path.startswith(f"{tmp_path}/mine"), name


def test_a_network_needs_its_memory_whatever_the_image(scan, tmp_path):
    """1.8 GB were measured, in a box around a brain of 1 mm; the atlas needs what the image is large."""
    for name in ("model.json", "colormap.json", "model.pth"):
        (tmp_path / name).touch()
    nib.Nifti1Image(np.zeros((16, 16, 16), np.float32), np.eye(4)).to_filename(tmp_path / "small_T1w.nii.gz")
    small = replace(scan, shape=(16, 16, 16), t1w=tmp_path / "small_T1w.nii.gz")
    network, atlas = (
        plan_scan(small, load_settings(flags)).estimate for flags in ({"model": str(tmp_path)}, {})
    )
    assert network.memory_gb > 1.8 > atlas.memory_gb


def test_regions_are_counted_in_what_a_scan_needs(scan):
    whole, maps = (
        plan_scan(scan, load_settings({"segmentation": name})).estimate for name in ("atlas", "none")
    )
    assert whole.seconds > maps.seconds
    assert whole.memory_gb > maps.memory_gb
