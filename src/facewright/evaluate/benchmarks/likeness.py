"""The likeness tests: albums, turns, expressions and clips of people who do not exist."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from facewright.errors import NoFaceFoundError, ReconstructionError
from facewright.evaluate.bootstrap import bootstrap_interval
from facewright.evaluate.evaluation import CaseRecorder, Progress
from facewright.evaluate.landmarks import box_size
from facewright.evaluate.methods import Measurable, MeasuredFace
from facewright.evaluate.results import Figure
from facewright.evaluate.sameness import (
    coefficient_jitter,
    identity_wander,
    landmark_jitter,
    leakage,
    mirror_consistency,
    pose_drift,
    separation,
)
from facewright.geometry.ibug68 import MIRROR_68
from facewright.geometry.similarity import apply_similarity, similarity_from_points
from facewright.records import Photo
from facewright.synthetic import (
    HELD_OUT_SEED,
    Scene,
    ScenePlan,
    Studio,
    photograph,
    plan_album,
    plan_clip,
    plan_expressions,
    plan_turns,
)

FIRST_PERSON = HELD_OUT_SEED + 50_000
"""People of the albums: none of them is in the single scenes."""
FULL_SCENES = 200
"""Scenes beside which all likeness tests are made."""


@dataclass(frozen=True)
class LikenessPlan:
    """How much is photographed for the likeness tests.

    Attributes:
        mirrored: scenes that are measured again in a mirror.
        people: persons of the albums.
        album: pictures of each, everything but the person drawn anew.
        expressions: pictures of each with different expressions alone.
        turns: turn each person's head to 0, 30, 55 and 80 degrees.
        clips: clips, each of another person.
        frames: of a clip.
    """

    mirrored: int = 30
    people: int = 10
    album: int = 4
    expressions: int = 4
    turns: bool = True
    clips: int = 2
    frames: int = 16

    @classmethod
    def beside(cls, scenes: int) -> "LikenessPlan":
        """The standard set beside 200 scenes or more, its share of people and clips beside fewer.

        It has 152 pictures: beside a few scenes nearly all the time would go to them. One person alone says nothing.
        """
        full = cls()
        people = min(full.people, full.people * scenes // FULL_SCENES)
        clips = min(full.clips, full.clips * scenes // FULL_SCENES)
        return replace(full, people=people if people > 1 else 0, clips=clips)


@dataclass(frozen=True)
class _Shot:
    """One measured picture."""

    scene: Scene
    estimate: MeasuredFace

    @property
    def identity(self) -> Float[ndarray, " K"]:
        return self.estimate.coefficients.id[0].double().numpy()


def likeness_figures(
    method: Measurable,
    studio: Studio,
    plan: LikenessPlan,
    mirrored: list[tuple[Photo, MeasuredFace]],
    progress: Progress,
    recorder: CaseRecorder,
) -> dict[str, Figure]:
    """All likeness figures that the plan provides pictures for; missed faces are named in the recorder.

    Args:
        method: what is measured.
        studio: whom to photograph.
        plan: how much.
        mirrored: photos with the method's estimates, to be measured again in a mirror.
        progress: is told how far it is.
        recorder: takes what went wrong.
    """
    figures = _mirror_figures(method, studio, mirrored)
    progress("mirrored photos", 0.2)
    albums: list[list[_Shot]] = []
    faces: list[list[_Shot]] = []
    turned: list[list[_Shot]] = []
    for k in range(plan.people):
        person = FIRST_PERSON + k
        albums.append(_shots(method, studio, plan_album(studio, person, plan.album), recorder))
        faces.append(_shots(method, studio, plan_expressions(studio, person, plan.expressions), recorder))
        turned.append(_shots(method, studio, plan_turns(studio, person) if plan.turns else [], recorder))
        progress(f"albums of person {k + 1} of {plan.people}", 0.2 + 0.6 * (k + 1) / plan.people)
    figures |= _separation_figures(albums) | _leakage_figures(faces) | _drift_figures(turned)
    clips = []
    for k in range(plan.clips):
        clips.append(_shots(method, studio, plan_clip(studio, FIRST_PERSON + 500 + k, plan.frames), recorder))
        progress(f"clip {k + 1} of {plan.clips}", 0.8 + 0.2 * (k + 1) / plan.clips)
    return figures | _clip_figures(clips)


def _shots(method: Measurable, studio: Studio, plans: list[ScenePlan], recorder: CaseRecorder) -> list[_Shot]:
    shots = []
    for number, plan in enumerate(plans):
        scene = photograph(studio, plan)
        try:
            detection = method.find(scene.photo, near=scene.face_box)
            shots.append(_Shot(scene, method.estimate(scene.photo, detection)))
        except (NoFaceFoundError, ReconstructionError) as error:
            recorder.problems.append(f"likeness scene {scene.seed}, picture {number}: {type(error).__name__}: {error}")
    return shots


def _mirror_figures(method: Measurable, studio: Studio, photos: list[tuple[Photo, MeasuredFace]]) -> dict[str, Figure]:
    """Landmarks (share of the box) and neutral shape (mm) of photos against those of their mirror images."""
    partner = studio.model.annotations.mirror
    face = studio.face_vertices
    marks, shapes = [], []
    for photo, straight in photos:
        flipped = Photo(photo.pixels.flip(-1), photo.path)
        try:
            other = method.estimate(flipped, method.find(flipped))
        except (NoFaceFoundError, ReconstructionError):
            continue
        pair = straight.landmarks_px[None, :, :2], other.landmarks_px[None, :, :2]
        marks.append(100.0 * mirror_consistency(*pair, MIRROR_68, photo.width - 1.0)[0] / box_size(pair[0])[0])
        if partner is not None:
            ours, theirs = (torch.from_numpy(e.vertices_mm(expression=False)) for e in (straight, other))
            theirs = (theirs[partner] * torch.tensor([-1.0, 1.0, 1.0]))[face][None]
            fitted = apply_similarity(theirs, *similarity_from_points(theirs, ours[face][None], with_scale=False))
            shapes.append(float((fitted - ours[face]).norm(dim=-1).mean()))
    figures = {}
    if marks:
        figures["mirror_nme_68"] = Figure.of(bootstrap_interval(np.array(marks)), "%")
    if shapes:
        figures["mirror_neutral_mm"] = Figure.of(bootstrap_interval(np.array(shapes)), "mm")
    return figures


def _together(people: list[list[_Shot]]) -> tuple[list[_Shot], ndarray]:
    shots = [shot for shots in people for shot in shots]
    return shots, np.array([shot.scene.person for shot in shots])


def _separation_figures(albums: list[list[_Shot]]) -> dict[str, Figure]:
    shots, people = _together(albums)
    if len(np.unique(people)) < 2 or len(people) == len(np.unique(people)):
        return {}
    found = separation(np.stack([shot.identity for shot in shots]), people)
    count = len(np.unique(people))
    return {
        "same_person_auc": Figure.bare(found.auc, "1", count, "higher"),
        "same_person_d_prime": Figure.bare(found.d_prime, "1", count, "higher"),
        "within_over_between": Figure.bare(found.within / max(found.between, 1e-9), "1", count),
    }


def _leakage_figures(faces: list[list[_Shot]]) -> dict[str, Figure]:
    """Only the face changes: whatever identity does then is leakage."""
    faces = [shots for shots in faces if len(shots) > 1]
    if len(faces) < 2:
        return {}
    shots, people = _together(faces)
    cause = np.stack([shot.scene.coefficients.exp[0].double().numpy() for shot in shots])
    found = leakage(np.stack([shot.identity for shot in shots]), cause, people)
    return {
        "expression_leak_variance": Figure.bare(found.variance_ratio, "1", len(faces)),
        "expression_leak_r2": Figure.bare(found.r2, "1", len(faces)),
    }


def _drift_figures(turned: list[list[_Shot]]) -> dict[str, Figure]:
    turned = [shots for shots in turned if len(shots) > 1]
    if len(turned) < 2:
        return {}
    shots, people = _together(turned)
    identities = np.stack([shot.identity for shot in shots])
    yaws = np.array([_viewed_yaw(shot.scene) for shot in shots])
    drift = pose_drift(identities, yaws, people)
    names = ("turned_to_30", "turned_30_to_60", "turned_60_to_90")
    return {
        f"identity_drift_{name}": Figure.bare(float(value), "1", len(turned))
        for name, value in zip(names, drift, strict=True)
        if np.isfinite(value)
    }


def _viewed_yaw(scene: Scene) -> float:
    """The turns' plans differ in nothing but this; frames of an album would need the line of sight as well."""
    return float(torch.rad2deg(scene.coefficients.angles[0, 1]))


def _clip_figures(clips: list[list[_Shot]]) -> dict[str, Figure]:
    """Shaking of what moves smoothly, and wandering of what never changes."""
    clips = [shots for shots in clips if len(shots) > 2]
    if not clips:
        return {}
    columns: dict[str, list[float]] = {"jitter_landmarks": [], "jitter_expression": [], "identity_wander": []}
    for shots in clips:
        marks = np.stack([shot.estimate.landmarks_px[:, :2] for shot in shots])
        true_marks = np.stack([shot.scene.landmarks[:, :2].double().numpy() for shot in shots])
        columns["jitter_landmarks"].append(100.0 * landmark_jitter(marks, true_marks))
        exp = np.stack([shot.estimate.coefficients.exp[0].double().numpy() for shot in shots])
        true_exp = np.stack([shot.scene.coefficients.exp[0].double().numpy() for shot in shots])
        columns["jitter_expression"].append(coefficient_jitter(exp, true_exp))
        columns["identity_wander"].append(identity_wander(np.stack([shot.identity for shot in shots])))
    units = {"jitter_landmarks": "%", "jitter_expression": "1", "identity_wander": "1"}
    return {name: Figure.bare(float(np.mean(values)), units[name], len(clips)) for name, values in columns.items()}
