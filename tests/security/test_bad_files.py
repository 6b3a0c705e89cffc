"""A file of one participant, whatever it is, ends that participant's scan and nothing else."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import socket
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "workflows"))

from hostile import json_values
from mini_dataset import write_mini_dataset

from qsmxt_app.bids.acquisition_images import load_acquisition, read_image
from qsmxt_app.bids.assembly import ImageFile, assemble
from qsmxt_app.bids.entities import parse_name
from qsmxt_app.bids.headers import read_header
from qsmxt_app.bids.sidecars import Sidecars
from qsmxt_app.errors import NoInput, QsmxtError, UnusableData

FIELDS = nib.nifti1.Nifti1Header().structarr.dtype
SPECIAL = [float("nan"), float("inf"), -float("inf"), -1.0, 0.0, 1e-40, 1e38, 3e9, 352.0, 351.5]
KEYS = ("EchoTime", "MagneticFieldStrength", "Units", "EchoNumber", "PhilipsRescaleSlope", "AcquisitionTime")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of one participant's images, which tests may change and restore."""
    root = write_mini_dataset(tmp_path_factory.mktemp("bad") / "raw", ("01",), echoes=1) / "sub-01" / "anat"
    for path in root.glob("*.nii.gz"):
        small = np.asarray(nib.load(path).dataobj)[:6, :5, :4]
        nib.save(nib.Nifti1Image(small, np.eye(4)), path.with_suffix(""))
        path.unlink()
    return root


def use(folder: Path) -> None:
    """Assemble and load the scan; errors of other kinds than ours are let through."""
    paths = sorted(folder.glob("*.nii*"))
    names = [(path, parse_name(path.name)) for path in paths]
    images = [ImageFile(path, name.entities, name.suffix) for path, name in names if name]
    acquisition, problems = assemble(images, Sidecars(folder, folder.glob("*.json")))
    assert (acquisition is None) == bool(problems)
    for problem in problems:
        assert "cannot be understood" not in problem.message, problem.message
        assert problem.exit_code in {65, 66}
    if acquisition is not None:
        with contextlib.suppress(QsmxtError):
            load_acquisition(acquisition)


def fuzz(cases: int) -> settings:
    checks = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
    return settings(max_examples=cases, deadline=None, suppress_health_check=checks)


def field_values(name: str) -> st.SearchStrategy[Any]:
    kind = FIELDS[name].base.kind
    if kind == "S":
        return st.binary(max_size=FIELDS[name].itemsize)
    if kind == "f":
        return st.one_of(st.sampled_from(SPECIAL), st.floats(width=32))
    limits = np.iinfo(FIELDS[name].base)
    return st.one_of(st.sampled_from([limits.min, limits.max, 0, 1]), st.integers(limits.min, limits.max))


changes = st.dictionaries(st.sampled_from(FIELDS.names), st.integers(), min_size=1, max_size=3).flatmap(
    lambda names: st.fixed_dictionaries({name: field_values(name) for name in names})
)


@fuzz(700)
@given(changes, st.integers(0, 7), st.booleans())
def test_any_header(folder: Path, changed: dict[str, Any], index: int, zipped: bool) -> None:
    path = next(folder.glob("*part-phase*.nii"))
    content = bytearray(path.read_bytes())
    header = np.frombuffer(content[:348], FIELDS)[0].copy()
    for name, value in changed.items():
        with np.errstate(all="ignore"):
            if FIELDS[name].shape:
                header[name][index % FIELDS[name].shape[0]] = value
            else:
                header[name] = value
    bad = header.tobytes() + bytes(content[348:])
    other = path.with_suffix(".nii.gz") if zipped else path
    try:
        path.unlink()
        other.write_bytes(gzip.compress(bad, 1) if zipped else bad)
        use(folder)
    finally:
        other.unlink()
        path.write_bytes(content)


@fuzz(300)
@given(
    st.one_of(
        json_values.map(lambda value: json.dumps(value).encode("utf-8", "surrogatepass")),
        st.dictionaries(st.sampled_from(KEYS), json_values).map(
            lambda value: json.dumps(value).encode("utf-8", "surrogatepass")
        ),
        st.sampled_from([b"[" * 900 + b"]" * 900, b"[" * 10**5, b'{"a":' * 2000 + b"1" + b"}" * 2000]),
        st.sampled_from([b'{"EchoTime": 1' + b"0" * 5000 + b"}", b'{"EchoTime": NaN}', b"\xff\xfe{}"]),
        st.binary(max_size=40),
    )
)
def test_any_sidecar(folder: Path, content: bytes) -> None:
    path = next(folder.glob("*part-phase*.json"))
    before = path.read_bytes()
    try:
        path.write_bytes(content)
        use(folder)
    finally:
        path.write_bytes(before)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        here = Path.cwd()
        os.chdir(path.parent)
        made.bind(path.name)
        os.chdir(here)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", ["*part-phase*.nii", "*part-mag*.json"])
@pytest.mark.parametrize(
    "make",
    [os.mkfifo, Path.mkdir, _socket, lambda path: path.symlink_to("/dev/zero")],
    ids=["fifo", "folder", "socket", "device"],
)
def test_what_is_no_regular_file_is_refused_at_once(
    folder: Path, kind: str, make: Callable[[Path], None]
) -> None:
    path = next(folder.glob(kind))
    before = path.read_bytes()
    path.unlink()
    make(path)
    try:
        use(folder)
        if path.suffix == ".nii":
            with pytest.raises(NoInput, match="regular file"):
                read_header(path)
    finally:
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        path.write_bytes(before)


def test_no_more_is_decompressed_than_the_header_promises(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.ones((8, 8, 8), np.float32), np.eye(4))
    path = tmp_path / "bomb.nii.gz"
    path.write_bytes(gzip.compress(image.to_bytes() + bytes(200_000_000), 1))
    tracemalloc.start()
    try:
        with pytest.raises(UnusableData, match="holds more than"):
            read_image(path)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()
    assert path.stat().st_size < 2_000_000


@pytest.mark.parametrize("cut", [0, 1, 8, 9])
@pytest.mark.parametrize("members", [1, 3])
def test_files_of_several_members_and_cut_ones(tmp_path: Path, cut: int, members: int) -> None:
    image = nib.Nifti1Image(np.arange(512, dtype=np.float32).reshape(8, 8, 8), np.eye(4))
    content = image.to_bytes()
    size = len(content) // members + 1
    stored = b"".join(gzip.compress(content[at : at + size]) for at in range(0, len(content), size))
    path = tmp_path / "image.nii.gz"
    path.write_bytes(stored[: len(stored) - cut])
    if cut:
        with pytest.raises(UnusableData, match="truncated or damaged"):
            read_image(path)
    else:
        np.testing.assert_array_equal(read_image(path), image.get_fdata())
