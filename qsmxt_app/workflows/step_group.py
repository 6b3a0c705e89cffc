"""Some steps of a graph, and what they left on disk."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qsmxt_app.workflows.node_base import FACTS_FILE, FAILURE_FILE, read_json


@dataclass(frozen=True)
class StepGroup:
    """Some steps of the graph, and where they work.

    Attributes
    ----------
    name
        Full name of their workflow in nipype: that of a node is followed by a dot and the step.
    folder
        Where the nodes work, one folder a step.
    steps
        Their names, in their order.
    """

    name: str
    folder: Path
    steps: tuple[str, ...]

    def full(self, step: str) -> str:
        """Return the full name of a step."""
        return f"{self.name}.{step}"

    def facts(self, step: str) -> dict[str, Any]:
        """Return what a step noted when it finished; empty before."""
        return read_json(self.folder / step / FACTS_FILE)

    def failure(self, step: str) -> dict[str, Any]:
        """Return what a step noted when it failed; empty if it did not, or was killed."""
        return read_json(self.folder / step / FAILURE_FILE)

    def outputs_exist(self, step: str, output_dir: Path) -> bool:
        """Whether all files that a step once wrote are there; nipype's cache does not look at them."""
        written = self.facts(step).get("outputs", {}).values()
        return all((output_dir / path).is_file() for path in written)


def node_name(text: str) -> str:
    """Return a name as nipype allows it."""
    return re.sub(r"\W", "_", text.replace("+", "_plus_"))
