import json

import pytest

from qsmxt_app.bids.sidecars import Sidecars
from qsmxt_app.errors import UnusableData


def _write(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / f"{name.replace('__', '-')}.json").write_text(json.dumps(content))


def test_the_nearest_and_most_specific_sidecar_wins(tmp_path):
    anat = tmp_path / "sub-01" / "ses-A" / "anat"
    _write(tmp_path, MEGRE={"a": "root", "b": "root", "c": "root", "d": "root"}, T1w={"x": 1})
    _write(tmp_path, **{"echo__2_MEGRE": {"b": "root echo"}, "echo__3_MEGRE": {"b": "other echo"}})
    _write(tmp_path / "sub-01", **{"sub__01_MEGRE": {"c": "subject"}})
    _write(tmp_path / "sub-01", **{"sub__01_acq__x_MEGRE": {"c": "other acquisition"}})
    _write(anat, **{"sub__01_ses__A_echo__2_part__mag_MEGRE": {"d": "image"}})
    image = anat / "sub-01_ses-A_echo-2_part-mag_MEGRE.nii.gz"
    assert Sidecars(tmp_path, tmp_path.rglob("*.json")).metadata(image) == {
        "a": "root",
        "b": "root echo",
        "c": "subject",
        "d": "image",
    }


@pytest.mark.parametrize(
    ("content", "text"), [("{", "not valid JSON"), ("[1]", "no JSON object"), ("\x00", "JSON")]
)
def test_broken_sidecars_are_named(tmp_path, content, text):
    path = tmp_path / "sub-01" / "anat" / "sub-01_T1w.json"
    path.parent.mkdir(parents=True)
    path.write_text(content)
    with pytest.raises(UnusableData, match=text) as error:
        Sidecars(tmp_path, tmp_path.rglob("*.json")).metadata(path.with_name("sub-01_T1w.nii.gz"))
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_byte_order_mark_is_no_error(tmp_path):
    (tmp_path / "T1w.json").write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert Sidecars(tmp_path, tmp_path.rglob("*.json")).metadata(tmp_path / "sub-01_T1w.nii.gz") == {"a": 1}
