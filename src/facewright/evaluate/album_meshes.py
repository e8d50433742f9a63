"""Meshes of image sets by the album flow: one identity out of all photos of a case, instead of an average of shapes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from facewright.errors import BenchmarkError, FacewrightError, NoFaceFoundError
from facewright.evaluate.methods import FlowMethod, facts_of
from facewright.evaluate.predictions import PhotoOfFace, PredictedMesh, mean_mesh, mesh_of_coefficients
from facewright.evaluate.surfaces import Surface
from facewright.pipeline.album.observations import Observation, observe
from facewright.pipeline.album.person import AlbumMethod, person_of
from facewright.pipeline.album.weighing import Weighing
from facewright.pipeline.flow import Reconstructor


@dataclass(frozen=True)
class AlbumMeshes:
    """A ``MeshSource`` that joins the photos of a case as ``reconstruct --album`` does; all are of one person.

    Attributes:
        method: whose flow looks at the photos.
        weighing: of the photos.
    """

    method: FlowMethod
    weighing: Weighing

    @property
    def name(self) -> str:
        """Of the method, and how photos are weighed."""
        return f"{self.method.name}, album by {self.weighing.name}"

    @property
    def facts(self) -> dict[str, Any]:
        """For the result."""
        own = facts_of(self.method)
        album = {"weighing": self.weighing.name, "weights": self.weighing.weights}
        return own | {"settings": own["settings"] | {"album": album}}

    @property
    def topology(self) -> Surface | None:
        """The mean head."""
        model = self.method.face_model
        return None if model is None else mean_mesh(model).surface

    def mesh(self, key: str, photos: Sequence[PhotoOfFace], *, expression: bool) -> PredictedMesh:
        """See ``MeshSource``; photos without a face are left out.

        Raises:
            NoFaceFoundError: there is no face in any.
            BenchmarkError: the benchmark wants the expression, which several photos have several of.
        """
        if expression:
            raise BenchmarkError("expected a benchmark of neutral faces for --album, received one with expressions")
        flow: Reconstructor = self.method.flow
        seen: list[Observation] = []
        for number, (load, near) in enumerate(photos):
            try:
                photo = load()
                face = flow.faces_in(photo, detections=[self.method.find(photo, near)])[0]
            except FacewrightError:
                continue
            (weighed,) = self.weighing.weighed([face])
            seen.append(replace(observe(face, weighed), photo=photo.path or f"{key}#{number}"))
        if not seen:
            raise NoFaceFoundError(f"expected a face in {key} ({len(photos)} photos), found none")
        method = AlbumMethod.of(flow.estimator)
        return mesh_of_coefficients(method.face_model, person_of(seen, method).identity)

    def unused(self, keys: set[str]) -> list[str]:
        """Nothing: a method predicts what it is asked for."""
        return []
