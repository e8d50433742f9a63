"""The unknowns of a fit as one vector (a turn, a move, id, exp, tex, light), and how a step changes coefficients."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from facewright.geometry.rotations import angles_from_rotation, rotation_from_angles
from facewright.records import CoefficientLayout, FaceCoefficients


@dataclass(frozen=True)
class Unknowns:
    """Which part of the step vector belongs to which coefficient: [turn 3 | move 3 | id | exp | tex | sh 27].

    ``turn`` is a small rotation vector about the world's axes, applied on the left of the present rotation, so that no
    pose is singular; ``sh`` is ordered basis function by basis function, three channels each.

    Attributes:
        layout: coefficient counts of the face model.
    """

    layout: CoefficientLayout

    @property
    def size(self) -> int:
        """Length of the step vector."""
        return 6 + self.layout.id + self.layout.exp + self.layout.tex + 27

    @property
    def turn(self) -> slice:
        """Small rotation about the world's axes, radians."""
        return slice(0, 3)

    @property
    def move(self) -> slice:
        """Translation, dm."""
        return slice(3, 6)

    @property
    def id(self) -> slice:
        """Identity."""
        return slice(6, 6 + self.layout.id)

    @property
    def exp(self) -> slice:
        """Expression."""
        return slice(self.id.stop, self.id.stop + self.layout.exp)

    @property
    def geometry(self) -> slice:
        """Everything that moves a vertex."""
        return slice(0, self.exp.stop)

    @property
    def tex(self) -> slice:
        """Albedo."""
        return slice(self.exp.stop, self.exp.stop + self.layout.tex)

    @property
    def sh(self) -> slice:
        """Light."""
        return slice(self.tex.stop, self.tex.stop + 27)

    def values(self, coefficients: FaceCoefficients) -> Float[Tensor, " P"]:
        """Present values in step order; the turn is zero by definition."""
        c = coefficients
        turn = torch.zeros_like(c.angles[0])
        return torch.cat([turn, c.translation[0], c.id[0], c.exp[0], c.tex[0], c.sh[0].flatten()])

    def stepped(self, coefficients: FaceCoefficients, step: Float[Tensor, " P"]) -> FaceCoefficients:
        """Coefficients after a step."""
        c = coefficients
        rotation = torch.matrix_exp(cross_matrix(step[self.turn])) @ rotation_from_angles(c.angles[0])
        return replace(
            c,
            angles=angles_from_rotation(rotation)[None],
            translation=c.translation + step[self.move],
            id=c.id + step[self.id],
            exp=c.exp + step[self.exp],
            tex=c.tex + step[self.tex],
            sh=c.sh + step[self.sh].reshape(1, 9, 3),
        )


def cross_matrix(vectors: Float[Tensor, "*N 3"]) -> Float[Tensor, "*N 3 3"]:
    """[v]x with [v]x w = v x w."""
    x, y, z = vectors.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack(
        [torch.stack([zero, -z, y], -1), torch.stack([z, zero, -x], -1), torch.stack([-y, x, zero], -1)], -2
    )
