"""Photos in, faces out: search, confirm by the dense points, name the five points."""

from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from facewright.detect.dense import read_candidates
from facewright.detect.detector import FaceDetector, load_face_detector
from facewright.detect.landmarks import box_from_mesh, five_from_mesh, steadied_five
from facewright.detect.search import (
    CANDIDATE_SCORE,
    FINE_SIZE,
    SMALLEST_FOUND,
    agreed,
    large_candidates,
    small_candidates,
    turned_candidates,
    upright_candidates,
    views_of,
)
from facewright.detect.suppression import Candidates, overlap
from facewright.records import FaceDetection, Photo

MIN_PRESENCE, SURE_PRESENCE = 0.5, 0.9999
"""Least face confidence of the mesh network for a face, and for one that is surely read the right way up. False alarms
of BlazeFace measure below 0.5, rightly read faces above 0.99999, faces read upside down anything up to 0.999."""

MOUTH_PER_EYES = 0.8
"""Width of a mouth over the distance of the eyes."""
MIN_PROFILE_SCORE, MIN_PROFILE_PRESENCE = 0.75, 0.03
"""From 70 degrees on the mesh network doubts faces that BlazeFace still sees well; 0 of 110 false alarms pass these."""

MAX_UNION, MAX_INSIDE = 0.35, 0.7
"""Most overlap of two faces: intersection over union, and over the smaller box."""

LARGE_FACE_SHARE, SMALL_FACE_SHARE, FINE_FACE_SHARE = 1 / 8, 1 / 86, SMALLEST_FOUND / FINE_SIZE
"""Sizes of faces as shares of the photo's longer side: one that ends the search; the smallest searched for; and the
smallest that the first passes find."""

GROUP = 3
"""Faces that make a group: among so many, smaller ones are likely."""


class Detector(Protocol):
    """Anything that finds faces in a photo; adapters of other detectors look like this."""

    def __call__(self, photo: Photo) -> list[FaceDetection]:
        """Faces of one photo, largest first; an empty list if there are none."""
        ...


def detect_faces(
    photo: Photo,
    detector: FaceDetector | None = None,
    *,
    min_score: float = 0.5,
    max_faces: int | None = None,
    min_face_px: float | None = None,
    try_turned: bool = True,
    mesh_passes: int = 3,
    mirrored: bool = True,
) -> list[FaceDetection]:
    """Find the faces of one photo; ``detect_faces_in_batch`` explains the arguments."""
    return detect_faces_in_batch(
        [photo],
        detector,
        min_score=min_score,
        max_faces=max_faces,
        min_face_px=min_face_px,
        try_turned=try_turned,
        mesh_passes=mesh_passes,
        mirrored=mirrored,
    )[0]


@torch.no_grad()
def detect_faces_in_batch(
    photos: list[Photo],
    detector: FaceDetector | None = None,
    *,
    min_score: float = 0.5,
    max_faces: int | None = None,
    min_face_px: float | None = None,
    try_turned: bool = True,
    mesh_passes: int = 3,
    mirrored: bool = True,
) -> list[list[FaceDetection]]:
    """Find the faces of several photos, of any sizes; the networks run on all of them together.

    Every photo is searched for large faces; and at a larger size too, unless a large one is sure and nothing else hints
    at a face, or where small ones are asked for. Where no face is sure, it is searched again turned by 90, 180 and 270
    degrees; where no large face is found, or a group, once more at a still larger size. Of one face seen in several
    orientations the one stays that the mesh network is surest of.

    Args:
        photos: of any size and device.
        detector: from ``load_face_detector``, on any device (small views of the photos travel there); loaded if None.
        min_score: least confidence of a face, 0..1.
        max_faces: keep only the largest; all if None.
        min_face_px: width of the smallest face of interest, photo px. None: faces down to a twenty-fourth of the longer
            side; down to an eighty-sixth where no face is larger than an eighth of it, or where there are three.
        try_turned: look for sideways and upside-down faces where there is no upright one.
        mesh_passes: how often the dense points are read at most; each pass cuts the face out by the points of the one
            before, and ends where they no longer move it.
        mirrored: read the dense points in a mirror too and average: steadier, at twice the cost.

    Returns:
        Per photo, its faces, largest first.
    """
    if not photos:
        return []
    detector = detector or load_face_detector()
    faces: list[list[FaceDetection]] = [[] for _ in photos]

    def confirm(which: list[int], candidates: list[Candidates]) -> None:
        likely = [c.above(min_score) for c in candidates]
        read = read_candidates([photos[i] for i in which], likely, detector.mesh, passes=mesh_passes, mirrored=mirrored)
        for i, group, (points, presence) in zip(which, likely, read, strict=True):
            faces[i] = distinct_faces(faces[i] + _confirmed(group, points, presence))

    views = [views_of(photo) for photo in photos]
    large = large_candidates(views, detector)
    few = [i for i, found in enumerate(large) if min_face_px is None and may_be_all(photos[i], found, min_score)]
    confirm(few, agreed([large[i].above(CANDIDATE_SCORE) for i in few]))
    rest = [i for i, found in enumerate(faces) if not (found and all(map(is_sure, found)))]
    for i in rest:
        faces[i] = []
    confirm(rest, upright_candidates([views[i] for i in rest], detector, [large[i] for i in rest]))
    doubtful = [i for i, found in enumerate(faces) if try_turned and not any(map(is_sure, found))]
    confirm(doubtful, turned_candidates([views[i] for i in doubtful], detector))
    for i in doubtful:  # what an orientation reads surely outweighs what the others make of it
        faces[i] = [face for face in faces[i] if face.mesh_score > SURE_PRESENCE] or faces[i]
    for i, photo in enumerate(photos):
        width = _smallest_wanted(photo, faces[i], min_face_px)
        enough = max_faces is not None and len(faces[i]) >= max_faces
        if width is not None and not enough:
            confirm([i], [small_candidates(photo, width, detector)])
    return [found[:max_faces] for found in faces]


@torch.no_grad()
def possible_faces(photo: Photo, detector: FaceDetector, *, most: int = 3) -> list[FaceDetection]:
    """Upright candidates that BlazeFace sees and the mesh network does not confirm: some are profiles, some no faces.

    For whoever can tell: a network that knows profiles. Mouth corners are put beside the middle of the mouth, as far
    apart as the eyes make likely; there is no mesh.

    Args:
        photo: of any size.
        detector: from ``load_face_detector``.
        most: so many at most, the likeliest first.
    """
    (candidates,) = upright_candidates([views_of(photo)], detector)
    order = candidates.scores.argsort(descending=True)[:most].tolist()
    return [
        FaceDetection(candidates.boxes[i], float(candidates.scores[i]), _five_of_keypoints(candidates.keypoints[i]))
        for i in order
    ]


def _five_of_keypoints(keypoints: Float[Tensor, "6 2"]) -> Float[Tensor, "5 2"]:
    right_eye, left_eye, nose_tip, mouth = keypoints[:4]
    half = MOUTH_PER_EYES / 2 * (left_eye - right_eye)
    return torch.stack([right_eye, left_eye, nose_tip, mouth - half, mouth + half])


def is_sure(face: FaceDetection) -> bool:
    """Whether the dense points were surely read the right way up: the network is sure and the eyes are fairly level."""
    across, down = (face.five[1] - face.five[0]).tolist()
    return face.mesh_score > SURE_PRESENCE and across > abs(down)


def distinct_faces(faces: list[FaceDetection]) -> list[FaceDetection]:
    """Drop what shows a face again, or a piece of one: of two that cover each other the surer one stays.

    Returns:
        Faces, largest first.
    """
    if not faces:
        return []
    by_score = sorted(faces, key=_confidence, reverse=True)
    boxes = torch.stack([face.box for face in by_score])
    union, inside = overlap(boxes, boxes)
    clash = (union > MAX_UNION) | (inside > MAX_INSIDE)
    kept: list[int] = []
    for i in range(len(by_score)):
        if not any(bool(clash[i, k]) for k in kept):
            kept.append(i)
    return sorted((by_score[i] for i in kept), key=lambda face: -float((face.box[2:] - face.box[:2]).prod()))


def _confidence(face: FaceDetection) -> tuple[float, float]:
    """What to go by between two readings of one face: the mesh network where it is sure, then BlazeFace."""
    return face.mesh_score if face.mesh_score > SURE_PRESENCE else 0.0, face.score


def _confirmed(
    candidates: Candidates, points: Float[Tensor, "N 468 3"], presence: Float[Tensor, " N"]
) -> list[FaceDetection]:
    """Candidates in which the mesh network sees a face as well, or at least does not rule it out (profiles)."""
    seen = presence >= MIN_PRESENCE
    profile = (presence >= MIN_PROFILE_PRESENCE) & (candidates.scores >= MIN_PROFILE_SCORE)
    return [
        FaceDetection(
            box_from_mesh(points[i]),
            float(candidates.scores[i]),
            steadied_five(five_from_mesh(points[i]), candidates.keypoints[i], float(presence[i])),
            points[i],
            float(presence[i]),
        )
        for i in (seen | profile).nonzero().flatten().tolist()
    ]


def may_be_all(photo: Photo, candidates: Candidates, min_score: float) -> bool:
    """Whether a search for large faces may have been enough: there is one, and nothing beside it hints at another."""
    likely = candidates.above(min_score)
    widths = (likely.boxes[:, 2:] - likely.boxes[:, :2]).amax(-1)
    large = likely.boxes[widths > LARGE_FACE_SHARE * max(photo.width, photo.height)]
    return len(large) > 0 and bool((overlap(candidates.boxes, large)[1] > MAX_INSIDE / 2).any(1).all())


def _smallest_wanted(photo: Photo, faces: list[FaceDetection], min_face_px: float | None) -> float | None:
    """Width of the smallest face to look for beyond the first passes, px; None if they were enough."""
    longer_side = max(photo.width, photo.height)
    if min_face_px is None:
        large = any(float((face.box[2:] - face.box[:2]).amax()) > LARGE_FACE_SHARE * longer_side for face in faces)
        min_face_px = None if large and len(faces) < GROUP else SMALL_FACE_SHARE * longer_side
    return min_face_px if min_face_px and min_face_px < FINE_FACE_SHARE * longer_side else None
