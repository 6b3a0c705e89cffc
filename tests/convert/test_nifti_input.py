import gzip
import json
import shutil

import nibabel as nib
import numpy as np
import openpyxl
import pytest

from qsmxt_app.bids.validation import find_issues
from qsmxt_app.convert.command import convert_folder, raw_folder
from qsmxt_app.convert.detect import detect_input
from qsmxt_app.convert.nifti.patterns import from_usual_names, read_patterns
from qsmxt_app.convert.table import read_table, write_table
from qsmxt_app.errors import CannotCreateOutput, NoInput, UnusableData, WrongUsage
from qsmxt_app.settings import Settings

SHAPE = (7, 6, 5)
AFFINE = np.diag([1.0, 1, 2, 1])
TIMES = (0.004, 0.008, 0.012)


class Colleague:
    """Gives a folder of NIfTI files."""

    def __init__(self, tmp_path):
        self.source, self.out, self.rng = (
            tmp_path / "from colleague",
            tmp_path / "out",
            np.random.default_rng(5),
        )

    def file(
        self, name, *, volumes=0, low=0.0, high=1000.0, shape=SHAPE, affine=AFFINE, hole=None, **json_content
    ):
        path = self.source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        voxels = self.rng.uniform(low, high, (*shape, volumes) if volumes else shape).astype(np.float32)
        voxels.flat[0], voxels.flat[-1] = low, high
        voxels.flat[5] = voxels.flat[5] if hole is None else hole
        nib.save(nib.Nifti1Image(voxels, affine), path)
        if json_content:
            path.with_name(path.name.split(".nii")[0] + ".json").write_text(json.dumps(json_content))
        return voxels

    def scan(self, start, *, echoes=3, end=".nii.gz", **json_content):
        """Write a multi-echo scan as dcm2niix does."""
        content = {"MagneticFieldStrength": 3, "ScanningSequence": "GR", "ProtocolName": "gre"} | json_content
        voxels = {}
        for echo, time in enumerate(TIMES[:echoes], start=1):
            about = content | {"EchoTime": time, "EchoNumber": echo}
            magnitude = {"ImageType": ["ORIGINAL", "PRIMARY", "M"]}
            phase = {"ImageType": ["ORIGINAL", "PRIMARY", "P"]}
            voxels[echo, "mag"] = self.file(f"{start}_e{echo}{end}", **about, **magnitude)
            voxels[echo, "phase"] = self.file(
                f"{start}_e{echo}_ph{end}", low=-4096, high=4092, **about, **phase
            )
        return voxels

    def convert(self, **settings):
        settings = Settings(**settings)
        return convert_folder(
            self.source, detect_input(self.source), self.out, settings, self.out / "work" / "conversion", 1
        )

    @property
    def bad(self):
        """The file that is broken."""
        return self.source / "sub-7" / "gre_e2_ph.nii.gz"

    @property
    def raw(self):
        return raw_folder(self.out, Settings())

    @property
    def table(self):
        return self.out / "sourcedata" / "nifti_conversion.tsv"

    def fill(self, **cells):
        """Fill in cells of all rows, as a person would."""
        table = read_table(self.table)
        write_table(self.table, table.columns, [row | cells for row in table.rows])

    def images(self):
        return sorted(path.relative_to(self.raw).as_posix() for path in self.raw.rglob("*.nii.gz"))

    def sidecar(self, image):
        return json.loads((self.raw / image.replace(".nii.gz", ".json")).read_text())


@pytest.fixture
def colleague(tmp_path):
    return Colleague(tmp_path)


def names(echoes, start="sub-7/anat/sub-7"):
    return sorted(
        f"{start}_echo-{echo}_part-{part}_MEGRE.nii.gz" for echo in echoes for part in ("mag", "phase")
    )


def test_what_dcm2niix_wrote_needs_no_table(colleague):
    written = colleague.scan("subject 7/9_gre")
    colleague.file("subject 7/4_t1_mprage.nii.gz")
    outcome = colleague.convert()
    assert outcome.failures == () and outcome.reasons == ()
    assert colleague.images() == sorted([*names((1, 2, 3)), "sub-7/anat/sub-7_T1w.nii.gz"])
    assert find_issues(colleague.raw, config=None) == []
    for (echo, part), voxels in written.items():
        image = f"sub-7/anat/sub-7_echo-{echo}_part-{part}_MEGRE.nii.gz"
        np.testing.assert_array_equal(nib.load(colleague.raw / image).get_fdata(), voxels)
        sidecar = colleague.sidecar(image)
        assert (sidecar["EchoTime"], sidecar["EchoNumber"]) == (TIMES[echo - 1], echo)
        assert sidecar["MagneticFieldStrength"] == 3
        if part == "phase":
            assert (sidecar["Units"], sidecar["PhaseRange"]) == ("arbitrary", [-4096, 4092])


def test_what_is_missing_is_asked_for_in_a_table_and_the_same_command_goes_on(colleague):
    colleague.file("Mag.nii", volumes=3)
    phase = colleague.file("Phase.nii", volumes=3, low=-0.004, high=0.004)
    with pytest.raises(
        UnusableData, match="subject, echo_time, field_strength could not be determined for 2 of 2"
    ) as caught:
        colleague.convert()
    assert str(colleague.table) in str(caught.value) and "\n" not in str(caught.value)
    for row, part in zip(read_table(colleague.table).rows, ("mag", "phase"), strict=True):
        assert row["file"] == f"{part.title()}.nii"
        assert (row["part"], row["suffix"]) == (part, "MEGRE")
        assert (row["subject"], row["echo_time"], row["field_strength"]) == ("?", "?", "?")
        assert row["session"] == "" and "3 numbers" in row["note"]
    assert colleague.images() == []
    colleague.fill(subject="7", echo_time="0.004 0.008 0.012", field_strength="3")
    colleague.convert()
    assert colleague.images() == names((1, 2, 3))
    for index, time in enumerate(TIMES):
        image = f"sub-7/anat/sub-7_echo-{index + 1}_part-phase_MEGRE.nii.gz"
        np.testing.assert_array_equal(nib.load(colleague.raw / image).get_fdata(), phase[..., index])
        assert colleague.sidecar(image)["EchoTime"] == time
        assert colleague.sidecar(image)["PhaseRange"] == [-0.004, 0.004]
        assert colleague.sidecar(image)["Units"] == "arbitrary"
    assert "+-0.004 is one cycle" in read_table(colleague.table).rows[1]["note"]
    assert find_issues(colleague.raw, config=None) == []


def test_echoes_in_one_file_and_in_several_make_one_scan(colleague):
    about = {"MagneticFieldStrength": 3, "ScanningSequence": "GR"}
    magnitude = colleague.file("sub-7/gre_mag.nii", volumes=3, EchoTime=list(TIMES), ImageType=["M"], **about)
    for echo, time in enumerate(TIMES, start=1):
        colleague.file(
            f"sub-7/gre_ph_{echo}.nii", low=-3.14159, high=3.14159, EchoTime=time, ImageType=["P"], **about
        )
    assert colleague.convert().failures == ()
    assert colleague.images() == names((1, 2, 3))
    image = nib.load(colleague.raw / "sub-7/anat/sub-7_echo-2_part-mag_MEGRE.nii.gz")
    np.testing.assert_array_equal(image.get_fdata(), magnitude[..., 1])


@pytest.mark.parametrize("one_file", [True, False])
def test_uncombined_coils_are_combined(colleague, one_file):
    x = np.linspace(-1, 1, 12)[:, None, None, None]
    rate, sensitivity = 120 * x, 100 * (1.5 + x * np.array([1, -1, 0.2, 0.5]))
    about = {"MagneticFieldStrength": 3, "ScanningSequence": "GR", "CoilCombinationMethod": "None"}
    offset = np.array([0, 1.9, -2.2, 3.0])

    def voxels(part, time):
        phase = np.angle(np.exp(1j * (rate * time + offset)))
        return np.broadcast_to(sensitivity if part == "mag" else phase, (12, 12, 12, 4))

    for part, word in (("mag", "M"), ("phase", "P")):
        echoes = [voxels(part, time) for time in TIMES]
        files = {"": (np.stack(echoes, -2), list(TIMES))}
        if not one_file:
            files = {f"_e{number}": pair for number, pair in enumerate(zip(echoes, TIMES, strict=True), 1)}
        for end, (image, time) in files.items():
            path = colleague.source / "sub-7" / f"gre{end}_{part}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(image.astype(np.float32), AFFINE), path)
            content = about | {"EchoTime": time, "ImageType": [word], "Units": "rad"}
            path.with_name(path.name.replace(".nii.gz", ".json")).write_text(json.dumps(content))
    assert colleague.convert().failures == ()
    assert colleague.images() == names((1, 2, 3))
    inside = (slice(3, -3),) * 3
    for number, time in enumerate(TIMES, 1):
        image = f"sub-7/anat/sub-7_echo-{number}_part-phase_MEGRE.nii.gz"
        error = np.angle(np.exp(1j * (nib.load(colleague.raw / image).get_fdata() - rate[..., 0] * time)))[
            inside
        ]
        assert np.abs(error - np.median(error)).max() < 0.1
        sidecar = colleague.sidecar(image)
        assert (sidecar["EchoTime"], sidecar["Units"]) == (time, "rad")
        assert "CoilCombinationMethod" not in sidecar
    assert "4 coils combined" in read_table(colleague.table).rows[0]["note"]
    assert find_issues(colleague.raw, config=None) == []


@pytest.mark.parametrize("extension", [".csv", ".xlsx"])
def test_the_table_may_come_back_from_a_spreadsheet(colleague, extension):
    colleague.scan("sub-01/gre", MagneticFieldStrength=None)
    with pytest.raises(UnusableData, match="field_strength could not be determined for 6 of 6"):
        colleague.convert()
    table = read_table(colleague.table)
    returned = colleague.table.with_suffix(extension)
    # a spreadsheet writes 01 as 1, drops trailing zeros and has decimal commas where people do
    lines = [[*row.values()] for row in table.rows]
    for line in lines:
        line[1], line[table.columns.index("field_strength")] = "1", "2,9" if extension == ".csv" else 2.9
    if extension == ".csv":
        returned.write_text("\n".join(";".join(line) for line in [list(table.columns), *lines]))
    else:
        book = openpyxl.Workbook()
        for line in [list(table.columns), *lines]:
            book.active.append(line)
        book.save(returned)
    colleague.convert()
    assert colleague.images() == names((1, 2, 3), "sub-01/anat/sub-01")
    assert colleague.sidecar(colleague.images()[0])["MagneticFieldStrength"] == 2.9


def test_a_second_run_changes_nothing_and_a_third_adds_only_what_is_new(colleague):
    colleague.scan("sub-7/gre")
    colleague.convert()
    content = {path: path.stat().st_mtime_ns for path in colleague.out.rglob("*") if path.is_file()}
    outcome = colleague.convert()
    assert outcome.n_new == 0
    assert {path: path.stat().st_mtime_ns for path in colleague.out.rglob("*") if path.is_file()} == content
    colleague.scan("sub-8/gre")
    assert colleague.convert().n_new == 6
    for path in colleague.raw.rglob("sub-7*"):
        assert path.is_dir() or path.stat().st_mtime_ns == content[path]


def test_the_source_is_only_read(colleague):
    colleague.scan("sub-7/gre")
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in colleague.source.rglob("*.*")}
    colleague.convert()
    after = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in colleague.source.rglob("*.*")}
    assert after == before


def test_what_a_person_wrote_counts_more_than_what_is_gathered(colleague):
    colleague.scan("sub-7/gre", echoes=2)
    colleague.convert()
    colleague.fill(session="later")
    colleague.scan("sub-7/gre", echoes=3)
    shutil.rmtree(colleague.raw)
    colleague.convert()
    assert {row["session"] for row in read_table(colleague.table).rows} == {"later", ""}
    assert len(colleague.images()) == 6
    colleague.convert(nifti_pattern=("acquisition=(gre)",))
    assert {row["acquisition"] for row in read_table(colleague.table).rows} == {"gre"}


def test_rows_of_files_that_are_elsewhere_today_are_kept(colleague, tmp_path):
    colleague.scan("sub-7/gre")
    colleague.convert()
    colleague.fill(session="A")
    shutil.move(colleague.source / "sub-7", tmp_path / "sub-7")
    colleague.scan("sub-8/gre")
    colleague.convert()
    assert len(read_table(colleague.table).rows) == 12
    shutil.move(tmp_path / "sub-7", colleague.source / "sub-7")
    assert colleague.convert().n_new == 6
    assert names((1, 2, 3), "sub-7/ses-A/anat/sub-7_ses-A") == [n for n in colleague.images() if "ses-A" in n]


def test_own_patterns_find_what_the_usual_ones_do_not(colleague):
    for person in ("anna", "bert"):
        for echo in (1, 2):
            for part, word in (("phase", "ang"), ("mag", "abs")):
                low = -3.1415926 if part == "phase" else 0
                colleague.file(f"{person}/TE{echo}/{word}.nii", low=low, high=3.1415926)
    patterns = (
        "subject=^([^/]+)/",
        "echo=TE(\\d)",
        "part=(?P<phase>ang)|(?P<mag>abs)",
        "suffix=(?P<MEGRE>a)",
    )
    with pytest.raises(UnusableData, match="echo_time, field_strength could not be determined for 8"):
        colleague.convert(nifti_pattern=patterns)
    colleague.fill(field_strength="7")
    rows = read_table(colleague.table).rows
    times = {"1": "0.004", "2": "0.008"}
    write_table(colleague.table, tuple(rows[0]), [row | {"echo_time": times[row["echo"]]} for row in rows])
    colleague.convert(nifti_pattern=patterns)
    for person in ("anna", "bert"):
        assert set(names((1, 2), f"sub-{person}/anat/sub-{person}")) <= set(colleague.images())
    sidecar = colleague.sidecar("sub-anna/anat/sub-anna_echo-2_part-phase_MEGRE.nii.gz")
    assert (sidecar["Units"], sidecar["EchoTime"]) == ("rad", 0.008)


@pytest.mark.parametrize("name", ["gre_20240102101500_{s}{e}{ph}", "{s}_gre{e}{ph}", "scan{s}{e}{ph}"])
@pytest.mark.parametrize("guess", [False, True])
def test_a_multi_echo_scan_of_siemens_by_dcm2niix_is_one_acquisition(colleague, name, guess):
    """Its phase has EchoTime1 and EchoTime2 too, echo 1 no mark in its name; nothing names the subject."""
    common = {
        "MagneticFieldStrength": 3,
        "ScanningSequence": "GR",
        "ProtocolName": "gre",
        "SequenceName": "fl3d3r",
    }
    for echo, time in enumerate(TIMES, start=1):
        end = {"e": f"_e{echo}" if echo > 1 else ""}
        about = common | {"EchoTime": time} | ({"EchoNumber": echo} if echo > 1 else {})
        if guess:
            about["BidsGuess"] = ["anat", f"_acq-gre_run-5_echo-{echo}_part-mag_MEGRE"]
        colleague.file(
            name.format(s=5, ph="", **end) + ".nii.gz",
            **about,
            SeriesNumber=5,
            ImageType=["ORIGINAL", "PRIMARY", "M"],
        )
        if guess:
            about["BidsGuess"] = ["fmap", "_acq-gre_run-6_phasediff"]
        colleague.file(
            name.format(s=6, ph="_ph", **end) + ".nii.gz", low=-4096, high=4092, **about, SeriesNumber=6,
            EchoTime1=TIMES[0], EchoTime2=TIMES[1], ImageType=["ORIGINAL", "PRIMARY", "P", "PHASE"],
        )  # fmt: skip
    outcome = colleague.convert()
    assert (outcome.failures, outcome.reasons) == ((), ())
    assert colleague.images() == names((1, 2, 3), "sub-01/anat/sub-01")
    for echo, time in enumerate(TIMES, start=1):
        assert (
            colleague.sidecar(f"sub-01/anat/sub-01_echo-{echo}_part-phase_MEGRE.nii.gz")["EchoTime"] == time
        )


def test_other_scans_that_dcm2niix_names_are_left_out(colleague):
    colleague.scan("sub-7/gre")
    for name, guess in (("dwi", ["dwi", "_dwi"]), ("bold", ["func", "_bold"]), ("t2", ["anat", "_T2w"])):
        colleague.file(f"sub-7/{name}.nii.gz", BidsGuess=guess, EchoTime=0.08, ScanningSequence="SE")
    assert colleague.convert().failures == ()
    assert colleague.images() == names((1, 2, 3))


def test_a_scan_that_was_repeated_becomes_two_runs(colleague):
    for series in (9, 5):
        colleague.scan(f"sub-7/{series}_gre", SeriesNumber=series)
    assert colleague.convert().failures == ()
    both = [*names((1, 2, 3), "sub-7/anat/sub-7_run-1"), *names((1, 2, 3), "sub-7/anat/sub-7_run-2")]
    assert colleague.images() == sorted(both)


def test_files_of_two_people_in_one_folder_are_not_taken_for_one(colleague):
    colleague.scan("a_gre", SeriesNumber=5)
    colleague.scan("b_gre", SeriesNumber=7)
    with pytest.raises(UnusableData, match="subject could not be determined for 12 of 12"):
        colleague.convert()


def test_real_and_imaginary_parts_stay_what_they_are(colleague):
    about = {"EchoTime": 0.02, "MagneticFieldStrength": 3, "ScanningSequence": "GR"}
    colleague.file("sub-1/x_real.nii.gz", low=-900, high=900, **about)
    colleague.file("sub-1/x_imaginary.nii.gz", low=-900, high=900, **about)
    assert colleague.convert().reasons == ()
    assert colleague.images() == [f"sub-1/anat/sub-1_part-{part}_T2starw.nii.gz" for part in ("imag", "real")]
    assert find_issues(colleague.raw, config=None) == []


def test_a_phase_difference_is_a_field_map_and_says_why_there_is_no_map(colleague):
    about = {"MagneticFieldStrength": 3, "ScanningSequence": "GR", "ProtocolName": "fm"}
    for echo, time in ((1, 0.00492), (2, 0.00738)):
        colleague.file(f"sub-1/fm_e{echo}.nii.gz", EchoTime=time, EchoNumber=echo, ImageType=["M"], **about)
    colleague.file(
        "sub-1/fm_e2_ph.nii.gz", high=4095, EchoTime=0.00738, EchoTime1=0.00492, EchoTime2=0.00738,
        EchoNumber=2, ImageType=["P"], **about,
    )  # fmt: skip
    outcome = colleague.convert()
    assert colleague.images() == [
        f"sub-1/fmap/sub-1_{suffix}.nii.gz" for suffix in ("magnitude1", "magnitude2", "phasediff")
    ]
    assert "no" in " ".join(outcome.reasons) and len(outcome.reasons) == 1
    sidecar = colleague.sidecar("sub-1/fmap/sub-1_phasediff.nii.gz")
    assert (sidecar["EchoTime1"], sidecar["EchoTime2"]) == (0.00492, 0.00738)
    assert find_issues(colleague.raw, config=None) == []


def damage(path):
    path.write_bytes(path.read_bytes()[:-400])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda c: damage(c.bad), "gre_e2_ph.nii.gz: truncated"),
        (lambda c: c.bad.write_bytes(gzip.compress(b"no image" * 99)), "not a NIfTI"),
        (lambda c: c.bad.write_bytes(b""), "empty"),
        (lambda c: c.file(c.bad, shape=(7, 6, 4)), "shape 7x6x4, but 7x6x5"),
        (lambda c: c.file(c.bad, affine=np.diag([1, 1, 3, 1])), "another position"),
        (lambda c: c.file(c.bad, volumes=4), "4 volumes, but 1 echo times"),
        (lambda c: c.file(c.bad, volumes=4), "CoilCombinationMethod none"),
        (lambda c: c.file(c.bad, shape=(*SHAPE, 3), volumes=4), "CoilCombinationMethod none"),
        (lambda c: c.file(c.bad, hole=np.nan), "NaN"),
        (lambda c: c.file(c.bad, low=7, high=7), "every voxel is 7"),
        (lambda c: shutil.copytree(c.bad.parent, c.bad.parent / "again"), "would get the same name"),
        (lambda c: c.bad.with_name("gre_e2_ph.json").write_text("{"), "not valid JSON"),
    ],
)
def test_what_cannot_be_used_is_one_line_and_the_rest_is_converted(colleague, change, says):
    colleague.scan("sub-7/gre")
    colleague.scan("sub-8/gre")
    change(colleague)
    outcome = colleague.convert()
    assert any(says in line for line in outcome.failures), outcome.failures
    assert all("\n" not in line for line in outcome.failures)
    assert set(names((1, 2, 3), "sub-8/anat/sub-8")) <= set(colleague.images())
    assert all(row["note"] for row in read_table(colleague.table).rows)


@pytest.mark.parametrize(
    ("cells", "says"),
    [
        ({"echo_time": "20"}, "20 is not an echo time in seconds. Write 0.02"),
        ({"echo_time": "fast"}, "'fast' is not a number"),
        ({"field_strength": "30000"}, "30000 is not a field strength in tesla"),
        ({"part": "fase"}, "'fase' is not one of mag, phase"),
        ({"suffix": "GRE"}, "'GRE' is not one of"),
        ({"subject": "../.."}, "has no letter or digit"),
        ({"echo": "0"}, "not a positive whole number"),
        ({"run": "one"}, "not a number"),
        ({"suffix": "ignore"}, "nothing could be converted"),
    ],
)
def test_cells_that_cannot_be_understood_are_named(colleague, cells, says):
    colleague.scan("sub-7/gre")
    colleague.convert()
    shutil.rmtree(colleague.raw)
    colleague.fill(**cells)
    with pytest.raises(UnusableData, match=says):
        colleague.convert()
    assert colleague.images() == []


def test_two_people_never_become_one(colleague):
    colleague.scan("P1/gre", PatientID="A-1")
    colleague.scan("P2/gre", PatientID="A1")
    with pytest.raises(UnusableData, match="'A-1' and 'A1' would both be sub-A1"):
        colleague.convert()
    assert colleague.images() == []


@pytest.mark.parametrize(
    "name", ["..%2f/=cmd|x.nii", "a\nb\t\x1b[31m.nii", "'; rm -rf ~ #.nii", "Zoë\u202e.nii"]
)
def test_names_can_do_no_harm(colleague, name):
    voxels = colleague.file(name)
    with pytest.raises(UnusableData) as caught:
        colleague.convert()
    assert name not in str(caught.value)
    (row,) = read_table(colleague.table).rows
    assert row["file"] == name
    colleague.fill(subject="../../x\n=1", suffix="T1w")
    colleague.convert()
    assert colleague.images() == ["sub-x1/anat/sub-x1_T1w.nii.gz"]
    np.testing.assert_array_equal(nib.load(colleague.raw / colleague.images()[0]).get_fdata(), voxels)
    content = colleague.table.read_text()
    assert len(content.splitlines()) == 2 and content.replace("\t", "").replace("\n", "").isprintable()
    assert sorted(path.name for path in colleague.out.parent.iterdir()) == ["from colleague", "out"]


def test_usual_names():
    expected = {
        "Subject7/GRE/gre_TE4.5ms_ph.nii.gz": ("7", None, "phase", "gradient-echo", "0.0045"),
        "subj_12/phase/echo2.nii": ("12", "2", "phase", None, None),
        "P1/MagEcho03.nii.gz": (None, "03", "mag", None, None),
        "subjects/phasediff.nii": (None, None, None, "phasediff", None),
        "x/brain_mask.nii": (None, None, None, "ignore", None),
        "sub-A/phase_image/GRE_mag_e1.nii": ("A", "1", "mag", "gradient-echo", None),
    }
    for path, values in expected.items():
        found = from_usual_names(path)
        assert (
            tuple(found.get(key) for key in ("subject", "echo", "part", "suffix", "echo_time")) == values
        ), path


@pytest.mark.parametrize("text", ["subject", "sbject=x", "echo=(", "=x"])
def test_patterns_that_are_none_are_wrong_usage(text):
    with pytest.raises(WrongUsage, match="--nifti-pattern"):
        read_patterns([text])
    with pytest.raises(WrongUsage, match="twice"):
        read_patterns(["echo=a", "echo=b"])


def test_what_a_folder_holds(tmp_path, colleague):
    with pytest.raises(NoInput, match="no such folder"):
        detect_input(tmp_path / "absent")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "notes.txt").write_text("DICM")
    (tmp_path / "notes" / "._x.nii").write_text("")
    with pytest.raises(NoInput, match="no DICOM or NIfTI"):
        detect_input(tmp_path / "notes")
    colleague.scan("sub-7/gre")
    assert detect_input(colleague.source).kind == "nifti"
    (colleague.source / "report.pdf").write_bytes(b"%PDF")
    (colleague.source / "backup.tar.gz").write_bytes(b"\x1f\x8b broken")
    assert detect_input(colleague.source).kind == "nifti"
    (colleague.source / "sub-7" / "IM1").write_bytes(b"\0" * 128 + b"DICM" + b"\x08\0\x16\0UI\x02\x001\0")
    assert detect_input(colleague.source).kind in {"dicom", "nifti"}
    colleague.convert()
    assert detect_input(colleague.raw).kind == "bids"
    (colleague.raw / "dataset_description.json").unlink()
    assert detect_input(colleague.raw).kind == "bids"


def test_another_day_in_the_same_output(colleague, tmp_path):
    colleague.scan("sub-7/gre")
    colleague.convert()
    shutil.move(colleague.source, tmp_path / "moved")
    colleague.source = tmp_path / "moved"
    assert colleague.convert().n_new == 0  # a folder that was moved holds the same scans
    colleague.source = tmp_path / "day 2"
    colleague.scan("sub-7/gre")
    assert colleague.convert().n_new == 6
    assert colleague.images() == sorted([*names((1, 2, 3)), *names((1, 2, 3), "sub-7/anat/sub-7_run-2")])


def test_two_runs_at_once_do_not_mix(colleague):
    from qsmxt_app.bids.lock import named_lock

    colleague.scan("sub-7/gre")
    colleague.out.mkdir()
    with named_lock(colleague.out, "conversion"), pytest.raises(CannotCreateOutput, match="conversion"):
        colleague.convert()
    colleague.convert()
