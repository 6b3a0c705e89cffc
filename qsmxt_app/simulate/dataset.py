"""Digital subjects as a raw BIDS dataset, and their truth beside it."""

from __future__ import annotations

import errno
import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from qsmxt_app import __version__
from qsmxt_app.qsm.constants import GAMMA_BAR_MHZ_PER_T
from qsmxt_app.simulate import spin_echo
from qsmxt_app.simulate.cohort import PARTICIPANTS_JSON, TrueEffects, draw_participant, participants_tsv
from qsmxt_app.simulate.spin_echo import simulate_spin_echoes
from qsmxt_app.simulate.structural import INVERSION_TIME, REPETITION_TIME, simulate_t1w
from qsmxt_app.simulate.subject import DigitalSubject, Protocol, simulate_subject

_README = """Simulated multi-echo gradient-echo and T1w images of {subjects} digital subject(s), seed {seed}.

Anatomy: MNI152 tissue maps with labels of FreeSurfer's average head and nuclei drawn from their published
geometry, deformed at random. No person was scanned. Written by qsmxt {version}: python -m qsmxt_app.simulate
"""


def write_dataset(
    out: Path,
    *,
    subjects: int = 1,
    seed: int = 0,
    protocol: Protocol,
    truth: Path | None = None,
    effects: TrueEffects | None = None,
) -> None:
    """Simulate people and write them as BIDS.

    Parameters
    ----------
    out
        Folder of the dataset; created, or empty.
    subjects
        Number of people.
    seed
        Seed of the study.
    protocol : Protocol
    truth
        Folder for the truth, where wanted; created, or empty.
    effects
        Of age, sex and group on susceptibility; none by default.

    Raises
    ------
    OSError
        A folder cannot be written, or holds files already: two runs never mix.
    """
    for folder in (out, truth):
        if folder is not None:
            _make_empty(folder)
    _write_json(
        out / "dataset_description.json",
        {
            "Name": f"qsmxt digital subjects, seed {seed}",
            "BIDSVersion": "1.10.0",
            "DatasetType": "raw",
            "License": "CC0",
            "Authors": ["The qsmxt developers"],
            "GeneratedBy": [{"Name": "qsmxt", "Version": __version__, "Description": "simulation"}],
        },
    )
    (out / "README").write_text(_README.format(subjects=subjects, seed=seed, version=__version__))
    people = {f"sub-{n:02d}": draw_participant(seed, n) for n in range(1, subjects + 1)}
    (out / "participants.tsv").write_text(participants_tsv(people))
    _write_json(out / "participants.json", PARTICIPANTS_JSON)
    for number, (label, person) in enumerate(people.items(), start=1):
        subject = simulate_subject(seed, number, protocol, effects.of(person) if effects else None)
        _write_gradient_echo(out / label / "anat", label, subject, protocol)
        if protocol.mixed_sources:
            _write_spin_echoes(out / label / "anat", label, seed, number, protocol)
        structural = simulate_t1w(
            seed, number, voxel_size=max(1.0, min(protocol.voxel_size)), anatomy=protocol.anatomy
        )
        _save(out / label / "anat" / f"{label}_T1w.nii.gz", structural.image, structural.affine)
        _write_json(
            out / label / "anat" / f"{label}_T1w.json",
            {
                **_scanner(protocol),
                "InversionTime": INVERSION_TIME,
                "RepetitionTime": REPETITION_TIME,
                "EchoTime": 0.003,
                "FlipAngle": 9,
            },
        )
        if truth is not None:
            _write_truth(truth / label / "anat", label, subject, structural.motion)


def _make_empty(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise FileExistsError(
            errno.ENOTEMPTY, "the folder holds files already, name another one", str(folder)
        )


def _scanner(protocol: Protocol) -> dict[str, Any]:
    return {
        "Modality": "MR",
        "Manufacturer": "Simulated",
        "ManufacturersModelName": "qsmxt digital subject",
        "MagneticFieldStrength": protocol.field_strength,
        "ImagingFrequency": protocol.field_strength * GAMMA_BAR_MHZ_PER_T,
    }


def _write_gradient_echo(folder: Path, label: str, subject: DigitalSubject, protocol: Protocol) -> None:
    for echo, echo_time in enumerate(protocol.echo_times):
        sidecar = {
            **_scanner(protocol),
            "EchoTime": echo_time,
            "EchoNumber": echo + 1,
            "RepetitionTime": protocol.repetition_time,
            "RepetitionTimeExcitation": protocol.repetition_time,
            "FlipAngle": protocol.flip_angle,
            "MRAcquisitionType": "3D",
        }
        if protocol.declare_readout:
            sidecar["ReadoutPolarity"] = "bipolar" if protocol.bipolar else "monopolar"
        for part, image, more in (
            ("mag", subject.magnitude[..., echo], {}),
            ("phase", subject.phase[..., echo], {"Units": "rad"}),
        ):
            stem = f"{label}_echo-{echo + 1}_part-{part}_MEGRE"
            _save(folder / f"{stem}.nii.gz", image, subject.affine)
            _write_json(folder / f"{stem}.json", {**sidecar, **more})


def _write_spin_echoes(folder: Path, label: str, seed: int, number: int, protocol: Protocol) -> None:
    scan = simulate_spin_echoes(
        seed,
        number,
        voxel_size=protocol.voxel_size,
        field_strength=protocol.field_strength,
        anatomy=protocol.anatomy,
    )
    for echo, echo_time in enumerate(spin_echo.ECHO_TIMES):
        stem = f"{label}_echo-{echo + 1}_MESE"
        _save(folder / f"{stem}.nii.gz", scan.images[..., echo], scan.affine)
        sidecar = {"EchoTime": echo_time, "EchoNumber": echo + 1, "RepetitionTime": spin_echo.REPETITION_TIME}
        _write_json(folder / f"{stem}.json", {**_scanner(protocol), **sidecar})


def _write_truth(folder: Path, label: str, subject: DigitalSubject, motion: NDArray[np.float64]) -> None:
    truth, sources = subject.truth, subject.truth.sources
    separated: list[tuple[str, NDArray, str | None]] = []
    if sources is not None:
        separated = [
            ("desc-paramagnetic_Chimap", sources.paramagnetic, "ppm"),
            ("desc-diamagnetic_Chimap", sources.diamagnetic, "ppm"),
            ("R2map", sources.r2, "s^-1"),
            ("R2primemap", sources.r2prime, "s^-1"),
        ]
    for name, image, units in (
        *separated,
        ("Chimap", truth.chi, "ppm"),
        ("desc-total_fieldmap", truth.total_field, "Hz"),
        ("desc-local_fieldmap", truth.local_field, "Hz"),
        ("R2starmap", truth.r2star, "s^-1"),
        ("desc-offset_phase", truth.offset, "rad"),
        ("desc-brain_mask", truth.brain_mask.astype(np.uint8), None),
        ("dseg", truth.labels, None),
    ):
        _save(folder / f"{label}_{name}.nii.gz", image, subject.affine)
        if units is not None:
            _write_json(folder / f"{label}_{name}.json", {"Units": units})
    rows = "".join(f"{number}\t{name}\n" for number, name in sorted(truth.label_names.items()))
    (folder / f"{label}_dseg.tsv").write_text("index\tname\n" + rows)
    _write_json(
        folder / f"{label}_desc-T1w_motion.json", {"from": "MEGRE", "to": "T1w", "matrix": motion.tolist()}
    )


def _save(path: Path, image: NDArray, affine: NDArray[np.float64]) -> None:
    """Write an image; the same voxels give the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nifti = nib.Nifti1Image(image, affine)
    nifti.header.set_xyzt_units("mm", "sec")
    nifti.set_qform(affine, code=1)
    nifti.set_sform(affine, code=1)
    with path.open("wb") as raw, gzip.GzipFile("", "wb", compresslevel=3, fileobj=raw, mtime=0) as stream:
        stream.write(nifti.to_bytes())


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n")
