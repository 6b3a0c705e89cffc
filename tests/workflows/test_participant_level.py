import gzip
import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from mini_dataset import SHAPE, mini_head, write_mini_dataset

from qsmxt_app.bids.lock import participant_lock
from qsmxt_app.bids.validation import find_issues
from qsmxt_app.cli import main
from qsmxt_app.config import load_settings
from qsmxt_app.workflows.step_needs import memory_gb
from qsmxt_app.workflows.study import Request


def voxels(path):
    return nib.load(path).get_fdata()


def record(out, stem):
    subject = stem.split("_")[0]
    return json.loads((out / subject / "figures" / f"{stem}_desc-qsm_record.json").read_text())


def test_the_map_shows_the_nuclei_as_they_are(finished):
    assert finished.code == 0
    for run in (1, 2):
        head = mini_head(run)
        anat = finished.out / "sub-01" / "anat"
        chi = voxels(anat / f"sub-01_run-{run}_Chimap.nii.gz")
        mask = voxels(anat / f"sub-01_run-{run}_desc-qsm_mask.nii.gz") > 0
        assert np.all(chi[~mask] == 0)
        assert abs(chi[mask].mean()) < 1e-6
        tissue = mask & (head.nuclei == 0)
        found = [chi[head.nuclei == label].mean() - chi[tissue].mean() for label in (1, 2, 3)]
        assert 0 < found[0] < found[1] < found[2]
        # three nuclei of 0.05, 0.10 and 0.15 ppm, eight voxels across
        assert np.polyfit([0.05, 0.10, 0.15], found, 1)[0] == pytest.approx(1, abs=0.3)


def test_relaxation_and_field_have_their_units(finished):
    head = mini_head(1).head
    anat, fmap = finished.out / "sub-01" / "anat", finished.out / "sub-01" / "fmap"
    r2star = voxels(anat / "sub-01_run-1_R2starmap.nii.gz")
    assert np.median(r2star[head & (r2star > 0)]) == pytest.approx(20, rel=0.05)
    assert json.loads((anat / "sub-01_run-1_R2starmap.json").read_text())["Units"] == "1/s"
    field = json.loads((fmap / "sub-01_run-1_desc-total_fieldmap.json").read_text())
    assert field["Units"] == "Hz"
    assert "bids:raw:sub-01/anat/sub-01_run-1_echo-1_part-phase_MEGRE.nii.gz" in field["Sources"]


def test_the_output_is_valid_bids(finished):
    assert find_issues(finished.out, config=None) == []


def test_a_reader_of_the_derivative_finds_results_and_no_intermediate_files(finished):
    from bids.layout import BIDSLayout

    layout = BIDSLayout(finished.raw, validate=False, derivatives=finished.out)
    images = layout.get(scope="derivatives", extension=[".nii", ".nii.gz"], return_type="filename")
    # the volumes of the report lie in figures
    assert {Path(image).relative_to(finished.out).parts[1] for image in images} == {"anat", "fmap", "figures"}
    chi = layout.get(scope="derivatives", suffix="Chimap", extension=".nii.gz", run=1, desc=None)
    assert [image.filename for image in chi] == ["sub-01_run-1_Chimap.nii.gz"]


def test_the_work_folder_of_an_earlier_version_is_used_on(tmp_path):
    request = Request(tmp_path / "raw", tmp_path / "out", load_settings({}))
    assert request.work_dir == tmp_path / "out" / ".work"
    (tmp_path / "out" / "work").mkdir(parents=True)
    assert request.work_dir == tmp_path / "out" / "work"


def test_the_record_tells_what_was_done(finished):
    told = record(finished.out, "sub-01_run-1")
    assert told["status"] == "done"
    assert told["errors"] == []
    assert told["settings"]["two_pass"] is False
    assert told["command"].startswith("qsmxt ")
    assert told["inputs"]["echo_times"] == [0.005, 0.012, 0.02]
    assert told["inputs"]["files"][0].startswith("sub-01/anat/")
    assert set(told["timings"]) == set(told["memory_mb"])
    assert told["inversion"]["iterations"] == told["inversion"]["history"]["iteration"][-1]
    assert told["mask"]["volume_ml"] == pytest.approx(mini_head(1).head.sum() * 0.064, rel=0.15)
    assert all((finished.out / path).is_file() for path in told["outputs"].values())
    assert (finished.out / "sub-01.html").is_file()


def test_no_step_uses_more_memory_than_it_declares(finished):
    used = record(finished.out, "sub-01_run-1")["memory_mb"]
    voxels_of_scan = int(np.prod(SHAPE))
    for step, megabytes in used.items():
        assert megabytes / 1000 < memory_gb(step, voxels_of_scan, 3), step


def test_the_written_settings_repeat_the_run(finished):
    written = next((finished.out / "logs").glob("*/config.toml"))
    assert load_settings({"config": str(written)}).two_pass is False


def test_nothing_is_computed_twice(finished):
    assert finished.again("--no-two-pass") == 0
    assert finished.nodes_run() <= {"report"}  # which shows the command line
    page = finished.out / "sub-01.html"
    before = page.stat().st_mtime_ns
    assert finished.again("--no-two-pass") == 0
    assert finished.nodes_run() == set()
    assert page.stat().st_mtime_ns == before
    assert record(finished.out, "sub-01_run-1")["quality"]
    page.unlink()
    assert finished.again("--no-two-pass") == 0
    assert finished.nodes_run() == {"report"}
    assert page.exists()


def test_a_changed_setting_repeats_only_what_depends_on_it(finished):
    chi = finished.out / "sub-01" / "anat" / "sub-01_run-1_Chimap.nii.gz"
    before = voxels(chi)
    assert finished.again("--no-two-pass", "--reference", "none") == 0
    assert finished.nodes_run() == {"combine", "derivatives", "report"}
    assert json.loads(chi.with_name("sub-01_run-1_Chimap.json").read_text())["Reference"] == "none"
    assert finished.again("--no-two-pass") == 0
    assert finished.nodes_run() == {"combine", "derivatives", "report"}
    assert np.array_equal(voxels(chi), before)


def test_a_map_that_this_run_did_not_write_is_named(finished):
    assert finished.again("--no-two-pass", "--no-swi") == 0
    told = record(finished.out, "sub-01_run-1")
    assert set(told["stale"]) == {f"sub-01/anat/sub-01_run-1_{kind}.nii.gz" for kind in ("swi", "minIP")}
    assert finished.again("--no-two-pass") == 0
    assert record(finished.out, "sub-01_run-1")["stale"] == []


def test_the_preset_is_chosen_for_each_scan(finished, capsys):
    sidecars = [
        finished.raw / "sub-01" / "anat" / f"sub-01_run-{run}_echo-1_part-phase_MEGRE.json" for run in (1, 2)
    ]
    before = [sidecar.read_text() for sidecar in sidecars]
    for sidecar, text, part in zip(sidecars, before, ("HEAD", "LIVER"), strict=True):
        sidecar.write_text(json.dumps(json.loads(text) | {"BodyPartExamined": part}))
    try:
        assert finished.again("--preset", "auto", "--dry-run") == 0
        assert "preset body: BodyPartExamined LIVER" in capsys.readouterr().out
        assert finished.again("--preset", "auto", "--no-two-pass", "--segmentation", "none") == 0
        chosen = [record(finished.out, f"sub-01_run-{run}") for run in (1, 2)]
        assert [told["settings"]["preset"] for told in chosen] == ["gre", "body"]
        assert chosen[1]["settings"]["mask_components"] == 5
        assert "LIVER" in chosen[1]["preset"]["reason"]
        assert "chosen because: BodyPartExamined LIVER" in (finished.out / "sub-01.html").read_text()
    finally:
        for sidecar, text in zip(sidecars, before, strict=True):
            sidecar.write_text(text)
        assert finished.again("--no-two-pass") == 0


def test_a_lost_output_is_written_again(finished):
    lost = finished.out / "sub-01" / "anat" / "sub-01_run-2_Chimap.nii.gz"
    before = lost.read_bytes()
    lost.unlink()
    assert finished.again("--no-two-pass") == 0
    assert finished.nodes_run() == {"derivatives", "report"}
    assert lost.read_bytes() == before


def test_dry_run_writes_nothing(finished, tmp_path, capsys):
    assert main([str(finished.raw), str(tmp_path / "out"), "participant", "--dry-run"]) == 0
    assert not (tmp_path / "out").exists()
    assert "sub-01 run-2 MEGRE (3 echoes)" in capsys.readouterr().out


def test_reports_only_reads_finished_outputs(finished):
    page = finished.out / "sub-01.html"
    page.unlink()
    assert finished.again("--reports-only") == 0
    assert finished.nodes_run() == {"report"}
    assert "run 2" in page.read_text(encoding="utf-8").lower()


def test_a_participant_that_does_not_exist_is_18(finished, capsys):
    assert finished.again("--participant-label", "07") == 18
    assert "sub-01" in capsys.readouterr().err


def test_a_run_that_does_not_exist_is_18(finished):
    assert finished.again("--run-label", "9") == 18


def test_two_runs_at_once(finished, capsys):
    with participant_lock(finished.out, "01"):
        assert finished.again() == 73
    error = capsys.readouterr().err
    assert "in use by process" in error
    assert "last active" in error


def test_output_that_cannot_be_created_is_73(finished, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    code = main([str(finished.raw), str(tmp_path / "file" / "out"), "participant", "--skip-bids-validation"])
    assert code == 73
    assert capsys.readouterr().err.count("\n") == 1


def test_a_work_folder_in_the_raw_data_is_64(finished, tmp_path):
    arguments = [str(finished.raw), str(tmp_path / "out"), "participant", "--skip-bids-validation"]
    assert main([*arguments, "-w", str(finished.raw / "work")]) == 64
    assert not (finished.raw / "work").exists()


def test_invalid_bids_is_16(finished, tmp_path, capsys):
    raw = tmp_path / "raw"
    shutil.copytree(finished.raw, raw)
    (raw / "sub-01" / "anat" / "notes.txt").write_text("not BIDS")
    assert main([str(raw), str(tmp_path / "out"), "participant"]) == 16
    assert "notes.txt" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def image(raw, subject, part="phase", echo=2):
    return raw / f"sub-{subject}" / "anat" / f"sub-{subject}_echo-{echo}_part-{part}_MEGRE.nii.gz"


def with_voxels(path, change):
    loaded = nib.load(path)
    nib.Nifti1Image(change(loaded.get_fdata(dtype=np.float32)), loaded.affine).to_filename(path)


def put_nan(array):
    array[20, 23, 17] = np.nan
    return array


def remove_phase(raw):
    for path in (raw / "sub-nophase" / "anat").glob("*part-phase*"):
        path.unlink()


def wrong_echo_time(raw):
    sidecar = image(raw, "echotime").with_name("sub-echotime_echo-2_part-phase_MEGRE.json")
    sidecar.write_text(json.dumps(json.loads(sidecar.read_text()) | {"EchoTime": 0.5}))


def truncate(raw):
    path = image(raw, "truncated")
    path.write_bytes(path.read_bytes()[:20000])


BROKEN = {
    "nan": (lambda raw: with_voxels(image(raw, "nan"), put_nan), "NaN"),
    "zero": (lambda raw: with_voxels(image(raw, "zero", "mag"), np.zeros_like), "every voxel is 0"),
    "shape": (lambda raw: with_voxels(image(raw, "shape"), lambda array: array[:-1]), "shape"),
    "echo": (lambda raw: image(raw, "echo").unlink(), "echo"),
    "nophase": (remove_phase, "phase"),
    "echotime": (wrong_echo_time, "EchoTime"),
    "truncated": (truncate, "truncated"),
}


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """One good participant among all that are broken, and the code and the words of the run."""
    folder = tmp_path_factory.mktemp("broken")
    raw = write_mini_dataset(folder / "raw", ("good", *BROKEN))
    for spoil, _ in BROKEN.values():
        spoil(raw)
    arguments = [str(raw), str(folder / "out"), "participant", "--skip-bids-validation", "--no-two-pass"]
    return arguments, folder / "out", main(arguments)


def test_the_good_participant_is_finished_and_the_run_says_that_something_failed(broken):
    _, out, code = broken
    assert code == 1
    assert (out / "sub-good" / "anat" / "sub-good_Chimap.nii.gz").is_file()
    assert record(out, "sub-good")["status"] == "done"


@pytest.mark.parametrize("subject", BROKEN)
def test_broken_data_are_65_with_a_message_a_record_and_a_report(broken, capsys, subject):
    arguments, out, _ = broken
    told = record(out, f"sub-{subject}")
    assert told["status"] == "failed"
    assert BROKEN[subject][1] in told["errors"][0]["message"]
    assert (out / told["errors"][0]["log"]).is_file()
    assert (out / f"sub-{subject}.html").is_file()
    assert not list((out / f"sub-{subject}").rglob("*_Chimap.nii.gz"))
    assert main([*arguments, "--participant-label", subject]) == 65
    error = capsys.readouterr().err
    assert BROKEN[subject][1] in error
    assert "qsmxt.log" in error
    assert "Traceback" not in error


def test_an_empty_mask_is_65(broken, capsys):
    arguments, out, _ = broken
    extra = ["--participant-label", "good", "--mask-threshold", "fixed", "--mask-threshold-value", "99"]
    assert main([*arguments, *extra]) == 65
    assert "mask is empty" in capsys.readouterr().err
    told = record(out, "sub-good")
    assert told["errors"][0]["step"] == "masks"
    # the maps of the run before are still there, and must not be taken for this one's
    assert "sub-good/anat/sub-good_Chimap.nii.gz" in told["stale"]
    assert any("sub-good_Chimap.nii.gz" in warning for warning in told["warnings"])


def test_single_echo_takes_the_same_road_and_is_called_qualitative(tmp_path, capsys):
    raw = write_mini_dataset(tmp_path / "raw", echoes=1)
    out = tmp_path / "out"
    assert main([str(raw), str(out), "participant", "--skip-bids-validation"]) == 0
    head = mini_head(0)
    chi = voxels(out / "sub-01" / "anat" / "sub-01_Chimap.nii.gz")
    assert chi[head.nuclei == 3].mean() > chi[head.nuclei == 1].mean() > 0
    assert "relaxation" not in record(out, "sub-01")["timings"]
    assert "only one echo: the map is qualitative" in "".join(capsys.readouterr())


def test_a_given_mask_is_used(finished, tmp_path):
    head = mini_head(1).head
    affine = nib.load(next((finished.raw / "sub-01" / "anat").glob("*.nii.gz"))).affine
    nib.Nifti1Image(head.astype(np.uint8), affine).to_filename(tmp_path / "mask.nii.gz")
    arguments = [str(finished.raw), str(tmp_path / "out"), "participant", "--skip-bids-validation"]
    arguments += ["--no-two-pass", "--run-label", "1", "--mask", str(tmp_path / "mask.nii.gz")]
    assert main(arguments) == 0
    used = voxels(tmp_path / "out" / "sub-01" / "anat" / "sub-01_run-1_desc-qsm_mask.nii.gz")
    # all of it where the field is known: its rim shares voxels with the outside
    assert not (used[~head] > 0).any()
    assert (used[head] > 0).mean() > 0.97

    with gzip.open(tmp_path / "mask.nii.gz", "wb") as stream:
        stream.write(nib.Nifti1Image(np.ones((9, 9, 9), np.uint8), affine).to_bytes())
    assert main(arguments) == 65
