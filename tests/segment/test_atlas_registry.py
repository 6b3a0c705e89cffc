import contextlib
import io
import sys
from types import ModuleType

import numpy as np
import pytest

from qsmxt_app.cli import main
from qsmxt_app.config import load_settings
from qsmxt_app.errors import WrongUsage
from qsmxt_app.records.scan import ScanRecord, Segmentation
from qsmxt_app.registration import Image, Transform
from qsmxt_app.report.labelling_text import segmentation_sentences
from qsmxt_app.segment.atlas import Atlas
from qsmxt_app.segment.atlas_loading import atlas_regions, check_atlas, load_atlas
from qsmxt_app.segment.atlases import ATLASES, BuiltInAtlas
from qsmxt_app.segment.labelling import label_t1w
from qsmxt_app.segment.prepare import PreparedT1w
from qsmxt_app.segment.regions import Region
from qsmxt_app.workflows.segmentation.steps import _atlas


def toy_regions() -> tuple[Region, ...]:
    return (Region(1, "half", "L"), Region(2, "half", "R"))


def build_toy() -> Atlas:
    labels = np.ones((4, 4, 4), np.int32)
    labels[2:] = 2
    head = Image(np.full((4, 4, 4), 100, np.float32), np.eye(4))
    return Atlas("toy", head, head.with_array(labels), toy_regions(), sources=("no one, public domain",))


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> str:
    module = ModuleType("toy")
    module.ATLAS = BuiltInAtlas(  # type: ignore[attr-defined]
        summary="two halves",
        sources=("no one, public domain",),
        phrase="a cube in two halves [@fonov2011]",
        regions=toy_regions,
        build=build_toy,
    )
    monkeypatch.setitem(sys.modules, "toy", module)
    monkeypatch.setitem(ATLASES.modules, "toy", "toy")
    return "toy"


def test_an_atlas_that_is_registered_is_in_the_help(toy: str) -> None:
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.suppress(SystemExit):
        main(["--help"])
    assert ", toy (default: qsmxt)" in " ".join(shown.getvalue().split())


def test_it_can_be_chosen_and_labels_an_image(toy: str) -> None:
    assert load_settings({"atlas": toy}).atlas == toy
    with pytest.raises(WrongUsage, match=r"Built in: qsmxt.*, toy"):
        load_settings({"atlas": "toys"})
    check_atlas(toy)
    assert [region.hemisphere for region in atlas_regions(toy)] == ["L", "R"]
    assert _atlas(toy) == {"atlas": toy, "atlas_files": []}
    atlas = load_atlas(toy)
    prepared = PreparedT1w(atlas.t1w, atlas.brain, Transform(), had_skull=False)
    assert np.array_equal(label_t1w(atlas, Transform(), prepared).labels.array, atlas.labels.array)


def test_the_methods_text_names_it_with_its_paper(toy: str) -> None:
    found = Segmentation("done", method="atlas", atlas=toy)
    (labelled, *_) = segmentation_sentences(ScanRecord(stem="sub-01", segmentation=found))
    assert "a cube in two halves [@fonov2011]" in labelled


@pytest.mark.parametrize("name", ATLASES)
def test_every_atlas_says_where_it_comes_from(name: str) -> None:
    declared = ATLASES[name]
    assert declared.summary
    assert "[@" in declared.phrase
    assert all(any(char in source for char in "(;") for source in declared.sources)
    assert {region.index for region in declared.regions()}
