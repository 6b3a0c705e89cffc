"""Several runs that write one output folder at the same time."""

import json
import os
import random
import time
from pathlib import Path

import pytest

from qsmxt_app.bids.atomic import write_text
from qsmxt_app.bids.derivatives import initialise_derivative
from qsmxt_app.bids.lock import Held
from qsmxt_app.workflows import output_locks
from qsmxt_app.workflows.outcome import ParticipantOutcome, ScanOutcome, summary_lines
from qsmxt_app.workflows.output_locks import outputs_of, write_shared_pages

RUNS = 8


def test_sessions_of_one_participant_are_held_apart(tmp_path):
    with outputs_of(tmp_path, "01", {"A"}), outputs_of(tmp_path, "01", {"B"}):
        for sessions in ({"A"}, {"A", "B"}, {"B", "C"}):
            with pytest.raises(Held, match="ses-"), outputs_of(tmp_path, "01", sessions):
                pytest.fail("two runs at once")
        # what was taken before the refusal is given back
        with outputs_of(tmp_path, "01", {"C"}):
            pass
    with outputs_of(tmp_path, "01", {None}), pytest.raises(Held), outputs_of(tmp_path, "01", {None}):
        pytest.fail("two runs at once")


def test_what_a_crash_left_half_written_is_removed_when_it_is_old(tmp_path):
    old, new = (tmp_path / "sub-01" / "anat" / f".{name}.nii.gz.1-ab.tmp" for name in ("old", "new"))
    for path in (old, new):
        write_text(path, "half")
    os.utime(old, (1, 1))
    with outputs_of(tmp_path, "01", {None}):
        assert not old.exists()
        assert new.exists()


def test_a_clock_that_jumps_removes_no_file_that_is_being_written(tmp_path, monkeypatch):
    new = tmp_path / "sub-01" / "anat" / ".new.nii.gz.1-ab.tmp"
    write_text(new, "half")
    monkeypatch.setattr(time, "time", lambda: new.stat().st_mtime + 1e6)
    with outputs_of(tmp_path, "01", {None}):
        assert new.exists()


def _slow_index(out):
    """A list of participants that is read some time before it is written."""
    names = sorted(path.name for path in out.glob("sub-*"))
    time.sleep(0.05)
    write_text(out / "index.html", "\n".join(names))


def _finish(outs, barrier, number):
    output_locks.build_index, output_locks.write_citations = _slow_index, lambda out: None
    random.seed(number)
    for out in outs:
        barrier.wait()
        time.sleep(random.uniform(0, 0.3))
        (out / f"sub-{number:02d}").mkdir()
        write_shared_pages(out)


def test_pages_know_everybody_however_many_end_at_once(tmp_path, processes):
    outs = [tmp_path / str(attempt) for attempt in range(5)]
    for out in outs:
        out.mkdir()
    barrier = processes.Barrier(RUNS)
    # to start a process takes longer than all that it does
    runs = [processes.Process(target=_finish, args=(outs, barrier, number)) for number in range(RUNS)]
    for process in runs:
        process.start()
    for process in runs:
        process.join(300)
        assert process.exitcode == 0
    for out in outs:
        assert (out / "index.html").read_text().split() == [f"sub-{number:02d}" for number in range(RUNS)]
        assert not list((out / ".locks").glob("pages*"))


def test_a_run_does_not_wait_for_pages_that_another_writes(tmp_path, monkeypatch):
    monkeypatch.setattr(output_locks, "build_index", lambda out: pytest.fail("written twice"))
    with output_locks.named_lock(tmp_path, "pages"):
        write_shared_pages(tmp_path)
    assert (tmp_path / ".locks" / output_locks.WANTED).exists()


def _initialise(raw, out, barrier, version):
    barrier.wait()
    for _ in range(20):
        initialise_derivative(out, raw, version)


def test_the_description_is_whole_at_any_time_though_two_versions_write_it(tmp_path, processes):
    raw, out = tmp_path / "raw", tmp_path / "out"
    raw.mkdir()
    (raw / "dataset_description.json").write_text(json.dumps({"Name": "x", "BIDSVersion": "1.10.0"}))
    barrier = processes.Barrier(5)
    runs = [
        processes.Process(target=_initialise, args=(raw, out, barrier, version))
        for version in ("1.0", "2.0", "1.0", "2.0")
    ]
    for process in runs:
        process.start()
    barrier.wait()
    seen = 0
    while any(process.is_alive() for process in runs):
        if (out / "dataset_description.json").exists():
            described = json.loads((out / "dataset_description.json").read_text())
            assert described["DatasetType"] == "derivative"
            (maker,) = described["GeneratedBy"]
            assert maker["Version"] in {"1.0", "2.0"}
            seen += 1
        if (out / ".bidsignore").exists():
            assert (out / ".bidsignore").read_text().endswith("\n")
    assert seen
    assert [process.exitcode for process in runs] == [0] * 4
    lines = (out / ".bidsignore").read_text().splitlines()
    assert len(lines) == len(set(lines))
    assert not list(out.glob(".*.tmp"))


def test_what_covers_everybody_is_nobody_in_the_summary():
    failed = ScanOutcome("index.html", "report", "not written: the disk is full", 1)
    lines = summary_lines(
        [ParticipantOutcome("01", (ScanOutcome("map"),)), ParticipantOutcome("", (failed,))], Path("log")
    )
    assert lines == [
        "sub-01: done",
        "What covers all participants: failed",
        "  index.html: report: not written: the disk is full",
        "Log to read: log",
    ]
