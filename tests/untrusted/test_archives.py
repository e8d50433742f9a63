"""NumPy archives, MATLAB and HDF5 files: what they declare is checked before what they hold is read."""

import io
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io

from facewright.errors import FaceModelError
from facewright.morphable.readers.matlab import read_matlab
from facewright.untrusted import NpyHeader, mat_contents, read_mat, read_npz, reading
from facewright.untrusted.hdf5 import child_of, numbers_of, open_hdf5, text_of

LARGE = 300_000_000


@contextmanager
def little_memory() -> Iterator[None]:
    """The block may not take more than 60 MB."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < 60_000_000
    finally:
        tracemalloc.stop()


# ----------------------------------------------------------------------------------------------------------- npz


def npy(shape: Any, content: bytes = b"", *, descr: str = "<f4") -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": descr, "fortran_order": False, "shape": shape})
    return stream.getvalue() + content


def zipped(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["f4", "f8", "i2", "u8", "b1", "U3", "S5"])
def test_plain_arrays_come_out_in_native_order(order: str, kind: str, tmp_path: Path) -> None:
    array = np.array([[1, 0, 1], [1, 1, 0]]).astype(kind).astype(order + kind)
    np.savez_compressed(tmp_path / "a.npz", a=array, b=np.asfortranarray(array), c=array[0, 0])
    loaded = read_npz(tmp_path / "a.npz")
    assert loaded.keys() == {"a", "b", "c"}
    assert np.array_equal(loaded["a"], array)
    assert np.array_equal(loaded["b"], array)
    assert loaded["c"].shape == ()
    assert loaded["a"].dtype.isnative


def test_headers_are_shown_before_data_are_read(tmp_path: Path) -> None:
    seen: dict[str, NpyHeader] = {}

    def check(headers: Any) -> None:
        seen.update(headers)
        raise FaceModelError("not wanted")

    path = zipped(
        tmp_path / "a.npz", {"a.npy": npy((3, 2), b"x" * 24), "b.npy": npy((50_000_000,), bytes(200_000_000))}
    )
    with little_memory(), pytest.raises(FaceModelError, match="not wanted"):
        read_npz(path, check=check)
    assert seen == {"a": NpyHeader(np.dtype("<f4"), (3, 2)), "b": NpyHeader(np.dtype("<f4"), (50_000_000,))}


def test_a_small_archive_does_not_unfold_to_much(tmp_path: Path) -> None:
    path = zipped(tmp_path / "bomb.npz", {"a.npy": npy((LARGE,), bytes(LARGE), descr="|i1")})
    assert path.stat().st_size < 1_000_000
    with little_memory(), pytest.raises(ValueError, match=r"declares 1200000000 bytes .* more than the 268435456"):
        read_npz(path)
    assert read_npz(path, skip=("a",)) == {}
    assert read_npz(path, ["b"]) == {}


@pytest.mark.parametrize(
    ("member", "says"),
    [
        (npy((3,), b"x" * 8), "declares 12 bytes in 8"),
        (npy((1,), b"x" * 8), "declares 4 bytes in 8"),
        (npy((10**12, 10**6)), "declares"),
        (npy((-1,)), "shape"),
        (npy((2,), bytes(16), descr="|O"), "Object arrays"),
        (npy((2,), bytes(16), descr="<c8"), "plain numbers"),
        (npy((2,), bytes(16), descr="<M8[s]"), "plain numbers"),
        (npy((1,), b"\xff" * 4, descr="<U1"), "letters that are none"),
        (npy((1,))[:30], "read_array_header|EOF|expected"),
        (b"\x93NUMPY\x07\x00" + bytes(90), "version"),
        (b"not an array", "magic"),
    ],
)
def test_arrays_that_lie(member: bytes, says: str, tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.npz", {"a.npy": member})
    with pytest.raises(FaceModelError, match=says), reading(path, FaceModelError, "an archive", "x"):
        read_npz(path)


def test_headers_that_break_numpys_own_parser(tmp_path: Path) -> None:
    """They raised tokenize.TokenError, a class that nobody had listed."""
    text = b"{'descr': '<f4', 'fortran_order': False, 'shape': (3L, (, \n"
    header = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text
    path = zipped(tmp_path / "a.npz", {"a.npy": header + bytes(12)})
    with pytest.raises(FaceModelError, match=r"TokenError|EOF|parse"), reading(path, FaceModelError, "an archive", "x"):
        read_npz(path)


def test_other_members_and_methods(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no array that"):
        read_npz(zipped(tmp_path / "a.npz", {"readme.txt": b"hello"}))
    with pytest.raises(ValueError, match="no array that"):
        read_npz(zipped(tmp_path / "b.npz", {"a.npy": npy((1,), bytes(4))}, zipfile.ZIP_BZIP2))
    with zipfile.ZipFile(tmp_path / "c.npz", "w") as archive:
        archive.writestr("a.npy", npy((1,), bytes(4)))
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a.npy", npy((1,), bytes(4)))
    with pytest.raises(ValueError, match="one name"):
        read_npz(tmp_path / "c.npz")


def test_a_flipped_bit_is_noticed_in_arrays_stored_plainly(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.npz", {"a.npy": npy((1000,), bytes(4000))}, zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    content[2000] ^= 1
    path.write_bytes(content)
    with pytest.raises(zipfile.BadZipFile, match="CRC"):
        read_npz(path)


# ----------------------------------------------------------------------------------------------------------- MATLAB


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("kind", ["f8", "f4", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"])
def test_numbers_come_out_as_scipy_reads_them(kind: str, compressed: bool, tmp_path: Path) -> None:
    arrays = {
        "one": np.array([[7]], kind),
        "table": (np.arange(24).reshape(4, 6) % 100).astype(kind),
        "block": np.arange(24).reshape(2, 3, 4).astype(kind),
        "none": np.zeros((0, 3), kind),
        "passed_over": np.array([["text"]], object),
    }
    scipy.io.savemat(tmp_path / "a.mat", arrays, do_compression=compressed)
    contents = mat_contents(tmp_path / "a.mat", [name for name in arrays if name != "passed_over"])
    theirs = scipy.io.loadmat(tmp_path / "a.mat")
    assert contents.names == tuple(arrays)
    assert contents.arrays.keys() == arrays.keys() - {"passed_over"}
    for name, array in contents.arrays.items():
        assert np.array_equal(array, theirs[name])
        assert array.dtype == theirs[name].dtype
        assert array.shape == theirs[name].shape


@pytest.mark.parametrize("compressed", [False, True])
def test_cells_of_numbers(compressed: bool, tmp_path: Path) -> None:
    cells = np.full((1, 3), None, object)
    cells[0] = [np.array([[1.5]]), np.arange(6.0).reshape(2, 3), np.array([[3]], np.uint8)]
    scipy.io.savemat(tmp_path / "a.mat", {"c": cells, "after": np.eye(2)}, do_compression=compressed)
    contents = mat_contents(tmp_path / "a.mat", ["c", "after"])
    assert [np.asarray(cell).tolist() for cell in contents.arrays["c"].ravel()] == [
        [[1.5]],
        [[0, 1, 2], [3, 4, 5]],
        [[3]],
    ]
    assert np.array_equal(contents.arrays["after"], np.eye(2))


def mat(*elements: bytes, text: bytes = b"MATLAB 5.0 MAT-file") -> bytes:
    return text.ljust(124, b" ") + b"\x00\x01IM" + b"".join(elements)


def matrix(name: bytes, shape: tuple[int, ...], tag: bytes, content: bytes = b"", *, kind: int = 6) -> bytes:
    body = struct.pack("<IIII", 6, 8, kind, 0)
    dims = struct.pack(f"<{len(shape)}i", *shape)
    body += struct.pack("<II", 5, len(dims)) + dims + bytes(-len(dims) % 8)
    body += struct.pack("<II", 1, len(name)) + name + bytes(-len(name) % 8) + tag + content
    return struct.pack("<II", 14, len(body)) + body


def packed(element: bytes, zeros: int = 0) -> bytes:
    squeezer = zlib.compressobj(1)
    content = squeezer.compress(element)
    for _ in range(zeros // 1_000_000):
        content += squeezer.compress(bytes(1_000_000))
    content += squeezer.flush()
    return struct.pack("<II", 15, len(content)) + content


DOUBLE = struct.pack("<II", 9, 8)


@pytest.mark.parametrize("compressed", [False, True])
def test_a_structure_of_numbers(compressed: bool, tmp_path: Path) -> None:
    """Its members, by both names; of what else it may hold or be, nothing."""
    members = {"mean": np.arange(6.0).reshape(2, 3), "triangles": np.eye(3, dtype=np.int32), "one": 7.0}
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {"model": members, "after": np.eye(2)}, do_compression=compressed)
    found = read_mat(path)
    assert found.keys() == {"model.mean", "model.triangles", "model.one", "after"}
    for name, value in members.items():
        np.testing.assert_array_equal(found[f"model.{name}"], np.atleast_2d(value))
    assert read_mat(path, ["after"]).keys() == {"after"}
    several = np.zeros((1, 2), [("mean", object)])
    several["mean"] = [[np.eye(2), np.eye(2)]]
    for value, says in (
        ({"name": "text"}, "plain numbers"),
        (several, "array of structures"),
        ({"a": {"b": 1}}, "plain numbers"),
    ):
        scipy.io.savemat(path, {"model": value}, do_compression=compressed)
        with pytest.raises(ValueError, match=says):
            read_mat(path)


def test_the_writer_of_matrices_writes_sound_ones(tmp_path: Path) -> None:
    element = matrix(b"x", (1, 1), DOUBLE, struct.pack("<d", 2.5))
    (tmp_path / "a.mat").write_bytes(mat(element, packed(element.replace(b"x\0", b"y\0"))))
    contents = mat_contents(tmp_path / "a.mat", ["x", "y"])
    assert contents.names == ("x", "y")
    assert read_mat(tmp_path / "a.mat").keys() == {"x", "y"}
    assert read_mat(tmp_path / "a.mat", ["y", "z"]).keys() == {"y"}
    assert contents.arrays["x"] == contents.arrays["y"] == 2.5


@pytest.mark.parametrize(
    ("element", "says"),
    [
        (lambda: packed(matrix(b"x", (1, 1), struct.pack("<II", 9, LARGE)), LARGE), "300000000 bytes of type 9"),
        (lambda: packed(matrix(b"x", (LARGE // 8, 1), struct.pack("<II", 9, LARGE)), LARGE), "may unfold to"),
        (lambda: packed(matrix(b"x", (2**31 - 1, 2**31 - 1), DOUBLE)), "may unfold to"),
        (lambda: packed(matrix(b"x", (-1, 3), DOUBLE)), "shape"),
        (lambda: packed(matrix(b"x", (1,) * 9, DOUBLE)), "header holds 36 bytes"),
        (lambda: packed(matrix(b"x", (1, 1), struct.pack("<II", 14, 8), bytes(8))), "type 14"),
        (lambda: packed(matrix(b"x", (1, 1), DOUBLE, bytes(4))), "ends early"),
        (lambda: packed(matrix(b"x", (1, 1), DOUBLE, bytes(8)), 1_000_000), "goes on after its end"),
        (lambda: packed(matrix(b"x", (1, 1), DOUBLE, bytes(8)))[:-3], "at byte 128"),
        (lambda: packed(matrix(b"x", (1, 1), DOUBLE, bytes(8)))[:-4] + b"sums", "incorrect data check"),
        (lambda: packed(matrix(b"x", (10**6, 1), DOUBLE, kind=1)), "1000000 cells"),
        (lambda: packed(matrix(b"x", (1, 1), matrix(b"", (1, 1), DOUBLE, kind=1), kind=1)), "class 1"),
        (lambda: packed(matrix(b"x", (1, 1), DOUBLE, kind=2)), "header holds 8 bytes of type 9"),
        (lambda: packed(matrix(b"x", (1, 1), DOUBLE, kind=3)), "class 3"),
        (lambda: packed(matrix(b"x", (1, 1), DOUBLE, kind=4)), "class 4"),
        (lambda: packed(matrix(b"x", (1, 1), DOUBLE, bytes(8), kind=6 | 0x800)), "complex"),
        (lambda: matrix(b"x", (1, 1), DOUBLE, bytes(8))[:-1], "at byte 128"),
        (lambda: packed(struct.pack("<II", 9, 8) + bytes(8)), "type 9 where a variable"),
        (lambda: struct.pack("<II", 9, 8) + bytes(8), "type 9 and 8 bytes"),
        (lambda: packed(b"\x0e\0\xff\xff" + bytes(64)), "type"),
    ],
)
def test_variables_that_lie(element: Callable[[], bytes], says: str, tmp_path: Path) -> None:
    (tmp_path / "a.mat").write_bytes(mat(element()))
    with little_memory(), pytest.raises(FaceModelError, match=says):
        read_matlab(tmp_path / "a.mat", ["x"])


def test_variables_that_are_not_wanted_are_not_unpacked(tmp_path: Path) -> None:
    bomb = packed(matrix(b"bomb", (LARGE // 8, 1), struct.pack("<II", 9, LARGE)), LARGE)
    (tmp_path / "a.mat").write_bytes(mat(bomb, matrix(b"x", (1, 1), DOUBLE, struct.pack("<d", 2.5))))
    with little_memory():
        assert read_matlab(tmp_path / "a.mat", ["x"])["x"] == 2.5


def test_other_files_are_named(tmp_path: Path) -> None:
    for content in (b"", b"x" * 200, mat()[:100], b"MATLAB".ljust(124) + b"\x00\x02IM"):
        (tmp_path / "a.mat").write_bytes(content)
        with pytest.raises(FaceModelError, match="expected a whole MATLAB file"):
            read_matlab(tmp_path / "a.mat", ["x"])


# ----------------------------------------------------------------------------------------------------------- HDF5


def stored(path: Path, write: Callable[[Any], Any]) -> Path:
    with h5py.File(path, "w") as file:
        write(file)
    return path


@pytest.mark.parametrize(
    ("write", "says"),
    [
        (lambda f: f.create_dataset("a", (1 << 40, 1 << 10), "f4", chunks=(64, 64)), "may unfold to"),
        (lambda f: f.create_dataset("a", (LARGE,), "f4", chunks=(1 << 20,), compression="gzip"), "may unfold to"),
        (lambda f: f.create_dataset("a", (0,), "f4", maxshape=(None,), chunks=(LARGE,)), "may unfold to"),
        (lambda f: f.create_dataset("a", data=np.array([1 + 2j])), "complex"),
        (lambda f: f.create_dataset("a", data="text"), "object"),
        (lambda f: f.create_dataset("a", data=np.zeros(3, [("x", "f4")])), "dataset of"),
        (lambda f: f.create_dataset("a", data=h5py.Empty("f4")), "a dataset is wanted"),
        (lambda f: f.create_group("a"), "a dataset is wanted"),
        (lambda f: f.create_dataset("a", (8,), "i1", external=[("secret", 0, 8)]), "other files"),
        (lambda f: f.update(a=h5py.ExternalLink("secret.h5", "/a")) if hasattr(f, "update") else None, "another file"),
    ],
)
def test_datasets_that_lie(write: Callable[[Any], Any], says: str, tmp_path: Path) -> None:
    def all_of_it(file: Any) -> None:
        write(file)
        if "a" not in file and "a" not in list(file):
            file["a"] = h5py.ExternalLink("secret.h5", "/a")

    path = stored(tmp_path / "a.h5", all_of_it)
    with little_memory(), pytest.raises(ValueError, match=says), open_hdf5(path) as file:
        numbers_of(child_of(file, "a"), 256 << 20)


def test_numbers_of_a_sound_dataset(tmp_path: Path) -> None:
    path = stored(tmp_path / "a.h5", lambda f: f.update({"g/a": np.arange(6, dtype=">i4").reshape(2, 3)}))
    with open_hdf5(path) as file:
        array = numbers_of(child_of(child_of(file, "g"), "a"), 1000, columns=2)
        assert child_of(file, "none") is None
        with pytest.raises(ValueError, match="no group"):
            child_of(file["g/a"], "x")
    assert array.tolist() == [[0, 1], [3, 4]]
    assert array.dtype.isnative


def test_texts_are_one_and_short(tmp_path: Path) -> None:
    path = stored(tmp_path / "a.h5", lambda f: f.update({"one": "text", "two": ["a", "b"], "long": "x" * 2000}))
    with open_hdf5(path) as file:
        assert text_of(file["one"], 1000) == "text"
        for name in ("two", "long"):
            with pytest.raises(ValueError, match="text"):
                text_of(file[name], 1000)


def test_version_7_3_is_read_with_its_axes_turned(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        file["x"] = np.arange(6.0).reshape(3, 2)
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")
    contents = mat_contents(path, ["x", "y"])
    assert contents.arrays["x"].tolist() == [[0, 2, 4], [1, 3, 5]]
    assert contents.names == ("x",)
