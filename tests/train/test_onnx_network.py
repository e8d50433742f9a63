"""ONNX files in torch: onnxruntime's numbers, gradients, and clear words about what cannot be read."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from facewright.errors import AssetNotFoundError, WeightsError
from facewright.train.onnx_network import OnnxNetwork, read_onnx_network
from facewright.train.onnx_operators import OPERATORS
from tests.train.iresnet import small_iresnet

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402 - after the check that it is there

Array = np.ndarray
Node = tuple[str, list[str], dict[str, Any]]  # operator, names of inputs, attributes; each node's output is its number


def write(
    path: Path, nodes: Sequence[Node], constants: dict[str, Array], shape: tuple[int | str, ...], opset: int
) -> Path:
    """A file of nodes in a row; ``x`` is the input, the last node's output the output."""
    made = [
        helper.make_node(operator, inputs, [str(k)], **attributes)
        for k, (operator, inputs, attributes) in enumerate(nodes)
    ]
    graph = helper.make_graph(
        made,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))],
        [helper.make_tensor_value_info(str(len(nodes) - 1), TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.save(model, path)
    return path


def answer_of_onnxruntime(path: Path, x: Array) -> Array:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def draw(*shape: int) -> Array:
    return np.random.default_rng(len(shape) + sum(shape)).standard_normal(shape, np.float32)


def whole(*numbers: int) -> Array:
    return np.array(numbers, np.int64)


PICTURE = (2, 4, 9, 8)
FILTERS, STATISTICS = draw(6, 4, 3, 3), {f"s{k}": draw(4) for k in range(3)} | {"s3": np.abs(draw(4)) + 0.5}
# What each operator is tried on: constants, and nodes of which the last is compared.
TRIALS: dict[str, tuple[dict[str, Array], list[Node]]] = {
    "Add": ({"c": draw(4, 1, 1)}, [("Add", ["x", "c"], {})]),
    "AveragePool": ({}, [("AveragePool", ["x"], {"kernel_shape": [3, 2], "strides": [2, 1]})]),
    "BatchNormalization": (STATISTICS, [("BatchNormalization", ["x", "s0", "s1", "s2", "s3"], {"epsilon": 1e-3})]),
    "Cast": ({}, [("Cast", ["x"], {"to": TensorProto.FLOAT})]),
    "Cast shape": (
        {},
        [
            ("Shape", ["x"], {}),
            ("Cast", ["0"], {"to": TensorProto.INT32}),
            ("Cast", ["1"], {"to": 7}),
            ("Reshape", ["x", "2"], {}),
        ],
    ),
    "Clip": ({"lo": np.float32(-0.3), "hi": np.float32(0.5)}, [("Clip", ["x", "lo", "hi"], {})]),
    "Clip below": ({"lo": np.float32(-0.3)}, [("Clip", ["x", "lo"], {})]),
    "Concat": ({"c": draw(2, 1, 9, 8)}, [("Concat", ["x", "c", "x"], {"axis": 1})]),
    "Conv": ({"w": FILTERS, "b": draw(6)}, [("Conv", ["x", "w", "b"], {"pads": [1, 1, 1, 1], "strides": [2, 1]})]),
    "Conv dilated, uneven pads": ({"w": FILTERS}, [("Conv", ["x", "w"], {"pads": [0, 1, 2, 3], "dilations": [2, 1]})]),
    "Conv in groups": ({"w": draw(8, 1, 3, 3)}, [("Conv", ["x", "w"], {"group": 4})]),
    "Constant": ({}, [("Constant", [], {"value_float": 0.3}), ("Mul", ["x", "0"], {})]),
    "Constant tensor": ({}, [("Constant", [], {"value": numpy_helper.from_array(draw(8))}), ("Add", ["x", "0"], {})]),
    "Div": ({"c": np.abs(draw(9, 1)) + 0.5}, [("Div", ["x", "c"], {})]),
    "Dropout": ({}, [("Dropout", ["x"], {})]),
    "Flatten": ({}, [("Flatten", ["x"], {})]),
    "Flatten from the third": ({}, [("Flatten", ["x"], {"axis": 2})]),
    "Gather": ({"i": whole(3, -1)}, [("Gather", ["x", "i"], {"axis": 1})]),
    "Gather one": ({"i": np.array(-2, np.int64)}, [("Gather", ["x", "i"], {"axis": -1})]),
    "Gemm": (
        {"w": draw(5, 288), "b": draw(5)},
        [("Flatten", ["x"], {}), ("Gemm", ["0", "w", "b"], {"transB": 1, "alpha": 0.5, "beta": 2.0})],
    ),
    "Gemm turned": ({"w": draw(2, 5)}, [("Flatten", ["x"], {}), ("Gemm", ["0", "w"], {"transA": 1})]),
    "GlobalAveragePool": ({}, [("GlobalAveragePool", ["x"], {})]),
    "Identity": ({}, [("Identity", ["x"], {})]),
    "LeakyRelu": ({}, [("LeakyRelu", ["x"], {"alpha": 0.2})]),
    "LpNormalization": ({}, [("LpNormalization", ["x"], {"axis": 1})]),
    "MatMul": ({"w": draw(8, 3)}, [("MatMul", ["x", "w"], {})]),
    "MaxPool": ({}, [("MaxPool", ["x"], {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 0, 1]})]),
    "Mul": ({"c": draw(8)}, [("Mul", ["c", "x"], {})]),
    "PRelu": ({"c": draw(4, 1, 1)}, [("PRelu", ["x", "c"], {})]),
    "ReduceL2": ({}, [("ReduceL2", ["x"], {"axes": [1, -1], "keepdims": 0})]),
    "ReduceMean": ({}, [("ReduceMean", ["x"], {"axes": [2]})]),
    "ReduceMean of all": ({}, [("ReduceMean", ["x"], {})]),
    "Relu": ({}, [("Relu", ["x"], {})]),
    "Reshape": ({"s": whole(0, -1, 8)}, [("Reshape", ["x", "s"], {})]),
    "Reshape, zero means zero": ({"s": whole(-1, 8)}, [("Reshape", ["x", "s"], {"allowzero": 1})]),
    "Shape": (
        {"i": whole(0), "rest": whole(-1)},
        [
            ("Shape", ["x"], {}),
            ("Gather", ["0", "i"], {}),
            ("Concat", ["1", "rest"], {"axis": 0}),
            ("Reshape", ["x", "2"], {}),
        ],
    ),
    "Sigmoid": ({}, [("Sigmoid", ["x"], {})]),
    "Sqrt": ({}, [("Mul", ["x", "x"], {}), ("Sqrt", ["0"], {})]),
    "Squeeze": ({"a": whole(2, 3)}, [("GlobalAveragePool", ["x"], {}), ("Squeeze", ["0", "a"], {})]),
    "Sub": ({"c": draw(4, 9, 1)}, [("Sub", ["c", "x"], {})]),
    "Transpose": ({}, [("Transpose", ["x"], {"perm": [0, 2, 3, 1]})]),
    "Transpose all": ({}, [("Transpose", ["x"], {})]),
    "Unsqueeze": ({"a": whole(-1, 1)}, [("Unsqueeze", ["x", "a"], {})]),
}


@pytest.mark.parametrize("trial", TRIALS)
def test_operators_are_onnxruntimes(trial: str, tmp_path: Path) -> None:
    constants, nodes = TRIALS[trial]
    path, x = write(tmp_path / "network.onnx", nodes, constants, PICTURE, 17), draw(*PICTURE)
    received = read_onnx_network(path)(torch.from_numpy(x)).numpy()
    expected = answer_of_onnxruntime(path, x)
    assert received.shape == expected.shape
    np.testing.assert_allclose(received, expected, rtol=1e-5, atol=1e-6)


def test_every_operator_has_a_trial() -> None:
    assert {name.split(" ")[0].strip(",") for name in TRIALS} == {*OPERATORS, "Constant"}


@pytest.mark.parametrize(
    "nodes",
    [
        [("Clip", ["x"], {"min": -0.2, "max": 0.4})],
        [("GlobalAveragePool", ["x"], {}), ("Squeeze", ["0"], {"axes": [2, 3]}), ("Unsqueeze", ["1"], {"axes": [0]})],
        [("Dropout", ["x"], {"ratio": 0.4})],
    ],
)
def test_the_spelling_of_older_versions_is_read(nodes: list[Node], tmp_path: Path) -> None:
    path, x = write(tmp_path / "network.onnx", nodes, {}, PICTURE, 9), draw(*PICTURE)
    np.testing.assert_allclose(
        read_onnx_network(path)(torch.from_numpy(x)).numpy(), answer_of_onnxruntime(path, x), rtol=1e-5, atol=1e-6
    )


def iresnet_as_published(path: Path) -> Path:
    """The operators of ArcFace's published files: colours centred inside, batch norms kept, a width of 8, one block."""
    constants: dict[str, Array] = {"mean": np.array([127.5], np.float32), "share": np.array([1 / 128], np.float32)}
    nodes: list[Node] = [("Sub", ["x", "mean"], {}), ("Mul", ["0", "share"], {})]

    def add(operator: str, inputs: list[str], **attributes: Any) -> str:
        nodes.append((operator, inputs, attributes))
        return str(len(nodes) - 1)

    def conv(x: str, channels: int, size: int, stride: int = 1) -> str:
        name = f"w{len(nodes)}"
        inputs = 3 if len(nodes) == 2 else 8
        constants[name] = draw(channels, inputs, size, size) / np.float32(size * inputs**0.5)
        return add("Conv", [x, name], pads=[size // 2] * 4, strides=[stride] * 2, kernel_shape=[size] * 2)

    def norm(x: str, channels: int) -> str:
        names = [f"{k}{len(nodes)}" for k in ("scale", "shift", "mean", "variance")]
        constants.update({name: np.abs(draw(channels)) + np.float32(0.5) for name in names})
        return add("BatchNormalization", [x, *names], epsilon=2e-5)

    def prelu(x: str) -> str:
        constants[name := f"slope{len(nodes)}"] = np.abs(draw(8, 1, 1)) / 4
        return add("PRelu", [x, name])

    start = prelu(norm(conv("1", 8, 3, 2), 8))
    inner = norm(conv(prelu(norm(conv(norm(start, 8), 8, 3), 8)), 8, 3, 2), 8)
    seen = add("Identity", [norm(add("Add", [inner, norm(conv(start, 8, 1, 2), 8)]), 8)])
    constants |= {"matrix": draw(16, 512) / 20, "bias": draw(16)}
    vector = add("Gemm", [add("Flatten", [add("Dropout", [seen])]), "matrix", "bias"], transB=1)
    norm(vector, 16)
    return write(path, nodes, constants, ("N", 3, 32, 32), 12)


def test_a_published_arcface_graph_is_onnxruntimes(tmp_path: Path) -> None:
    path = iresnet_as_published(tmp_path / "network.onnx")
    x = 128 + 60 * draw(3, 3, 32, 32)
    expected = answer_of_onnxruntime(path, x)
    received = read_onnx_network(path)(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(received, expected, rtol=0, atol=1e-5 * np.ptp(expected))


def test_gradients_reach_the_pixels(tmp_path: Path) -> None:
    network = read_onnx_network(iresnet_as_published(tmp_path / "network.onnx")).double()
    x = (128 + 60 * torch.from_numpy(draw(2, 3, 32, 32)).double()).requires_grad_()
    assert torch.autograd.gradcheck(network, (x,), fast_mode=True)


def test_a_network_that_torch_exported_is_onnxruntimes(tmp_path: Path) -> None:
    net = small_iresnet()
    path, chips = tmp_path / "network.onnx", torch.rand(3, 3, 112, 112)
    from facewright.regress.onnx_export import quiet_exporter

    with quiet_exporter():
        batch = {0: torch.export.Dim("batch")}
        torch.onnx.export(net, (chips,), path, dynamo=True, verbose=False, external_data=False, dynamic_shapes=(batch,))
    with torch.no_grad():
        expected = net(chips).numpy()
        received = read_onnx_network(path)(chips).numpy()
    np.testing.assert_allclose(received, expected, rtol=0, atol=1e-5 * np.ptp(expected))
    np.testing.assert_allclose(
        received, answer_of_onnxruntime(path, chips.numpy()), rtol=0, atol=1e-5 * np.ptp(expected)
    )


def test_half_precision_is_widened(tmp_path: Path) -> None:
    """As ``export_onnx`` writes it, and as converters do: all values half, the input too."""
    constants = {"w": draw(6, 4, 3, 3).astype(np.float16)}
    path = write(tmp_path / "a.onnx", [("Cast", ["w"], {"to": 1}), ("Conv", ["x", "0"], {})], constants, PICTURE, 13)
    x = draw(*PICTURE)
    expected = answer_of_onnxruntime(path, x)
    received = read_onnx_network(path)(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(received, expected, rtol=1e-5, atol=1e-5)


def test_values_are_forgotten_when_nothing_needs_them_any_more(tmp_path: Path) -> None:
    network = read_onnx_network(iresnet_as_published(tmp_path / "network.onnx"))
    held, most, produced = {network.input_name}, 0, 0
    for node in network.nodes:
        assert all(not name or name in held or name not in {n.output for n in network.nodes} for name in node.inputs)
        held = (held | {node.output}) - set(node.spent)
        most, produced = max(most, len(held)), produced + 1
    assert held == {network.output_name}
    assert most <= 3 < produced


# ------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([("Softmax", ["x"], {}), ("Tanh", ["0"], {})], "received Softmax, Tanh too"),
        ([("Conv", ["x", "w"], {"auto_pad": "SAME_UPPER"})], "auto_pad 'NOTSET' only, received 'SAME_UPPER'"),
        ([("Cast", ["x"], {"to": TensorProto.INT64}), ("Cast", ["0"], {"to": 1})], "Cast"),
        ([("Dropout", ["x", "", "yes"], {})], "one for training"),
        ([("BatchNormalization", ["x", "s", "s", "s", "s"], {"training_mode": 1})], "training_mode"),
    ],
)
def test_what_cannot_be_read_is_named(nodes: list[Node], message: str, tmp_path: Path) -> None:
    constants = {"w": FILTERS, "yes": np.array(True), "s": draw(4)}
    made = [helper.make_node(op, inputs, [str(k)], **attributes) for k, (op, inputs, attributes) in enumerate(nodes)]
    graph = helper.make_graph(
        made,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(PICTURE))],
        [helper.make_tensor_value_info(str(len(nodes) - 1), TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph), tmp_path / "network.onnx")
    with pytest.raises(WeightsError, match=message):
        read_onnx_network(tmp_path / "network.onnx")(torch.from_numpy(draw(*PICTURE)))


def spoilt(change: Callable[[Any], object]) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        model = onnx.load(path)
        change(model)
        onnx.save(model, path)

    return spoil


def move_weights_out(model: Any) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="elsewhere.bin")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.write_bytes(b"not a network"), "not a whole ONNX file"),
        (lambda path: path.write_bytes(path.read_bytes()[:-200]), "not a whole ONNX file"),
        (spoilt(move_weights_out), "whose weights are in others"),
        (spoilt(lambda model: setattr(model.graph.node[2], "domain", "com.someone")), r"com\.someone\.Conv"),
        (spoilt(lambda model: model.graph.node.pop(3)), "nothing computes '3' before"),
        (spoilt(lambda model: model.graph.node.pop()), "nothing computes its output"),
        (spoilt(lambda model: setattr(model.graph.initializer[0], "raw_data", np.float32(np.nan).tobytes())), "NaN"),
        (spoilt(lambda model: setattr(model.graph.initializer[2], "raw_data", b"12")), "is damaged"),
        (spoilt(lambda model: model.graph.input.add(name="y")), "received 2 inputs"),
    ],
)
def test_damaged_and_foreign_files_are_refused(spoil: Callable[[Path], None], message: str, tmp_path: Path) -> None:
    path = iresnet_as_published(tmp_path / "network.onnx")
    spoil(path)
    with pytest.raises(WeightsError, match=message):
        read_onnx_network(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(AssetNotFoundError, match=r"none\.onnx"):
        read_onnx_network(tmp_path / "none.onnx")


def test_the_network_is_frozen_and_moves(tmp_path: Path) -> None:
    network = read_onnx_network(iresnet_as_published(tmp_path / "network.onnx"))
    assert isinstance(network, OnnxNetwork)
    assert not list(network.parameters())
    assert {buffer.dtype for buffer in network.double().buffers()} == {torch.float64}
