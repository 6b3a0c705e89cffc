"""The figures of the group: the template with its average maps, and how it converged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qsmxt_app.maps import MAPS
from qsmxt_app.maps.measured import AVERAGED, averaged_desc
from qsmxt_app.records.group import GroupRecord
from qsmxt_app.report.panel import Panel, View, make_view
from qsmxt_app.report.panels.maps import view_window
from qsmxt_app.report.pictures import CHI, Window, curve_plot
from qsmxt_app.report.slices import SliceGrid, make_grid, plan_cuts, take, to_ras
from qsmxt_app.report.volumes import load_volume

MAGNITUDE = Window(0.0, 2.0, "of the median tissue")
SPREAD = Window(0.0, 0.05, "ppm", "inferno")
SHOWN_FIELD = 3.0
"""T, for ranges of colours that depend on it: participants may differ."""
CUTS = {"axial": 8, "coronal": 4, "sagittal": 4}


def template_panel(output_dir: Path, record: GroupRecord) -> Panel | None:
    """Template and average maps in three planes, with spread and count."""
    if record.template is None:
        return None
    name, people = record.template.name, len(record.template.participants)
    plain = f"tpl-{name}_"
    shown = [
        ("Average χ", (f"{plain}Chimap", f"{plain}desc-mean_Chimap"), CHI, "mean over participants"),
        ("Magnitude", (f"{plain}T2starw", f"{plain}desc-mean_T2starw"), MAGNITUDE, "mean over participants"),
        ("Spread of χ", (f"{plain}desc-std_Chimap",), SPREAD, "standard deviation between participants"),
        *_averaged_maps(plain),
        ("T1w", (f"{plain}T1w", f"{plain}desc-mean_T1w"), MAGNITUDE, ""),
        (
            "Count",
            (f"{plain}desc-count_Chimap",),
            Window(0, max(people, 1), "participants", "cividis"),
            "how many participants each voxel is averaged over",
        ),
    ]
    views: list[View] = []
    brain = _load(output_dir, name, f"{plain}desc-brain_mask")
    grid: SliceGrid | None = make_grid(*brain) if brain else None
    for title, names, window, caption in shown:
        found = next((image for one in names if (image := _load(output_dir, name, one)) is not None), None)
        if found is None:
            continue
        volume, affine = found
        grid = grid or make_grid(volume, affine)
        if grid.matches(affine, volume.shape):
            # beyond the brain, few participants have a map, and what they have is of the throat and the skull
            inside = brain[0] != 0 if brain and window is not MAGNITUDE else True
            turned = to_ras(np.where(inside, volume, 0), affine)
            slices = {cut: take(turned, grid, cut) for cut in plan_cuts(grid, CUTS)}
            views.append(make_view(title, slices, grid, window, by_plane=True, caption=caption))
    if not views:
        return None
    words = (
        "Edges should be sharp where participants are alike: around the ventricles, at the deep grey nuclei, "
        "at the surface of the brain. Voxels outside a participant's map do not count for it."
    )
    return Panel("template", "Average of all participants", words, tuple(views))


def change_panel(record: GroupRecord) -> Panel | None:
    """How much the template changed in each deformable round."""
    template = record.template
    changes = [one.change for one in template.rounds] if template else []
    known: NDArray[np.float64] = np.array([change for change in changes if change is not None])
    if template is None or not known.size:
        return None
    rounds: NDArray[np.float64] = np.linspace(1, known.size, known.size)
    plot = curve_plot(
        "Change of the template",
        {"change": (rounds, known)},
        colour="#0b5c6b",
        criterion=template.tolerance,
        against="Round",
    )
    words = (
        "Root mean square change of the template in every deformable round, relative to its contrast. Later "
        f"rounds see finer detail. They ended because {template.ended}."
    )
    return Panel(
        "change", "Convergence of the template", words, plots=((plot, "change of the template by round"),)
    )


def _averaged_maps(plain: str) -> Iterator[tuple[str, tuple[str, ...], Window, str]]:
    """Yield title, possible names, colours and caption of the averages of maps beside chi."""
    for step in MAPS.values():
        for view in step.shown.views if step.shown else ():
            if view.output in AVERAGED:
                output = AVERAGED[view.output]
                descs = (averaged_desc(output, statistic) for statistic in (None, "mean"))
                names = tuple(f"{plain}{f'desc-{desc}_' if desc else ''}{output.suffix}" for desc in descs)
                yield f"Average {output.title}", names, view_window(view, SHOWN_FIELD), ""


def _load(
    output_dir: Path, template: str, name: str
) -> tuple[NDArray[np.float32], NDArray[np.float64]] | None:
    found = load_volume(output_dir / f"tpl-{template}" / "anat" / f"{name}.nii.gz")
    return found[:2] if found else None
