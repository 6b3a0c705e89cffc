"""Steps that warp finished maps to the template, once, and average them there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nipype.interfaces.base import File, isdefined, traits
from numpy.typing import NDArray

from qsmxt_app.arrays import BoolArray, FloatArray
from qsmxt_app.bids.atomic import write_text
from qsmxt_app.bids.derivatives import bids_uri, derivative_path, image_sidecar, save_image
from qsmxt_app.group.intensity import similarity
from qsmxt_app.group.majority_vote import majority_vote
from qsmxt_app.group.masked import apply_masked
from qsmxt_app.group.running import RunningStatistics, masked_mean
from qsmxt_app.group.shape import merged
from qsmxt_app.maps.declaration import Output
from qsmxt_app.maps.measured import AVERAGED, averaged_desc
from qsmxt_app.registration import (
    Grid,
    Transform,
    apply,
    extension,
    load_transform,
    resample_labels,
    save_transform,
)
from qsmxt_app.workflows.node_base import (
    Step,
    StepInputSpec,
    StepOutputSpec,
    defined,
    load,
    load_affine,
    load_image,
    save,
)
from qsmxt_app.workflows.region_files import save_transforms

IMAGES: dict[str, Output] = AVERAGED | {
    "magnitude": Output("T2starw", units="arbitrary"),
    "t1w": Output("T1w", units="arbitrary"),
}
"""What is averaged over participants. Maps of every scan are kept in the space of the template as well, for
statistics voxel by voxel."""
SLAB = 8


def load_chain(files: list[str], inverse_transforms: list[str]) -> Transform:
    """Compose transforms that follow each other, from the first space to the last."""
    chain = Transform()
    for file, back in zip(files, inverse_transforms, strict=True):
        chain = chain.then(load_transform(Path(file), Path(back) if back else None))
    return chain


class _WarpInputs(StepInputSpec):
    magnitude = File(exists=True, mandatory=True, desc="normalised")
    mask = File(exists=True, mandatory=True)
    dseg = File(exists=True)
    t1w = File(exists=True, desc="normalised")
    t1w_to_scan = File(exists=True)
    like = File(exists=True, mandatory=True, desc="image on the template's grid")
    like_kind = traits.Enum("magnitude", "t1w", usedefault=True, desc="of that image")
    transforms = traits.List(File(exists=True), mandatory=True, desc="from the scan to the template")
    inverse_transforms = traits.List(traits.Str, mandatory=True, desc="of each; empty for a matrix")
    output_dir = traits.Str(mandatory=True)
    template = traits.Str(mandatory=True, desc="name")
    reference = traits.Str(mandatory=True, desc="BIDS URI of what defines the space")
    stem = traits.Str(mandatory=True)
    entities = traits.Dict(mandatory=True)


class _WarpOutputs(StepOutputSpec):
    magnitude = File(exists=True)
    t1w = File(exists=True)
    dseg = File(exists=True)
    to_template = File(exists=True)
    from_template = File(exists=True)


def _with_maps(name: str, base: type) -> Any:
    """Declare a file for every map, beside the traits of a class."""
    # pickle finds the class by the name of its module
    return type(name, (base,), {"__module__": __name__} | {one: File(exists=True) for one in AVERAGED})


WarpToTemplateInputSpec = _with_maps("WarpToTemplateInputSpec", _WarpInputs)
WarpToTemplateOutputSpec = _with_maps("WarpToTemplateOutputSpec", _WarpOutputs)


class WarpToTemplate(Step):
    """Warp the maps of one scan to the template with one interpolation, and write the transforms.

    Maps are 0 where they are not known.
    """

    input_spec, output_spec = WarpToTemplateInputSpec, WarpToTemplateOutputSpec

    def compute(self, folder: Path) -> dict[str, Any]:
        """Save maps and transforms; the facts name what lies in the output folder, and each map there."""
        given = self.inputs
        like = load_image(given.like)
        chain = merged(load_chain(given.transforms, given.inverse_transforms))
        mask = load(given.mask) > 0
        written = self._write_transforms(chain, folder)
        maps = {}
        for name in (*AVERAGED, "magnitude"):
            file = defined(getattr(given, name))
            if file is None:
                continue
            values, _ = apply_masked(load_image(file), mask, like.grid, chain)
            if name in AVERAGED:
                path = self._write(name, values, like.affine)
                maps[name] = path.relative_to(given.output_dir).as_posix()
                self._results[name] = str(path)
            else:
                self._results[name] = save(values, like.affine, folder / f"{name}.nii")
        self._warp_structure(chain, like.grid, folder)
        same = self._results.get(given.like_kind)
        alike = similarity(load(same), like.array) if same else None
        return {"outputs": [*written, *maps.values()], "maps": maps, "similarity": alike}

    def _warp_structure(self, chain: Transform, grid: Grid, folder: Path) -> None:
        given = self.inputs
        if isdefined(given.dseg):
            labels = load_image(given.dseg)
            found = resample_labels(labels.with_array(np.rint(labels.array)), grid, chain).labels
            nib.Nifti1Image(found.array, grid.affine).to_filename(folder / "dseg.nii")
            self._results["dseg"] = str(folder / "dseg.nii")
        if isdefined(given.t1w):
            whole = load_transform(Path(given.t1w_to_scan)).then(chain)
            t1w = apply(load_image(given.t1w), grid, whole)
            self._results["t1w"] = save(t1w.array, grid.affine, folder / "t1w.nii")

    def _write_transforms(self, chain: Transform, folder: Path) -> list[str]:
        given, output_dir = self.inputs, Path(self.inputs.output_dir)
        beside = derivative_path(output_dir, given.entities, "Chimap").parent
        made = {
            "to_template": (chain, "QSM", given.template),
            "from_template": (chain.inverse(), given.template, "QSM"),
        }
        files = {
            name: (save_transform(one, folder / f"{name}{extension(one)}"), *ends)
            for name, (one, *ends) in made.items()
        }
        paths = save_transforms(files, beside, given.stem)
        for file, *_ in files.values():
            file.unlink()
        self._results |= {name: str(path) for name, path in paths.items()}
        return [path.relative_to(output_dir).as_posix() for path in paths.values()]

    def _write(self, name: str, values: NDArray, affine: NDArray) -> Path:
        given, output_dir = self.inputs, Path(self.inputs.output_dir)
        source = Path(getattr(given, name))
        output, entities = AVERAGED[name], {**given.entities, "space": given.template}
        path = derivative_path(output_dir, entities, output.suffix, desc=output.desc)
        sources = [bids_uri(source, output_dir, "")]
        sidecar = image_sidecar(sources, units=output.units, skull_stripped=False)
        how = "cubic B-spline, once, inside the mask"
        sidecar |= {"SpatialReference": given.reference, "Interpolation": how}
        return save_image(values, affine, path, sidecar)


def participant_mean(files: Sequence[str]) -> tuple[FloatArray, BoolArray]:
    """Average the warped maps of a participant, each where it is known, that is, not 0."""
    images = [load(file) for file in files]
    return masked_mean([(image, image != 0) for image in images])


class AverageMapsInputSpec(StepInputSpec):
    """Inputs of `AverageMaps`."""

    scans = traits.List(traits.List(File(exists=True)), mandatory=True, desc="of each participant")
    kind = traits.Enum(*IMAGES, mandatory=True)
    output_dir = traits.Str(mandatory=True)
    template = traits.Str(mandatory=True)
    is_template = traits.Bool(mandatory=True, desc="the average defines the space")


class AverageMapsOutputSpec(StepOutputSpec):
    """Outputs of `AverageMaps`."""

    mean = File(exists=True)


class AverageMaps(Step):
    """Mean, standard deviation and count over participants, in the voxels where each of them is known."""

    input_spec, output_spec = AverageMapsInputSpec, AverageMapsOutputSpec

    def compute(self, folder: Path) -> dict[str, Any]:
        """Write the three maps."""
        given = self.inputs
        affine = load_affine(given.scans[0][0])
        running: RunningStatistics | None = None
        for files in given.scans:
            mean, inside = participant_mean(files)
            running = running or RunningStatistics(mean.shape)
            running.add(mean, inside)
        assert running is not None  # noqa: S101 - nipype does not start a node without its mandatory list
        written = []
        for desc, values in self._maps(running).items():
            output = IMAGES[given.kind]
            beside = averaged_desc(output, desc)
            path = template_path(Path(given.output_dir), given.template, output.suffix, desc=beside)
            save_image(values, affine, path, self._sidecar(desc, len(given.scans)))
            written.append(path.relative_to(given.output_dir).as_posix())
            if desc in (None, "mean"):
                self._results["mean"] = str(path)
        return {"outputs": written}

    def _maps(self, running: RunningStatistics) -> Mapping[str | None, NDArray]:
        # a magnitude's plain name is that of the sharpened image that all participants were registered to
        plain = self.inputs.is_template and self.inputs.kind in AVERAGED
        maps: dict[str | None, NDArray] = {None if plain else "mean": running.mean, "std": running.std}
        return maps | ({"count": running.count} if self.inputs.kind in AVERAGED else {})

    def _sidecar(self, desc: str | None, participants: int) -> dict[str, Any]:
        given = self.inputs
        inside = [file for files in given.scans for file in files]
        sources = [
            bids_uri(Path(file), Path(given.output_dir), "") for file in inside if given.kind in AVERAGED
        ]
        units = "participants" if desc == "count" else IMAGES[given.kind].units
        told = {None: "mean", "mean": "mean", "std": "standard deviation", "count": "number of participants"}
        return {
            **image_sidecar(sources, units=units, skull_stripped=False),
            "Description": f"{told[desc]} over participants, each in the voxels where it is known",
            "NumberOfParticipants": participants,
        }


class WriteTemplateInputSpec(StepInputSpec):
    """Inputs of `WriteTemplate`."""

    magnitude = File(exists=True, mandatory=True)
    mask = File(exists=True, mandatory=True)
    t1w = File(exists=True)
    output_dir = traits.Str(mandatory=True)
    template = traits.Str(mandatory=True)
    sources = traits.List(traits.Str, mandatory=True, desc="BIDS URIs")


class WriteTemplate(Step):
    """Write the images that define the template's space, and its mask."""

    input_spec, output_spec = WriteTemplateInputSpec, StepOutputSpec

    def compute(self, folder: Path) -> dict[str, Any]:
        """Write them with their sidecars."""
        given, written = self.inputs, []
        for name in ("magnitude", "t1w", "mask"):
            file = defined(getattr(given, name))
            if file is None:
                continue
            image = load_image(file)
            if name == "mask":
                output, values = Output("mask", "brain"), image.array > 0
                sidecar: dict[str, Any] = {"Sources": sorted(set(given.sources)), "Type": "Brain"}
            else:
                output, values = IMAGES[name], image.array
                sidecar = image_sidecar(given.sources, units=output.units, skull_stripped=False)
            path = template_path(Path(given.output_dir), given.template, output.suffix, desc=output.desc)
            save_image(values, image.affine, path, sidecar)
            written.append(path.relative_to(given.output_dir).as_posix())
        return {"outputs": written}


class MajorityVoteLabelsInputSpec(StepInputSpec):
    """Inputs of `MajorityVoteLabels`."""

    scans = traits.List(File(exists=True), mandatory=True, desc="labels in the template")
    table = File(exists=True, desc="dseg.tsv of one of them")
    output_dir = traits.Str(mandatory=True)
    template = traits.Str(mandatory=True)
    atlas = traits.Str(mandatory=True)


class MajorityVoteLabels(Step):
    """Give each voxel of the template the label that most scans have there, a slab at a time."""

    input_spec, output_spec = MajorityVoteLabelsInputSpec, StepOutputSpec

    def compute(self, folder: Path) -> dict[str, Any]:
        """Write the labels and their table."""
        given = self.inputs
        images = [nib.nifti1.load(file) for file in given.scans]
        voted = np.zeros(images[0].shape, dtype=np.int32)
        for slab in _slabs(voted.shape[2]):
            votes = np.stack([np.asarray(image.dataobj[:, :, slab]) for image in images])
            voted[:, :, slab] = majority_vote(votes.astype(np.int32))
        path = template_path(Path(given.output_dir), given.template, "dseg", seg=given.atlas)
        sidecar = {"Description": f"most frequent label of {len(images)} scans", "Manual": False}
        save_image(voted, images[0].affine, path, sidecar)
        written = [path.relative_to(given.output_dir).as_posix()]
        if isdefined(given.table):
            table = path.with_name(path.name.replace(".nii.gz", ".tsv"))
            write_text(table, Path(given.table).read_text(encoding="utf-8"))
            written.append(table.relative_to(given.output_dir).as_posix())
        return {"outputs": written}


def template_path(
    output_dir: Path, name: str, suffix: str, *, desc: str | None = None, seg: str | None = None
) -> Path:
    """Return where an image of the template goes."""
    entities = "".join(f"_{key}-{label}" for key, label in (("seg", seg), ("desc", desc)) if label)
    return output_dir / f"tpl-{name}" / "anat" / f"tpl-{name}{entities}_{suffix}.nii.gz"


def _slabs(slices: int) -> Iterator[slice]:
    for first in range(0, slices, SLAB):
        yield slice(first, min(first + SLAB, slices))
