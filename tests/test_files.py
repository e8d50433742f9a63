"""Files on the disk: whole or not at all, together or not at all, as any other program's, and errors that help."""

import errno
import io
import os
import threading
from pathlib import Path

import numpy as np
import pytest

from facewright.errors import ExportError
from facewright.files import FileSet, natural_order, put, write_arrays, written_whole, zipped
from facewright.untrusted import read_npz


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_set_appears_at_its_end_and_not_before(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"old")
    with FileSet() as files:
        files.write(tmp_path / "a.txt", b"new")
        files.write(tmp_path / "deep" / "b.txt", b"too")
        assert (tmp_path / "a.txt").read_bytes() == b"old"
        assert not (tmp_path / "deep" / "b.txt").exists()
        assert files.paths == [tmp_path / "a.txt", tmp_path / "deep" / "b.txt"]
    assert (tmp_path / "a.txt").read_bytes() == b"new"
    assert (tmp_path / "deep" / "b.txt").read_bytes() == b"too"
    assert names_in(tmp_path) == ["a.txt", "deep"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_set_that_breaks_off_leaves_everything_as_it_was(tmp_path: Path, error: type[BaseException]) -> None:
    (tmp_path / "a.txt").write_bytes(b"old")

    def break_off() -> None:
        with FileSet() as files:
            files.write(tmp_path / "a.txt", b"new")
            files.write(tmp_path / "b.txt", b"too")
            raise error

    with pytest.raises(error):
        break_off()
    assert names_in(tmp_path) == ["a.txt"]
    assert (tmp_path / "a.txt").read_bytes() == b"old"


def test_a_rename_that_fails_half_way_says_what_stands(tmp_path: Path) -> None:
    def meet_a_folder() -> None:
        with FileSet() as files:
            for name in ("a.txt", "b.txt", "c.txt"):
                files.write(tmp_path / name, b"new")
            (tmp_path / "b.txt").mkdir()  # comes in between

    with pytest.raises(ExportError, match=r"cannot write .*b\.txt") as caught:
        meet_a_folder()
    assert caught.value.written == (tmp_path / "c.txt",)  # the first is the last: it needs the others
    assert names_in(tmp_path) == ["b.txt", "c.txt"]


def test_the_same_file_twice_is_one(tmp_path: Path) -> None:
    with FileSet() as files:
        files.write(tmp_path / "a.txt", b"first")
        files.write(tmp_path / "a.txt", b"last")
    assert names_in(tmp_path) == ["a.txt"]
    assert (tmp_path / "a.txt").read_bytes() == b"last"


def test_a_folder_in_the_way_is_named_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "a.txt").mkdir()
    with (
        pytest.raises(ExportError, match=r"a\.txt: expected a file, found a folder"),
        written_whole(tmp_path / "a.txt"),
    ):
        raise AssertionError("not reached")


@pytest.mark.parametrize(
    ("code", "remedy"),
    [(errno.ENOSPC, "free some space"), (errno.EACCES, "choose another --out"), (errno.EIO, "choose another --out")],
)
def test_the_remedy_fits_the_error(tmp_path: Path, code: int, remedy: str) -> None:
    with pytest.raises(ExportError, match=remedy) as caught, written_whole(tmp_path / "a.txt"):
        raise OSError(code, os.strerror(code))
    assert ("free some space" in str(caught.value)) == (code == errno.ENOSPC)
    assert names_in(tmp_path) == []


def test_a_name_that_is_too_long_asks_for_a_shorter_one(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="choose a shorter name"):
        put(tmp_path / ("a" * 300 + ".txt"), b"new")
    assert names_in(tmp_path) == []
    put(tmp_path / ("a" * 250 + ".txt"), b"new")  # the longest that there is: temporary names do not grow with it
    assert len(names_in(tmp_path)) == 1


def test_new_files_have_the_rights_that_the_user_gives_to_new_files(tmp_path: Path) -> None:
    """And the user's mask is not touched, which all threads share."""
    before = os.umask(0o027)
    try:
        put(tmp_path / "a.txt", b"new")
        assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o640
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)


def test_threads_that_write_one_file_leave_a_whole_one(tmp_path: Path) -> None:
    blobs = [bytes([k]) * 100_000 for k in range(4)]
    threads = [threading.Thread(target=put, args=(tmp_path / "a.bin", blob)) for blob in blobs for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "a.bin").read_bytes() in blobs
    assert names_in(tmp_path) == ["a.bin"]


def test_arrays_go_to_a_path_and_to_a_stream_alike(tmp_path: Path) -> None:
    class Pipe(io.RawIOBase):
        """Takes bytes and goes nowhere else."""

        def __init__(self) -> None:
            self.taken = b""

        def write(self, content, /) -> int:
            self.taken += bytes(content)
            return len(content)

    arrays = {"a": np.arange(6).reshape(2, 3), "b": np.ones(1000)}
    pipe = Pipe()
    write_arrays(tmp_path / "a.npz", arrays, uncompressed=["b"])
    write_arrays(pipe, arrays, uncompressed=["b"])
    assert pipe.taken == (tmp_path / "a.npz").read_bytes()
    read = read_npz(tmp_path / "a.npz")
    assert set(read) == {"a", "b"}
    np.testing.assert_array_equal(read["a"], arrays["a"])
    assert set(read_npz(tmp_path / "a.npz", ["a", "absent"])) == {"a"}


def test_a_zip_has_the_same_bytes_at_any_time(monkeypatch: pytest.MonkeyPatch) -> None:
    before = zipped({"a.txt": b"one", "b.txt": b"two"})
    monkeypatch.setattr("time.time", lambda: 2e9)
    assert zipped({"a.txt": b"one", "b.txt": b"two"}) == before


def test_natural_order_goes_by_the_numbers_in_names_folder_by_folder() -> None:
    names = ["a10/1.png", "a2/10.png", "a2/9.png", "a2/x.png", "b/frame_01.png", "b/frame_1.png", "b/frame_²", "b/٣"]
    ordered = ["a2/9.png", "a2/10.png", "a2/x.png", "a10/1.png", "b/frame_01.png", "b/frame_1.png", "b/frame_²", "b/٣"]
    assert natural_order(reversed(names)) == ordered
    assert natural_order(Path(name) for name in names) == [Path(name) for name in ordered]
