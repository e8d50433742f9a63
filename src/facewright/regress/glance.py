"""A second glance: R-Net's first answer corrected by what early maps show at the landmarks that it saw.

A trunk's last map has nine places for a face, too few to tell which eye is shut. Its first maps are sharp, and the
first answer says where to look: features there, landmark by landmark, correct shape, pose and points. Features indexed
by the shape found so far are Dollar et al.'s (2010, cascaded pose regression) and Cao et al.'s (2012).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from facewright.records import CoefficientLayout, TensorRecord

GLANCED = 2
"""Maps that are looked at: the sharpest ones."""
LANDMARKS = 68
WIDTH = 256
_EXP_STEP, _POSE_STEP, _POINT_STEP = 0.2, 0.1, 1.0 / 56.0  # units of its answers, so that all kinds are learnt alike
_MOST_FACTOR = 3.0  # of a doubt, logarithm


@dataclass(frozen=True)
class Correction(TensorRecord):
    """What is added to a first answer; doubts are multiplied.

    Attributes:
        id: identity coefficients.
        exp: expression coefficients.
        angles: radians.
        translation: dm.
        points: half crops.
        depth: half crops.
        points_factor: of the points' deviations.
        depth_factor: of the depths'.
        exp_factor: of the expression coefficients'.
    """

    id: Float[Tensor, "B Kid"]
    exp: Float[Tensor, "B Kexp"]
    angles: Float[Tensor, "B 3"]
    translation: Float[Tensor, "B 3"]
    points: Float[Tensor, "B N 2"]
    depth: Float[Tensor, "B N"]
    points_factor: Float[Tensor, "B N"]
    depth_factor: Float[Tensor, "B N"]
    exp_factor: Float[Tensor, "B Kexp"]


class SecondGlance(nn.Module):
    """Features at the landmarks to corrections of an answer; it starts by correcting nothing.

    Args:
        layout: of the coefficients.
        channels: of the maps that are looked at.
        points: number of points that the network sees.
    """

    def __init__(self, layout: CoefficientLayout, *, channels: int, points: int) -> None:
        super().__init__()
        self.layout, self.points = layout, points
        self.see = nn.Linear(LANDMARKS * channels, WIDTH)
        self.say = nn.Linear(WIDTH, layout.id + 2 * layout.exp + 6 + 5 * points)
        nn.init.zeros_(self.say.weight)
        nn.init.zeros_(self.say.bias)

    def features(
        self, maps: list[Tensor], landmarks_px: Float[Tensor, "B 68 2"], crop_size: int
    ) -> Float[Tensor, "B F"]:
        """Bilinear values of the sharpest maps at landmarks; beyond a map, its border's.

        Args:
            maps: of the trunk, sharpest first; each covers the crop.
            landmarks_px: where to look, crop px; no gradient flows into them.
            crop_size: px.
        """
        grid = (landmarks_px.detach() * (2.0 / (crop_size - 1)) - 1.0)[:, None]
        seen = []
        for map_ in maps[:GLANCED]:
            wide = map_.to(
                torch.promote_types(map_.dtype, torch.float32)
            )  # halves would place points by a third of a px
            at = F.grid_sample(wide, grid.to(wide), align_corners=True, padding_mode="border")
            seen.append(at[:, :, 0])
        return torch.cat(seen, 1).flatten(1)

    def forward(self, features: Float[Tensor, "B F"]) -> Correction:
        """What the features at the landmarks say.

        Args:
            features: of ``features``.
        """
        said = self.say(torch.relu(self.see(features)))
        count, kinds = self.points, self.layout
        exp, angles, translation, identity, seen, exp_doubt = said.split(
            [kinds.exp, 3, 3, kinds.id, 5 * count, kinds.exp], -1
        )
        points = seen.unflatten(-1, (count, 5))
        return Correction(
            id=identity,
            exp=_EXP_STEP * exp,
            angles=_POSE_STEP * angles,
            translation=_POSE_STEP * translation,
            points=_POINT_STEP * points[..., :2],
            depth=_POINT_STEP * points[..., 3],
            points_factor=_factor(points[..., 2]),
            depth_factor=_factor(points[..., 4]),
            exp_factor=_factor(exp_doubt),
        )


def _factor(answers: Tensor) -> Tensor:
    return torch.exp(answers.clamp(-_MOST_FACTOR, _MOST_FACTOR))
