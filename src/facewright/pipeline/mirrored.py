"""A network's answers made symmetric: what it says of a crop and of its mirror image, averaged."""

from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from facewright.morphable.linear import FaceModel
from facewright.morphable.mirror import MirrorMap, mirror_partners
from facewright.records import DenseBelief, FaceCoefficients, TensorRecord
from facewright.regress.rnet import RNet, RNetPrediction


@dataclass(frozen=True)
class Mirror(TensorRecord):
    """What a network's answers become in a mirror.

    Attributes:
        codes: of coefficients.
        partners: place of each point's partner among the points that the network sees.
    """

    codes: MirrorMap
    partners: Int[Tensor, " N"]

    @classmethod
    def of(cls, model: FaceModel, points: Int[Tensor, " N"] | None) -> "Mirror | None":
        """Of a face model and the points that a network sees; None where it sees none, or some have no partner."""
        partners = None if points is None else mirror_partners(model, points)
        codes = None if partners is None else MirrorMap.of(model)
        return None if codes is None or partners is None else cls(codes, partners)


def predicted(rnet: RNet, pictures: Float[Tensor, "B 3 S S"], mirror: Mirror | None) -> RNetPrediction:
    """R-Net's answers; with a mirror the means of those about the crops and about their mirror images."""
    if mirror is None:
        return rnet.infer(pictures)
    return symmetric(rnet.infer(torch.cat([pictures, pictures.flip(-1)])), mirror, rnet.crop_size)


def symmetric(both: RNetPrediction, mirror: Mirror, crop_size: int) -> RNetPrediction:
    """The means of answers about crops and, in the other half of the batch, about their mirror images.

    Args:
        both: answers about the crops, then about the mirrored ones.
        mirror: what answers become.
        crop_size: side of the crops that they are about, px.
    """
    count = len(both.coefficients.id) // 2
    straight, turned = (_rows(both, rows) for rows in (slice(count), slice(count, None)))
    return _mean(straight, _mirrored(turned, mirror, crop_size))


def _mirrored(answer: RNetPrediction, mirror: Mirror, size: int) -> RNetPrediction:
    """Answers about mirrored crops as answers about the crops themselves."""
    changed: dict[str, Any] = {"coefficients": mirror.codes.faces(answer.coefficients)}
    for name in ("points_px", "points_sigma_px", "depth_px", "depth_sigma_px"):
        value = getattr(answer, name)
        if value is not None:
            changed[name] = value[:, mirror.partners]
    if answer.points_px is not None:
        there = changed["points_px"]
        changed["points_px"] = torch.cat([size - 1 - there[..., :1], there[..., 1:]], -1)
    # A code of the mirrored face is a mixture of codes, whose doubts are taken as apart from each other.
    for name in ("id", "exp", "tex"):
        sigma = getattr(answer, f"{name}_sigma")
        if sigma is not None:
            mixed = getattr(mirror.codes, name).square() @ sigma.square().T
            changed[f"{name}_sigma"] = mixed.T.sqrt()
    return replace(answer, **changed)


def _mean(first: RNetPrediction, second: RNetPrediction) -> RNetPrediction:
    parts: dict[str, Any] = {}
    for entry in fields(RNetPrediction):
        one, other = getattr(first, entry.name), getattr(second, entry.name)
        if isinstance(one, FaceCoefficients):
            parts[entry.name] = FaceCoefficients(
                **{part.name: (getattr(one, part.name) + getattr(other, part.name)) / 2.0 for part in fields(one)}
            )
        else:
            parts[entry.name] = None if one is None else (one + other) / 2.0
    return RNetPrediction(**parts)


def _rows(answer: RNetPrediction, rows: slice) -> RNetPrediction:
    return answer.mapped(lambda tensor: tensor[rows])


def dense_belief(answer: RNetPrediction, k: int, finer: int = 1) -> DenseBelief | None:
    """What a network says of one face's many points; None from a network that sees landmarks alone.

    Args:
        answer: about a batch.
        k: number of the face.
        finer: how many times finer the crop is that it is said of than what the network saw.
    """
    parts = [getattr(answer, entry.name) for entry in fields(RNetPrediction)][1:]
    if any(part is None for part in parts):
        return None
    points, sigma, depth, depth_sigma, *doubts = (part[k] for part in parts)
    return DenseBelief(finer * points + (finer - 1) / 2, finer * sigma, finer * depth, finer * depth_sigma, *doubts)
