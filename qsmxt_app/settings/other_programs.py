"""Options of QSMxT 8 and 9, fMRIPrep and MRIQC: which mean the same, and what to use instead of others."""

from __future__ import annotations

from collections.abc import Sequence

SAME = {
    # MRIQC
    "session-id": "session-label",
    "run-id": "run-label",
    # fMRIPrep
    "mem-mb": "mem-gb",
    "work-directory": "work-dir",
    # QSMxT
    "subjects": "participant-label",
    "sessions": "session-label",
    "runs": "run-label",
    "acqs": "acquisition-label",
    "recs": "rec-label",
    "premade": "preset",
    "mask-erosions": "mask-erosion",
    "threshold-algorithm": "mask-threshold",
    "threshold-value": "mask-threshold-value",
    "tgv-alphas": "tgv-alpha",
    "do-swi": "swi",
    "dry": "dry-run",
}
"""Options that mean the same under another name."""

NOTHING_TO_DO = frozenset(
    {
        # this is what qsmxt does anyway
        "notrack",
        "no-sub",
        "no-track",
        "low-mem",
        "auto-yes",
        "do-qsm",
        "do-segmentation",
        "do-r2starmap",
        "do-t2starmap",
        "multiproc",
    }
)
"""Options without a value that ask for what is always done."""

INSTEAD = {
    "qsm-algorithm": "Use --qsm-method tgv, or --qsm-method two-step with --inversion rts, tv or nonlinear.",
    "masking-algorithm": "Use --mask magnitude, phase-quality, combined or bet.",
    "masking-input": "Use --mask magnitude or phase-quality.",
    "add-bet": "Use --mask bet.",
    "mask-preset": "Use --mask combined (robust) or bet.",
    "include": "Use --participant-label, --session-label, --run-label or --acquisition-label.",
    "exclude": "Use --participant-label, --session-label, --run-label or --acquisition-label.",
    "phase-offset-removal": "Not needed: phase offsets are removed automatically.",
    "bipolar-correction": "Use --bipolar yes; by default it is found in the data.",
    "qsm-reference": "Use --reference mean, none, a mask FILE or a region.",
    "do-chisep": "Source separation is not available.",
    "chisep": "Source separation is not available.",
    "filling-algorithm": "Use --mask-closing.",
    "bet-fractional-intensity": "Use --mask bet; its threshold is fixed.",
    "combine-phase": "Not needed: phase offsets are removed and coils combined automatically.",
    "inhomogeneity-correction": "Not needed: masking corrects for inhomogeneity.",
    "obliquity-threshold": "Not needed: oblique acquisitions are processed without resampling.",
    "num-echoes": "Use --echoes 1-N.",
    "do-template": "Run the group level: qsmxt BIDS_DIR OUTPUT_DIR group.",
    "do-analysis": "Not needed: regional values are always written.",
    "labels-file": "Use --custom-labels with --custom-dseg, or --derivatives for labels of FreeSurfer.",
    "existing-masks-pipeline": "Use --masks DIR.",
    "use-existing-masks": "Use --masks DIR.",
    "existing-segmentation-pipeline": "Use --derivatives DIR.",
    "use-existing-segmentations": "Use --derivatives DIR.",
    "existing-qsm-pipeline": "Use --chimap-derivatives DIR.",
    "use-existing-qsm": "Use --chimap-derivatives DIR.",
    "export-dicoms": "Run qsm dicom on the maps.",
    "pbs": "Use --submit pbs, with --account and --partition.",
    "slurm": "Use --submit slurm, with --account and --partition.",
    "debug": "Use -vv.",
    "fs-license-file": "Nothing: FreeSurfer is not run. Its finished labels are used by --derivatives.",
    "fs-no-reconall": "Use --segmentation none.",
    "task-id": "QSM has no tasks; use --acquisition-label or --run-label.",
    "echo-idx": "Use --echoes N.",
    "modalities": "QSM needs gradient echoes only; use --acquisition-label or --bids-filter-file.",
    "write-graph": "The log of the run names every step.",
    "random-seed": "Nothing: the seed is fixed, and two runs give the same voxels.",
    "sloppy": "Use --preset fast.",
    "md-only-boilerplate": "Use --boilerplate-only.",
}
"""What to use instead, by option."""


def translated(arguments: Sequence[str]) -> list[str]:
    """Replace options of other programs that mean the same; leave out those that ask for nothing.

    Examples
    --------
    >>> translated(["--premade=fast", "--notrack", "--mem-mb", "8000"])
    ['--preset=fast', '--mem-gb', '8000M']
    """
    done: list[str] = []
    megabytes = False
    for argument in arguments:
        name, equals, value = argument.removeprefix("--").partition("=")
        if not argument.startswith("--"):
            done.append(f"{argument}M" if megabytes and argument.isdecimal() else argument)
            megabytes = False
        elif name not in NOTHING_TO_DO:
            megabytes = name == "mem-mb" and not equals
            if name == "mem-mb" and value.isdecimal():
                value += "M"
            done.append(f"--{SAME.get(name, name)}{equals}{value}")
    return done
