"""Background removal and inversion as steps of the whole command, and the maps beside chi."""

import json

import nibabel as nib
import numpy as np
import pytest
from mini_dataset import FIELD_STRENGTH, VOXEL_SIZE, mini_head, write_mini_dataset
from nipype import Node, Workflow
from nipype.interfaces.base import Undefined

from qsmxt_app import reconstruct
from qsmxt_app.bids.validation import find_issues
from qsmxt_app.cli import main
from qsmxt_app.qsm.constants import hz_per_ppm
from qsmxt_app.qsm.dipole import forward_field
from qsmxt_app.workflows.node_base import FACTS_FILE, read_json, second_pass
from qsmxt_app.workflows.nodes import CombineAndReference, InvertField, InvertTGV, RemoveBackground


def image(out, kind, folder="anat"):
    return nib.load(out / "sub-01" / folder / f"sub-01_{kind}.nii.gz").get_fdata()


def sidecar(out, kind, folder="anat"):
    return json.loads((out / "sub-01" / folder / f"sub-01_{kind}.json").read_text())


@pytest.fixture(scope="module")
def consensus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("consensus")
    raw = write_mini_dataset(folder / "raw")
    arguments = [str(raw), str(folder / "out"), "participant", "--preset", "consensus"]
    assert main([*arguments, "--skip-bids-validation"]) == 0
    return folder / "out"


def test_two_steps_show_the_nuclei_as_they_are(consensus):
    head = mini_head(0)
    chi, mask = image(consensus, "Chimap"), image(consensus, "desc-qsm_mask") > 0
    tissue = mask & (head.nuclei == 0)
    found = [chi[head.nuclei == label].mean() - chi[tissue].mean() for label in (1, 2, 3)]
    assert np.polyfit([0.05, 0.10, 0.15], found, 1)[0] == pytest.approx(1, abs=0.3)
    told = sidecar(consensus, "Chimap")
    assert told["EstimationAlgorithm"].startswith("background field removal")
    assert {"Background", "Inversion", "Reference"} <= set(told)
    assert "TGVAlpha" not in told


def test_the_local_field_is_that_of_the_tissue(consensus):
    head = mini_head(0)
    true = forward_field(
        np.where(head.head, head.chi, 0), voxel_size=VOXEL_SIZE, b0_direction=(0, 0, 1), workers=1
    ) * hz_per_ppm(FIELD_STRENGTH)
    found = image(consensus, "desc-local_fieldmap", "fmap")
    near = head.nuclei > 0
    assert np.corrcoef(found[near], true[near])[0, 1] > 0.9
    assert np.polyfit(true[near], found[near], 1)[0] == pytest.approx(1, abs=0.2)
    told = sidecar(consensus, "desc-local_fieldmap", "fmap")
    assert (told["Units"], told["Background"]) == ("Hz", "lbv")


def test_noise_of_chi_and_trust_of_the_field_have_their_ranges(consensus):
    mask = image(consensus, "desc-qsm_mask") > 0
    noise, field_noise = (
        image(consensus, "desc-noise_Chimap"),
        image(consensus, "desc-noise_fieldmap", "fmap"),
    )
    assert np.all(noise[mask] > 0)
    assert np.all(noise[~mask] == 0)
    # inversion amplifies noise by a small factor
    amplified = np.median(noise[mask]) * hz_per_ppm(FIELD_STRENGTH) / np.median(field_noise[mask])
    assert 1 < amplified < 5
    trust = image(consensus, "desc-trust_fieldmap", "fmap")
    assert np.median(trust[mask]) > 0.9
    assert trust.min() >= 0
    assert trust.max() <= 1


def test_projection_is_the_least_of_the_slab_along_b0(consensus):
    swi, projected = image(consensus, "swi"), image(consensus, "minIP")
    # 14 mm are four slices of 4 mm
    slab = np.stack([np.roll(swi, shift, axis=2) for shift in (-1, 0, 1, 2)]).min(axis=0)
    assert sidecar(consensus, "minIP")["ProjectionAxis"] == "k"
    np.testing.assert_allclose(projected[:, :, 2:-2], slab[:, :, 2:-2], atol=1e-6)


def test_all_outputs_are_valid_bids(consensus):
    assert find_issues(consensus, config=None) == []


def test_a_method_that_takes_layers_off_says_so_in_the_mask(consensus):
    raw = consensus.parent / "raw"
    out = consensus.parent / "vsharp"
    arguments = [str(raw), str(out), "participant", "--preset", "consensus", "--background", "vsharp"]
    arguments += ["--inversion", "rts", "--two-pass", "--no-swi", "--no-chi-noise"]
    assert main([*arguments, "--skip-bids-validation", "-w", str(consensus / "work")]) == 0
    smaller, mask = image(out, "desc-qsm_mask") > 0, image(consensus, "desc-qsm_mask") > 0
    assert (smaller <= mask).all()
    assert 0.5 * mask.sum() < smaller.sum() < 0.98 * mask.sum()
    chi = image(out, "Chimap")
    assert np.all(chi[~smaller] == 0)
    assert abs(chi[smaller].mean()) < 1e-6
    for absent in ("swi", "minIP", "desc-noise_Chimap"):
        assert not (out / "sub-01" / "anat" / f"sub-01_{absent}.nii.gz").exists()


def test_tgv_writes_the_same_local_field_where_asked_to(consensus):
    raw, out = consensus.parent / "raw", consensus.parent / "tgv"
    arguments = [str(raw), str(out), "participant", "--no-two-pass", "--local-field"]
    assert main([*arguments, "--skip-bids-validation", "-w", str(consensus / "work")]) == 0
    np.testing.assert_array_equal(
        image(out, "desc-local_fieldmap", "fmap"), image(consensus, "desc-local_fieldmap", "fmap")
    )
    told = sidecar(out, "Chimap")
    assert told["EstimationAlgorithm"].startswith("TGV-QSM")
    assert not {"Background", "Inversion"} & set(told)


def test_a_second_pass_over_the_same_voxels_is_left_out(tmp_path):
    mask = np.zeros((6, 6, 6), np.uint8)
    mask[1:5, 1:5, 1:5] = 1
    larger = mask.copy()
    larger[0] = 1
    chi = mask * np.random.default_rng(0).standard_normal(mask.shape)
    files = {}
    for name, array in {"mask": mask, "larger": larger, "chi": chi}.items():
        files[name] = str(tmp_path / f"{name}.nii")
        nib.Nifti1Image(array, np.eye(4)).to_filename(files[name])
    assert second_pass(files["larger"], files["mask"], files["chi"]) is None
    # nothing of it but the masks and the map of the first pass is read
    reliable = InvertTGV(
        laplacian=files["chi"], noise=files["chi"], mask=files["mask"], whole=files["mask"],
        first=files["chi"], voxel_size=(1.0, 1.0, 1.0), b0_direction=(0.0, 0.0, 1.0), alpha=(1.0, 1.0),
        max_iterations=1, tolerance=1.0,
    )  # fmt: skip
    combine = CombineAndReference(
        chi_filled=files["chi"], filled=files["mask"], reliable=files["mask"], reference="none"
    )
    graph = Workflow("graph", base_dir=str(tmp_path))
    last = Node(combine, "combine")
    graph.connect([(Node(reliable, "reliable"), last, [("chi", "chi_reliable")])])
    graph.config["execution"] = {"remove_unnecessary_outputs": "false"}
    graph.run()
    assert read_json(tmp_path / "graph" / "reliable" / FACTS_FILE)["skipped"]
    combined = tmp_path / "graph" / "combine"
    found = nib.load(combined / "chi.nii").get_fdata(dtype=np.float32)
    assert np.array_equal(found, chi.astype(np.float32))
    assert not (combined / "chi_singlepass.nii").exists()


def test_sources_in_the_holes_of_a_pass_are_background_to_it(tmp_path):
    """The field of a ball is all background where the mask leaves the ball out."""
    grid = np.stack(np.meshgrid(*[np.arange(40) - 19.5] * 3, indexing="ij"))
    radius = np.sqrt((grid**2).sum(axis=0))
    filled, hole = radius < 18, radius < 5
    chi = np.where(radius < 4, 1.0, 0.0).astype(np.float32)
    field = forward_field(chi, voxel_size=(1, 1, 1), b0_direction=(0, 0, 1), workers=1)
    arrays = {
        "filled": filled,
        "reliable": filled & ~hole,
        "field": field * hz_per_ppm(3),
        "noise": field * 0 + 1,
    }
    arrays["chi"] = chi
    arrays["weak"] = chi / 3
    files = {}
    for name, array in arrays.items():
        files[name] = str(tmp_path / f"{name}.nii")
        nib.Nifti1Image(np.asarray(array, np.float32), np.eye(4)).to_filename(files[name])

    def removed(name, mask, first="chi"):
        step = RemoveBackground(
            method="lbv", total_field=files["field"], field_noise=files["noise"], mask=files[mask],
            whole=files["filled"], first=files[first], voxel_size=(1.0, 1.0, 1.0),
            b0_direction=(0.0, 0.0, 1.0), field_strength=3.0,
        )  # fmt: skip
        return Node(step, name, base_dir=str(tmp_path)).run().outputs

    inside = (radius > 7) & (radius < 16)
    local = nib.load(removed("reliable", "reliable").local_field).get_fdata() / hz_per_ppm(3)
    assert np.sqrt(np.mean(local[inside] ** 2)) < 0.02 * np.sqrt(np.mean(field[inside] ** 2))
    # a second pass over the same voxels would repeat the first: neither of its steps does anything,
    assert removed("same", "filled").local_field == Undefined
    # and one whose holes hold no source that is much stronger than a vein is not needed
    assert removed("weak", "reliable", "weak").local_field == Undefined
    inversion = InvertField(
        method="tv", field_noise=files["noise"], echo_times=[0.01], voxel_size=(1.0, 1.0, 1.0),
        b0_direction=(0.0, 0.0, 1.0), field_strength=3.0,
    )  # fmt: skip
    assert Node(inversion, "inversion", base_dir=str(tmp_path)).run().outputs.chi == Undefined


def test_the_map_of_a_function_is_that_of_the_command(consensus):
    echoes = [
        sorted(consensus.parent.glob(f"raw/sub-01/anat/*part-{part}*.nii.gz")) for part in ("mag", "phase")
    ]
    result = reconstruct(*echoes, preset="consensus")
    np.testing.assert_array_equal(result.chi, image(consensus, "Chimap").astype(np.float32))
    np.testing.assert_array_equal(result.mask, image(consensus, "desc-qsm_mask") > 0)
