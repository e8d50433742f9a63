"""Frozen TensorFlow graphs (GraphDef ``.pb``): their constants, and how the convolutions between them are set up.

Message numbers are those of TensorFlow's public graph.proto, node_def.proto, attr_value.proto and tensor.proto.
"""

import math
import mmap
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from facewright.errors import WeightsError
from facewright.regress.importers.lazy import TensorFile
from facewright.regress.importers.protobuf import (
    MalformedMessageError,
    as_bytes,
    as_float,
    as_floats,
    as_int,
    as_ints,
    as_text,
    read_fields,
)

DTYPES = {1: "<f4", 2: "<f8", 3: "<i4", 9: "<i8", 10: "|b1", 19: "<f2"}
"""TensorFlow's DataType -> numpy, of the types that weights come in."""

_MOST_VALUES = 1 << 28


@dataclass(frozen=True)
class Node:
    """One operation.

    Attributes:
        name: scope/name.
        op: kind (``Const``, ``Conv2D``, ...).
        strides: of a convolution or pooling, per axis; empty elsewhere.
        padding: ``SAME`` or ``VALID``; empty elsewhere.
        epsilon: of a fused batch norm; None elsewhere.
        is_training: whether a fused batch norm uses the statistics of the batch.
        tensor: TensorProto of a constant, still encoded; None elsewhere.
    """

    name: str
    op: str
    strides: tuple[int, ...] = ()
    padding: str = ""
    epsilon: float | None = None
    is_training: bool = False
    tensor: memoryview | None = field(default=None, repr=False)


def read_graph(path: str | os.PathLike[str]) -> list[Node]:
    """All nodes of a graph, in file order. The file stays mapped, not read, until a constant is decoded.

    Raises:
        WeightsError: truncated, or not a GraphDef.
    """
    with Path(path).open("rb") as file:
        data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    try:
        nodes = [_read_node(as_bytes(value)) for number, value in read_fields(data) if number == 1]
    except (MalformedMessageError, KeyError) as error:
        raise WeightsError(
            f"{path} is not a whole TensorFlow graph: {error}; expected the official FaceReconModel.pb, fetch it again"
        ) from error
    if not any(node.op for node in nodes):
        raise WeightsError(f"{path} holds no TensorFlow operations; expected the official FaceReconModel.pb")
    return nodes


def constants_of(path: str | os.PathLike[str], nodes: list[Node]) -> TensorFile[np.ndarray]:
    """A graph's constants by name, decoded when asked for.

    Args:
        path: where the nodes were read from, for messages.
        nodes: all of them.
    """
    encoded = {node.name: node.tensor for node in nodes if node.tensor is not None}
    return TensorFile(os.fspath(path), encoded, lambda name: decode_tensor(encoded[name]))


def _read_node(data: memoryview) -> Node:
    name = op = ""
    attributes: dict[str, dict[int, int | memoryview]] = {}
    for number, value in read_fields(data):
        if number == 1:
            name = as_text(value)
        elif number == 2:
            op = as_text(value)
        elif number == 5:
            entry = dict(read_fields(as_bytes(value)))
            attributes[as_text(entry[1])] = dict(read_fields(as_bytes(entry[2])))
    strides = attributes.get("strides", {}).get(1, memoryview(b""))
    padding = attributes.get("padding", {}).get(2, memoryview(b""))
    epsilon = attributes.get("epsilon", {}).get(4)
    tensor = attributes.get("value", {}).get(8) if op == "Const" else None
    return Node(
        name,
        op,
        tuple(i for number, value in read_fields(as_bytes(strides)) if number == 3 for i in as_ints(value)),
        as_text(padding),
        None if epsilon is None else as_float(epsilon),
        bool(as_int(attributes.get("is_training", {}).get(5, 0))),
        None if tensor is None else as_bytes(tensor),
    )


def decode_tensor(data: memoryview) -> np.ndarray:
    """A TensorProto as an array.

    Raises:
        MalformedMessageError: a type that weights do not come in, or fewer bytes than its shape asks for.
    """
    dtype, shape, content, numbers = 0, (), memoryview(b""), []
    for number, value in read_fields(data):
        if number == 1:
            dtype = as_int(value)
        elif number == 2:
            shape = read_shape(as_bytes(value))
        elif number == 4:
            content = as_bytes(value)
        elif number in (5, 6):
            numbers.extend(as_floats(value, "f" if number == 5 else "d"))
        elif number in (7, 10, 11):
            numbers.extend(as_ints(value))
        elif number == 13:
            numbers.extend(np.array(as_ints(value)).astype(np.uint16).view(np.float16))
    count = math.prod(shape)
    if dtype not in DTYPES or min(shape, default=0) < 0 or count > _MOST_VALUES:
        raise MalformedMessageError(f"a constant of TensorFlow type {dtype} and shape {shape}")
    if content:
        if len(content) != count * np.dtype(DTYPES[dtype]).itemsize:
            raise MalformedMessageError(f"a constant of shape {shape} with {len(content)} bytes")
        return np.frombuffer(content, DTYPES[dtype]).reshape(shape)
    if not 0 < len(numbers) <= count:
        raise MalformedMessageError(f"a constant of shape {shape} with {len(numbers)} values")
    array = np.full(count, numbers[-1], DTYPES[dtype])  # the last value stands for all that are not written out
    array[: len(numbers)] = numbers
    return array.reshape(shape)


def read_shape(data: memoryview) -> tuple[int, ...]:
    """A TensorShapeProto."""
    sizes = []
    for number, value in read_fields(data):
        if number == 2:
            dimension = dict(read_fields(as_bytes(value)))
            sizes.append(as_int(dimension.get(1, 0)))
    return tuple(sizes)
