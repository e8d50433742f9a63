"""Rare faces as often as common ones: pose and any label of faces (race, in the paper) balanced within a data set.

A stratum is the faces of one range of yaw, of one label, or of one of both. In an epoch, which stays as long as the
data set, every stratum gets the same number of places; but a face is shown at most so often as ``most_repeats`` says,
and what a stratum cannot fill the others get.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from facewright.errors import TrainingDataError
from facewright.morphable.container import load_face_model
from facewright.train.shards import DataSet
from facewright.untrusted import read_text, reading

Trait = Literal["yaw", "label"]
YAW_EDGES_DEG = (-60.0, -30.0, -10.0, 10.0, 30.0, 60.0)
"""Between ranges of yaw: frontal, half, three quarters and profile, to either side."""
MOST_LABELS_BYTES = 256 << 20
_UNKNOWN = -1
_AT_ONCE = 65_536


def balanced_shares(
    data: DataSet, traits: Sequence[Trait], *, labels: Mapping[str, str] | None = None, most_repeats: float = 20.0
) -> Float[ndarray, " N"]:
    """How often each face of a data set is shown in an epoch, in the stored order; their sum is their number.

    Args:
        data: the faces.
        traits: by which strata differ.
        labels: of faces, by the key of a sample or by the name of its photo.
        most_repeats: times that a face is shown in an epoch, at most.

    Raises:
        TrainingDataError: a shard is damaged.
    """
    strata = np.zeros(len(data), np.int64)
    for trait in traits:
        found = np.digitize(yaws_deg(data), YAW_EDGES_DEG) if trait == "yaw" else _label_numbers(data, labels or {})
        strata = np.unique(np.stack([strata, found]), axis=1, return_inverse=True)[1].reshape(-1)
    counts = np.bincount(strata)
    return (places_of(counts, most_repeats) / counts)[strata]


def places_of(counts: Int[ndarray, " S"], most_repeats: float) -> Float[ndarray, " S"]:
    """Places of an epoch for strata of so many faces: the same for each that can fill them; their sum stays.

    Args:
        counts: faces of each stratum, 1 or more.
        most_repeats: places per face, at most; 1 or more.
    """
    places = most_repeats * counts.astype(np.float64)
    left, shared = float(counts.sum()), np.ones(len(counts), bool)
    while shared.any():
        level = left / shared.sum()
        full = shared & (places < level)
        if not full.any():
            return np.where(shared, level, places)
        left, shared = left - places[full].sum(), shared & ~full
    return places


def yaws_deg(data: DataSet) -> Float[ndarray, " N"]:
    """Yaw of each face, + turns the nose to the image's right: of the truth, else of the landmarks.

    From landmarks by scaled orthography: the two rows that bring the mean head's points closest to them. Faces without
    landmarks are frontal.

    Raises:
        TrainingDataError: a shard is damaged.
    """
    layout = data.card.layout
    if layout is not None:
        first = layout.id + layout.exp + layout.tex
        return np.degrees(data.columns(("truth",))["truth"][:, first + 1])
    found = data.columns(("landmarks", "landmark_weights"))
    points, weights = found["landmarks"], found["landmark_weights"]
    return np.concatenate(
        [
            np.zeros(0),
            *(_yaw_of(points[k : k + _AT_ONCE], weights[k : k + _AT_ONCE]) for k in range(0, len(points), _AT_ONCE)),
        ]
    )


def read_labels(paths: Sequence[str]) -> dict[str, str]:
    """Labels of faces: ``key,label`` a line, where a key is a sample's (``me.jpg#0``) or a photo's (``me.jpg``).

    Raises:
        TrainingDataError: a file is missing or malformed, or two lines contradict each other.
    """
    labels: dict[str, str] = {}
    for path in map(Path, paths):
        with reading(path, TrainingDataError, "lines of key,label", "write one for each face, or for each photo"):
            lines = read_text(path, most=MOST_LABELS_BYTES).splitlines()
        for number, line in enumerate(lines, 1):
            key, comma, label = (part.strip() for part in line.rpartition(","))
            if not line.strip():
                continue
            if not comma or not key or not label or labels.get(key, label) != label:
                before = f", which was {labels[key]!r} before" if key in labels else ""
                raise TrainingDataError(f"{path}: expected key,label in line {number}, received {line!r}{before}")
            labels[key] = label
    return labels


def _label_numbers(data: DataSet, labels: Mapping[str, str]) -> Int[ndarray, " N"]:
    """Faces without a label are a stratum of their own; a data set without any is a mistake."""
    names = {label: number for number, label in enumerate(sorted(set(labels.values())))}
    keys = data.columns(("key",))["key"]
    found = [labels.get(key, labels.get(key.rpartition("#")[0])) for key in keys]
    if all(label is None for label in found):
        raise TrainingDataError(
            f"expected labels of faces in {data.folder}, such as {keys[0]!r}, received {len(labels)} of others; "
            "name faces by their keys, or photos as `train prepare` was given them"
        )
    return np.array([_UNKNOWN if label is None else names[label] for label in found])


def _yaw_of(points: Float[ndarray, "N 68 2"], weights: Float[ndarray, "N 68"]) -> Float[ndarray, " N"]:
    head = load_face_model("open")
    template = head.mean_shape[head.annotations.ibug68].double().numpy()
    design = np.concatenate([template, np.ones((68, 1))], 1)
    picture = np.stack([points[..., 0], -points[..., 1]], -1).astype(np.float64)
    weighed = design * weights[..., None]
    square = weighed.swapaxes(1, 2) @ design + 1e-9 * np.eye(4)
    across, up = np.linalg.solve(square, weighed.swapaxes(1, 2) @ picture)[:, :3].transpose(2, 0, 1)
    facing = np.cross(across, up)  # third row of the rotation, times the scale's square
    length = np.linalg.norm(facing, axis=1)
    return np.degrees(np.arcsin(np.clip(-facing[:, 0] / np.where(length > 0, length, 1.0), -1.0, 1.0)))
