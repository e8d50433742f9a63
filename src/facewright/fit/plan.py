"""What a fit needs of a face model, worked out once: whoever fits many faces holds the plan."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from facewright.fit.motion import LinearPoints, LinearShape
from facewright.fit.parameters import Unknowns
from facewright.fit.photometric import ColoredPatch, colored_patch
from facewright.geometry.mesh import surrounding_normals
from facewright.morphable.linear import FaceModel
from facewright.records import CoefficientLayout, FaceCoefficients, TensorRecord


@dataclass(frozen=True)
class DensePoints(TensorRecord):
    """The detector's 468 points on a face model.

    Attributes:
        points: where they are glued.
        normals: which way the mean face looks around them, model frame.
        trust: 0..1: how well each is glued.
    """

    points: LinearPoints
    normals: Float[Tensor, "468 3"]
    trust: Float[Tensor, "468"]


@dataclass(frozen=True)
class FitPlan(TensorRecord):
    """Everything in a fit that depends on the face model alone.

    Attributes:
        face_model: name of the model.
        layout: its coefficient counts.
        exp_is_box: whether its expressions are weights in 0..1.
        shape: its vertices.
        faces: its triangles.
        patch: what is compared with pixels; None where it has no "photometric" region: points only.
        dense: the detector's points; None if it does not know them.
        ibug68: its iBUG-68 landmarks; None likewise.
        five: the five points of the alignment; None likewise.
        contours: rows of vertex ids over which a jaw landmark slides, padded with -1; None likewise.
    """

    face_model: str
    layout: CoefficientLayout
    exp_is_box: bool
    shape: LinearShape
    faces: Int[Tensor, "F 3"]
    patch: ColoredPatch | None = None
    dense: DensePoints | None = None
    ibug68: LinearPoints | None = None
    five: LinearPoints | None = None
    contours: Int[Tensor, "17 M"] | None = None

    @classmethod
    def of(cls, model: FaceModel) -> "FitPlan":
        """Compile the plan of a face model, on its device; the bases are shared with it, not copied."""
        shape = LinearShape(model.mean_shape, model.id_basis, model.exp_basis)
        marks = model.annotations
        region = marks.regions.get("photometric")
        return cls(
            model.name,
            model.layout,
            model.exp_is_box,
            shape,
            model.faces,
            None if region is None else colored_patch(model, region),
            _dense_points(model, shape),
            None if marks.ibug68 is None else shape.means(marks.ibug68[:, None]),
            None if marks.five is None else shape.means(marks.five),
            marks.contours,
        )

    @property
    def unknowns(self) -> Unknowns:
        """Order of the step vector."""
        return Unknowns(self.layout)

    def mean_face(self) -> FaceCoefficients:
        """The mean face, looking at the camera, in the default light; on the plan's device."""
        like = self.shape.mean
        return self.layout.unpack(like.new_zeros(1, self.layout.size))


def _dense_points(model: FaceModel, shape: LinearShape) -> DensePoints | None:
    marks, glue = model.annotations, model.annotations.mesh468
    if glue is None:
        return None
    weights = marks.regions.get("photometric", torch.ones_like(shape.mean[:, 0]))
    trust = torch.ones_like(glue.weights[:, 0]) if marks.mesh468_trust is None else marks.mesh468_trust
    normals = surrounding_normals(glue.of(shape.mean), shape.mean, model.faces, weights)
    return DensePoints(shape.blend(glue.corners, glue.weights), normals, trust)
