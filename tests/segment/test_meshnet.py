import json
import pickle
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from safetensors.numpy import save_file
from scipy.ndimage import correlate

from qsmxt_app.errors import NoInput, UnusableData
from qsmxt_app.registration import Image, apply
from qsmxt_app.segment.existing_labels import ExistingLabels, load_labels
from qsmxt_app.segment.network import InputGrid, Network, classify, label_by_network
from qsmxt_app.segment.network_files import load_network, save_network
from qsmxt_app.segment.regions import Region

onnx = pytest.importorskip("onnx", reason="the extra meshnet is not installed")
DILATIONS = (1, 3)


@dataclass(frozen=True)
class Layer:
    """A convolution: weight (output, input, x, y, z), bias (output), and distance of its taps in voxels."""

    weight: np.ndarray
    bias: np.ndarray
    dilation: int


def random_layers(rng, classes=4, channels=3):
    sizes = [1, *[channels] * len(DILATIONS)]
    layers = [
        Layer(
            rng.normal(size=(outputs, inputs, 3, 3, 3)).astype(np.float32),
            rng.normal(size=outputs).astype(np.float32),
            dilation,
        )
        for inputs, outputs, dilation in zip(sizes, sizes[1:], DILATIONS, strict=False)
    ]
    last = rng.normal(size=(classes, channels, 1, 1, 1)).astype(np.float32)
    return (*layers, Layer(last, rng.normal(size=classes).astype(np.float32), 1))


def scores(layers, image):
    """The same network, written out as sums of correlations with kernels full of zeros."""
    features = [image.astype(float)]
    for layer in layers[:-1]:
        spread = np.zeros((*layer.weight.shape[:2], *[2 * layer.dilation + 1] * 3))
        spread[(..., *[slice(None, None, layer.dilation)] * 3)] = layer.weight
        sums = [
            bias + sum(correlate(f, k, mode="constant") for f, k in zip(features, kernels, strict=True))
            for kernels, bias in zip(spread, layer.bias, strict=True)
        ]
        features = [np.where(s > 0, s, np.expm1(np.minimum(s, 0))) for s in sums]
    last = layers[-1]
    return np.stack(
        [
            b + sum(f * w[0, 0, 0] for f, w in zip(features, ws, strict=True))
            for ws, b in zip(last.weight, last.bias, strict=True)
        ]
    )


def write_network(folder, layers, names=("Unknown", "Left-Putamen", "Brain-Stem", "Else")):
    folder.mkdir(parents=True, exist_ok=True)
    described = [
        {
            "in_channels": layer.weight.shape[1],
            "out_channels": layer.weight.shape[0],
            "kernel_size": layer.weight.shape[2],
            "padding": layer.dilation if layer.weight.shape[2] == 3 else 0,
            "dilation": layer.dilation,
        }
        for layer in layers
    ]
    (folder / "model.json").write_text(json.dumps({"bnorm": False, "elu": True, "layers": described}))
    (folder / "colormap.json").write_text(json.dumps({"labels": list(names)}))
    weights = {}
    for place, layer in enumerate(layers):
        weights |= {f"model.{2 * place}.weight": layer.weight, f"model.{2 * place}.bias": layer.bias}
    save_file(weights, folder / "model.pth")
    return folder


def test_layers_are_dilated_correlations(tmp_path):
    rng = np.random.default_rng(4)
    layers, image = random_layers(rng), rng.random((9, 8, 7)).astype(np.float32)
    expected = scores(layers, image).argmax(0)
    assert len(np.unique(expected)) > 2
    network = load_network(write_network(tmp_path / "net", layers))
    for threads in (1, 3):
        assert np.array_equal(classify(network, image, threads=threads), expected)


def test_a_meshnet_is_read_from_its_files_and_kept_as_onnx(tmp_path):
    layers = random_layers(np.random.default_rng(5))
    network = load_network(write_network(tmp_path / "net", layers))
    assert network.regions == (
        Region(1, "putamen", "L", "nucleus"),
        Region(2, "brainstem", "", "nucleus"),
        Region(3, "else"),
    )
    save_network(network, tmp_path / "kept.onnx")
    again = load_network(tmp_path / "kept.onnx")
    assert (again.regions, again.grid, again.model) == (network.regions, network.grid, network.model)


def model(operator, shape, **attributes):
    """An ONNX model of one operator."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node(operator, ["image"], ["labels"], **attributes)],
        "one",
        [helper.make_tensor_value_info("image", kind, [1, 1, "x", "y", "z"])],
        [helper.make_tensor_value_info("labels", kind, shape)],
    )
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()


def test_any_labelling_network_can_be_used(tmp_path):
    """One that gives back its input, as labels, on a grid of 2 mm that it must be shown whole."""
    grid = InputGrid((20, 24, 16), 2.0, "RAS", (0.0, 100.0), crop=False)
    identity = model("Identity", [1, 1, "x", "y", "z"])
    save_network(Network(identity, (Region(1, "bright"),), grid), tmp_path / "any.onnx")
    network = load_network(tmp_path / "any.onnx")
    assert network.grid == grid
    t1w = np.zeros((40, 48, 32), np.float32)
    t1w[10:20, 16:26, 8:20] = 7
    labels, (region,) = label_by_network(Image(t1w, np.eye(4)), np.ones(t1w.shape, bool), network)
    assert region.name == "bright"
    assert labels.array.shape == grid.shape
    assert labels.array[6:9, 9:12, 6:9].all()
    assert np.count_nonzero(labels.array) == pytest.approx(np.count_nonzero(t1w) / 8, rel=0.4)


def test_numbers_without_a_region_are_background():
    five = np.full((2, 2, 2), 5, np.float32)
    network = Network(model("Identity", [1, 1, "x", "y", "z"]), (Region(2, "b"), Region(5, "e")))
    assert (classify(network, five) == 5).all()
    assert (classify(network, five - 1) == 0).all()


@pytest.mark.parametrize(
    ("description", "problem"),
    [
        ("shape = [1, 2]", "regions"),
        ("regions = []\nshape = [1, 2]", "shape has 3 numbers"),
        ('regions = []\naxes = "LLA"', "LLA"),
        ("regions = []\nsize = 3", "unknown: size"),
        ("regions = [", "any"),
    ],
)
def test_a_description_that_is_wrong_is_named(tmp_path, description, problem):
    (tmp_path / "any.onnx").write_bytes(b"")
    with pytest.raises(NoInput, match=r"no any\.toml"):
        load_network(tmp_path / "any.onnx")
    (tmp_path / "any.toml").write_text(description)
    with pytest.raises(UnusableData, match=problem):
        load_network(tmp_path / "any.onnx")


def test_a_model_that_cannot_label_the_image_is_refused():
    image = np.zeros((3, 4, 5), np.float32)
    with pytest.raises(UnusableData, match="cannot load the network"):
        classify(Network(b"nothing", (Region(1, "a"),)), image)
    flat = Network(model("GlobalAveragePool", [1, 1, 1, 1, 1]), (Region(1, "a"),))
    with pytest.raises(UnusableData, match="no label for each voxel"):
        classify(flat, image)


class Harm:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_pickle_is_refused_and_never_opened(tmp_path):
    folder = write_network(tmp_path / "net", random_layers(np.random.default_rng(6)))
    (folder / "model.pth").write_bytes(pickle.dumps(Harm(tmp_path / "harm")))
    with pytest.raises(UnusableData, match="no network that can be used"):
        load_network(folder)
    assert not (tmp_path / "harm").exists()


def test_what_is_missing_or_does_not_fit_is_named(tmp_path):
    layers = random_layers(np.random.default_rng(7))
    with pytest.raises(NoInput, match=r"no model\.json"):
        load_network(tmp_path)
    with pytest.raises(UnusableData, match="another number of classes"):
        load_network(write_network(tmp_path / "few", layers, names=("Unknown", "Putamen")))
    wrong = (layers[0], layers[0], layers[2])
    with pytest.raises(UnusableData, match="other channels"):
        load_network(write_network(tmp_path / "net", wrong))


def test_the_grid_lies_around_the_middle_of_the_image():
    affine = np.array([[0, 0, 1.2, -80], [1.0, 0, 0, -100], [0, 0.9, 0, -110], [0, 0, 0, 1]])
    image = Image(np.zeros((200, 220, 150), np.float32), affine)
    grid = InputGrid().around(image)
    assert nib.aff2axcodes(grid.affine) == ("L", "I", "A")
    assert grid.voxel_size == (1.0, 1.0, 1.0)
    assert np.allclose(grid.affine @ [128, 128, 128, 1], affine @ [100, 110, 75, 1])


def test_an_image_on_the_grid_of_the_network_is_not_interpolated():
    rng, affine = (
        np.random.default_rng(8),
        np.array([[-1.0, 0, 0, 9], [0, 0, 1.0, -20], [0, -1.0, 0, 7], [0, 0, 0, 1]]),
    )
    image = Image(rng.random((256, 30, 31)).astype(np.float32), affine)
    voxels = np.array([[100, 3, 4], [128, 15, 15], [255, 29, 30]])
    grid = InputGrid().around(image)
    there = np.rint(
        (voxels @ affine[:3, :3].T + affine[:3, 3] - grid.affine[:3, 3])
        @ np.linalg.inv(grid.affine[:3, :3]).T
    )
    assert np.array_equal(apply(image, grid).array[tuple(there.astype(int).T)], image.array[tuple(voxels.T)])


def test_intensities_run_from_the_2nd_to_the_98th_percentile():
    scaled = InputGrid().scale(np.arange(101, dtype=np.float32).reshape(1, 1, 101))
    assert scaled[0, 0, 2] == 0
    assert scaled[0, 0, 98] == pytest.approx(1)
    assert scaled[0, 0, 50] == pytest.approx(0.5)
    assert scaled.min() == 0
    assert scaled.max() == 1


def test_labels_lie_where_the_brain_is(tmp_path):
    """A network that calls bright what is bright: its labels must lie on the bright voxels in world space."""
    take = np.zeros((1, 1, 3, 3, 3), np.float32)
    take[0, 0, 1, 1, 1] = 1
    choose = np.array([0, 1, -5, -5], np.float32).reshape(4, 1, 1, 1, 1)
    layers = (Layer(take, np.zeros(1, np.float32), 1), Layer(choose, np.array([0.5, 0, 0, 0], np.float32), 1))
    folder = write_network(tmp_path / "net", layers)
    t1w = np.zeros((51, 61, 41), np.float32)  # the middle of odd sides lies on a voxel of either grid
    t1w[20:30, 30:45, 10:22] = 100
    brain = np.zeros(t1w.shape, bool)
    brain[15:35, 25:50, 8:30] = True
    affine = np.array([[-1.0, 0, 0, 30], [0, 0, 1.0, -20], [0, 1.0, 0, 15], [0, 0, 0, 1]])
    labels, _ = label_by_network(Image(t1w, affine), brain, load_network(folder))
    bright = np.argwhere(t1w > 0) @ affine[:3, :3].T + affine[:3, 3]
    index = np.rint((bright - labels.affine[:3, 3]) @ np.linalg.inv(labels.affine[:3, :3]).T).astype(int)
    assert np.all(labels.array[tuple(index.T)] == 1)
    assert np.count_nonzero(labels.array) == len(bright)
    assert labels.array.size < 60**3  # only around the brain


def test_real_weights_find_the_nuclei_of_a_real_brain(test_data):
    """In a box around the deep nuclei alone, which costs seconds; in a whole head Dice is 0.85 and above."""
    shared = test_data / "labelled-t1w"
    image = nib.load(shared / "norm.mgz")
    truth, _ = load_labels(ExistingLabels(shared / "aparc.a2009s+aseg.mgz", None, ""))
    network = load_network(test_data / "meshnet" / "weights" / "subcortical-30ch")
    nuclei = np.isin(truth.array, [10, 49, 11, 50, 12, 51])
    box = tuple(slice(i.min() - 8, i.max() + 9) for i in np.nonzero(nuclei))
    shown = InputGrid().scale(np.asarray(image.dataobj, np.float32))[box]
    found = classify(network, shown, threads=2)
    numbers = {region.name: region.index for region in network.regions}
    for name, pair in {"thalamus": (10, 49), "caudate": (11, 50), "putamen": (12, 51)}.items():
        here, there = found == numbers[name], np.isin(truth.array[box], pair)
        assert 2 * np.count_nonzero(here & there) / (here.sum() + there.sum()) > 0.65, name
