"""Who it is, by the codes of a face model (Tran et al. 2017, section 4): descriptors, calibration, galleries.

A descriptor is the signed square root of codes along the main directions of a population, and is compared by its
cosine; several photos of one person are averaged before. A file of descriptors holds no photo.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from safetensors import safe_open
from safetensors.numpy import save_file

from facewright.errors import MissingExtraError, RecognitionError
from facewright.evaluate.benchmarks.recognition import Parts
from facewright.evaluate.descriptors import SignedRootPca
from facewright.evaluate.verification import roc_curve
from facewright.files import written_whole
from facewright.pipeline.face import FaceInPhoto
from facewright.pipeline.flow import Reconstructor
from facewright.regress.weights import weights_path
from facewright.untrusted import reading

GALLERY_FORMAT, CALIBRATION_FORMAT = "facewright-people/1", "facewright-recognition/1"
RATES = (0.1, 0.01, 0.001)
"""False accept rates that thresholds are worked out for, as far as there are pairs enough."""
LEAST_MISTAKES = 10
"""Wrong pairs above a threshold that a rate is stated from."""
LEAST_PEOPLE = 8
DIRECTIONS = 64
"""Main directions that descriptors hold at most: the others tell nobody apart, and a search costs as many numbers."""
RERANKED = 100
"""Of those that a search in rounded numbers puts first, so many are compared exactly."""
_ROUNDED = 127.0
_CHUNK = 65_536
_AGAIN = "enrol the people again (`facewright recognise enrol`)"


@dataclass(frozen=True)
class CodeSource:
    """What made codes, and all that it depends on: codes of another are other numbers.

    Attributes:
        method: name in ``METHODS``.
        weights: name of its weights.
        digest: hash of the weights' bytes and of what decodes them.
        parts: which codes.
    """

    method: str
    weights: str
    digest: str
    parts: Parts

    def require(self, other: "CodeSource", source: str) -> None:
        """Refuse codes of another network.

        Raises:
            RecognitionError: they are.
        """
        if (self.digest, self.parts) != (other.digest, other.parts):
            raise RecognitionError(
                f"{source} was made with method {other.method!r}, weights {other.weights!r} ({other.digest[:12]}), "
                f"parts {other.parts}; received {self.method!r}, {self.weights!r} ({self.digest[:12]}), {self.parts}: "
                "their codes are other numbers. Give the same --method, --weights and --parts, or enrol and calibrate "
                "again"
            )


def network_of(flow: Reconstructor, weights: str | os.PathLike[str] | None, parts: Parts) -> CodeSource:
    """What makes the codes of a flow.

    Args:
        flow: loaded.
        weights: that it was loaded with; None where the method took those in the package.
        parts: which codes are used.

    Raises:
        RecognitionError: a method without coefficients.
    """
    estimator = flow.estimator
    model = estimator.face_model
    if model is None:
        raise RecognitionError(
            f"expected a method whose faces are codes of a face model, received {estimator.method!r}; take 3dmm-cnn"
        )
    digest = hashlib.sha256(f"{estimator.method} {model.name} {model.edition} {model.layout}".encode())
    name = estimator.weights
    if name:
        digest.update(weights_path(name if weights is None else weights).read_bytes())
    return CodeSource(estimator.method, name, digest.hexdigest(), parts)


def codes_of(face: FaceInPhoto, parts: Parts) -> Float[ndarray, " K"]:
    """Codes of a face: shape, or shape and albedo."""
    found = face.coefficients
    chosen = [found.id[0]] if parts == "shape" else [found.id[0], found.tex[0]]
    return torch.cat(chosen).double().cpu().numpy()


@dataclass(frozen=True)
class Threshold:
    """A score, and how often it is wrong.

    Attributes:
        far: share of pairs of two people that score at least so much.
        score: cosine.
        tar: share of pairs of one person that do.
        pairs: of two people, that it was read from.
    """

    far: float
    score: float
    tar: float
    pairs: int


@dataclass(frozen=True)
class Calibration:
    """What makes descriptors of codes, and thresholds for them.

    Attributes:
        network: whose codes.
        pca: main directions of the people that it was worked out on.
        thresholds: by falling rate.
        people: how many they were.
        source: what they were, in words.
    """

    network: CodeSource
    pca: SignedRootPca
    thresholds: tuple[Threshold, ...]
    people: int
    source: str = ""

    def descriptors(self, codes: Float[ndarray, "N K"]) -> Float[ndarray, "N P"]:
        """Of length 1, so that products are cosines; codes without any direction give zeros."""
        found = self.pca.describe(codes)
        length = np.linalg.norm(found, axis=-1, keepdims=True)
        return (found / np.where(length > 0, length, 1.0)).astype(np.float32)

    def threshold(self, far: float) -> Threshold:
        """The threshold of a rate.

        Raises:
            RecognitionError: none was worked out for it.
        """
        known = {threshold.far: threshold for threshold in self.thresholds}
        if far not in known:
            raise RecognitionError(
                f"expected --far of {', '.join(f'{rate:g}' for rate in known)}, for which this calibration has "
                f"thresholds; received {far:g}: calibrate on more people for smaller ones"
            )
        return known[far]


def calibrated(
    codes: Float[ndarray, "N K"], persons: Int[ndarray, " N"], network: CodeSource, *, source: str = ""
) -> Calibration:
    """Work out directions and thresholds; thresholds on people whom the directions have not seen.

    Args:
        codes: of single photos.
        persons: number of who each shows.
        network: that made them.
        source: of the photos, in words.

    Raises:
        RecognitionError: too few people, or nobody of whom there are two photos.
    """
    numbers = np.unique(persons)
    if len(numbers) < LEAST_PEOPLE or len(numbers) == len(persons):
        raise RecognitionError(
            f"expected {LEAST_PEOPLE} or more people, some of them in several photos; received {len(persons)} photos "
            f"of {len(numbers)}"
        )
    scores, same = [], []
    for half in (0, 1):
        held = np.isin(persons, numbers[half::2])
        pca = SignedRootPca.fit(codes[~held], DIRECTIONS)
        found = pca.describe(codes[held])
        found /= np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)
        upper = np.triu_indices(len(found), 1)
        scores.append((found @ found.T)[upper])
        same.append((persons[held][:, None] == persons[held][None])[upper])
    curve_scores, curve_same = np.concatenate(scores), np.concatenate(same)
    if not curve_same.any():
        raise RecognitionError("expected several photos of some people in both halves, received none")
    roc = roc_curve(curve_scores, curve_same)
    wrong = int((~curve_same).sum())
    thresholds = []
    for rate in RATES:
        if rate * wrong >= LEAST_MISTAKES:
            place = int(np.flatnonzero(roc.false_accept_rates <= rate)[-1])
            thresholds.append(Threshold(rate, float(roc.thresholds[place]), float(roc.true_accept_rates[place]), wrong))
    if not thresholds:
        raise RecognitionError(f"expected {LEAST_MISTAKES / RATES[0]:g} or more pairs of two people, received {wrong}")
    return Calibration(network, SignedRootPca.fit(codes, DIRECTIONS), tuple(thresholds), len(numbers), source)


def save_calibration(calibration: Calibration, path: str | os.PathLike[str]) -> None:
    """Write directions and thresholds.

    Raises:
        ExportError: the file cannot be written.
    """
    arrays = {
        "mean": calibration.pca.mean.astype(np.float32),
        "directions": calibration.pca.directions.astype(np.float32),
    }
    card = {
        "network": asdict(calibration.network),
        "thresholds": [asdict(threshold) for threshold in calibration.thresholds],
        "people": calibration.people,
        "source": calibration.source,
    }
    _save(path, CALIBRATION_FORMAT, card, arrays)


def load_calibration(path: str | os.PathLike[str]) -> Calibration:
    """Read what ``save_calibration`` wrote.

    Raises:
        RecognitionError: no such file, another's, or a damaged one.
    """
    card, arrays = _load(path, CALIBRATION_FORMAT, "calibrate again (`facewright recognise calibrate`)")
    with reading(path, RecognitionError, "a whole calibration", "calibrate again"):
        mean, directions = arrays["mean"].astype(np.float64), arrays["directions"].astype(np.float64)
        if mean.ndim != 1 or directions.ndim != 2 or directions.shape[1] != len(mean):
            raise ValueError(f"directions of shape {directions.shape} for codes of shape {mean.shape}")
        thresholds = tuple(Threshold(**entry) for entry in card["thresholds"])
        network = CodeSource(**card["network"])
        return Calibration(network, SignedRootPca(mean, directions), thresholds, card["people"], card["source"])


@dataclass(frozen=True)
class KnownPeople:
    """People by their descriptors; no photo.

    Attributes:
        network: that made the codes.
        names: of the people.
        photos: how many photos each was seen in.
        codes: means over those.
        descriptors: of the codes, of length 1.
    """

    network: CodeSource
    names: tuple[str, ...]
    photos: Int[ndarray, " N"]
    codes: Float[ndarray, "N K"]
    descriptors: Float[ndarray, "N P"]

    @classmethod
    def of(cls, people: Mapping[str, Sequence[Float[ndarray, " K"]]], calibration: Calibration) -> "KnownPeople":
        """Pool the codes of each person's photos.

        Args:
            people: codes of photos by name, of one photo at least.
            calibration: makes descriptors.
        """
        codes = np.stack([np.mean(photos, 0) for photos in people.values()]).astype(np.float32)
        counts = np.array([len(photos) for photos in people.values()], np.int32)
        return cls(calibration.network, tuple(people), counts, codes, calibration.descriptors(codes.astype(np.float64)))

    def with_people(self, others: "KnownPeople") -> "KnownPeople":
        """Both; who is in both is as the others have him.

        Raises:
            RecognitionError: they are of another network.
        """
        others.network.require(self.network, "the file of people")
        kept = [place for place, name in enumerate(self.names) if name not in set(others.names)]
        return KnownPeople(
            self.network,
            (*(self.names[place] for place in kept), *others.names),
            np.concatenate([self.photos[kept], others.photos]),
            np.concatenate([self.codes[kept], others.codes]),
            np.concatenate([self.descriptors[kept], others.descriptors]),
        )


def save_gallery(gallery: KnownPeople, path: str | os.PathLike[str]) -> None:
    """Write a file of people, whole or not at all; names are in it, photos are not.

    Raises:
        ExportError: the file cannot be written.
    """
    names = np.frombuffer(json.dumps(list(gallery.names)).encode(), np.uint8)
    arrays = {
        "names": names,
        "photos": gallery.photos.astype(np.int32),
        "codes": gallery.codes.astype(np.float32),
        "descriptors": gallery.descriptors.astype(np.float32),
    }
    _save(path, GALLERY_FORMAT, {"network": asdict(gallery.network)}, arrays)


def load_gallery(path: str | os.PathLike[str]) -> KnownPeople:
    """Read a file of people.

    Raises:
        RecognitionError: no such file, another's, or one that is damaged anywhere.
    """
    card, arrays = _load(path, GALLERY_FORMAT, _AGAIN)
    with reading(path, RecognitionError, "a whole file of people", _AGAIN):
        names = json.loads(arrays["names"].tobytes())
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError("its names are no list of names")
        codes, descriptors, photos = arrays["codes"], arrays["descriptors"], arrays["photos"]
        if codes.ndim != 2 or descriptors.ndim != 2 or {len(codes), len(descriptors), len(photos)} != {len(names)}:
            raise ValueError(f"{len(names)} names with {len(codes)} codes and {len(descriptors)} descriptors")
        return KnownPeople(CodeSource(**card["network"]), tuple(names), photos, codes, descriptors)


class Searcher:
    """Finds who is likest, in galleries of any size: by numpy or by usearch, both exactly.

    With usearch (extra ``search``) descriptors are rounded to bytes once, all of them are compared with, and the first
    hundred are compared again as they are: a quarter of what is read, which is worth it with many processors.

    Args:
        gallery: of people.
        engine: ``numpy`` or ``usearch``.

    Raises:
        MissingExtraError: usearch is asked for and not installed.
    """

    def __init__(self, gallery: KnownPeople, engine: str = "numpy") -> None:
        self.gallery = gallery
        self._package = _usearch() if engine == "usearch" else None
        if self._package is None and engine == "usearch":
            raise MissingExtraError("the search by usearch expects it: pip install 'facewright[search]'")
        self._bytes = None if self._package is None else _rounded(gallery.descriptors)

    @property
    def engine(self) -> str:
        """Which searches."""
        return "numpy" if self._package is None else "usearch"

    def likest(self, descriptor: Float[ndarray, " P"], count: int) -> list[tuple[str, float]]:
        """Names and cosines, the likest first.

        Args:
            descriptor: of length 1.
            count: of names, at most.
        """
        gallery, count = self.gallery, min(count, len(self.gallery.names))
        if count == 0:
            return []
        if self._package is None:
            scores = np.concatenate(
                [
                    gallery.descriptors[start : start + _CHUNK] @ descriptor
                    for start in range(0, len(gallery.names), _CHUNK)
                ]
            )
            places = np.argpartition(-scores, count - 1)[:count]
            found = scores[places]
        else:
            query = _rounded(descriptor[None])
            asked = min(len(gallery.names), max(count, RERANKED))
            matches = self._package.search(self._bytes, query, asked, self._package.MetricKind.Cos, exact=True)
            places = np.asarray(matches.keys).ravel().astype(np.int64)
            found = gallery.descriptors[places] @ descriptor
        order = np.lexsort((places, -found))[:count]
        return [(gallery.names[int(places[k])], float(found[k])) for k in order]


def _rounded(descriptors: Float[ndarray, "N P"]) -> ndarray:
    """Bytes in the direction of each: the largest number becomes 127."""
    out = np.zeros(descriptors.shape, np.int8)
    for start in range(0, len(descriptors), _CHUNK):
        part = descriptors[start : start + _CHUNK]
        largest = np.abs(part).max(1, keepdims=True)
        out[start : start + _CHUNK] = np.round(part * (_ROUNDED / np.where(largest > 0, largest, 1.0)))
    return out


def _usearch() -> Any:
    try:
        return import_module("usearch.index")
    except ImportError:
        return None


def _save(path: str | os.PathLike[str], format_: str, card: dict[str, Any], arrays: dict[str, ndarray]) -> None:
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    metadata = {"format": format_, "card": json.dumps(card, sort_keys=True), "sha256": _digest(arrays)}
    with written_whole(path) as temporary:
        save_file(arrays, temporary, metadata=metadata)


def _load(path: str | os.PathLike[str], format_: str, remedy: str) -> tuple[dict[str, Any], dict[str, ndarray]]:
    """Card and arrays of a file that is what it says, and whole.

    Raises:
        RecognitionError: it is not.
    """
    if not Path(path).is_file():
        raise RecognitionError(f"expected a file {path}, found none; {remedy}")
    with reading(path, RecognitionError, f"a whole file of format {format_}", remedy):
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != format_:
                raise ValueError(f"its format is {metadata.get('format')!r}")
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        card = json.loads(metadata["card"])
        if metadata["sha256"] != _digest(arrays):
            raise ValueError("its numbers are not those that were written: it is damaged")
        if not all(np.isfinite(array).all() for array in arrays.values() if array.dtype.kind == "f"):
            raise ValueError("it holds NaN or infinity")
    return card, arrays


def _digest(arrays: Mapping[str, ndarray]) -> str:
    found = hashlib.sha256()
    for name in sorted(arrays):
        found.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
        found.update(np.ascontiguousarray(arrays[name]).data)
    return found.hexdigest()
