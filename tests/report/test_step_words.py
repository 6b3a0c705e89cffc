"""Every step that may be timed has words on the page."""

from qsmxt_app.maps import MAPS
from qsmxt_app.report.step_words import step_words
from qsmxt_app.workflows.plan import STEPS
from qsmxt_app.workflows.step_needs import NEEDS


def test_no_step_is_shown_by_its_name():
    names = {*STEPS, *NEEDS, "tgv_reliable"}
    assert not {name for name in names if step_words(name) == name and name not in MAPS}
    assert len({step_words(name) for name in names}) == len(names)
    assert not any("_" in step_words(name) for name in names)
