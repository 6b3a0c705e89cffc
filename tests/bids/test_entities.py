import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qsmxt_app.bids.entities import build_name, derivative_entities, entity_order, parse_name, without_prefix
from qsmxt_app.errors import WrongUsage

labels = st.text(string.ascii_letters + string.digits + "+", min_size=1, max_size=12)
entities = st.dictionaries(st.sampled_from(entity_order()), labels, min_size=1, max_size=8)


@given(entities, st.sampled_from(["MEGRE", "Chimap", "T1w"]), st.sampled_from([".nii.gz", ".json"]))
def test_names_survive_a_round_trip(parts, suffix, extension):
    parsed = parse_name(build_name(parts, suffix, extension))
    assert parsed is not None
    assert (parsed.entities, parsed.suffix, parsed.extension) == (parts, suffix, extension)


@given(entities, st.randoms())
def test_order_of_entities_does_not_depend_on_how_they_are_given(parts, random):
    shuffled = list(parts.items())
    random.shuffle(shuffled)
    assert build_name(dict(shuffled), "mask", ".nii") == build_name(parts, "mask", ".nii")


def test_order_is_that_of_the_specification():
    given_parts = {
        "desc": "qsm",
        "run": "1",
        "part": "mag",
        "acq": "a",
        "ses": "A",
        "sub": "1",
        "echo": "2",
        "rec": "n",
    }
    assert (
        build_name(given_parts, "mask", "") == "sub-1_ses-A_acq-a_rec-n_run-1_echo-2_part-mag_desc-qsm_mask"
    )


@given(st.text(max_size=40))
def test_any_text_is_parsed_or_refused_without_an_exception(text):
    parse_name(text)


@pytest.mark.parametrize(
    "name",
    [
        "sub-01_sub-02_T1w.nii",
        "sub-_T1w.nii",
        "sub-01_T1w",
        "sub-01__T1w.nii",
        "../sub-01_T1w.nii",
        "T1w.nii",
    ],
)
def test_names_that_are_not_bids(name):
    assert parse_name(name) is None


@pytest.mark.parametrize("label", ["../../etc", "a/b", "", "a b", "a_b", "a-b", "a;rm", "$(x)", "a\n", "é"])
def test_labels_cannot_leave_their_folder(label):
    with pytest.raises(WrongUsage):
        build_name({"sub": label}, "mask", ".nii")
    with pytest.raises(WrongUsage):
        without_prefix("sub", "sub-" + label.rstrip("\n") + "/")


def test_unknown_entity():
    with pytest.raises(WrongUsage, match="no entity 'foo'"):
        build_name({"sub": "1", "foo": "1"}, "mask", ".nii")


def test_what_derivatives_may_carry():
    chimap, fieldmap = derivative_entities("Chimap", "anat"), derivative_entities("fieldmap", "fmap")
    assert chimap is not None and {"sub", "ses", "acq", "rec", "run", "space", "desc"} <= chimap
    assert "echo" not in chimap and "tpl" not in chimap
    assert fieldmap is not None and "rec" not in fieldmap
    assert derivative_entities("swi", "anat") is None
