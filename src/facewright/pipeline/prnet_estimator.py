"""Method ``prnet``: a position map by a network, and the mesh that it is. No coefficients, no light."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from facewright import align
from facewright.align.square import crop_square, square_of_five
from facewright.errors import FacewrightError, ReconstructionError
from facewright.geometry.five_points import five_from_68
from facewright.geometry.frames import CROP_SIZE, apply_homogeneous
from facewright.geometry.map_pose import map_pose, world_of_map
from facewright.geometry.mesh import vertex_normals
from facewright.geometry.rotations import angles_from_rotation
from facewright.geometry.similarity import similarity_from_points
from facewright.morphable.uv import PositionSpace, map_topology
from facewright.pipeline.attempts import attempt, timed
from facewright.pipeline.estimator import Candidate, Estimate
from facewright.records import AlignedFace, FaceMesh, LandmarkBelief, Photo, Pose, Topology
from facewright.regress.cards import DEEP3D_CROPS
from facewright.regress.prnet import PRNet, PRNetPrediction

GREY = 0.55
"""Linear albedo of meshes of which none is known."""
MAX_CROPS_TOGETHER = 32
LEAST_SCALE = 0.1
"""Size of the face in its crop, over that of the mean face, below which a map is no face."""


@dataclass(frozen=True)
class PRNetEstimator:
    """Position maps as meshes.

    Attributes:
        net: the network.
        space: what the pixels of its maps are.
        topology: of the meshes.
        template: crops that the net was trained with (``Kind.templates``).
        weights: name of its weights.
        looks: how often it looks: each time after the first at a crop by the landmarks of the time before.
    """

    net: PRNet
    space: PositionSpace
    topology: Topology
    template: str
    weights: str = ""
    looks: int = 1
    method: str = "prnet"
    face_model: None = None
    photos_together: int = 16
    most_doubt: float | None = None

    @classmethod
    def of(cls, net: PRNet, template: str, *, weights: str = "", looks: int = 1) -> "PRNetEstimator":
        """The method of a network: its own tables say what its maps are."""
        space = PositionSpace(net.mask, net.landmarks, net.canonical_dm, net.window)
        return cls(net, space, map_topology(space), template, weights, looks)

    @property
    def settings(self) -> dict[str, Any]:
        """See ``Estimator``."""
        return {"looks": self.looks}

    @property
    def canonical(self) -> Float[Tensor, "P 3"]:
        """The mean face's vertices, model frame, dm."""
        return self.space.points_of(self.space.canonical_dm)

    @property
    def landmarks_dm(self) -> Float[Tensor, "68 3"]:
        """See ``Estimator``."""
        rows, columns = self.space.landmarks.unbind(-1)
        return self.space.canonical_dm[:, rows, columns].T

    def crop(self, photo: Photo, five: Float[Tensor, "5 2"], *, turn: align.Turn = "auto") -> AlignedFace:
        """At least ``CROP_SIZE`` wide, a whole multiple of what the net sees; squares are never turned."""
        size = self._crop_size
        if self.template == DEEP3D_CROPS:
            return align.align_face(photo, five, size=size, rescale=align.CROP_RESCALE * size / CROP_SIZE, turn=turn)
        points = self.landmarks_dm
        return crop_square(photo, square_of_five(five, points, five_from_68(points)), five, size=size)

    def estimates(self, candidates: Sequence[Candidate], *, finish: bool = True) -> list[Estimate | FacewrightError]:
        """See ``Estimator``."""
        spent: dict[str, float] = {}
        with timed(spent, "regress"), torch.no_grad():
            crops = [face.aligned for face in candidates]
            answers = self._look(crops)
            for _ in range(self.looks - 1):
                again = zip(candidates, crops, answers, strict=True)
                crops = [self._cut_again(face.photo, aligned, answer) for face, aligned, answer in again]
                answers = self._look(crops)
        each = {stage: seconds / len(answers) for stage, seconds in spent.items() if answers}
        return [
            attempt(self._estimate, aligned, answer, dict(each)) for aligned, answer in zip(crops, answers, strict=True)
        ]

    @property
    def _crop_size(self) -> int:
        least = CROP_SIZE if self.template == DEEP3D_CROPS else self.net.crop_size
        return self.net.crop_size * -(-least // self.net.crop_size)

    def _look(self, crops: list[AlignedFace]) -> list[PRNetPrediction]:
        """One face each, in pixels of its crop."""
        if not crops:
            return []
        finer = crops[0].crop.shape[-1] // self.net.crop_size
        pictures = torch.nn.functional.avg_pool2d(torch.stack([aligned.crop for aligned in crops]), finer)
        seen = [self.net.predict(some) for some in pictures.split(MAX_CROPS_TOGETHER)]
        # Pixel centres: column i of the net's crop is the middle of columns finer * i to finer * (i + 1) - 1.
        shift = pictures.new_tensor([1.0, 1.0, 0.0])[:, None, None] * (finer - 1) / 2
        return [
            PRNetPrediction(
                finer * some.positions_px[k : k + 1] + shift,
                None if some.sigma_px is None else finer * some.sigma_px[k : k + 1],
            )
            for some in seen
            for k in range(len(some.positions_px))
        ]

    def _cut_again(self, photo: Photo, aligned: AlignedFace, answer: PRNetPrediction) -> AlignedFace:
        """The crop by the landmarks that were seen; the same one where they make no sense."""
        rows, columns = self.space.landmarks.unbind(-1)
        five = five_from_68(answer.positions_px[0, :2, rows, columns].T)
        again = attempt(self.crop, photo, apply_homogeneous(aligned.T_photo_crop, five))
        return aligned if isinstance(again, FacewrightError) else again

    def _estimate(self, aligned: AlignedFace, answer: PRNetPrediction, seconds: dict[str, float]) -> Estimate:
        with timed(seconds, "mesh"):
            points = self.space.points_of(answer.positions_px)[0]
            if self.template != DEEP3D_CROPS:
                aligned, points_world = in_weak_perspective(aligned, points, self.canonical)
            else:
                points_world = world_of_map(points, aligned.camera_crop)
            mesh, pose = posed_apart(points_world, self.canonical, self.topology)
        return Estimate(aligned, self.topology, mesh, pose, belief=self._belief(answer), seconds=seconds)

    def _belief(self, answer: PRNetPrediction) -> LandmarkBelief | None:
        if answer.sigma_px is None:
            return None
        rows, columns = self.space.landmarks.unbind(-1)
        return LandmarkBelief(answer.positions_px[0, :2, rows, columns].T, answer.sigma_px[0, rows, columns])


def in_weak_perspective(
    aligned: AlignedFace, points_px: Float[Tensor, "P 3"], canonical_dm: Float[Tensor, "P 3"]
) -> tuple[AlignedFace, Float[Tensor, "P 3"]]:
    """A map in weak perspective before a camera that is far away: so focused that the face is of the mean face's size.

    Returns:
        The crop with that camera, and the points in its world frame, dm; depths are counted from the head's origin.

    Raises:
        ReconstructionError: the map is no face.
    """
    pose = map_pose(points_px, canonical_dm)
    scale, camera = float(pose.scale), aligned.camera_crop
    if not (scale >= LEAST_SCALE and bool(points_px.isfinite().all())):
        raise ReconstructionError(
            f"expected a map of a face, received one {scale:.3g} px to the decimetre; is there a face in the crop?"
        )
    focal = torch.full_like(camera.focal_px, scale * camera.distance_dm)
    factor = float(focal / camera.focal_px)
    photo = aligned.camera_photo
    focused = replace(
        aligned,
        camera_crop=replace(camera, focal_px=focal),
        camera_photo=replace(photo, focal_px=photo.focal_px * factor),
    )
    centred = points_px - torch.cat([points_px.new_zeros(2), pose.translation[2:].to(points_px)])
    return focused, world_of_map(centred, focused.camera_crop)


def posed_apart(
    points_world: Float[Tensor, "P 3"], canonical_dm: Float[Tensor, "P 3"], topology: Topology
) -> tuple[FaceMesh, Pose]:
    """A face in the world as a mesh in the model frame and its pose: that of the mean face that fits it best."""
    _, rotation, _ = similarity_from_points(canonical_dm.double(), points_world.double())
    middle, mean = points_world.double().mean(0), canonical_dm.double().mean(0)
    translation = middle - rotation @ mean
    vertices = ((points_world.double() - translation) @ rotation).to(points_world)[None]
    normals = vertex_normals(vertices, topology.faces)
    albedo = torch.full_like(vertices, GREY)
    mesh = FaceMesh(vertices, normals, albedo, topology.faces, topology.uv, topology.faces_uv)
    return mesh, Pose(angles_from_rotation(rotation)[None].to(points_world), translation[None].to(points_world))
