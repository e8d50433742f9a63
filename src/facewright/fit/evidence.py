"""What one photo says about a face, as data: points, contours, pixels, and how far each is to be trusted in a pose."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from facewright.fit.motion import LinearPoints
from facewright.fit.plan import FitPlan
from facewright.geometry.frames import pose_points, project_points
from facewright.geometry.mesh import vertex_normals
from facewright.geometry.rotations import rotation_from_angles
from facewright.records import Camera, FaceCoefficients, TensorRecord


@dataclass(frozen=True)
class Ramp:
    """A share that goes straight from 0 to 1 between two values, and no further.

    Attributes:
        none: where it is 0.
        full: where it is 1; above or below ``none``.
    """

    none: float
    full: float

    def of(self, values: Float[Tensor, "*N"]) -> Float[Tensor, "*N"]:
        """The share at given values."""
        return ((values - self.none) / (self.full - self.none)).clamp(0.0, 1.0)


@dataclass(frozen=True)
class PointEvidence(TensorRecord):
    """Points of a face model and where the photo shows them.

    Attributes:
        name: of the term in the report.
        points: model points.
        pixels: where they were seen, crop pixels.
        precision: per point, 1 / px^2; 0 leaves a point out.
        depth: crop pixels, growing away from the camera; None if unknown. Any zero will do for the first pose.
        across: unit directions, crop pixels, along which alone a point is held: it may slide at a right angle to them.
            None holds it both ways.
        normals: which way the surface looks around the points, model frame; None if unknown.
        facing: trust by the z of a posed normal (1 looks at the camera); None: the same wherever points look.
        yaw: trust by the size of the head's yaw, radians; None: the same in every pose.
        depth_precision: per point, 1 / px^2, of depths that are counted from the head's origin, in pixels of its size;
            None: depth serves the first pose alone.
        wrong_px: distance at which a point loses three quarters of its say, as a wrong one.
    """

    name: str
    points: LinearPoints
    pixels: Float[Tensor, "N 2"]
    precision: Float[Tensor, " N"]
    depth: Float[Tensor, " N"] | None = None
    across: Float[Tensor, "N 2"] | None = None
    normals: Float[Tensor, "N 3"] | None = None
    facing: Ramp | None = None
    yaw: Ramp | None = None
    depth_precision: Float[Tensor, " N"] | None = None
    wrong_px: float = 6.0

    def seen_in(self, pose: FaceCoefficients) -> "PointEvidence":
        """The same points with the trust that they have in a pose."""
        trust = torch.ones_like(self.precision)
        if self.normals is not None and self.facing is not None:
            toward_camera = (self.normals @ rotation_from_angles(pose.angles[0]).T)[:, 2]
            trust = trust * self.facing.of(toward_camera)
        if self.yaw is not None:
            trust = trust * self.yaw.of(_yaw(pose)).to(trust)
        deep = None if self.depth_precision is None else self.depth_precision * trust
        return replace(self, precision=self.precision * trust, depth_precision=deep, facing=None, yaw=None)


@dataclass(frozen=True)
class ContourEvidence(TensorRecord):
    """Points of the visible outline, which slide over the surface as the head turns their side away (the jaw).

    Attributes:
        name: of the term in the report.
        rows: vertex ids over which each point slides, padded with -1.
        sides: sign of the yaw that turns each point's side away: +1 on the side that is image right, -1 on the other.
        pixels: where the points were seen, crop pixels.
        precision: per point, 1 / px^2, where they count in full.
        turned: how much they count by the size of the head's yaw, radians.
        yaw: trust by the size of the yaw besides; None: the same in every pose.
    """

    name: str
    rows: Int[Tensor, "J M"]
    sides: Float[Tensor, " J"]
    pixels: Float[Tensor, "J 2"]
    precision: Float[Tensor, " J"]
    turned: Ramp
    yaw: Ramp | None = None

    def seen_in(self, pose: FaceCoefficients, plan: FitPlan, camera: Camera) -> PointEvidence | None:
        """The far side's points, each at its row's outermost vertex, held across the outline; None for a front view."""
        share = self.turned.of(_yaw(pose))
        if not float(share) > 0.0:
            return None
        far = self.sides * pose.angles[0, 1] > 0
        rows = self.rows[far]
        posed = pose_points(plan.shape.vertices(pose), pose.angles, pose.translation)
        reach = self.sides[far, None] * project_points(posed, camera)[0, rows.clamp_min(0), 0]
        outermost = rows.gather(1, torch.where(rows >= 0, reach, -torch.inf).argmax(1, keepdim=True))
        normals = vertex_normals(posed, plan.faces)[0, outermost[:, 0], :2]
        across = torch.nn.functional.normalize(normals * normals.new_tensor([1.0, -1.0]), dim=-1)
        trust = share if self.yaw is None else share * self.yaw.of(_yaw(pose))
        precision = self.precision[far] * trust.to(self.precision)
        return PointEvidence(self.name, plan.shape.means(outermost), self.pixels[far], precision, across=across)


@dataclass(frozen=True)
class Evidence(TensorRecord):
    """What one photo says about a face. Several photos of one face are several of these.

    Attributes:
        camera: of the crop.
        points: of any sources; the first pose is found by the first of them.
        contours: outlines.
        crop: pixels, sRGB-coded 0..1; None: they say nothing.
    """

    camera: Camera
    points: tuple[PointEvidence, ...]
    contours: tuple[ContourEvidence, ...] = ()
    crop: Float[Tensor, "3 H W"] | None = None

    def points_in(self, pose: FaceCoefficients, plan: FitPlan) -> list[PointEvidence]:
        """All points as they are to be taken in a pose that is roughly known."""
        outlines = [contour.seen_in(pose, plan, self.camera) for contour in self.contours]
        return [points.seen_in(pose) for points in self.points] + [seen for seen in outlines if seen is not None]


def _yaw(pose: FaceCoefficients) -> Float[Tensor, ""]:
    """Size of the yaw, radians."""
    return pose.angles[0, 1].abs().double()
