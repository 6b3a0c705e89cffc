"""What series are, and how they join: all vendors' header styles, split in all ways."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_writer import (
    VENDORS,
    DicomSeries,
    Vendor,
    duplicate,
    echoes,
    gradient_echo,
    localiser,
    phase_difference,
    straight_affine,
    t1w,
    volume,
    write_all,
    write_series,
)
from sorting import images_of, review_rows, sort_folder, sort_written

from qsmxt_app.convert.table import read_table

SHAPE = (8, 6, 5)
TIMES = (0.004, 0.0081, 0.0122)
MAGNITUDE, PHASE = echoes(SHAPE, TIMES)
PAIRS = [("MEGRE", "magnitude", e + 1, round(1000 * TIMES[e], 3)) for e in range(3)] + [
    ("MEGRE", "phase", e + 1, round(1000 * TIMES[e], 3)) for e in range(3)
]


def scan(vendor: Vendor = "siemens", **options: object) -> list[DicomSeries]:
    return gradient_echo(vendor, MAGNITUDE, PHASE, TIMES, **options)


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize("split", ["none", "parts", "echoes", "both"])
def test_magnitude_and_phase_of_all_echoes_join_however_they_are_split(
    tmp_path: Path, vendor: Vendor, split: str
) -> None:
    (acquisition,) = sort_written(tmp_path, *scan(vendor, split=split)).grouped.plan
    assert images_of(acquisition) == PAIRS
    assert acquisition.datatype == "anat"


@pytest.mark.parametrize("vendor", ["ge", "siemens", "philips"])
def test_real_and_imaginary_join(tmp_path: Path, vendor: Vendor) -> None:
    series = scan(vendor, components=("real", "imaginary"), split="parts")
    (acquisition,) = sort_written(tmp_path, *series).grouped.plan
    assert {image[1] for image in images_of(acquisition)} == {"real", "imaginary"}
    assert len(acquisition.members) == 6


def test_real_and_imaginary_are_not_used_beside_phase(tmp_path: Path) -> None:
    series = scan("ge", components=("magnitude", "phase", "real", "imaginary"), split="parts")
    ready = sort_written(tmp_path, *series)
    (acquisition,) = ready.grouped.plan
    assert images_of(acquisition) == PAIRS
    assert sorted(ready.without.values()) == [
        "imaginary: magnitude and phase exist",
        "real: magnitude and phase exist",
    ]


def test_one_echo_is_t2starw_and_has_no_echo_number(tmp_path: Path) -> None:
    series = gradient_echo("siemens", MAGNITUDE[..., :1], PHASE[..., :1], (0.02,))
    (acquisition,) = sort_written(tmp_path, *series).grouped.plan
    assert images_of(acquisition) == [("T2starw", "magnitude", None, 20.0), ("T2starw", "phase", None, 20.0)]


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_phase_difference_never_becomes_the_phase_of_an_echo(tmp_path: Path, vendor: Vendor) -> None:
    """Also where no word of the header says so: one phase image beside two magnitudes."""
    plain = {"description": "scan", "protocol": "scan", "sequence": "gre"}
    for name, options in (("named", {}), ("nameless", plain)):
        series = phase_difference(vendor, MAGNITUDE, PHASE, TIMES[:2], **options)
        (acquisition,) = sort_written(tmp_path / name, *series).grouped.plan
        assert [image[:2] for image in images_of(acquisition)] == [
            ("magnitude1", "magnitude"),
            ("magnitude2", "magnitude"),
            ("phasediff", "phasediff"),
        ]
        assert acquisition.datatype == "fmap"


def test_a_phase_difference_in_the_series_of_its_magnitudes(tmp_path: Path) -> None:
    both, difference = phase_difference(
        "philips", MAGNITUDE, PHASE, TIMES[:2], sequence="gre", description="b0"
    )
    one = replace(both, volumes=both.volumes + difference.volumes)
    ready = sort_written(tmp_path, one)
    (acquisition,) = ready.grouped.plan
    assert [image[0] for image in images_of(acquisition)] == ["magnitude1", "magnitude2", "phasediff"]


def test_per_echo_phase_beside_a_field_map_of_the_same_person(tmp_path: Path) -> None:
    ready = sort_written(
        tmp_path,
        *scan(number=3),
        *phase_difference("siemens", MAGNITUDE, PHASE, TIMES[:2], number=20, time="103000.0"),
    )
    suffixes = [{image[0] for image in images_of(acquisition)} for acquisition in ready.grouped.plan]
    assert suffixes == [{"MEGRE"}, {"magnitude1", "magnitude2", "phasediff"}]


def test_a_map_in_hertz_goes_with_its_magnitude(tmp_path: Path) -> None:
    values = np.clip(MAGNITUDE[..., 0], 0, 4000)
    volumes = (volume("philips", "magnitude", values), volume("philips", "b0map", values))
    (acquisition,) = sort_written(tmp_path, DicomSeries("philips", volumes)).grouped.plan
    assert [image[:2] for image in images_of(acquisition)] == [
        ("fieldmap", "b0map"),
        ("magnitude", "magnitude"),
    ]


def test_a_field_map_of_ge_is_told_from_its_magnitude_by_order(tmp_path: Path) -> None:
    values = MAGNITUDE[..., 0]
    volumes = (volume("ge", "magnitude", values - 500), volume("ge", "magnitude", values))
    series = DicomSeries("ge", volumes, description="fmap", extra={"PulseSequenceName": "B0map"})
    (acquisition,) = sort_written(tmp_path, series).grouped.plan
    assert [(m.suffix, m.stack.files[0].name) for m in acquisition.members] == [
        ("fieldmap", "0001_0001.dcm"),
        ("magnitude", "0001_0006.dcm"),
    ]


def test_two_runs_never_share_an_image(tmp_path: Path) -> None:
    """Magnitudes and phases in an order in which the nearest series number is the wrong one."""
    first = scan(number=2, time="100000.0")
    second = scan(number=3, time="100800.0")
    numbers = {0: 2, 1: 9, 2: 3, 3: 8}
    series = [replace(s, number=numbers[i], series=f"s{i}") for i, s in enumerate([*first, *second])]
    plan = sort_written(tmp_path, *series).grouped.plan
    assert [images_of(one) for one in plan] == [PAIRS, PAIRS]
    assert [sorted({m.series.number for m in one.members}) for one in plan] == [[2, 9], [3, 8]]
    files = [path for one in plan for m in one.members for path in m.stack.files]
    assert len(files) == len(set(files))
    assert len({one.key for one in plan}) == 2


def test_repetitions_within_a_series_become_acquisitions_of_their_own(tmp_path: Path) -> None:
    (one,) = scan("philips", split="none")
    folder = tmp_path / "in"
    write_series(folder, one)
    again = replace(one, time="101900.0")
    import pydicom

    for index, path in enumerate(write_series(tmp_path / "again", again)):
        dataset = pydicom.dcmread(path)
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{index}"
        dataset.TemporalPositionIdentifier = 2
        dataset.InstanceNumber += 1000
        dataset.PixelData = bytes(len(dataset.PixelData))
        dataset.save_as(folder / f"again{index}")
    ready = sort_folder(folder, tmp_path / "out")
    assert [images_of(acquisition) for acquisition in ready.grouped.plan] == [PAIRS, PAIRS]
    assert not any(one.incomplete for one in ready.series)


def test_normalised_and_plain_magnitudes_are_told_apart_and_phase_goes_once(tmp_path: Path) -> None:
    magnitude, phase = scan(number=4)
    plain = replace(magnitude, series="plain", number=3, image_type=("ORIGINAL", "PRIMARY", "M", "ND"))
    plan = sort_written(tmp_path, magnitude, phase, plain).grouped.plan
    found = {one.reconstruction: images_of(one) for one in plan}
    assert found == {"ND": PAIRS, "NORM": PAIRS[:3]}


def test_different_protocols_and_places_do_not_join(tmp_path: Path) -> None:
    magnitude, phase = scan(number=4)
    elsewhere = replace(phase, affine=straight_affine((2, 2, 3), (5, 5, 5)), number=9, series="else")
    other = replace(phase, protocol="another", number=10, series="other")
    ready = sort_written(tmp_path, magnitude, elsewhere, other)
    assert [len(one.members) for one in ready.grouped.plan] == [3]
    assert list(ready.without.values()) == ["phase without magnitude"] * 2


def test_people_and_sessions_do_not_join(tmp_path: Path) -> None:
    magnitude, phase = scan(number=4)
    plan = sort_written(tmp_path, magnitude, replace(phase, patient_id="P002")).grouped.plan
    assert [(one.subject, len(one.members)) for one in plan] == [("P001", 3)]
    plan = sort_written(tmp_path / "later", magnitude, replace(phase, date="20240103")).grouped.plan
    assert [(one.session, len(one.members)) for one in plan] == [("01", 3)]


def test_channels_are_kept_apart(tmp_path: Path) -> None:
    coils = [f"H{n:02d}" for n in range(1, 33)]
    weights = np.linspace(0.5, 1, 32)
    series = gradient_echo(
        "siemens",
        MAGNITUDE[..., :2, None] * weights,
        PHASE[..., :2, None] + 0 * weights,
        TIMES[:2],
        coils=coils,
    )
    (acquisition,) = sort_written(tmp_path, *series).grouped.plan
    assert len(acquisition.members) == 2 * 2 * 32
    assert {m.stack.coil for m in acquisition.members} == set(coils)


def test_channels_in_series_of_their_own_join(tmp_path: Path) -> None:
    series = [
        replace(
            one,
            number=10 * c + i,
            series=f"{c}{i}",
            volumes=tuple(replace(v, coil=f"H{c}") for v in one.volumes),
        )
        for c in range(1, 5)
        for i, one in enumerate(scan())
    ]
    (acquisition,) = sort_written(tmp_path, *series).grouped.plan
    assert len(acquisition.members) == 4 * 6
    assert {m.stack.coil for m in acquisition.members} == {"H1", "H2", "H3", "H4"}


@pytest.mark.parametrize("vendor", VENDORS)
def test_t1w_and_localiser(tmp_path: Path, vendor: Vendor) -> None:
    values = MAGNITUDE[..., 0]
    ready = sort_written(tmp_path, t1w(vendor, values), localiser(vendor, values))
    (acquisition,) = ready.grouped.plan
    assert [image[:3] for image in images_of(acquisition)] == [("T1w", "magnitude", None)]
    assert {one.role for one in ready.types.values()} == {"T1w", "localiser"}


def test_derived_images_and_spin_echoes_are_left_out_with_a_reason(tmp_path: Path) -> None:
    values = MAGNITUDE[..., 0]
    swi = DicomSeries(
        "siemens", (volume("siemens", "magnitude", values),), number=7, description="SWI_Images",
        image_type=("ORIGINAL", "PRIMARY", "M", "ND", "SWI"),
    )  # fmt: skip
    mip = replace(swi, number=8, description="mIP", image_type=("DERIVED", "PRIMARY", "M", "ND", "MNIP"))
    t2w = replace(swi, number=9, description="t2w", sequence="spin-echo", image_type=None)
    ready = sort_written(tmp_path, swi, mip, t2w)
    assert not ready.grouped.plan
    rows = review_rows(tmp_path / "out")
    assert {name: row["role"] for name, row in rows.items()} == {
        "SWI_Images": "derived", "mIP": "derived", "t2w": "other"
    }  # fmt: skip
    assert all(row["status"] == "left out" and row["reason"] for row in rows.values())


def test_uni_of_mp2rage_is_unit1_and_its_inversions_are_not_t1w(tmp_path: Path) -> None:
    values = MAGNITUDE[..., 0]
    kinds = {"INV1": ("M", "ND"), "INV2": ("M", "ND", "NORM"), "UNI": ("M", "ND", "UNI")}
    series = [
        t1w(
            "siemens", values, description=f"mp2rage_{name}", protocol="mp2rage", number=n,
            image_type=("ORIGINAL" if name != "UNI" else "DERIVED", "PRIMARY", *words),
        )
        for n, (name, words) in enumerate(kinds.items(), 1)
    ]  # fmt: skip
    (acquisition,) = sort_written(tmp_path, *series).grouped.plan
    assert [m.suffix for m in acquisition.members] == ["UNIT1"]


def test_inversions_without_a_telling_name_beside_their_uni_are_no_t1w(tmp_path: Path) -> None:
    values = MAGNITUDE[..., 0]
    inversion = t1w("siemens", values, number=1, description="anat_INV1", protocol="anat")
    uni = t1w(
        "siemens", values, number=2, description="anat_UNI", protocol="anat",
        image_type=("DERIVED", "PRIMARY", "M", "ND", "UNI"),
    )  # fmt: skip
    (acquisition,) = sort_written(tmp_path, inversion, uni).grouped.plan
    assert [m.suffix for m in acquisition.members] == ["UNIT1"]


def test_a_name_alone_makes_no_t1w_of_a_magnitude_with_phase(tmp_path: Path) -> None:
    (acquisition,) = sort_written(tmp_path, *scan(description="t1_qsm", protocol="t1_qsm")).grouped.plan
    assert images_of(acquisition) == PAIRS
    one = gradient_echo(
        "siemens", MAGNITUDE[..., :1], PHASE[..., :1], (0.008,), description="t1w_3d", protocol="t1"
    )
    (acquisition,) = sort_written(tmp_path / "single", *one).grouped.plan
    assert [image[1] for image in images_of(acquisition)] == ["magnitude", "phase"]


@pytest.mark.parametrize("echo_planar", [True, False])
def test_time_series_are_left_out(tmp_path: Path, echo_planar: bool) -> None:
    import pydicom

    folder = tmp_path / "in"
    (one,) = gradient_echo("philips", MAGNITUDE[..., :1], PHASE[..., :1], (0.03,))
    for turn in range(9 if not echo_planar else 3):
        for path in write_series(folder / str(turn), one):
            dataset = pydicom.dcmread(path)
            dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = (
                f"1.2.{turn}.{dataset.InstanceNumber}"
            )
            dataset.TemporalPositionIdentifier = turn + 1
            dataset.ScanningSequence = ["EP", "GR"] if echo_planar else "GR"
            dataset.save_as(path)
    ready = sort_folder(folder, tmp_path / "out")
    assert not ready.grouped.plan
    assert "time series" in next(iter(ready.without.values()))


def test_magnitudes_alone(tmp_path: Path) -> None:
    """Several echoes or a long one are kept; one short echo (angiography, calibration) is not."""

    def plan(
        name: str, times: tuple[float, ...], split: str = "none"
    ) -> list[list[tuple[str, str, int | None, float]]]:
        magnitude, phase = echoes(SHAPE, times)
        series = gradient_echo("canon", magnitude, phase, times, components=("magnitude",), split=split)
        return [images_of(one) for one in sort_written(tmp_path / name, *series).grouped.plan]

    assert plan("short", (0.003,)) == []
    assert plan("long", (0.02,)) == [[("T2starw", "magnitude", None, 20.0)]]
    several = [[("MEGRE", "magnitude", 1, 3.0), ("MEGRE", "magnitude", 2, 6.0)]]
    assert plan("together", (0.003, 0.006)) == several
    assert plan("split", (0.003, 0.006), "echoes") == several


def test_missing_slices_are_reported_and_left_out_or_kept(tmp_path: Path) -> None:
    series = scan("siemens")
    folder = tmp_path / "in"
    write_series(folder, series[0], skip=(7,))
    write_series(folder, series[1])
    ready = sort_folder(folder, tmp_path / "out")
    assert [one.incomplete for one in ready.series] == ["1 slice is missing between others", ""]
    (whole,) = ready.grouped.plan
    assert {member.echo for member in whole.members} == {1, 3}, "the echo with the gap is left out"
    (kept,) = sort_folder(folder, tmp_path / "kept", keep_incomplete=True).grouped.plan
    assert images_of(kept) == PAIRS


def test_one_missing_slice_costs_its_echo_alone(tmp_path: Path) -> None:
    magnitude, phase = scan("siemens")
    n_slices = phase.volumes[0].stored.shape[2]
    write_series(tmp_path / "in", magnitude)
    write_series(tmp_path / "in", phase, skip=(n_slices + 1,))
    (acquisition,) = sort_folder(tmp_path / "in", tmp_path / "out").grouped.plan
    assert sorted((member.component, member.echo) for member in acquisition.members) == [
        ("magnitude", 1), ("magnitude", 3), ("phase", 1), ("phase", 3),
    ]  # fmt: skip


def test_an_echo_without_its_phase_is_not_used_and_the_table_says_so(tmp_path: Path) -> None:
    series = scan("canon", split="both")
    lost = next(
        one for one in series if one.volumes[0].component == "phase" and one.volumes[0].echo_number == 2
    )
    ready = sort_written(tmp_path, *(one for one in series if one is not lost))
    (acquisition,) = ready.grouped.plan
    assert images_of(acquisition) == [
        ("MEGRE", "magnitude", 1, 4.0),
        ("MEGRE", "magnitude", 3, 12.2),
        ("MEGRE", "phase", 1, 4.0),
        ("MEGRE", "phase", 3, 12.2),
    ]
    assert list(ready.without.values()) == ["the magnitude of the echo at 8.1 ms, which has no phase"]


def test_an_echo_of_one_series_without_its_phase_is_accounted_for_file_by_file(tmp_path: Path) -> None:
    magnitude, phase = scan(number=4)
    lost = replace(phase, volumes=(phase.volumes[0], phase.volumes[2]))
    ready = sort_written(tmp_path, magnitude, lost)
    (acquisition,) = ready.grouped.plan
    assert {member.echo for member in acquisition.members} == {1, 3}
    assert list(ready.grouped.unpaired.values()) == [
        "the magnitude of the echo at 8.1 ms, which has no phase"
    ]
    rows = read_table(tmp_path / "out" / "conversion_files.tsv").rows
    n_slices = magnitude.volumes[0].stored.shape[2]
    assert [row["status"] for row in rows].count("left out") == n_slices
    assert len(ready.used_files()) == len(rows) - n_slices


def test_a_gradient_echo_without_echo_time_is_refused(tmp_path: Path) -> None:
    ready = sort_written(tmp_path, *(replace(one, extra={"EchoTime": None}) for one in scan(number=4)))
    assert not ready.grouped.plan
    assert all("no echo time" in reason for reason in ready.without.values())


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({"PixelSpacing": None}, "no voxel size"),
        ({"PixelSpacing": [0, 0]}, "no voxel size"),
        ({"PixelSpacing": [0.001, 0.001]}, "0.001 x 0.001 mm is implausible"),
        ({"ImageOrientationPatient": None}, "no orientation"),
        ({"ImageOrientationPatient": [0, 0, 0, 0, 0, 0]}, "no pair of unit vectors"),
        ({"ImageOrientationPatient": [1, 0, 0, 0.7, 0.7, 0]}, "no pair of unit vectors"),
        ({"ImagePositionPatient": None}, "no position of the slices"),
        ({"ImagePositionPatient": [1, 2, 3]}, "all slices are at one place"),
        ({"MagneticFieldStrength": 15000, "ImagingFrequency": None}, "field strength of 15000 T"),
    ],
)
def test_a_gradient_echo_with_a_header_of_no_use_is_refused(
    tmp_path: Path, extra: dict[str, object], words: str
) -> None:
    ready = sort_written(tmp_path, *(replace(one, extra=extra) for one in scan(number=4)))
    assert not ready.grouped.plan
    assert all(words in reason for reason in ready.without.values())


@pytest.mark.parametrize(("factor", "words"), [(1e-3, "0.0122 ms are shorter"), (1e3, "12200 ms are longer")])
def test_echo_times_in_another_unit_are_refused(tmp_path: Path, factor: float, words: str) -> None:
    series = gradient_echo("siemens", MAGNITUDE, PHASE, [time * factor for time in TIMES])
    ready = sort_written(tmp_path, *series)
    assert not ready.grouped.plan
    assert all(words in reason for reason in ready.without.values())


def test_slices_at_uneven_distances_are_refused(tmp_path: Path) -> None:
    (one,) = gradient_echo("canon", MAGNITUDE[..., :1], PHASE[..., :1], (0.02,), components=("magnitude",))
    for path in write_all(tmp_path / "in", [one])[:2]:
        dataset = pydicom.dcmread(path)
        x, y, z = dataset.ImagePositionPatient
        dataset.ImagePositionPatient = [x, y, float(z) - 1]
        dataset.save_as(path)
    ready = sort_folder(tmp_path / "in", tmp_path / "out")
    assert "3.00 to 3.9" in next(iter(ready.without.values()))
    assert "evenly spaced" in next(iter(ready.without.values()))


@pytest.mark.parametrize(
    ("given", "frequency", "tesla"),
    [
        (3, 123.2, 3), (30000, None, 3), (30000, 127.7, 3), (15000, 63.9, 1.5), (3000, 127.7, 3),
        (3000, 12.8, 0.3), (3000, None, 3000), (None, 127.7, None),
    ],
)  # fmt: skip
def test_a_field_strength_in_gauss_or_millitesla_is_read_where_it_is_clear(
    tmp_path: Path, given: float | None, frequency: float | None, tesla: float | None
) -> None:
    extra = {"MagneticFieldStrength": given, "ImagingFrequency": frequency}
    ready = sort_written(tmp_path, *(replace(one, extra=extra) for one in scan(number=4)))
    assert {one.scan.field_strength for one in ready.series} == {tesla}
    assert bool(ready.grouped.plan) == (tesla != given or tesla in {3, None})
    doubts = {doubt.split(" in ")[0] for one in ready.series for doubt in ready.doubts(one)}
    assert doubts == ({"no field strength"} if tesla is None else set())


def test_images_of_one_uid_at_other_places_are_other_images(tmp_path: Path) -> None:
    one, two = scan(number=4)
    expected = sort_written(tmp_path / "a", one, two).grouped.plan
    uid = {"SOPInstanceUID": "1.2.3.4"}
    ready = sort_written(tmp_path / "b", replace(one, extra=uid), replace(two, extra=uid))
    assert [images_of(acquisition) for acquisition in ready.grouped.plan] == [images_of(e) for e in expected]
    assert not ready.left_out


def test_only_selected_participants_are_converted(tmp_path: Path) -> None:
    series = [
        replace(one, patient_id=person)
        for number, person in ((4, "P001"), (6, "P002"))
        for one in scan(number=number)
    ]
    ready = sort_written(tmp_path, *series, participant_label=("sub-P002",))
    assert {one.subject for one in ready.grouped.plan} == {"P002"}
    assert set(ready.without.values()) == {"not selected by --participant-label"}


def test_an_original_diffusion_scan_is_not_called_computed(tmp_path: Path) -> None:
    magnitude, _ = scan(number=4)
    kind = ("ORIGINAL", "PRIMARY", "DIFFUSION", "NONE")
    (reason,) = sort_written(tmp_path, replace(magnitude, image_type=kind)).without.values()
    assert reason == "other: a diffusion scan, by its image type"


def test_echoes_that_all_carry_the_first_echo_time_are_refused_with_a_reason(tmp_path: Path) -> None:
    (one,) = scan("ge")
    same = replace(one, volumes=tuple(replace(v, echo_time=0.004) for v in one.volumes))
    ready = sort_written(tmp_path, same)
    assert not ready.grouped.plan
    assert "the same echo time (4 ms)" in next(iter(ready.without.values()))


@pytest.mark.parametrize("vendor", ["siemens", "philips", "ge", "canon"])
@pytest.mark.parametrize("lost", [[4], [9], [0, 1], [14]])
def test_slices_lost_at_the_end_of_an_echo_are_noticed(
    tmp_path: Path, vendor: Vendor, lost: list[int]
) -> None:
    (one,) = scan(vendor, split="none", components=("magnitude",))
    write_series(tmp_path / "in", one, skip=lost)
    ready = sort_folder(tmp_path / "in", tmp_path / "out")
    assert ready.series[0].incomplete
    (acquisition,) = ready.grouped.plan
    assert [member.stack.n_slices for member in acquisition.members] == [5, 5]


def test_slices_lost_at_the_end_of_a_part_are_noticed(tmp_path: Path) -> None:
    magnitude, phase = gradient_echo("siemens", MAGNITUDE[..., :1], PHASE[..., :1], (0.02,))
    write_series(tmp_path / "in", magnitude)
    write_series(tmp_path / "in", phase, skip=(4,))
    ready = sort_folder(tmp_path / "in", tmp_path / "out")
    assert ["of the same scan" in one.incomplete for one in ready.series] == [False, True]
    assert len(ready.grouped.plan) == 1


def test_every_second_slice_missing_is_noticed(tmp_path: Path) -> None:
    values = echoes((8, 6, 12), TIMES)[0][..., 0]
    write_series(tmp_path / "in", t1w("siemens", values), skip=range(1, 12, 2))
    ready = sort_folder(tmp_path / "in", tmp_path / "out")
    assert "mm apart where the header says" in ready.series[0].incomplete


def test_copies_of_files_are_counted_once(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    paths = write_all(folder, scan())
    for index, path in enumerate(paths[::3]):
        duplicate(path, folder / "copies" / f"{index}.ima")
    ready = sort_folder(folder, tmp_path / "out")
    (acquisition,) = ready.grouped.plan
    assert images_of(acquisition) == PAIRS
    assert len(ready.left_out) == len(paths[::3])
    assert all("the same image as" in one.reason for one in ready.left_out)
    assert sum(len(one.files) for one in ready.series) == len(paths)


def test_a_study_sent_twice_under_new_uids_is_counted_once(tmp_path: Path) -> None:
    write_all(tmp_path / "in" / "first", scan())
    write_all(tmp_path / "in" / "again", [replace(one, study="new") for one in scan()])
    ready = sort_folder(tmp_path / "in", tmp_path / "out")
    (acquisition,) = ready.grouped.plan
    assert images_of(acquisition) == PAIRS
    assert len(ready.left_out) == 30
    assert all("the same images as series" in one.reason for one in ready.left_out)


def test_the_same_scan_in_classic_and_enhanced_form_is_counted_once(tmp_path: Path) -> None:
    (classic,) = scan("philips")
    enhanced = replace(classic, vendor="philips-enhanced")
    write_series(tmp_path / "in" / "a", classic)
    write_series(tmp_path / "in" / "b", enhanced)
    ready = sort_folder(tmp_path / "in", tmp_path / "out")
    (acquisition,) = ready.grouped.plan
    assert images_of(acquisition) == PAIRS
    assert not acquisition.members[0].series.enhanced
    assert len(ready.left_out) == 1


def test_other_pixels_at_the_same_time_are_no_copy(tmp_path: Path) -> None:
    write_all(tmp_path / "in" / "first", scan())
    other = gradient_echo("siemens", MAGNITUDE * 0.9, PHASE + 0.1, TIMES)
    write_all(tmp_path / "in" / "again", [replace(one, study="new") for one in other])
    ready = sort_folder(tmp_path / "in", tmp_path / "out")
    assert [images_of(one) for one in ready.grouped.plan] == [PAIRS, PAIRS]
    assert not ready.left_out


def test_labels_and_cells_are_harmless_whatever_the_header_says(tmp_path: Path) -> None:
    nasty = "../../etc/\x1b[31m\tpässwd\n=cmd|' /C calc'!A0 \u202e日本" + "x" * 5000
    series = [
        replace(one, description=nasty[:60], protocol=nasty[:60], patient_id="../" + "é日本/..")
        for one in scan()
    ]
    ready = sort_written(tmp_path, *series)
    (acquisition,) = ready.grouped.plan
    assert acquisition.subject.isalnum() and acquisition.subject.isascii()
    assert acquisition.acquisition is None or acquisition.acquisition.isalnum()
    text = (tmp_path / "out" / "conversion.tsv").read_text()
    assert "\x1b" not in text and "\u202e" not in text
    assert len({line.count("\t") for line in text.splitlines()}) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in", "out"]


def test_orders_of_files_change_nothing(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    plans = []
    for turn in range(2):
        folder = tmp_path / f"in{turn}"
        series = [*scan(number=5), *scan(number=15, time="104500.0"), *scan("ge", number=30, patient_id="B")]
        for one in series:
            names = rng.permutation(1000)
            write_series(
                folder / str(rng.integers(3)), one, name=lambda i, n=names, k=one.number: f"{n[i]}_{k}"
            )
        ready = sort_folder(folder, tmp_path / f"out{turn}")
        plans.append([(one.key, one.subject, one.session, images_of(one)) for one in ready.grouped.plan])
    assert plans[0] == plans[1]
    assert len(plans[0]) == 3
