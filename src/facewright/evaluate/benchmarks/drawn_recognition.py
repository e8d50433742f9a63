"""Who is who among people who do not exist, by the codes of a face model: held-out heads, nothing to obtain.

Protocol ``drawn-recognition-1``: each person in several pictures of 480 px. ``turned``: heads turned evenly between -60
and 60 degrees, another light and expression in each, nothing before the face. ``full``: everything that photographs
bring.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from facewright.errors import BenchmarkError, FacewrightError
from facewright.evaluate.benchmarks.recognition import METRICS, Pair, Parts, verification_figures
from facewright.evaluate.bootstrap import bootstrap_interval
from facewright.evaluate.evaluation import CaseRecorder, Evaluation, Progress, silent
from facewright.evaluate.methods import Measurable, facts_of
from facewright.evaluate.results import Case, Figure
from facewright.evaluate.sameness import separation
from facewright.morphable.mirror import MirrorMap
from facewright.records import Photo
from facewright.synthetic import HELD_OUT_SEED, ScenePlan, Studio, open_studio, photograph, plan_album
from facewright.synthetic.albums import scene_seed
from facewright.synthetic.plan import plan_scene

DrawnKind = Literal["turned", "full"]
FIRST_PERSON = HELD_OUT_SEED + 60_000
"""Nobody of them is in another benchmark."""
SIZE_PX, MOST_YAW_DEG = 480, 60.0
FOLDS = 5
LEAST_PEOPLE = 2 * FOLDS
MIRRORED = 1
"""Pictures of each person that are looked at in a mirror too."""


@dataclass(frozen=True)
class _Described:
    """Codes of one picture; of its mirror image, mirrored back, where it was looked at."""

    person: int
    key: str
    shape: Float[ndarray, " K"]
    albedo: Float[ndarray, " L"]


def evaluate_drawn_recognition(
    method: Measurable,
    *,
    people: int = 50,
    photos: int = 10,
    scenes: DrawnKind = "turned",
    studio: Studio | None = None,
    progress: Progress = silent,
) -> Evaluation:
    """Verification, spread and stillness.

    Args:
        method: what is measured; it must find coefficients.
        people: persons.
        photos: pictures of each.
        scenes: which kind.
        studio: whom to photograph; held-out heads of the open model if None.
        progress: is told how far it is.

    Raises:
        BenchmarkError: too few people, or too little can be described.
    """
    if people < LEAST_PEOPLE or photos < 2:
        raise BenchmarkError(
            f"expected {LEAST_PEOPLE} or more people and 2 or more photos of each, received {people} and {photos}"
        )
    studio = studio or open_studio()
    protocol: dict[str, Any] = {
        "name": f"drawn-recognition-1-{scenes}",
        "people": people,
        "photos": photos,
        "size_px": SIZE_PX,
        "first_person": FIRST_PERSON,
        "descriptor": "PCA of the other folds, signed square root, cosine",
        "pairs": "all of one person, and as many of two, within folds of people",
    }
    recorder = CaseRecorder("recognition", f"Drawn recognition, {scenes} pictures", protocol, METRICS)
    found, mirrored = list[_Described](), list[tuple[_Described, _Described]]()
    for number in range(people):
        for place, plan in enumerate(plans_of(studio, FIRST_PERSON + number, photos, scenes)):
            photo = photograph(studio, plan).photo
            described = _described(method, photo, number, f"{number}/{place}", recorder)
            if described is None:
                continue
            found.append(described)
            if place < MIRRORED and (back := _mirrored(method, studio, photo, described, recorder)) is not None:
                mirrored.append((described, back))
        progress(f"person {number + 1} of {people}", (number + 1) / people)
    figures: dict[str, Figure] = {}
    pairs, scores = _pairs(found, people), np.zeros(0)
    for parts in ("shape-texture", "shape"):
        own, scores = verification_figures(pairs, {entry.key: _vector(entry, parts) for entry in found})
        figures |= own if parts == "shape-texture" else {f"shape_{name}": figure for name, figure in own.items()}
    figures |= _sameness(found) | _mirror_figures(found, mirrored)
    for pair, score in zip(pairs, scores, strict=True):
        strata = {"pair": "same" if pair.same else "different"}
        recorder.cases.append(Case(f"{pair.first} | {pair.second}", {"score": float(score)}, strata=strata))
    return recorder.close(method=method.name, figures=figures, **facts_of(method))


def plans_of(studio: Studio, person: int, photos: int, scenes: DrawnKind) -> list[ScenePlan]:
    """The pictures of a person.

    Args:
        studio: whom to photograph.
        person: number.
        photos: of them.
        scenes: which kind.
    """
    if scenes == "full":
        return plan_album(studio, person, photos, size=SIZE_PX)
    yaws = np.random.default_rng([person, 60]).permutation(np.linspace(-MOST_YAW_DEG, MOST_YAW_DEG, photos))
    eyes = (0.14 * SIZE_PX, 0.2 * SIZE_PX)
    return [
        plan_scene(
            studio,
            scene_seed(person, 800 + place),
            person=person,
            width=SIZE_PX,
            height=SIZE_PX,
            eye_px=eyes,
            yaw_deg=float(yaw),
            prop="none",
        )
        for place, yaw in enumerate(yaws)
    ]


def _described(method: Measurable, photo: Photo, person: int, key: str, recorder: CaseRecorder) -> _Described | None:
    try:
        found = method.estimate(photo, method.find(photo)).coefficients
    except FacewrightError as error:
        recorder.problems.append(f"picture {key}: {type(error).__name__}: {error}")
        return None
    return _Described(person, key, found.id[0].double().cpu().numpy(), found.tex[0].double().cpu().numpy())


def _mirrored(
    method: Measurable, studio: Studio, photo: Photo, described: _Described, recorder: CaseRecorder
) -> _Described | None:
    """What is said of a picture in a mirror, mirrored back."""
    mirror = MirrorMap.of(studio.model)
    seen = _described(
        method, Photo(photo.pixels.flip(-1), photo.path), described.person, f"{described.key} mirrored", recorder
    )
    if mirror is None or seen is None or len(seen.shape) != len(mirror.id):
        return None
    shape, albedo = seen.shape @ mirror.id.double().numpy().T, seen.albedo @ mirror.tex.double().numpy().T
    return _Described(seen.person, seen.key, shape, albedo)


def _vector(described: _Described, parts: Parts) -> Float[ndarray, " K"]:
    return described.shape if parts == "shape" else np.concatenate([described.shape, described.albedo])


def _pairs(found: list[_Described], people: int) -> list[Pair]:
    """Within folds of people: all pairs of one person, and at random as many of two."""
    rng, pairs = np.random.default_rng(0), list[Pair]()
    fold_of = np.arange(people) * FOLDS // people
    for fold in range(FOLDS):
        inside = [entry for entry in found if fold_of[entry.person] == fold]
        first, second = np.triu_indices(len(inside), 1)
        same = np.array([inside[a].person == inside[b].person for a, b in zip(first, second, strict=True)], bool)
        chosen = rng.permutation(np.flatnonzero(~same))[: same.sum()]
        for place in [*np.flatnonzero(same), *np.sort(chosen)]:
            a, b = inside[first[place]], inside[second[place]]
            pairs.append(Pair(a.key, b.key, bool(same[place]), fold))
    return pairs


def _sameness(found: list[_Described]) -> dict[str, Figure]:
    people = np.array([entry.person for entry in found])
    told = separation(np.stack([entry.shape for entry in found]), people)
    return {"within_over_between": Figure.bare(told.within / max(told.between, 1e-9), "1", len(np.unique(people)))}


def _mirror_figures(found: list[_Described], mirrored: list[tuple[_Described, _Described]]) -> dict[str, Figure]:
    """How far a mirrored picture moves the shape, over how far two people lie apart."""
    if not mirrored:
        return {}
    people = np.array([entry.person for entry in found])
    apart = _between(np.stack([entry.shape for entry in found]), people)
    moved = np.array([float(np.linalg.norm(one.shape - other.shape)) for one, other in mirrored])
    return {"mirror_over_between": Figure.of(bootstrap_interval(moved / apart), "1")}


def _between(shapes: Float[ndarray, "N K"], people: Int[ndarray, " N"]) -> float:
    """Mean distance of pictures of two people."""
    distances = np.linalg.norm(shapes[:, None] - shapes[None], axis=-1)
    return float(distances[people[:, None] != people[None]].mean())
