"""A linear 3D morphable face model and its decoding (docs/deep3d.md section 3; Blanz & Vetter 1999)."""

from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from facewright.geometry.mesh import vertex_normals
from facewright.records import AlbedoSpace, CoefficientLayout, FaceCoefficients, FaceMesh


@dataclass(frozen=True)
class Embedding:
    """Points glued to a mesh: each lies in one triangle.

    Attributes:
        corners: vertex ids of the triangle that holds the point.
        weights: barycentric weights; they sum to one.
    """

    corners: Int[Tensor, "L 3"]
    weights: Float[Tensor, "L 3"]

    def of(self, vertices: Float[Tensor, "*B V 3"]) -> Float[Tensor, "*B L 3"]:
        """Where the points are on these vertices, in the vertices' frame."""
        picked = vertices[..., self.corners.to(vertices.device), :]
        return (picked * self.weights.to(vertices)[..., None]).sum(-2)


@dataclass(frozen=True)
class Annotations:
    """What is known about a model's topology besides its shape.

    Attributes:
        ibug68: vertex ids of the iBUG-68 landmarks (3D definition: fixed vertices); None if the model has none.
        five: embedding-free five points: name kept for alignment; vertex ids per point whose mean is the point
            (eye corners for the eyes: ids padded with -1).
        contours: rows of vertex ids over which a jaw landmark slides as the head turns, one row per jaw landmark 0..16,
            ordered from front to back, padded with -1; None if unknown.
        mesh468: embedding of the detector's 468 points; None if unknown.
        mesh468_trust: 0..1 per detector point: how well it is glued.
        regions: name -> soft vertex mask 0..1 (skin, lips, brows, eyes, nose, ears, scalp, photometric, ...).
        face_parts: name of the part -> mask over faces (head, eyes, teeth, tongue, mouth socket), hard.
        mirror: id of each vertex's left-right partner (its own on the midline); None if unknown.
    """

    ibug68: Int[Tensor, "68"] | None = None
    five: Int[Tensor, "5 N"] | None = None
    contours: Int[Tensor, "17 M"] | None = None
    mesh468: Embedding | None = None
    mesh468_trust: Float[Tensor, "468"] | None = None
    regions: dict[str, Float[Tensor, " V"]] = field(default_factory=dict)
    face_parts: dict[str, Bool[Tensor, " F"]] = field(default_factory=dict)
    mirror: Int[Tensor, " V"] | None = None


class FaceModel(nn.Module):
    """A linear 3DMM: shape S = mean + id_basis a + exp_basis b, albedo T = mean + albedo_basis d.

    Bases are scaled by their standard deviations, so coefficients are standard normal (or weights in 0..1 for
    ``exp_prior == "box"``). Unit decimetre, y up, face along +z, origin where the Deep3D crop expects it.

    Args:
        mean_shape: dm.
        id_basis: dm per unit coefficient.
        exp_basis: dm per unit coefficient.
        mean_albedo: RGB, coded as ``metadata["albedo_space"]`` says.
        albedo_basis: the same per unit coefficient.
        faces: counter-clockwise from outside.
        uv: texture coordinates, origin bottom-left; None if the model has none.
        faces_uv: ids into ``uv`` per face corner.
        exp_names: names of expression modes, empty strings where they have none.
        annotations: landmarks, masks, symmetry.
        metadata: JSON-able: name, version, licence, source, albedo_space, exp_prior, ...
    """

    mean_shape: Float[Tensor, "V 3"]
    id_basis: Float[Tensor, "V 3 Kid"]
    exp_basis: Float[Tensor, "V 3 Kexp"]
    mean_albedo: Float[Tensor, "V 3"]
    albedo_basis: Float[Tensor, "V 3 Ktex"]
    faces: Int[Tensor, "F 3"]
    uv: Float[Tensor, "T 2"] | None
    faces_uv: Int[Tensor, "F 3"] | None

    def __init__(
        self,
        *,
        mean_shape: Float[Tensor, "V 3"],
        id_basis: Float[Tensor, "V 3 Kid"],
        exp_basis: Float[Tensor, "V 3 Kexp"],
        mean_albedo: Float[Tensor, "V 3"],
        albedo_basis: Float[Tensor, "V 3 Ktex"],
        faces: Int[Tensor, "F 3"],
        uv: Float[Tensor, "T 2"] | None = None,
        faces_uv: Int[Tensor, "F 3"] | None = None,
        exp_names: tuple[str, ...] = (),
        annotations: Annotations | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        for name, value in {
            "mean_shape": mean_shape,
            "id_basis": id_basis,
            "exp_basis": exp_basis,
            "mean_albedo": mean_albedo,
            "albedo_basis": albedo_basis,
            "faces": faces,
            "uv": uv,
            "faces_uv": faces_uv,
        }.items():
            self.register_buffer(name, value)
        self.exp_names = exp_names
        self.annotations = annotations or Annotations()
        self.metadata = dict(metadata or {})

    @property
    def name(self) -> str:
        """Name of the model, as weights files quote it."""
        return str(self.metadata.get("name", "unnamed"))

    @property
    def layout(self) -> CoefficientLayout:
        """Numbers of coefficients."""
        return CoefficientLayout(self.id_basis.shape[2], self.exp_basis.shape[2], self.albedo_basis.shape[2])

    @property
    def albedo_space(self) -> AlbedoSpace:
        """Coding of the albedo."""
        return "display" if self.metadata.get("albedo_space") == "display" else "linear"

    @property
    def exp_is_box(self) -> bool:
        """Whether expression coefficients are weights in 0..1 (blendshapes) instead of standard normal."""
        return self.metadata.get("exp_prior") == "box"

    def shape(self, id_coeff: Float[Tensor, "B Kid"], exp_coeff: Float[Tensor, "B Kexp"]) -> Float[Tensor, "B V 3"]:
        """Vertices in the model frame, dm."""
        offset = torch.einsum("vck,bk->bvc", self.id_basis, id_coeff)
        return self.mean_shape + offset + torch.einsum("vck,bk->bvc", self.exp_basis, exp_coeff)

    def points(
        self, ids: Int[Tensor, " N"], id_coeff: Float[Tensor, "B Kid"], exp_coeff: Float[Tensor, "B Kexp"]
    ) -> Float[Tensor, "B N 3"]:
        """Some vertices of ``shape`` (landmarks), at their own cost alone."""
        offset = torch.einsum("vck,bk->bvc", self.id_basis[ids], id_coeff)
        return self.mean_shape[ids] + offset + torch.einsum("vck,bk->bvc", self.exp_basis[ids], exp_coeff)

    def albedo(self, tex_coeff: Float[Tensor, "B Ktex"]) -> Float[Tensor, "B V 3"]:
        """Vertex reflectance; not clamped."""
        return self.mean_albedo + torch.einsum("vck,bk->bvc", self.albedo_basis, tex_coeff)

    def decode(self, coefficients: FaceCoefficients) -> FaceMesh:
        """Coefficients to a mesh in the model frame (pose and light are not applied).

        Raises:
            ValueError: coefficient counts do not fit the model.
        """
        got = CoefficientLayout(coefficients.id.shape[-1], coefficients.exp.shape[-1], coefficients.tex.shape[-1])
        if got != self.layout:
            raise ValueError(
                f"face model {self.name!r} expects {self.layout}, received {got}; decode with the face model "
                "that the coefficients were made for (--face-model)"
            )
        vertices = self.shape(coefficients.id, coefficients.exp)
        return FaceMesh(
            vertices,
            vertex_normals(vertices, self.faces),
            self.albedo(coefficients.tex),
            self.faces,
            self.uv,
            self.faces_uv,
            self.albedo_space,
        )
