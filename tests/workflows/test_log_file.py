"""The log of a run on a disk that is full."""

import logging

from qsmxt_app.workflows.run_folder import RunFolder, log_to, stop_logging


def test_a_log_that_cannot_be_written_shows_no_traceback(tmp_path, capsys):
    (tmp_path / "qsmxt.log").symlink_to("/dev/full")
    handler = log_to(RunFolder(tmp_path), 0)
    try:
        logging.getLogger("qsmxt").error("a line")
    finally:
        stop_logging(handler)
    assert capsys.readouterr().err == ""
