"""Pictures drawn while a network is trained: pure functions of the step, alike on one process and on many."""

from dataclasses import dataclass, field, fields, replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from facewright.compiled import can_compile
from facewright.errors import TrainingDataError, TrainingError
from facewright.geometry.frames import crop_camera, pose_points, project_points
from facewright.synthetic.plan import LIVE_SEED, require_training_seed
from facewright.train.course import BatchNeeds
from facewright.train.jitter import NO_JITTER, CropJitter
from facewright.train.live import LiveStream, joined_batch
from facewright.train.make import make_data
from facewright.train.run import open_source
from facewright.train.samples import DataCard, TrainingBatch
from facewright.train.settings import DataSettings, TrainSettings, check_settings
from facewright.train.synthetic import open_cached_studio
from tests.train.samples import Dots

pytestmark = pytest.mark.skipif(not can_compile(), reason="numba is not installed")
SIZE = 48


@pytest.fixture(scope="module")
def stream() -> LiveStream:
    return LiveStream(4, SIZE, per_person=2, seed=3)


@pytest.fixture(scope="module")
def batch(stream: LiveStream) -> TrainingBatch:
    return stream.batch(5)


def assert_same(a: TrainingBatch, b: TrainingBatch) -> None:
    assert a.keys == b.keys
    for entry in fields(a):
        left, right = getattr(a, entry.name), getattr(b, entry.name)
        if isinstance(left, torch.Tensor):
            assert torch.equal(left, right), entry.name
    assert torch.equal(a.truth.angles, b.truth.angles)
    assert torch.equal(a.truth.sh, b.truth.sh)


def test_a_step_is_one_batch_whatever_came_before(stream: LiveStream, batch: TrainingBatch) -> None:
    ahead = replace(stream, workers=1).batches(4)
    second = list(islice(ahead, 2))[1]
    ahead.close()  # pyright: ignore[reportAttributeAccessIssue] - a generator
    assert second.crops.dtype == torch.uint8
    assert_same(second.in_shares(), batch)
    assert require_training_seed(int(batch.keys[0].removeprefix("scene-"))) >= LIVE_SEED
    assert not torch.equal(stream.batch(6).crops, batch.crops)


def test_processes_share_a_batch(stream: LiveStream, batch: TrainingBatch) -> None:
    parts = [replace(stream, world=2, rank=rank).batch(5) for rank in range(2)]
    together = joined_batch(*parts)
    assert together.keys == batch.keys
    torch.testing.assert_close(together.landmarks, batch.landmarks, atol=1e-3, rtol=0)
    assert float((together.crops - batch.crops).abs().mean()) < 1e-4
    assert torch.equal(together.persons, batch.persons)  # pyright: ignore[reportArgumentType]


def test_pictures_of_one_person_stand_together(batch: TrainingBatch) -> None:
    assert batch.persons is not None
    assert batch.persons[0] == batch.persons[1] != batch.persons[2] == batch.persons[3]
    assert torch.equal(batch.truth.id[0], batch.truth.id[1])
    assert not torch.equal(batch.truth.angles[0], batch.truth.angles[1])


def test_jitter_moves_picture_and_points_alike() -> None:
    """Truth is of the crop as it was cut; points are of the one that is seen."""
    still = LiveStream(3, SIZE, seed=1, jitter=NO_JITTER).batch(0)
    moved = LiveStream(3, SIZE, seed=1, jitter=CropJitter(0.1, 0.2)).batch(0)
    studio = open_cached_studio("open")
    truth, model = still.truth, studio.model
    world = pose_points(model.shape(truth.id, truth.exp), truth.angles, truth.translation)
    marks = torch.stack([project_points(part[None, studio.ibug68], crop_camera(size=SIZE))[0, :, :2] for part in world])
    assert float((marks - still.landmarks).norm(dim=-1).mean()) < 0.3
    assert torch.equal(still.truth.angles, moved.truth.angles)
    assert float((still.landmarks - moved.landmarks).norm(dim=-1).mean()) > 1
    rows, columns = torch.meshgrid(torch.arange(16, 32), torch.arange(16, 32), indexing="xy")
    off: dict[float, list[float]] = {0.0: [], 4.0: []}
    for k, beside in ((k, beside) for k in range(3) for beside in off):
        # the moved picture, read where the points say that it went, and beside it; each has noise of its own
        a, b = still.landmarks[k], moved.landmarks[k]
        centred, other = a - a.mean(0), b - b.mean(0)
        scale = (other * centred).sum() / centred.square().sum()
        there = (torch.stack([rows, columns], -1).float() - a.mean(0)) * scale + b.mean(0) + beside
        read = torch.nn.functional.grid_sample(
            moved.crops[k : k + 1], (2 * there[None] + 1) / SIZE - 1, align_corners=False
        )[0]
        inside = ((there > 1) & (there < SIZE - 2)).all(-1)
        off[beside].append(float((read - still.crops[k, :, 16:32, 16:32]).abs().mean(0)[inside].mean()))
    assert np.mean(off[0.0]) < 0.06
    assert np.mean(off[0.0]) < 0.6 * np.mean(off[4.0])


@pytest.mark.parametrize(
    ("options", "named"),
    [({"batch_size": 6, "per_person": 4}, "--batch-size"), ({"jitter": CropJitter(beyond="black")}, "--beyond photo")],
)
def test_what_cannot_be_drawn_is_refused(options: dict[str, object], named: str) -> None:
    with pytest.raises(TrainingDataError, match=named):
        LiveStream(**({"batch_size": 4, "crop_size": SIZE} | options))  # pyright: ignore[reportArgumentType]


@dataclass(frozen=True)
class OneProcess:
    """What ``open_source`` asks of a fabric."""

    global_rank: int = 0
    world_size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))


def test_drawings_are_mixed_with_stored_pictures(stream: LiveStream, tmp_path: Path) -> None:
    """The first share is that of the drawings, and their rows come first; the stream goes on from any step."""
    layout = open_cached_studio("open").model.layout
    card = DataCard("photographs", SIZE, 6, source="dots")
    stored = make_data(tmp_path, card, range(6), Dots(card)).data
    data = DataSettings(folders=("x",), shares=(0.25, 0.75), batch_size=8, together=2, source="live", workers=0)
    settings = TrainSettings(None, "rnet", "open", data=data, seed=3)
    check_settings(settings)
    source = open_source(settings, [stored], OneProcess(), BatchNeeds(SIZE, "open", 2, layout))  # pyright: ignore
    (batch,) = islice(source.batches(5), 1)
    assert [key.split("-")[0] for key in batch.keys] == ["scene"] * 2 + ["dots"] * 6
    assert batch.truth_known.tolist() == [True] * 2 + [False] * 6
    assert batch.persons is not None
    assert batch.persons[0] == batch.persons[1]
    assert (batch.persons[2:] == -1).all()
    assert_same(batch, next(iter(source.batches(5))))


def test_settings_of_drawings_are_checked() -> None:
    settings = TrainSettings(None, "rnet", "open", data=DataSettings(source="live"))
    check_settings(settings)
    with pytest.raises(TrainingError, match="--source live"):
        check_settings(replace(settings, data=DataSettings()))
    with pytest.raises(TrainingError, match="one share for each of 1 --data and --source live"):
        check_settings(replace(settings, data=replace(settings.data, folders=("x",), shares=(1.0,))))
