"""Files of a clip: of each person an animated mesh, a face capture and arrays; of all a film, and ``clip.json``."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from facewright.export.film import Film, write_film
from facewright.export.formats import FORMATS, ClipFormat
from facewright.export.moving import FaceMotion, MovingFace
from facewright.files import FileSet
from facewright.geometry.frames import pose_points, project_points
from facewright.geometry.rotations import angles_from_rotation
from facewright.morphable.linear import FaceModel
from facewright.photo.frames import Frame
from facewright.pipeline.album.merged_texture import MergedTexture
from facewright.pipeline.album.outputs import PersonFiles, person_asset
from facewright.pipeline.album.person import Person
from facewright.pipeline.clip.figures import face_size, jitter
from facewright.pipeline.clip.people import Movement
from facewright.pipeline.face import face_before_camera
from facewright.pipeline.views import overlay_of_faces
from facewright.records import MeshAsset

CLIP = "clip.json"
DIGITS = 6


@dataclass(frozen=True)
class ClipPerson:
    """Somebody in a clip.

    Attributes:
        stem: what the names of the files begin with.
        person: who.
        merged: texture; None of face models without texture coordinates.
        movement: in all frames.
        keys: numbers of the frames that say who it is.
        shots: first and last frame of each stretch in which he is seen.
    """

    stem: str
    person: Person
    merged: MergedTexture | None
    movement: Movement
    keys: tuple[int, ...]
    shots: tuple[tuple[int, int], ...]


def add_clip_person(
    files: FileSet, folder: Path, one: ClipPerson, model: FaceModel, formats: Sequence[ClipFormat]
) -> list[str]:
    """Put the files of a person into a set; gives their names."""
    before = len(files.paths)
    contents: dict[ClipFormat, Callable[[], Any]] = {
        "glb": lambda: moving_face(one, model),
        "csv": lambda: one.movement.motion,
        "npz": lambda: clip_arrays(one, model),
    }
    for name in formats:
        if name in contents:
            chosen = FORMATS[f"clip-{name}"]
            chosen.add(files, contents[name](), folder / f"{one.stem}{chosen.suffix}")
    return [path.name for path in files.paths[before:]]


def add_film(
    files: FileSet, folder: Path, stem: str, frames: Iterator[tuple[UInt8[Tensor, "3 H W"], float]], sound: Path
) -> str:
    """Put the film into a set, written as its frames come; gives its name."""
    path = folder / f"{stem}{FORMATS['clip-overlay'].suffix}"
    write_film(Film(frames, sound), files.temporary(path))
    return path.name


def moving_face(one: ClipPerson, model: FaceModel) -> MovingFace:
    """The person's mesh, and how it moves by the morph targets with names; others are in the mesh, at their mean."""
    motion = one.movement.motion
    neutral = replace(one.person.identity, exp=torch.zeros_like(one.person.identity.exp))
    unnamed = [k for k, name in enumerate(model.exp_names) if not name] if any(model.exp_names) else None
    if unnamed is None:
        unnamed = list(range(model.layout.exp))
    neutral.exp[:, unnamed] = motion.weights[:, unnamed].mean(0).to(neutral.exp)
    person = replace(one.person, identity=neutral)
    asset: MeshAsset = person_asset(PersonFiles(one.stem, person, one.merged, (), ""), model)
    return MovingFace(asset, named_motion(motion, model))


def named_motion(motion: FaceMotion, model: FaceModel) -> FaceMotion:
    """The same with weights of the expressions that have names alone."""
    columns = [k for k, name in enumerate(model.exp_names) if name]
    return replace(motion, weights=motion.weights[:, columns], names=tuple(model.exp_names[k] for k in columns))


def clip_arrays(one: ClipPerson, model: FaceModel) -> dict[str, Tensor]:
    """Everything as arrays: identity, and a row a frame of times, expression, pose, light and landmarks."""
    motion, camera, identity = one.movement.motion, one.movement.motion.camera, one.person.identity
    found = {
        "times_s": motion.times_s,
        "frames": torch.tensor(one.movement.frames),
        "id": identity.id,
        "tex": identity.tex,
        "exp": motion.weights,
        "angles": angles_from_rotation(motion.rotations),
        "translation": motion.translations,
        "sh": one.movement.sh,
        "camera": torch.stack([camera.focal_px[0], camera.cx[0], camera.cy[0]]),
        "size": torch.tensor([camera.width, camera.height]),
        "distance_dm": torch.tensor(camera.distance_dm),
    }
    if model.annotations.ibug68 is not None:
        found["landmarks_68"] = landmarks_of(one, model)
        found["landmarks_68_frame_by_frame"] = landmarks_of(one, model, one.movement.before)
    return found


def landmarks_of(one: ClipPerson, model: FaceModel, motion: FaceMotion | None = None) -> Float[Tensor, "N 68 2"]:
    """iBUG-68 in pixels of the frames (3D definition)."""
    motion = one.movement.motion if motion is None else motion
    ids = model.annotations.ibug68
    if ids is None:
        return motion.translations.new_zeros(len(motion.times_s), 0, 2)
    identity = one.person.identity.id.expand(len(motion.times_s), -1)
    points = model.points(ids, identity, motion.weights.to(identity)).to(motion.translations)
    world = pose_points(points, angles_from_rotation(motion.rotations), motion.translations)
    return project_points(world, motion.camera)[..., :2]


def overlay_frame(frame: Frame, people: Sequence[ClipPerson], model: FaceModel, method: str) -> UInt8[Tensor, "3 H W"]:
    """A frame with the faces that are seen in it drawn in their places."""
    photo = frame.photo.to(model.mean_shape.device)
    faces = []
    for one in people:
        place = one.movement.place_of.get(frame.number)
        if place is not None:
            coefficients = one.movement.coefficients(place, one.person.identity)
            camera = one.movement.motion.camera.to(photo.pixels.device)
            faces.append(face_before_camera(photo, coefficients, camera, model, method))
    return overlay_of_faces(faces, photo)


def person_document(one: ClipPerson, model: FaceModel, names: list[str], frames: int) -> dict[str, Any]:
    """What ``clip.json`` says of a person."""
    movement, found = one.movement, landmarks_of(one, model)
    document: dict[str, Any] = {
        "name": one.stem,
        "frames": len(movement.frames),
        "shots": [{"first": first, "last": last} for first, last in one.shots],
        "lost": lost_frames(movement.frames, frames),
        "key_frames": list(one.keys),
        "outputs": names,
        "identity_drift": 0.0,
    }
    if found.shape[1]:
        size = face_size(found)
        times = movement.motion.times_s
        document |= {
            "face_px": round(size, 2),
            "jitter": round(jitter(times, found, size), DIGITS),
            "jitter_frame_by_frame": round(jitter(times, landmarks_of(one, model, movement.before), size), DIGITS),
        }
    return document


def lost_frames(seen: Sequence[int], frames: int) -> list[list[int]]:
    """First and last of each stretch of frames without the person."""
    marks = [-1, *seen, frames]
    return [[a + 1, b - 1] for a, b in itertools.pairwise(marks) if b - a > 1]
