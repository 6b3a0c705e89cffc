"""How nipype is set up for a run."""

from __future__ import annotations

from nipype import config

from qsmxt_app.workflows.run_folder import RunFolder


def configure_nipype(folder: RunFolder, verbosity: int) -> None:
    """Let nipype keep what steps leave beside their outputs, and write crash files into the run's folder."""
    config.update_config(
        {
            "execution": {
                "crashdump_dir": str(folder.path),
                "crashfile_format": "txt",
                "create_report": "false",
                # nodes leave facts beside their outputs
                "remove_unnecessary_outputs": "false",
                "stop_on_first_crash": "false",
                "check_version": "false",
                "poll_sleep_duration": "0.2",
            },
            "logging": {"workflow_level": "DEBUG" if verbosity > 1 else "INFO"},
        }
    )
