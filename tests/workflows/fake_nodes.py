"""Nodes that add one, sleep, or come to harm, to test the scheduler without any physics."""

import os
import signal
import sys
import time

from nipype import Node, Workflow
from nipype.interfaces.base import BaseInterfaceInputSpec, SimpleInterface, TraitedSpec, traits


class FakeInputSpec(BaseInterfaceInputSpec):
    number = traits.Float()
    harm = traits.Enum("none", "kill", "segfault", "exit", "error", usedefault=True)
    seconds = traits.Float(0.0, usedefault=True)
    note = traits.Str("", usedefault=True, nohash=True)  # nipype hashes files that texts name


class FakeOutputSpec(TraitedSpec):
    more = traits.Float()


class Fake(SimpleInterface):
    input_spec, output_spec = FakeInputSpec, FakeOutputSpec

    def _run_interface(self, runtime):
        if self.inputs.note:
            with open(self.inputs.note, "a") as stream:  # noqa: PTH123
                stream.write(f"start {time.monotonic()}\n")
        time.sleep(self.inputs.seconds)
        if self.inputs.note:
            with open(self.inputs.note, "a") as stream:  # noqa: PTH123
                stream.write(f"end {time.monotonic()}\n")
        if self.inputs.harm == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.inputs.harm == "segfault":
            os.kill(os.getpid(), signal.SIGSEGV)
        if self.inputs.harm == "exit":
            sys.stdout.flush()
            os._exit(7)
        if self.inputs.harm == "error":
            raise ValueError("the number is odd")
        self._results["more"] = self.inputs.number + 1
        return runtime


def fake_graph(name, folder, harm="none", seconds=0.0, note="", **resources):
    """A chain first -> second -> third, and a lone fourth."""
    graph = Workflow(name, base_dir=str(folder))
    first = Node(Fake(number=1, seconds=seconds, note=note), "first", **resources)
    second = Node(Fake(harm=harm, seconds=seconds, note=note), "second", **resources)
    third = Node(Fake(seconds=seconds, note=note), "third", **resources)
    fourth = Node(Fake(number=4, seconds=seconds, note=note), "fourth", **resources)
    graph.connect([(first, second, [("more", "number")]), (second, third, [("more", "number")])])
    graph.add_nodes([fourth])
    return graph
