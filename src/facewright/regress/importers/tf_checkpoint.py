"""TensorFlow checkpoints ("V2": ``NAME.index`` and ``NAME.data-00000-of-0000N``) without TensorFlow.

The index is a sorted string table (LevelDB's table format, uncompressed as TensorFlow writes it) whose values are
BundleEntryProto messages: type, shape, shard, offset and size of each variable's bytes in the data files.
"""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facewright.errors import AssetNotFoundError, WeightsError
from facewright.regress.importers.lazy import TensorFile
from facewright.regress.importers.protobuf import (
    MalformedMessageError,
    as_bytes,
    as_int,
    read_fields,
    read_varint,
)
from facewright.regress.importers.tf_graph import DTYPES, read_shape

TABLE_MAGIC = 0xDB4775248B80FB57
_FOOTER_BYTES, _TRAILER_BYTES = 48, 5


@dataclass(frozen=True)
class _Entry:
    dtype: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int


def read_checkpoint(path: str | os.PathLike[str]) -> TensorFile[np.ndarray]:
    """Variables by name, read when asked for.

    Args:
        path: the ``.index`` file, a ``.data-...`` file, the ``.meta`` file, or their common beginning.

    Raises:
        AssetNotFoundError: a file of the set is missing.
        WeightsError: malformed, compressed, or of the old single-file format.
    """
    prefix = checkpoint_prefix(path)
    index = Path(f"{prefix}.index")
    if not index.is_file():
        _refuse_v1(prefix)
        raise AssetNotFoundError(
            f"expected the checkpoint's index at {index}, found none; bring .index and .data-... together"
        )
    try:
        table = dict(_read_table(memoryview(index.read_bytes())))
        shards = as_int(dict(read_fields(table.pop(b"", memoryview(b"")))).get(1, 1))
        entries = {str(key, "utf-8"): _read_entry(value) for key, value in table.items()}
    except (MalformedMessageError, struct.error, UnicodeDecodeError, IndexError) as error:
        raise WeightsError(f"{index} is not a whole checkpoint index: {error}; fetch it again") from error
    return TensorFile(os.fspath(path), entries, lambda name: _read_variable(prefix, shards, name, entries[name]))


def _read_variable(prefix: str, shards: int, name: str, entry: _Entry) -> np.ndarray:
    shard = Path(f"{prefix}.data-{entry.shard:05d}-of-{shards:05d}")
    if not shard.is_file():
        raise AssetNotFoundError(f"expected the checkpoint's data at {shard}, found none; bring it too")
    if entry.dtype not in DTYPES:
        raise WeightsError(f"{prefix}: variable {name} has TensorFlow type {entry.dtype}; expected floats")
    with shard.open("rb") as file:
        file.seek(entry.offset)
        content = file.read(entry.size)
    expected = int(np.prod(entry.shape, dtype=np.int64)) * np.dtype(DTYPES[entry.dtype]).itemsize
    if not len(content) == entry.size == expected:
        raise WeightsError(f"{shard}: {name} needs {expected} bytes, {len(content)} are there; fetch it again")
    return np.frombuffer(content, DTYPES[entry.dtype]).reshape(entry.shape)


def checkpoint_prefix(path: str | os.PathLike[str]) -> str:
    """Common beginning of a checkpoint's files."""
    name = os.fspath(path)
    for ending in (".index", ".meta"):
        name = name.removesuffix(ending)
    return name.split(".data-")[0]


def _refuse_v1(prefix: str) -> None:
    path = Path(prefix)
    if path.is_file() and path.stat().st_size >= _FOOTER_BYTES:
        with path.open("rb") as file:
            file.seek(-8, os.SEEK_END)
            if struct.unpack("<Q", file.read(8))[0] == TABLE_MAGIC:
                raise WeightsError(
                    f"{path} is a checkpoint of TensorFlow's old single-file format; expected a .index and .data pair: "
                    "use FaceReconModel.pb of the same download"
                )


def _read_table(data: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    if len(data) < _FOOTER_BYTES or struct.unpack("<Q", data[-8:])[0] != TABLE_MAGIC:
        raise MalformedMessageError("the table's closing magic number is missing")
    _, position = _read_handle(data, len(data) - _FOOTER_BYTES)
    index_handle, _ = _read_handle(data, position)
    for _, handle in _read_block(data, index_handle):
        yield from _read_block(data, _read_handle(handle, 0)[0])


def _read_handle(data: memoryview, position: int) -> tuple[tuple[int, int], int]:
    offset, position = read_varint(data, position)
    size, position = read_varint(data, position)
    return (offset, size), position


def _read_block(data: memoryview, handle: tuple[int, int]) -> Iterator[tuple[bytes, memoryview]]:
    """Keys and values; each key shares a beginning with the one before."""
    offset, size = handle
    if offset + size + _TRAILER_BYTES > len(data) or size < 4:
        raise MalformedMessageError("a block lies outside of the file")
    if data[offset + size] != 0:
        raise MalformedMessageError("a block is compressed, which TensorFlow does not do")
    block = data[offset : offset + size]
    (restarts,) = struct.unpack("<I", block[-4:])
    end = size - 4 - 4 * restarts
    position, key = 0, b""
    while position < end:
        shared, position = read_varint(block, position)
        unshared, position = read_varint(block, position)
        length, position = read_varint(block, position)
        if shared > len(key) or position + unshared + length > end:
            raise MalformedMessageError("an entry lies outside of its block")
        key = key[:shared] + bytes(block[position : position + unshared])
        position += unshared
        yield key, block[position : position + length]
        position += length


def _read_entry(data: memoryview) -> _Entry:
    values = dict(read_fields(data))
    shape = read_shape(as_bytes(values[2])) if 2 in values else ()
    dtype, shard, offset, size = (as_int(values.get(number, 0)) for number in (1, 3, 4, 5))
    return _Entry(dtype, shape, shard, offset, size)
