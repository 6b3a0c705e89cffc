from datetime import datetime
from pathlib import Path

import pytest

from qsmxt_app.bids.entities import build_name
from qsmxt_app.convert.converted_image import ConvertedImage
from qsmxt_app.convert.naming import (
    NamedAcquisition,
    bucket_of,
    group_key,
    legal_label,
    name_images,
    protocol_of,
)


def image(group="1", suffix="MEGRE", *, minute=0, **about):
    """An image whose group is also its place in time."""
    about = {"subject": "01", "session": None, "sidecar": {}, "path": Path("x.nii"), "origin": group} | about
    return ConvertedImage(suffix=suffix, group=group, acquired=datetime(2026, 1, 1, 10, minute), **about)


def echoes(group="1", count=2, **about):
    return [
        image(group, echo=echo, part=part, **about)
        for echo in range(1, count + 1)
        for part in ("mag", "phase")
    ]


def names(images, existing=()):
    return [
        build_name(entities, one.suffix, "")
        for one, entities in zip(images, name_images(images, existing), strict=True)
    ]


def held(one, **entities):
    """What the dataset holds after an image was written with these entities."""
    bucket = bucket_of(one.subject, one.session, one.suffix, one.datatype)
    return NamedAcquisition(bucket, group_key(one.group), protocol_of(one), entities)


def test_only_what_tells_images_apart_is_in_a_name():
    images = [
        *echoes(acquisition="gre", reconstruction="ND"),
        image("t", "T1w", acquisition="mprage", part="mag"),
    ]
    assert names(images) == [
        "sub-01_echo-1_part-mag_MEGRE",
        "sub-01_echo-1_part-phase_MEGRE",
        "sub-01_echo-2_part-mag_MEGRE",
        "sub-01_echo-2_part-phase_MEGRE",
        "sub-01_T1w",
    ]


def test_single_echo_and_session():
    images = [image(suffix="T2starw", session="2", part=part) for part in ("mag", "phase")]
    assert names(images) == ["sub-01_ses-2_part-mag_T2starw", "sub-01_ses-2_part-phase_T2starw"]


def test_repetitions_are_numbered_in_their_order_in_time():
    images = [image("a", "T1w", minute=9), image("b", "T1w", minute=3), image("c", "T1w", session="2")]
    assert names(images) == ["sub-01_run-2_T1w", "sub-01_run-1_T1w", "sub-01_ses-2_T1w"]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([("hi", None), ("lo", None)], ["acq-hi_T1w", "acq-lo_T1w"]),
        ([("x", "NORM"), ("x", "ND")], ["rec-NORM_T1w", "rec-ND_T1w"]),
        (
            [("hi", "NORM"), ("lo", "NORM"), ("lo", "ND")],
            ["acq-hi_rec-NORM_T1w", "acq-lo_rec-NORM_T1w", "acq-lo_rec-ND_T1w"],
        ),
        ([("hi", None), ("hi", None), ("lo", None)], ["acq-hi_run-1_T1w", "acq-hi_run-2_T1w", "acq-lo_T1w"]),
        ([(None, None), ("lo", None)], ["T1w", "acq-lo_T1w"]),
    ],
)
def test_protocols_are_told_apart_by_as_little_as_possible(labels, expected):
    images = [
        image(str(i), "T1w", minute=i, acquisition=acq, reconstruction=rec)
        for i, (acq, rec) in enumerate(labels)
    ]
    assert [name.removeprefix("sub-01_") for name in names(images)] == expected


def test_a_field_map_shares_its_run_and_has_no_rec():
    images = [
        image(group, suffix, minute=minute, part=part, echo=echo, acquisition="fm", reconstruction=rec)
        for minute, (group, rec) in enumerate([("a", "ND"), ("b", "ND"), ("c", None)])
        for suffix, part, echo in (
            ("magnitude1", "mag", 1),
            ("magnitude2", "mag", 2),
            ("phasediff", "phase", None),
        )
    ]
    for start, acq in ((0, "acq-fmND_run-1"), (3, "acq-fmND_run-2"), (6, "acq-fm")):
        assert names(images)[start : start + 3] == [
            f"sub-01_{acq}_{suffix}" for suffix in ("magnitude1", "magnitude2", "phasediff")
        ]


def test_mp2rage_images_belong_together():
    images = [image("u", "UNIT1"), image("u", "MP2RAGE", inversion=2, part="phase")]
    assert names(images) == ["sub-01_UNIT1", "sub-01_inv-2_part-phase_MP2RAGE"]


def test_what_is_there_keeps_its_name_when_more_arrives():
    first = image("first", acquisition="hi", minute=30, echo=1, part="mag")
    earlier = image("earlier", acquisition="hi", minute=5, echo=1, part="mag")
    later = image("later", acquisition="hi", minute=50, echo=1, part="mag")
    other = image("other", acquisition="lo", minute=1, echo=1, part="mag")
    new_part = image("first", acquisition="hi", echo=1, part="phase")
    assert names([later, other, first, earlier, new_part], [held(first)]) == [
        "sub-01_run-3_echo-1_part-mag_MEGRE",
        "sub-01_acq-lo_echo-1_part-mag_MEGRE",
        "sub-01_echo-1_part-mag_MEGRE",
        "sub-01_run-2_echo-1_part-mag_MEGRE",
        "sub-01_echo-1_part-phase_MEGRE",
    ]


def test_a_name_that_is_taken_by_another_protocol_is_not_given_again():
    there = image("there", "T1w", acquisition="hi")
    nameless = image("new", "T1w")
    assert names([nameless], [held(there)]) == ["sub-01_run-2_T1w"]
    assert names([nameless], [held(there, run="1"), held(image("x", "T1w"), run="3")]) == ["sub-01_run-2_T1w"]


def test_a_run_that_a_person_gave_is_kept():
    images = [image("a", "T1w", run=7), image("b", "T1w"), image("c", "T1w", run=1)]
    assert names(images) == ["sub-01_run-7_T1w", "sub-01_run-2_T1w", "sub-01_run-1_T1w"]


@pytest.mark.parametrize("text", ["../../etc", "a\nb", "Żółć-1_2", "x" * 500, '"; rm -rf'])
def test_labels_are_harmless(text):
    label = legal_label(text)
    assert label.isalnum() and label.isascii() and len(label) <= 60
