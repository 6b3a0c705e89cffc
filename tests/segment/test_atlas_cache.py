import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from qsmxt_app.registration import Image
from qsmxt_app.segment.atlas import Atlas
from qsmxt_app.segment.atlas_cache import cached_atlas
from qsmxt_app.segment.atlases import ATLASES, BuiltInAtlas
from qsmxt_app.segment.regions import Region

REGIONS = (Region(1, "all"),)


@pytest.fixture
def builds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Register a toy atlas that notes each time it is built, with a cache of its own."""
    made: list[str] = []

    def build() -> Atlas:
        made.append("toy")
        head = Image(np.ones((3, 3, 3), np.float32), np.eye(4))
        return Atlas("toy", head, head.with_array(np.ones((3, 3, 3), np.int32)), REGIONS)

    module = ModuleType("toy")
    module.ATLAS = BuiltInAtlas("toy", (), "", lambda: REGIONS, build)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "toy", module)
    monkeypatch.setitem(ATLASES.modules, "toy", "toy")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return made


def test_an_atlas_is_built_once_and_reads_back(builds: list[str], tmp_path: Path) -> None:
    first, second = (cached_atlas("toy", tmp_path / "none") for _ in range(2))
    assert builds == ["toy"]
    assert np.array_equal(first.labels.array, second.labels.array)
    assert (tmp_path / "cache" / "qsmxt").stat().st_mode & 0o777 == 0o700
    assert not list((tmp_path / "cache" / "qsmxt").glob(".*"))


def test_an_image_with_a_read_only_root_holds_it(builds: list[str], tmp_path: Path) -> None:
    prepared = tmp_path / "prepared"
    prepared.mkdir()
    cached_atlas("toy", prepared)
    prepared.chmod(0o500)
    cached_atlas("toy", prepared)
    assert builds == ["toy"]


def test_a_folder_that_others_may_write_to_is_not_trusted(builds: list[str], tmp_path: Path) -> None:
    shared = tmp_path / "cache" / "qsmxt"
    shared.mkdir(parents=True)
    shared.chmod(0o777)
    for _ in range(2):
        cached_atlas("toy", tmp_path / "none")
    assert builds == ["toy", "toy"]
    assert not list(shared.iterdir())


def test_without_any_folder_it_is_built_each_time(
    builds: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    for _ in range(2):
        assert cached_atlas("toy", tmp_path / "none").name == "toy"
    assert builds == ["toy", "toy"]
