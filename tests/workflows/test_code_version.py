from importlib.util import find_spec
from pathlib import Path

import pytest

from qsmxt_app.workflows import nodes, segmentation
from qsmxt_app.workflows.code_version import sources_of
from qsmxt_app.workflows.node_base import algorithm_version

STEPS = [getattr(room, name) for room in (nodes, segmentation) for name in room.__all__]


def text(module):
    return Path(find_spec(module).origin).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("step", "module"),
    [
        ("qsmxt_app.qsm.inversion", "qsmxt_app.qsm.inversion.tv"),
        ("qsmxt_app.qsm.inversion", "qsmxt_app.qsm.padded_grid"),
        # through relative imports, and two modules away
        ("qsmxt_app.qsm.tgv", "qsmxt_app.qsm.constants"),
        ("qsmxt_app.qsm.tgv", "qsmxt_app.qsm.unwrap"),
        ("qsmxt_app.bids.acquisition_images", "qsmxt_app.qsm.phase"),
    ],
)
def test_what_a_module_imports_is_part_of_it(step, module):
    assert text(module) in sources_of([step])


def test_what_it_does_not_import_is_not():
    assert text("qsmxt_app.qsm.field") not in sources_of(["qsmxt_app.qsm.swi"])
    assert text("qsmxt_app.bids.headers") not in sources_of(["qsmxt_app.bids.acquisition_images"])


@pytest.mark.parametrize("step", [step for step in STEPS if step is not nodes.WriteReport])
def test_every_step_names_the_physics_that_its_node_calls(step):
    """A node may import a module of the physics and forget to say so: its cache would then be stale."""
    named = set(sources_of(step.code))
    called = {function for function in step.compute.__code__.co_names if function in step.compute.__globals__}
    for function in called:
        module = getattr(step.compute.__globals__[function], "__module__", None)
        if str(module).startswith("qsmxt_app.qsm."):
            assert text(module) in named, f"{function} of {module}"


def test_steps_have_different_fingerprints():
    assert len({algorithm_version(step) for step in STEPS}) == len(STEPS)
