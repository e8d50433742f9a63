"""What coefficients a mirrored face has: a face model's symmetry as matrices."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from facewright.geometry.ibug68 import MIRROR_68
from facewright.morphable.linear import FaceModel
from facewright.records import FaceCoefficients, TensorRecord

_ODD_LIGHT = (3, 4, 7)
"""Bands of ``render.lighting.sh_basis`` that change sign with x: x, xy and xz."""


@dataclass(frozen=True)
class MirrorMap(TensorRecord):
    """Codes of a face to codes of its mirror image; the model's plane of symmetry is x = 0.

    Attributes:
        id: matrix on identity codes.
        exp: matrix on expression codes: left and right exchanged.
        tex: matrix on albedo codes.
        explained: least share of a mirrored basis that lies in the model's own span; 1: the map is exact.
    """

    id: Float[Tensor, "Kid Kid"]
    exp: Float[Tensor, "Kexp Kexp"]
    tex: Float[Tensor, "Ktex Ktex"]
    explained: float

    @classmethod
    def of(cls, model: FaceModel) -> "MirrorMap | None":
        """By least squares over all vertices; None where the model knows no partners of its vertices."""
        partner = model.annotations.mirror
        if partner is None:
            return None
        flip = model.mean_shape.new_tensor([-1.0, 1.0, 1.0])[:, None]
        shape_id = _map(model.id_basis, model.id_basis[partner] * flip)
        shape_exp = _map(model.exp_basis, model.exp_basis[partner] * flip)
        named = _exchanged(model.exp_names)
        exp = shape_exp[0] if named is None else torch.eye(len(named)).to(flip)[named]
        colour = _map(model.albedo_basis, model.albedo_basis[partner])
        explained = min(share for _, share in (shape_id, shape_exp, colour))
        return cls(shape_id[0], exp, colour[0], explained)

    def faces(self, coefficients: FaceCoefficients) -> FaceCoefficients:
        """The mirror images of faces, light and pose included."""
        c = coefficients
        turn, light = c.angles.new_tensor([1.0, -1.0, -1.0]), torch.ones_like(c.sh)
        light[:, _ODD_LIGHT] = -1.0
        return FaceCoefficients(
            c.id @ self.id.T.to(c.id),
            c.exp @ self.exp.T.to(c.exp),
            c.tex @ self.tex.T.to(c.tex),
            c.angles * turn,
            c.sh * light,
            c.translation * c.translation.new_tensor([-1.0, 1.0, 1.0]),
        )


def mirror_partners(model: FaceModel, points: Int[Tensor, " N"]) -> Int[Tensor, " N"] | None:
    """Place in the list of the point that each becomes in a mirror; None where the model or the list knows none."""
    mirror = model.annotations.mirror
    if mirror is None:
        return None
    place = {vertex: k for k, vertex in reversed(list(enumerate(points.tolist())))}
    partners = [int(k) for k in MIRROR_68]
    for vertex in points.tolist()[len(partners) :]:
        other = place.get(int(mirror[vertex]))
        if other is None:
            return None
        partners.append(other)
    return torch.tensor(partners, device=points.device)


def _exchanged(names: tuple[str, ...]) -> list[int] | None:
    """Place of each expression's other side, by names that end in Left or Right; None where some has none."""
    other = [_other_side(name) for name in names]
    if not all(names) or any(name not in names for name in other):
        return None
    return [names.index(name) for name in other]


def _other_side(name: str) -> str:
    if name.endswith("Left"):
        return name.removesuffix("Left") + "Right"
    return name.removesuffix("Right") + "Left" if name.endswith("Right") else name


def _map(basis: Float[Tensor, "V 3 K"], mirrored: Float[Tensor, "V 3 K"]) -> tuple[Float[Tensor, "K K"], float]:
    """The matrix M with basis M = mirrored, as well as it can be, and how well that is."""
    own, other = basis.flatten(0, 1).double(), mirrored.flatten(0, 1).double()
    if own.shape[1] == 0:
        return basis.new_zeros(0, 0), 1.0
    gram, shared, whole = own.T @ own, own.T @ other, other.square().sum()
    matrix = torch.linalg.solve(gram + 1e-9 * gram.diagonal().mean() * torch.eye(len(gram)).to(gram), shared)
    left = (whole + (matrix * (gram @ matrix - 2.0 * shared)).sum()) / whole.clamp_min(1e-30)  # |own M - other|^2
    return matrix.to(basis), float(1.0 - left)
