"""Just enough of the protocol-buffer wire format to read TensorFlow's files without TensorFlow.

A message is a run of (field number, wire type, value); see protobuf.dev/programming-guides/encoding. Not by a protobuf
package: it copies every constant, where here the file stays mapped; and sorted tables hold bare numbers, not messages.
"""

import struct
from collections.abc import Iterator
from typing import Literal

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


class MalformedMessageError(ValueError):
    """The bytes are not a whole protocol-buffer message."""


def read_varint(data: memoryview, position: int) -> tuple[int, int]:
    """A base-128 integer and the position after it.

    Raises:
        MalformedMessageError: the data ends in it, or it has more than 64 bits.
    """
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            raise MalformedMessageError("the data ends inside a number")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise MalformedMessageError("a number is longer than 64 bits")


def read_fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Field numbers and values of a message: integers for varints, raw bytes for everything else.

    Raises:
        MalformedMessageError: truncated, or of another format.
    """
    position = 0
    while position < len(data):
        key, position = read_varint(data, position)
        number, wire_type = key >> 3, key & 7
        if number == 0:
            raise MalformedMessageError("field numbers start at 1")
        if wire_type == VARINT:
            value, position = read_varint(data, position)
            yield number, value
            continue
        if wire_type == BYTES:
            length, position = read_varint(data, position)
        elif wire_type in (FIXED64, FIXED32):
            length = 8 if wire_type == FIXED64 else 4
        else:
            raise MalformedMessageError(f"wire type {wire_type} does not exist")
        if position + length > len(data):
            raise MalformedMessageError("the data ends inside a field")
        yield number, data[position : position + length]
        position += length


def as_bytes(value: int | memoryview) -> memoryview:
    """The value, which must be a string, sub-message or fixed-width number.

    Raises:
        MalformedMessageError: it is a varint.
    """
    if isinstance(value, int):
        raise MalformedMessageError("a number stands where a message is due")
    return value


def as_int(value: int | memoryview) -> int:
    """The value, which must be a varint; two's complement of 64 bits.

    Raises:
        MalformedMessageError: it is not a varint.
    """
    if not isinstance(value, int):
        raise MalformedMessageError("a message stands where a number is due")
    return value - (1 << 64) if value >= 1 << 63 else value


def as_ints(value: int | memoryview) -> list[int]:
    """One entry of a repeated integer field: a single number, or a packed run of them."""
    if isinstance(value, int):
        return [as_int(value)]
    numbers, position = [], 0
    while position < len(value):
        number, position = read_varint(value, position)
        numbers.append(as_int(number))
    return numbers


def as_float(value: int | memoryview) -> float:
    """The value, which must be one 32-bit float.

    Raises:
        MalformedMessageError: it is not.
    """
    numbers = as_floats(value, "f")
    if len(numbers) != 1:
        raise MalformedMessageError(f"{len(numbers)} floats stand where one is due")
    return numbers[0]


def as_floats(value: int | memoryview, kind: Literal["f", "d"]) -> list[float]:
    """One entry of a repeated field of 32-bit (``f``) or 64-bit (``d``) floats: a single number, or a packed run.

    Raises:
        MalformedMessageError: not a whole number of floats.
    """
    try:
        return [number for (number,) in struct.iter_unpack(f"<{kind}", as_bytes(value))]
    except struct.error as error:
        raise MalformedMessageError("the data ends inside a float") from error


def as_text(value: int | memoryview) -> str:
    """The value, which must be UTF-8 text."""
    return str(as_bytes(value), "utf-8", errors="replace")
