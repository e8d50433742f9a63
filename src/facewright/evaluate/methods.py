"""What is measured: anything that turns a photo and a detected face into a face mesh."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from facewright.detect.suppression import overlap
from facewright.errors import BenchmarkError, NoFaceFoundError
from facewright.evaluate.surfaces import Surface
from facewright.fit import FitPlan, FitSettings
from facewright.geometry.pose import photo_points, posed_mesh
from facewright.morphable.container import load_face_model
from facewright.morphable.linear import FaceModel, MorphableFace
from facewright.pipeline.fit_estimator import FitEstimator
from facewright.pipeline.flow import Reconstructor, load_reconstructor
from facewright.records import Camera, FaceCoefficients, FaceDetection, FaceMesh, Photo, Pose, TensorRecord, Topology

MEAN = "mean"
"""The baseline of all tables: the mean head, posed by the same detector's points."""
MM_PER_DM = 100.0
LEAST_OVERLAP = 0.1


@dataclass(frozen=True)
class MeasuredFace(TensorRecord):
    """What a method says about one face, mesh first; on the CPU, where everything is measured.

    Attributes:
        topology: of the mesh.
        mesh: with the expression, model frame, dm.
        pose: model frame to the world of the camera.
        camera: of the whole photo.
        morphable: the face as coefficients; None from methods that find a mesh alone.
    """

    topology: Topology
    mesh: FaceMesh
    pose: Pose
    camera: Camera
    morphable: MorphableFace | None = None

    @classmethod
    def of_coefficients(cls, model: FaceModel, coefficients: FaceCoefficients, camera: Camera) -> "MeasuredFace":
        """A face that is known by its coefficients."""
        mesh = model.decode(coefficients)
        return cls(model.topology, mesh, coefficients.pose, camera, MorphableFace(model, coefficients))

    @property
    def coefficients(self) -> FaceCoefficients:
        """Of ``face_model``.

        Raises:
            BenchmarkError: the method finds meshes alone.
        """
        return self._known().coefficients

    @property
    def face_model(self) -> FaceModel:
        """What the coefficients belong to.

        Raises:
            BenchmarkError: the method finds meshes alone.
        """
        return self._known().model

    def vertices_mm(self, *, expression: bool) -> Float[ndarray, "V 3"]:
        """In the model frame, mm, with or without the expression (with it where it cannot be told from the shape)."""
        vertices = self.mesh.vertices
        if not expression and self.morphable is not None:
            c = self.coefficients
            vertices = self.face_model.shape(c.id, torch.zeros_like(c.exp))
        return MM_PER_DM * vertices[0].double().cpu().numpy()

    @property
    def landmark_ids(self) -> Tensor:
        """Vertex ids of iBUG-68.

        Raises:
            BenchmarkError: the mesh has none.
        """
        return require_ibug68(self.topology, "the method's mesh")

    @cached_property
    def points_px(self) -> Float[ndarray, "V 3"]:
        """All vertices in the photo: column, row, depth in the same pixels (0 at the head's origin)."""
        world = posed_mesh(self.mesh, self.pose).vertices
        return photo_points(world, self.pose, self.camera).double().cpu().numpy()

    @property
    def landmarks_px(self) -> Float[ndarray, "68 3"]:
        """iBUG-68 in the photo."""
        return self.points_px[self.landmark_ids.cpu().numpy()]

    def _known(self) -> MorphableFace:
        if self.morphable is None:
            raise BenchmarkError(
                "expected a method that finds coefficients, received one that finds meshes alone; measure it on scans "
                "or landmarks (now, micc, realy, aflw2000)"
            )
        return self.morphable


def name_of(model: FaceModel | None) -> str:
    """Name of a face model for results; empty for methods without one."""
    return "" if model is None else model.name


def require_ibug68(topology: Topology, what: str) -> Tensor:
    """Vertex ids of iBUG-68.

    Raises:
        BenchmarkError: the topology has none; names ``what`` lacks them.
    """
    ids = topology.annotations.ibug68
    if ids is None:
        raise BenchmarkError(f"{what} has no iBUG-68 table; import its face model with landmarks")
    return ids


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
    def face_model(self) -> FaceModel | None:
        """What its coefficients belong to; None if it finds meshes alone."""
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


def facts_of(method: Measurable) -> dict[str, Any]:
    """``weights``, ``face_model`` and ``settings`` of a method, for results."""
    return {"weights": method.weights, "face_model": name_of(method.face_model), "settings": method.settings}


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
        """Name of its network's weights; empty without a network."""
        return self.flow.weights

    @property
    def face_model(self) -> FaceModel | None:
        """Of the flow; on the CPU, where everything is measured."""
        return self._face_model

    @property
    def settings(self) -> dict[str, Any]:
        """Of the estimator."""
        return self.flow.estimator.settings

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
        found = MeasuredFace(face.topology, face.mesh, face.pose, face.camera, face.morphable)
        return found if self._on_cpu else found.to("cpu")

    @cached_property
    def _face_model(self) -> FaceModel | None:
        model = self.flow.face_model
        return model if model is None or self._on_cpu else model.mapped(torch.Tensor.cpu)

    @property
    def _on_cpu(self) -> bool:
        return self.flow.device.type == "cpu"


def load_method(
    name: str,
    *,
    face_model: str = "open",
    weights: str | None = None,
    refine: int | None = None,
    device: str = "cpu",
) -> FlowMethod:
    """A method by its name: one of the flow's (``METHODS``, ``auto``), or ``mean``.

    Raises:
        SettingsError: no such method, or settings that it would ignore.
        AssetNotFoundError: a file is missing.
        WeightsError: the weights do not fit.
    """
    named = "fit" if name == MEAN else name
    flow = load_reconstructor(face_model=face_model, method=named, weights=weights, refine=refine, device=device)
    method = FlowMethod(flow.method, replace(flow, check=None))
    return baseline_of(method) if name == MEAN else method


def baseline_of(method: FlowMethod) -> FlowMethod:
    """The mean head in the place of a method: same detector, same face model, pose from points, nothing else.

    All coefficients but the pose are held at exactly zero, whatever the model's prior of them is. For a method that
    finds meshes alone it is the open head's mean.
    """
    flow = method.flow
    model = flow.face_model or load_face_model().to(flow.device)
    held = FitSettings(id_sigma=0.0, exp_sigma=0.0, tex_sigma=0.0, light_sigma=0.0, photometric_observations=0.0)
    return FlowMethod(MEAN, Reconstructor(flow.detector, FitEstimator(model, FitPlan.of(model), held), check=None))


def surface_mm(estimate: MeasuredFace, *, expression: bool) -> Surface:
    """The predicted mesh, mm, model frame."""
    return Surface(estimate.vertices_mm(expression=expression), estimate.topology.faces.cpu().numpy().astype(np.int64))
