"""Every answer is held against what was seen: a face must lie where the detector saw it."""

import math
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from facewright.align.square import GUESSED
from facewright.pipeline.face import FaceInPhoto

MOST_POINT_ERROR = 0.2
"""Farthest that the five points of an answer may lie from those seen, on average, as a share of the face's size.

Right answers on 15 photographs, four orientations each: 0.010 in the middle, 0.022 at most. On 59 drawn scenes to 0.41,
all above 0.12 in heads that are turned away: there the detector errs (the answers were within 4 % of the truth), as a
network that is sure of its own landmarks may say.
"""
REMEDY = "is it a human face, and the right way up? --landmarks takes points of your own"
SIZE_TO_EYES = 1.584
"""Eye distances in the root mean square distance of the five points from their middle, seen from the front; hardly
fewer in profile, where the eyes fall together."""
SURE_DOUBT, MOST_ANSWER_DOUBT = 0.02, 0.03
"""Doubt of a network about its landmarks, as a share of the crop, up to which it may contradict the detector, and with
which its answer is kept at all. Right answers on the same pictures: 0.008 in the middle, 0.013 at most; the two wrong
ones, a profile turned by 90 and 180 degrees: 0.034 and 0.067."""

SURE_PRESENCE, SURE_SCORE = 0.9, 0.7
"""Confidence of the detector's two networks below both of which what it saw is not believed, unless by a network of the
method's own: nobody else says whether a face is there, and which way up. On 120 held-out scenes in four orientations
1 of 415 right readings is refused and 5 of 9 wrong ones (off by more than half the face's size). The limits were chosen
by 70 of the scenes; on the 50 others no right one is refused and 3 of 7 wrong ones. The fit's answers lie within 4.5 %
of what was seen whether right (37 scenes) or wrong (3, one turned): its five points tell nothing."""

IDENTITY_DOUBT = {"open": 0.958}
"""Doubt about the coefficients of the identity, on average, above which what was seen is no person's face, by the name
of the weights. They are in units of the population's deviation: a network that doubts them as much as that has read
nobody, and its answer is a mean face. Chosen on drawings: 2 of 263 right readings are refused (125 in hard scenes, 138
in 40 more scenes, each in four orientations), 7 of 8 that are off by more than half the face's size (in the eighth, a
profile, the network is right and the detector is not), 14 of 45 animals that the detector finds and 54 of 55 cartoons.
On others: see docs/flow.md. Of 15 photographs the most doubted is at 0.969."""
FRONT_PRESENCE, FRONT_YAW = 0.95, 0.6
"""Of methods that doubt no identity: confidence of the detector's mesh network below which what looks into the camera,
to so many radians of yaw, is no person's face: it is read surely from there, and less surely only in profile. On the
same drawings 11 of 263 right readings are refused, 12 of 45 animals, 12 of 55 cartoons. A portrait that was cut by its
border, darkened, made noisy or small, or had a mask or sunglasses painted on, is read to 99.9 % and more, half covered
to 98.0 %, and blurred by an eighth of the eye distance it is refused (59 %). ``benchmarks/accuracy_refusals.py``
measures both, other limits too."""


@dataclass(frozen=True)
class Contradiction:
    """Why an answer is not believed.

    Attributes:
        point_error: mean distance of the answer's five points from those that were seen, as a share of the face's size.
        doubt: of the network about its landmarks, as a share of the crop; None of methods that know no doubts.
        reason: for people.
    """

    point_error: float
    doubt: float | None
    reason: str


def contradiction(
    five_of_answer: Float[Tensor, "5 2"], five_seen: Float[Tensor, "5 2"], *, doubt: float | None = None
) -> Contradiction | None:
    """What speaks against an answer; None if nothing does.

    Args:
        five_of_answer: eye centres, nose tip and mouth corners of the reconstruction, photo pixels.
        five_seen: those that the detector found or a person marked.
        doubt: mean deviation of the network's landmarks as a share of the crop; None for methods that know no doubts.
    """
    error = point_error(five_of_answer, five_seen)
    reasons = []
    is_sure = doubt is not None and doubt <= SURE_DOUBT
    if not error <= (math.inf if is_sure else MOST_POINT_ERROR):  # nor where it is not a number
        reasons.append(
            f"expected eyes, nose and mouth within {MOST_POINT_ERROR:.0%} of the face's size from where they were "
            f"seen, received {error:.0%}"
        )
    if doubt is not None and not doubt <= MOST_ANSWER_DOUBT:
        reasons.append(
            f"expected landmarks that are sure to {MOST_ANSWER_DOUBT:.1%} of the crop, received a doubt of {doubt:.1%}"
        )
    if not reasons:
        return None
    return Contradiction(error, doubt, f"{'; '.join(reasons)}; {REMEDY}")


def point_error(five: Float[Tensor, "5 2"], five_seen: Float[Tensor, "5 2"]) -> float:
    """Mean distance of five points from those that were seen, as a share of the face's size."""
    seen = five_seen.double()
    size = SIZE_TO_EYES * (seen - seen.mean(0)).square().sum(-1).mean().sqrt()
    return float((five.to(seen) - seen).norm(dim=-1).mean() / size)


def speaks_against(face: FaceInPhoto) -> str | None:
    """Why a face is not believed, for people; None if nothing speaks against it, or nothing can be compared."""
    seen = face.detection
    if face.belief is None and seen.mesh is not None and seen.mesh_score < SURE_PRESENCE and seen.score < SURE_SCORE:
        return (
            "expected a face that one of the detector's networks is sure of, to "
            f"{SURE_PRESENCE:.0%} or {SURE_SCORE:.0%}, received {seen.mesh_score:.0%} and {seen.score:.0%}; {REMEDY}"
        )
    nobody = no_person(face)
    if nobody is not None:
        return nobody
    if face.topology.annotations.ibug68 is None:
        return None
    doubt = None if face.belief is None else float(face.belief.sigma_px.mean()) / face.aligned.camera_crop.width
    five_seen = face.five_points if seen.score == GUESSED else seen.five  # nobody has seen any
    found = contradiction(face.five_points, five_seen, doubt=doubt)
    return None if found is None else found.reason


def no_person(face: FaceInPhoto) -> str | None:
    """Why what was seen is no person's face, for people; None if it may be one, or somebody said so.

    No other method would do better with it: they would make a person of an animal.
    """
    seen = face.detection
    if seen.mesh is None:  # its points are somebody's, or of a network that was sure of them
        return None
    limit = IDENTITY_DOUBT.get(face.weights)
    if limit is not None and face.dense is not None:
        doubt = float(face.dense.id_sigma.mean())
        if doubt <= limit:
            return None
        found = f"whose identity the network doubts to at most {limit:.1%} of people's spread, received {doubt:.1%}"
    elif seen.mesh_score < FRONT_PRESENCE and abs(float(face.pose.angles[0, 1])) < FRONT_YAW:
        found = (
            f"which the detector's mesh network is sure of to {FRONT_PRESENCE:.0%} unless it is turned away, received "
            f"{seen.mesh_score:.1%}"
        )
    else:
        return None
    return f"expected a person's face, {found}: an animal, a drawing, or much covered or blurred; {REMEDY}"
