"""The layout of the package: imports point down, and no module imports itself by way of others."""

import pytest

from qsmxt_app.source_graph import PACKAGE, SourceGraph

LAYERS = (
    {"__main__"},
    {"entry_points", "run_node"},
    {"cli", "tools"},
    {"workflows"},
    {"report", "config"},
    {"records", "convert", "group", "cluster"},
    {"segment"},
    {"registration"},
    {"bids", "simulate"},
    {"settings"},
    {"maps", "private_folder", "compiled_cache", "mni152"},
    {"qsm"},
    {"", "arrays", "bibliography", "errors", "source_graph", "stopping", "terminal"},
    {"launch"},
    {"environment", "standard_streams"},
)
"""Parts of the package from the command line down to what prepares a process; the empty name is itself."""
RANKS = {part: rank for rank, layer in enumerate(LAYERS) for part in layer}
GRAPH = SourceGraph(PACKAGE)
IMPORTS = {name: GRAPH.imports(file) - {name} for name, file in GRAPH.files.items()}


def part_of(module):
    return ([*module.split("."), ""])[1]


def test_every_part_has_its_layer():
    assert {part_of(module) for module in IMPORTS} <= RANKS.keys()


def test_imports_point_down():
    upward = [
        f"{module} imports {other}"
        for module, imported in IMPORTS.items()
        for other in imported
        if part_of(module) != part_of(other) and RANKS[part_of(module)] >= RANKS[part_of(other)]
    ]
    assert not upward


def test_no_import_leads_back():
    """Lazy imports within functions are followed as well."""
    found = {module for module, imported in IMPORTS.items() if module in _reached_from(imported) and imported}
    assert not found


@pytest.mark.parametrize(
    ("lower", "upper"),
    [
        ("nodes", {"segmentation", "study_level", "plan", "participant", "study"}),
        ("study_level", {"plan", "participant", "participant_level", "study", "submission", "segmentation"}),
        ("plan", {"scan_steps", "participant", "participant_level", "study", "submission", "study_level"}),
        ("study", {"participant_level", "submission", "study_level"}),
    ],
)
def test_the_levels_of_the_workflows_stay_apart(lower, upper):
    """The group level knows nothing of how scans are processed, and a plan nothing of what reads it."""
    below = f"qsmxt_app.workflows.{lower}"
    starts = [module for module in IMPORTS if f"{module}.".startswith(f"{below}.")]
    reached = _reached_from(starts)
    forbidden = tuple(f"qsmxt_app.workflows.{name}." for name in upper)
    assert not [module for module in reached if f"{module}.".startswith(forbidden)]


def _reached_from(modules):
    waiting, found = list(modules), set(modules)
    while waiting:
        new = IMPORTS[waiting.pop()] - found
        found |= new
        waiting += new
    return found
