"""Command lines whose faults are errors of the program, in one line with its exit code."""

from __future__ import annotations

import argparse
from typing import NoReturn

from qsmxt_app.errors import WrongUsage


class Parser(argparse.ArgumentParser):
    """Parser that raises `WrongUsage` instead of ending the process."""

    def error(self, message: str) -> NoReturn:
        """Raise what is wrong with the command line."""
        raise WrongUsage(message, f"See {self.prog} --help.")
