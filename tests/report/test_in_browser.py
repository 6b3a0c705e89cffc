"""Pages in a real browser: what they show, ask for and complain about."""

import io
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from report_data import Outputs, group_record, group_table, head, ras_affine, region_maps, rotation

from qsmxt_app.group.ratings import Rating, read_ratings
from qsmxt_app.report import build_index, build_participant_report, write_citations
from qsmxt_app.report.study.page import build_group_report

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is missing")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="Chromium is not installed: apt-get install chromium"
)

SOFTWARE_GRAPHICS = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-gpu-sandbox"]
PATIENCE_MS = 60_000
SERIOUS = ("serious", "critical")


def one_source_on_the_right() -> dict[str, np.ndarray]:
    """A head that is flat but for a source on the right, in front, above."""
    maps = {key: volume for key, volume in head().items() if key in ("mask", "magnitude")}
    maps["chi"] = np.where(maps["mask"] > 0, 1e-3, 0.0)
    maps["chi"][23:29, 25:31, 18:24] = 0.2
    return maps


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    outputs = Outputs(tmp_path_factory.mktemp("reports") / "out")
    scans = {"A": (head() | region_maps(), 0.02), "B": (one_source_on_the_right(), 0.01)}
    for session, (maps, noise) in scans.items():
        measure = {
            "value": noise, "units": "ppm", "limits": [0.03, 0.05], "state": "good", "title": "Noise",
            "description": "Standard deviation of chi in homogeneous tissue.", "note": "",
        }  # fmt: skip

        def measured(content: dict[str, Any], measure: dict[str, Any] = measure) -> None:
            content.update(quality={"noise": measure})

        outputs.add(f"sub-01_ses-{session}_run-1", maps=maps, change=measured)
    tilted = {key: head()[key] for key in ("mask", "magnitude", "chi")}
    outputs.add("sub-01_ses-C_run-1", maps=tilted, affine=rotation(30) @ ras_affine())
    outputs.add(
        "sub-02", maps={}, change=lambda content: content.update(status="failed", errors=["no signal"])
    )
    for subject in ("01", "02"):
        build_participant_report(outputs.folder, subject)
    add_group(outputs.folder)
    build_index(outputs.folder)
    write_citations(outputs.folder)
    return outputs.folder


def add_group(out: Path) -> None:
    """A group of which one participant is missing for a long reason, and one is far from the others."""
    people = {f"sub-{n:02d}": 0.05 + 0.002 * n for n in range(1, 9)}
    group_table(out, {**people, "sub-09": 0.2}, region="substantia nigra, pars reticulata")
    anat = out / "tpl-study" / "anat"
    anat.mkdir(parents=True)
    for name, key in (("T2starw", "magnitude"), ("Chimap", "chi")):
        nib.Nifti1Image(head()[key], ras_affine()).to_filename(anat / f"tpl-study_{name}.nii.gz")
    scans = {person: [person] for person in people}
    rounds = [{"change": 0.5 / n, "shape_update_mm": 2 / n} for n in (1, 2, 4)]
    template = {"name": "study", "participants": scans, "rounds": rounds, "tolerance": 0.1, "ended": "so"}
    missing = [
        {"participant": "10", "scan": "sub-10_ses-A", "reason": "/very/long/name" * 20, "log": "logs/x" * 20}
    ]
    group_record(out, template=template, missing=missing, command="qsmxt " + "a" * 300)
    build_group_report(out)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    # as root, which containers are, Chromium starts only without its sandbox; pages here are our own
    root = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=[*SOFTWARE_GRAPHICS, *root])
        yield opened
        opened.close()


class Tab:
    """An opened page with all that it asked for and complained about."""

    def __init__(self, browser: Any, file: Path, *, width: int = 1280, **options: Any) -> None:
        self.page = browser.new_page(viewport={"width": width, "height": 900}, **options)
        self.page.set_default_timeout(PATIENCE_MS)
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.file = file

    def open(self) -> "Tab":
        self.page.goto(self.file.as_uri())
        return self

    def ready(self) -> "Tab":
        self.page.wait_for_selector("#viewer[data-state=ready]")
        return self

    def canvas(self) -> np.ndarray:
        """Colours of the viewer's picture after it was drawn again."""
        self.page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 50)))")
        picture = self.page.locator("#viewer-canvas").screenshot()
        colours = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"), dtype=int)
        return colours[1:-1, 1:-1]  # the canvas may begin within a pixel of the page

    def go_to(self, x: int, y: int, z: int) -> None:
        for axis, value in zip("xyz", (x, y, z), strict=True):
            self.page.locator(f"#viewer-{axis}").fill(str(value))


def test_tables_of_the_group_are_sorted_by_a_click(browser: Any, folder: Path) -> None:
    tab = Tab(browser, folder / "group.html").open()
    table = tab.page.locator("#quality table")
    column = "(table) => [...table.tBodies[0].rows].map((row) => row.cells[1].dataset.value)"
    for order in (["0.01", "0.02"], ["0.02", "0.01"]):
        table.get_by_role("button", name="Noise").click()
        # what is not known stays below
        assert table.evaluate(column) == [*order, "", ""]
    assert tab.complaints == []
    tab.page.close()


def test_the_list_is_filtered_by_verdict_and_by_what_was_rated_in_this_browser(
    browser: Any, folder: Path
) -> None:
    tab = Tab(browser, folder / "sub-02.html").open()
    tab.page.locator(".rating").first.get_by_label("bad").check()
    tab.page.goto((folder / "index.html").as_uri())
    names = tab.page.locator("tbody tr:visible th a")
    assert names.all_text_contents() == ["sub-01", "sub-02"]
    tab.page.get_by_label("Your rating").select_option("bad")
    assert names.all_text_contents() == ["sub-02"]
    tab.page.get_by_label("Your rating").select_option("")
    assert names.all_text_contents() == ["sub-01", "sub-02"]
    tab.page.get_by_label("Verdict").select_option("failed")
    assert names.all_text_contents() == ["sub-02"]
    assert tab.complaints == []
    tab.page.close()


def test_letters_of_the_group_are_as_large_on_a_telephone(browser: Any, folder: Path) -> None:
    tab = Tab(browser, folder / "group.html", width=400).open()
    letters = tab.page.locator(".strip text, .strip span").all()
    assert letters
    sizes = [
        one.evaluate("(text) => text.getBoundingClientRect().height") for one in letters if one.is_visible()
    ]
    assert min(size for size in sizes if size) >= 11
    tab.page.close()


def test_a_rating_is_kept_and_saved_as_the_group_reads_it(browser: Any, folder: Path, tmp_path: Path) -> None:
    tab = Tab(browser, folder / "sub-02.html").open()
    scan = tab.page.locator(".rating").first
    scan.get_by_label("bad").check()
    scan.get_by_label("Comment").fill("moved\ta lot")
    tab.page.reload()
    assert scan.get_by_label("bad").is_checked()
    with tab.page.expect_download() as download:
        scan.get_by_role("button", name="Save as TSV").click()
    download.value.save_as(tmp_path / download.value.suggested_filename)
    assert read_ratings(tmp_path) == {"sub-02": Rating("bad", "moved a lot")}
    assert tab.complaints == []
    tab.page.close()


def test_pages_follow_each_other_as_in_the_list_that_led_there(browser: Any, folder: Path) -> None:
    tab = Tab(browser, folder / "index.html").open()
    tab.page.get_by_role("searchbox").fill("failed")
    assert tab.page.locator("tbody tr:visible").count() == 1
    tab.page.get_by_role("searchbox").fill("")
    tab.page.get_by_role("link", name="sub-01").click()
    assert tab.page.locator("#previous").is_hidden()
    tab.page.get_by_role("link", name="Next: sub-02").click()
    assert tab.page.locator("h1").text_content() == "sub-02"
    assert tab.page.locator("#next").is_hidden()
    tab.page.get_by_role("link", name="Previous: sub-01").click()
    assert tab.page.locator("h1").text_content() == "sub-01"
    assert tab.complaints == []
    tab.page.close()


@pytest.fixture(scope="module")
def viewer_tab(browser: Any, folder: Path) -> Iterator[Tab]:
    tab = Tab(browser, folder / "sub-01.html", width=800).open().ready()
    # pictures of the viewer show the viewer, not what stays in place above it
    tab.page.add_style_tag(content=".pages { position: static; }")
    yield tab
    tab.page.close()


@pytest.fixture
def viewer(viewer_tab: Tab) -> Iterator[Tab]:
    """The page of a participant, with the controls of its viewer as at the start."""
    page = viewer_tab.page
    page.emulate_media(media="screen")
    for control, value in (("view", "planes"), ("scan", "0")):
        if page.locator(f"#viewer-{control}").input_value() != value:
            page.select_option(f"#viewer-{control}", value)
    page.wait_for_selector("#viewer[data-scan='Session A, run 1']")
    page.click("#viewer-reset")
    page.locator("#viewer-canvas").scroll_into_view_if_needed()
    yield viewer_tab
    assert viewer_tab.complaints == []


def amber(picture: np.ndarray) -> int:
    """Number of pixels in the colour of a mask's outline."""
    red, green, blue = np.moveaxis(picture, -1, 0)
    return int(np.count_nonzero((red > 180) & (abs(green - 0.7 * red) < 25) & (blue < 60)))


def coloured(picture: np.ndarray) -> int:
    return int(np.count_nonzero(np.ptp(picture, axis=-1) > 60))


@pytest.mark.parametrize(
    "name", ["sub-01.html", "sub-02.html", "index.html", "group.html", "logs/CITATION.html"]
)
def test_pages_ask_for_nothing_complain_of_nothing_fit_and_can_be_read(
    browser: Any, folder: Path, name: str
) -> None:
    tab = Tab(browser, folder / name).open()
    page = tab.page
    if page.locator("#viewer").count():
        tab.ready()
    for width in (1280, 400):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        sizes = page.evaluate("[...document.querySelectorAll('p')].map((p) => getComputedStyle(p).fontSize)")
        assert min(float(size.removesuffix("px")) for size in sizes) >= 12
        found = axe.Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
        faults = [fault["id"] for fault in found if fault["impact"] in SERIOUS]
        assert faults == [], found
    assert tab.complaints == []
    assert [url for url in tab.requests if not url.startswith(("data:", "blob:"))] == [tab.file.as_uri()]
    page.close()


def test_the_viewer_draws_the_map(viewer: Tab) -> None:
    viewer.page.uncheck("#viewer-show-crosshair")
    with_chi = viewer.canvas()
    assert with_chi.std() > 20
    assert coloured(with_chi) == 0
    viewer.page.uncheck("#viewer-show-chi")
    magnitude = viewer.canvas()
    assert magnitude.std() > 20
    assert np.abs(with_chi - magnitude).mean() > 5
    outside = magnitude.max(axis=-1) < 30
    assert with_chi[outside].mean() < 10
    viewer.page.check("#viewer-show-chi")
    viewer.page.locator("#viewer-opacity").fill("50")
    assert np.abs(viewer.canvas() - (with_chi + magnitude) / 2).mean() < 3
    viewer.page.locator("#viewer-opacity").fill("0")
    assert np.abs(viewer.canvas() - magnitude).mean() < 1


def test_overlays_switch_on_and_off(viewer: Tab) -> None:
    viewer.page.uncheck("#viewer-show-crosshair")
    plain = viewer.canvas()
    viewer.page.check("#viewer-show-mask")
    assert amber(viewer.canvas()) > 300
    viewer.page.uncheck("#viewer-show-mask")
    assert amber(viewer.canvas()) == 0
    viewer.page.check("#viewer-show-regions")
    assert coloured(viewer.canvas()) > 300
    viewer.page.uncheck("#viewer-show-regions")
    assert np.array_equal(viewer.canvas(), plain)


def test_the_window_follows_its_slider_and_a_drag_with_the_right_button(viewer: Tab) -> None:
    page, before = viewer.page, viewer.canvas()
    page.locator("#viewer-width").fill("0.6")
    assert page.locator("#viewer-low").text_content() == "−0.300"  # noqa: RUF001
    assert viewer.canvas().std() < before.std()
    page.click("#viewer-reset")
    assert page.locator("#viewer-high").text_content() == "0.100"
    page.locator("#viewer-title").scroll_into_view_if_needed()
    box = page.locator("#viewer-canvas").bounding_box()
    page.mouse.move(box["x"] + 100, box["y"] + 100)
    page.mouse.down(button="right")
    page.mouse.move(box["x"] + 160, box["y"] + 100, steps=4)
    page.mouse.up(button="right")
    assert float(page.locator("#viewer-width").input_value()) > 0.25


def chi_near(place: tuple[int, int, int], affine: np.ndarray) -> np.ndarray:
    """Values of the map in the voxels around a place in the scanner."""
    chi = head()["chi"]
    index = np.rint(np.linalg.solve(affine, [*place, 1])[:3] - 0.01).astype(int)
    return chi[tuple(slice(i - 1, i + 2) for i in index)]


def told_value(viewer: Tab) -> float:
    told = viewer.page.locator("#viewer-value").text_content()
    return float(re.search(r"χ = (\S+) ppm", told)[1].replace("−", "-"))  # noqa: RUF001


def test_the_number_at_the_crosshair_is_that_of_the_map(viewer: Tab) -> None:
    for place in ((20, 10, 0), (-20, 10, 0), (0, -40, 30), (5, 60, -35)):
        viewer.go_to(*place)
        assert np.abs(chi_near(place, ras_affine()) - told_value(viewer)).min() < 0.0006
        if abs(place[0]) == 20:
            side = "right" if place[0] > 0 else "left"
            assert f"{side} nucleus" in viewer.page.locator("#viewer-value").text_content()


def test_the_crosshair_is_where_it_is_in_the_scanner_also_in_tilted_slices(viewer: Tab) -> None:
    viewer.page.select_option("#viewer-scan", label="Session C, run 1")
    viewer.page.wait_for_selector("#viewer[data-scan='Session C, run 1']")
    for place in ((20, 10, 0), (-30, -40, 20), (5, 50, 10)):
        viewer.go_to(*place)
        viewer.go_to(*place)  # on the way there, one axis after the other, it may have been outside
        assert tuple(int(viewer.page.locator(f"#viewer-{axis}").input_value()) for axis in "xyz") == place
        assert np.abs(chi_near(place, rotation(30) @ ras_affine()) - told_value(viewer)).min() < 0.0006


def test_keys_move_the_crosshair(viewer: Tab) -> None:
    def position() -> list[int]:
        return [int(viewer.page.locator(f"#viewer-{axis}").input_value()) for axis in "xyz"]

    viewer.go_to(3, 4, 5)
    viewer.page.focus("#viewer-canvas")
    for key in ("ArrowRight", "ArrowRight", "ArrowDown", "PageUp"):
        viewer.page.keyboard.press(key)
    assert position() == [5, 3, 6]


def test_what_is_on_the_right_is_on_the_right_and_the_other_scan_is_shown_where_one_was(viewer: Tab) -> None:
    page = viewer.page
    page.uncheck("#viewer-show-crosshair")
    viewer.go_to(42, 30, 25)
    page.select_option("#viewer-scan", label="Session B, run 1")
    page.wait_for_selector("#viewer[data-scan='Session B, run 1']")
    assert page.locator("#viewer-x").input_value() == "42"
    assert not page.locator("#viewer-switch-regions").is_visible()
    for view, wide in (("axial", True), ("coronal", True), ("sagittal", False)):
        page.select_option("#viewer-view", view)
        bright = viewer.canvas()[..., 0] > 240
        rows, columns = np.nonzero(bright)
        assert rows.size > 500
        # nose to the right in sagittal pictures
        assert columns.mean() > bright.shape[1] * (0.55 if wide else 0.52), view
        assert rows.mean() < bright.shape[0] * 0.47, view


def test_in_space_only_strong_sources_are_opaque(viewer: Tab) -> None:
    viewer.page.select_option("#viewer-view", "render")
    playwright.expect(viewer.page.locator("#viewer-in-space")).to_be_visible(timeout=60_000)
    with_sources = coloured(viewer.canvas())
    assert with_sources > 50
    viewer.page.uncheck("#viewer-show-chi")
    assert coloured(viewer.canvas()) < with_sources / 10


def test_other_maps_of_a_panel_are_chosen_by_mouse_and_keys(viewer: Tab) -> None:
    panel = viewer.page.locator("#acquisition-1-chi")
    panel.get_by_text("Wide window", exact=True).first.click()
    shown = [view for view in panel.locator(".view").all() if view.is_visible()]
    assert len(shown) == 1
    assert "−0.5" in shown[0].inner_text()  # noqa: RUF001
    viewer.page.keyboard.press("ArrowLeft")
    assert not shown[0].is_visible()


def test_t1w_and_magnitude_take_turns_and_can_be_stopped(viewer: Tab) -> None:
    panel = viewer.page.locator("#acquisition-1-registration")
    second = panel.locator(".turn-2")

    def style(name: str) -> str:
        return str(second.evaluate(f"(element) => getComputedStyle(element).{name}"))

    assert style("animationName") == "turn"
    panel.locator("label", has_text="Magnitude").click()
    assert (style("animationName"), style("opacity"), style("visibility")) == ("none", "1", "visible")
    panel.locator("label", has_text="T1w").click()
    assert style("visibility") == "hidden"


def test_printed_pages_show_every_map_and_no_controls(viewer: Tab) -> None:
    page = viewer.page
    page.emulate_media(media="print")
    assert not page.locator("#viewer").is_visible()
    views = page.locator("#acquisition-1 .view, #acquisition-1 .turn").all()
    assert len(views) > 8
    assert all(view.is_visible() for view in views)
    pdf = page.pdf(format="A4", print_background=True)
    assert pdf.startswith(b"%PDF-")
    assert 4 <= len(re.findall(rb"/Type\s*/Page\b", pdf)) <= 40


NO_WEBGL = """
const real = HTMLCanvasElement.prototype.getContext;
HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {
  return kind === "webgl2" ? null : real.call(this, kind, ...rest);
};
"""


@pytest.mark.parametrize("missing", ["scripts", "WebGL"])
def test_the_page_is_complete_without_the_viewer(browser: Any, folder: Path, missing: str) -> None:
    tab = Tab(browser, folder / "sub-01.html", java_script_enabled=missing != "scripts")
    if missing == "WebGL":
        tab.page.add_init_script(NO_WEBGL)
    tab.open()
    assert missing.rstrip("s") in tab.page.locator("#viewer-message").inner_text().replace(
        "JavaScript", "script"
    )
    assert not tab.page.locator("#viewer-canvas").is_visible()
    assert tab.page.locator("#acquisition-1-chi img:visible").count() == 16
    assert tab.complaints == []
    tab.page.close()
