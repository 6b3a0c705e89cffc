"""Phase unwrapping: ours, warpkit's ROMEO and the Laplacian method on the same phase, in the same run.

    python benchmarks/unwrap.py                                # a simulated head of 1 mm
    python benchmarks/unwrap.py --voxel-size 2 --data DIR      # and real data: DIR/megre-crop, DIR/philips-3t

warpkit is for academic use only and no dependency: install it by hand (pip install warpkit), or its lines are
left out. Prints the seconds of each (the best of three), and in how many voxels of the mask the turns differ
from the truth (simulated) and from warpkit's: of all voxels, and of those that both call reliable (phase
quality over all echoes of 0.5 or more).
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

sys.path.insert(0, str(Path(__file__).parents[1]))

from qsmxt_app.arrays import BoolArray, FloatArray
from qsmxt_app.qsm.phase_quality import phase_quality
from qsmxt_app.qsm.unwrapping.laplacian import unwrap_laplacian
from qsmxt_app.qsm.unwrapping.romeo import unwrap_romeo
from qsmxt_app.simulate import Protocol, simulate_subject

RELIABLE = 0.5
RUNS = 3
ECHO_TIMES = (0.005, 0.015, 0.025)

try:
    from warpkit.warpkit_cpp import romeo_unwrap3d, romeo_voxelquality
except ImportError:
    romeo_unwrap3d = None


@dataclass(frozen=True)
class Image:
    """One echo to unwrap; `true` phase in rad where it is known."""

    name: str
    phase: FloatArray
    magnitude: FloatArray
    mask: BoolArray
    reliable: BoolArray
    voxel_size: tuple[float, ...]
    true: FloatArray | None = None


def simulated(voxel_size: float) -> Iterator[Image]:
    """Echoes of a simulated head, in the brain."""
    protocol = Protocol(voxel_size=(voxel_size,) * 3, echo_times=ECHO_TIMES)
    subject = simulate_subject(seed=101, protocol=protocol)
    mask = subject.truth.brain_mask
    sure = mask & reliable(subject.magnitude, subject.phase, ECHO_TIMES)
    for echo, seconds in enumerate(ECHO_TIMES):
        true = np.float32(2 * np.pi * seconds) * subject.truth.total_field + subject.truth.offset
        phase, magnitude = (np.ascontiguousarray(i[..., echo]) for i in (subject.phase, subject.magnitude))
        yield Image(f"head {1e3 * seconds:g} ms", phase, magnitude, mask, sure, protocol.voxel_size, true)


def real(data: Path) -> Iterator[Image]:
    """Last echoes of the crop and of the Philips scan, where there is signal."""
    crop = nib.load(data / "megre-crop" / "Phase.nii")
    stored = crop.get_fdata(dtype=np.float32)
    phase = stored * np.float32(np.pi / np.abs(stored).max())
    magnitude = nib.load(data / "megre-crop" / "Mag.nii").get_fdata(dtype=np.float32)
    yield with_signal("crop", phase, magnitude, (0.004, 0.008, 0.012), crop.header.get_zooms()[:3])
    folder = data / "philips-3t" / "nifti_GRE"
    images = {
        end: [nib.load(folder / f"2001_fcMRI_Field_Mapping_e{echo}{end}.nii.gz") for echo in (1, 2)]
        for end in ("", "_ph")
    }
    magnitude, phase = (
        np.stack([image.get_fdata(dtype=np.float32) for image in echoes], axis=-1)
        for echoes in images.values()
    )
    yield with_signal("Philips", phase, magnitude, (0.0023, 0.0046), images[""][0].header.get_zooms()[:3])


def with_signal(
    name: str, phase: FloatArray, magnitude: FloatArray, times: tuple[float, ...], size: tuple[float, ...]
) -> Image:
    """Make an image of the largest connected region with a tenth of the signal or more."""
    labels, _ = ndimage.label(magnitude[..., -1] > 0.1 * np.percentile(magnitude[..., -1], 99))
    mask = labels == 1 + np.bincount(labels.ravel())[1:].argmax()
    last = (np.ascontiguousarray(image[..., -1]) for image in (phase, magnitude))
    return Image(name, *last, mask, mask & reliable(magnitude, phase, times), size)


def reliable(magnitude: FloatArray, phase: FloatArray, times: tuple[float, ...]) -> BoolArray:
    """Return where ours and, if it is there, warpkit find the phase of several echoes reliable."""
    both = phase_quality(magnitude, phase, times) >= RELIABLE
    if romeo_unwrap3d is not None:
        its = romeo_voxelquality(
            np.ascontiguousarray(phase), np.float32(times), np.ascontiguousarray(magnitude)
        )
        both &= np.asarray(its) >= RELIABLE
    return both


def methods(image: Image) -> dict[str, Callable[[], FloatArray]]:
    """Return what is compared."""
    phase, magnitude, mask = image.phase, image.magnitude, image.mask
    found: dict[str, Callable[[], FloatArray]] = {
        "ours": lambda: unwrap_romeo(phase, mask, magnitude=magnitude),
        "laplacian": lambda: unwrap_laplacian(phase, mask, voxel_size=image.voxel_size),
    }
    if romeo_unwrap3d is not None:
        found["warpkit"] = lambda: np.asarray(
            romeo_unwrap3d(phase, "romeo", magnitude, mask, False, 1, False, False)
        )
    return found


def differing(one: FloatArray, other: FloatArray, mask: BoolArray, inside: BoolArray) -> float:
    """Share of voxels on another turn, both being on the turn that most of the mask has."""
    turns = np.rint((one - other) / (2 * np.pi))
    return float(np.mean(turns[inside] != np.median(turns[mask])))


def compare(image: Image) -> None:
    """Print the lines of one image."""
    seconds: dict[str, float] = {}
    found: dict[str, FloatArray] = {}
    for _ in range(RUNS):
        for name, unwrap in methods(image).items():
            start = time.perf_counter()
            found[name] = unwrap()
            seconds[name] = min(seconds.get(name, np.inf), time.perf_counter() - start)
    sure = image.reliable
    print(f"{image.name}: {int(image.mask.sum())} voxels, {sure.sum() / image.mask.sum():.1%} reliable")
    for name, unwrapped in found.items():
        line = f"  {name:10} {seconds[name]:6.2f} s"
        for other, reference in (("truth", image.true), ("warpkit", found.get("warpkit"))):
            if reference is not None and other != name:
                shares = [differing(unwrapped, reference, image.mask, part) for part in (image.mask, sure)]
                line += f"   not as {other}: {shares[0]:.1e} of all, {shares[1]:.1e} of reliable"
        print(line)
    if "warpkit" in seconds:
        print(f"  ours / warpkit: {seconds['ours'] / seconds['warpkit']:.2f}")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--voxel-size", type=float, default=1.0)
    parser.add_argument("--data", type=Path, help="folder with megre-crop and philips-3t")
    args = parser.parse_args()
    for image in (*simulated(args.voxel_size), *(real(args.data) if args.data else ())):
        compare(image)


if __name__ == "__main__":
    main()
