"""Who is in a clip: one identity, albedo and texture for each person, out of his best and most different frames."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from facewright.export.moving import FaceMotion
from facewright.fit.smoothing import smooth
from facewright.geometry.frames import CROP_FOCAL_PX, CROP_SIZE
from facewright.geometry.rotations import angles_from_rotation, rotation_from_vector, vector_from_rotation
from facewright.pipeline.album.merged_texture import MergedTexture, TextureMerger
from facewright.pipeline.album.observations import observe
from facewright.pipeline.album.person import AlbumMethod, Person, face_in_photo, person_of
from facewright.pipeline.album.weighing import Weighing
from facewright.pipeline.clip.poses import FramePose
from facewright.pipeline.flow import Failure, Reconstructor
from facewright.pipeline.reconstruction import Reconstruction
from facewright.records import Camera, FaceCoefficients, FaceDetection, Photo

MOST_KEYS = 6
"""Frames of a person that decide who it is."""
YAW_BINS_DEG = (-50.0, -25.0, -8.0, 8.0, 25.0, 50.0)
"""Between these the best frame of each is taken, then the best of all."""
KEYS_APART_S = 0.25
"""Frames that are nearer in time say the same."""
MARGIN = 1.0
"""Of the part of a frame around a face, as a share of its crop."""


@dataclass(frozen=True)
class KeyFrame:
    """A frame in which somebody is seen well.

    Attributes:
        frame: its number.
        person: who.
        five: the five points, px.
        side: of the crop, px.
        score: of the network.
    """

    frame: int
    person: int
    five: Float[Tensor, "5 2"]
    side: float
    score: float


@dataclass(frozen=True)
class Sights:
    """What decides which frames of a person are looked at again; columns.

    Attributes:
        frame: numbers of the frames.
        time_s: of them.
        doubt: of the network.
        sharpness: of the crops.
        yaw_deg: of the head in its crop.
        focal_px: of the frame's camera for the crop: how large the face is.
        five: the five points.
    """

    frame: Float[Tensor, " N"]
    time_s: Float[Tensor, " N"]
    doubt: Float[Tensor, " N"]
    sharpness: Float[Tensor, " N"]
    yaw_deg: Float[Tensor, " N"]
    focal_px: Float[Tensor, " N"]
    five: Float[Tensor, "N 5 2"]


def key_frames(person: int, sights: Sights, most: int = MOST_KEYS) -> list[KeyFrame]:
    """The best and most different frames of a person: sharp, large, sure, and seen from many sides.

    Args:
        person: number.
        sights: of the person, in the order of time.
        most: how many.
    """
    doubt = sights.doubt / sights.doubt.median().clamp_min(1e-9)
    quality = sights.sharpness.clamp_min(1e-6).log() + sights.focal_px.log() - doubt
    order = quality.argsort(descending=True).tolist()
    bins = torch.bucketize(sights.yaw_deg, torch.tensor(YAW_BINS_DEG, dtype=sights.yaw_deg.dtype)).tolist()
    firsts = list({bins[k]: k for k in reversed(order)}.values())
    firsts.sort(key=lambda k: -float(quality[k]))
    chosen: list[int] = []
    for k in [*firsts, *order]:
        apart = all(abs(float(sights.time_s[k] - sights.time_s[j])) >= KEYS_APART_S for j in chosen)
        if apart and len(chosen) < most:
            chosen.append(k)
    side = sights.focal_px * CROP_SIZE / CROP_FOCAL_PX
    return [
        KeyFrame(int(sights.frame[k]), person, sights.five[k].float(), float(side[k]), 1.0 - float(sights.doubt[k]))
        for k in sorted(chosen)
    ]


def face_of(photo: Photo, key: KeyFrame, reconstructor: Reconstructor) -> Reconstruction | Failure:
    """A key frame's face by the whole flow, in the part of the frame around it, which alone is kept.

    Args:
        photo: the frame.
        key: where the face is.
        reconstructor: the loaded flow.
    """
    middle, half = key.five.mean(0), (0.5 + MARGIN) * key.side
    left, top = (max(0, int(value)) for value in (middle - half).tolist())
    right, bottom = (int(value) + 1 for value in (middle + half).tolist())
    part = replace(photo, pixels=photo.pixels[:, top:bottom, left:right].contiguous())
    five = key.five - key.five.new_tensor([left, top])
    box = torch.cat([five.amin(0), five.amax(0)])
    found = replace(reconstructor, fallback=None).faces_in_batch(
        [part], detections=[[FaceDetection(box, key.score, five)]]
    )
    return found[0]


def identify(
    faces: Sequence[Reconstruction], weighing: Weighing, method: AlbumMethod, texture_px: int
) -> tuple[Person, MergedTexture | None]:
    """One identity, albedo and texture out of a person's key frames.

    Args:
        faces: in them.
        weighing: of the frames.
        method: of albums.
        texture_px: side of the texture.
    """
    seen = [observe(face, one) for face, one in zip(faces, weighing.weighed(faces), strict=True)]
    person, model = person_of(seen, method), method.face_model
    if model.uv is None:
        return person, None
    merger = TextureMerger(model.topology, model.decode(person.identity), texture_px)
    sharpest = max(max(one.sharpness for one in seen), 1e-6)
    for face, one, coefficients in zip(faces, seen, person.faces, strict=True):
        merger.add(face_in_photo(face.photo, one, coefficients, model), one.sharpness / sharpest)
    return person, merger.finish()


@dataclass(frozen=True)
class Movement:
    """A person in all frames.

    Attributes:
        frames: their numbers.
        motion: of the head, by the model's own names of expressions.
        sh: light in each.
        before: the motion as each frame alone gives it.
    """

    frames: tuple[int, ...]
    motion: FaceMotion
    sh: Float[Tensor, "N 9 3"]
    before: FaceMotion

    @cached_property
    def place_of(self) -> dict[int, int]:
        """Row of each frame, by its number."""
        return {frame: k for k, frame in enumerate(self.frames)}

    def coefficients(self, k: int, identity: FaceCoefficients) -> FaceCoefficients:
        """The face in the k-th frame, before the motion's camera."""
        motion = self.motion
        return replace(
            identity,
            exp=motion.weights[k : k + 1].to(identity.exp),
            angles=angles_from_rotation(motion.rotations[k])[None].to(identity.exp),
            translation=motion.translations[k : k + 1].to(identity.exp),
            sh=self.sh[k : k + 1].to(identity.exp),
        )


def steadied(
    frames: Sequence[int],
    times_s: Sequence[float],
    shots: Sequence[int],
    poses: Sequence[FramePose],
    names: tuple[str, ...],
    camera: Camera,
    *,
    box: bool,
    late: int | None,
) -> Movement:
    """A person's frames in the light of each other; those of different shots do not know of each other.

    Args:
        frames: their numbers.
        times_s: when they are shown.
        shots: in which of the person's shots each is.
        poses: what each says alone.
        names: of the expressions.
        camera: of the poses.
        box: whether expressions are weights in 0..1.
        late: see ``fit.smoothing.smooth``.
    """
    times = torch.tensor(times_s, dtype=torch.float64)
    exp, turns = torch.stack([pose.exp for pose in poses]), torch.stack([pose.rotation for pose in poses])
    moves, sh = torch.stack([pose.translation for pose in poses]), torch.stack([pose.sh for pose in poses])
    before = FaceMotion(times, turns, moves, exp, names, camera)
    exp_var, turn_var, move_var = (
        torch.stack([getattr(pose, f"{name}_variance") for pose in poses]) for name in ("exp", "turn", "translation")
    )
    found_turns, rest = turns.clone(), torch.cat([moves, exp, sh.flatten(1)], 1)
    found = rest.clone()
    variance = torch.cat([move_var, exp_var, torch.ones_like(sh.flatten(1))], 1)
    light = slice(rest.shape[1] - 27, rest.shape[1])
    for shot in sorted(set(shots)):
        rows = torch.tensor([k for k, own in enumerate(shots) if own == shot])
        middle = turns[rows[0]] if late is not None else _mean_rotation(turns[rows])
        vectors = vector_from_rotation(middle.T @ turns[rows])
        # variances are about the world's axes; a turn's own axes are near enough to them for weights
        vectors = smooth(times[rows], vectors, turn_var[rows], groups=[slice(0, 3)], late=late)
        found_turns[rows] = middle @ rotation_from_vector(vectors)
        found[rows] = smooth(times[rows], rest[rows], variance[rows], groups=[slice(0, 3), light], late=late)
    moves, exp, flat = found.split([3, exp.shape[1], 27], 1)
    exp = exp.clamp(0.0, 1.0) if box else exp
    return Movement(
        tuple(frames), FaceMotion(times, found_turns, moves, exp, names, camera), flat.unflatten(1, (9, 3)), before
    )


def _mean_rotation(rotations: Float[Tensor, "N 3 3"]) -> Float[Tensor, "3 3"]:
    """The rotation nearest to all (chordal mean: Hartley et al. 2013)."""
    u, _, vh = torch.linalg.svd(rotations.mean(0))
    sign = torch.ones(3).to(u)
    sign[2] = torch.linalg.det(u @ vh).sign()
    return (u * sign) @ vh
