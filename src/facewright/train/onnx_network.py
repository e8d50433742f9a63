"""ONNX files of recognition networks as torch modules, so that gradients reach the pixels."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from facewright.errors import AssetNotFoundError, MissingExtraError, WeightsError
from facewright.train.onnx_operators import OPERATORS

if TYPE_CHECKING:
    import onnx

_ONES_OWN = ("", "ai.onnx")


@dataclass(frozen=True)
class OnnxNode:
    """One step of a network.

    Attributes:
        operator: a key of ``OPERATORS``.
        inputs: names of values; empty where left out.
        output: name of the value that it computes.
        attributes: by name.
        spent: names of values that no later step needs.
    """

    operator: str
    inputs: tuple[str, ...]
    output: str
    attributes: dict[str, Any]
    spent: tuple[str, ...]


class OnnxNetwork(nn.Module):
    """Computes what a graph of ``OnnxNode`` says, for one input and one output; frozen.

    Args:
        nodes: in an order in which they can be computed.
        constants: by name; floats move with the module, whole numbers (shapes) stay on the CPU.
        input_name: of the value that the caller gives.
        output_name: of the value that the caller gets.
    """

    def __init__(self, nodes: list[OnnxNode], constants: dict[str, Tensor], input_name: str, output_name: str) -> None:
        super().__init__()
        self.nodes = nodes
        self.input_name, self.output_name = input_name, output_name
        self._buffer_of: dict[str, str] = {}
        self._whole_numbers: dict[str, Tensor] = {}
        for name, value in constants.items():
            if value.is_floating_point():
                self._buffer_of[name] = f"constant_{len(self._buffer_of)}"
                self.register_buffer(self._buffer_of[name], value)
            else:
                self._whole_numbers[name] = value

    def forward(self, x: Tensor) -> Tensor:
        """The output for an input."""
        values = {self.input_name: x, **self._whole_numbers}
        values |= {name: self.get_buffer(buffer) for name, buffer in self._buffer_of.items()}
        for node in self.nodes:
            inputs = [values[name] if name else None for name in node.inputs]
            values[node.output] = OPERATORS[node.operator](inputs, node.attributes)
            for name in node.spent:
                del values[name]
        return values[self.output_name]


def read_onnx_network(path: str | os.PathLike[str]) -> OnnxNetwork:
    """A network out of an ONNX file, in float32, on the CPU. Nothing in such a file can be run but the operators.

    Raises:
        MissingExtraError: the package onnx is not installed.
        AssetNotFoundError: no such file.
        WeightsError: not ONNX, damaged, with its weights in other files, or with operators that are not known here
            (the message names them).
    """
    graph = _read_graph(path)
    constants = {tensor.name: _tensor(path, tensor) for tensor in graph.initializer}
    for node in (node for node in graph.node if node.op_type == "Constant"):
        constants[node.output[0]] = _constant(path, node)
    inputs = [entry.name for entry in graph.input if entry.name not in constants]
    if len(inputs) != 1 or not graph.output:
        raise WeightsError(
            f"{path}: expected a network from one picture to one embedding, received {len(inputs)} inputs and "
            f"{len(graph.output)} outputs"
        )
    output = graph.output[0].name
    nodes = _with_spent([node for node in graph.node if node.op_type != "Constant"], constants, output)
    known = {inputs[0], *constants}
    for node in nodes:
        if missing := [name for name in node.inputs if name and name not in known]:
            raise WeightsError(f"{path}: nothing computes {missing[0]!r} before it is needed; the file is damaged")
        known.add(node.output)
    if output not in known:
        raise WeightsError(f"{path}: nothing computes its output {output!r}; the file is damaged")
    return OnnxNetwork(nodes, constants, inputs[0], output)


def _read_graph(path: str | os.PathLike[str]) -> "onnx.GraphProto":
    try:
        import onnx
    except ImportError as error:
        raise MissingExtraError(
            "reading ONNX files expects the package onnx, which is not installed: pip install 'facewright[onnx]'"
        ) from error
    if not Path(path).is_file():
        raise AssetNotFoundError(f"expected an ONNX file at {path}, found none; bring a recognition network as ONNX")
    try:
        graph = onnx.load(path, load_external_data=False).graph
    except Exception as error:  # of protobuf, whose classes are not ours to import
        raise WeightsError(f"{path} is not a whole ONNX file ({error}); fetch it again") from error
    strange = {
        node.op_type if node.domain in _ONES_OWN else f"{node.domain}.{node.op_type}"
        for node in graph.node
        if node.domain not in _ONES_OWN or node.op_type not in {*OPERATORS, "Constant"}
    }
    if strange:
        raise WeightsError(
            f"{path}: expected the operators {', '.join(OPERATORS)}; received {', '.join(sorted(strange))} too. "
            "Simplify the network (onnxsim), or bring it as TorchScript"
        )
    return graph


def _with_spent(nodes: "list[onnx.NodeProto]", constants: dict[str, Tensor], output: str) -> list[OnnxNode]:
    """Nodes that know which values nobody needs after them."""
    from onnx.helper import get_attribute_value

    kept = {output, *constants}
    found = []
    for node in reversed(nodes):
        spent = {name for name in (*node.input, node.output[0]) if name and name not in kept}
        kept |= spent
        attributes = {entry.name: get_attribute_value(entry) for entry in node.attribute}
        attributes = {name: value.decode() if isinstance(value, bytes) else value for name, value in attributes.items()}
        found.append(OnnxNode(node.op_type, tuple(node.input), node.output[0], attributes, tuple(sorted(spent))))
    return found[::-1]


def _constant(path: str | os.PathLike[str], node: "onnx.NodeProto") -> Tensor:
    from onnx.helper import get_attribute_value

    value: Any = None
    name = ""
    for entry in node.attribute:
        name, value = entry.name, get_attribute_value(entry)
    if name == "value":
        return _tensor(path, value)
    if name in ("value_float", "value_floats"):
        return torch.tensor(value, dtype=torch.float32)
    if name in ("value_int", "value_ints"):
        return torch.tensor(value, dtype=torch.int64)
    raise WeightsError(f"{path}: expected a Constant of numbers, received {name!r}; export the network again")


def _tensor(path: str | os.PathLike[str], tensor: "onnx.TensorProto") -> Tensor:
    """Floats as float32, whole numbers as int64, both finite."""
    from onnx import TensorProto, numpy_helper

    if tensor.data_location == TensorProto.EXTERNAL:
        raise WeightsError(f"{path}: expected one file, received one whose weights are in others; save it as one")
    try:
        values = numpy_helper.to_array(tensor)
    except (ValueError, TypeError) as error:
        raise WeightsError(f"{path}: {tensor.name} is damaged ({error}); fetch it again") from error
    if values.dtype.kind in "ib":
        return torch.from_numpy(values.astype(np.int64))
    if values.dtype.kind != "f" or not np.isfinite(values).all():
        raise WeightsError(f"{path}: expected finite numbers in {tensor.name}, received {values.dtype} or NaN")
    return torch.from_numpy(values.astype(np.float32))
