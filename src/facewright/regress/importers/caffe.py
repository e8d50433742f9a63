"""Caffe's weights and mean pictures (NetParameter ``.caffemodel``, BlobProto ``.binaryproto``) without Caffe.

Message numbers are those of Caffe's public caffe.proto.
"""

import math
import mmap
import os
from pathlib import Path

import numpy as np

from facewright.errors import WeightsError
from facewright.regress.importers.lazy import TensorFile
from facewright.regress.importers.protobuf import (
    MalformedMessageError,
    as_bytes,
    as_int,
    as_ints,
    as_text,
    read_fields,
)
from facewright.untrusted import read_npy, reading

_LAYER = 100
"""Of NetParameter; layers of the time before (field 2) have no batch norm."""
_NAME, _BLOBS = 1, 7
"""Of LayerParameter."""
_OLD_SIZES = {1: 0, 2: 1, 3: 2, 4: 3}
_DATA, _SHAPE, _DOUBLES = 5, 7, 8
"""Of BlobProto."""
_MOST_AXES, _MOST_VALUES = 8, 1 << 28

_AGAIN = "fetch it again from the page of 3dmm_cnn"


def is_caffe(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a NetParameter with layers; damaged files are none."""
    try:
        return any(number == _LAYER for number, _ in read_fields(_mapped(path)))
    except (MalformedMessageError, ValueError):
        return False


def read_caffemodel(path: str | os.PathLike[str]) -> TensorFile[np.ndarray]:
    """All blobs of all layers, as ``<layer>/<number>``, decoded when asked for; the file stays mapped until then.

    Raises:
        WeightsError: truncated, no NetParameter, or two layers of one name.
    """
    blobs: dict[str, memoryview] = {}
    try:
        for number, value in read_fields(_mapped(path)):
            if number != _LAYER:
                continue
            name, found = "", list[memoryview]()
            for entry, content in read_fields(as_bytes(value)):
                if entry == _NAME:
                    name = as_text(content)
                elif entry == _BLOBS:
                    found.append(as_bytes(content))
            if found and f"{name}/0" in blobs:
                raise MalformedMessageError(f"two layers are called {name[:40]!r}")
            blobs |= {f"{name}/{place}": blob for place, blob in enumerate(found)}
    except (MalformedMessageError, ValueError) as error:
        raise WeightsError(f"{path} is not a whole .caffemodel: {error}; {_AGAIN}") from error
    if not blobs:
        raise WeightsError(f"{path} holds no layers with weights; expected 3dmm_cnn_resnet_101.caffemodel, {_AGAIN}")

    def decoded(name: str) -> np.ndarray:
        try:
            return decode_blob(blobs[name])
        except MalformedMessageError as error:
            raise WeightsError(f"{path}: {name} holds {error}; {_AGAIN}") from error

    return TensorFile(os.fspath(path), blobs, decoded)


def read_mean_picture(path: str | os.PathLike[str], side: int) -> np.ndarray:
    """What is taken off crops: (3, side, side), blue, green and red, 0..255; of a ``.binaryproto`` or an ``.npy``.

    Raises:
        WeightsError: unreadable, of another shape, or no picture.
    """
    file = Path(path)
    expected = f"a mean picture of 3 x {side} x {side} (mean.binaryproto, or 3DMM_shape_mean.npy)"
    with reading(file, WeightsError, expected, _AGAIN):
        mean = read_npy(file) if file.suffix.lower() == ".npy" else decode_blob(_mapped(file))
        mean = np.asarray(mean, np.float32)
        if mean.shape == (1, 3, side, side):
            mean = mean[0]
        if mean.shape != (3, side, side):
            raise ValueError(f"an array of shape {mean.shape}")
        if not (np.isfinite(mean).all() and mean.min() >= 0.0 and mean.max() <= 255.0):
            raise ValueError(f"numbers of {mean.min():g} to {mean.max():g}, not of 0 to 255")
    return mean


def decode_blob(data: memoryview) -> np.ndarray:
    """A BlobProto as an array.

    Raises:
        MalformedMessageError: its numbers are not as many as its shape asks for.
    """
    old: dict[int, int] = {}
    shape: tuple[int, ...] | None = None
    pieces: dict[int, list[memoryview]] = {_DATA: [], _DOUBLES: []}
    for number, value in read_fields(data):
        if number in _OLD_SIZES:
            old[_OLD_SIZES[number]] = as_int(value)
        elif number == _SHAPE:
            shape = tuple(i for n, v in read_fields(as_bytes(value)) if n == 1 for i in as_ints(v))
        elif number in pieces:
            pieces[number].append(as_bytes(value))
    shape = tuple(old.get(axis, 1) for axis in range(4)) if shape is None else shape
    kind, parts = ("<f8", pieces[_DOUBLES]) if pieces[_DOUBLES] else ("<f4", pieces[_DATA])
    size = sum(len(part) for part in parts)
    sound = len(shape) <= _MOST_AXES and min(shape, default=1) >= 0 and math.prod(shape) <= _MOST_VALUES
    if not sound or size != math.prod(shape) * np.dtype(kind).itemsize:
        raise MalformedMessageError(f"a blob of shape {shape[:_MOST_AXES]} with {size} bytes of numbers")
    content = parts[0] if len(parts) == 1 else b"".join(parts)
    return np.frombuffer(content, kind).reshape(shape)


def _mapped(path: str | os.PathLike[str]) -> memoryview:
    with Path(path).open("rb") as file:
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
