"""The commands that an installation makes."""

from qsmxt_app.launch import run_command


def qsmxt() -> int:
    """Run the command `qsmxt`; return its exit code."""
    return run_command("qsmxt_app.cli")


def tgv_qsm() -> int:
    """Run the command `tgv_qsm`; return its exit code."""
    return run_command("qsmxt_app.tools.tgv_qsm")


def qsm() -> int:
    """Run the command `qsm`; return its exit code."""
    return run_command("qsmxt_app.tools.qsm")
