"""What all nodes share: versions that the cache sees, threads, facts for the record, images between nodes."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    SimpleInterface,
    TraitedSpec,
    isdefined,
    traits,
)
from numpy.typing import NDArray

from qsmxt_app.bids.atomic import is_full, output_error, write_json
from qsmxt_app.bids.nifti_file import nifti_parts
from qsmxt_app.errors import QsmxtError, UnusableData
from qsmxt_app.qsm.array_layout import echoes_together
from qsmxt_app.qsm.two_pass import strong_holes
from qsmxt_app.registration.image import Image
from qsmxt_app.workflows.code_version import code_version
from qsmxt_app.workflows.incomplete_nodes import note_files
from qsmxt_app.workflows.resources import limited_threads

FACTS_FILE = "facts.json"
FAILURE_FILE = "failure.json"
MEASURES = {"seconds", "processor_seconds", "peak_mb"}
"""Facts of every step: what it took."""
SKIPPED: dict[str, Any] = {"skipped": "no unreliable part of the mask holds a strong source"}
BYTES_PER_MAXRSS = 1 if sys.platform == "darwin" else 1024


class StepInputSpec(BaseInterfaceInputSpec):
    """Inputs of every step."""

    num_threads = traits.Int(1, usedefault=True, nohash=True, desc="cores; no result depends on it")
    algorithm_version = traits.Str(mandatory=True, desc="of the code that computes the result")


class StepOutputSpec(TraitedSpec):
    """Outputs of every step."""

    facts = File(exists=True, desc="what the record says about this step")


class Step(SimpleInterface):
    """A node: load, one call, save. Subclasses give `compute`.

    nipype's cache hashes inputs, not code. So `algorithm_version` is an input: the digest of the module that
    declares the step and of all modules of the package that it reaches by imports. Results of a changed
    algorithm are never taken from the cache.
    """

    input_spec = StepInputSpec
    output_spec = StepOutputSpec

    def __init__(self, **inputs: Any) -> None:
        inputs.setdefault("algorithm_version", code_version(type(self)))
        super().__init__(**inputs)

    def compute(self, folder: Path) -> dict[str, Any]:
        """Do the work: set `_results` with files in `folder`, return facts for the record."""
        raise NotImplementedError

    def save_maps(self, maps: Mapping[str, NDArray], affine: NDArray[np.float64], folder: Path) -> None:
        """Save images for other nodes, each under the name of its output."""
        for name, array in maps.items():
            self._results[name] = save(array, affine, folder / f"{name}.nii")

    def _run_interface(self, runtime: Any) -> Any:
        folder = Path(runtime.cwd)
        started, worked = time.perf_counter(), time.process_time()
        try:
            with limited_threads(self.inputs.num_threads):
                facts = self.compute(folder)
        except Exception as error:
            write_json(folder / FAILURE_FILE, _described(error, folder))
            raise
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * BYTES_PER_MAXRSS / 1e6
        facts = facts | {
            "seconds": round(time.perf_counter() - started, 3),
            "processor_seconds": round(time.process_time() - worked, 3),
            "peak_mb": round(peak, 1),
        }
        write_json(folder / FACTS_FILE, facts)
        note_files(folder)
        self._results["facts"] = str(folder / FACTS_FILE)
        return runtime


def load(path: str | Path) -> NDArray[np.float32]:
    """Load an image that another node saved, in C order: echoes of a voxel lie together."""
    return echoes_together(np.asarray(nib.nifti1.load(path).dataobj, dtype=np.float32))


def load_mask(path: str | Path) -> NDArray[np.bool_]:
    """Load a mask that another node saved, in C order."""
    return np.ascontiguousarray(np.asarray(nib.nifti1.load(path).dataobj) != 0)


def load_affine(path: str | Path) -> NDArray[np.float64]:
    """Load the affine of an image."""
    return np.asarray(nib.nifti1.load(path).affine)


def load_image(path: str | Path) -> Image:
    """Load an image that another node saved, with its place in the world."""
    return Image(load(path), load_affine(path))


def second_pass(mask: str, whole: Any, chi: Any) -> NDArray[np.bool_] | None:
    """Return where a pass inverts; None for a second pass that is not needed.

    Parameters
    ----------
    mask
        File of the mask, or for a second pass of its reliable voxels.
    whole, chi
        Files of the first pass's mask, and of what it found; undefined for a first pass.
    """
    inside = load_mask(mask)
    if not isdefined(whole):
        return inside
    first, found = load_mask(whole), load(chi)
    apart = strong_holes(found if found.ndim == 3 else found.mean(axis=-1), first, inside)
    return first & ~apart if apart.any() else None


def volume_ml(mask: NDArray[np.bool_], affine: NDArray[np.float64]) -> float:
    """Return the volume of a mask in millilitres."""
    return float(np.count_nonzero(mask) * abs(np.linalg.det(affine[:3, :3])) / 1000)


def save(array: NDArray, affine: NDArray[np.float64], path: Path) -> str:
    """Save an image for other nodes: uncompressed, float32, masks as uint8."""
    stored = array.astype(np.uint8 if array.dtype == bool else np.float32, copy=False)
    header, voxels = nifti_parts(nib.nifti1.Nifti1Image(stored, affine))
    with path.open("wb") as stream:
        stream.write(header)
        stream.write(voxels)
    return str(path)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; a missing or broken file reads as an empty one."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def defined(value: Any) -> Any:
    """Return None for an input that was not given."""
    return value if isdefined(value) else None


def _described(error: Exception, folder: Path) -> dict[str, Any]:
    if isinstance(error, OSError) and is_full(error):
        error = output_error(Path(error.filename or folder), error)
    if isinstance(error, ValueError):  # the physics raises it for data it cannot use
        error = UnusableData(str(error))
    if isinstance(error, QsmxtError):
        return {"message": str(error), "exit_code": error.exit_code}
    if isinstance(error, MemoryError):
        return {"message": "not enough memory: lower --n-cpus or raise --mem-gb", "exit_code": 1}
    return {"message": f"{type(error).__name__}: {error}", "exit_code": 1}
