"""The pages for contributors name files, functions and classes that exist."""

import re
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PAGES = [REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "docs" / "contributing").glob("*.md"))]
ELSEWHERE = {"get_nearest", "build_path", "threshold_otsu"}
"""Names of other packages."""
NAME = re.compile(r"\b_?[a-z]+(?:_[a-z0-9]+)+\b|\b(?:[A-Z][a-z0-9]+){2,}\b|\b[A-Z]+(?:_[A-Z]+)+\b")
"""Names of functions, classes and constants of several words."""


def code():
    """Text of the package, its tests and its benchmarks, after the names of their modules."""
    folders = ("qsmxt_app", "tests", "benchmarks", "registry")
    files = [file for name in folders for file in (REPOSITORY / name).rglob("*.py")]
    return "\n".join([file.stem for file in files] + [file.read_text(encoding="utf-8") for file in files])


def spans(page):
    """What a page sets in the type of code, without its longer listings, and the files that those add."""
    text = page.read_text(encoding="utf-8")
    added = set(re.findall(r'```\w+ title="(.*?)"', text))
    return re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL)), added


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_files_exist(page):
    named, added = spans(page)
    paths = {
        path.rstrip("/.")
        for span in named
        for path in re.findall(r"\.?[\w-]+/[\w./-]*|\b[\w-]+\.(?:py|toml|md)\b", span)
        if not re.search(r"\*|://|^n/a$|\.venv", span)
    }
    files = subprocess.run(["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    known = files.stdout.splitlines() or [str(f.relative_to(REPOSITORY)) for f in REPOSITORY.rglob("*")]
    known += [str(folder) for file in known for folder in Path(file).parents]
    missing = [path for path in paths if not any(f"/{one}".endswith(f"/{path}") for one in known)]
    assert set(missing) <= added


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_names_exist(page):
    source = code()
    named = {name for span in spans(page)[0] for name in NAME.findall(span)} - ELSEWHERE
    assert not {name for name in named if not re.search(rf"\b{name}\b", source)}
