"""Real scanner data through the whole command, with what is known about brains as the expectation."""

import json
import shutil

import nibabel as nib
import numpy as np
import pytest
from nibabel.processing import resample_from_to

from qsmxt_app.cli import main

LABELS = {"white matter": 1, "thalamus": 7, "caudate": 8, "putamen": 9, "pallidum": 10}


def philips_as_bids(data, root):
    """Put the GRE that dcm2niix wrote into BIDS."""
    anat = root / "sub-01" / "anat"
    anat.mkdir(parents=True)
    description = {"Name": "Philips 3 T", "BIDSVersion": "1.10.0", "DatasetType": "raw"}
    (root / "dataset_description.json").write_text(json.dumps(description))
    (root / "README").write_text("Two echoes of a field mapping scan.\n")
    for echo in (1, 2):
        for part, end in (("mag", ""), ("phase", "_ph")):
            source = data / "philips-3t" / "nifti_GRE" / f"2001_fcMRI_Field_Mapping_e{echo}{end}"
            target = anat / f"sub-01_echo-{echo}_part-{part}_MEGRE"
            shutil.copyfile(f"{source}.nii.gz", f"{target}.nii.gz")
            sidecar = json.loads(source.with_suffix(".json").read_text())
            units = {"Units": "rad"} if part == "phase" else {}
            target.with_suffix(".json").write_text(json.dumps(sidecar | units))
    return root


@pytest.fixture(scope="module")
def regions(test_data, tmp_path_factory):
    """Mean chi of each region relative to white matter, by TGV-QSM and by the consensus pipeline."""
    folder = tmp_path_factory.mktemp("philips")
    raw = philips_as_bids(test_data, folder / "raw")
    labels = nib.load(
        test_data / "philips-3t" / "reference_masks_labels" / "T1w_conformed256_meshnet18cls_dseg.nii.gz"
    )
    numbers = np.asarray(labels.dataobj)
    found = {}
    for preset in ("gre", "consensus"):
        out = folder / preset
        options = ["--preset", preset, "-w", str(folder / "work"), "--segmentation", "none"]
        options += ["--no-swi", "--no-chi-noise", "--report-volumes", "none"]  # what has no part in the map
        assert main([str(raw), str(out), "participant", *options]) == 0
        chi = nib.load(out / "sub-01" / "anat" / "sub-01_Chimap.nii.gz")
        values = resample_from_to(chi, labels, order=1).get_fdata()
        means = {name: values[numbers == label].mean() for name, label in LABELS.items()}
        found[preset] = {name: mean - means["white matter"] for name, mean in means.items()}
    return found


@pytest.mark.parametrize("preset", ["gre", "consensus"])
def test_deep_grey_matter_is_ordered_by_its_iron(regions, preset):
    mean = regions[preset]
    assert mean["pallidum"] > mean["putamen"] > mean["thalamus"] > 0
    assert mean["pallidum"] > mean["caudate"] > mean["thalamus"]
    assert mean["pallidum"] == pytest.approx(0.15, abs=0.05)


def test_one_step_and_two_steps_agree_in_the_regions(regions):
    for name, value in regions["gre"].items():
        assert regions["consensus"][name] == pytest.approx(value, abs=0.02), name
