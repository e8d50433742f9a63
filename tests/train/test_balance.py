"""Rare faces as often as common ones: exact over epochs, a function of the step alone, within bounds."""

from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from facewright.errors import TrainingDataError
from facewright.geometry.frames import crop_camera, pose_points, project_points
from facewright.morphable.container import load_face_model
from facewright.train.balance import YAW_EDGES_DEG, balanced_shares, places_of, read_labels, yaws_deg
from facewright.train.jitter import NO_JITTER
from facewright.train.loader import BatchStream
from facewright.train.make import make_data
from facewright.train.samples import DataCard, TrainingSample
from facewright.train.shards import DataSet
from tests.train.samples import LAYOUT, PHOTOGRAPHS, SYNTHETIC, dotted_sample

YAWS_DEG = np.concatenate([np.linspace(-6, 6, 160), np.linspace(15, 25, 30), [45.0] * 8, [-75.0, 75.0]])


@cache
def _landmarks_of_the_open_head() -> torch.Tensor:
    head = load_face_model("open")
    return head.mean_shape[head.annotations.ibug68][None]


def turned(seed: int) -> TrainingSample:
    """A face of the open head, seen from one side, pitched and rolled a little."""
    points, rng = _landmarks_of_the_open_head(), np.random.default_rng(seed)
    angles = torch.tensor([[rng.uniform(-0.2, 0.2), np.radians(YAWS_DEG[seed]), rng.uniform(-0.2, 0.2)]])
    place = project_points(pose_points(points, angles.float(), torch.zeros(1, 3)), crop_camera(size=48))
    known = np.ones(68, np.float32)
    sample = dotted_sample(seed, PHOTOGRAPHS)
    return replace(sample, key=f"{seed}.jpg#0", landmarks=place[0, :, :2].numpy(), landmark_weights=known)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    """200 faces in shards of 70; 80 % look ahead."""
    folder = tmp_path_factory.mktemp("turned")
    return make_data(folder, PHOTOGRAPHS, range(len(YAWS_DEG)), lambda job: [turned(int(job))], shard_size=70).data


def epochs(data: DataSet, shares: np.ndarray, first: int, count: int) -> list[str]:
    stream = BatchStream(
        [data], batch_size=20, crop_size=16, layout=LAYOUT, seed=2, jitter=NO_JITTER, row_shares=[shares]
    )
    return [key for step in range(first * 10, (first + count) * 10) for key in stream.batch(step).keys]


def test_yaw_is_read_from_landmarks_and_from_truth(photographs: DataSet, tmp_path: Path) -> None:
    found = yaws_deg(photographs)
    assert np.abs(found - YAWS_DEG)[np.abs(YAWS_DEG) < 50].max() < 3.0
    assert np.abs(found - YAWS_DEG).max() < 8.0  # near cameras turn profiles
    unknown = make_data(tmp_path / "blind", PHOTOGRAPHS, range(3), blind).data
    assert yaws_deg(unknown).tolist() == [0.0, 0.0, 0.0]
    synthetic = make_data(
        tmp_path / "truth", SYNTHETIC, range(5), lambda job: [dotted_sample(int(job), SYNTHETIC)]
    ).data
    truth = [LAYOUT.unpack(torch.from_numpy(s.truth)[None]).angles[0, 1] for s in synthetic.samples()]  # pyright: ignore[reportArgumentType]
    np.testing.assert_allclose(yaws_deg(synthetic), np.degrees(truth), rtol=1e-5)


def blind(job: int | str) -> list[TrainingSample]:
    return [replace(dotted_sample(int(job), PHOTOGRAPHS), landmark_weights=np.zeros(68, np.float32))]


def test_poses_are_shown_alike_over_epochs(photographs: DataSet) -> None:
    shares = balanced_shares(photographs, ("yaw",), most_repeats=100.0)
    assert shares.sum() == pytest.approx(200)
    shown = Counter(epochs(photographs, shares, 0, 6))
    assert shown.total() == 1200
    of_range = Counter[int]()
    for key, times in shown.items():
        of_range[int(np.digitize(YAWS_DEG[int(key.partition(".")[0])], YAW_EDGES_DEG))] += times
    assert len(of_range) == 5  # none at -30..-60 and -10..-30
    assert max(of_range.values()) - min(of_range.values()) <= 12
    assert shown["198.jpg#0"] == shown["199.jpg#0"] == 240
    # without, they are shown as they are
    plain = Counter(epochs(photographs, np.ones(200), 0, 1))
    assert set(plain.values()) == {1}


def test_a_face_is_not_shown_too_often(photographs: DataSet) -> None:
    shown = Counter(epochs(photographs, balanced_shares(photographs, ("yaw",), most_repeats=10.0), 3, 4))
    assert shown.total() == 800
    assert shown["198.jpg#0"] == shown["199.jpg#0"] == 40
    assert places_of(np.array([100, 10, 1]), 5.0).tolist() == [56.0, 50.0, 5.0]
    assert places_of(np.array([4, 4]), 1.0).tolist() == [4.0, 4.0]


def test_it_goes_on_where_it_stopped(photographs: DataSet) -> None:
    shares = balanced_shares(photographs, ("yaw",))
    assert epochs(photographs, shares, 2, 1) == epochs(photographs, shares, 0, 3)[400:]
    assert epochs(photographs, shares, 2, 1) != epochs(photographs, shares, 0, 1)


def test_labels_of_photos_and_of_faces(photographs: DataSet, tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    file.write_text("\ufeff" + "".join(f"{n}.jpg,{'ab'[n % 4 == 0]}\n" for n in range(190)) + "191.jpg#0, b\n\n")
    labels = read_labels([str(file)])
    shares = balanced_shares(photographs, ("label",), labels=labels, most_repeats=100.0)
    kinds = [labels.get(f"{n}.jpg", labels.get(f"{n}.jpg#0", "none")) for n in range(200)]
    total = {kind: shares[[k for k, found in enumerate(kinds) if found == kind]].sum() for kind in ("a", "b", "none")}
    assert total == pytest.approx(dict.fromkeys(("a", "b", "none"), 200 / 3))
    both = balanced_shares(photographs, ("label", "yaw"), labels=labels, most_repeats=100.0)
    strata = [(kind, int(np.digitize(yaw, YAW_EDGES_DEG))) for kind, yaw in zip(kinds, YAWS_DEG, strict=True)]
    sums = [both[[k for k, s in enumerate(strata) if s == one]].sum() for one in set(strata)]
    np.testing.assert_allclose(sums, 200 / len(set(strata)))


@pytest.mark.parametrize(
    ("text", "message"),
    [("me.jpg\n", "line 1"), ("me.jpg,a\nme.jpg,b\n", "'a' before"), (",a\n", "line 1"), (None, "labels.csv")],
)
def test_labels_that_are_none(text: str | None, message: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(TrainingDataError, match=message):
        read_labels([str(tmp_path / "labels.csv")])


def test_labels_of_other_photos_are_a_mistake(photographs: DataSet) -> None:
    with pytest.raises(TrainingDataError, match=r"such as '0\.jpg#0', received 1 of others"):
        balanced_shares(photographs, ("label",), labels={"0.png": "a"})


def test_a_missing_shard_is_named(photographs: DataSet) -> None:
    with pytest.raises(TrainingDataError, match="columns landmarks"):
        yaws_deg(replace(photographs, folder=Path("nowhere"), card=DataCard("photographs", 48, 6)))
