import base64
import hashlib
import io
import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import etree, html
from PIL import Image
from report_data import Outputs, head, ras_affine, region_maps, rotation

from qsmxt_app.errors import NoInput
from qsmxt_app.qsm.field_checks import echo_number_warning
from qsmxt_app.records.scan import read_record
from qsmxt_app.report import build_index, build_participant_report
from qsmxt_app.workflows.quality import record_quality

HOSTILE = "\"'><script>alert(1)</script><img src=https://example.org/x onerror=alert(2)>{{ 7*7 }}"


def page(outputs: Outputs, subject: str = "01") -> Any:
    return html.fromstring(build_participant_report(outputs.folder, subject).read_bytes())


def headings(tree: Any) -> list[str]:
    return [" ".join(node.text_content().split()) for node in tree.xpath("//h2|//h3")]


def nothing_from_outside(tree: Any) -> None:
    """No element may load anything, and nothing may run but what the policy knows by its hash."""
    assert not tree.xpath("//iframe|//object|//embed|//link[@rel!='icon']|//form|//base")
    policy = tree.xpath("//meta[@http-equiv='Content-Security-Policy']/@content")[0]
    assert policy.startswith("default-src 'none'; img-src data:;")
    for script in tree.xpath("//script"):
        if script.get("type") not in ("application/json", "application/gzip"):
            digest = base64.b64encode(hashlib.sha256(script.text.encode()).digest()).decode()
            assert f"'sha256-{digest}'" in policy
    sources = policy.partition("script-src ")[2].split(";")[0].split()
    assert all(source.startswith("'sha256-") for source in sources)
    for node in tree.iter(etree.Element):
        for name, value in node.attrib.items():
            assert not name.startswith("on"), etree.tostring(node)[:200]
            if name in ("src", "data", "poster", "srcset"):
                assert value.startswith("data:image/")
            if name == "href" and node.tag != "a":
                assert value.startswith("data:")
            if name == "style":
                assert "url" not in value
    assert "url(" not in "".join(tree.xpath("//style/text()"))


def test_a_finished_acquisition_shows_every_section(outputs: Outputs) -> None:
    outputs.add("sub-01_ses-A_run-1")
    tree = page(outputs)
    assert tree.xpath("//h1/text()") == ["sub-01"]
    assert headings(tree) == [
        "Session A, run 1 usable", "3-D viewer", "Session A, run 1 usable", "Susceptibility (χ)", "Phase",
        "Mask", "Field", "R2*", "Susceptibility-weighted images", "Convergence", "Not shown", "Input",
        "Time and memory", "Methods", "References", "Software",
    ]  # fmt: skip
    text = tree.text_content()
    for words in ("4, 12, 20 ms", "3 T", "5 × 5 × 5 mm", "Stored as 0..4095", "monopolar", "1.10 GB", "14 s"):  # noqa: RUF001
        assert words in text
    nothing_from_outside(tree)


def test_every_picture_decodes_and_says_what_it_shows(outputs: Outputs) -> None:
    outputs.add()
    images = page(outputs).xpath("//img")
    assert len(images) > 60
    for image in images:
        assert len(image.get("alt")) > 10
        kind, _, content = image.get("src").partition(";base64,")
        content = base64.b64decode(content)
        if kind == "data:image/svg+xml":
            assert etree.fromstring(content).tag.endswith("svg")
        else:
            Image.open(io.BytesIO(content)).load()


@pytest.mark.parametrize("order", ["RAS", "LPS", "AIL"])
def test_a_source_on_the_right_is_on_the_right_of_the_page(outputs: Outputs, order: str) -> None:
    maps = head()
    chi = np.where(maps["mask"] > 0, 1e-6, 0.0)
    chi[23:31, 25:33, 18:26] = 0.1  # right, front, top in RAS
    stored, start = nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(order)
    turn = nib.orientations.ornt_transform(stored, start)
    turned = {
        key: nib.orientations.apply_orientation(volume, turn)
        for key, volume in {"mask": maps["mask"], "chi": chi}.items()
    }
    affine = ras_affine() @ nib.orientations.inv_ornt_aff(turn, chi.shape)
    outputs.add(affine=affine, maps=turned)
    found = 0
    for image in page(outputs).xpath("//img[starts-with(@alt, 'Susceptibility')]"):
        content = base64.b64decode(image.get("src").partition(";base64,")[2])
        grey = np.asarray(Image.open(io.BytesIO(content)).convert("L"), dtype=float)
        rows, columns = np.nonzero(grey > 230)
        if rows.size:
            found += 1
            assert columns.mean() > grey.shape[1] * 0.55, image.get("alt")
            assert rows.mean() < grey.shape[0] * 0.45, image.get("alt")
            assert ("L on the left" in image.get("alt")) or ("P on the left" in image.get("alt"))
    assert found >= 3


def test_colour_bars_state_the_window_of_chi(outputs: Outputs) -> None:
    outputs.add(
        change=lambda content: [content["outputs"].pop(key) for key in ("chi_singlepass", "chi_noise")]
    )
    bars = page(outputs).xpath("//section[@id='acquisition-1-chi']//div[@class='bar']")
    assert [bar.text_content().split() for bar in bars] == [
        ["−0.1", "0", "0.1", "ppm"],  # noqa: RUF001
        ["−0.5", "0", "0.5", "ppm"],  # noqa: RUF001
    ]


def test_holes_and_outline_are_drawn_over_the_magnitude(outputs: Outputs) -> None:
    outputs.add()
    section = page(outputs).xpath("//section[@id='acquisition-1-mask']")[0]
    kinds = section.xpath(".//*[local-name()='path']/@class")
    assert kinds.count("mask") == 6
    assert 0 < kinds.count("hole") < 6


def fail(content: dict[str, Any]) -> None:
    content |= {
        "status": "failed", "outputs": {}, "inversion": {}, "field": {}, "mask": {},
        "timings": {"prepare": 1.0},
        "errors": [{"step": "masks", "message": "the mask is empty", "log": "logs/run/crash.txt"}],
    }  # fmt: skip


def test_the_headline_counts_what_the_quality_table_calls_poor(outputs: Outputs) -> None:
    poor = {
        "value": 9.0, "units": "1", "limits": [1.5, 3.0], "state": "bad", "title": "Streaking",
        "description": "x",
    }  # fmt: skip
    outputs.add(change=lambda content: content.update(quality={"streaking": poor}))
    tree = page(outputs)
    assert tree.xpath("//p[@class='summary']/text()")[0].startswith("1 acquisition: 1 look first.")
    assert tree.xpath("//div[@class='finding warning']")


def test_the_page_says_how_sure_the_sign_of_the_map_is(outputs: Outputs) -> None:
    outputs.add(change=lambda content: content["field"].update(outline_correlation=0.45))
    (fact,) = page(outputs).xpath("//dt[text()='Sign of the map']/following-sibling::dd[1]")
    assert fact.text_content().startswith(
        "right, medium confidence: the outline of the head predicts the field"
    )


def test_a_finished_acquisition_of_a_head_warns_of_nothing(outputs: Outputs) -> None:
    outputs.add(change=lambda content: content["inputs"].update(voxel_size=[1.0, 1.0, 1.0]))
    tree = page(outputs)
    assert not tree.xpath("//div[starts-with(@class, 'finding')]")
    assert "No check found a fault." in tree.text_content()


def test_what_scans_share_counts_once_in_the_time_that_all_took(outputs: Outputs) -> None:
    def spend(seconds: float) -> Callable[[dict[str, Any]], None]:
        timings = {"timings": {"register_atlas": 50.0}}
        return lambda content: content.update(timings={"tgv": seconds}, segmentation=timings)

    outputs.add("sub-01_run-1", change=spend(10.0))
    outputs.add("sub-01_run-2", change=spend(20.0))
    tree = page(outputs)
    assert "All steps took 1 min 20 s" in tree.text_content()
    steps = tree.xpath("//section[@id='acquisition-1']//table//tr[contains(., 'registration of the atlas')]")
    assert "50 s" in " ".join(steps[0].text_content().split())


def test_a_failed_acquisition_says_what_failed_why_and_where_to_read_more(outputs: Outputs) -> None:
    outputs.add("sub-01_run-1", change=fail, maps={})
    outputs.add("sub-01_run-2")
    tree = page(outputs)
    section = tree.xpath("//section[@id='acquisition-1']")[0]
    words = section.xpath(".//div[@class='finding error']")[0].text_content()
    assert all(part in words for part in ("masks", "the mask is empty", "logs/run/crash.txt"))
    assert "No susceptibility map was written, because a step failed." in section.text_content()
    assert tree.xpath("//section[@id='acquisition-2']//img")
    first = tree.xpath("//section[contains(@class, 'verdict')]")[0]
    assert first.xpath(".//h2/span/text()") == ["failed"]
    assert "masks" in first.xpath(".//ul[@class='worst']/li")[0].text_content()


def drop(*keys: str) -> Callable[[dict[str, Any]], None]:
    return lambda content: [content.pop(key) for key in keys] and None


def single_echo(content: dict[str, Any]) -> None:
    content["inputs"]["echo_times"] = [0.02]
    content["warnings"] = list(echo_number_warning(1))
    del content["outputs"]["r2star"]


def test_a_single_echo_has_no_r2star_and_the_page_says_why(outputs: Outputs) -> None:
    outputs.add(change=single_echo)
    text = page(outputs).text_content()
    assert "No R2* map: it needs at least two echoes." in text
    assert "only one echo" in text
    assert "1 acquisition: 1 look first, 1 qualitative, of a single echo" in text


@pytest.mark.parametrize(
    "change",
    [
        drop("inversion"),
        drop("mask", "field"),
        drop("inputs", "settings", "software", "timings", "memory_mb"),
        lambda content: content["outputs"].pop("mask"),
        lambda content: content["outputs"].pop("magnitude"),
        lambda content: content["outputs"].pop("chi"),
        lambda content: content["outputs"].update(r2star="sub-01/anat/gone.nii.gz"),
        lambda content: content["inversion"].update(history={"iteration": [1], "chi_change": [float("nan")]}),
        lambda content: content.clear(),
    ],
)
def test_a_page_is_written_whatever_is_missing(outputs: Outputs, change: Callable[[dict], object]) -> None:
    outputs.add(change=change)
    tree = page(outputs)
    assert tree.xpath("//section[@id='acquisition-1']//h2")
    nothing_from_outside(tree)


@pytest.mark.parametrize("damage", ["truncated", "text", "empty", "other grid", "singular"])
def test_damaged_volumes_are_named_and_the_rest_is_shown(outputs: Outputs, damage: str) -> None:
    outputs.add()
    path = next(outputs.folder.glob("sub-01/anat/*_desc-r2star.nii.gz"))
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:2000])
    elif damage == "text":
        path.write_text("not an image")
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "other grid":
        nib.save(nib.Nifti1Image(np.ones((4, 4, 4), np.float32), np.eye(4)), path)
    else:
        image = nib.Nifti1Image(np.ones((4, 4, 4), np.float32), None)
        image.header.set_sform(np.diag([0.0, 0, 0, 1]), 1)
        nib.save(image, path)
    tree = page(outputs)
    warning = tree.xpath("//div[@class='finding warning']")[0].text_content()
    assert "desc-r2star" in warning
    assert tree.xpath("//section[@id='acquisition-1-chi']//img")


def test_voxels_that_are_no_numbers_are_an_error(outputs: Outputs) -> None:
    maps = head()
    maps["chi"][18, 22, 16] = np.nan
    record_quality(outputs.folder, read_record(outputs.add(maps=maps)))
    assert "1 voxels of the susceptibility map are not numbers" in page(outputs).text_content()


def test_an_oblique_acquisition_is_shown(outputs: Outputs) -> None:
    outputs.add(affine=rotation(30) @ ras_affine())
    assert len(page(outputs).xpath("//section[@id='acquisition-1-chi']//img")) == 70


def test_the_same_input_gives_the_same_bytes(outputs: Outputs) -> None:
    outputs.add()
    first = build_participant_report(outputs.folder, "01").read_bytes()
    (outputs.folder / "sub-01.html").unlink()
    assert build_participant_report(outputs.folder, "sub-01").read_bytes() == first


def everything_hostile(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: everything_hostile(item) for key, item in value.items()}
    if isinstance(value, list):
        return [everything_hostile(item) for item in value]
    return f"{value}{HOSTILE}" if isinstance(value, str) else value


def test_hostile_text_in_a_record_stays_text(outputs: Outputs) -> None:
    path = outputs.add()
    content = json.loads(path.read_text())
    kept = content["outputs"]
    content = everything_hostile(content) | {"outputs": kept}
    content["timings"][HOSTILE] = 3.0
    content["settings"][HOSTILE] = HOSTILE
    content["software"][HOSTILE] = HOSTILE
    content["errors"] = [{"step": HOSTILE, "message": HOSTILE, "log": HOSTILE}]
    content["warnings"] = [HOSTILE]
    path.write_text(json.dumps(content))
    tree = page(outputs)
    nothing_from_outside(tree)
    assert "{{ 7*7 }}" in tree.text_content()
    assert not tree.xpath("//img[@src='https://example.org/x']")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(exclude_characters="/\x00", exclude_categories=["Cs"]), min_size=1, max_size=40))
def test_names_of_participants_stay_text(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "out"
    try:
        (folder / f"sub-{name}").mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    tree = html.fromstring(build_participant_report(folder, f"sub-{name}").read_bytes())
    nothing_from_outside(tree)
    index = html.fromstring(build_index(folder).read_bytes())
    nothing_from_outside(index)
    assert all(re.match(r"sub-|#|logs/|data:", link) for link in index.xpath("//@href"))
    (folder / f"sub-{name}").rmdir()
    (folder / f"sub-{name}.html").unlink()


@pytest.mark.parametrize("subject", ["99", "", "../other", "sub-"])
def test_a_participant_without_outputs_is_refused(outputs: Outputs, subject: str) -> None:
    (outputs.folder.parent / "other").mkdir()
    with pytest.raises(NoInput, match="holds no outputs"):
        build_participant_report(outputs.folder, subject)


def test_headings_do_not_skip_levels_and_tables_have_headers(outputs: Outputs) -> None:
    outputs.add()
    tree = page(outputs)
    levels = [int(node.tag[1]) for node in tree.xpath("//h1|//h2|//h3|//h4")]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert tree.get("lang") == "en"
    assert tree.xpath("//meta[@name='viewport']")
    for table in tree.xpath("//table"):
        assert table.xpath(".//thead//th[@scope='col']")
        assert len(table.xpath(".//tbody/tr")) == len(table.xpath(".//tbody/tr/th[@scope='row']"))
    identifiers = tree.xpath("//@id")
    assert len(identifiers) == len(set(identifiers))
    for label in tree.xpath("//label"):
        assert label.get("for") in identifiers


def test_extra_maps_are_shown_where_they_were_made(outputs: Outputs) -> None:
    outputs.add("sub-01_run-1")
    outputs.add(
        "sub-01_run-2", change=lambda content: [drop("swi", "mip")(content["outputs"]), no_swi(content)]
    )
    tree = page(outputs)
    shown = [
        image.get("alt").split(",")[0] for image in tree.xpath("//section[@id='acquisition-1-swi']//img")
    ]
    assert set(shown) == {"Susceptibility-weighted", "Minimum over a slab"}
    assert tree.xpath("//section[@id='acquisition-1-chi']//img[starts-with(@alt, 'Standard error')]")
    assert not tree.xpath("//section[@id='acquisition-2-swi']")
    assert "--no-swi" in tree.xpath("//section[@id='acquisition-2']")[0].text_content()


def no_swi(content: dict[str, Any]) -> None:
    content["settings"]["swi"] = False


def test_two_steps_and_a_preset_that_was_chosen_are_told(outputs: Outputs) -> None:
    def two_step(content: dict[str, Any]) -> None:
        content["settings"] |= {"qsm_method": "two-step", "background": "lbv", "inversion": "tv"}
        content["preset"] = {"preset": "epi", "reason": "ScanningSequence EP says so"}
        content["background"] = {"background_converged": False}
        content["inversion"] |= {"converged": False, "history": {}}

    outputs.add(change=two_step)
    text = page(outputs).text_content()
    assert "chosen because: ScanningSequence EP says so" in text
    assert "Background field removal stopped before it converged" in text
    assert "--inversion" in text
    assert "--tgv-iterations" not in text


def test_nuclei_are_shown_closer_where_they_are_labelled(outputs: Outputs) -> None:
    outputs.add("sub-01_run-1", maps=head() | region_maps())
    tree = html.fromstring(build_participant_report(outputs.folder, "01", volumes="none").read_bytes())
    assert not tree.xpath("//section[@id='acquisition-1-nuclei']")
    for table in (outputs.folder / "sub-01" / "anat").glob("*desc-dseg.tsv"):
        table.write_text("index\tname\themisphere\n1\tputamen\tL\n2\tred-nucleus\tR\n")
    tree = html.fromstring(build_participant_report(outputs.folder, "01", volumes="none").read_bytes())
    (panel,) = tree.xpath("//section[@id='acquisition-1-nuclei']")
    assert panel.xpath(".//label/text()") == ["Deep grey matter", "Midbrain"]
    places = [" ".join(view.itertext()) for view in panel.xpath(".//div[contains(@class, 'view-')]")]
    assert len(places) == 2
    for view in panel.xpath(".//div[contains(@class, 'view ')]"):
        tiles = view.xpath(".//li[@class='tile']")
        outlined = [tile for tile in tiles if tile.xpath(".//path")]
        assert 2 * len(outlined) == len(tiles) >= 4
        # the head is 180 mm wide, a nucleus 22 mm, with 14 mm around it
        width = float(outlined[0].xpath(".//svg/@viewbox | .//svg/@viewBox")[0].split()[2])
        assert 40 < width < 60
