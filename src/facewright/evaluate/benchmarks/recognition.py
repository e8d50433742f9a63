"""Who is who from coefficients, as Tran 2017 does it: what LFW, YTF and IJB-A share ."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from facewright.errors import BenchmarkError, FacewrightError
from facewright.evaluate.bootstrap import bootstrap_interval
from facewright.evaluate.descriptors import SignedRootPca
from facewright.evaluate.evaluation import CaseRecorder, Evaluation, Progress
from facewright.evaluate.methods import Measurable, facts_of
from facewright.evaluate.predictions import PhotoOfFace
from facewright.evaluate.results import Better, Case, Figure, Metric
from facewright.evaluate.verification import RocCurve, best_threshold, cosine_similarity, roc_curve

Parts = Literal["shape", "shape-texture"]
"""Which coefficients describe a person: identity alone, or identity and albedo."""
NamedPhoto = tuple[str, PhotoOfFace]
"""Key of a photo, and how to load it."""
METRICS = (Metric("score", "cosine of the descriptors", "1", better="neither"),)


@runtime_checkable
class CoefficientSource(Protocol):
    """Anything that describes a face by a vector."""

    @property
    def name(self) -> str:
        """Of the method."""
        ...

    @property
    def facts(self) -> dict[str, Any]:
        """``weights``, ``face_model`` and ``settings`` for the result."""
        ...

    def vector(self, key: str, photo: PhotoOfFace) -> Float[ndarray, " K"]:
        """Coefficients of the face in a photo.

        Raises:
            FacewrightError: no face, no photo, or no prediction.
        """
        ...


@dataclass(frozen=True)
class MethodCoefficients:
    """Coefficients of a method.

    Attributes:
        method: runs on each photo.
        parts: which coefficients.
    """

    method: Measurable
    parts: Parts = "shape-texture"

    @property
    def name(self) -> str:
        """Of the method."""
        return self.method.name

    @property
    def facts(self) -> dict[str, Any]:
        """For the result."""
        return facts_of(self.method)

    def vector(self, key: str, photo: PhotoOfFace) -> Float[ndarray, " K"]:
        """See ``CoefficientSource``."""
        load, near = photo
        picture = load()
        found = self.method.estimate(picture, self.method.find(picture, near)).coefficients
        chosen = [found.id[0]] if self.parts == "shape" else [found.id[0], found.tex[0]]
        return np.concatenate([part.double().cpu().numpy() for part in chosen])


@dataclass(frozen=True)
class FileCoefficients:
    """Vectors that another program has written: ``<key>.npy`` for each photo.

    Attributes:
        folder: holds the keys' paths.
        name: of the method.
    """

    folder: Path
    name: str = "files"
    facts: dict[str, Any] = field(default_factory=dict)

    def vector(self, key: str, photo: PhotoOfFace) -> Float[ndarray, " K"]:
        """See ``CoefficientSource``."""
        path = self.folder / f"{key}.npy"
        if not path.is_file():
            raise BenchmarkError(f"expected a prediction {key}.npy, found none")
        try:
            vector = np.load(path, allow_pickle=False)
        except ValueError as error:
            raise BenchmarkError(f"{key}.npy holds no vector that can be read: {error}") from error
        if vector.ndim != 1 or not np.isfinite(vector).all():
            raise BenchmarkError(f"expected one finite vector in {key}.npy, received shape {vector.shape}")
        return np.asarray(vector, np.float64)


class Gallery:
    """Vectors of items (photos, videos, templates), each computed once; an item without one is named.

    Args:
        source: of the vectors.
        recorder: takes the names of what could not be described.
    """

    def __init__(self, source: CoefficientSource, recorder: CaseRecorder) -> None:
        self._source, self._recorder = source, recorder
        self._vectors: dict[str, Float[ndarray, " K"] | None] = {}

    @property
    def vectors(self) -> dict[str, Float[ndarray, " K"]]:
        """Of the items that could be described."""
        return {item: vector for item, vector in self._vectors.items() if vector is not None}

    def describe(self, item: str, photos: Callable[[], Sequence[NamedPhoto]]) -> Float[ndarray, " K"] | None:
        """The mean vector of an item's photos; None if none of them could be described."""
        if item not in self._vectors:
            self._vectors[item] = self._mean(item, photos)
        return self._vectors[item]

    def _mean(self, item: str, photos: Callable[[], Sequence[NamedPhoto]]) -> Float[ndarray, " K"] | None:
        vectors, problems = [], []
        try:
            listed = photos()
        except FacewrightError as error:
            self._recorder.problems.append(f"{item}: {error}")
            return None
        for key, photo in listed:
            try:
                vectors.append(self._source.vector(key, photo))
            except FacewrightError as error:
                problems.append(f"{key}: {error}")
        lengths = {len(vector) for vector in vectors}
        if len(lengths) > 1:
            problems.append(f"{item}: vectors of different lengths {sorted(lengths)}")
            vectors = []
        self._recorder.problems += problems
        return np.mean(vectors, 0) if vectors else None


@dataclass(frozen=True)
class Pair:
    """Two items that show the same person or not.

    Attributes:
        first: item.
        second: item.
        same: the truth.
        fold: which fold it is tested in.
    """

    first: str
    second: str
    same: bool
    fold: int


def verification_figures(
    pairs: Sequence[Pair], vectors: dict[str, Float[ndarray, " K"]]
) -> tuple[dict[str, Figure], Float[ndarray, " N"]]:
    """Accuracy over folds, ROC figures, per cent; and the pairs' scores.

    For each fold, PCA and threshold come from the items and pairs of all others. A pair with an item that could not be
    described scores 0, which is what unrelated descriptors average to.

    Args:
        pairs: with their folds.
        vectors: of the described items.

    Raises:
        BenchmarkError: fewer than two folds, only same or only different pairs, or fewer than three items described.
    """
    folds = np.array([pair.fold for pair in pairs])
    same = np.array([pair.same for pair in pairs])
    if len(np.unique(folds)) < 2 or same.all() or not same.any():
        raise BenchmarkError("expected same and different pairs in at least two folds, received fewer")
    scores, accuracies = np.zeros(len(pairs)), []
    for fold in np.unique(folds):
        others = [pair for pair in pairs if pair.fold != fold]
        training = sorted({item for pair in others for item in (pair.first, pair.second) if item in vectors})
        if len(training) < 3:
            raise BenchmarkError(f"expected at least three described items outside of fold {fold}, received {training}")
        pca = SignedRootPca.fit(np.stack([vectors[item] for item in training]))
        every = _scores(pairs, vectors, pca)
        held = folds == fold
        threshold = best_threshold(every[~held], same[~held])
        accuracies.append(100.0 * float(np.mean((every[held] >= threshold) == same[held])))
        scores[held] = every[held]
    figures = {
        "accuracy": Figure.of(bootstrap_interval(np.array(accuracies)), "%", "higher"),
        "accuracy_std": Figure.bare(float(np.std(accuracies, ddof=1)), "%", len(accuracies), "neither"),
    }
    return figures | roc_figures(scores, same), scores


def measured_pairs(
    recorder: CaseRecorder,
    pairs: list[Pair],
    source: CoefficientSource,
    photos_of: Callable[[str], Sequence[NamedPhoto]],
    progress: Progress,
) -> Evaluation:
    """Describe all items, score all pairs, close the result.

    Args:
        recorder: of the benchmark.
        pairs: with their folds.
        source: of the coefficients.
        photos_of: lists the photos of an item.
        progress: is told how far it is.

    Raises:
        BenchmarkError: too little can be described.
    """
    gallery = Gallery(source, recorder)
    items = sorted({item for pair in pairs for item in (pair.first, pair.second)})
    for k, item in enumerate(items):
        gallery.describe(item, lambda item=item: photos_of(item))
        progress(item, (k + 1) / len(items))
    figures, scores = verification_figures(pairs, gallery.vectors)
    known = gallery.vectors.keys()
    for pair, score in zip(pairs, scores, strict=True):
        lacking = [item for item in (pair.first, pair.second) if item not in known]
        strata = {"pair": "same" if pair.same else "different"}
        problem = f"not described: {', '.join(lacking)}" if lacking else ""
        values = {} if lacking else {"score": float(score)}
        recorder.cases.append(Case(f"{pair.first} | {pair.second}", values, strata=strata, problem=problem))
    return recorder.close(method=source.name, figures=figures, **source.facts)


def roc_figures(scores: Float[ndarray, " N"], same: Bool[ndarray, " N"]) -> dict[str, Figure]:
    """AUC, EER, TAR at 10 % and 1 % FAR, per cent, with intervals over pairs."""
    readings: dict[str, tuple[Callable[[RocCurve], float], Better]] = {
        "auc": (lambda roc: roc.auc, "higher"),
        "eer": (lambda roc: roc.eer, "lower"),
        "tar_10": (lambda roc: roc.tar_at_far(0.1), "higher"),
        "tar_1": (lambda roc: roc.tar_at_far(0.01), "higher"),
    }
    rows = np.stack([scores, same], -1)
    figures = {}
    for name, (read, better) in readings.items():

        def statistic(sample: ndarray, read: Callable[[RocCurve], float] = read) -> float:
            hits = sample[:, 1] > 0.5
            return 100.0 * read(roc_curve(sample[:, 0], hits)) if 0 < hits.sum() < len(hits) else float("nan")

        figures[name] = Figure.of(bootstrap_interval(rows, statistic, num_resamples=200), "%", better)
    return figures


def _scores(
    pairs: Sequence[Pair], vectors: dict[str, Float[ndarray, " K"]], pca: SignedRootPca
) -> Float[ndarray, " N"]:
    """Cosines; 0 where an item is not described."""
    names = sorted(vectors)
    descriptors = dict(zip(names, pca.describe(np.stack([vectors[name] for name in names])), strict=True))
    known = np.array([pair.first in vectors and pair.second in vectors for pair in pairs])
    zero = np.zeros(len(pca.directions))
    first, second = (
        np.stack([descriptors.get(getattr(pair, side), zero) for pair in pairs]) for side in ("first", "second")
    )
    return np.where(known, cosine_similarity(first, second), 0.0)
