"""How often what is no person is refused, and how often a person is.

    python benchmarks/accuracy_refusals.py [--count 40] [--first 0] [--kinds people animals cartoons] [--sweep]
    python benchmarks/accuracy_refusals.py --photos FOLDER [--sweep]

People are the hard scenes that the networks are measured on; animals are heads with a muzzle, a dark nose and fur;
cartoons are flat drawings. ``--sweep`` prints what other limits than those of ``pipeline/answers.py`` would refuse: of
the network's doubt about the identity, and of the confidence of the detector's mesh network.
"""

import argparse
import copy
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from facewright.detect import detect_faces
from facewright.errors import NoFaceFoundError, ReconstructionError
from facewright.photo import photo_from_array, read_photo
from facewright.pipeline.answers import FRONT_PRESENCE, FRONT_YAW, IDENTITY_DOUBT, speaks_against
from facewright.pipeline.batch import photo_paths
from facewright.pipeline.flow import Reconstructor, load_reconstructor
from facewright.records import Photo
from facewright.synthetic import HELD_OUT_SEED, Studio, open_studio, photograph, plan_plain_scene, plan_scene

FIRST_SEED = HELD_OUT_SEED + 50_000
"""Of the scenes: none that other figures are of."""
FURS = ((0.25, 0.14, 0.06), (0.5, 0.45, 0.38), (0.08, 0.07, 0.06), (0.55, 0.35, 0.15), (0.75, 0.72, 0.68))
DOUBTS = (0.972, 0.974, 0.975, 0.976, 0.978)
PRESENCES = (0.9, 0.95, 0.98, 0.99, 0.999, 0.9999)
YAWS_DEG = (20, 30, 35, 40, 50)
KINDS = ("people", "animals", "cartoons")


@dataclass(frozen=True)
class Seen:
    """The largest face of a picture."""

    presence: float
    doubt: float
    yaw: float
    reason: str | None


def main() -> int:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=40, help="pictures of each kind")
    parser.add_argument("--first", type=int, default=0, help="number of the first")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--photos", type=Path, help="people in a folder instead")
    parser.add_argument("--sweep", action="store_true", help="other limits too")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    flow, studio = replace(load_reconstructor(refine=0), check=None), open_studio()
    if arguments.photos is not None:
        pictures = {"photographs": (read_photo(path) for path in photo_paths([arguments.photos]))}
    else:
        numbers = range(arguments.first, arguments.first + arguments.count)
        pictures = {kind: (picture(kind, studio, number) for number in numbers) for kind in arguments.kinds}
    for kind, photos in pictures.items():
        found = list(looked_at(flow, photos))
        faces = [face for face in found if face is not None]
        refused = sum(face.reason is not None for face in faces)
        print(f"{kind:12} {len(found)} pictures, {len(faces)} faces found, {refused} refused", flush=True)
        for doubt in DOUBTS if arguments.sweep else ():
            print(f"    identity doubted above {doubt}: {sum(face.doubt > doubt for face in faces)}")
        for presence in PRESENCES if arguments.sweep else ():
            counts = [sum(f.presence < presence and f.yaw < math.radians(yaw) for f in faces) for yaw in YAWS_DEG]
            said = ", ".join(f"{count} within {yaw} degrees" for count, yaw in zip(counts, YAWS_DEG, strict=True))
            print(f"    presence below {presence}: {said}")
    print(
        f"limits: identity {IDENTITY_DOUBT[flow.weights]}; presence {FRONT_PRESENCE}, "
        f"{math.degrees(FRONT_YAW):.0f} degrees of yaw, where no identity is doubted"
    )
    return 0


def looked_at(flow: Reconstructor, photos: Iterator[Photo]) -> Iterator[Seen | None]:
    """What the flow makes of each."""
    for photo in photos:
        detections = detect_faces(photo, flow.detector, max_faces=1)
        try:
            (face,) = flow.faces_in(photo, detections=detections)
        except (NoFaceFoundError, ReconstructionError):
            yield None
            continue
        doubt = math.nan if face.dense is None else float(face.dense.id_sigma.mean())
        yield Seen(detections[0].mesh_score, doubt, abs(float(face.pose.angles[0, 1])), speaks_against(face))


def picture(kind: str, studio: Studio, number: int) -> Photo:
    """One picture of a kind."""
    if kind == "people":
        return photograph(studio, plan_scene(studio, FIRST_SEED + number)).photo
    rng = np.random.default_rng([KINDS.index(kind), number])
    if kind == "cartoons":
        return cartoon(rng)
    other = animal(studio, rng)
    return photograph(other, plan_plain_scene(other, FIRST_SEED + number, size=400)).photo


def animal(studio: Studio, rng: np.random.Generator) -> Studio:
    """A studio whose people have a muzzle, a broad dark nose, a sloping forehead, round eyes and fur."""
    model = copy.deepcopy(studio.model)
    rest = model.mean_shape.clone()
    marks = rest[studio.ibug68]
    before = rest[:, 2] > 0

    def near(place: Float[Tensor, " A"], width: float) -> Float[Tensor, " V"]:
        return torch.exp(-(rest[:, :2] - place[:2]).square().sum(-1) / (2 * width**2)) * before

    muzzle, nose = near((marks[33] + marks[51]) / 2, float(rng.uniform(0.25, 0.45))), near(marks[30], 0.12)
    push, above = float(rng.uniform(0.4, 1.2)), (rest[:, 1] - marks[27, 1]).clamp_min(0.0)
    shape = rest.clone()
    shape[:, 2] += push * muzzle - float(rng.uniform(0.2, 0.8)) * above
    shape[:, 1] -= 0.15 * push * muzzle
    shape[:, 0] *= (1 + float(rng.uniform(0.2, 1.0)) * nose) * (
        1 - float(rng.uniform(0.0, 0.25)) * above.clamp_max(1.0)
    )
    for eye in (marks[36:42].mean(0), marks[42:48].mean(0)):
        shape[:, :2] += float(rng.uniform(0.0, 0.5)) * near(eye, 0.22)[:, None] * (rest - eye)[:, :2]
    eyes, lips, tip = (part[:, None] for part in (studio.region("eyes"), studio.region("lips"), 1.5 * nose))
    fur = (
        torch.tensor(FURS[int(rng.integers(len(FURS)))])
        * torch.from_numpy(rng.uniform(0.5, 1.4, (len(rest), 1))).float()
    )
    fur = torch.lerp(fur, torch.full_like(fur, 0.02), tip.clamp(0.0, 1.0))
    fur = torch.lerp(fur, torch.full_like(fur, 0.02), 0.7 * lips)
    with torch.no_grad():
        model.mean_albedo.copy_(0.35 * eyes * model.mean_albedo + (1 - eyes) * fur)
        model.mean_shape.copy_(shape)
        model.albedo_basis.zero_()
    return Studio(model)


def cartoon(rng: np.random.Generator, size: int = 480) -> Photo:
    """A round face with dots for eyes, half of them in colours that no skin has, some with a cat's ears."""
    canvas = np.zeros((size, size, 3), np.uint8) + rng.integers(60, 255, 3).astype(np.uint8)
    x, y, r = (int(size * rng.uniform(*span)) for span in ((0.4, 0.6), (0.42, 0.58), (0.2, 0.32)))
    skin = (230, 190, 160) if rng.random() < 0.5 else tuple(rng.integers(60, 255, 3).tolist())
    dark, smooth = (50, 30, 25), cv2.LINE_AA
    cv2.ellipse(canvas, (x, y), (int(r * rng.uniform(0.8, 1.15)), r), 0, 0, 360, skin, -1, smooth)
    eye_y, eye_x, eye = (int(r * rng.uniform(*span)) for span in ((-0.3, -0.1), (0.3, 0.45), (0.1, 0.24)))
    ears, brows = rng.random() < 0.6, rng.random() < 0.7
    for side in (-1, 1):
        if ears:
            ear = np.array([[0.9, -1.3], [0.2, -0.85], [0.9, -0.3]]) * r * [side, 1] + [x, y]
            cv2.fillPoly(canvas, [ear.astype(np.int32)], skin, smooth)
        place = (x + side * eye_x, y + eye_y)
        cv2.ellipse(canvas, place, (eye, int(eye * rng.uniform(0.7, 1.4))), 0, 0, 360, (250, 250, 250), -1, smooth)
        cv2.circle(canvas, place, max(2, int(0.55 * eye)), tuple(rng.integers(0, 120, 3).tolist()), -1, smooth)
        cv2.circle(canvas, place, max(1, int(0.3 * eye)), (10, 10, 10), -1, smooth)
        if brows:
            brow = [(place[0] + end, place[1] - int(1.65 * eye)) for end in (-eye, eye)]
            cv2.line(canvas, brow[0], brow[1], dark, max(2, eye // 5), smooth)
    nose = (x, y + int(0.2 * r))
    if rng.random() < 0.5:
        cv2.ellipse(canvas, nose, (int(0.12 * r), int(0.09 * r)), 0, 0, 360, dark, -1, smooth)
    else:
        ridge = np.array([[0.0, -0.3], [-0.1, 0.0], [0.08, 0.0]]) * r + nose
        cv2.polylines(canvas, [ridge.astype(np.int32)], False, dark, max(2, r // 50), smooth)
    mouth = (int(r * rng.uniform(0.2, 0.4)), int(r * rng.uniform(0.05, 0.25)))
    filled = max(2, r // 30) if rng.random() < 0.6 else -1
    cv2.ellipse(canvas, (x, y + int(0.45 * r)), mouth, 0, 0, 180, (60, 20, 30), filled, smooth)
    return photo_from_array(cv2.GaussianBlur(canvas, (0, 0), 1.0))


if __name__ == "__main__":
    sys.exit(main())
