"""The step from another model's own frame to ours: unit, rotation, origin; and back."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from facewright.errors import FaceModelError
from facewright.geometry.five_points import deep3d_template
from facewright.geometry.ibug68 import FIVE_OF_68
from facewright.geometry.similarity import similarity_from_points

_FIT_TOLERANCE_DM = 0.2
_ANY_HEAD_DM = 1e4
"""No head is drawn further from its origin; beyond, squares and singular values overflow."""


@dataclass(frozen=True)
class ModelFrame:
    """``model_dm = scale * rotation @ source + translation``.

    Attributes:
        unit: the source's unit, in words.
        scale: dm per source unit.
        rotation: from the source's axes to x right in the picture, y up, z out of the face.
        translation: dm.
    """

    unit: str
    scale: float
    rotation: Float[np.ndarray, "3 3"]
    translation: Float[np.ndarray, "3"]

    def points(self, source: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N 3"]:
        """Positions, dm."""
        return self.scale * (source @ self.rotation.T) + self.translation

    def offsets(self, source: Float[np.ndarray, "N 3 K"]) -> Float[np.ndarray, "N 3 K"]:
        """Displacement modes, dm."""
        if np.array_equal(self.rotation, np.eye(3)):
            return self.scale * source
        return np.einsum("ij,vjk->vik", self.scale * self.rotation, source)

    def metadata(self) -> dict[str, Any]:
        """JSON-able; ``source_from_model`` reads it."""
        return {
            "unit": self.unit,
            "scale": self.scale,
            "rotation": self.rotation.tolist(),
            "translation": self.translation.tolist(),
        }


def source_from_model(points_dm: Float[np.ndarray, "*N 3"], metadata: dict[str, Any]) -> Float[np.ndarray, "*N 3"]:
    """Points of the model frame back in the frame and unit of the files that the face model was imported from.

    Args:
        points_dm: dm, model frame.
        metadata: of an imported face model.

    Raises:
        FaceModelError: the model was not imported, or its metadata does not say from which frame.
    """
    frame = metadata.get("source_frame")
    if not isinstance(frame, dict):
        raise FaceModelError(
            "expected 'source_frame' in the face model's metadata, found none; only imported models have one"
        )
    return (points_dm - np.asarray(frame["translation"])) @ np.asarray(frame["rotation"]) / frame["scale"]


def five_ids_from_68(ids_68: Int[np.ndarray, "68"]) -> Int[np.ndarray, "5 2"]:
    """Vertex ids whose mean is each of the five points; padded with -1."""
    return np.array([[ids_68[of[0]], ids_68[of[1]] if len(of) > 1 else -1] for of in FIVE_OF_68])


def five_points(vertices: Float[np.ndarray, "V 3"], five: Int[np.ndarray, "5 N"]) -> Float[np.ndarray, "5 3"]:
    """The five points of a face, in the vertices' frame."""
    weights = (five >= 0) / (five >= 0).sum(1, keepdims=True)
    return np.einsum("pn,pnc->pc", weights, vertices[five])


def frame_from_five(five: Float[np.ndarray, "5 3"], *, unit: str, scale: float, what: str) -> ModelFrame:
    """The frame in which a model's five points lie best (rigidly) on those of the Deep3D mean face.

    So crops, cameras and networks made for Deep3D fit other models too.

    Args:
        five: right and left eye centre, nose tip, right and left mouth corner, source unit.
        unit: name of that unit.
        scale: dm per unit.
        what: the model, for errors.

    Raises:
        FaceModelError: the points are not a face of human size: wrong unit, wrong order, or wrong axes.
    """
    points = scale * np.asarray(five, np.float64)
    if not np.abs(points).max() < _ANY_HEAD_DM:
        raise FaceModelError(
            f"{what}: expected eyes, nose tip and mouth corners of a human face in {unit}, received points up to "
            f"{np.abs(points).max():.3g} dm from the origin; check the unit"
        )
    _, rotation, translation = similarity_from_points(torch.from_numpy(points), deep3d_template(), with_scale=False)
    frame = ModelFrame(unit, scale, rotation.numpy(), translation.numpy())
    error = np.sqrt(((frame.points(five) - deep3d_template().numpy()) ** 2).sum(1).mean())
    if not error < _FIT_TOLERANCE_DM:
        apart = np.linalg.norm(points[0] - points[1])
        raise FaceModelError(
            f"{what}: expected eyes, nose tip and mouth corners of a human face in {unit} (eyes about 0.62 dm apart), "
            f"received eyes {apart:.3g} dm apart and {error:.3g} dm of misfit; check the unit and the landmark order"
        )
    return frame
