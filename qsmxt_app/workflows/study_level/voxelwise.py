"""Steps that compare participants voxel by voxel in the template, and what they write."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from nipype.interfaces.base import File, isdefined, traits

from qsmxt_app.bids.atomic import write_json, write_text
from qsmxt_app.bids.derivatives import bids_uri, image_sidecar, save_image
from qsmxt_app.bids.headers import read_header
from qsmxt_app.errors import UnusableData
from qsmxt_app.group.statistics.clusters import COLUMNS, SIGNIFICANT, Cluster, clusters_tsv, find_clusters
from qsmxt_app.group.statistics.design import Design
from qsmxt_app.group.statistics.voxels import (
    VoxelDesign,
    corrected_p,
    design_of_participants,
    effect_map,
    permute,
    smooth_inside,
    step_of,
)
from qsmxt_app.maps.measured import AVERAGED
from qsmxt_app.records.group import VoxelwiseModel
from qsmxt_app.report.region_names import region_names
from qsmxt_app.settings import Settings
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
from qsmxt_app.workflows.study_level.finish import WarpedScan
from qsmxt_app.workflows.study_level.maps import participant_mean
from qsmxt_app.workflows.study_level.study import Job, Stages, voxels_of

TABLE = "group_desc-voxelwise_clusters.tsv"
PARTS = 10
"""Permutations run in so many steps, each with its own seed: on any number of cores with the same result."""
FEWEST_VOXELS = 100


class GatherVoxelsInputSpec(StepInputSpec):
    """Inputs of `GatherVoxels`."""

    scans = traits.List(traits.List(File(exists=True)), mandatory=True, desc="of each participant")
    brain = File(exists=True, desc="mask of the template")
    fwhm = traits.Float(mandatory=True, desc="mm")


class GatherVoxelsOutputSpec(StepOutputSpec):
    """Outputs of `GatherVoxels`."""

    values = File(exists=True, desc="(participants, voxels)")
    mask = File(exists=True)


class GatherVoxels(Step):
    """Average the scans of each participant, smooth, and keep the voxels where all participants are known."""

    input_spec, output_spec = GatherVoxelsInputSpec, GatherVoxelsOutputSpec

    def compute(self, folder: Path) -> dict[str, Any]:
        """Save the values and their mask on a grid as fine as the smoothing leaves of use."""
        given = self.inputs
        like = load_image(given.scans[0][0])
        step = step_of(given.fwhm, like.voxel_size)
        every = tuple(slice(None, None, one) for one in step)
        brain = load(given.brain)[every] > 0 if isdefined(given.brain) else np.ones(1, bool)
        mask, maps = np.broadcast_to(brain, like.array[every].shape), []
        for files in given.scans:
            mean, inside = participant_mean(files)
            maps.append(smooth_inside(mean, inside, given.fwhm, like.voxel_size)[every])
            mask = mask & inside[every]
        if np.count_nonzero(mask) < FEWEST_VOXELS:
            raise UnusableData(
                f"voxel-wise statistics: all participants have a map in fewer than {FEWEST_VOXELS} voxels."
            )
        np.save(folder / "values.npy", np.stack([one[mask] for one in maps]))
        affine = like.affine @ np.diag([*step, 1.0])
        self._results["values"] = str(folder / "values.npy")
        self._results["mask"] = save(mask, affine, folder / "mask.nii")
        tested, whole = int(np.count_nonzero(mask)), int(np.count_nonzero(brain))
        share = tested / whole if brain.size > 1 and whole else 1.0
        return {"voxels": tested, "share_of_brain": share}


class PermuteVoxelsInputSpec(StepInputSpec):
    """Inputs of `PermuteVoxels`."""

    values = File(exists=True, mandatory=True)
    mask = File(exists=True, mandatory=True)
    matrix = traits.List(traits.List(traits.Float), mandatory=True)
    column = traits.Int(mandatory=True, desc="of the effect")
    permutations = traits.Int(mandatory=True)
    seed = traits.Int(mandatory=True)


class PermuteVoxelsOutputSpec(StepOutputSpec):
    """Outputs of `PermuteVoxels`."""

    result = File(exists=True, desc="t, TFCE and largest TFCE of each permutation")


class PermuteVoxels(Step):
    """Do some of the permutations of one effect."""

    input_spec, output_spec = PermuteVoxelsInputSpec, PermuteVoxelsOutputSpec

    def compute(self, folder: Path) -> dict[str, Any]:
        """Save what they gave."""
        given = self.inputs
        matrix, mask = np.array(given.matrix), load(given.mask) > 0
        found = permute(matrix, given.column, np.load(given.values), mask, given.permutations, given.seed)
        np.savez(folder / "result.npz", t=found.t, tfce=found.tfce, largest=found.largest)
        self._results["result"] = str(folder / "result.npz")
        return {}


class WriteStatisticsInputSpec(StepInputSpec):
    """Inputs of `WriteStatistics`."""

    values = File(exists=True, mandatory=True)
    mask = File(exists=True, mandatory=True)
    matrix = traits.List(traits.List(traits.Float), mandatory=True)
    effects = traits.List(traits.Str, mandatory=True)
    results = traits.List(traits.List(File(exists=True)), mandatory=True, desc="parts of each effect")
    labels = File(exists=True, desc="of the template")
    fwhm = traits.Float(mandatory=True, desc="mm")
    formula = traits.Str(mandatory=True)
    measure = traits.Str(mandatory=True)
    sources = traits.List(traits.Str, mandatory=True, desc="BIDS URIs")
    output_dir = traits.Str(mandatory=True)
    template = traits.Str(mandatory=True)


class WriteStatistics(Step):
    """Correct for all voxels, and write maps of the estimate, t and p, and the table of clusters."""

    input_spec, output_spec = WriteStatisticsInputSpec, StepOutputSpec

    def compute(self, folder: Path) -> dict[str, Any]:
        """Write them; the facts hold the number of clusters of each effect."""
        given = self.inputs
        matrix, values = np.array(given.matrix), np.load(given.values)
        mask, affine = load(given.mask) > 0, load_affine(given.mask)
        labels, names = self._labels(mask.shape)
        written: list[str] = []
        clusters: dict[str, list[Cluster]] = {}
        for number, (effect, files) in enumerate(zip(given.effects, given.results, strict=True), 1):
            parts = [np.load(file) for file in files]
            largest = np.concatenate([part["largest"] for part in parts])
            p = corrected_p(parts[0]["tfce"], largest)
            maps = {"effect": effect_map(matrix, number, values), "t": parts[0]["t"], "p": p}
            volumes = {name: _filled(one, mask, 1.0 if name == "p" else 0.0) for name, one in maps.items()}
            clusters[effect] = find_clusters(
                volumes["t"], volumes["p"], volumes["effect"], labels, names, affine
            )
            for name, volume in volumes.items():
                path = statmap_path(Path(given.output_dir), given.template, effect, name)
                save_image(volume, affine, path, self._sidecar(effect, name, largest.size))
                written.append(path.relative_to(given.output_dir).as_posix())
        table = Path(given.output_dir) / TABLE
        write_text(table, clusters_tsv(clusters))
        about = {name: {"Description": text} for name, text in COLUMNS.items()}
        write_json(table.with_suffix(".json"), about | {"Model": {"Formula": given.formula}})
        counts = {effect: len(found) for effect, found in clusters.items()}
        return {"outputs": [*written, TABLE], "clusters": counts}

    def _labels(self, shape: tuple[int, ...]) -> tuple[np.ndarray, dict[int, str]]:
        file = defined(self.inputs.labels)
        if file is None:
            return np.zeros(shape, np.int32), {}
        labels = np.rint(load(file)).astype(np.int32)
        step = [-(-whole // part) for whole, part in zip(labels.shape, shape, strict=True)]
        return labels[tuple(slice(None, None, one) for one in step)], region_names(Path(file))

    def _sidecar(self, effect: str, name: str, permutations: int) -> dict[str, Any]:
        given = self.inputs
        units = {"effect": AVERAGED[given.measure].units, "t": "arbitrary", "p": "arbitrary"}[name]
        words = {
            "effect": "least-squares estimate",
            "t": "estimate divided by its standard error",
            "p": "p, family-wise corrected over voxels by TFCE and permutations; 1 where nothing was tested",
        }
        return {
            **image_sidecar(given.sources, units=units, skull_stripped=True),
            "Description": f"{effect}: {words[name]}",
            "Formula": given.formula,
            "SmoothingFWHM": given.fwhm,
            "NumberOfParticipants": len(given.matrix),
            "NumberOfPermutations": permutations,
        }


def statmap_path(output_dir: Path, template: str, effect: str, statistic: str) -> Path:
    """Return where a map of a statistic goes: named as by FitLins and nilearn."""
    words = re.findall(r"[A-Za-z0-9]+", effect)
    contrast = words[0] + "".join(word[:1].upper() + word[1:] for word in words[1:])
    name = f"tpl-{template}_contrast-{contrast}_stat-{statistic}_statmap.nii.gz"
    return output_dir / f"tpl-{template}" / "stats" / name


@dataclass(frozen=True)
class VoxelwiseInputs:
    """What voxels are compared by, and in which images of the template."""

    design: Design
    warped: Mapping[str, Sequence[WarpedScan]]
    brain: Path | None
    labels: Path | None


def compare_voxels(
    stages: Stages, settings: Settings, template: str, inputs: VoxelwiseInputs
) -> VoxelwiseModel | None:
    """Compare participants voxel by voxel; None where a step failed, which `stages` then tells.

    Raises
    ------
    UnusableData
        As `design_of_participants`.
    """
    formula, measure = inputs.design.formula, inputs.design.formula.measure
    maps = {
        f"sub-{label}": [str(one.maps[measure]) for one in several if measure in one.maps]
        for label, several in inputs.warped.items()
    }
    design = design_of_participants(inputs.design, {name for name, files in maps.items() if files})
    scans = [maps[name] for name in design.people]
    steps = _VoxelSteps(stages, settings, design)
    gathered = steps.gather(scans, inputs.brain)
    results = steps.permute() if gathered else []
    if not results:
        return None
    step = WriteStatistics(
        **steps.data,
        effects=list(design.effects),
        results=results,
        **({"labels": str(inputs.labels)} if inputs.labels else {}),
        fwhm=settings.model_smoothing,
        formula=formula.text,
        measure=measure,
        sources=[bids_uri(Path(file), stages.output_dir, "") for files in scans for file in files],
        output_dir=str(stages.output_dir),
        template=template,
    )
    job = Job("statistics", measure, step, voxels_of([Path(scans[0][0])]), content=False)
    if not stages.run([job]):
        return None
    facts = stages.facts(job.name)
    return VoxelwiseModel(
        table=TABLE,
        maps=tuple(facts["outputs"][:-1]),
        clusters=dict(facts["clusters"]),
        participants=len(design.people),
        permutations=settings.model_permutations,
        fwhm_mm=settings.model_smoothing,
        voxel_size=tuple(read_header(stages.folder(steps.gathering.name) / "mask.nii").voxel_size),
        voxels=gathered["voxels"],
        share_of_brain=gathered["share_of_brain"],
    )


class _VoxelSteps:
    """The steps that all effects share."""

    def __init__(self, stages: Stages, settings: Settings, design: VoxelDesign) -> None:
        self.stages, self.settings, self.design = stages, settings, design
        self.gathering: Job
        self.data: dict[str, Any] = {}

    def gather(self, scans: Sequence[Sequence[str]], brain: Path | None) -> dict[str, Any]:
        """Return what is known of the voxels; nothing where the step failed."""
        inside = {"brain": str(brain)} if brain else {}
        step = GatherVoxels(scans=[list(one) for one in scans], fwhm=self.settings.model_smoothing, **inside)
        full = voxels_of([Path(scans[0][0])])
        self.gathering = Job("gather", "voxels", step, full * (10 + len(scans)), content=False)
        if not self.stages.run([self.gathering]):
            return {}
        folder = self.stages.folder(self.gathering.name)
        self.data = {
            "values": str(folder / "values.npy"),
            "mask": str(folder / "mask.nii"),
            "matrix": self.design.matrix.tolist(),
        }
        return self.stages.facts(self.gathering.name)

    def permute(self) -> list[list[str]]:
        """Return the files of each effect; nothing where a step failed."""
        voxels = self.stages.facts(self.gathering.name)["voxels"]
        jobs = {
            (column, part): Job(
                "permute",
                f"{column}_{part}",
                PermuteVoxels(**self.data, column=column, permutations=count, seed=1 + part),
                voxels * len(self.design.people),
                content=False,
            )
            for column in range(1, len(self.design.effects) + 1)
            for part, count in enumerate(_parts(self.settings.model_permutations))
        }
        good = self.stages.run(list(jobs.values()))
        if len(good) < len(jobs):
            return []
        files = {key: str(self.stages.folder(job.name) / "result.npz") for key, job in jobs.items()}
        columns = range(1, len(self.design.effects) + 1)
        return [[file for (own, _), file in files.items() if own == column] for column in columns]


def _parts(permutations: int) -> list[int]:
    whole, rest = divmod(permutations, PARTS)
    return [one for one in (whole + (part < rest) for part in range(PARTS)) if one]


def _filled(values: np.ndarray, mask: np.ndarray, outside: float) -> np.ndarray:
    volume = np.full(mask.shape, outside, np.float32)
    volume[mask] = values
    return volume


def voxelwise_lines(model: VoxelwiseModel) -> list[str]:
    """Say in lines for the terminal what was found."""
    return [
        f"voxel-wise {effect}: {count} cluster{'s' * (count != 1)} (p < {SIGNIFICANT:g}, family-wise over "
        f"{model.voxels} voxels, {model.permutations} permutations)"
        for effect, count in model.clusters.items()
    ]
