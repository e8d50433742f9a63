"""One mechanism: whatever a library throws on a stranger's bytes becomes an error of the product."""

import binascii
import json
import os
import struct
import tokenize
import zlib
from pathlib import Path

import pytest

from facewright.errors import CoefficientsError, FaceModelError
from facewright.untrusted import parse_json, read_json, read_text, reading
from facewright.untrusted.reading import memory_allowance, unfolded_size

THROWN = (
    *(
        ValueError("x"),
        KeyError("x"),
        IndexError(),
        OverflowError("x"),
        RecursionError(),
        MemoryError(),
        TypeError("x"),
    ),
    *(AttributeError("x"), AssertionError(), RuntimeError("x"), NotImplementedError("x"), EOFError(), OSError(5, "x")),
    *(
        tokenize.TokenError("x"),
        zlib.error("x"),
        struct.error("x"),
        binascii.Error("x"),
        UnicodeDecodeError("u", b"", 0, 1, "x"),
    ),
    *(SyntaxError("x"), ArithmeticError("x"), StopIteration(), BufferError()),
)


@pytest.mark.parametrize("thrown", THROWN, ids=lambda error: type(error).__name__)
def test_every_exception_becomes_ours(thrown: Exception) -> None:
    with (
        pytest.raises(
            FaceModelError, match=r"m\.npz: expected a model, received one that cannot be read \(.*\); buy it"
        ) as caught,
        reading("m.npz", FaceModelError, "a model", "buy it"),
    ):
        raise thrown
    assert caught.value.__cause__ is thrown


def test_errors_of_the_product_pass_and_so_does_the_user_who_stops() -> None:
    with pytest.raises(CoefficientsError, match="mine"), reading("m", FaceModelError, "a", "b"):
        raise CoefficientsError("mine")
    with pytest.raises(KeyboardInterrupt), reading("m", FaceModelError, "a", "b"):
        raise KeyboardInterrupt


def test_the_reason_is_one_short_plain_line() -> None:
    with pytest.raises(FaceModelError) as caught, reading("m", FaceModelError, "a", "b"):
        raise ValueError("first\nsecond \x1b[31m \udc80" + "x" * 10_000)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


def test_allowance_grows_with_the_file(tmp_path: Path) -> None:
    (tmp_path / "small").write_bytes(b"1")
    with (tmp_path / "large").open("wb") as file:
        file.truncate(1 << 30)  # takes no room
    assert memory_allowance(tmp_path / "small") == 256 << 20
    assert memory_allowance(tmp_path / "large") == 8 << 30
    with pytest.raises(ValueError, match="no regular file"):
        memory_allowance(tmp_path)


def test_pipes_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="no regular file"):
        read_text(tmp_path / "pipe")


def test_sizes_count_what_is_computed_with() -> None:
    assert unfolded_size((10, 3), 1) == 120
    assert unfolded_size((10, 3), 8) == 240
    assert unfolded_size((), 8) == 8
    with pytest.raises(ValueError, match="shape"):
        unfolded_size((-1, 3), 4)


def test_texts_are_bounded_and_lose_their_mark(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b"\xef\xbb\xbf[1]")
    assert read_json(path) == [1]
    with pytest.raises(ValueError, match="more than the 3"):
        read_text(path, most=3)


@pytest.mark.parametrize("text", ["NaN", '{"a": [Infinity]}', "-Infinity"])
def test_json_has_no_infinities(text: str) -> None:
    json.loads(text)  # Python's own does not mind
    with pytest.raises(ValueError, match="not a finite number"):
        parse_json(text)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "1" * 5000, "", "{", '{"a" 1}'])
def test_json_that_breaks_the_parser(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(FaceModelError, match="expected JSON"), reading("a", FaceModelError, "JSON", "b"):
        read_json(tmp_path / "a.json")
