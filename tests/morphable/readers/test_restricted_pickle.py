"""Pickles of strangers: arrays come out whole, and nothing of theirs is ever run."""

import copyreg
import os
import pickle
import struct
import subprocess
import sys
import time
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.sparse import csc_matrix, csr_matrix

from facewright.errors import FaceModelError
from facewright.morphable.readers import pickle_machine
from facewright.morphable.readers.restricted_pickle import load_arrays
from tests.morphable.readers.hostile_pickles import (
    OBJECT_POINTERS,
    STARTS_OUTSIDE,
    array_opcodes,
    sparse_pickle,
)


class CallsOnLoading:
    """Pickles to "call this function with these arguments"."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_arrays_of_every_kind_come_out(protocol: int, tmp_path: Path) -> None:
    arrays = {
        "double": np.random.default_rng(0).random((4, 3)),
        "single": np.arange(6, dtype=np.float32).reshape(2, 3),
        "columns": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
        "ids": np.arange(5, dtype=np.uint32),
        "big_endian": np.arange(3, dtype=">i4"),
        "number": np.float64(2.5),
        "text": "words",
        "list": [np.arange(2), 3],
    }
    path = tmp_path / "arrays.pkl"
    path.write_bytes(pickle.dumps(arrays, protocol=protocol))
    loaded = load_arrays(path)
    assert loaded.keys() == arrays.keys()
    for name in ("double", "single", "columns", "ids", "big_endian", "number"):
        assert np.array_equal(loaded[name], arrays[name])
        assert loaded[name].dtype.newbyteorder("=") == arrays[name].dtype.newbyteorder("=")
    assert loaded["text"] == "words"
    assert np.array_equal(loaded["list"][0], [0, 1])


@pytest.mark.parametrize("kind", [csc_matrix, csr_matrix])
def test_sparse_matrices_come_out(kind: Any, tmp_path: Path) -> None:
    dense = np.random.default_rng(0).random((5, 30)) * (np.random.default_rng(1).random((5, 30)) < 0.2)
    path = tmp_path / "sparse.pkl"
    path.write_bytes(pickle.dumps({"J_regressor": kind(dense)}, protocol=2))
    assert np.array_equal(load_arrays(path)["J_regressor"], dense)


def test_python_2_names_and_a_chumpy_object(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Written as the older FLAME files are: protocol 2, copy_reg, numpy.core, an object of chumpy.ch.Ch."""
    chumpy = types.ModuleType("chumpy.ch")

    class Ch:
        """Reduces as an old-style object of Python 2 does."""

        def __init__(self, x: np.ndarray) -> None:
            self.x = x

        def __reduce__(self) -> tuple[Any, ...]:
            return copyreg._reconstructor, (Ch, object, None), {"x": self.x, "_itr": None}  # type: ignore[attr-defined] # the name that Python 2 wrote

    Ch.__module__, Ch.__qualname__ = "chumpy.ch", "Ch"
    chumpy.Ch = Ch  # pyright: ignore[reportAttributeAccessIssue] - a stand-in module
    monkeypatch.setitem(sys.modules, "chumpy", types.ModuleType("chumpy"))
    monkeypatch.setitem(sys.modules, "chumpy.ch", chumpy)
    numbers = np.random.default_rng(0).random((7, 3, 2))
    content = pickle.dumps({"shapedirs": Ch(numbers), "f": np.arange(3)}, protocol=2)
    content = content.replace(b"copyreg\n", b"copy_reg\n").replace(b"numpy._core", b"numpy.core")
    assert b"copy_reg" in content
    assert b"chumpy.ch" in content
    path = tmp_path / "model.pkl"
    path.write_bytes(content)
    monkeypatch.delitem(sys.modules, "chumpy.ch")
    loaded = load_arrays(path)
    assert np.array_equal(loaded["shapedirs"], numbers)
    assert "chumpy.ch" not in sys.modules


def test_a_dictionary_inside_npy_with_torch_tensors_beside(tmp_path: Path) -> None:
    """DECA's landmark file: numpy arrays that are wanted, torch tensors that are not."""
    table = np.array({"full": np.arange(4), "dynamic": torch.arange(3)}, dtype=object)
    np.save(tmp_path / "embedding.npy", table, allow_pickle=True)
    loaded = load_arrays(tmp_path / "embedding.npy")
    assert np.array_equal(loaded["full"], np.arange(4))
    assert loaded["dynamic"] is None


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize(
    "function", [os.system, eval, exec, __import__, getattr, open, np.load, np.fromfile, pickle.loads, Path.unlink]
)
def test_code_is_not_run(function: Any, protocol: int, tmp_path: Path) -> None:
    marker = tmp_path / "was_run"
    argument = {os.system: f"touch {marker}", eval: f"open({str(marker)!r}, 'w')"}.get(function, f"touch {marker}")
    path = tmp_path / "model.pkl"
    try:
        content = pickle.dumps({"v_template": CallsOnLoading(function, argument)}, protocol=protocol)
    except (pickle.PicklingError, TypeError, AttributeError):
        pytest.skip("this protocol has no way to name the function")
    path.write_bytes(content)
    with pytest.raises(FaceModelError, match=r"would call .*; it was stopped"):
        load_arrays(path)
    assert not marker.exists()


@pytest.mark.parametrize("name", ["chumpy.os\nsystem", "numpy.os\nsystem", "numpy\n__import__", "torch.os\nsystem"])
def test_code_behind_a_trusted_package_is_not_run(name: str, tmp_path: Path) -> None:
    marker = tmp_path / "was_run"
    path = tmp_path / "model.pkl"
    path.write_bytes(f"c{name}\n(S'touch {marker}'\ntR.".encode())
    with pytest.raises(FaceModelError):
        load_arrays(path)
    assert not marker.exists()


def test_dotted_names_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(b"\x80\x04\x8c\x06chumpy\x8c\x09ch.os.sep\x93.")
    with pytest.raises(FaceModelError, match="would call chumpy"):
        load_arrays(path)


@pytest.mark.parametrize("content", [b"", b"\x80\x04", b"not a pickle", pickle.dumps({"a": np.arange(9)})[:-20]])
def test_damaged_pickles(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(content)
    with pytest.raises(FaceModelError, match=r"model\.pkl: expected"):
        load_arrays(path)


def test_no_dictionary_and_plain_arrays(tmp_path: Path) -> None:
    (tmp_path / "list.pkl").write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(FaceModelError, match="expected a dictionary of arrays, received ndarray"):
        load_arrays(tmp_path / "list.pkl")
    np.save(tmp_path / "plain.npy", np.arange(3))
    with pytest.raises(FaceModelError, match="a plain array"):
        load_arrays(tmp_path / "plain.npy")


def test_a_damaged_sparse_matrix(tmp_path: Path) -> None:
    broken = csc_matrix(np.eye(3))
    broken.indptr = broken.indptr[:1]
    (tmp_path / "model.pkl").write_bytes(pickle.dumps({"J": broken}))
    with pytest.raises(FaceModelError, match="expected a sparse matrix"):
        load_arrays(tmp_path / "model.pkl")


READ_IN_A_PROCESS_OF_ITS_OWN = """
import sys
from pathlib import Path
from facewright.errors import FaceModelError
from facewright.morphable.readers import pickle_machine
from facewright.morphable.readers.restricted_pickle import load_arrays
try:
    found = next(iter(load_arrays(Path(sys.argv[1])).values()))
    print("accepted", found.tolist())
except FaceModelError as error:
    print("refused", error)
"""


@pytest.mark.parametrize(
    ("content", "says"), [(OBJECT_POINTERS, "'V8', which is not plain"), (STARTS_OUTSIDE, "indices point outside")]
)
def test_memory_is_not_touched(content: bytes, says: str, tmp_path: Path) -> None:
    """Both crashed the process that read them."""
    (tmp_path / "model.pkl").write_bytes(content)
    command = [sys.executable, "-c", READ_IN_A_PROCESS_OF_ITS_OWN, str(tmp_path / "model.pkl")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr[-500:]
    assert ended.stdout.startswith("refused")
    assert says in ended.stdout


def test_the_writer_of_hostile_matrices_can_write_a_sound_one(tmp_path: Path) -> None:
    (tmp_path / "model.pkl").write_bytes(sparse_pickle([0, 1, 1, 3], [4, 0, 2]))
    expected = np.zeros((5, 3))
    expected[[4, 0, 2], [0, 2, 2]] = 1.0
    assert np.array_equal(load_arrays(tmp_path / "model.pkl")["J"], expected)


@pytest.mark.parametrize(
    ("starts", "indices", "shape"),
    [
        ([0, 2, 1, 3], [0, 1, 2], (5, 3)),
        ([0, 1, 2, 9], [0, 1, 2], (5, 3)),
        ([1, 1, 2, 3], [0, 1, 2], (5, 3)),
        ([0, -5, 2, 3], [0, 1, 2], (5, 3)),
        ([0, 1, 3], [0, 1, 2], (5, 3)),
        ([0, 1, 2, 3], [0, 1, 5], (5, 3)),
        ([0, 1, 2, 3], [0, -1, 2], (5, 3)),
        ([0, 1, 2, 3], [0, 1, 2], (5, -3)),
        ([0, 1, 2, 3], [0, 1, 2], (2**31 - 1, 3)),
    ],
)
@pytest.mark.parametrize("kind", [b"csc", b"csr"])
def test_indices_of_sparse_matrices_stay_inside(
    kind: bytes, starts: list[float], indices: list[float], shape: tuple[int, int], tmp_path: Path
) -> None:
    by_row = kind == b"csr"
    content = sparse_pickle(starts, indices, shape=(shape[1], shape[0]) if by_row else shape, kind=kind)
    (tmp_path / "model.pkl").write_bytes(content)
    with pytest.raises(FaceModelError, match=r"expected a (sparse matrix|whole pickle)"):
        load_arrays(tmp_path / "model.pkl")


PAIRS_OF_PAIRS = b"\x80\x02}U\x01a(K\x01l" + b"2\x86" * 60 + b"s."
"""A pair of a pair of ...: 2^60 values in 130 bytes."""


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"\x80\x04\x8e" + b"\xff" * 8, "bytes are wanted"),
        (b"\x80\x04B\xff\xff\xff\xff", "bytes are wanted"),
        (b"\x80\x02T\xff\xff\xff\xff", "bytes are wanted"),
        (b"\x80\x02}U\x01a](hq\x00.", "KeyError"),
        (b"\x80\x02}q\x00U\x01ah\x00s.", "or itself"),
        (PAIRS_OF_PAIRS, "too many values"),
        (b"\x80\x02}" + b"K\x012\x86" + b"2\x86" * 60 + b"K\x01s.", "neither text nor number"),
        (b"\x80\x02}cnumpy\ndtype\n}U\x01aK\x01sb.", "a state is set on Name"),
        (b"\x80\x02K\x01K\x02a.", "appended to int"),
        (b"\x80\x02K\x01)R.", "a call of int"),
        (b"\x80\x04\x97.", "opcode 0x97"),
        (b"\x80\x02K\x01(K\x020a.", "a mark where a value should be|appended"),
        (b"\x80\x02K\x01(0.", "a mark where a value should be"),
        (b"\x80\x02t.", "cannot be read"),
        (b"\x80\x02}U\x01a" + array_opcodes([1.0, 2.0], "d", b"f4") + b"s.", "with 16 bytes of float32"),
        (b"\x80\x02}U\x01a" + array_opcodes([1.0, 2.0], "d", b"V8") + b"s.", "which is not plain"),
        (b"\x80\x02}U\x01a" + array_opcodes([1.0, 2.0], "d", b"M8") + b"s.", "which is not plain"),
        (b"L" + b"9" * 5000 + b"L\n.", "cannot be read"),
    ],
)
def test_pickles_that_run_wild(content: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / "model.pkl").write_bytes(content)
    with pytest.raises(FaceModelError, match=says):
        load_arrays(tmp_path / "model.pkl")


def test_one_array_named_often_is_counted_once_and_many_are_counted(tmp_path: Path) -> None:
    """Big-endian numbers are copied: once, however often the array is named; and no more than a file may unfold to."""
    one = array_opcodes([1.0] * 400_000, "d", b"f8").replace(b"U\x01<", b"U\x01>")
    named = b"".join(b"U\x02" + bytes([97 + k % 26, 97 + k // 26]) + b"h\x00s" for k in range(500))
    (tmp_path / "often.pkl").write_bytes(b"\x80\x02}U\x01A" + one + b"q\x00s" + named + b".")
    loaded = load_arrays(tmp_path / "often.pkl")
    assert len(loaded) == 501
    assert all(array is loaded["A"] for array in loaded.values())
    lists = b"U\x01L](" + b"h\x00" * 500 + b"es"
    (tmp_path / "list.pkl").write_bytes(b"\x80\x02}U\x01A" + one + b"q\x00s" + lists + b".")
    with pytest.raises(FaceModelError, match="may unfold to"):
        load_arrays(tmp_path / "list.pkl")


def test_a_long_number_of_bytes_and_of_digits(tmp_path: Path) -> None:
    content = b"\x80\x02}U\x01a\x8b" + struct.pack("<i", 300) + b"\x7f" * 300 + b"s."
    (tmp_path / "model.pkl").write_bytes(content)
    assert load_arrays(tmp_path / "model.pkl")["a"].bit_length() == 2399


def test_endless_pickles_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickle_machine, "_MOST_STEPS", 1000)
    (tmp_path / "model.pkl").write_bytes(b"\x80\x02}U\x01a](" + b"N" * 1000 + b"es.")
    with pytest.raises(FaceModelError, match="more than 1000 steps"):
        load_arrays(tmp_path / "model.pkl")


def test_many_groups_on_a_deep_stack_take_no_time(tmp_path: Path) -> None:
    content = b"\x80\x02" + b"N" * 50_000 + b"(t0" * 20_000 + b"}."
    (tmp_path / "model.pkl").write_bytes(content)
    started = time.process_time()
    assert load_arrays(tmp_path / "model.pkl") == {}
    assert time.process_time() - started < 10.0


def test_text_that_becomes_bytes_counts(tmp_path: Path) -> None:
    """Ten megabytes, turned into bytes a thousand times."""
    text = b"X" + struct.pack("<I", 10_000_000) + b"a" * 10_000_000 + b"q\x00"
    calls = b"".join(b"J" + struct.pack("<i", k) + b"c_codecs\nencode\n(h\x00tRs" for k in range(1000))
    (tmp_path / "model.pkl").write_bytes(b"\x80\x02" + text + b"0}" + calls + b".")
    with pytest.raises(FaceModelError, match="may unfold to"):
        load_arrays(tmp_path / "model.pkl")
