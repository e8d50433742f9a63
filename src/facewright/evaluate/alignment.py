"""Similarity transforms between meshes and their fit to matched points. numpy, mm."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from facewright.geometry.similarity import similarity_from_points


@dataclass(frozen=True)
class Similarity:
    """The map p -> scale * rotation @ p + translation_mm.

    Attributes:
        scale: positive.
        rotation: orthonormal; determinant -1 only where a protocol allows reflections.
        translation_mm: added last.
    """

    scale: float
    rotation: Float[ndarray, "3 3"]
    translation_mm: Float[ndarray, "3"]

    @classmethod
    def identity(cls) -> "Similarity":
        """Leaves points where they are."""
        return cls(1.0, np.eye(3), np.zeros(3))

    def apply(self, points_mm: Float[ndarray, "*N 3"]) -> Float[ndarray, "*N 3"]:
        """Move points."""
        return self.scale * (points_mm @ self.rotation.T) + self.translation_mm

    def inverse(self) -> "Similarity":
        """The map back."""
        return Similarity(1.0 / self.scale, self.rotation.T, -(self.translation_mm @ self.rotation) / self.scale)

    def after(self, first: "Similarity") -> "Similarity":
        """The map that applies ``first``, then this one."""
        return Similarity(self.scale * first.scale, self.rotation @ first.rotation, self.apply(first.translation_mm))


def procrustes(
    source_mm: Float[ndarray, "N 3"],
    target_mm: Float[ndarray, "N 3"],
    *,
    scale: float | None = None,
    weights: Float[ndarray, " N"] | None = None,
    reflection: bool = False,
) -> Similarity:
    """Least-squares similarity of matched points (Umeyama 1991).

    Args:
        source_mm: points to move.
        target_mm: where they should go.
        scale: fixed scale (1 for a rigid fit); None fits it too.
        weights: of the pairs.
        reflection: accept a mirrored fit where it is better (NoW's first step does).
    """
    fit = _proper(source_mm, target_mm, scale, weights)
    if not reflection:
        return fit
    mirror = np.diag([-1.0, 1.0, 1.0])
    turned = _proper(source_mm @ mirror, target_mm, scale, weights)
    turned = Similarity(turned.scale, turned.rotation @ mirror, turned.translation_mm)
    w = np.ones(len(source_mm)) if weights is None else weights

    def residual(similarity: Similarity) -> float:
        return float(w @ np.square(similarity.apply(source_mm) - target_mm).sum(-1))

    # Flat sets fit equally well both ways: a rotation is then right.
    return turned if residual(turned) < residual(fit) * (1 - 1e-9) - 1e-18 else fit


def _proper(source: ndarray, target: ndarray, scale: float | None, weights: ndarray | None) -> Similarity:
    a, b = (torch.from_numpy(np.array(points, dtype=np.float64)) for points in (source, target))
    w = None if weights is None else torch.from_numpy(np.array(weights, dtype=np.float64))
    fitted, rotation, translation = similarity_from_points(a, b, weights=w, with_scale=scale is None)
    if scale is None:
        return Similarity(float(fitted), rotation.numpy(), translation.numpy())
    # The best rotation does not depend on the scale; the translation follows from the two means.
    mean_source, mean_target = (np.average(points, axis=0, weights=weights) for points in (source, target))
    r = rotation.numpy()
    return Similarity(float(scale), r, mean_target - scale * (r @ mean_source))


def l1_similarity(source_mm: Float[ndarray, "N 3"], target_mm: Float[ndarray, "N 3"]) -> Similarity:
    """REALY's first step: Procrustes rotation (a mirrored one too); scale: a ratio of sums of absolute coordinates."""
    rotation = procrustes(source_mm, target_mm, scale=1.0, reflection=True).rotation
    mean_source, mean_target = source_mm.mean(0), target_mm.mean(0)
    turned = (source_mm - mean_source) @ rotation.T
    scale = float(np.abs(target_mm - mean_target).sum() / np.abs(turned).sum())
    return Similarity(scale, rotation, mean_target - scale * (rotation @ mean_source))


def global_scale(pairs: list[tuple[Float[ndarray, "N 3"], Float[ndarray, "N 3"]]]) -> float:
    """The one scale of a method: least squares over all its matched (predicted, true) point sets, each turned alone.

    Genova 2018 speaks of one global scale per method without a formula; this is the least-squares reading. Sets are
    matched points (landmarks, or pairs of an ICP); each weighs by its number of points.
    """
    upper = lower = 0.0
    for predicted, true in pairs:
        rotation = procrustes(predicted, true, scale=1.0).rotation
        a, b = (predicted - predicted.mean(0)) @ rotation.T, true - true.mean(0)
        upper, lower = upper + float((a * b).sum()), lower + float(np.square(a).sum())
    return upper / lower
