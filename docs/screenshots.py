"""Pictures of pages for this documentation: ``python docs/screenshots.py OUTPUT_DIR``.

The outputs of the pictures are those of three simulated people:

    python -m qsmxt_app.simulate study --participants 3 --anatomy adult --group-effect putamen=0.02
    qsmxt study results participant
    qsmxt study results group

Needs Chromium and the `test` extra.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

IMAGES = Path(__file__).parent / "images"
SIZE = {"width": 1280, "height": 1500}
PICTURES = {
    "group.png": ("group.html", ""),
    "nuclei.png": ("sub-01.html", "#acquisition-1-nuclei"),
}
"""Page, and the part of it that is shown; all that fits the window where no part is named."""


def take_pictures(output_dir: Path, images: Path) -> list[Path]:
    """Write all pictures, and return their files."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        return [_picture(browser, output_dir, images / name, *what) for name, what in PICTURES.items()]


def _picture(browser: Any, output_dir: Path, file: Path, page: str, part: str) -> Path:
    tab = browser.new_page(viewport=SIZE)
    tab.goto((output_dir / page).absolute().as_uri())
    if part:
        tab.locator(part).screenshot(path=file)
    else:
        tab.screenshot(path=file)
    tab.close()
    return file


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output_dir", type=Path)
    print(*take_pictures(parser.parse_args().output_dir, IMAGES), sep="\n")
