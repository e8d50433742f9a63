"""A linear 3D morphable face model and its decoding (docs/deep3d.md section 3; Blanz & Vetter 1999)."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from facewright.geometry.mesh import vertex_normals
from facewright.records import (
    AlbedoSpace,
    Annotations,
    CoefficientLayout,
    FaceCoefficients,
    FaceMesh,
    TensorRecord,
    Topology,
)


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
        topology: triangles, texture coordinates, landmarks, masks, names of the expression modes.
        metadata: JSON-able: name, version, edition, licence, source, albedo_space, exp_prior, ...
    """

    mean_shape: Float[Tensor, "V 3"]
    id_basis: Float[Tensor, "V 3 Kid"]
    exp_basis: Float[Tensor, "V 3 Kexp"]
    mean_albedo: Float[Tensor, "V 3"]
    albedo_basis: Float[Tensor, "V 3 Ktex"]

    def __init__(
        self,
        *,
        mean_shape: Float[Tensor, "V 3"],
        id_basis: Float[Tensor, "V 3 Kid"],
        exp_basis: Float[Tensor, "V 3 Kexp"],
        mean_albedo: Float[Tensor, "V 3"],
        albedo_basis: Float[Tensor, "V 3 Ktex"],
        topology: Topology,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        for name, value in {
            "mean_shape": mean_shape,
            "id_basis": id_basis,
            "exp_basis": exp_basis,
            "mean_albedo": mean_albedo,
            "albedo_basis": albedo_basis,
        }.items():
            self.register_buffer(name, value)
        self.topology = topology
        self.metadata = dict(metadata or {})

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "FaceModel":
        """What ``to``, ``double`` and ``cuda`` do to the bases they do to the topology."""
        super()._apply(fn, recurse)
        self.topology = self.topology.mapped(fn)
        return self

    def mapped(self, change: Callable[[Tensor], Tensor]) -> "FaceModel":
        """Another model, of changed tensors; what ``change`` gives back as it is, both share."""
        bases = {name: change(value) for name, value in self.named_buffers()}
        return FaceModel(**bases, topology=self.topology.mapped(change), metadata=self.metadata)

    @property
    def faces(self) -> Int[Tensor, "F 3"]:
        """Of the topology."""
        return self.topology.faces

    @property
    def uv(self) -> Float[Tensor, "T 2"] | None:
        """Of the topology."""
        return self.topology.uv

    @property
    def faces_uv(self) -> Int[Tensor, "F 3"] | None:
        """Of the topology."""
        return self.topology.faces_uv

    @property
    def annotations(self) -> Annotations:
        """Of the topology."""
        return self.topology.annotations

    @property
    def exp_names(self) -> tuple[str, ...]:
        """Names of the expression modes, empty strings where they have none."""
        return self.topology.morph_names

    @property
    def name(self) -> str:
        """Name of the model, as weights files quote it."""
        return str(self.metadata.get("name", "unnamed"))

    def takes_coefficients_of(self, name: str) -> bool:
        """Whether coefficients of the face model of that name mean the same here: it is this one, or both are crops.

        (Metadata ``crop_of`` names what a model is cut from; its crops are called after it, ``bfm2009-front``.)
        """
        whole = self.metadata.get("crop_of")
        return name == self.name or (isinstance(whole, str) and (name == whole or name.startswith(f"{whole}-")))

    @property
    def edition(self) -> int:
        """Of its coefficients, as weights files quote it: raised when the same ones come to mean other faces."""
        return int(self.metadata.get("edition", 1))

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
        neutral = torch.nn.functional.linear(id_coeff, self.id_basis.flatten(0, 1), self.mean_shape.flatten())
        return torch.addmm(neutral, exp_coeff, self.exp_basis.flatten(0, 1).T).unflatten(1, (-1, 3))

    def points(
        self, ids: Int[Tensor, " N"], id_coeff: Float[Tensor, "B Kid"], exp_coeff: Float[Tensor, "B Kexp"]
    ) -> Float[Tensor, "B N 3"]:
        """Some vertices of ``shape`` (landmarks), at their own cost alone."""
        offset = torch.einsum("vck,bk->bvc", self.id_basis[ids], id_coeff)
        return self.mean_shape[ids] + offset + torch.einsum("vck,bk->bvc", self.exp_basis[ids], exp_coeff)

    def albedo(self, tex_coeff: Float[Tensor, "B Ktex"]) -> Float[Tensor, "B V 3"]:
        """Vertex reflectance; not clamped."""
        flat = torch.nn.functional.linear(tex_coeff, self.albedo_basis.flatten(0, 1), self.mean_albedo.flatten())
        return flat.unflatten(1, (-1, 3))

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


@dataclass(frozen=True)
class MorphableFace(TensorRecord):
    """A face of a face model: coefficients say nothing without the model that they belong to.

    Attributes:
        model: the face model.
        coefficients: one face (batch of 1).
    """

    model: FaceModel
    coefficients: FaceCoefficients

    def mapped(self, change: Callable[[Tensor], Tensor]) -> "MorphableFace":
        """See ``TensorRecord``; the model is another one, as others use it too."""
        return replace(self, model=self.model.mapped(change), coefficients=self.coefficients.mapped(change))
