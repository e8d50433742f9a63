"""A method that is nothing like the others: one grey mesh for everybody, laid on the five points. No coefficients."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from facewright.align import Turn, align_face, five_from_68
from facewright.errors import FacewrightError, ReconstructionError
from facewright.morphable.toy import toy_face_model
from facewright.pipeline.attempts import attempt
from facewright.pipeline.estimator import Candidate, Estimate
from facewright.pipeline.methods import MethodParts
from facewright.records import AlignedFace, FaceMesh, Photo, Pose, Topology
from facewright.regress.weights import load_weights


def toy_mesh(*, uv: bool = True) -> tuple[Topology, FaceMesh]:
    """The toy head's mean, grey, and a topology without names of expressions."""
    model = toy_face_model()
    mesh = model.decode(model.layout.zeros())
    topology = replace(model.topology, morph_names=())
    if not uv:
        topology, mesh = replace(topology, uv=None, faces_uv=None), replace(mesh, uv=None, faces_uv=None)
    return topology, replace(mesh, albedo=torch.full_like(mesh.albedo, 0.5))


@dataclass(frozen=True)
class ToyEstimator:
    """Lays the mesh on the five points; refuses faces narrower than a limit.

    Attributes:
        topology: of the mesh.
        mesh: model frame.
        narrowest_px: width of the narrowest face that it takes.
        seen: photos that it was asked about.
    """

    topology: Topology
    mesh: FaceMesh
    weights: str = ""
    narrowest_px: float = 0.0
    seen: list[str] = field(default_factory=list)
    method: str = "toy"
    face_model: None = None
    photos_together: int = 2
    most_doubt: float | None = None
    landmarks_dm: None = None

    @property
    def settings(self) -> dict[str, Any]:
        return {"narrowest_px": self.narrowest_px}

    def crop(self, photo: Photo, five: Tensor, *, turn: Turn = "auto") -> AlignedFace:
        return align_face(photo, five, size=96, turn=turn)

    def estimates(self, candidates: Sequence[Candidate], *, finish: bool = True) -> list[Estimate | FacewrightError]:
        self.seen.extend(candidate.photo.path for candidate in candidates)
        return [attempt(self._estimate, candidate) for candidate in candidates]

    def _estimate(self, face: Candidate) -> Estimate:
        if face.detection.box[2] - face.detection.box[0] < self.narrowest_px:
            raise ReconstructionError("expected a wider face; this toy is shy")
        seen, camera = face.aligned.five_crop, face.aligned.camera_crop
        assert self.topology.annotations.ibug68 is not None
        own = five_from_68(self.mesh.vertices[0, self.topology.annotations.ibug68])
        spread = (seen - seen.mean(0)).norm() / (own - own.mean(0))[:, :2].norm()  # pixels to the decimetre
        depth = camera.distance_dm - camera.focal_px / spread
        middle = (seen.mean(0) - torch.cat([camera.cx, camera.cy])) * seen.new_tensor([1.0, -1.0]) / spread
        place = torch.cat([middle - own.mean(0)[:2], depth - own.mean(0)[2]])[None]
        return Estimate(face.aligned, self.topology, self.mesh, Pose(torch.zeros_like(place), place))


def load_toy(parts: MethodParts) -> ToyEstimator:
    """With the weights, which it does not need, where there are some."""
    if parts.weights is not None:
        load_weights(parts.weights, kind="toy")
    return ToyEstimator(*toy_mesh(), weights=str(parts.weights or ""))


def load_bare_toy(parts: MethodParts) -> ToyEstimator:
    """Without texture coordinates, and shy."""
    return ToyEstimator(*toy_mesh(uv=False), narrowest_px=90.0)
