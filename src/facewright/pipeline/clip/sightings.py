"""What the network said of every face in every frame, on disk in parts: a clip of any length takes the memory of one.

A part is a safetensors file: one row a sighting, and beside them where the tracker was after its last frame, so that a
run that was killed goes on there.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from facewright.files import written_whole
from facewright.geometry.frames import apply_homogeneous, scale_of
from facewright.pipeline.album.observations import sharpness
from facewright.pipeline.clip.following import Followed, PeopleTracker, Track
from facewright.records import AlignedFace, DenseBelief, LandmarkBelief, TensorRecord

FORMAT = "facewright-sightings/1"
FRAMES_A_PART = 256
"""Frames of which a part tells."""
MOST_HEADER = 10_000_000


@dataclass(frozen=True)
class Sighting(TensorRecord):
    """One face in one frame; pixels are the frame's.

    Attributes:
        frame: number of the frame.
        time_s: when it is shown.
        person: number of the person.
        shot: see ``Track``.
        doubt: of the network, as a share of the crop.
        sharpness: of the crop.
        camera: focal length and principal point of the frame's own camera for this crop, px.
        roll: of the crop, radians.
        five: the five points.
        id: of the network's answer.
        exp: likewise.
        tex: likewise.
        angles: likewise, before the crop's camera.
        translation: likewise.
        sh: likewise.
        points_px: what it sees of the face: many points, or the landmarks.
        sigma_px: deviations of those.
        depth_px: depths behind the head's origin; none from a network that sees landmarks alone.
        depth_sigma_px: deviations of those.
        exp_sigma: of the expression coefficients; none likewise.
    """

    frame: int
    time_s: float
    person: int
    shot: int
    doubt: float
    sharpness: float
    roll: float
    camera: Float[Tensor, "3"]
    five: Float[Tensor, "5 2"]
    id: Float[Tensor, " I"]
    exp: Float[Tensor, " E"]
    tex: Float[Tensor, " T"]
    angles: Float[Tensor, "3"]
    translation: Float[Tensor, "3"]
    sh: Float[Tensor, "9 3"]
    points_px: Float[Tensor, "N 2"]
    sigma_px: Float[Tensor, " N"]
    depth_px: Float[Tensor, " D"]
    depth_sigma_px: Float[Tensor, " D"]
    exp_sigma: Float[Tensor, " S"]


_NUMBERS = ("frame", "time_s", "person", "shot", "doubt", "sharpness", "roll")
_TENSORS = tuple(entry.name for entry in fields(Sighting) if entry.name not in _NUMBERS)


@dataclass(frozen=True)
class Sightings:
    """Many of them, by columns.

    Attributes:
        numbers: of ``Sighting``, a column each.
        tensors: of ``Sighting``, stacked.
    """

    numbers: dict[str, Float[Tensor, " R"]]
    tensors: dict[str, Tensor]

    def __len__(self) -> int:
        return len(self.numbers["frame"])

    def __iter__(self) -> Iterator[Sighting]:
        for row in range(len(self)):
            whole: dict[str, Any] = {name: self.numbers[name][row].item() for name in _NUMBERS}
            whole |= {name: int(whole[name]) for name in ("frame", "person", "shot")}
            whole |= {name: self.tensors[name][row] for name in _TENSORS}
            yield Sighting(**whole)


def sighting_of(followed: Followed, frame: int, time_s: float) -> Sighting:
    """What is kept of a followed face."""
    glance, track = followed.face.glance, followed.track
    aligned, answer = glance.aligned, glance.coefficients
    points, sigma, depth, depth_sigma = _in_frame(aligned, glance.belief, glance.dense)
    camera = aligned.camera_photo
    nothing = sigma.new_zeros(0)
    return Sighting(
        frame,
        time_s,
        track.number,
        track.shot,
        glance.doubt,
        sharpness(aligned.crop),
        aligned.roll,
        torch.cat([camera.focal_px, camera.cx, camera.cy]),
        track.five,
        answer.id[0],
        answer.exp[0],
        answer.tex[0],
        answer.angles[0],
        answer.translation[0],
        answer.sh[0],
        points,
        sigma,
        depth,
        depth_sigma,
        nothing if glance.dense is None else glance.dense.exp_sigma,
    )


def _in_frame(
    aligned: AlignedFace, belief: LandmarkBelief, dense: DenseBelief | None
) -> tuple[Float[Tensor, "N 2"], Float[Tensor, " N"], Float[Tensor, " D"], Float[Tensor, " D"]]:
    """Points, depths and their deviations in pixels of the frame."""
    scale = scale_of(aligned.T_photo_crop).to(belief.sigma_px)
    if dense is None:
        nothing = belief.sigma_px.new_zeros(0)
        return apply_homogeneous(aligned.T_photo_crop, belief.points_px), scale * belief.sigma_px, nothing, nothing
    points = apply_homogeneous(aligned.T_photo_crop, dense.points_px)
    return points, scale * dense.sigma_px, scale * dense.depth_px, scale * dense.depth_sigma_px


def write_part(path: Path, sightings: Sequence[Sighting], tracker: PeopleTracker, facts: dict[str, Any]) -> None:
    """Write a part.

    Args:
        path: of the file.
        sightings: in it; none is fine.
        tracker: after the last of its frames.
        facts: JSON-able, to be read back.

    Raises:
        ExportError: it cannot be written.
    """
    tensors = {
        f"number.{name}": torch.tensor([float(getattr(one, name)) for one in sightings], dtype=torch.float64)
        for name in _NUMBERS
    }
    if sightings:
        tensors |= {f"row.{name}": torch.stack([getattr(one, name) for one in sightings]).cpu() for name in _TENSORS}
    if tracker.small is not None:
        tensors["small"] = tracker.small.cpu()
    plain = []
    for k, track in enumerate(tracker.tracks):
        values = {entry.name: getattr(track, entry.name) for entry in fields(track)}
        tensors |= {f"track.{k}.{name}": value.cpu() for name, value in values.items() if isinstance(value, Tensor)}
        plain.append({name: value for name, value in values.items() if not isinstance(value, Tensor)})
    content = {"tracks": plain, "cuts": tracker.cuts, "since": tracker.since, "facts": facts}
    with written_whole(path) as temporary:
        save_file(
            {name: value.contiguous().clone() for name, value in tensors.items()},
            temporary,
            metadata={"format": FORMAT, "content": json.dumps(content)},
        )


def read_part(path: Path) -> tuple[Sightings, dict[str, Any]] | None:
    """What ``write_part`` wrote: sightings and facts; None where there is nothing of ours, or nothing whole."""
    try:
        with safe_open(path, framework="pt") as file:
            content = _content(file)
            numbers = {name: file.get_tensor(f"number.{name}").clone() for name in _NUMBERS}
            held = len(numbers["frame"]) > 0
            tensors = {name: file.get_tensor(f"row.{name}").clone() for name in _TENSORS} if held else {}
        return Sightings(numbers, tensors), dict(content["facts"])
    except (OSError, SafetensorError, ValueError, TypeError, KeyError, RecursionError):
        return None


def resume_tracker(path: Path, tracker: PeopleTracker) -> None:
    """Put a tracker where it was after the last frame of a part that ``read_part`` reads."""
    with safe_open(path, framework="pt") as file:
        content, names = _content(file), set(file.keys())
        device = tracker.flow.device
        tracker.small = file.get_tensor("small").clone().to(device) if "small" in names else None
        tracker.tracks = [
            Track(
                **plain,
                **{
                    name: file.get_tensor(f"track.{k}.{name}").clone().to(device)
                    for name in ("five", "box", "velocity", "looks")
                },
            )
            for k, plain in enumerate(content["tracks"])
        ]
    tracker.cuts, tracker.since = [float(time) for time in content["cuts"]], int(content["since"])


def _content(file: Any) -> dict[str, Any]:
    head = file.metadata() or {}
    text = head.get("content", "")
    if head.get("format") != FORMAT or len(text) > MOST_HEADER:
        raise ValueError("expected sightings of this version")
    return json.loads(text)
