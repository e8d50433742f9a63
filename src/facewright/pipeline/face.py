"""One face of one photo, in 3D, mesh first: whatever can be had from a mesh is had from the mesh."""

from dataclasses import dataclass, field
from functools import cached_property

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from facewright import align
from facewright.errors import ReconstructionError
from facewright.geometry.frames import clip_from_world
from facewright.geometry.pose import photo_points, posed_mesh
from facewright.morphable.linear import FaceModel, MorphableFace
from facewright.pipeline.parts import FaceParts, find_parts
from facewright.records import (
    AlignedFace,
    Camera,
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
from facewright.render.texture import DEPTH_BUFFER_PX
from facewright.render.visibility import vertex_visibility


@dataclass(frozen=True)
class FaceInPhoto(TensorRecord):
    """What was found.

    Attributes:
        photo: the picture.
        detection: where the face was found.
        aligned: its crop and the cameras of crop and photo.
        topology: of the mesh.
        mesh: the face with its expression in the model frame, dm; grey where the method knows no albedo.
        pose: model frame to the world frame of ``camera``.
        method: how it was found.
        light: spherical-harmonic light in the world frame; None from methods that know neither light nor albedo.
        morphable: the face as coefficients of a face model; None from methods that find a mesh alone.
        belief: where a network saw the landmarks, in the crop, and how sure it was; None if it does not say.
        weights: name of the network weights; empty without a network.
        residuals: final value of each term of the fit.
        seconds: per stage; what was done for a whole photo is in each of its faces.
        input: number of the photo among those that were given together.
        face: number of the face in its photo, the largest first.
        start: what a network answered before the fit, posed before the crop's camera; None without a network.
        dense: what that network saw in the crop beside the landmarks; None if it does not say.
    """

    photo: Photo
    detection: FaceDetection
    aligned: AlignedFace
    topology: Topology
    mesh: FaceMesh
    pose: Pose
    method: str
    light: Float[Tensor, "1 9 3"] | None = None
    morphable: MorphableFace | None = None
    belief: LandmarkBelief | None = None
    weights: str = ""
    residuals: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    input: int = 0
    face: int = 0
    start: FaceCoefficients | None = None
    dense: DenseBelief | None = None

    @property
    def camera(self) -> Camera:
        """Camera of the whole photo."""
        return self.aligned.camera_photo

    @cached_property
    def mesh_world(self) -> FaceMesh:
        """The face in the world frame, in front of ``camera``, dm."""
        return posed_mesh(self.mesh, self.pose)

    @property
    def sh(self) -> Float[Tensor, "1 9 3"]:
        """Its light; where that is not known the default light, which falls evenly."""
        return self.mesh.vertices.new_zeros(1, 9, 3) if self.light is None else self.light

    @property
    def coefficients(self) -> FaceCoefficients:
        """The face as coefficients of ``face_model``.

        Raises:
            ReconstructionError: the method found a mesh alone.
        """
        return self._morphable().coefficients

    @property
    def face_model(self) -> FaceModel:
        """What the coefficients belong to.

        Raises:
            ReconstructionError: the method found a mesh alone.
        """
        return self._morphable().model

    @property
    def landmarks(self) -> Float[Tensor, "68 2"]:
        """iBUG-68 in photo pixels (3D definition: fixed vertices, hidden ones included).

        Raises:
            ReconstructionError: the mesh has no iBUG-68 table.
        """
        return self.landmarks_3d[:, :2]

    @property
    def landmarks_3d(self) -> Float[Tensor, "68 3"]:
        """iBUG-68 in photo pixels; z in the same pixels, growing away from the camera, 0 at the head's origin.

        Raises:
            ReconstructionError: the mesh has no iBUG-68 table.
        """
        ids = self.topology.annotations.ibug68
        if ids is None:
            name = "the mesh" if self.morphable is None else f"face model {self.face_model.name!r}"
            raise ReconstructionError(f"{name} has no iBUG-68 table; import it again with its landmarks")
        return photo_points(self.mesh_world.vertices[:, ids], self.pose, self.camera)

    @property
    def five_points(self) -> Float[Tensor, "5 2"]:
        """Eye centres, nose tip and mouth corners of the reconstruction, photo pixels."""
        return align.five_from_68(self.landmarks)

    @cached_property
    def visibility(self) -> Bool[Tensor, " V"]:
        """Vertices that the camera sees: in the photo, facing it, and not behind another part of the face."""
        camera = self.camera
        shrink = min(1.0, DEPTH_BUFFER_PX / max(camera.width, camera.height))
        size = (max(1, round(camera.height * shrink)), max(1, round(camera.width * shrink)))
        with torch.no_grad():
            return vertex_visibility(clip_from_world(self.mesh_world.vertices, camera), self.topology.faces, size)[0]

    @cached_property
    def parts(self) -> FaceParts | None:
        """What the photo shows around the face: the head itself, hair, things; None where its points say too little."""
        known = self.topology.annotations.ibug68 is not None
        with torch.no_grad():
            return find_parts(self.photo, self.five_points if known else self.detection.five)

    def _morphable(self) -> MorphableFace:
        if self.morphable is None:
            raise ReconstructionError(
                f"expected a face with coefficients, method {self.method!r} finds a mesh alone; "
                "take --method rnet or fit"
            )
        return self.morphable


def face_before_camera(
    photo: Photo, coefficients: FaceCoefficients, camera: Camera, model: FaceModel, method: str
) -> FaceInPhoto:
    """A face of which coefficients and the photo's camera are known, and not how they were found.

    Args:
        photo: the picture.
        coefficients: one face, posed before the camera.
        camera: of the whole photo.
        model: decodes.
        method: how it was found.
    """
    like = coefficients.id
    five, nothing = like.new_zeros(5, 2), like.new_zeros(3, 1, 1)
    aligned = AlignedFace(nothing, torch.eye(3).to(like), like.new_zeros(5), camera, camera, five)
    return FaceInPhoto(
        photo,
        FaceDetection(like.new_zeros(4), 1.0, five),
        aligned,
        model.topology,
        model.decode(coefficients),
        coefficients.pose,
        method,
        coefficients.sh,
        MorphableFace(model, coefficients),
    )
