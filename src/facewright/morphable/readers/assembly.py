"""From arrays in a source's unit and axes to a ``FaceModel`` in ours."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from facewright.morphable.linear import FaceModel
from facewright.morphable.readers.frame import ModelFrame
from facewright.morphable.soundness import require_sound
from facewright.records import Annotations, Topology

NEUTRAL_ALBEDO_LINEAR = (0.42, 0.27, 0.20)
"""A skin tone for models without albedo, linear RGB."""


@dataclass(frozen=True)
class SourceMesh:
    """What a reader found, in the source's own unit and axes.

    Attributes:
        mean_shape: source unit.
        id_basis: source unit per unit coefficient.
        exp_basis: source unit per unit coefficient.
        faces: from 0, counter-clockwise from outside.
        mean_albedo: RGB, 0..1; None if the model has none.
        albedo_basis: the same per unit coefficient.
        uv: 0..1, origin bottom-left; None if the model has none.
        faces_uv: ids into ``uv`` per face corner.
        exp_names: one per expression mode, or none.
        ibug68: vertex ids; None if unknown.
        five: vertex ids whose mean is each of the five points, padded with -1; None if unknown.
        regions: vertex masks.
        face_parts: face masks.
        mirror: left-right partner of each vertex; None if unknown.
    """

    mean_shape: Float[np.ndarray, "V 3"]
    id_basis: Float[np.ndarray, "V 3 Kid"]
    exp_basis: Float[np.ndarray, "V 3 Kexp"]
    faces: Int[np.ndarray, "F 3"]
    mean_albedo: Float[np.ndarray, "V 3"] | None = None
    albedo_basis: Float[np.ndarray, "V 3 Ktex"] | None = None
    uv: Float[np.ndarray, "T 2"] | None = None
    faces_uv: Int[np.ndarray, "F 3"] | None = None
    exp_names: Sequence[str] = ()
    ibug68: Int[np.ndarray, "68"] | None = None
    five: Int[np.ndarray, "5 N"] | None = None
    regions: Mapping[str, Float[np.ndarray, " V"]] = field(default_factory=dict)
    face_parts: Mapping[str, Bool[np.ndarray, " F"]] = field(default_factory=dict)
    mirror: Int[np.ndarray, " V"] | None = None


def face_model_from_source(source: SourceMesh, frame: ModelFrame, metadata: dict[str, Any]) -> FaceModel:
    """The face model in the Deep3D frame: dm, y up, face along +z.

    Computed in the precision of the arrays, stored in float32. The frame goes into the metadata as ``source_frame``,
    so that exports can undo it (``source_from_model``).

    Raises:
        FaceModelError: the arrays are no sound face model (``require_sound``).
    """
    count = len(source.mean_shape)
    albedo = np.broadcast_to(NEUTRAL_ALBEDO_LINEAR, (count, 3)) if source.mean_albedo is None else source.mean_albedo
    basis = np.zeros((count, 3, 0)) if source.albedo_basis is None else source.albedo_basis
    metadata = {"unit": "dm", "axes": "y up, face +z", **metadata, "source_frame": frame.metadata()}
    with np.errstate(over="ignore", invalid="ignore"):  # what does not fit float32 is refused by name
        arrays = {
            "mean_shape": frame.points(source.mean_shape.astype(np.float64)).astype(np.float32),
            "id_basis": frame.offsets(source.id_basis).astype(np.float32),
            "exp_basis": frame.offsets(source.exp_basis).astype(np.float32),
            "mean_albedo": albedo.astype(np.float32),
            "albedo_basis": basis.astype(np.float32),
        }
    notes = {"faces": source.faces, "five": source.five, "mirror": source.mirror, "uv": source.uv}
    notes |= {f"region/{name}": mask for name, mask in source.regions.items()}
    known = {name: value for name, value in notes.items() if value is not None}
    require_sound(arrays | known, source.exp_names, metadata, file=str(metadata.get("name")))
    return FaceModel(
        **{name: _float(array) for name, array in arrays.items()},
        topology=Topology(
            _int(source.faces),
            None if source.uv is None else _float(source.uv),
            None if source.faces_uv is None else _int(source.faces_uv),
            Annotations(
                ibug68=None if source.ibug68 is None else _int(source.ibug68),
                five=None if source.five is None else _int(source.five),
                regions={name: _float(mask) for name, mask in source.regions.items()},
                face_parts={name: torch.from_numpy(np.ascontiguousarray(m)) for name, m in source.face_parts.items()},
                mirror=None if source.mirror is None else _int(source.mirror),
            ),
            tuple(source.exp_names),
        ),
        metadata=metadata,
    )


def _float(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(array, np.float32, order="C"))


def _int(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(array, np.int64, order="C"))
