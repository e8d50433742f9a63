"""From fragments to values at pixels: perspective-correct weights, differentiable in vertex values and positions.

Only covered pixels are computed. For the ray through a pixel centre p (NDC) and corners i with clip coordinates
(x_i, y_i, w_i), let u_i = x_i - p_x w_i and v_i = y_i - p_y w_i. The weight of corner i on the 3D triangle is
proportional to the area u_j v_k - u_k v_j, (i, j, k) cyclic: at the point where the ray meets the triangle,
sum of weight_i (u_i, v_i) = 0. No division by w is needed.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from facewright.compiled import can_compile, compiled
from facewright.records import Fragments


@dataclass(frozen=True)
class SurfaceSamples:
    """The covered pixels of a batch of pictures, as points on triangles (P of them).

    Attributes:
        pixels: place in the flattened (batch, row, column) pictures.
        corners: place of the three corners in flattened (batch, vertex) lists.
        weights: barycentric weights on the 3D triangle.
        shape: batch, height, width of the pictures.
        clip: flattened clip coordinates that the weights depend on; None where no gradient is asked for.
    """

    pixels: Int[Tensor, " P"]
    corners: Int[Tensor, "P 3"]
    weights: Float[Tensor, "P 3"]
    shape: tuple[int, int, int]
    clip: Float[Tensor, "N 4"] | None = None

    def take(self, attributes: Float[Tensor, "B V C"]) -> Float[Tensor, "P C"]:
        """Interpolated vertex values at the covered pixels."""
        values: Any = _Take.apply(attributes.flatten(0, 1), self.clip, self)
        return values

    def put(self, values: Float[Tensor, "P C"]) -> Float[Tensor, "B C H W"]:
        """Pictures of values at the covered pixels, zero elsewhere."""
        batch, height, width = self.shape
        planes: Any = _Put.apply(values, self.pixels, batch * height * width)
        return planes.view(-1, batch, height, width).transpose(0, 1)


def sample_surface(
    vertices_clip: Float[Tensor, "B V 4"], faces: Int[Tensor, "F 3"], fragments: Fragments
) -> SurfaceSamples:
    """The covered pixels; what is taken there has a gradient to ``vertices_clip`` where that asks for one."""
    face_index = fragments.face_index
    pixels = (face_index.flatten() >= 0).nonzero()[:, 0]
    batch, height, width = face_index.shape
    corners = faces.index_select(0, face_index.flatten().index_select(0, pixels))
    if batch > 1:
        corners = corners + (pixels // (height * width) * vertices_clip.shape[1])[:, None]
    weights = fragments.barycentrics.flatten(0, 2).index_select(0, pixels).to(vertices_clip)
    clip = vertices_clip.flatten(0, 1) if vertices_clip.requires_grad and torch.is_grad_enabled() else None
    return SurfaceSamples(pixels, corners, weights, (batch, height, width), clip)


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
    """Perspective-correct weights for a picture of face ids; zero where there is no face. Without a gradient.

    Weights are clamped to the triangle. Snapping moves a triangle's edges by up to 1/2048 px, so the centre of a
    covered pixel can lie that far outside: clamping keeps slivers from extrapolating.
    """
    batch, height, width = face_index.shape
    pixels = (face_index.flatten() >= 0).nonzero()[:, 0]
    corners = faces[face_index.flatten()[pixels]] + (pixels // (height * width) * vertices_clip.shape[1])[:, None]
    precise = torch.float32 if pixels.device.type == "mps" else torch.float64
    clip = vertices_clip.detach().flatten(0, 1).to(precise)
    areas = _corner_areas(*_from_ray(clip, corners.T, _pixel_ndc(pixels, (batch, height, width), precise)))
    areas = (areas * areas.sum(0).sign()).clamp_min(0)
    total = areas.sum(0)
    flat = total == 0  # a triangle seen exactly edge-on
    weights = torch.where(flat, 1.0 / 3.0, areas / torch.where(flat, 1.0, total)).T.to(vertices_clip.dtype)
    return weights.new_zeros(face_index.numel(), 3).index_copy(0, pixels, weights).view(batch, height, width, 3)


def _pixel_ndc(
    pixels: Int[Tensor, " P"], shape: tuple[int, int, int], dtype: torch.dtype
) -> tuple[Float[Tensor, " P"], Float[Tensor, " P"]]:
    """NDC x and y of pixel centres."""
    batch, height, width = shape
    x, y = ((2 * torch.arange(n, dtype=dtype, device=pixels.device) + 1) / n - 1 for n in (width, height))
    pictures = (x.expand(batch, height, width), y[:, None].expand(batch, height, width))
    px, py = (picture.reshape(-1).index_select(0, pixels) for picture in pictures)
    return px, py


def _from_ray(
    clip: Float[Tensor, "N 4"], corners: Int[Tensor, "3 P"], ndc: tuple[Tensor, Tensor]
) -> tuple[Float[Tensor, "3 P"], Float[Tensor, "3 P"]]:
    """U and v of the three corners, one row each."""
    x, y, w = (clip[:, i].contiguous().index_select(0, corners.flatten()).view_as(corners) for i in (0, 1, 3))
    return x - ndc[0] * w, y - ndc[1] * w


def _corner_areas(u: Float[Tensor, "3 P"], v: Float[Tensor, "3 P"]) -> Float[Tensor, "3 P"]:
    return torch.stack([u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]])


class _Take(torch.autograd.Function):
    """Weighted sum of three rows of a table, with analytic derivatives by the table and by clip coordinates.

    The graph of the thirty small operations behind the weights would cost more than the picture itself.
    """

    @staticmethod
    def forward(ctx: Any, table: Tensor, clip: Tensor | None, samples: SurfaceSamples) -> Tensor:
        ctx.save_for_backward(table, clip)
        ctx.samples = replace(samples, clip=None)
        if len(samples.corners) == 0 or table.shape[1] == 0:  # torch refuses empty tables on several threads
            return table.new_zeros(len(samples.corners), table.shape[1])
        weights = samples.weights.to(table)
        return torch.nn.functional.embedding_bag(samples.corners, table, per_sample_weights=weights, mode="sum")

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        table, clip = ctx.saved_tensors
        derive = take_gradients_compiled if table.device.type == "cpu" and can_compile() else take_gradients
        by_table, by_clip = derive(gradients[0], table, clip, ctx.samples)
        return by_table, by_clip, None


class _Put(torch.autograd.Function):
    """Columns of values to planes of pixels, zero where none goes. Whole columns at a time: rows are slower."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, pixels: Tensor, size: int) -> Tensor:
        ctx.save_for_backward(pixels)
        planes = values.new_zeros(values.shape[1], size)
        for plane, column in zip(planes, values.T.contiguous(), strict=True):
            plane.index_copy_(0, pixels, column)
        return planes

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (pixels,) = ctx.saved_tensors
        columns = [plane.index_select(0, pixels) for plane in gradients[0].contiguous()]
        return torch.stack(columns, -1), None, None


def take_gradients(
    gradient: Float[Tensor, "P C"],
    table: Float[Tensor, "N C"],
    clip: Float[Tensor, "N 4"] | None,
    samples: SurfaceSamples,
) -> tuple[Float[Tensor, "N C"], Float[Tensor, "N 4"] | None]:
    """Derivatives of a loss by the table and the clip coordinates, given those by the values taken.

    With weights b = a / sum(a) of areas a(u, v): d b_i / d a_j = ([i = j] - b_i) / sum(a). Clamped ones have no part.
    """
    shares = samples.weights.to(table)[:, :, None] * gradient[:, None]
    by_table = torch.zeros_like(table).index_add_(0, samples.corners.flatten(), shares.flatten(0, 1))
    if clip is None:
        return by_table, None
    corners, weights = samples.corners.T.contiguous(), samples.weights.T.to(clip).contiguous()
    rows = table.index_select(0, samples.corners.flatten()).view(*samples.corners.shape, table.shape[1])
    by_weight = torch.bmm(rows, gradient[:, :, None])[..., 0].T.to(clip)
    px, py = _pixel_ndc(samples.pixels, samples.shape, clip.dtype)
    u, v = _from_ray(clip, corners, (px, py))
    kept = weights > 0
    total = (_corner_areas(u, v) * kept).sum(0)
    by_area = (by_weight - (weights * by_weight).sum(0)) * kept / torch.where(total == 0, torch.inf, total)
    before, after = by_area.roll(1, 0), by_area.roll(-1, 0)
    by_u = before * v.roll(-1, 0) - after * v.roll(1, 0)
    by_v = after * u.roll(1, 0) - before * u.roll(-1, 0)
    moves = torch.stack([by_u, by_v, torch.zeros_like(by_u), -(px * by_u + py * by_v)], -1)
    return by_table, torch.zeros_like(clip).index_add_(0, corners.flatten(), moves.flatten(0, 1))


def take_gradients_compiled(
    gradient: Float[Tensor, "P C"],
    table: Float[Tensor, "N C"],
    clip: Float[Tensor, "N 4"] | None,
    samples: SurfaceSamples,
) -> tuple[Float[Tensor, "N C"], Float[Tensor, "N 4"] | None]:
    """``take_gradients`` in one pass over the pixels."""
    by_table = torch.zeros_like(table)
    by_clip = torch.zeros_like(table[:0, :0]) if clip is None else torch.zeros_like(clip)
    given = (gradient, table, by_clip if clip is None else clip, samples.weights, samples.corners, samples.pixels)
    arrays = [value.detach().contiguous().numpy() for value in given]
    compiled(_gather_gradients)(*arrays, samples.shape[1], samples.shape[2], by_table.numpy(), by_clip.numpy())
    return by_table, None if clip is None else by_clip


def _gather_gradients(gradient, table, clip, weights, corners, pixels, height, width, by_table, by_clip):
    """The loop of ``take_gradients``; ``clip`` is empty where no gradient to it is asked for. For numba."""
    by_area = np.zeros(3)
    u, v = np.zeros(3), np.zeros(3)
    for p in range(pixels.shape[0]):
        for i in range(3):
            total = 0.0
            for c in range(table.shape[1]):
                by_table[corners[p, i], c] += weights[p, i] * gradient[p, c]
                total += table[corners[p, i], c] * gradient[p, c]
            by_area[i] = total
        if clip.shape[0] == 0:
            continue
        place = pixels[p] % (height * width)
        px, py = (2.0 * (place % width) + 1.0) / width - 1.0, (2.0 * (place // width) + 1.0) / height - 1.0
        for i in range(3):
            x, y, w = clip[corners[p, i], 0], clip[corners[p, i], 1], clip[corners[p, i], 3]
            u[i], v[i] = x - px * w, y - py * w
        area, mean = 0.0, 0.0
        for i in range(3):
            j, k = (i + 1) % 3, (i + 2) % 3
            mean += weights[p, i] * by_area[i]
            if weights[p, i] > 0:
                area += u[j] * v[k] - u[k] * v[j]
        if area == 0:
            continue
        for i in range(3):
            by_area[i] = (by_area[i] - mean) / area if weights[p, i] > 0 else 0.0
        for i in range(3):
            j, k = (i + 1) % 3, (i + 2) % 3
            by_u = by_area[k] * v[j] - by_area[j] * v[k]
            by_v = by_area[j] * u[k] - by_area[k] * u[j]
            by_clip[corners[p, i], 0] += by_u
            by_clip[corners[p, i], 1] += by_v
            by_clip[corners[p, i], 3] -= px * by_u + py * by_v
