"""Writes what TensorFlow would write: frozen graphs (GraphDef) and V2 checkpoints, byte by byte."""

import struct
from pathlib import Path

import numpy as np

TABLE_MAGIC = 0xDB4775248B80FB57
DTYPE_NUMBERS = {"float32": 1, "float64": 2, "int32": 3, "int64": 9, "float16": 19}
UNITS = (3, 4, 6, 3)


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    encoded = bytearray()
    while True:
        value, low = value >> 7, value & 0x7F
        encoded.append(low | (0x80 if value else 0))
        if not value:
            return bytes(encoded)


def number_field(number: int, value: int) -> bytes:
    return varint(number << 3) + varint(value)


def bytes_field(number: int, value: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(value)) + value


def float_field(number: int, value: float) -> bytes:
    return varint(number << 3 | 5) + struct.pack("<f", value)


def shape_proto(shape: tuple[int, ...]) -> bytes:
    return b"".join(bytes_field(2, number_field(1, size)) for size in shape)


def tensor_proto(array: np.ndarray, *, as_values: bool = False) -> bytes:
    """A TensorProto; ``as_values`` writes the repeated field (packed, equal tail left out) instead of raw bytes."""
    header = number_field(1, DTYPE_NUMBERS[array.dtype.name]) + bytes_field(2, shape_proto(array.shape))
    if not as_values:
        return header + bytes_field(4, array.astype(array.dtype.newbyteorder("<")).tobytes())
    values = array.ravel()
    kept = len(values)
    while kept > 1 and values[kept - 1] == values[kept - 2]:
        kept -= 1
    return header + bytes_field(5, values[:kept].astype("<f4").tobytes())


def attribute(name: str, value: bytes) -> bytes:
    return bytes_field(5, bytes_field(1, name.encode()) + bytes_field(2, value))


def node(name: str, op: str, inputs: tuple[str, ...] = (), attributes: bytes = b"") -> bytes:
    body = bytes_field(1, name.encode()) + bytes_field(2, op.encode())
    return bytes_field(1, body + b"".join(bytes_field(3, i.encode()) for i in inputs) + attributes)


def constant(name: str, array: np.ndarray, *, as_values: bool = False) -> bytes:
    value = attribute("dtype", number_field(6, DTYPE_NUMBERS[array.dtype.name]))
    value += attribute("value", bytes_field(8, tensor_proto(array, as_values=as_values)))
    return node(name, "Const", (), value) + node(f"{name}/read", "Identity", (name,))


def convolution(name: str, stride: int, padding: str, *, packed: bool = True) -> bytes:
    strides = [1, stride, stride, 1]
    listed = bytes_field(3, b"".join(map(varint, strides))) if packed else b"".join(number_field(3, s) for s in strides)
    attributes = attribute("strides", bytes_field(1, listed)) + attribute("padding", bytes_field(2, padding.encode()))
    return node(f"{name}/Conv2D", "Conv2D", (f"{name}/weights/read",), attributes)


def frozen_graph(
    variables: dict[str, np.ndarray],
    strides: dict[str, int],
    *,
    prefix: str = "",
    epsilon: float = 1e-5,
    packed: bool = True,
    training: tuple[bool, ...] = (False,),
) -> bytes:
    """Constants for all variables, and the operations that use the convolutions among them."""
    graph = bytearray(node(f"{prefix}input_imgs", "Placeholder"))
    for name, array in variables.items():
        graph += constant(prefix + name, array, as_values=array.ndim == 1)
    for scope, stride in strides.items():
        graph += convolution(f"{prefix}resnet_v1_50/{scope}", stride, "VALID" if stride > 1 else "SAME", packed=packed)
        for branch in training:
            norm = attribute("epsilon", float_field(4, epsilon)) + attribute(
                "is_training", number_field(5, int(branch))
            )
            name = "FusedBatchNorm" if len(training) == 1 else f"cond/FusedBatchNorm_{int(branch)}"
            graph += node(f"{prefix}resnet_v1_50/{scope}/BatchNorm/{name}", "FusedBatchNorm", (), norm)
    pool = attribute("padding", bytes_field(2, b"SAME"))
    graph += node(f"{prefix}resnet_v1_50/pool1/MaxPool", "MaxPool", (), pool)
    versions = bytes_field(4, number_field(1, 27))
    return bytes(graph + node(f"{prefix}coeff", "ConcatV2") + versions)


def _block(entries: list[tuple[bytes, bytes]], restart_interval: int = 16) -> bytes:
    data, restarts, last = bytearray(), [], b""
    for i, (key, value) in enumerate(entries):
        shared = 0
        if i % restart_interval == 0:
            restarts.append(len(data))
        else:
            while shared < min(len(key), len(last)) and key[shared] == last[shared]:
                shared += 1
        data += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        last = key
    restarts = restarts or [0]
    return bytes(data) + struct.pack(f"<{len(restarts)}I", *restarts) + struct.pack("<I", len(restarts))


def sorted_table(entries: dict[bytes, bytes], *, block_entries: int = 40, compression: int = 0) -> bytes:
    """A LevelDB table; the checksums are left zero."""
    table, index = bytearray(), []
    keys = sorted(entries)
    trailer = bytes([compression]) + b"\0\0\0\0"
    for start in range(0, len(keys), block_entries):
        chunk = keys[start : start + block_entries]
        block = _block([(key, entries[key]) for key in chunk])
        index.append((chunk[-1], varint(len(table)) + varint(len(block))))
        table += block + trailer
    handles = b""
    for block in (_block([]), _block(index, restart_interval=1)):
        handles += varint(len(table)) + varint(len(block))
        table += block + b"\0" + b"\0\0\0\0"
    return bytes(table) + handles.ljust(40, b"\0") + struct.pack("<Q", TABLE_MAGIC)


def write_checkpoint(prefix: Path, variables: dict[str, np.ndarray], *, shards: int = 1, compression: int = 0) -> None:
    entries = {b"": number_field(1, shards) + bytes_field(3, number_field(1, 1))}
    contents = [bytearray() for _ in range(shards)]
    for i, (name, array) in enumerate(sorted(variables.items())):
        shard = i % shards
        raw = array.tobytes()
        entry = number_field(1, DTYPE_NUMBERS[array.dtype.name]) + bytes_field(2, shape_proto(array.shape))
        entry += number_field(3, shard) + number_field(4, len(contents[shard])) + number_field(5, len(raw))
        entries[name.encode()] = entry + varint(6 << 3 | 5) + b"\0\0\0\0"
        contents[shard] += raw
    Path(f"{prefix}.index").write_bytes(sorted_table(entries, compression=compression))
    for shard, content in enumerate(contents):
        Path(f"{prefix}.data-{shard:05d}-of-{shards:05d}").write_bytes(content)


def slim_strides() -> dict[str, int]:
    """Scope below resnet_v1_50 -> stride: 2 in the stem and in the 3x3 of the last unit of blocks 1 to 3."""
    strides = {"conv1": 2}
    for block, units in enumerate(UNITS, start=1):
        for unit in range(1, units + 1):
            scope = f"block{block}/unit_{unit}/bottleneck_v1"
            if unit == 1:
                strides[f"{scope}/shortcut"] = 1
            for k in (1, 2, 3):
                strides[f"{scope}/conv{k}"] = 2 if k == 2 and unit == units and block < 4 else 1
    return strides


def slim_variables(
    seed: int, *, width: float, heads: dict[str, int], batch_norm_scale: bool = True
) -> dict[str, np.ndarray]:
    """Random variables of slim's ResNet-50 and output layers, as the TensorFlow release names and shapes them."""
    rng = np.random.default_rng(seed)
    variables: dict[str, np.ndarray] = {}

    def conv(scope: str, kernel: int, channels_in: int, channels: int) -> None:
        scope = f"resnet_v1_50/{scope}"
        spread = np.sqrt(2 / (kernel * kernel * channels_in))
        shape = (kernel, kernel, channels_in, channels)
        variables[f"{scope}/weights"] = rng.normal(0, spread, shape).astype(np.float32)
        if batch_norm_scale:
            variables[f"{scope}/BatchNorm/gamma"] = rng.uniform(0.4, 1.0, channels).astype(np.float32)
        variables[f"{scope}/BatchNorm/beta"] = rng.normal(0, 0.1, channels).astype(np.float32)
        variables[f"{scope}/BatchNorm/moving_mean"] = rng.normal(0, 0.1, channels).astype(np.float32)
        variables[f"{scope}/BatchNorm/moving_variance"] = rng.uniform(0.5, 1.5, channels).astype(np.float32)

    stem = channels_in = round(64 * width)
    conv("conv1", 7, 3, stem)
    variables["resnet_v1_50/conv1/BatchNorm/moving_variance"] *= 1e4  # the input runs to 255
    for block, units in enumerate(UNITS, start=1):
        inner = stem * 2 ** (block - 1)
        for unit in range(1, units + 1):
            scope = f"block{block}/unit_{unit}/bottleneck_v1"
            if unit == 1:
                conv(f"{scope}/shortcut", 1, channels_in, 4 * inner)
            conv(f"{scope}/conv1", 1, channels_in, inner)
            conv(f"{scope}/conv2", 3, inner, inner)
            conv(f"{scope}/conv3", 1, inner, 4 * inner)
            channels_in = 4 * inner
    for name, size in heads.items():
        variables[f"{name}/weights"] = rng.normal(0, 0.05, (1, 1, channels_in, size)).astype(np.float32)
        variables[f"{name}/biases"] = rng.normal(0, 0.1, size).astype(np.float32)
    return variables
