"""Names of the ways in which echoes are combined, for settings too: it imports nothing that takes long."""

from typing import Literal

Combination = Literal["field", "laplacian", "maps"]
ECHO_COMBINATIONS: tuple[Combination, ...] = ("field", "laplacian", "maps")
"""What of the echoes TGV-QSM combines: one field fitted to all, their Laplacians, or the map of each."""

Average = Literal["noise", "plain"]
ECHO_AVERAGES: tuple[Average, ...] = ("noise", "plain")
"""Weights of single maps in their mean: the inverse variance of each echo's field, or all the same."""
