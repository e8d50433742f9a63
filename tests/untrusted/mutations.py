"""Damage done to files: blind (bits, lengths, splices) and with knowledge of the container (zip, npy, JSON, MATLAB)."""

import io
import json
import pickle
import re
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from facewright.morphable.readers.restricted_pickle import load_arrays

Rng = np.random.Generator

_ENOUGH = 20_000_000
"""Bytes of a file that is large enough not to be damaged again."""

EXTREMES = (0, 1, -1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**62, 2**63 - 1, 2**64 - 1)
NUMBERS = (
    b"-1",
    b"0",
    b"1e400",
    b"nan",
    b"-inf",
    b"99999999999999999999",
    b"2147483648",
    b"1e308",
    b"9" * 400,
    b"",
    b"x",
)
VALUES: tuple[Any, ...] = (
    None,
    [],
    {},
    "",
    "x",
    -1,
    0,
    1e308,
    -0.5,
    10**400,
    True,
    [[]],
    {"x": 1},
    [1, 2],
    2**63,
    "1e9",
)
SHAPES = ("()", "(0,)", "(-1, 3)", "(1000000000,)", "(1000000000000, 3)", "(3, 3, 3, 3)", "(2, ", "(5,) * 9")
TYPES = ("<f8", "<c16", "|O", "<i4", "|V8", "<U9", "<f2", ">f4", "[('a', '<f4')]", "|b1", "<M8[s]", "|S2000000")


def mutate(content: bytes, rng: Rng) -> bytes:
    """A damaged copy: half of the time whole around other values, else with one to three kinds of damage."""
    if rng.random() < 0.5 and (change := _changes(content)) is not None:
        return change(content, rng)
    for _ in range(int(rng.integers(1, 4))):
        if len(content) < _ENOUGH:
            content = _pick(rng, _known(content))(content, rng)
    return content


def _changes(content: bytes) -> Callable[[bytes, Rng], bytes] | None:
    """What gives a well-formed file with other values in it."""
    kinds = {b"PK": change_zipped_values, b"\x89HDF": change_hdf5, b"\x80\x02": change_pickle, b"{": change_json}
    return next((change for head, change in kinds.items() if content.startswith(head)), None)


def _known(content: bytes) -> list[Callable[[bytes, Rng], bytes]]:
    """What can be done to such a file; what knows its container comes up as often as all that is blind."""
    blind = [flip_bits, set_integer, truncate, cut_out, double, insert, zero]
    informed: list[Callable[[bytes, Rng], bytes]] = []
    if content[:2] == b"PK":
        informed = [change_member, change_member, unfold_member]
    elif content[:6] == b"\x93NUMPY":
        informed = [change_npy_header]
    elif content[:6] == b"MATLAB":
        informed = [change_mat_element, change_mat_element, unfold_mat_element]
    elif content[:1] in (b"{", b"["):
        informed = [change_json, change_json, nest_json, change_number]
    elif len(content) > 9 and content[8:9] == b"{":
        informed = [change_safetensors_header]
    elif content[:2000].isascii():
        informed = [change_number, change_number, change_line]
    return blind + informed * (len(blind) // max(1, len(informed)))


def _pick(rng: Rng, choices: Any) -> Any:
    return choices[int(rng.integers(len(choices)))]


def _place(content: bytes, rng: Rng) -> int:
    """Anywhere, but half of the time near the beginning or the end, where headers are."""
    size = max(1, len(content))
    where = int(rng.integers(4))
    if where == 0:
        return int(rng.integers(min(size, 512)))
    return size - 1 - int(rng.integers(min(size, 512))) if where == 1 else int(rng.integers(size))


# ----------------------------------------------------------------------------------------------------------- blind


def flip_bits(content: bytes, rng: Rng) -> bytes:
    spoilt = bytearray(content or b"\0")
    for _ in range(int(rng.integers(1, 9))):
        spoilt[_place(content, rng)] ^= 1 << int(rng.integers(8))
    return bytes(spoilt)


def set_integer(content: bytes, rng: Rng) -> bytes:
    width = _pick(rng, (1, 2, 4, 8))
    value = int(_pick(rng, EXTREMES)) % (1 << 8 * width)
    place = _place(content, rng)
    return content[:place] + value.to_bytes(width, _pick(rng, ("little", "big"))) + content[place + width :]


def truncate(content: bytes, rng: Rng) -> bytes:
    return content[: _place(content, rng)]


def cut_out(content: bytes, rng: Rng) -> bytes:
    place = _place(content, rng)
    return content[:place] + content[place + int(rng.integers(1, 400)) :]


def double(content: bytes, rng: Rng) -> bytes:
    place, other = _place(content, rng), _place(content, rng)
    return content[:place] + content[other : other + int(rng.integers(1, 4000))] + content[place:]


def insert(content: bytes, rng: Rng) -> bytes:
    place = _place(content, rng)
    return content[:place] + rng.bytes(int(rng.integers(1, 64))) + content[place:]


def zero(content: bytes, rng: Rng) -> bytes:
    place, size = _place(content, rng), int(rng.integers(1, 2000))
    return content[:place] + bytes(min(size, len(content) - place)) + content[place + size :]


# ----------------------------------------------------------------------------------------------------------- text


def change_number(content: bytes, rng: Rng) -> bytes:
    found = list(re.finditer(rb"-?\d[\d.eE+-]*", content[:2_000_000]))
    if not found:
        return flip_bits(content, rng)
    chosen = _pick(rng, found)
    return content[: chosen.start()] + _pick(rng, NUMBERS) + content[chosen.end() :]


def change_line(content: bytes, rng: Rng) -> bytes:
    lines = content.split(b"\n")
    place = int(rng.integers(len(lines)))
    lines[place : place + 1] = _pick(rng, ([], [lines[place]] * 3, [b""], [_pick(rng, lines)], [b"\xff\xfe\0"]))
    return b"\n".join(lines)


def change_json(content: bytes, rng: Rng) -> bytes:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return flip_bits(content, rng)
    holder: Any = [document]
    key: Any = 0
    while isinstance(holder[key], (dict, list)) and holder[key] and rng.random() < 0.8:
        holder = holder[key]
        key = _pick(rng, list(holder)) if isinstance(holder, dict) else int(rng.integers(len(holder)))
    if rng.random() < 0.2 and isinstance(holder, dict):
        del holder[key]
    else:
        holder[key] = _pick(rng, VALUES)
    return _json_text(document)


def _json_text(document: Any) -> bytes:
    return json.dumps(document).encode()


def nest_json(content: bytes, rng: Rng) -> bytes:
    depth = int(_pick(rng, (50, 900, 100_000)))
    bracket = _pick(rng, ((b"[", b"]"), (b'{"a":', b"}")))
    found = [match.start() for match in re.finditer(rb"[:,\[]", content[:100_000])]
    place = _pick(rng, found) + 1 if found else 0
    return content[:place] + bracket[0] * depth + b"1" + bracket[1] * depth + content[place:]


def change_safetensors_header(content: bytes, rng: Rng) -> bytes:
    (size,) = struct.unpack("<Q", content[:8])
    header = change_json(content[8 : 8 + size], rng)
    return struct.pack("<Q", len(header)) + header + content[8 + size :]


# --------------------------------------------------------------------------------------------------- npy and zip


def change_npy_header(content: bytes, rng: Rng) -> bytes:
    """Another shape or type in the text of a header, its length kept true."""
    if content[:6] != b"\x93NUMPY" or len(content) < 12:
        return flip_bits(content, rng)
    (size,) = struct.unpack("<H", content[8:10])
    text = content[10 : 10 + size].decode("latin1").strip()
    part = int(rng.integers(4))
    if part == 0:
        text = re.sub(r"\([^)]*\)", lambda _: _pick(rng, SHAPES), text, count=1)
    elif part == 1:
        text = re.sub(r"'descr': [^,]*", lambda _: f"'descr': '{_pick(rng, TYPES)}'", text, count=1)
    else:
        text = (change_number if part == 2 else flip_bits)(text.encode("latin1"), rng).decode("latin1")
    padded = (text + " " * (-(len(text) + 11) % 64) + "\n").encode("latin1", "replace")
    return content[:8] + struct.pack("<H", len(padded) % 65536) + padded + content[10 + size :]


def change_member(content: bytes, rng: Rng) -> bytes:
    """Damage inside a member of an archive, which stays whole around it: its checksums are right."""

    def spoil(members: dict[str, bytes]) -> None:
        if not members:
            return
        name = _pick(rng, sorted(members))
        kind = int(rng.integers(6))
        if kind == 0:
            del members[name]
        elif kind == 1:
            members[_pick(rng, ("x.npy", "../x.npy", "a" * 300, "faces.npy"))] = members[name]
        elif kind == 2:
            members[name] = members[_pick(rng, sorted(members))]
        elif kind == 3 and members[name][:6] == b"\x93NUMPY":
            members[name] = change_values(members[name], rng)
        else:
            members[name] = (change_npy_header if kind == 4 else flip_bits)(members[name], rng)

    return _rezipped(content, spoil, rng)


def unfold_member(content: bytes, rng: Rng) -> bytes:
    """A member that unfolds to 300 MB of zeros, its header as it was or telling the truth about them."""

    def spoil(members: dict[str, bytes]) -> None:
        if not members:
            return
        name = _pick(rng, sorted(members))
        head = members[name][:128] if rng.random() < 0.5 else _npy_head((75_000_000,))
        members[name] = head + bytes(300_000_000)

    return _rezipped(content, spoil, rng) if rng.random() < 0.05 else change_member(content, rng)


def _npy_head(shape: tuple[int, ...]) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return stream.getvalue()


def _rezipped(content: bytes, spoil: Callable[[dict[str, bytes]], None], rng: Rng) -> bytes:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    except Exception:  # noqa: BLE001 - damaged before
        return flip_bits(content, rng)
    spoil(members)
    method = _pick(rng, (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_DEFLATED))
    if any(len(member) > 1 << 24 for member in members.values()):
        method = zipfile.ZIP_DEFLATED
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, member in members.items():
            archive.writestr(zipfile.ZipInfo(name), member, method, 1)
    return stream.getvalue()


def change_zipped_values(content: bytes, rng: Rng) -> bytes:
    """One to three arrays of an archive changed as a whole."""

    def spoil(members: dict[str, bytes]) -> None:
        for _ in range(int(rng.integers(1, 4))):
            name = _pick(rng, sorted(members))
            members[name] = change_values(members[name], rng)

    return _rezipped(content, spoil, rng)


def change_hdf5(content: bytes, rng: Rng) -> bytes:
    """A dataset changed, left out, or declared immense."""
    import h5py

    stream = io.BytesIO(content)
    with h5py.File(stream, "r+") as file:
        names: list[str] = []
        file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        name, kind = _pick(rng, names), int(rng.integers(5))
        stored: Any = np.asarray(file[name][()])  # pyright: ignore[reportIndexIssue] - a dataset
        del file[name]
        if kind == 0:
            file.create_dataset(name, (1 << 40, 1 << 10), "f4", chunks=(1 << 10, 1 << 10), compression="gzip")
        elif kind == 1:
            file.create_dataset(name, (70_000_000,), "f4", chunks=(70_000_000,), compression="gzip", fillvalue=0.5)
        elif kind > 2 and stored.dtype.kind in "iuf":
            file[name] = changed_array(stored, rng)
        elif kind > 2:
            file[name] = change_json(stored.tobytes(), rng)
    return stream.getvalue()


def change_pickle(content: bytes, rng: Rng) -> bytes:
    """An array of a pickled dictionary changed, or an entry left out or exchanged."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        arrays: dict[str, Any] = load_arrays(Path(file.name))
    name, kind = _pick(rng, sorted(arrays)), int(rng.integers(6))
    if kind == 0:
        del arrays[name]
    elif kind == 1:
        arrays[name] = _pick(rng, (None, [], "text", 3, {"a": 1}, [[1], [2, 3]], np.eye(2), 10**400, arrays))
    elif isinstance(arrays[name], np.ndarray):
        arrays[name] = changed_array(arrays[name], rng)
    return pickle.dumps(arrays, protocol=_pick(rng, (0, 2, 4, 5)))


def change_values(member: bytes, rng: Rng) -> bytes:
    """A whole array with other numbers, another type or another shape."""
    try:
        array = np.lib.format.read_array(io.BytesIO(member), allow_pickle=False)
    except Exception:  # noqa: BLE001 - damaged before
        return flip_bits(member, rng)
    stream = io.BytesIO()
    np.lib.format.write_array(stream, changed_array(array, rng), allow_pickle=False)
    return stream.getvalue()


def changed_array(array: np.ndarray, rng: Rng) -> np.ndarray:
    """Other numbers, another type or another shape."""
    array = array.copy(order="C")
    kind = int(rng.integers(8))
    with np.errstate(all="ignore"):
        if kind == 0 and array.dtype.kind in "iufc" and array.size:
            extremes = (np.nan, np.inf, -1e30, 1e300, -1.0, 1e9) if array.dtype.kind in "fc" else (-1, 2**31, 1, 0)
            flat = array.reshape(-1)
            places = rng.integers(flat.size, size=int(_pick(rng, (1, 3, flat.size))))
            flat[places] = np.asarray(_pick(rng, extremes)).astype(array.dtype)
            return array
        if kind == 1:
            return array[: len(array) // 2] if array.ndim else array
        if kind == 2:
            return array.T.copy()
        if kind == 3:
            return array[None]
        if kind == 4 and array.dtype.kind in "biuf":
            return array.astype(_pick(rng, ("<f8", "<c16", "<i8", "<u8", "|b1", ">f4", "<f2", "<i1")))
        if kind == 5 and array.dtype.kind in "iuf":
            return (array * np.asarray(_pick(rng, (0, 255, 100, 3))).astype(array.dtype)).astype(array.dtype)
        if kind == 6:
            return np.zeros((0, *array.shape[1:]), array.dtype)
    return array.reshape(-1)


# ----------------------------------------------------------------------------------------------------------- MATLAB


def change_mat_element(content: bytes, rng: Rng) -> bytes:
    """Damage inside a variable, unpacked and packed again if it was."""
    return _mat_spoilt(content, rng, lambda body: _pick(rng, (flip_bits, set_integer, cut_out, truncate))(body, rng))


def unfold_mat_element(content: bytes, rng: Rng) -> bytes:
    """A variable that goes on for 300 MB of zeros, half of the time with a size that says so."""
    if rng.random() > 0.05:
        return change_mat_element(content, rng)

    def spoil(body: bytes) -> bytes:
        if len(body) > 200 and rng.random() < 0.5:
            place = 8 * int(rng.integers(4, 12))
            body = body[:place] + struct.pack("<II", 9, 300_000_000) + body[place + 8 :]
        return body + bytes(300_000_000)

    return _mat_spoilt(content, rng, spoil)


def _mat_spoilt(content: bytes, rng: Rng, spoil: Callable[[bytes], bytes]) -> bytes:
    parts, position = [], 128
    while position + 8 <= len(content):
        kind, size = struct.unpack("<II", content[position : position + 8])
        parts.append((kind, content[position + 8 : position + 8 + size]))
        position += 8 + size
    if not parts:
        return flip_bits(content, rng)
    chosen = int(rng.integers(len(parts)))
    kind, body = parts[chosen]
    try:
        body = zlib.decompress(body) if kind == 15 else body
    except zlib.error:
        return flip_bits(content, rng)
    tagged = body if kind == 15 else struct.pack("<II", kind, len(body)) + body
    head, rest = tagged[:256], tagged[256:]  # half of the time where the sizes are
    spoilt = spoil(head) + rest if rng.random() < 0.5 else spoil(tagged)
    parts[chosen] = (15, zlib.compress(spoilt, 1))
    return content[:128] + b"".join(struct.pack("<II", k, len(b)) + b for k, b in parts)
