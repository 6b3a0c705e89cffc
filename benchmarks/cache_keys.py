"""Time that the cache keys of all steps take: the import graph of the package, once in a process.

python benchmarks/cache_keys.py
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from qsmxt_app.source_graph import package_graph
from qsmxt_app.workflows.code_version import code_version
from qsmxt_app.workflows.node_base import Step

LEVELS = ("qsmxt_app.workflows.participant_level", "qsmxt_app.workflows.study_level.group_level")
REPEATS = 5


def main() -> None:
    """Print the best of some repeats, as clock and processor time."""
    for module in LEVELS:
        import_module(module)
    steps = list(subclasses(Step))
    best = [float("inf")] * 2
    for _ in range(REPEATS):
        package_graph.cache_clear()
        started = time.perf_counter(), time.process_time()
        for step in steps:
            code_version(step)
        now = time.perf_counter(), time.process_time()
        best = [min(one, there - here) for one, here, there in zip(best, started, now, strict=True)]
    print(f"{len(steps)} steps: {best[0]:.2f} s, {best[1]:.2f} s of the processor")


def subclasses(parent: type) -> Iterator[type]:
    """Yield all classes below one."""
    for child in parent.__subclasses__():
        yield child
        yield from subclasses(child)


if __name__ == "__main__":
    main()
