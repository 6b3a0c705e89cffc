"""Networks on disk: an ONNX file with its description beside it, or a MeshNet of brainchop."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from qsmxt_app.errors import NoInput, UnusableData
from qsmxt_app.segment import meshnet
from qsmxt_app.segment.network import InputGrid, Network
from qsmxt_app.segment.regions import Region

MODEL, DESCRIPTION = ".onnx", ".toml"


def network_files(path: Path) -> tuple[Path, ...]:
    """Return the files of a network: those of a folder of brainchop, or the model and its description."""
    if path.suffix == MODEL:
        return path, path.with_suffix(DESCRIPTION)
    return tuple(path / name for name in meshnet.FILES)


def check_network(path: Path) -> None:
    """Raise `NoInput` for a network of which a file is missing."""
    for file in network_files(path):
        if not file.is_file():
            raise NoInput(
                f"--model {path}: no {file.name}.",
                f"Give FILE.onnx with FILE.toml beside it, or a folder with {', '.join(meshnet.FILES)}.",
            )


def network_regions(path: Path) -> tuple[Region, ...]:
    """Return the regions that a network labels, without reading its weights.

    Raises
    ------
    UnusableData
        The file that names them is damaged.
    """
    if path.suffix == MODEL:
        return _described(path.with_suffix(DESCRIPTION))[0]
    return meshnet.meshnet_regions(path)


def load_network(path: Path) -> Network:
    """Read a network.

    Parameters
    ----------
    path
        An ONNX file, beside which a TOML file of the same name describes labels, grid and normalisation; or a
        folder with a MeshNet of brainchop, which is converted.

    Raises
    ------
    NoInput
        A file, or a package that reads it, is missing.
    UnusableData
        The files cannot be used.
    """
    check_network(path)
    if path.suffix == MODEL:
        return Network(path.read_bytes(), *_described(path.with_suffix(DESCRIPTION)))
    return meshnet.convert_meshnet(path)


def save_network(network: Network, path: Path) -> None:
    """Write a network as FILE.onnx with FILE.toml beside it, for `load_network`."""
    path.write_bytes(network.model)
    lines = [f"{name} = {_toml(value)}" for name, value in asdict(network.grid).items()]
    for region in network.regions:
        lines += ["", "[[regions]]", *(f"{name} = {_toml(value)}" for name, value in asdict(region).items())]
    path.with_suffix(DESCRIPTION).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _described(path: Path) -> tuple[tuple[Region, ...], InputGrid]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        regions = tuple(Region(**region) for region in content.pop("regions"))
        return regions, _grid(content)
    except (OSError, ValueError, KeyError, TypeError) as error:
        message = f"{path}: no description of a network ({error})."
        raise UnusableData(message, "See docs/segmentation.md for what it holds.") from error


def _grid(content: Mapping[str, Any]) -> InputGrid:
    unknown = content.keys() - {field.name for field in fields(InputGrid)}
    if unknown:
        raise ValueError(f"unknown: {', '.join(sorted(unknown))}")
    found = InputGrid(**_with_tuples(content))
    if len(found.shape) != 3 or len(found.percentiles) != 2 or found.voxel_size <= 0:
        raise ValueError("shape has 3 numbers, percentiles 2, and voxel_size is above 0")
    if sorted(found.axes.translate(str.maketrans("LAI", "RPS"))) != ["P", "R", "S"]:
        raise ValueError(f"axes {found.axes!r} are not three of L or R, A or P, I or S")
    return found


def _with_tuples(values: Mapping[str, Any]) -> Any:
    return {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}


def _toml(value: object) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    return str(list(value) if isinstance(value, tuple) else value).lower()
