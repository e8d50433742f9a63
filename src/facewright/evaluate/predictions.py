"""Where the meshes of scan benchmarks come from: a method that sees the photos, files of any program, the mean head."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from facewright.errors import BenchmarkError, NoFaceFoundError
from facewright.evaluate.alignment import procrustes
from facewright.evaluate.methods import MM_PER_DM, Measurable, facts_of, require_ibug68
from facewright.evaluate.scan_files import MESH_SUFFIXES, beside, read_points, read_surface
from facewright.evaluate.scan_protocol import FacePoints
from facewright.evaluate.surfaces import Surface
from facewright.files import natural_order
from facewright.geometry.ibug68 import SEVEN_OF_68
from facewright.geometry.mesh import face_normals
from facewright.morphable.linear import FaceModel
from facewright.records import FaceCoefficients, Photo, Topology

PhotoOfFace = tuple[Callable[[], Photo], Tensor | None]
"""Loads a photo; and a box near the face in it, where one is known."""
LARGEST_MISFIT, MIRROR_RATIO = 0.115, 0.7
"""RMS distance of seven points from the mean head's, after a similarity, over the outer eye distance: 600 random heads
with expressions measure below 0.09, any two points exchanged above 0.13. And over that of the mirrored points: people
fit at least 1.5 times better than their mirror images."""


@dataclass(frozen=True)
class PredictedMesh:
    """A predicted face in its own frame, mm (or any unit, where the protocol finds the scale).

    Attributes:
        surface: the mesh as a scanner would see it: without eyeballs' backs, teeth, tongue, the mouth's inside.
        given_seven_mm: as ``ibug68.SEVEN_OF_68``; None where a file has no landmarks.
        ibug68_mm: all 68 points; None where a file has only the seven.
        all_vertices_mm: every vertex of the topology in its order, where ``surface`` has not all; else None.
    """

    surface: Surface
    given_seven_mm: Float[ndarray, "7 3"] | None
    ibug68_mm: Float[ndarray, "68 3"] | None = None
    all_vertices_mm: Float[ndarray, "V 3"] | None = None

    @property
    def seven_mm(self) -> Float[ndarray, "7 3"]:
        """For protocols that align by them.

        Raises:
            BenchmarkError: the prediction has no landmarks.
        """
        if self.given_seven_mm is None:
            raise BenchmarkError(
                "expected landmarks beside the predicted mesh (.npy or .txt, 7 or 68 rows), found none"
            )
        return self.given_seven_mm

    @property
    def in_topology_mm(self) -> Float[ndarray, "V 3"]:
        """Every vertex, for errors vertex by vertex."""
        return self.surface.vertices_mm if self.all_vertices_mm is None else self.all_vertices_mm

    @property
    def face_points(self) -> FacePoints:
        """For protocols that crop around the nose tip.

        Raises:
            BenchmarkError: the 68 points are not known.
        """
        if self.ibug68_mm is None:
            raise BenchmarkError(
                "expected 68 landmarks beside the predicted mesh (the nose tip is needed), found fewer"
            )
        return FacePoints.from_ibug68(self.ibug68_mm)


@runtime_checkable
class MeshSource(Protocol):
    """Anything that has a mesh for each case of a scan benchmark."""

    @property
    def name(self) -> str:
        """Of the method."""
        ...

    @property
    def facts(self) -> dict[str, Any]:
        """``weights``, ``face_model`` and ``settings`` for the result."""
        ...

    @property
    def topology(self) -> Surface | None:
        """The mesh that errors can be drawn on, where all predictions share its vertices."""
        ...

    def mesh(self, key: str, photos: Sequence[PhotoOfFace], *, expression: bool) -> PredictedMesh:
        """The prediction for a case.

        Args:
            key: name of the case: the path of its photo or video without suffix.
            photos: of the case. Several: the shapes are averaged.
            expression: whether the expression is part of the shape.

        Raises:
            BenchmarkError: no prediction, or a malformed one.
            NoFaceFoundError: in none of the photos.
        """
        ...

    def unused(self, keys: set[str]) -> list[str]:
        """Predictions that belong to no case."""
        ...


@dataclass(frozen=True)
class MethodMeshes:
    """Meshes of a method that sees the photos.

    Attributes:
        method: runs on each photo.
    """

    method: Measurable

    @property
    def name(self) -> str:
        """Of the method."""
        return self.method.name

    @property
    def facts(self) -> dict[str, Any]:
        """For the result."""
        return facts_of(self.method)

    @property
    def topology(self) -> Surface | None:
        """The mean head; none of methods that find meshes alone."""
        model = self.method.face_model
        return None if model is None else mean_mesh(model).surface

    def mesh(self, key: str, photos: Sequence[PhotoOfFace], *, expression: bool) -> PredictedMesh:
        """See ``MeshSource``; photos without a face are left out of the average."""
        total, count, topology = np.zeros(1), 0, None
        for load, near in photos:
            photo = load()
            try:
                estimate = self.method.estimate(photo, self.method.find(photo, near))
            except NoFaceFoundError:
                continue
            total = total + estimate.vertices_mm(expression=expression)
            count, topology = count + 1, estimate.topology
        if topology is None:
            raise NoFaceFoundError(f"expected a face in {key} ({len(photos)} photos), found none")
        vertices, model = total / count, self.method.face_model
        usual = vertices if model is None else MM_PER_DM * model.mean_shape.double().cpu().numpy()
        return _of_topology(topology, vertices, usual)

    def unused(self, keys: set[str]) -> list[str]:
        """Nothing: a method predicts what it is asked for."""
        return []


@dataclass(frozen=True)
class MeanHead:
    """The same mesh for everyone: the baseline.

    Attributes:
        face_model: whose mean.
    """

    face_model: FaceModel
    name: str = "mean"

    @property
    def facts(self) -> dict[str, Any]:
        """For the result."""
        return {"face_model": self.face_model.name}

    @property
    def topology(self) -> Surface | None:
        """The mean head."""
        return mean_mesh(self.face_model).surface

    def mesh(self, key: str, photos: Sequence[PhotoOfFace], *, expression: bool) -> PredictedMesh:
        """The mean."""
        return mean_mesh(self.face_model)

    def unused(self, keys: set[str]) -> list[str]:
        """Nothing."""
        return []


@dataclass(frozen=True)
class FileMeshes:
    """Meshes that another program has written: ``<key>.obj`` (.ply) and its points ``<key>.npy`` or ``.txt``.

    Points are 68 or 7 rows in the mesh's own coordinates; or ``landmark_vertices.txt`` in the folder holds 68 vertex
    ids for all meshes (one topology).

    Attributes:
        folder: holds the keys' paths.
        name: of the method.
        mm_per_unit: of meshes and points.
    """

    folder: Path
    name: str = "files"
    mm_per_unit: float = 1.0
    facts: dict[str, Any] = field(default_factory=dict)
    topology: Surface | None = None

    def mesh(self, key: str, photos: Sequence[PhotoOfFace], *, expression: bool) -> PredictedMesh:
        """See ``MeshSource``; the photos are not looked at."""
        path = self._find(key)
        surface = read_surface(path, mm_per_unit=self.mm_per_unit)
        usual = self._usual_count
        if usual and len(surface.vertices_mm) != usual:
            raise BenchmarkError(
                f"{path.name}: expected {usual} vertices as in other predictions, received {len(surface.vertices_mm)}"
            )
        ids = self._landmark_vertices
        if ids is not None:
            if ids.max() >= len(surface.vertices_mm):
                raise BenchmarkError(f"{path.name}: landmark_vertices.txt names vertex {ids.max()}, which it lacks")
            points = surface.vertices_mm[ids]
        else:
            file = beside(path, ".npy", ".txt")
            if file is None:
                return PredictedMesh(surface, None)
            points = read_points(file, (7, 68), mm_per_unit=self.mm_per_unit)
        return PredictedMesh(
            surface, points if len(points) == 7 else points[SEVEN_OF_68], points if len(points) == 68 else None
        )

    def unused(self, keys: set[str]) -> list[str]:
        """Meshes that belong to no case."""
        found = {str(path.relative_to(self.folder).with_suffix("").as_posix()) for path in self._meshes}
        return natural_order(found - keys)

    def _find(self, key: str) -> Path:
        choices = [self.folder / (key + suffix) for suffix in MESH_SUFFIXES]
        path = next((choice for choice in choices if choice.is_file()), None)
        if path is None:
            raise BenchmarkError(f"expected a prediction {key}.obj (or .ply), found none")
        return path

    @cached_property
    def _usual_count(self) -> int:
        """Vertices of most of a few predictions; 0 if there are none that can be read."""
        some = self._meshes[:: max(1, len(self._meshes) // 9)]
        counts: Counter[int] = Counter()
        for path in some:
            try:
                counts[len(read_surface(path).vertices_mm)] += 1
            except BenchmarkError:
                continue  # it is named when its own case comes
        return counts.most_common(1)[0][0] if counts else 0

    @cached_property
    def _meshes(self) -> list[Path]:
        return natural_order(path for path in self.folder.rglob("*") if path.suffix.lower() in MESH_SUFFIXES)

    @cached_property
    def _landmark_vertices(self) -> ndarray | None:
        path = self.folder / "landmark_vertices.txt"
        if not path.is_file():
            return None
        ids = np.loadtxt(path, dtype=np.int64, ndmin=1)
        if ids.shape != (68,) or ids.min() < 0:
            raise BenchmarkError(f"expected 68 vertex ids in {path.name}, received shape {ids.shape}")
        return ids


def mean_mesh(model: FaceModel) -> PredictedMesh:
    """The mean head of a face model."""
    mean = MM_PER_DM * model.mean_shape.double().cpu().numpy()
    return _of_topology(model.topology, mean, mean)


def mesh_of_coefficients(model: FaceModel, coefficients: FaceCoefficients) -> PredictedMesh:
    """The outside of a decoded face, with its landmarks.

    Args:
        model: decodes.
        coefficients: one face; its expression is decoded too.
    """
    decoded = model.decode(coefficients).vertices[0]
    vertices, usual = (MM_PER_DM * values.double().cpu().numpy() for values in (decoded, model.mean_shape))
    return _of_topology(model.topology, vertices, usual)


def landmark_misfit(seven_mm: Float[ndarray, "7 3"], mean_seven_mm: Float[ndarray, "7 3"]) -> str:
    """What seems wrong with seven points: exchanged or mirrored ones; empty if they look like a face's.

    Args:
        seven_mm: as ``ibug68.SEVEN_OF_68``, any unit and pose.
        mean_seven_mm: of a mean head.
    """
    size = float(np.linalg.norm(mean_seven_mm[0] - mean_seven_mm[3]))

    def misfit(points: ndarray) -> float:
        fit = procrustes(points, mean_seven_mm)
        return float(np.sqrt(np.square(fit.apply(points) - mean_seven_mm).sum(-1).mean())) / size

    straight = misfit(seven_mm)
    if misfit(seven_mm * [-1.0, 1.0, 1.0]) < MIRROR_RATIO * straight:
        return "its landmarks are those of a mirrored face: left and right are exchanged"
    if straight > LARGEST_MISFIT:
        return (
            f"its landmarks form no face (misfit {straight:.2f} of the eye distance): some are exchanged or misplaced"
        )
    return ""


def require_face(points: Float[ndarray, "7 3"], mean_seven_mm: Float[ndarray, "7 3"], name: str) -> None:
    """Refuse points that form no face.

    Raises:
        BenchmarkError: see ``landmark_misfit``.
    """
    problem = landmark_misfit(points, mean_seven_mm)
    if problem:
        raise BenchmarkError(f"{name}: {problem}")


def _of_topology(
    topology: Topology, vertices_mm: Float[ndarray, "V 3"], usual_mm: Float[ndarray, "V 3"]
) -> PredictedMesh:
    points = vertices_mm[require_ibug68(topology, "the predicted mesh").cpu().numpy()]
    outside, faces = outer_surface(topology, usual_mm)
    return PredictedMesh(Surface(vertices_mm[outside], faces), points[SEVEN_OF_68], points, vertices_mm)


def outer_surface(
    topology: Topology, usual_mm: Float[ndarray, "V 3"]
) -> tuple[Int[ndarray, " N"], Int[ndarray, "M 3"]]:
    """Vertices of a head's outside, and the faces among them: what is inside would be measured as error.

    Skin without the mouth's inside, and the eyes where they look out; all faces of meshes that name no parts.

    Args:
        topology: of the head.
        usual_mm: a usual head (the mean), whose eyes say which of their faces look out.
    """
    faces = topology.faces.cpu().numpy().astype(np.int64)
    parts, inside = topology.annotations.face_parts, topology.annotations.regions.get("mouth_inside")
    kept = np.ones(len(faces), bool)
    if "head" in parts and inside is not None:
        skin = parts["head"].cpu().numpy() & ~(inside.cpu().numpy() > 0.5)[faces].all(1)
        forward = face_normals(torch.from_numpy(usual_mm), torch.from_numpy(faces))[:, 2].numpy() > 0.2
        kept = skin | (parts["eyes"].cpu().numpy() & forward if "eyes" in parts else False)
    ids, renumbered = np.unique(faces[kept], return_inverse=True)
    return ids, renumbered.reshape(-1, 3)
