"""The stream of batches: a function of the step alone, shared exactly, and points that move with the pixels."""

import pickle
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from facewright.detect.landmarks import MESH_MIRROR
from facewright.errors import TrainingDataError
from facewright.geometry.ibug68 import MIRROR_68
from facewright.train import loader
from facewright.train.jitter import NO_JITTER, CropJitter, CropPlace, place_crop
from facewright.train.loader import BatchStream, _held, _hold, _levels_held, rows_of_shares
from facewright.train.make import make_data
from facewright.train.rnet_settings import RUN_PRESETS
from facewright.train.samples import DataCard, TrainingBatch
from facewright.train.shards import DataSet
from tests.train.samples import LAYOUT, PHOTOGRAPHS, SYNTHETIC, Dots, dotted_sample

WILD = CropJitter(shift=0.05, scale=0.1, mirror=0.5)
BATCH = 12


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> list[DataSet]:
    """200 synthetic samples in shards of 70 (two row groups each), 40 photographs."""
    folder = tmp_path_factory.mktemp("data")
    synthetic = make_data(folder / "synthetic", SYNTHETIC, range(200), Dots(), shard_size=70).data
    return [synthetic, make_data(folder / "photographs", PHOTOGRAPHS, range(40), Dots(PHOTOGRAPHS)).data]


def stream(datasets: list[DataSet], **options: object) -> BatchStream:
    settings = dict(shares=(0.75, 0.25), batch_size=BATCH, crop_size=28, seed=3, jitter=WILD)
    return BatchStream(datasets, **(settings | options))  # pyright: ignore[reportArgumentType] - options of each test


def equal(a: TrainingBatch, b: TrainingBatch) -> bool:
    names = ("crops", "skin", "landmarks", "landmark_weights", "points", "point_weights", "truth_known")
    tensors = all(torch.equal(getattr(a, name), getattr(b, name)) for name in names)
    return tensors and a.keys == b.keys and torch.equal(LAYOUT.pack(a.truth), LAYOUT.pack(b.truth))


def test_a_batch_is_what_it_says(datasets: list[DataSet]) -> None:
    batch = stream(datasets).batch(0)
    assert batch.crops.shape == (BATCH, 3, 28, 28)
    assert 0.0 <= float(batch.crops.min()) < 0.3 < 0.7 < float(batch.crops.max()) <= 1.0
    assert batch.truth_known.tolist() == [True] * 9 + [False] * 3
    packed = LAYOUT.pack(batch.truth)
    for i, key in enumerate(batch.keys[:9]):
        sample = dotted_sample(int(key.removeprefix("dots-")), SYNTHETIC)
        np.testing.assert_array_equal(packed[i], sample.truth)
        assert bool(batch.skin[i].any()) == bool(sample.skin.any())
    assert not packed[9:].any()


@pytest.mark.parametrize("workers", [0, 1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_stream_goes_on_as_if_it_had_never_stopped(datasets: list[DataSet], workers: int) -> None:
    unbroken = list(islice(stream(datasets).batches(), 40))  # several epochs of the photographs
    resumed = list(islice(stream(datasets, workers=workers).batches(from_step=29), 11))
    assert all(equal(a, b) for a, b in zip(unbroken[29:], resumed, strict=True))
    assert not equal(unbroken[0], unbroken[1])
    assert not equal(stream(datasets, seed=4).batch(0), unbroken[0].in_shares())


def test_processes_make_the_same_batches_from_a_copy(datasets: list[DataSet]) -> None:
    """What is sent to a process begins anew there, without caches."""
    here = stream(datasets, row_shares=[np.arange(1.0, 201.0), np.ones(40)])
    there: BatchStream = pickle.loads(pickle.dumps(here))
    for step in (0, 17):
        assert equal(there.levels(step), here.levels(step))
    _hold(there)
    try:
        assert equal(_levels_held(17), here.levels(17))
    finally:
        _held().clear()


def test_pictures_travel_as_bytes(datasets: list[DataSet]) -> None:
    levels = next(stream(datasets).batches())
    assert levels.crops.dtype == levels.skin.dtype == torch.uint8
    for arrived in (levels.to("cpu"), levels.in_shares(), stream(datasets).batch(0)):
        assert arrived.crops.dtype == torch.float32
        assert torch.equal(arrived.crops, levels.crops.float() * (1.0 / 255.0))
        assert torch.equal(arrived.skin, levels.skin.float() * (1.0 / 255.0))
    assert levels.to(torch.float64).crops.dtype == torch.float64
    assert levels.to(torch.float64).crops.max() <= 1.0


def test_processes_see_together_what_one_sees(datasets: list[DataSet]) -> None:
    whole, parts = stream(datasets).batch(5), [stream(datasets, rank=rank, world=3).batch(5) for rank in range(3)]
    for rank, part in enumerate(parts):
        assert part.keys == whole.keys[rank::3]
        assert torch.equal(part.crops, whole.crops[rank::3])
        assert torch.equal(part.points, whole.points[rank::3])
        assert int(part.truth_known.sum()) == 3  # each its share of each data set


@pytest.mark.parametrize("groups", [1, 2, 32], ids=["window of 1", "window of 2", "one window"])
def test_an_epoch_shows_everything_once(datasets: list[DataSet], groups: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "WINDOW_GROUPS", groups)
    alone = stream(datasets[:1], shares=None, batch_size=20)
    epochs = [[key for step in range(10) for key in alone.batch(first + step).keys] for first in (0, 10)]
    for epoch in epochs:
        assert sorted(epoch) == sorted(f"dots-{seed}" for seed in range(200))
    assert epochs[0] != epochs[1]
    assert epochs[0] != sorted(epochs[0])


def dot_window(points: np.ndarray, card: DataCard, radius: float = 1.8) -> np.ndarray:
    """A black window with a soft dot at each point."""
    side = card.crop_size + 2 * card.margin
    row, column = np.mgrid[:side, :side]
    window = np.zeros((side, side))
    for x, y in points + card.margin:
        window += np.exp(-((column - x) ** 2 + (row - y) ** 2) / (2 * radius**2))
    return np.repeat((255 * window).clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)


def dot_near(picture: np.ndarray, point: np.ndarray) -> np.ndarray:
    """Where the dot near a point really is: the centre of mass of the pixels around."""
    row, column = np.mgrid[: len(picture), : len(picture)]
    weight = picture[..., 0] * ((column - point[0]) ** 2 + (row - point[1]) ** 2 < 7**2)
    return np.array([(weight * column).sum(), (weight * row).sum()]) / weight.sum()


@pytest.mark.parametrize("moves", [CropJitter(0.03, 0.05, 0.5), CropJitter(0.03, 0.05, 0.5, 12.0, "even", "black")])
@pytest.mark.parametrize("crop_size", [128, 112, 64, 48])
def test_points_move_with_the_pixels(crop_size: int, moves: CropJitter) -> None:
    card = DataCard("photographs", 128, 16)
    points = np.array([[30.0, 40.0], [95.0, 35.0], [64.0, 64.0], [40.25, 100.5], [90.0, 97.0]], np.float32)
    partner = np.array([1, 0, 2, 4, 3])
    window = dot_window(points, card, radius=1.8 * 128 / crop_size)
    rng = np.random.default_rng(0)
    for uniform in (0.1, 0.9):
        place = place_crop(card, crop_size, moves, rng.standard_normal(4), uniform)
        assert place.mirrored == (uniform < 0.5)
        picture, moved = place.picture(window, card.margin), place.points(points, partner)
        found = np.array([dot_near(picture, point) for point in moved])
        np.testing.assert_allclose(found, moved, atol=0.06)
        assert moved[0, 0] < moved[2, 0] < moved[1, 0]  # a right eye stays a right eye
        assert np.abs(moved - points * crop_size / 128).max() > 0.5  # there was jitter


def test_a_crop_that_is_not_moved_is_the_stored_one() -> None:
    sample, partner = dotted_sample(0, SYNTHETIC), np.arange(68)
    place = place_crop(SYNTHETIC, 32, NO_JITTER, np.ones(4), 0.0)
    np.testing.assert_array_equal(place.picture(sample.window_srgb, 4), sample.window_srgb[4:-4, 4:-4])
    np.testing.assert_allclose(place.points(sample.landmarks, partner), sample.landmarks, atol=1e-5)


def test_mirrored_twice_is_the_same() -> None:
    sample, partner = dotted_sample(0, PHOTOGRAPHS), np.array(MIRROR_68)
    once = CropPlace((23.5, 23.5), 1.0, 48, True)
    picture, points = once.picture(sample.window_srgb, 6), once.points(sample.landmarks, partner)
    np.testing.assert_array_equal(once.picture(picture, 0), sample.window_srgb[6:-6, 6:-6])
    np.testing.assert_allclose(once.points(points, partner), sample.landmarks, atol=1e-5)
    assert np.abs(points - sample.landmarks).max() > 5


def test_mirrored_faces_keep_their_names(datasets: list[DataSet]) -> None:
    still = BatchStream(datasets[1:], batch_size=8, crop_size=48, layout=LAYOUT, jitter=NO_JITTER).batch(0)
    seen = BatchStream(
        datasets[1:], batch_size=8, crop_size=48, layout=LAYOUT, jitter=replace(NO_JITTER, mirror=1.0)
    ).batch(0)
    assert seen.keys == still.keys
    assert torch.equal(seen.crops, still.crops.flip(-1))
    assert torch.equal(seen.skin, still.skin.flip(-1))
    for name, partner in (("landmark", MIRROR_68), ("point", MESH_MIRROR)):
        points, weights = getattr(still, f"{name}s"), getattr(still, f"{name}_weights")
        mirrored = torch.stack([47.0 - points[..., 0], points[..., 1]], -1)[:, list(partner)]
        torch.testing.assert_close(getattr(seen, f"{name}s"), mirrored)
        assert torch.equal(getattr(seen, f"{name}_weights"), weights[:, list(partner)])
    assert not still.truth_known.any()


def test_synthetic_samples_are_never_mirrored_and_crops_stay_inside_windows() -> None:
    rng = np.random.default_rng(1)
    white = np.full((40, 40, 3), 255, np.uint8)
    for _ in range(200):
        place = place_crop(SYNTHETIC, 32, CropJitter(0.5, 0.5, 1.0), rng.standard_normal(4), 0.0)
        assert not place.mirrored
        assert place.picture(white, 4).min() == 255


def test_jitter_has_the_deviation_that_it_states() -> None:
    card, rng = DataCard("synthetic", 128, 64), np.random.default_rng(0)
    places = [place_crop(card, 128, CropJitter(0.03, 0.05), rng.standard_normal(4), 0.0) for _ in range(4000)]
    middles = np.array([place.middle for place in places])
    np.testing.assert_allclose(middles.mean(0), 63.5, atol=0.25)
    np.testing.assert_allclose(middles.std(0), 0.03 * 128, rtol=0.05)
    np.testing.assert_allclose(np.log([place.pitch for place in places]).std(), 0.05, rtol=0.05)


def test_the_published_jitter_is_the_pytorch_programs() -> None:
    """Evenly within 10 of 224 px, 10 % and 10 degrees; black beyond the stored crop; truth is never turned."""
    moves, rng = RUN_PRESETS["deng-pytorch"].data.moves, np.random.default_rng(0)
    card = DataCard("photographs", 224, 28)
    places = [place_crop(card, 224, moves, rng.standard_normal(4), 0.9) for _ in range(4000)]
    for drawn, limit in (
        ([place.middle[0] - 111.5 for place in places], 10.0),
        ([place.middle[1] - 111.5 for place in places], 10.0),
        ([100.0 * (1.0 / place.pitch - 1.0) for place in places], 10.0),
        ([np.degrees(place.turn) for place in places], 10.0),
    ):
        assert 0.97 * limit < np.abs(drawn).max() <= limit + 1e-9
        np.testing.assert_allclose(np.histogram(drawn, 5, (-limit, limit))[0], 800, rtol=0.12)
    white = np.full((280, 280), 255, np.uint8)
    far = place_crop(card, 224, moves, np.array([3.0, 3.0, -3.0, 0.0]), 0.9).picture(white, 28)
    assert (far[:5, :5].max(), far[112, 112], far[-5:, -5:].max()) == (255, 255, 0)
    assert place_crop(replace(card, kind="synthetic"), 224, moves, np.full(4, 3.0), 0.0).turn == 0.0
    turned = [place_crop(card, 224, CropJitter(0.1, 0.1, 0.5, 20.0), rng.standard_normal(4), 0.0) for _ in range(100)]
    assert all(place.picture(white, 28).min() == 255 for place in turned)  # inside of what is stored
    assert np.std([place.turn for place in turned]) > 0.25


def test_shares_become_rows() -> None:
    assert rows_of_shares([0.75, 0.25], 64) == [48, 16]
    assert rows_of_shares([1.0, 1.0, 1.0], 8) == [3, 3, 2]
    assert rows_of_shares([2.0], 5) == [5]
    for shares, rows in (([0.99, 0.01], 8), ([1.0, 0.0], 8), ([1.0, -1.0], 8), ([0.0], 8)):
        with pytest.raises(TrainingDataError, match="expected positive shares"):
            rows_of_shares(shares, rows)


def test_what_cannot_be_mixed_is_refused(datasets: list[DataSet]) -> None:
    synthetic, photographs = datasets
    other = replace(synthetic, card=replace(SYNTHETIC, face_model="another"))
    older = replace(synthetic, card=replace(SYNTHETIC, face_model_edition=2))
    finer = replace(synthetic, card=replace(SYNTHETIC, layout=replace(LAYOUT, exp=9)))
    for sets, options, message in (
        ([synthetic, other], {}, "one face model, received"),
        ([synthetic, older], {}, "'toy, edition 1', 'toy, edition 2'"),
        ([synthetic, finer], {}, "expected truth of"),
        ([synthetic, replace(photographs, shards=())], {}, "data sets with samples"),
        ([], {"shares": None}, "received none"),
        ([photographs], {"shares": None}, "expected the layout"),
        (datasets, {"world": 5}, "divides among the processes"),
        (datasets, {"rank": 2, "world": 2}, "rank 2"),
    ):
        with pytest.raises(TrainingDataError, match=message):
            stream(sets, **options)


def test_a_damaged_shard_ends_the_stream(tmp_path: Path) -> None:
    data = make_data(tmp_path, SYNTHETIC, range(20), Dots()).data
    shard = tmp_path / "shards" / "000000.parquet"
    shard.write_bytes(b"PAR1" + shard.read_bytes()[4:-40])
    with pytest.raises(TrainingDataError, match=r"000000\.parquet"):
        next(stream([data], shares=None, workers=1).batches())


@pytest.mark.parametrize("world", [1, 2])
def test_neighbours_stay_together_and_an_epoch_still_shows_everything(tmp_path: Path, world: int) -> None:
    """Four pictures of a person, drawn one after the other: in one batch, and in one process' share of it."""
    data = [make_data(tmp_path, SYNTHETIC, range(128), Dots(), shard_size=64).data]
    options = dict(shares=None, batch_size=16, world=world)
    parts = [stream(data, together=4, rank=rank, **options) for rank in range(world)]
    seen = []
    for step in range(8):
        for part in parts:
            numbers = [int(key.removeprefix("dots-")) for key in part.batch(step).keys]
            runs = [numbers[k : k + 4] for k in range(0, 16 // world, 4)]
            assert all(run == list(range(run[0], run[0] + 4)) and run[0] % 4 == 0 for run in runs)
            seen += numbers
    assert sorted(seen) == list(range(128))
    assert seen != sorted(seen)
    apart = stream(data, shares=None, batch_size=16).batch(0).keys
    assert len({int(key.removeprefix("dots-")) // 4 for key in apart}) > 6
