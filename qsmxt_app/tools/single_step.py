"""From the files of a command line to what a step computes, and back to files."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from qsmxt_app import __version__
from qsmxt_app.arrays import FloatArray
from qsmxt_app.bids.headers import ImageHeader, b0_direction, read_header
from qsmxt_app.errors import CannotCreateOutput, UnusableData, WrongUsage
from qsmxt_app.qsm.constants import hz_per_ppm
from qsmxt_app.qsm.phase import scale_phase
from qsmxt_app.tools.command import ECHOES, Command, Given, Made
from qsmxt_app.tools.images import read_echoes, read_image, sidecar_of, with_suffix, write_image
from qsmxt_app.workflows.limits import available_cpus

FIELDS = ("field", "noise")


def run_command(command: Command, arguments: argparse.Namespace) -> None:
    """Read the images of a command, compute, and write its outputs with their sidecars.

    Raises
    ------
    WrongUsage, NoInput, UnusableData, CannotCreateOutput
        Arguments that contradict each other, or files that cannot be read, used or written.
    """
    output: Path = arguments.output
    if not output.name.endswith((".nii", ".nii.gz")):
        raise WrongUsage(f"-o {output}: not the name of an image.", "Let it end in .nii.gz.")
    if not output.parent.is_dir():
        raise CannotCreateOutput(f"{output}: the folder {output.parent} does not exist.")
    given, header = read_given(command, arguments)
    _write(command, command.compute(given), given, header, arguments)


def read_given(command: Command, arguments: argparse.Namespace) -> tuple[Given, ImageHeader]:
    """Read the images, and what is known of the scan from options, sidecars and headers."""
    options = vars(arguments)
    paths = {name: options[name] for name in (*command.needs, *command.takes) if options[name]}
    images: dict[str, Any] = {
        name: read_echoes(path) if name in ECHOES else read_image(path) for name, path in paths.items()
    }
    first_name = command.needs[0]
    files = paths[first_name] if first_name in ECHOES else [paths[first_name]]
    for name, image in images.items():
        if image.shape[:3] != images[first_name].shape[:3]:
            raise UnusableData(
                f"{paths[name]}: has shape {image.shape}, but {files[0]} {images[first_name].shape}."
            )
    header = read_header(files[0])
    times = _echo_times(options, files, images[first_name]) if command.echo_times else ()
    field_strength = _field_strength(options, files[0]) if command.field_strength else 0.0
    if "phase" in images:
        images["phase"] = scale_phase(images["phase"]).phase
    if "mask" in images:
        images["mask"] = images["mask"] > 0
    for name in (name for name in FIELDS if name in images and options["units"] == "Hz"):
        images[name] = images[name] / np.float32(hz_per_ppm(field_strength))
    direction = options["b0_direction"] or b0_direction(header.scanner_affine)
    unit = np.asarray(direction, float) / np.linalg.norm(direction)
    given = Given(
        images=images,
        echo_times=times,
        field_strength=field_strength,
        voxel_size=header.voxel_size,
        b0_direction=(float(unit[0]), float(unit[1]), float(unit[2])),
        options={option.name: options[option.name] for option in command.options},
        threads=options["threads"] or available_cpus(),
    )
    return given, header


def _echo_times(options: dict[str, Any], files: list[Path], echoes: FloatArray) -> tuple[float, ...]:
    count = echoes.shape[3]
    times = options["echo_times"]
    if not times:
        times = [sidecar_of(file).get("EchoTime") for file in files]
        if len(files) == 1 and isinstance(times[0], list):
            times = times[0]
    if len(times) != count or not all(isinstance(time, int | float) and 0 < time < 1 for time in times):
        raise WrongUsage(
            f"{count} echoes, but the echo times are {times}.", "Give --echo-times in s, one each."
        )
    return tuple(float(time) for time in times)


def _field_strength(options: dict[str, Any], file: Path) -> float:
    value = options["field_strength"] or sidecar_of(file).get("MagneticFieldStrength")
    if not isinstance(value, int | float) or value <= 0:
        raise WrongUsage("the field strength is not known.", "Give --field-strength in T.")
    return float(value)


def _write(
    command: Command, made: Made, given: Given, header: ImageHeader, arguments: argparse.Namespace
) -> None:
    for index, (name, declared) in enumerate(command.outputs.items()):
        image, unit = made.images[name], declared if declared != "field" else arguments.units
        if unit == "Hz":
            image = image * np.float32(hz_per_ppm(given.field_strength))
        sidecar = {"Units": unit} if unit else {}
        if given.echo_times and image.ndim == 4:
            sidecar |= {"EchoTime": list(given.echo_times)}
        if given.field_strength:
            sidecar |= {"MagneticFieldStrength": given.field_strength}
        made_by = {"Name": "qsmxt", "Version": __version__, "Step": arguments.command}
        sidecar |= {"GeneratedBy": [made_by | dict(given.options) | dict(made.facts)]}
        path = arguments.output if index == 0 else with_suffix(arguments.output, f"_{name}")
        write_image(image, header.affine, path, sidecar)
    for warning in made.facts.get("warnings", ()):
        print(f"qsm: {arguments.output}: {warning}")
