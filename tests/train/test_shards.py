"""Training data on disk: round trips, deaths at any moment, damage and failures by name."""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from facewright.errors import TrainingDataError
from facewright.train.make import PLAN, MakingReport, Rejection, make_data
from facewright.train.processes import on_processes
from facewright.train.samples import DataCard, TrainingSample
from facewright.train.shards import MANIFEST, SHARDS, decoded, load_data
from tests.train.mortal import Suicidal
from tests.train.samples import LAYOUT, PHOTOGRAPHS, SHARD_SIZE, SYNTHETIC, Dots, dotted_sample

ROOT = Path(__file__).resolve().parents[2]


def make(folder: Path, count: int = 25, card: DataCard = SYNTHETIC) -> MakingReport:
    return make_data(folder, card, range(count), Dots(card), shard_size=SHARD_SIZE)


@pytest.mark.parametrize("card", [SYNTHETIC, PHOTOGRAPHS], ids=["synthetic", "photographs"])
def test_samples_come_back_as_they_were(tmp_path: Path, card: DataCard) -> None:
    make_data(tmp_path, card, range(70), Dots(card), shard_size=70)  # more than one row group
    data = load_data(tmp_path)
    assert (len(data), data.card, [rows for *_, rows in data.groups]) == (70, card, [64, 6])
    for seed, sample in enumerate(data.samples()):
        stored = dotted_sample(seed, card)
        assert (sample.key, sample.margin) == (stored.key, stored.margin)
        assert np.abs(sample.window_srgb.astype(int) - stored.window_srgb).mean() < 2.0  # JPEG
        for name in ("skin", "landmarks", "points"):
            np.testing.assert_array_equal(getattr(sample, name), getattr(stored, name))
        for name in ("landmark_weights", "point_weights"):
            np.testing.assert_allclose(getattr(sample, name), getattr(stored, name), atol=5e-4)  # half floats
        if card.layout is None:
            assert sample.truth is None
        else:
            np.testing.assert_array_equal(sample.truth, stored.truth)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_killed_run_goes_on_where_it_was(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.train.samples", str(tmp_path / "killed"), "200"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for _ in range(5):
            process.stdout.readline()
        time.sleep(random.Random(os.getpid()).uniform(0.0, 0.1))  # no two runs alike
        process.kill()
    with pytest.raises(TrainingDataError, match="give the same command again"):
        load_data(tmp_path / "killed")
    (tmp_path / "killed" / SHARDS / ".facewright-torn.parquet").write_bytes(b"left by the killed run")
    report = make_data(tmp_path / "killed", SYNTHETIC, range(200), Dots(), shard_size=SHARD_SIZE)
    assert 5 <= report.kept < 20
    make(tmp_path / "unbroken", 200)
    assert contents(tmp_path / "killed") == contents(tmp_path / "unbroken")


def test_a_torn_shard_is_made_again_and_the_others_are_kept(tmp_path: Path) -> None:
    make(tmp_path)
    whole = contents(tmp_path)
    torn, unrecorded = tmp_path / SHARDS / "000001.parquet", tmp_path / SHARDS / "000002.json"
    torn.write_bytes(torn.read_bytes()[:-50])
    unrecorded.write_text("{")
    assert make(tmp_path).kept == 1
    assert contents(tmp_path) == whole


def flip(path: Path) -> None:
    blob = bytearray(path.read_bytes())
    blob[len(blob) // 2] ^= 0xFF
    path.write_bytes(blob)


@pytest.mark.parametrize("harm", [flip, Path.unlink, lambda path: path.write_bytes(b"")], ids=["bit", "gone", "empty"])
def test_a_damaged_shard_is_named(tmp_path: Path, harm: Callable[[Path], object]) -> None:
    make(tmp_path)
    harm(tmp_path / SHARDS / "000001.parquet")
    with pytest.raises(TrainingDataError, match=r"expected .*000001\.parquet, received .*; the shard is damaged: give"):
        load_data(tmp_path)


def test_damage_that_nobody_looked_for_is_named_when_it_is_read(tmp_path: Path) -> None:
    make(tmp_path)
    shard = tmp_path / SHARDS / "000001.parquet"
    shard.write_bytes(shard.read_bytes()[: shard.stat().st_size // 2])
    data = load_data(tmp_path, verify=False)
    assert len(data.read_group(0)) == SHARD_SIZE
    with pytest.raises(TrainingDataError, match=r"000001\.parquet"):
        data.read_group(1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 99}, "received facewright-training-data version 99"),
        ({"shards": [{"name": "../x", "rows": 1, "sha256": ""}]}, "plain file names"),
        ({"shards": [{"name": "000000.parquet", "rows": 10**12, "sha256": ""}]}, "at most 1000000 rows each"),
        ({"shards": 3}, "expected a card and a list of shards"),
        ({"card": {"kind": "paintings"}}, "expected a card"),
        (
            {"card": {"kind": "synthetic", "layout": {"id": 4.5, "exp": 3, "tex": 2}}},
            "sizes that are no whole numbers",
        ),
    ],
)
def test_another_manifest_is_refused(tmp_path: Path, change: dict[str, object], message: str) -> None:
    make(tmp_path, 5)
    path = tmp_path / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(TrainingDataError, match=message):
        load_data(path)


def test_other_jobs_and_other_cards_are_refused(tmp_path: Path) -> None:
    make(tmp_path)
    for wrong, message in (
        (lambda: make(tmp_path, card=PHOTOGRAPHS), "begun with kind 'synthetic', this run asks for 'photographs'"),
        (lambda: make_data(tmp_path, SYNTHETIC, range(25), Dots(), shard_size=9), "shard_size 10, this run asks for 9"),
        (lambda: make_data(tmp_path, SYNTHETIC, range(1, 26), Dots(), shard_size=SHARD_SIZE), "made of other jobs"),
        (lambda: make(tmp_path, 10), "longer list of jobs"),
        (lambda: make_data(tmp_path / "new", SYNTHETIC, ["1", "2", "1"], Dots()), "received '1' twice"),
        (lambda: make_data(tmp_path / "new", SYNTHETIC, [], Dots()), "received 0 jobs"),
    ):
        with pytest.raises(TrainingDataError, match=message):
            wrong()
    assert len(load_data(tmp_path)) == 25


def test_the_list_of_jobs_may_grow(tmp_path: Path) -> None:
    make(tmp_path / "grown")
    assert make(tmp_path / "grown", 42).kept == 2
    make(tmp_path / "whole", 42)
    assert contents(tmp_path / "grown") == contents(tmp_path / "whole")


@dataclass(frozen=True)
class Troubled:
    """Every fifth job fails, each in another way; one face of every sixth is refused."""

    def __call__(self, job: int) -> Iterator[TrainingSample | Rejection]:
        if job == 5:
            raise TrainingDataError("expected a face")
        if job == 10:
            raise ZeroDivisionError("nobody foresaw this")
        if job == 15:
            yield dotted_sample(job, PHOTOGRAPHS)
        yield dotted_sample(job, SYNTHETIC)
        if job % 6 == 0:
            yield Rejection(f"{job}#1", "small", "expected 20 px, received 3")


def test_failures_are_named_and_cost_nothing_else(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    report = make_data(tmp_path, SYNTHETIC, range(20), Troubled(), shard_size=7)
    assert {failure.job: failure.error.split(":")[0] for failure in report.failed} == {
        "5": "TrainingDataError",
        "10": "UnexpectedError",
        "15": "TrainingDataError",
    }
    assert "nobody foresaw this" in caplog.text
    assert [sample.key for sample in load_data(tmp_path).samples()] == [
        f"dots-{job}" for job in range(20) if job not in (5, 10, 15)
    ]
    written = json.loads((tmp_path / "report.json").read_text())
    assert (written["jobs"], written["samples"], written["rejected"]) == (20, 17, {"small": 4})
    again = make_data(tmp_path, SYNTHETIC, range(20), Troubled(), shard_size=7)
    assert (again.kept, again.failed, again.rejected) == (3, report.failed, report.rejected)
    mended = make_data(tmp_path, SYNTHETIC, range(20), Dots(), shard_size=7, retry_failed=True)
    assert (mended.kept, mended.failed, len(mended.data)) == (0, [], 20)


def test_samples_that_do_not_fit_the_card_are_failures(tmp_path: Path) -> None:
    cards = (
        replace(SYNTHETIC, crop_size=24),
        replace(SYNTHETIC, layout=None),
        replace(SYNTHETIC, layout=replace(LAYOUT, id=9)),
    )
    for number, card in enumerate(cards):
        report = make_data(tmp_path / str(number), card, [0], Dots(SYNTHETIC))
        assert len(report.data) == 0
        assert "dots-0" in report.failed[0].error


def test_a_dead_process_is_replaced_and_its_job_named() -> None:
    answers = dict(on_processes(Suicidal(), ["a", "b", "c"], 1))
    assert answers == {"a": {}, "b": {1: "exit code 3"}, "c": {}}


def test_the_plan_is_written_first(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        make_data(tmp_path, SYNTHETIC, range(3), interrupted)
    assert json.loads((tmp_path / PLAN).read_text())["card"]["face_model"] == "toy"
    assert not list((tmp_path / SHARDS).iterdir())


def interrupted(job: int) -> list[TrainingSample]:
    raise KeyboardInterrupt


def test_no_shards_and_no_bytes_are_no_pictures(tmp_path: Path) -> None:
    make(tmp_path, 5)
    path = tmp_path / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | {"shards": []}))
    columns = load_data(tmp_path).columns(["key", "landmarks"])
    assert columns["key"].shape == (0,)
    assert columns["landmarks"].shape == (0, 68, 2)
    with pytest.raises(TrainingDataError, match="received no picture"):
        decoded(b"", 40, "me")
