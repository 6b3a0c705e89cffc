import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from qsmxt_app.maps import MAPS
from qsmxt_app.source_graph import PACKAGE, TEXTS, SourceGraph, package_graph
from qsmxt_app.workflows import nodes, segmentation
from qsmxt_app.workflows.code_version import code_version

STEPS = [getattr(package, name) for package in (nodes, segmentation) for name in package.__all__]
TOY = {
    "__init__.py": "",
    "step.py": "from toy.first import first\n\n\ndef compute():\n    return first()\n",
    "first.py": "def first():\n    from toy.inner import second\n\n    return second.twice()\n",
    "inner/__init__.py": "",
    "inner/second.py": "import toy.third\n\n\ndef twice():\n    return 2 * toy.third.VALUE\n",
    "third.py": '"""A constant."""\nfrom toy.words import TEXT\nVALUE = 3\n"""What it is."""\nNAME = TEXT\n',
    "words.py": "TEXT = 'before'\n",
    "other.py": "VALUE = 3\n",
}


@pytest.fixture
def toy(tmp_path):
    for name, text in TOY.items():
        file = tmp_path / "toy" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path / "toy"


def digest(package):
    return SourceGraph(package, ["toy.words"]).digest(package / "step.py")


def change(file, old, new):
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_a_module_reaches_what_it_imports_at_any_remove(toy):
    reached = SourceGraph(toy, ["toy.words"]).reached(toy / "step.py")
    assert reached == {"toy", "toy.first", "toy.inner.second", "toy.third"}


@pytest.mark.parametrize("registry", ['dict(one="toy.other")', '"toy.other", "words"', '(1, ("toy.other",))'])
def test_a_module_that_a_registry_names_is_reached(toy, registry):
    (toy / "third.py").write_text(f"VALUE = 3\nREGISTRY = {registry}\n")
    assert "toy.other" in SourceGraph(toy).reached(toy / "step.py")


def test_a_constant_three_imports_away_is_part_of_a_step(toy):
    before = digest(toy)
    change(toy / "third.py", "VALUE = 3", "VALUE = 4")
    assert digest(toy) != before


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("words.py", "before", "after"),
        ("other.py", "3", "4"),
        ("third.py", '"""A constant."""', '"""Reworded,\n\nat length."""\n# and explained'),
        ("third.py", "What it is", "What it was"),
        ("first.py", "    return second", "    # why so\n\n    return second"),
    ],
)
def test_texts_comments_and_other_modules_are_not(toy, file, old, new):
    before = digest(toy)
    change(toy / file, old, new)
    assert digest(toy) == before


def test_the_digest_does_not_depend_on_the_process():
    """The order of a set of words changes with the seed of Python's hashes, which is another one here."""
    script = "from qsmxt_app.workflows.nodes import FitField; print(FitField().inputs.algorithm_version)"
    there = subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONHASHSEED": "1", "PATH": ""},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert there.strip() == nodes.FitField().inputs.algorithm_version


@pytest.mark.parametrize(
    ("constant", "file", "step"),
    [
        ("DEFORMABLE_ITERATIONS", "workflows/study_level/alignment.py", "workflows/study_level/alignment.py"),
        ("LEAST_INSIDE", "workflows/segmentation/t1w.py", "workflows/segmentation/t1w.py"),
        ("GAMMA_BAR_MHZ_PER_T", "qsm/constants.py", "workflows/nodes/susceptibility.py"),
        ("phase_scale", "qsm/swi.py", "workflows/nodes/maps.py"),
        ("LIMITS", "maps/swi.py", "workflows/nodes/maps.py"),
    ],
)
def test_a_constant_of_this_package_changes_the_steps_that_reach_it(tmp_path, constant, file, step):
    package = shutil.copytree(PACKAGE, tmp_path / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__"))
    before = SourceGraph(package, TEXTS)
    reading = "workflows/nodes/prepare.py"
    assert re.search(rf"\b{constant}\b.* = ", (package / file).read_text())
    found = before.digest(package / step), before.digest(package / reading)
    with (package / file).open("a") as stream:
        stream.write(f"{constant} = 7\n")
    after = SourceGraph(package, TEXTS)
    assert after.digest(package / step) != found[0]
    assert after.digest(package / reading) == found[1]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.__name__)
def test_no_step_reaches_beyond_what_it_may_compute_with(step):
    """One that did would be run again whenever anything of a run's planning changed."""
    reached = package_graph().reached(Path(sys.modules[step.__module__].__file__))
    planning = {"config", "cli", "workflows.participant_level", "workflows.study", "workflows.scan_steps"}
    assert not reached & {f"qsmxt_app.{name}" for name in planning}
    assert not any(name.startswith("qsmxt_app.convert") for name in reached)


def test_the_graph_follows_every_import_that_the_parser_finds():
    graph = SourceGraph(PACKAGE)
    for name, file in graph.files.items():
        written = ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        origins = set()
        for node in written:
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{name}: imports are absolute"
                modules = {f"{node.module}.{alias.name}" for alias in node.names} & graph.files.keys()
                # a package is read for what it holds itself, not for the modules in it
                origins |= modules if len(modules) == len(node.names) else {*modules, str(node.module)}
            elif isinstance(node, ast.Import):
                origins |= {alias.name for alias in node.names}
        assert graph.imports(file) >= origins & graph.files.keys(), name


def test_steps_of_one_module_share_its_version():
    assert (
        code_version(nodes.InvertField)
        == code_version(nodes.RemoveBackground)
        != code_version(nodes.FitField)
    )


def test_the_version_of_a_map_follows_its_own_module_alone():
    versions = {nodes.ComputeMap(name=name).inputs.algorithm_version for name in MAPS}
    assert len(versions) == len(MAPS)
    step = package_graph().reached(PACKAGE / "workflows" / "nodes" / "maps.py", {"qsmxt_app.maps"})
    assert {name for name in step if name.startswith("qsmxt_app.maps")} == {"qsmxt_app.maps.declaration"}
    own = package_graph().reached(PACKAGE / "maps" / "swi.py")
    assert "qsmxt_app.qsm.swi" in own
    assert "qsmxt_app.qsm.chi_noise" not in own


@pytest.mark.parametrize(
    ("registry", "reached", "other"),
    [("inversion", "inversion.tv", "background.lbv"), ("unwrapping", "unwrapping.laplacian", "inversion.tv")],
)
def test_a_registry_reaches_the_modules_that_it_names_and_no_others(registry, reached, other):
    found = package_graph().reached(PACKAGE / "qsm" / registry / "__init__.py")
    assert f"qsmxt_app.qsm.{reached}" in found
    assert f"qsmxt_app.qsm.{other}" not in found
