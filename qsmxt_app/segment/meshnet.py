"""MeshNets of brainchop, small networks of dilated convolutions, as ONNX models.

Such a network keeps the size of the image and convolves with growing and shrinking dilation: ten
layers of 30 channels have a receptive field of 93 mm.

References
----------
Fedorov A, et al. International Joint Conference on Neural Networks, 3785-3792 (2017).
Masoud M, et al. Brainchop. J Open Source Softw 8:5098 (2023): the weights.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from qsmxt_app.arrays import FloatArray
from qsmxt_app.errors import NoInput, UnusableData
from qsmxt_app.segment.network import Network
from qsmxt_app.segment.regions import Region, split_hemisphere

DESCRIPTION, CLASSES, WEIGHTS = "model.json", "colormap.json", "model.pth"
FILES = (DESCRIPTION, CLASSES, WEIGHTS)
_OPSET, _IR_VERSION = 17, 8
"""Old enough for every ONNX Runtime that is supported."""
# what brainchop calls a region, what we call it, and its kind
_NAMES = {
    "Cerebral-White-Matter": ("cerebral-white-matter", "white"),
    "Cerebral-Cortex": ("cerebral-cortex", "cortex"),
    "Lateral-Ventricle": ("lateral-ventricle", "fluid"),
    "Inferior-Lateral-Ventricle": ("inferior-horn", "fluid"),
    "Cerebellum-White-Matter": ("cerebellar-white-matter", "white"),
    "Cerebellum-Cortex": ("cerebellar-cortex", "cortex"),
    "3rd-Ventricle": ("third-ventricle", "fluid"),
    "4th-Ventricle": ("fourth-ventricle", "fluid"),
    "Brain-Stem": ("brainstem", "nucleus"),
    "Accumbens-area": ("accumbens", "nucleus"),
    "VentralDC": ("ventral-diencephalon", "nucleus"),
    **{
        name: (name.lower(), "nucleus")
        for name in ("Thalamus", "Caudate", "Putamen", "Pallidum", "Hippocampus", "Amygdala")
    },
}


def convert_meshnet(folder: Path) -> Network:
    """Convert a MeshNet: `model.json`, `colormap.json` and the weights, a safetensors file whatever its name.

    Raises
    ------
    NoInput
        `safetensors` or `onnx` is not installed.
    UnusableData
        The files do not fit together, or the weights are a pickle, which is never opened.
    """
    try:
        from safetensors import SafetensorError
        from safetensors.numpy import load

        regions = meshnet_regions(folder)
        described = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        model = _as_onnx(described, load((folder / WEIGHTS).read_bytes()), 1 + len(regions))
    except ImportError as error:
        raise NoInput(
            f"{folder}: a MeshNet is read by safetensors and onnx.", "pip install qsmxt-app[meshnet]"
        ) from error
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise UnusableData(
            f"{folder}: no network that can be used ({error}).", "Give the folder of a MeshNet of brainchop."
        ) from error
    return Network(model, regions)


def meshnet_regions(folder: Path) -> tuple[Region, ...]:
    """Return the regions that a MeshNet labels, from `colormap.json` alone.

    Raises
    ------
    UnusableData
        The file is damaged.
    """
    try:
        names = json.loads((folder / CLASSES).read_text(encoding="utf-8"))["labels"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UnusableData(
            f"{folder / CLASSES}: no list of classes ({error}).", "Download it again."
        ) from error
    return tuple(_region(index, name) for index, name in enumerate(names) if index)


def _as_onnx(described: Mapping[str, Any], weights: Mapping[str, FloatArray], classes: int) -> bytes:
    """Convolutions with an activation between them, and the number of the largest class at the end."""
    from onnx import TensorProto, helper, numpy_helper

    if described.get("bnorm"):
        raise ValueError("batch normalisation")
    layers: Sequence[Mapping[str, Any]] = described["layers"]
    activation = "Elu" if described.get("elu") else "Relu"
    nodes: list[Any] = []
    constants: list[Any] = []
    channels = 1
    for place, layer in enumerate(layers):
        last = place == len(layers) - 1
        names = [f"model.{2 * place}.{kind}" for kind in ("weight", "bias")]
        _check(place, layer, [weights[name].shape for name in names], channels, last=last)
        constants += [numpy_helper.from_array(weights[name].astype(np.float32), name) for name in names]
        dilation, channels = layer["dilation"], layer["out_channels"]
        reach = dilation * (layer["kernel_size"] // 2)
        given = nodes[-1].output[0] if nodes else "image"
        convolved = [f"sums.{place}"]
        nodes.append(
            helper.make_node("Conv", [given, *names], convolved, dilations=[dilation] * 3, pads=[reach] * 6)
        )
        if not last:
            nodes.append(helper.make_node(activation, convolved, [f"features.{place}"]))
    if channels != classes:
        raise ValueError(f"{channels} classes, another number of classes than of names")
    nodes.append(helper.make_node("ArgMax", [nodes[-1].output[0]], ["labels"], axis=1, keepdims=0))
    graph = helper.make_graph(
        nodes,
        "meshnet",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 1, "x", "y", "z"])],
        [helper.make_tensor_value_info("labels", TensorProto.INT64, [1, "x", "y", "z"])],
        constants,
    )
    opset = [helper.make_opsetid("", _OPSET)]
    model: bytes = helper.make_model(graph, opset_imports=opset, ir_version=_IR_VERSION).SerializeToString()
    return model


def _check(
    place: int, layer: Mapping[str, Any], shapes: Sequence[tuple[int, ...]], channels: int, *, last: bool
) -> None:
    size = layer["kernel_size"]
    shape = (layer["out_channels"], layer["in_channels"], size, size, size)
    if list(shapes) != [shape, shape[:1]] or size != (1 if last else 3):
        raise ValueError(f"layer {place} has weights of shape {shapes[0]}")
    if layer["in_channels"] != channels:
        raise ValueError(f"layer {place} takes other channels than there are")
    if 0 in shape or (not last and layer["padding"] != layer["dilation"]):
        raise ValueError(f"layer {place} changes the size of the image")


def _region(index: int, name: str) -> Region:
    plain, side = split_hemisphere(name)
    ours, kind = _NAMES.get(plain, (plain.lower(), ""))
    return Region(index, ours, side, kind)
