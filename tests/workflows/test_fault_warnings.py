"""Warnings about broken inputs on their way from the steps to the record; what they find is tested below."""

import json

import nibabel as nib
import numpy as np
import pytest
from mini_dataset import write_mini_dataset

from qsmxt_app.bids.dataset import find_acquisitions, open_dataset
from qsmxt_app.config import load_settings
from qsmxt_app.qsm.phase import wrap_phase
from qsmxt_app.workflows.plan import plan_scan
from qsmxt_app.workflows.scan_steps import scan_nodes


def run(node, folder, **inputs):
    folder.mkdir(parents=True)
    step = node.interface
    step.inputs.trait_set(**inputs)
    outputs = step.run(cwd=str(folder)).outputs
    return outputs, json.loads((folder / "facts.json").read_text())


def change(raw, part, action):
    for path in raw.glob(f"sub-01/anat/*part-{part}_MEGRE.nii.gz"):
        image = nib.load(path)
        nib.Nifti1Image(action(image.get_fdata(dtype=np.float32)), image.affine).to_filename(path)


def warnings(tmp_path, part, action):
    """Break the mini head, and run the steps up to its field."""
    raw = write_mini_dataset(tmp_path / "raw")
    change(raw, part, action)
    acquisition = find_acquisitions(open_dataset(raw)).acquisitions[0]
    settings = load_settings({"segmentation": "none"})
    made = scan_nodes(plan_scan(acquisition, settings), bids_dir=raw, output_dir=tmp_path / "out")
    prepared, told = run(made["prepare"], tmp_path / "prepare")
    images = {"magnitude": prepared.magnitude, "phase": prepared.phase}
    masks, of_masks = run(made["masks"], tmp_path / "masks", **images)
    _, of_field = run(
        made["field"],
        tmp_path / "field",
        filled=masks.filled,
        reliable=masks.reliable,
        outline=masks.outline,
        **images,
    )
    return [*told["warnings"], *of_masks["warnings"], *of_field["warnings"]]


def halved(image):
    image[: image.shape[0] // 2] = 0
    return image


def halved_turns(image):
    """Shim the head badly, so that its phase wraps, and store half of the phase."""
    return wrap_phase(image + 0.3 * np.arange(image.shape[0])[:, None, None]) / 2


@pytest.mark.parametrize(
    ("part", "action", "words"),
    [
        ("mag", lambda image: image, None),
        ("phase", lambda image: -image, "The sign of the phase seems to be inverted."),
        ("phase", halved_turns, "The phase is wrongly scaled."),
        ("mag", halved, "Part of the object is missing."),
    ],
)
def test_the_steps_tell_what_is_wrong(tmp_path, part, action, words):
    told = warnings(tmp_path, part, action)
    assert [text[: len(words)] for text in told[:1]] == [words] if words else told == []
