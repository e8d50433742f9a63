"""What a method is to the flow: it says which crop it wants, and turns crops into estimates, many at once."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from facewright.align import Turn
from facewright.errors import FacewrightError
from facewright.geometry.frames import apply_homogeneous
from facewright.morphable.linear import FaceModel, MorphableFace
from facewright.records import (
    AlignedFace,
    DenseBelief,
    FaceCoefficients,
    FaceDetection,
    FaceMesh,
    LandmarkBelief,
    Photo,
    Pose,
    TensorRecord,
    Topology,
)


@dataclass(frozen=True)
class Candidate(TensorRecord):
    """A face that is to be estimated.

    Attributes:
        photo: the picture.
        detection: where the face is in it.
        aligned: the crop that the method asked for.
    """

    photo: Photo
    detection: FaceDetection
    aligned: AlignedFace


@dataclass(frozen=True)
class Estimate(TensorRecord):
    """What a method says about one face, in the frame of the crop that it looked at last.

    Attributes:
        aligned: that crop.
        topology: of the mesh.
        mesh: one face with its expression, model frame, dm. Grey where the method knows no albedo.
        pose: model frame to the crop's world frame.
        light: spherical-harmonic light, as ``FaceCoefficients.sh``; None from methods that know neither light nor
            albedo.
        morphable: the face as coefficients of a face model; None from methods that find a mesh alone.
        belief: where the method sees the landmarks in the crop; None if it does not say.
        residuals: final value of each term of a fit.
        seconds: spent on this face alone, per stage.
        start: what a network answered before the fit, posed before the crop's camera; None without a network.
        dense: what that network saw besides; None if it sees landmarks alone.
    """

    aligned: AlignedFace
    topology: Topology
    mesh: FaceMesh
    pose: Pose
    light: Float[Tensor, "1 9 3"] | None = None
    morphable: MorphableFace | None = None
    belief: LandmarkBelief | None = None
    residuals: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    start: FaceCoefficients | None = None
    dense: DenseBelief | None = None

    @property
    def doubt(self) -> float:
        """Mean deviation of the believed landmarks, as a share of the crop; infinite where none are believed."""
        if self.belief is None:
            return float("inf")
        return float(self.belief.sigma_px.mean()) / self.aligned.camera_crop.width


@dataclass(frozen=True)
class Glance(TensorRecord):
    """What a network says of a face at one quick look: no mesh yet.

    Attributes:
        aligned: the crop that it looked at.
        coefficients: of the face, posed before the crop's camera.
        belief: where it sees the landmarks in the crop.
        dense: what it sees besides; None from a network that sees landmarks alone.
    """

    aligned: AlignedFace
    coefficients: FaceCoefficients
    belief: LandmarkBelief
    dense: DenseBelief | None = None

    @property
    def doubt(self) -> float:
        """As ``Estimate.doubt``."""
        return float(self.belief.sigma_px.mean()) / self.aligned.camera_crop.width

    @property
    def landmarks(self) -> Float[Tensor, "68 2"]:
        """iBUG-68 in photo pixels (3D definition, hidden ones where they would be)."""
        return apply_homogeneous(self.aligned.T_photo_crop, self.belief.points_px).to(self.belief.points_px)


@runtime_checkable
class Estimator(Protocol):
    """A method, loaded."""

    @property
    def method(self) -> str:
        """Its name in ``METHODS``."""
        ...

    @property
    def weights(self) -> str:
        """Name of its network's weights; empty without a network."""
        ...

    @property
    def face_model(self) -> FaceModel | None:
        """What its coefficients belong to; None if it finds meshes alone."""
        ...

    @property
    def settings(self) -> dict[str, Any]:
        """Whatever else decides its answers, JSON-able."""
        ...

    @property
    def photos_together(self) -> int:
        """How many photos it profits from seeing together."""
        ...

    @property
    def most_doubt(self) -> float | None:
        """Doubt (``Estimate.doubt``) up to which an answer is a face; None if it knows no doubts."""
        ...

    @property
    def landmarks_dm(self) -> Float[Tensor, "68 3"] | None:
        """iBUG-68 of its mean face, model frame, of a method that finds faces in boxes; None: it needs five points."""
        ...

    def crop(self, photo: Photo, five: Float[Tensor, "5 2"], *, turn: Turn = "auto") -> AlignedFace:
        """The crop that it wants of the face with these five points, photo pixels; ``turn`` as ``align_face`` has it.

        Raises:
            ReconstructionError: the points span no face in the photo.
        """
        ...

    def estimates(self, candidates: Sequence[Candidate], *, finish: bool = True) -> list[Estimate | FacewrightError]:
        """An answer per candidate, or why there is none, which costs the others nothing.

        Args:
            candidates: of one photo or of several; their crops are those of ``crop``.
            finish: False: a first answer is enough, to see whether there is a face at all.
        """
        ...


def estimate_of(
    model: FaceModel,
    coefficients: FaceCoefficients,
    aligned: AlignedFace,
    *,
    belief: LandmarkBelief | None = None,
    residuals: dict[str, float] | None = None,
    seconds: dict[str, float] | None = None,
) -> Estimate:
    """The estimate that coefficients of a face model make.

    Args:
        model: decodes them.
        coefficients: one face, posed before the crop's camera.
        aligned: the crop.
        belief: see ``Estimate``.
        residuals: see ``Estimate``.
        seconds: see ``Estimate``.
    """
    with torch.no_grad():
        mesh = model.decode(coefficients)
    return Estimate(
        aligned,
        model.topology,
        mesh,
        coefficients.pose,
        coefficients.sh,
        MorphableFace(model, coefficients),
        belief,
        residuals or {},
        seconds or {},
    )
