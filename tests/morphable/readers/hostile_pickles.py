"""Pickles that once broke memory safety, byte by byte."""

import struct

_NAMED_OBJECT = b"cnumpy\ndtype\n(U\x02O8K\x00K\x01tR"

OBJECT_POINTERS = (
    b"\x80\x02}U\x01a"
    b"cnumpy.core.numeric\n_frombuffer\n("
    b"c_codecs\nencode\n(X\x08\x00\x00\x00AAAAAAAAtR"
    b"cnumpy\ndtype\n(U\x02V8K\x00K\x01tR"
    b"(K\x03U\x01|N(U\x01xt}U\x01x" + _NAMED_OBJECT + b"K\x00\x86sK\x08K\x01K\x00tb"
    b"K\x01\x85U\x01CtRs."
)
"""{"a": eight bytes as a record that holds an object}: the type's own state says so, and that it holds none."""


def array_opcodes(values: list[float], code: str, name: bytes) -> bytes:
    """An array as numpy pickles one; ``code`` is struct's and ``name`` numpy's name of the type."""
    raw = struct.pack(f"<{len(values)}{code}", *values)
    return (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01btR(K\x01"
        + b"J" + struct.pack("<i", len(values)) + b"\x85"
        + b"cnumpy\ndtype\n(U\x02" + name + b"K\x00K\x01tR(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
        + b"T" + struct.pack("<i", len(raw)) + raw + b"tb"
    )  # fmt: skip


def sparse_pickle(
    starts: list[float], indices: list[float], *, shape: tuple[int, int] = (5, 3), kind: bytes = b"csc"
) -> bytes:
    """{"J": a sparse matrix of ones}."""
    size = b"".join(b"J" + struct.pack("<i", length) for length in shape) + b"\x86"
    return (
        b"\x80\x02}U\x01Jcscipy.sparse." + kind + b"\n" + kind + b"_matrix\n)\x81}(U\x06_shape" + size
        + b"U\x04data" + array_opcodes([1.0] * len(indices), "d", b"f8")
        + b"U\x07indices" + array_opcodes(indices, "i", b"i4")
        + b"U\x06indptr" + array_opcodes(starts, "i", b"i4") + b"ubs."
    )  # fmt: skip


STARTS_OUTSIDE = sparse_pickle([0, 50_000_000, 1, 3], [0, 1, 2])
"""Column 0 has fifty million entries of three: scipy numbers them all, in an array of three."""
