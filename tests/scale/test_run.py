"""A batch keeps its books: no photo is lost, none is there twice, whatever happens to whom."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pyarrow", reason="the extra scale is not installed")
pytest.importorskip("fsspec", reason="the extra scale is not installed")

from pyarrow import parquet

from facewright.errors import ExportError, PhotoError
from facewright.scale.engines import LocalEngine
from facewright.scale.jobs import PhotoJob
from facewright.scale.parts import Parts
from facewright.scale.rows import schema
from facewright.scale.sources import PhotoEntry
from facewright.workers import Worker
from tests.scale.toy_photo_work import toy_batch

ROOT = Path(__file__).resolve().parents[2]


def rows_in(out: Path) -> list[dict[str, Any]]:
    return parquet.read_table(out).to_pylist()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for k in range(12):
        (folder / f"{k}.jpg").write_text(f"photo {k}")
    (folder / "3.jpg").write_text("2 faces")
    (folder / "5.jpg").write_text("die")
    (folder / "7.jpg").write_text("fail")
    return folder


def test_every_photo_has_its_rows_and_a_run_goes_on_by_bytes_and_version(photos: Path, tmp_path: Path) -> None:
    out, note = tmp_path / "out", tmp_path / "note"
    counts = toy_batch(photos, out, inputs_a_part=5)
    assert (counts.inputs, counts.done, counts.faces, counts.failed, counts.kept) == (12, 10, 11, 2, 0)
    rows = rows_in(out)
    assert parquet.read_schema(out / "part-00000000.parquet").equals(schema())
    assert Counter(row["input"] for row in rows) == {f"{k}.jpg": 2 if k == 3 else 1 for k in range(12)}
    status = {row["input"]: row["status"] for row in rows}
    assert (status.pop("5.jpg"), status.pop("7.jpg")) == ("lost", "failed")
    assert set(status.values()) == {"done"}
    (poison,) = [row for row in rows if row["status"] == "lost"]
    assert "exit code 9" in poison["error"]

    with pytest.raises(ExportError, match="--resume"):
        toy_batch(photos, out)

    # The same name with other bytes is another photo; the same bytes of another name too; what is gone is no loss.
    (photos / "2.jpg").write_text("other bytes")
    (photos / "3.jpg").rename(photos / "new.jpg")
    (photos / "5.jpg").write_text("fail")
    counts = toy_batch(photos, out, note=str(note), resume=True)
    assert (counts.inputs, counts.done, counts.kept, counts.failed) == (12, 2, 8, 2)
    assert set(note.read_text().split()) == {"2.jpg", "new.jpg", "5.jpg"}
    rows = rows_in(out)
    assert Counter(row["input"] for row in rows) == {f"{k}.jpg": 2 if k == 3 else 1 for k in range(12)} | {"new.jpg": 2}
    # Weights that have another fingerprint, under whatever name: all is made anew, and nothing is there twice.
    counts = toy_batch(photos, out, version="2", resume=True, inputs_a_part=3)
    assert (counts.done, counts.kept) == (10, 0)
    rows = rows_in(out)
    assert Counter(row["version"] for row in rows) == {"2": 13, "1": 2}  # those of what is gone stay
    assert Counter(row["input"] for row in rows)["2.jpg"] == 1
    assert not [path for path in out.iterdir() if path.name.startswith(".")]


def test_photos_that_take_too_long_are_given_up_alone(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for name, content in (("a", "a"), ("b", "sleep 60"), ("c", "c")):
        (tmp_path / "photos" / f"{name}.jpg").write_text(content)
    counts = toy_batch(tmp_path / "photos", tmp_path / "out", limit_s=1.0)
    assert (counts.done, counts.failed) == (2, 1)
    assert {row["input"]: row["status"] for row in rows_in(tmp_path / "out")} == {
        "a.jpg": "done",
        "b.jpg": "lost",
        "c.jpg": "done",
    }


def test_what_is_named_twice_is_done_once_and_a_damaged_source_is_done_up_to_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a.jpg").write_text("a")
    (tmp_path / "list.txt").write_bytes(b"a.jpg\na.jpg\ngone.jpg\n")
    counts = toy_batch(tmp_path / "list.txt", tmp_path / "out")
    assert (counts.inputs, counts.done, counts.failed) == (2, 1, 1)
    assert "named more than once" in caplog.text
    (tmp_path / "list.txt").write_bytes(b"a.jpg\n\xff\xfe\n")
    with pytest.raises(PhotoError, match=r"list\.txt"):
        toy_batch(tmp_path / "list.txt", tmp_path / "second")
    assert [row["input"] for row in rows_in(tmp_path / "second")] == ["a.jpg"]


def test_a_folder_is_one_run_s_and_holds_nothing_else_in_place_of_parts(tmp_path: Path) -> None:
    with Parts(tmp_path / "out", resume=True), pytest.raises(ExportError, match="another run"):
        Parts(tmp_path / "out", resume=True)
    with Parts(tmp_path / "out", resume=True) as again:
        assert again.known("a") is None
    (tmp_path / "out" / "part-00000003.parquet").write_bytes(b"something else")
    with pytest.raises(ExportError, match="part-00000003"):
        Parts(tmp_path / "out", resume=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError, match="choose another --out"):
        Parts(tmp_path / "file", resume=False)


def test_no_more_is_read_ahead_than_is_worked_on(tmp_path: Path) -> None:
    """So memory does not depend on how many photos there are."""
    (tmp_path / "a.jpg").write_text("a")
    taken = 0

    def endless() -> Iterator[Sequence[PhotoJob]]:
        nonlocal taken
        while True:
            taken += 1
            yield [PhotoJob(PhotoEntry(f"{taken}", str(tmp_path / "a.jpg")))]

    engine = LocalEngine(_Fast, workers=2)
    running: Any = engine(endless())
    for done in range(1, 200):
        next(running)
        assert taken <= done + 5
    running.close()


class _Fast(Worker):
    """One that does nothing."""

    def __init__(self) -> None: ...

    def settled(self, jobs: Sequence[PhotoJob]) -> Iterator[tuple[int, dict[str, Any], bytes]]:
        yield from ((number, {"kept": True}, b"") for number in range(len(jobs)))

    def close(self) -> None: ...

    def end(self) -> None: ...


def test_kills_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    """``benchmarks/kill_batches.py`` does so 200 times."""
    photos, out, rng = tmp_path / "photos", tmp_path / "out", random.Random(0)
    photos.mkdir()
    for k in range(400):
        (photos / f"{k}.jpg").write_text(f"sleep 0.004 {k}")
    command = [sys.executable, "-m", "tests.scale.toy_photo_work", str(photos), str(out), "4", "1"]
    for _ in range(10):
        run = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
        time.sleep(0.5 + 0.5 * rng.random())
        run.send_signal(signal.SIGKILL)
        run.wait()
        names = [row["input"] for row in rows_in(out)] if list(out.glob("part-*")) else []
        assert len(names) == len(set(names))
    subprocess.run(command, cwd=ROOT, check=True, timeout=60)
    assert sorted(row["input"] for row in rows_in(out)) == sorted(f"{k}.jpg" for k in range(400))
    assert len(list(out.glob("part-*"))) > 3
    assert not [name for name in os.listdir(out) if name.startswith(".")]
