"""What will run, worked out once: graphs, estimates, dry runs, the methods text and records read it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod

from qsmxt_app.bids.acquisition import Acquisition, Problem
from qsmxt_app.maps import MAPS, made_maps
from qsmxt_app.settings import Settings
from qsmxt_app.terminal import counted
from qsmxt_app.workflows.existing_maps import ExistingMap
from qsmxt_app.workflows.length_scale import length_scale
from qsmxt_app.workflows.machine_share import MachineShare
from qsmxt_app.workflows.outcome import SOMETHING_FAILED
from qsmxt_app.workflows.preset_choice import Choice, body_part, settings_for
from qsmxt_app.workflows.segmentation.plan import SegmentationPlan, plan_segmentation
from qsmxt_app.workflows.step_needs import (
    BYTES_PER_ECHO_APART,
    BYTES_PER_GB,
    BYTES_PER_VOLUME,
    MAIN_GB,
    REPORT_GB,
    REPORT_SECONDS,
    START_SECONDS,
    WORKER_GB,
    Estimate,
    expected_seconds,
    memory_gb,
    need_of,
)

STEPS = (
    "prepare",
    "masks",
    "field",
    "background",
    "background_reliable",
    "tgv",
    "tgv_reliable",
    "inversion",
    "inversion_reliable",
    "combine",
    "r2",
    *MAPS,
    "derivatives",
)


@dataclass(frozen=True)
class StepPlan:
    """A step, and what it is expected to need.

    Attributes
    ----------
    name
        Of the step; it ends in `_reliable` for the second pass of an inversion.
    memory_gb
        At its peak, GB.
    seconds
        On two cores.
    threads
        Of the step.
    cores
        That it claims: fewer than its threads where others are expected to run beside it.
    """

    name: str
    memory_gb: float
    seconds: float
    threads: int = 1
    cores: int = 1


@dataclass(frozen=True)
class ScanPlan:
    """What will run for one scan.

    Attributes
    ----------
    acquisition
        What is processed.
    settings
        With which it is processed: those of the run, after the preset that was chosen for the scan.
    choice
        That preset and the reason for it; None where the user named one.
    segmentation
        How its regions are found.
    bipolar
        Whether the readout alternates, as far as is known before the phase is read.
    length_scale
        By what voxel sizes are multiplied before anything is computed (:func:`length_scale`).
    existing
        Map of another program, which is taken instead of a reconstruction.
    maps, anatomy, regions
        The steps that make its maps, those that label its T1w (or its magnitude), and those that bring the
        labels to the scan, each in their order.
    """

    acquisition: Acquisition
    settings: Settings
    choice: Choice | None
    segmentation: SegmentationPlan
    bipolar: bool
    length_scale: float
    maps: tuple[StepPlan, ...]
    anatomy: tuple[StepPlan, ...]
    regions: tuple[StepPlan, ...]
    existing: ExistingMap | None = None

    @property
    def voxel_size(self) -> tuple[float, float, float]:
        """Voxel edges in mm by which everything is computed: those of the image, or of a head as large."""
        x, y, z = (edge * self.length_scale for edge in self.acquisition.voxel_size)
        return x, y, z

    @property
    def finds_brain(self) -> bool:
        """Whether the brain is looked for: in heads of people alone, unless the settings say otherwise."""
        head = body_part(self.acquisition.metadata) is None and self.length_scale == 1
        return head and self.settings.brain_mask

    @property
    def r2_problems(self) -> tuple[str, ...]:
        """Why images of R2 are not used, where a map would use them."""
        made = made_maps(self.settings.as_dict(), len(self.acquisition.echoes))
        return self.acquisition.r2_problems if _use_r2(made) else ()

    @property
    def steps(self) -> tuple[StepPlan, ...]:
        """All steps."""
        return (*self.maps, *self.anatomy, *self.regions)

    @property
    def estimate(self) -> Estimate:
        """What its steps need, one after the other."""
        return _estimate(self.steps)

    @property
    def label(self) -> str:
        """The scan as people call it."""
        return self.acquisition.label

    def with_segmentation(self, segmentation: SegmentationPlan) -> ScanPlan:
        """Return the plan with the regions found in another way."""
        threads = max(step.threads for step in self.steps)
        beside = any(step.cores < step.threads for step in self.steps)
        anatomy, regions = _region_steps(segmentation, self.acquisition)
        planned = replace(self, segmentation=segmentation, anatomy=anatomy, regions=regions)
        return planned.with_threads(threads, beside=beside)

    def with_threads(self, threads: int, *, beside: bool = True) -> ScanPlan:
        """Return the plan with threads for the steps that get faster by them.

        Parameters
        ----------
        threads
            Of a step.
        beside
            Whether steps may run side by side on these cores: the maps and the labels of the T1w, and both
            passes of TGV-QSM. Each then claims half of them, and uses the others as soon as it is alone.
        """
        maps, anatomy, regions = (
            tuple(self._with_threads(step, threads, beside) for step in steps)
            for steps in (self.maps, self.anatomy, self.regions)
        )
        return replace(self, maps=maps, anatomy=anatomy, regions=regions)

    def _with_threads(self, step: StepPlan, threads: int, beside: bool) -> StepPlan:
        if not need_of(step.name).threaded:
            return replace(step, threads=1, cores=1)
        pairs = self.segmentation.runs or (self.settings.two_pass and step.name.startswith("tgv"))
        return replace(step, threads=threads, cores=max(1, threads // 2) if beside and pairs else threads)


@dataclass(frozen=True)
class RunPlan:
    """What will run for all participants, and with how much of the machine."""

    scans: dict[str, tuple[ScanPlan, ...]]
    problems: dict[str, tuple[Problem, ...]]
    notes: tuple[str, ...]
    machine: MachineShare

    @property
    def subjects(self) -> list[str]:
        """Participants in the order in which they are started."""
        return list(dict.fromkeys([*self.scans, *self.problems]))

    @property
    def all_scans(self) -> tuple[ScanPlan, ...]:
        """Scans of all participants, in that order."""
        return tuple(scan for subject in self.subjects for scan in self.scans.get(subject, ()))

    def sessions(self, subject: str) -> list[str | None]:
        """Sessions of a participant that are processed; None stands for data without one."""
        of_scans = (scan.acquisition.session for scan in self.scans.get(subject, ()))
        return list(dict.fromkeys([*of_scans, *(one.session for one in self.problems.get(subject, ()))]))


def plan_scan(acquisition: Acquisition, settings: Settings, existing: ExistingMap | None = None) -> ScanPlan:
    """Work out what will run for one scan, one core a step.

    Parameters
    ----------
    acquisition
        The scan.
    settings
        Of the run.
    existing
        Map of another program, which is taken instead of a reconstruction.
    """
    own, choice = settings_for(acquisition, settings)
    segmentation = plan_segmentation(acquisition, own)
    voxels, echoes = prod(acquisition.shape), len(acquisition.echoes)
    apart = echoes if own.echo_combination == "maps" else 1
    names = _steps_of_existing(acquisition, own) if existing else _map_steps(acquisition, own)
    maps = tuple(_map_step(name, voxels, echoes, apart) for name in names)
    maps = tuple(_with_coils(step, acquisition) for step in maps)
    anatomy, regions = _region_steps(segmentation, acquisition)
    return ScanPlan(
        acquisition,
        own,
        choice,
        segmentation,
        _is_bipolar(acquisition, own),
        length_scale(acquisition.voxel_size, acquisition.shape, own.object_size),
        maps,
        anatomy,
        regions,
        existing,
    )


def plan_run(
    scans: Iterable[ScanPlan],
    problems: Iterable[Problem],
    notes: tuple[str, ...],
    settings: Settings,
    machine: MachineShare,
) -> RunPlan:
    """Put the plans of scans together; those that need too much memory become problems.

    Parameters
    ----------
    scans
        Of all participants.
    problems
        Data that cannot be used.
    notes
        What is said before the run.
    settings
        Of the run.
    machine
        How much of it is used.
    """
    fitting: dict[str, list[ScanPlan]] = {}
    unusable: dict[str, list[Problem]] = {}
    for scan in scans:
        if problem := too_large(scan, machine.memory_limit_gb):
            unusable.setdefault(problem.subject, []).append(problem)
        else:
            fitting.setdefault(scan.acquisition.subject, []).append(scan)
    for problem in problems:
        unusable.setdefault(problem.subject, []).append(problem)
    return RunPlan(
        {subject: tuple(_with_cores(found, settings, machine)) for subject, found in fitting.items()},
        {subject: tuple(found) for subject, found in unusable.items()},
        notes,
        machine,
    )


def distinct_steps(scans: Iterable[ScanPlan]) -> Iterator[StepPlan]:
    """Yield all steps of some scans; a T1w is labelled once, however many scans share it."""
    labelled = set[object]()
    for scan in scans:
        yield from (*scan.maps, *scan.regions)
        if scan.segmentation.t1w not in labelled:
            yield from scan.anatomy
        if scan.segmentation.t1w:
            labelled.add(scan.segmentation.t1w)


def estimate_run(scans: Collection[ScanPlan]) -> Estimate:
    """Return what a run for several scans and a report needs, the steps of each after the other."""
    steps = _estimate(distinct_steps(scans))
    return Estimate(
        MAIN_GB + max(WORKER_GB + REPORT_GB, steps.memory_gb),
        START_SECONDS + REPORT_SECONDS + steps.seconds,
    )


def described_scans(scans: Collection[ScanPlan]) -> str:
    """Say how many scans there are, and of how many labels are made.

    Parameters
    ----------
    scans
        Those that are processed.
    """
    labelled, number = sum(scan.segmentation.runs for scan in scans), counted(len(scans), "scan")
    if not labelled:
        return number
    return f"{number} with labels" if labelled == len(scans) else f"{number} ({labelled} with labels)"


def too_large(scan: ScanPlan, limit_gb: float | None) -> Problem | None:
    """Return why a scan is not started where its maps need more memory than there may be, else None.

    Without maps there is nothing to compute; without regions there still are the maps.
    """
    needed = max(step.memory_gb for step in scan.maps) + MAIN_GB
    if limit_gb is None or needed <= limit_gb:
        return None
    return Problem(
        scan.acquisition.subject,
        scan.acquisition.session,
        scan.acquisition.files[0],
        f"{scan.label}: not started, it needs {needed:.1f} GB of memory and may use {limit_gb:.1f}.",
        "Give it more memory: --mem-gb, or the limit of the container or the job.",
        SOMETHING_FAILED,
    )


def _with_cores(scans: Sequence[ScanPlan], settings: Settings, machine: MachineShare) -> Iterator[ScanPlan]:
    """Give threads and cores to the steps of a participant."""
    beside = not settings.omp_nthreads and not machine.runs_jobs
    return (scan.with_threads(machine.threads, beside=beside) for scan in scans)


def _map_steps(acquisition: Acquisition, settings: Settings) -> tuple[str, ...]:
    """Return the names of the steps that make the maps of an acquisition, in their order."""
    two_step = settings.qsm_method == "two-step"
    inversion, other = ("inversion", "tgv") if two_step else ("tgv", "inversion")
    left_out = {other, f"{other}_reliable"}
    if not settings.two_pass:
        left_out.add(f"{inversion}_reliable")
    if not (two_step and settings.two_pass):
        left_out.add("background_reliable")
    if not two_step and not settings.local_field:
        left_out.add("background")
    made = made_maps(settings.as_dict(), len(acquisition.echoes))
    left_out |= MAPS.keys() - made
    if acquisition.r2 is None or not _use_r2(made):
        left_out.add("r2")
    return tuple(name for name in STEPS if name not in left_out)


def _use_r2(maps: Iterable[str]) -> bool:
    return any("r2" in MAPS[name].takes for name in maps)


def _steps_of_existing(acquisition: Acquisition, settings: Settings) -> tuple[str, ...]:
    """Return the steps around a map that exists: what can be computed from it and the magnitude."""
    images = {"magnitude", "phase", "object_mask", "chi", "mask"}
    made = made_maps(settings.as_dict(), len(acquisition.echoes))
    further = (name for name in MAPS if name in made and images.issuperset(MAPS[name].needs))
    return ("prepare", "masks", "combine", *further, "derivatives")


def _region_steps(
    segmentation: SegmentationPlan, acquisition: Acquisition
) -> tuple[tuple[StepPlan, ...], tuple[StepPlan, ...]]:
    """Plan the steps that label an image, and those that bring its labels to the scan."""
    sizes, echoes = segmentation.step_sizes(acquisition), len(acquisition.echoes)
    return (
        tuple(_step(name, sizes[name]) for name in segmentation.anatomy_steps),
        tuple(_step(name, sizes[name], echoes) for name in segmentation.region_steps),
    )


def _estimate(steps: Iterable[StepPlan]) -> Estimate:
    needs = [(step.memory_gb, step.seconds) for step in steps]
    return Estimate(max((memory for memory, _ in needs), default=0.0), sum(seconds for _, seconds in needs))


def _step(name: str, voxels: int, echoes: int = 1) -> StepPlan:
    return StepPlan(name, memory_gb(name, voxels, echoes), expected_seconds(name, voxels))


def _map_step(name: str, voxels: int, echoes: int, apart: int) -> StepPlan:
    """Plan a step of the maps; TGV-QSM is run for as many echoes as are reconstructed apart."""
    step = _step(name, voxels, echoes)
    if apart == 1 or not name.startswith(("tgv", "combine")):
        return step
    return replace(
        step,
        memory_gb=step.memory_gb + apart * voxels * BYTES_PER_ECHO_APART / BYTES_PER_GB,
        seconds=step.seconds * apart,
    )


def _with_coils(step: StepPlan, acquisition: Acquisition) -> StepPlan:
    """Add the uncombined coils that the first step keeps in memory: the volumes of files that they share."""
    if step.name != "prepare" or not acquisition.coils_share_files:
        return step
    voxels = prod(acquisition.shape) * len(acquisition.echoes) * len(acquisition.coils)
    return replace(step, memory_gb=step.memory_gb + voxels * BYTES_PER_VOLUME / BYTES_PER_GB)


def _is_bipolar(acquisition: Acquisition, settings: Settings) -> bool:
    """Return whether the readout alternates: as the user says, else as the sidecar says, else no."""
    return bool(acquisition.bipolar) if settings.bipolar == "auto" else settings.bipolar == "yes"
