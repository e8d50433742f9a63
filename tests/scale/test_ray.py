"""The same batch by actors of Ray Data; slow, as Ray takes its time to begin."""

from functools import partial
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="the extra scale is not installed")
pytest.importorskip("pyarrow", reason="the extra scale is not installed")

from pyarrow import parquet

from facewright.scale.engines import RayEngine
from facewright.scale.run import run_batch
from facewright.scale.sources import entries_in
from tests.scale.toy_photo_work import ToyPhotoWork, is_photo

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]  # Ray has warnings of its own


def test_actors_do_what_processes_do_and_outlive_a_poison(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    photos = tmp_path / "photos"
    photos.mkdir()
    for k in range(30):
        (photos / f"{k}.jpg").write_text(f"photo {k}")
    (photos / "5.jpg").write_text("die")
    load = partial(ToyPhotoWork, "1", "")
    engine = RayEngine(load, workers=2, threads=None, limit_s=60.0)
    counts = run_batch(entries_in(str(photos), is_photo=is_photo), tmp_path / "out", engine, load().facts)
    assert (counts.inputs, counts.done, counts.failed) == (30, 29, 1)
    rows = parquet.read_table(tmp_path / "out").to_pylist()
    assert sorted(row["input"] for row in rows) == sorted(f"{k}.jpg" for k in range(30))
    assert [row["input"] for row in rows if row["status"] == "lost"] == ["5.jpg"]
