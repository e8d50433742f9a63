"""What is measured: anything that turns a photo and a detected face into coefficients of a face model."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from facewright.detect.suppression import overlap
from facewright.errors import BenchmarkError, NoFaceFoundError
from facewright.evaluate.surfaces import Surface
from facewright.fit import FitSettings
from facewright.geometry.frames import pose_points
from facewright.geometry.pose import photo_points
from facewright.morphable.linear import FaceModel
from facewright.pipeline.flow import Method, Reconstructor, load_reconstructor
from facewright.records import Camera, FaceCoefficients, FaceDetection, Photo

MethodName = Literal["auto", "fit", "rnet", "mean"]
"""As the command line names them; ``auto``: what the flow chooses by the weights that are there."""
MM_PER_DM = 100.0
LEAST_OVERLAP = 0.1


@dataclass(frozen=True)
class MeasuredFace:
    """What a method says about one face.

    Attributes:
        face_model: of the coefficients.
        coefficients: one face.
        camera: of the whole photo.
    """

    face_model: FaceModel
    coefficients: FaceCoefficients
    camera: Camera

    def vertices_mm(self, *, expression: bool) -> Float[ndarray, "V 3"]:
        """In the model frame, mm, with or without the expression."""
        c = self.coefficients
        exp = c.exp if expression else torch.zeros_like(c.exp)
        return MM_PER_DM * self.face_model.shape(c.id, exp)[0].double().cpu().numpy()

    @property
    def landmark_ids(self) -> Tensor:
        """Vertex ids of iBUG-68.

        Raises:
            BenchmarkError: the face model has none.
        """
        ids = self.face_model.annotations.ibug68
        if ids is None:
            raise BenchmarkError(f"face model {self.face_model.name!r} has no iBUG-68 table; import it with landmarks")
        return ids

    @cached_property
    def points_px(self) -> Float[ndarray, "V 3"]:
        """All vertices in the photo: column, row, depth in the same pixels (0 at the head's origin)."""
        c = self.coefficients
        world = pose_points(self.face_model.shape(c.id, c.exp), c.angles, c.translation)
        return photo_points(world, c.pose, self.camera).double().cpu().numpy()

    @property
    def landmarks_px(self) -> Float[ndarray, "68 3"]:
        """iBUG-68 in the photo."""
        return self.points_px[self.landmark_ids.cpu().numpy()]


@runtime_checkable
class Measurable(Protocol):
    """Anything that can be measured on photos."""

    @property
    def name(self) -> str:
        """As tables quote it."""
        ...

    @property
    def weights(self) -> str:
        """Name of the network's weights; empty without a network."""
        ...

    @property
    def face_model(self) -> FaceModel:
        """What its coefficients belong to."""
        ...

    @property
    def settings(self) -> dict[str, Any]:
        """Whatever else decides the result; goes into the result file."""
        ...

    def find(self, photo: Photo, near: Float[Tensor, "4"] | None = None) -> FaceDetection:
        """The face to measure: the one that overlaps a box most, or the largest.

        Raises:
            NoFaceFoundError: there is none.
        """
        ...

    def estimate(self, photo: Photo, detection: FaceDetection) -> MeasuredFace:
        """Reconstruct it."""
        ...


@dataclass(frozen=True)
class FlowMethod:
    """The package's own flow as a method.

    Attributes:
        name: as tables quote it.
        flow: detector, networks, fit.
    """

    name: str
    flow: Reconstructor = field(repr=False)

    @property
    def weights(self) -> str:
        """Name of R-Net's weights; empty for the fit."""
        return self.flow.weights

    @property
    def face_model(self) -> FaceModel:
        """Of the flow."""
        return self.flow.face_model

    @property
    def settings(self) -> dict[str, Any]:
        """Of the fit."""
        return {"fit": self.flow.fit, "refine": self.flow.refine}

    def find(self, photo: Photo, near: Float[Tensor, "4"] | None = None) -> FaceDetection:
        """See ``Measurable``."""
        (found,) = self.flow.find_faces([photo])
        if near is not None and found:
            share = overlap(torch.stack([face.box for face in found]), near[None].to(found[0].box))[0][:, 0]
            found = [found[int(share.argmax())]] if float(share.max()) >= LEAST_OVERLAP else []
        if not found:
            raise NoFaceFoundError(
                f"expected a face in {photo.path or 'the photo'} ({photo.width}x{photo.height} px), found none"
            )
        return found[0]

    def estimate(self, photo: Photo, detection: FaceDetection) -> MeasuredFace:
        """See ``Measurable``."""
        face = self.flow.faces_in(photo, detections=[detection])[0]
        return MeasuredFace(self.face_model, face.coefficients, face.camera)


def load_method(
    name: MethodName,
    *,
    face_model: str = "open",
    weights: str | None = None,
    refine: int | None = None,
    device: str = "cpu",
) -> FlowMethod:
    """A method by its name; ``mean`` is the mean head, posed by the same detector's points: the baseline of all tables.

    Raises:
        AssetNotFoundError: a file is missing.
        BenchmarkError: weights are given to a method that has no network.
        WeightsError: the weights do not fit.
    """
    if weights is not None and name in ("fit", "mean"):
        raise BenchmarkError(f"expected no weights for method {name!r}, received {weights}; use auto or rnet")
    flow_name: Method = "fit" if name == "mean" else name
    flow = load_reconstructor(face_model=face_model, method=flow_name, weights=weights, refine=refine, device=device)
    return baseline_of(FlowMethod(name, flow)) if name == "mean" else FlowMethod(flow.method, flow)


def baseline_of(method: FlowMethod) -> FlowMethod:
    """The mean head in the place of a method: same detector, same face model, pose from points, nothing else.

    All coefficients but the pose are held at exactly zero, whatever the model's prior of them is.
    """
    held = FitSettings(id_sigma=0.0, exp_sigma=0.0, tex_sigma=0.0, light_sigma=0.0, photometric_observations=0.0)
    return FlowMethod("mean", Reconstructor(method.flow.face_model, method.flow.detector, fit=held))


def surface_mm(estimate: MeasuredFace, *, expression: bool) -> Surface:
    """The predicted mesh, mm, model frame."""
    return Surface(
        estimate.vertices_mm(expression=expression), estimate.face_model.faces.cpu().numpy().astype(np.int64)
    )
