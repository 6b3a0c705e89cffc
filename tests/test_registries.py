"""The documentation and the descriptors of registries say what the parser says."""

from __future__ import annotations

import argparse
import base64
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from qsmxt_app import __version__
from qsmxt_app.cli import build_parser, parse_arguments
from qsmxt_app.config import load_settings
from qsmxt_app.settings import setting_fields
from qsmxt_app.settings.other_programs import INSTEAD, NOTHING_TO_DO, SAME

REPOSITORY = Path(__file__).parents[1]


BOSH = """
import sys
from boutiques.bosh import bosh

bosh(["validate", sys.argv[1]])
print(bosh(["exec", "simulate", sys.argv[1], "-i", sys.argv[2]]))
"""


def module(path: str) -> ModuleType:
    specification = importlib.util.spec_from_file_location(Path(path).stem + "_page", REPOSITORY / path)
    assert specification is not None
    assert specification.loader is not None
    loaded = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(loaded)
    return loaded


def flags(*, shown: bool = False) -> set[str]:
    actions = [a for a in build_parser()._actions if not (shown and a.help == argparse.SUPPRESS)]
    return {flag for action in actions for flag in action.option_strings}


def test_the_page_of_options_lists_what_the_parser_knows() -> None:
    page = module("docs/hooks.py").options_page()
    named = set(re.findall(r"(?<![\w`-])`(--?[a-z][a-z0-9-]*)", page))
    assert named == flags()
    assert flags(shown=True) < named  # the aliases too
    for field in setting_fields():
        assert f"In a file: `{field.name}`." in page


def test_the_page_for_users_of_other_programs_answers_every_option_of_theirs() -> None:
    page = (REPOSITORY / "docs/from-qsmxt.md").read_text(encoding="utf-8")
    table = module("docs/hooks.py").on_page_markdown(page)
    for name in SAME.keys() | INSTEAD.keys() | NOTHING_TO_DO:
        assert f"| `--{name}` | " in table


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    options = (tmp_path / "options" / "index.html").read_text(encoding="utf-8")
    assert "--participant-label" in options
    assert not re.search(
        r'(src|href)="(https?:)?//[^"]*(font|cdn)', options
    )  # nothing is loaded from elsewhere


@pytest.mark.parametrize(
    ("metadata", "fault"),
    [
        ("License-Expression: MIT", ""),
        ("Classifier: License :: OSI Approved :: BSD License", ""),
        ("License-Expression: LGPL-3.0-only", ""),
        ("License-Expression: GPL-3.0-or-later", "not free for every use"),
        ("License: for academic, non-commercial use", "not free for every use"),
        ("License: as you like", "unknown licence"),
        ("Summary: nothing is said", "no licence"),
    ],
)
def test_a_package_that_is_not_free_for_everybody_fails_the_licence_report(
    tmp_path: Path, metadata: str, fault: str
) -> None:
    folder = tmp_path / "some-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.4\nName: some\nVersion: 1.0\n{metadata}\n")
    command = [sys.executable, str(REPOSITORY / "registry/third_party.py"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == bool(fault)
    assert done.stderr.rstrip().endswith(fault)
    assert "| some | 1.0 | " in done.stdout


def test_the_boutiques_descriptor_is_that_of_this_parser() -> None:
    maker = module("registry/boutiques.py")
    committed = json.loads(maker.DESCRIPTOR.read_text(encoding="utf-8"))
    assert committed == maker.descriptor(), "run: python registry/boutiques.py"
    assert {
        item["command-line-flag"] for item in committed["inputs"] if "command-line-flag" in item
    } <= flags()


def test_boutiques_accepts_the_descriptor_and_makes_commands_that_the_parser_accepts(tmp_path: Path) -> None:
    invocation = {
        "bids_dir": str(tmp_path),
        "output_dir": "out",
        "analysis_level": "participant",
        "participant_label": ["01", "02"],
        "preset": "consensus",
        "two_pass": True,
        "mem_gb": 4.5,
        "n_cpus": 2,
        "dry_run": True,
    }
    simulated = subprocess.run(
        [
            sys.executable,
            "-c",
            BOSH,
            str(REPOSITORY / "registry" / "boutiques.json"),
            str(write(tmp_path / "invocation.json", invocation)),
        ],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"HOME": str(tmp_path)},
    )
    assert simulated.returncode == 0, simulated.stderr
    line = next(line for line in simulated.stdout.splitlines() if line.startswith("qsmxt "))
    options = vars(parse_arguments(line.split()[1:]))
    settings = load_settings(
        {f.name: options[f.name] for f in setting_fields() if options[f.name] is not None}
    )
    assert settings.participant_label == ("01", "02")
    assert settings.preset == "consensus"
    assert settings.two_pass is False  # the flag of the descriptor is --no-two-pass
    assert (settings.mem_gb, settings.n_cpus, settings.dry_run) == (4.5, 2, True)


def test_the_recipe_of_neurodesk_builds_this_version_from_files_that_exist() -> None:
    recipe = yaml.safe_load((REPOSITORY / "registry/neurodesk/build.yaml").read_text(encoding="utf-8"))
    assert recipe["version"] == __version__
    assert base64.b64decode(recipe["icon"].removeprefix("data:image/png;base64,")).startswith(b"\x89PNG")
    steps = next(step["run"] for step in recipe["build"]["directives"] if "run" in step)
    used = set(re.findall(r"/src/(\S+)", "\n".join(steps)))
    assert used
    assert all((REPOSITORY / path).is_file() for path in used)


@pytest.mark.parametrize("architecture", ["amd64", "arm64"])
def test_the_image_is_locked_to_every_dependency(architecture: str) -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    needed = [*project["dependencies"], *extras["bet"], *extras["meshnet"]]
    locked = (REPOSITORY / f"container/{architecture}/requirements.txt").read_text(encoding="utf-8")
    names = set(re.findall(r"^([a-z0-9-]+)==", locked, re.MULTILINE))
    assert {re.split(r"[<>=]", text)[0].lower() for text in needed} <= names, "run: container/lock.sh"


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed")
def test_the_app_of_brainlife_gives_words_and_never_a_command_to_the_parser(tmp_path: Path) -> None:
    for name in ("bids", "app"):
        (tmp_path / name).mkdir()
    hostile = "$(touch${IFS}hurt)"
    given = {"bids": "../bids", "participant_label": f"01 {hostile}", "preset": "fast", "mem_gb": 7}
    figures = tmp_path / "app/output/sub-01/figures"
    figures.mkdir(parents=True)
    (figures / "sub-01_desc-thumbnail.webp").write_bytes(b"picture")
    write(tmp_path / "app/config.json", given)
    fake = tmp_path / "singularity"
    fake.write_text('#!/bin/sh\nfor word; do printf "%s\\n" "$word"; done > words\n', encoding="utf-8")
    fake.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    command = ["bash", REPOSITORY / "registry/brainlife/main"]
    subprocess.run(command, cwd=tmp_path / "app", env=os.environ | {"PATH": path}, check=True)
    words = (tmp_path / "app/words").read_text(encoding="utf-8").splitlines()
    options = vars(parse_arguments(words[words.index("qsmxt.sif") + 1 :]))
    assert options["bids_dir"] == tmp_path / "bids"
    assert (options["participant_label"], options["preset"]) == (["01", hostile], "fast")
    assert (options["analysis_level"], options["mem_gb"]) == ("participant", "7")
    written = json.loads((tmp_path / "app/product.json").read_text(encoding="utf-8"))
    assert written["tags"] == ["fast", "participant"]
    (product,) = written["brainlife"]
    assert base64.b64decode(product["base64"]) == b"picture"
    assert not (tmp_path / "app/hurt").exists()
    fake.write_text('#!/bin/sh\nprintf "%s " "$@" >> calls\necho >> calls\n', encoding="utf-8")
    write(tmp_path / "app/config.json", {"bids": "../bids", "level": "participant group"})
    subprocess.run(command, cwd=tmp_path / "app", env=os.environ | {"PATH": path}, check=True)
    calls = (tmp_path / "app/calls").read_text(encoding="utf-8").splitlines()
    assert [("/output participant " in call, "/output group " in call) for call in calls] == [
        (True, False),
        (False, True),
    ]


def write(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_the_brainlife_app_calls_the_command_with_its_configuration() -> None:
    folder = REPOSITORY / "registry" / "brainlife"
    main = (folder / "main").read_text(encoding="utf-8")
    code = "\n".join(line for line in main.splitlines() if not line.startswith("#"))
    assert set(re.findall(r"--[a-z][a-z-]+", code)) - {"--arg", "--rawfile", "--cleanenv"} <= flags()
    keys = re.search(r"for key in ([a-z_ ]+);", main)
    assert keys is not None
    configuration = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert set(configuration) == {"bids", "level", *keys[1].split()}
    assert set(keys[1].split()) <= {field.name for field in setting_fields()}
    assert os.access(folder / "main", os.X_OK)


def test_every_place_names_the_version_of_the_project() -> None:
    command = [sys.executable, "registry/version.py", "--check"]
    told = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
