"""Kinds of raw data that people have: what each is taken for."""

import json
import shutil
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from raw_dataset import ECHO_TIMES, write_image

from qsmxt_app.bids.acquisition_images import load_acquisition
from qsmxt_app.bids.dataset import find_acquisitions, open_dataset
from qsmxt_app.bids.selection import Selection, echo_numbers
from qsmxt_app.errors import NoInput, NothingSelected, WrongUsage
from qsmxt_app.settings import Settings
from qsmxt_app.workflows.plan import plan_scan


def _find(raw, **selection):
    return find_acquisitions(open_dataset(raw.root), Selection(**selection))


def _second_magnitude(raw, label, of="sub-01"):
    for number in (1, 2, 3):
        for extension in ("nii.gz", "json"):
            path = raw.file(f"{of}_echo-{number}_part-mag_MEGRE.{extension}")
            shutil.copy(path, path.with_name(path.name.replace("_echo", f"_rec-{label}_echo")))


def test_a_second_magnitude_without_phase_is_left_out_with_a_word(raw):
    _second_magnitude(raw, "norm")
    found = _find(raw)
    assert [scan.stem for scan in found.acquisitions] == ["sub-01", "sub-02"]
    assert found.problems == ()
    assert "rec-norm_echo-1_part-mag_MEGRE.nii.gz: a second magnitude, without phase" in found.notes[0]
    assert found.acquisitions[0].echoes[0].magnitude.name == "sub-01_echo-1_part-mag_MEGRE.nii.gz"


def test_rec_label_chooses_the_magnitude(raw):
    _second_magnitude(raw, "norm")
    found = _find(raw, participants=["01"], reconstructions=["rec-norm"])
    (scan,) = found.acquisitions
    assert scan.stem == "sub-01"
    assert scan.echoes[2].magnitude.name == "sub-01_rec-norm_echo-3_part-mag_MEGRE.nii.gz"
    assert scan.echoes[2].phase.name == "sub-01_echo-3_part-phase_MEGRE.nii.gz"
    assert found.problems == ()
    with pytest.raises(NothingSelected):
        _find(raw, participants=["01"], reconstructions=["other"])


def test_rec_label_chooses_among_several_magnitudes(raw):
    for label in ("norm", "smooth"):
        _second_magnitude(raw, label)
    (scan,) = _find(raw, participants=["01"], reconstructions=["smooth"]).acquisitions
    assert {echo.magnitude.name.split("_")[1] for echo in scan.echoes} == {"rec-smooth"}


def test_the_only_magnitude_goes_with_the_phase_whatever_its_rec(raw):
    _second_magnitude(raw, "norm")
    for path in (raw.root / "sub-01").rglob("sub-01_echo-*_part-mag*"):
        path.unlink()
    found = _find(raw)
    assert [scan.stem for scan in found.acquisitions] == ["sub-01", "sub-02"]
    assert "rec-norm" in found.acquisitions[0].echoes[0].magnitude.name
    assert "used with the phase of sub-01_echo-1_part-phase" in found.notes[0]


def test_two_reconstructions_with_phase_are_two_scans(empty_dataset):
    empty_dataset.megre("sub-01_rec-a")
    empty_dataset.megre("sub-01_rec-b")
    assert [scan.stem for scan in _find(empty_dataset).acquisitions] == ["sub-01_rec-a", "sub-01_rec-b"]
    assert [scan.stem for scan in _find(empty_dataset, reconstructions=["b"]).acquisitions] == [
        "sub-01_rec-b"
    ]


@pytest.mark.parametrize("suffix", ["MEGRE", "MPM", "VFA", "GRE"])
@pytest.mark.parametrize("stem", ["sub-01", "sub-01_acq-PDw_flip-1_mt-off"])
def test_gradient_echoes_are_used_by_their_meaning(empty_dataset, suffix, stem):
    for number in (1, 2, 3):
        empty_dataset.echo(stem, number, suffix)
    (scan,) = _find(empty_dataset).acquisitions
    assert (scan.suffix, scan.stem, scan.echo_times) == (suffix, stem, ECHO_TIMES)


def test_the_swi_folder_of_drafts_is_read(empty_dataset):
    for number in (1, 2, 3):
        empty_dataset.echo("sub-01", number, "GRE")
    anat = empty_dataset.root / "sub-01" / "anat"
    anat.rename(anat.with_name("swi"))
    (scan,) = _find(empty_dataset).acquisitions
    assert scan.echo_times == ECHO_TIMES


def test_weighted_images_of_a_parameter_map_without_phase_are_no_failed_scans(raw):
    raw.echo("sub-01_acq-T1w_flip-2_mt-off", 1, "MPM")
    raw.file("sub-01_acq-T1w_flip-2_mt-off_echo-1_part-phase_MPM.nii.gz").unlink()
    found = _find(raw)
    assert (len(found.acquisitions), found.problems) == (2, ())
    assert "MPM.nii.gz: no phase; left out" in found.notes[0]


@pytest.mark.parametrize(
    ("texts", "numbers"), [(["1-3"], {1, 2, 3}), (["1", "3"], {1, 3}), (["1,4-5"], {1, 4, 5}), ([], set())]
)
def test_numbers_of_echoes(texts, numbers):
    assert echo_numbers(texts) == numbers


@pytest.mark.parametrize("text", ["0", "3-1", "a", "1-", "-2", "1-99999999"])
def test_what_is_no_echo(text):
    with pytest.raises(WrongUsage, match="--echoes"):
        echo_numbers([text])


def test_echoes_are_selected_by_their_numbers(raw):
    raw.metadata("sub-01_echo-1_part-phase_MEGRE.json", ReadoutPolarity="bipolar")
    raw.metadata("sub-02_echo-1_part-phase_MEGRE.json", ReadoutPolarity="bipolar")
    first, second = _find(raw, echoes=frozenset({1, 3})).acquisitions
    assert first.echo_times == second.echo_times == (ECHO_TIMES[0], ECHO_TIMES[2])
    # all read in one direction
    assert first.bipolar is False
    (scan,) = _find(raw, participants=["01"], echoes=frozenset({1, 2, 7})).acquisitions
    assert (scan.echo_times, scan.bipolar) == (ECHO_TIMES[:2], True)


def test_echoes_of_one_file_are_selected_too(empty_dataset):
    voxels = np.random.default_rng(3).uniform(0.1, 3, (4, 4, 4, 3)).astype(np.float32)
    common = {"MagneticFieldStrength": 3, "EchoTime": list(ECHO_TIMES), "Units": "rad"}
    for part in ("mag", "phase"):
        write_image(
            empty_dataset.file(f"sub-01_part-{part}_MEGRE.nii.gz"), voxels + (part == "mag"), **common
        )
    (scan,) = _find(empty_dataset, echoes=frozenset({2, 3})).acquisitions
    assert scan.echo_times == ECHO_TIMES[1:]
    np.testing.assert_array_equal(load_acquisition(scan).magnitude, voxels[..., 1:] + 1)
    (problem,) = _find(empty_dataset, echoes=frozenset({9})).problems
    assert "none of those that --echoes selects" in problem.message


def test_sidecars_with_a_byte_order_mark_are_read(raw):
    for path in (raw.root / "sub-01").rglob("*.json"):
        text = json.dumps(json.loads(path.read_text()), indent=1).replace("\n", "\r\n")
        path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    found = _find(raw)
    assert (len(found.acquisitions), found.problems) == (2, ())


def _rename(raw, old, new):
    for path in sorted(raw.root.rglob(f"*{old}*"), key=lambda path: -len(path.parts)):
        path.rename(path.with_name(path.name.replace(old, new)))


def test_a_participant_with_a_label_that_is_none_is_named(raw):
    _rename(raw, "sub-01", "sub-HC_07")
    found = _find(raw)
    assert [scan.stem for scan in found.acquisitions] == ["sub-02"]
    assert "sub-HC_07: a BIDS label has only letters and digits; rename it and its files, " in found.notes[0]
    assert "for example to sub-HC07" in found.notes[0]
    shutil.rmtree(raw.root / "sub-02")
    with pytest.raises(NoInput, match="for example to sub-HC07"):
        _find(raw)


def test_a_session_with_a_label_that_is_none_is_named(raw):
    raw.megre("sub-03_ses-2023")
    _rename(raw, "ses-2023", "ses-2023-01-02")
    found = _find(raw)
    (problem,) = found.problems
    assert (problem.subject, problem.exit_code) == ("03", 65)
    assert "ses-2023-01-02: a BIDS label has only letters and digits" in problem.message
    assert [scan.stem for scan in found.acquisitions] == ["sub-01", "sub-02"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("sub-01_acq-high-res", "not a BIDS file name"),
        ("sub-01_acq-a_b", "not a BIDS file name"),
        ("sub-02", "the name of another participant"),
    ],
)
def test_images_with_names_that_are_none_are_named(raw, wrong, said):
    raw.megre("sub-01_acq-x")
    for path in (raw.root / "sub-01" / "anat").glob("sub-01_acq-x*"):
        path.rename(path.with_name(path.name.replace("sub-01_acq-x", wrong)))
    found = _find(raw)
    assert [scan.stem for scan in found.acquisitions] == ["sub-01", "sub-02"]
    # one line for all of them
    (note,) = found.notes
    assert said in note
    assert "(and 5 more)" in note


def test_headers_without_orientation_are_known_as_such(raw):
    for path in (raw.root / "sub-01").rglob("*.nii.gz"):
        image = nib.load(path)
        plain = nib.nifti1.Nifti1Image(np.asarray(image.dataobj), None)
        plain.header.set_zooms(image.header.get_zooms())
        nib.save(plain, path)
    first, second = _find(raw).acquisitions
    assert (first.oriented, second.oriented) == (False, True)
    assert "left and right are not known" in first.warnings[0]


def _coil_images(coils=4, size=16):
    """Four coils with sensitivities and phases of their own, whose sum is a field of 20 Hz along x.

    Magnitude and phase (x, y, z, echo, coil), and the phase's rate (x, y, z) in rad/s.
    """
    grid = np.meshgrid(*[np.linspace(-1, 1, size)] * 3, indexing="ij")
    shape = (*grid[0].shape, len(ECHO_TIMES), coils)
    images = {part: np.empty(shape, np.float32) for part in ("mag", "phase")}
    for coil in range(coils):
        images["mag"][..., coil] = 100 * (1.2 + (-1) ** coil * grid[coil // 2])[..., None]
        for echo, time in enumerate(ECHO_TIMES):
            phase = 2 * np.pi * 20 * grid[0] * time + 1.9 * coil + 0.4 * coil * grid[1]
            images["phase"][..., echo, coil] = np.angle(np.exp(1j * phase))
    return images, 2 * np.pi * 20 * grid[0]


def _split_into_coils(raw, coils=4, size=16):
    images, rate = _coil_images(coils, size)
    for echo, time in enumerate(ECHO_TIMES):
        for coil in range(coils):
            for part, voxels in images.items():
                stem = f"sub-01_rec-uncombined_coil-0{coil + 1}_echo-{echo + 1}_part-{part}_MEGRE"
                common = {"EchoTime": time, "MagneticFieldStrength": 3.0, "Units": "rad"}
                write_image(raw.file(f"{stem}.nii.gz"), voxels[..., echo, coil], **common)
    return rate


def _assert_combined(scan, rate):
    assert (scan.echo_times, len(scan.coils)) == (ECHO_TIMES, 4)
    images = load_acquisition(scan)
    assert "4 coils combined" in images.phase_scaling
    inside = (slice(3, -3),) * 3
    for echo, time in enumerate(ECHO_TIMES):
        error = np.angle(np.exp(1j * (images.phase[..., echo] - rate * time)))[inside]
        assert np.abs(error - np.median(error)).max() < 0.1
    assert images.magnitude.min() > 100


def test_uncombined_coils_are_one_scan_and_combined_in_the_complex_domain(empty_dataset):
    rate = _split_into_coils(empty_dataset)
    (scan,) = _find(empty_dataset).acquisitions
    assert scan.stem == "sub-01_rec-uncombined"
    assert len(scan.files) == 24
    _assert_combined(scan, rate)


# for each kind: what sidecars say, whether the reading is a guess, and files of (x, y, z, echo, coil)
SEVERAL_COILS = {
    "a file an echo": (
        {"CoilCombinationMethod": "None"}, False,
        lambda all_: {f"sub-01_echo-{n}": (all_[..., n - 1, :], t) for n, t in enumerate(ECHO_TIMES, 1)},
    ),
    "a file an echo, coils along the fifth axis": (
        {}, True,
        lambda all_: {f"sub-01_echo-{n}": (all_[..., [n - 1], :], t) for n, t in enumerate(ECHO_TIMES, 1)},
    ),
    "the name tells": (
        {}, False,
        lambda all_: {
            f"sub-01_rec-uncombined_echo-{n}": (all_[..., n - 1, :], t) for n, t in enumerate(ECHO_TIMES, 1)
        },
    ),
    "echoes, then coils": ({}, True, lambda all_: {"sub-01": (all_, ECHO_TIMES)}),
    "coils, then echoes": ({}, True, lambda all_: {"sub-01": (np.swapaxes(all_, 3, 4), ECHO_TIMES)}),
    "echoes of one coil a file": (
        {}, False, lambda all_: {f"sub-01_coil-{n}": (all_[..., n - 1], ECHO_TIMES) for n in (1, 2, 3, 4)},
    ),
    "a single volume behind the echoes": (
        {}, False,
        lambda all_: {f"sub-01_coil-{n}": (all_[..., [n - 1]], ECHO_TIMES) for n in (1, 2, 3, 4)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", SEVERAL_COILS)
def test_uncombined_coils_in_files_of_several_volumes_are_combined(empty_dataset, kind):
    sidecar, guessed, files = SEVERAL_COILS[kind]
    images, rate = _coil_images()
    for part, voxels in images.items():
        for stem, (image, times) in files(voxels).items():
            path = empty_dataset.file(f"{stem}_part-{part}_MEGRE.nii.gz")
            write_image(path, image, EchoTime=times, MagneticFieldStrength=3.0, Units="rad", **sidecar)
    (scan,) = _find(empty_dataset).acquisitions
    assert any("fifth axis" in text for text in scan.warnings) == guessed
    _assert_combined(scan, rate)


def test_as_many_echoes_as_coils_in_one_file_are_not_told_apart(empty_dataset):
    images, _ = _coil_images(3, 8)
    for part, voxels in images.items():
        path = empty_dataset.file(f"sub-01_part-{part}_MEGRE.nii.gz")
        write_image(path, voxels, EchoTime=ECHO_TIMES, MagneticFieldStrength=3.0, Units="rad")
    (problem,) = _find(empty_dataset).problems
    assert "echoes and coils cannot be told apart" in problem.message
    assert "coil-" in problem.hint


def test_coils_that_share_files_need_memory(empty_dataset):
    images, _ = _coil_images()
    for part, voxels in images.items():
        path = empty_dataset.file(f"sub-01_part-{part}_MEGRE.nii.gz")
        write_image(path, voxels, EchoTime=ECHO_TIMES, MagneticFieldStrength=3.0, Units="rad")
    (scan,) = _find(empty_dataset).acquisitions
    apart = replace(scan, coils=(), echoes=tuple(replace(echo, index=echo.index[:1]) for echo in scan.echoes))
    needs = [
        next(step.memory_gb for step in plan_scan(one, Settings()).maps if step.name == "prepare")
        for one in (apart, scan)
    ]
    # magnitude and phase of all volumes as float32, at least
    assert needs[1] - needs[0] >= 2 * 4 * images["mag"].size / 1e9


def test_coils_that_disagree_are_no_scan(empty_dataset):
    _split_into_coils(empty_dataset, size=8)
    for part in ("mag", "phase"):
        name = f"sub-01_rec-uncombined_coil-03_echo-2_part-{part}_MEGRE.json"
        empty_dataset.metadata(name, EchoTime=0.0085)
    (problem,) = _find(empty_dataset).problems
    assert "coil-03" in problem.message
    assert "other echo times" in problem.message
