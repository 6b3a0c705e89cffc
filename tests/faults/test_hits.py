"""The short form of `hits.py`: a run is hit by several faults in a row, and still gives the same bytes."""

import random

import pytest
from fault_kinds import Impossible, Place
from hits import hit_and_resume, prepare

KINDS = ["kill-worker", "power", "quota"]


def test_hits_leave_no_trace(tmp_path):
    study = prepare(tmp_path)
    assert any(name.endswith("_Chimap.nii.gz") for name in study.expected)
    try:
        hits = list(hit_and_resume(study, Place(tmp_path / "hit", study.raw), KINDS, random.Random(5)))
    except Impossible as reason:
        pytest.skip(str(reason))
    assert [hit.text for hit in hits if hit.faults] == []
