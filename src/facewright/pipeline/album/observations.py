"""What one photo says about one face, kept without the photo: small enough for hundreds, on disk for a run that breaks.

An observation file is a safetensors file: tensors by dotted name, everything else as JSON beside them.
"""

import json
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from facewright.errors import ReconstructionError
from facewright.files import written_whole
from facewright.pipeline.album.weighing import Weighed
from facewright.pipeline.face import FaceInPhoto
from facewright.records import (
    AlignedFace,
    Camera,
    DenseBelief,
    FaceCoefficients,
    FaceDetection,
    LandmarkBelief,
    TensorRecord,
)

FORMAT = "facewright-observation/2"
THUMBNAIL_PX = 32
MOST_HEADER = 10_000_000
SHARP_SIGMA_PX = 1.0
"""Blur before the Laplacian that sharpness is measured with, in the 224 crop: noise of single pixels is none."""
MIDDLE = (0.2, 0.8)
"""Part of the crop, along both sides, that sharpness is measured in: the face."""


@dataclass(frozen=True)
class Observation(TensorRecord):
    """One face of one photo. Coefficients are posed before the crop's camera.

    Attributes:
        detection: where the face is in its photo.
        aligned: its crop.
        single: the face as this photo alone gives it.
        start: what a network answered before the fit; the same face without one.
        belief: where a network saw the landmarks; None if it does not say.
        dense: what it saw besides; None likewise.
        confidence: of each identity coefficient, above 0.
        who: code of who is seen, by the C-Net; None where it does not say.
        descriptor: of who is seen, by the identity network; None where nobody asked it.
        thumbnail: brightness of the crop, small, of mean 0 and deviation 1.
        sharpness: how much fine detail the crop shows of its contrast; of blurred and of small faces little.
        photo: path.
        face: number of the face in its photo, the largest first.
        width: of the photo, px.
        height: of the photo, px.
        method: how the face was found.
        weights: of that method's network.
        kept: file that holds the crop, which is not in memory then (``crop_of``).
        place: of the face in that file.
    """

    detection: FaceDetection
    aligned: AlignedFace
    single: FaceCoefficients
    start: FaceCoefficients
    belief: LandmarkBelief | None
    dense: DenseBelief | None
    confidence: Float[Tensor, " Kid"]
    who: Float[Tensor, " D"] | None
    descriptor: Float[Tensor, " E"] | None
    thumbnail: Float[Tensor, " P"]
    sharpness: float
    photo: str = ""
    face: int = 0
    width: int = 0
    height: int = 0
    method: str = ""
    weights: str = ""
    kept: str = ""
    place: int = 0

    @property
    def yaw_deg(self) -> float:
        """Yaw of the head in its crop."""
        return float(torch.rad2deg(self.single.angles[0, 1]))

    @property
    def doubt(self) -> float:
        """Of the network about its landmarks, as a share of the crop; 0 where nobody says."""
        return 0.0 if self.belief is None else float(self.belief.sigma_px.mean()) / self.aligned.camera_crop.width


_RECORDS: dict[str, type[TensorRecord]] = {
    "detection": FaceDetection,
    "aligned": AlignedFace,
    "aligned.camera_crop": Camera,
    "aligned.camera_photo": Camera,
    "single": FaceCoefficients,
    "start": FaceCoefficients,
    "belief": LandmarkBelief,
    "dense": DenseBelief,
}
"""Records in an observation, by dotted name."""


def observe(face: FaceInPhoto, weighed: Weighed, descriptor: Float[Tensor, " E"] | None = None) -> Observation:
    """Keep what a reconstruction says, without its photo.

    Args:
        face: with coefficients.
        weighed: what it counts for.
        descriptor: of who is seen (``pipeline.identity``); not needed where all are known to be one person.

    Raises:
        ReconstructionError: the method found a mesh alone.
    """
    single, photo = face.coefficients, face.photo
    return Observation(
        face.detection,
        face.aligned,
        single,
        single if face.start is None else face.start,
        face.belief,
        face.dense,
        weighed.confidence,
        weighed.who,
        descriptor,
        thumbnail(face.aligned.crop),
        sharpness(face.aligned.crop),
        photo.path,
        face.face,
        photo.width,
        photo.height,
        face.method,
        face.weights,
    )


def without_crop(seen: Observation, file: Path, place: int) -> Observation:
    """The same without the pixels of its crop, which are in a file."""
    empty = seen.aligned.crop.new_zeros(3, 1, 1)
    return replace(seen, aligned=replace(seen.aligned, crop=empty), kept=str(file), place=place)


def crop_of(seen: Observation) -> Float[Tensor, "3 H W"]:
    """The crop, from memory or from its file.

    Raises:
        ReconstructionError: the file is gone.
    """
    if not seen.kept:
        return seen.aligned.crop
    try:
        with safe_open(seen.kept, framework="pt") as file:
            return file.get_tensor(f"{seen.place}.aligned.crop").clone().to(seen.aligned.crop)
    except (OSError, SafetensorError) as error:
        raise ReconstructionError(
            f"expected the crop of {seen.photo} in {seen.kept}: {error}; give the command again"
        ) from error


def thumbnail(crop_srgb: Float[Tensor, "3 H W"]) -> Float[Tensor, " P"]:
    """Brightness of a crop at ``THUMBNAIL_PX``, of mean 0 and deviation 1."""
    grey = crop_srgb.mean(0)[None, None].float()
    flat = torch.nn.functional.interpolate(grey, size=(THUMBNAIL_PX, THUMBNAIL_PX), mode="area").flatten()
    return (flat - flat.mean()) / flat.std(correction=0).clamp_min(1e-4)


def sharpness(crop_srgb: Float[Tensor, "3 H W"]) -> float:
    """Deviation of a Laplacian of Gaussian over the deviation of brightness, in the middle of a crop.

    Args:
        crop_srgb: 0..1; measured at 224 px.
    """
    grey = crop_srgb.mean(0)[None, None]
    if grey.shape[-1] != 224:
        grey = torch.nn.functional.interpolate(grey, size=(224, 224), mode="area")
    place = torch.arange(-3, 4).to(grey)
    bell = torch.exp(-0.5 * (place / SHARP_SIGMA_PX).square())
    bell = bell / bell.sum()
    smooth = torch.nn.functional.conv2d(grey, (bell[:, None] * bell[None, :])[None, None])
    ring = grey.new_tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]])[None, None]
    edges = torch.nn.functional.conv2d(smooth, ring)
    low, high = (round(share * edges.shape[-1]) for share in MIDDLE)
    middle = (..., slice(low, high), slice(low, high))
    return float(edges[middle].std() / smooth[middle].std().clamp_min(1e-3))


def write_observations(path: Path, found: list[Observation], facts: dict[str, Any]) -> None:
    """Write the faces of one photo.

    Args:
        path: file.
        found: its faces; none is fine.
        facts: JSON-able, to be read back.

    Raises:
        ExportError: it cannot be written.
    """
    tensors: dict[str, Tensor] = {}
    plain = [_flattened(entry, f"{k}.", tensors) for k, entry in enumerate(found)]
    head = {"format": FORMAT, "content": json.dumps({"faces": plain, "facts": facts})}
    with written_whole(path) as temporary:
        save_file({name: value.cpu().contiguous().clone() for name, value in tensors.items()}, temporary, metadata=head)


def read_observations(path: Path) -> tuple[list[Observation], dict[str, Any]] | None:
    """What ``write_observations`` wrote: faces and facts; None where there is nothing of ours, or nothing whole."""
    try:
        with safe_open(path, framework="pt") as file:
            head = file.metadata() or {}
            content = head.get("content", "")
            if head.get("format") != FORMAT or len(content) > MOST_HEADER:
                return None
            document = json.loads(content)
            # copies: what the file gives keeps all of it mapped
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 - not a dict
        found = [_rebuilt(Observation, f"{k}.", "", tensors, plain) for k, plain in enumerate(document["faces"])]
        return found, dict(document["facts"])
    except (OSError, SafetensorError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _flattened(record: Any, prefix: str, tensors: dict[str, Tensor], inside: str = "") -> dict[str, Any]:
    """Tensors into the dictionary; gives the rest, by dotted name."""
    plain: dict[str, Any] = {}
    for entry in fields(record):
        value, name = getattr(record, entry.name), f"{inside}{entry.name}"
        if isinstance(value, Tensor):
            tensors[prefix + name] = value
        elif isinstance(value, TensorRecord):
            plain |= _flattened(value, prefix, tensors, f"{name}.")
        elif value is not None:
            plain[name] = value
    return plain


def _rebuilt(kind: type[Any], prefix: str, inside: str, tensors: dict[str, Tensor], plain: dict[str, Any]) -> Any:
    values: dict[str, Any] = {}
    for entry in fields(kind):
        name = f"{inside}{entry.name}"
        if name in _RECORDS:
            known = any(key.startswith(f"{prefix}{name}.") for key in tensors)
            values[entry.name] = _rebuilt(_RECORDS[name], prefix, f"{name}.", tensors, plain) if known else None
        else:
            values[entry.name] = tensors.get(prefix + name, plain.get(name))
    return kind(**values)
