"""From fragments to values at pixels: perspective-correct weights, differentiable in vertex values and positions.

Only covered pixels are computed. For the ray through a pixel centre p (NDC) and corners i with clip coordinates
(x_i, y_i, w_i), let u_i = x_i - p_x w_i and v_i = y_i - p_y w_i. The weight of corner i on the 3D triangle is
proportional to the area u_j v_k - u_k v_j, (i, j, k) cyclic: at the point where the ray meets the triangle,
sum of weight_i (u_i, v_i) = 0. No division by w is needed.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from facewright.records import Fragments


@dataclass(frozen=True)
class SurfaceSamples:
    """The covered pixels of a batch of pictures, as points on triangles (P of them).

    Attributes:
        pixels: place in the flattened (batch, row, column) pictures.
        corners: place of the three corners in flattened (batch, vertex) lists.
        weights: barycentric weights on the 3D triangle.
        shape: batch, height, width of the pictures.
    """

    pixels: Int[Tensor, " P"]
    corners: Int[Tensor, "P 3"]
    weights: Float[Tensor, "P 3"]
    shape: tuple[int, int, int]

    def take(self, attributes: Float[Tensor, "B V C"]) -> Float[Tensor, "P C"]:
        """Interpolated vertex values at the covered pixels."""
        picked = torch.nn.functional.embedding(self.corners, attributes.flatten(0, 1))
        return (picked * self.weights[..., None]).sum(1)

    def put(self, values: Float[Tensor, "P C"]) -> Float[Tensor, "B C H W"]:
        """Pictures of values at the covered pixels, zero elsewhere."""
        batch, height, width = self.shape
        flat = values.new_zeros(batch * height * width, values.shape[1]).index_copy(0, self.pixels, values)
        return flat.view(batch, height, width, -1).permute(0, 3, 1, 2)


def sample_surface(
    vertices_clip: Float[Tensor, "B V 4"], faces: Int[Tensor, "F 3"], fragments: Fragments
) -> SurfaceSamples:
    """The covered pixels; weights carry a gradient to ``vertices_clip`` where that asks for one."""
    face_index = fragments.face_index
    pixels = (face_index.flatten() >= 0).nonzero()[:, 0]
    batch, height, width = face_index.shape
    corners = faces[face_index.flatten()[pixels]]
    if batch > 1:
        corners = corners + (pixels // (height * width) * vertices_clip.shape[1])[:, None]
    if vertices_clip.requires_grad and torch.is_grad_enabled():
        weights = _weights(vertices_clip, corners, pixels, (height, width))
    else:
        weights = fragments.barycentrics.flatten(0, 2)[pixels].to(vertices_clip)
    return SurfaceSamples(pixels, corners, weights, (batch, height, width))


def interpolate(
    attributes: Float[Tensor, "B V C"],
    vertices_clip: Float[Tensor, "B V 4"],
    faces: Int[Tensor, "F 3"],
    fragments: Fragments,
) -> Float[Tensor, "B C H W"]:
    """Perspective-correct pictures of vertex values, zero where there is no face.

    Differentiable in ``attributes`` and, through the weights, in ``vertices_clip``; which face a pixel shows is fixed.
    """
    samples = sample_surface(vertices_clip, faces, fragments)
    return samples.put(samples.take(attributes))


def fragment_barycentrics(
    vertices_clip: Float[Tensor, "B V 4"], faces: Int[Tensor, "F 3"], face_index: Int[Tensor, "B H W"]
) -> Float[Tensor, "B H W 3"]:
    """Perspective-correct weights for a picture of face ids; zero where there is no face."""
    shape = face_index.shape
    pixels = (face_index.flatten() >= 0).nonzero()[:, 0]
    corners = faces[face_index.flatten()[pixels]] + (pixels // (shape[1] * shape[2]) * vertices_clip.shape[1])[:, None]
    weights = _weights(vertices_clip, corners, pixels, (shape[1], shape[2]))
    return weights.new_zeros(face_index.numel(), 3).index_copy(0, pixels, weights).view(*shape, 3)


def _weights(vertices_clip: Tensor, corners: Tensor, pixels: Tensor, size: tuple[int, int]) -> Float[Tensor, "P 3"]:
    """Weights of the corners where the pixels' rays meet the triangles, clamped to the triangle.

    Snapping moves a triangle's edge by up to 1/2048 px, so a covered pixel's centre can lie that far outside: clamping
    keeps slivers from extrapolating.
    """
    height, width = size
    place = pixels % (height * width)
    px = ((place % width).to(vertices_clip) * 2 + 1) / width - 1
    py = ((place // width).to(vertices_clip) * 2 + 1) / height - 1
    x, y, _, w = torch.nn.functional.embedding(corners, vertices_clip.flatten(0, 1)).unbind(-1)
    u, v = x - px[:, None] * w, y - py[:, None] * w
    (u0, u1, u2), (v0, v1, v2) = u.unbind(-1), v.unbind(-1)
    areas = torch.stack([u1 * v2 - u2 * v1, u2 * v0 - u0 * v2, u0 * v1 - u1 * v0], -1)
    areas = (areas * areas.detach().sum(-1, keepdim=True).sign()).clamp_min(0)
    total = areas.sum(-1, keepdim=True)
    flat = total == 0  # a triangle seen exactly edge-on
    return torch.where(flat, 1.0 / 3.0, areas / torch.where(flat, 1.0, total))
