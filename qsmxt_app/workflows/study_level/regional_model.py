"""The statistics of regional values: checked before a run, fitted to its tables, written beside them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from qsmxt_app.bids.atomic import write_json, write_text
from qsmxt_app.bids.small_file import read_small
from qsmxt_app.errors import UnusableData, WrongUsage
from qsmxt_app.group.statistics.design import Design, make_design
from qsmxt_app.group.statistics.formula import Formula, parse_formula
from qsmxt_app.group.statistics.regions import ModelOptions, StudyModel, model_regions
from qsmxt_app.group.statistics.results import results_sidecar, results_tsv
from qsmxt_app.group.statistics.voxels import design_of_participants
from qsmxt_app.group.tables import scan_rows, with_phenotypes
from qsmxt_app.maps.measured import AVERAGED, MEASURED
from qsmxt_app.records.group import RegionalModel
from qsmxt_app.settings import Settings
from qsmxt_app.workflows.study_level.inputs import GroupScan, Phenotypes

TABLE = "group_desc-model_stats.tsv"


def check_model(
    settings: Settings, scans: Sequence[GroupScan], phenotypes: Phenotypes, raw: Path
) -> Design | None:
    """Refuse a model that cannot be fitted, before anything is run; return its design, if one is wanted.

    Raises
    ------
    WrongUsage
        The formula is not one, or names a map or variable that does not exist.
    UnusableData
        The variables of these scans do not determine the model.
    """
    if settings.model_formula is None:
        if settings.model_voxelwise:
            raise WrongUsage("--model-voxelwise needs a model.", "Give --model.")
        return None
    formula = parse_formula(settings.model_formula)
    present = [name for name in MEASURED if any(name in scan.files for scan in scans)]
    if formula.measure not in present:
        raise WrongUsage(
            f"--model '{formula.text}': no scan has a map {formula.measure}.",
            f"There are: {', '.join(present)}.",
        )
    if settings.model_voxelwise:
        _check_voxelwise(settings, formula)
    rows = [row for scan in scans for row in scan_rows(scan.entities, [{}])]
    joined = with_phenotypes(rows, phenotypes.participants, phenotypes.sessions)
    design = make_design(formula, joined, _levels(raw))
    if settings.model_voxelwise:
        design_of_participants(design, set(design.participants))
    return design


def _check_voxelwise(settings: Settings, formula: Formula) -> None:
    if not settings.template:
        raise WrongUsage("--model-voxelwise compares maps in the template.", "Leave out --no-template.")
    if formula.measure not in AVERAGED:
        raise WrongUsage(
            f"--model-voxelwise: {formula.measure} is not warped to the template.",
            f"There are: {', '.join(AVERAGED)}.",
        )


def write_model(
    formula: Formula, settings: Settings, table: str, raw: Path, output_dir: Path
) -> RegionalModel:
    """Fit the model to the tidy table of a study, and write the results beside it.

    Raises
    ------
    WrongUsage, UnusableData
        As `model_regions`.
    """
    options = ModelOptions(settings.model_correction, settings.model_value, settings.model_doubtful)
    model = model_regions(_read(table), formula, options, _levels(raw))
    write_text(output_dir / TABLE, results_tsv(model))
    write_json((output_dir / TABLE).with_suffix(".json"), results_sidecar(model))
    return _recorded(model)


def model_lines(model: RegionalModel) -> list[str]:
    """Say in lines for the terminal what was found."""
    lines = [f"model {model.formula}: {model.participants} participants, {model.regions} regions"]
    lines += [
        f"{effect}: {', '.join(model.differing.get(effect, ())) or 'no region'} "
        f"(p < 0.05 after {model.correction} over regions)"
        for effect in model.effects
    ]
    return [*lines, *model.warnings]


def _recorded(model: StudyModel) -> RegionalModel:
    design, options = model.design, model.options
    return RegionalModel(
        formula=design.formula.text,
        measure=design.formula.measure,
        value=options.value,
        correction=options.correction,
        doubtful=options.doubtful,
        table=TABLE,
        units=model.units,
        effects=tuple(effect.name for effect in design.effects),
        differing=model.differing,
        regions=len(model.regions),
        scans=len(design.scans),
        participants=len(set(design.participants)),
        mixed=any(one.fit.mixed for one in model.regions),
        references=dict(design.references),
        centres=dict(design.centres),
        group_sizes={name: dict(sizes) for name, sizes in design.group_sizes.items()},
        not_fitted=dict(model.not_fitted),
        warnings=model.warnings,
    )


def _read(table: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(table.removeprefix("\ufeff"))))


def _levels(raw: Path) -> Mapping[str, Sequence[str]]:
    """Return the variables of which participants.json names the levels, with these."""
    path = raw / "participants.json"
    if not path.is_file():
        return {}
    try:
        content = json.loads(read_small(path))
    except ValueError as error:
        raise UnusableData(f"{path}: not JSON ({error}).", "Correct the file.") from error
    columns = content.items() if isinstance(content, dict) else ()
    return {
        name: [str(level) for level in about["Levels"]]
        for name, about in columns
        if isinstance(about, dict) and isinstance(about.get("Levels"), (dict, list))
    }
