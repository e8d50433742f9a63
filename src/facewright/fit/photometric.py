"""The photometric term of a fit: shaded triangles against the photo, sampled where their centres fall.

The energy lives on triangles instead of pixels (as in Blanz & Vetter 1999): a Gauss-Newton step then costs a few
thousand rows, whatever the photo's size. At a centre, colour interpolated from the corners is linear around the sample,
so the photo's own blur does not bias it (at a vertex, a local extreme, it would).
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from facewright.compiled import can_compile
from facewright.fit.motion import (
    LinearPoints,
    Motion,
    bag,
    mean_of_corners,
    normal_motion,
    pixel_motion,
    standing_still,
    surface_of,
    world_motion,
)
from facewright.fit.parameters import Unknowns
from facewright.fit.photometric_rows import add_appearance_rows, add_shape_rows
from facewright.fit.solver import LinearTerm
from facewright.geometry.color import srgb_from_linear
from facewright.geometry.frames import project_points
from facewright.geometry.rotations import rotation_from_angles
from facewright.morphable.linear import FaceModel
from facewright.records import Camera, FaceCoefficients, TensorRecord
from facewright.render.lighting import sh_basis, sh_basis_gradient, sh_with_offset

MAX_COMPARED = 1500
"""Triangles are thinned out evenly to fewer than twice this many: neighbours say the same, and the cost is in rows."""


@dataclass(frozen=True)
class ColoredPatch(TensorRecord):
    """The part of a face model that the photometric term looks at.

    Attributes:
        ids: the model's vertices that carry colour; they come first in ``points``.
        points: colour-carrying vertices, then the neighbours that their normals need.
        faces: triangles among ``points``, for the normals.
        vertex_faces: rows of ``faces`` around each colour-carrying vertex, padded with F.
        compared: the triangles that are compared; corners are colour-carrying vertices.
        around: the points that move each of them or turn its normals, padded with the first.
        spokes: places in ``around`` of the corners of the faces around each of its corners; whatever where these are
            padded.
        mean_albedo: of the colour-carrying vertices.
        albedo_basis: of the colour-carrying vertices.
        weight: 0..1 per compared triangle.
        display: whether albedo is display-coded already (BFM) instead of linear.
    """

    ids: Int[Tensor, " N"]
    points: LinearPoints
    faces: Int[Tensor, "F 3"]
    vertex_faces: Int[Tensor, "N M"]
    compared: Int[Tensor, "G 3"]
    around: Int[Tensor, "G L"]
    spokes: Int[Tensor, "G 3 M 3"]
    mean_albedo: Float[Tensor, "N 3"]
    albedo_basis: Float[Tensor, "N 3 K"]
    weight: Float[Tensor, " G"]
    display: bool

    def shown(self, visible: Float[Tensor, " G"], *, every: int = 1) -> "ColoredPatch":
        """The same with the visible triangles alone, or some of them: hidden ones weigh nothing, and cost as much."""
        rows = visible.nonzero()[::every, 0]
        parts = (getattr(self, name).index_select(0, rows) for name in ("compared", "around", "spokes", "weight"))
        return replace(self, **dict(zip(("compared", "around", "spokes", "weight"), parts, strict=True)))


def colored_patch(model: FaceModel, region: Float[Tensor, " V"]) -> ColoredPatch:
    """Cut the triangles whose corners all have a positive region weight, with the ring around them for the normals."""
    compared = model.faces[(region[model.faces] > 0).all(-1)]
    compared = compared[:: max(1, len(compared) // MAX_COMPARED)]
    colored = torch.zeros_like(region, dtype=torch.bool)
    colored[compared.flatten()] = True
    faces = model.faces[colored[model.faces].any(-1)]
    ring = torch.zeros_like(colored)
    ring[faces.flatten()] = True
    ids = colored.nonzero()[:, 0]
    order = torch.cat([ids, (ring & ~colored).nonzero()[:, 0]])
    place = torch.full_like(colored, -1, dtype=torch.long)
    place[order] = torch.arange(len(order), device=order.device)
    basis = torch.cat([model.id_basis[order], model.exp_basis[order]], -1)
    vertex_faces = faces_around(place[faces], len(ids))
    around, spokes = surroundings(place[compared], place[faces], vertex_faces)
    return ColoredPatch(
        ids,
        LinearPoints(model.mean_shape[order], basis),
        place[faces],
        vertex_faces,
        place[compared],
        around,
        spokes,
        model.mean_albedo[ids],
        model.albedo_basis[ids],
        region[compared].mean(-1),
        model.albedo_space == "display",
    )


def faces_around(faces: Int[Tensor, "F 3"], count: int) -> Int[Tensor, "N M"]:
    """Ids of the faces around each of the first ``count`` vertices, padded with F (as ``point_buf``, but 0-based)."""
    vertex, order = faces.flatten().sort(stable=True)
    face = torch.div(order, 3, rounding_mode="floor")
    first = torch.searchsorted(vertex, torch.arange(int(vertex.max()) + 2, device=faces.device))
    rank = torch.arange(len(vertex), device=faces.device) - first[vertex]
    keep = vertex < count
    table = torch.full((count, int(rank[keep].max()) + 1), len(faces), device=faces.device)
    table[vertex[keep], rank[keep]] = face[keep]
    return table


def surroundings(
    compared: Int[Tensor, "G 3"], faces: Int[Tensor, "F 3"], vertex_faces: Int[Tensor, "N M"]
) -> tuple[Int[Tensor, "G L"], Int[Tensor, "G 3 M 3"]]:
    """``around`` and ``spokes`` of ``ColoredPatch``."""
    found = vertex_faces[compared]
    padded = found == len(faces)
    corners = faces[found.masked_fill(padded, 0)]
    # what stands in the place of what is not there is there too: the triangle's own first corner
    corners = torch.where(padded[..., None], compared[:, :1, None, None], corners)
    ordered, order = corners.flatten(1).sort(1)
    rank = torch.nn.functional.pad((ordered.diff(dim=1) != 0).long().cumsum(1), (1, 0))
    around = ordered[:, :1].repeat(1, int(rank.max()) + 1).scatter(1, rank, ordered)
    return around, torch.zeros_like(rank).scatter(1, order, rank).view_as(corners)


@dataclass(frozen=True)
class PhotoSamples(TensorRecord):
    """A blurred crop and its slope.

    Attributes:
        values: sRGB-coded colour, then its derivative by column, then by row, per pixel.
    """

    values: Float[Tensor, "9 H W"]

    def at(self, pixels: Float[Tensor, "N 2"]) -> Float[Tensor, "N 3 3"]:
        """[colour, d/dcolumn, d/drow] x RGB at pixel positions, bilinear, edge values outside."""
        height, width = self.values.shape[-2:]
        size = pixels.new_tensor([width, height])
        grid = ((2.0 * pixels + 1.0) / size - 1.0)[None, None]
        sampled = torch.nn.functional.grid_sample(
            self.values[None], grid, mode="bilinear", padding_mode="border", align_corners=False
        )
        return sampled[0, :, 0].T.unflatten(-1, (3, 3))


def photo_samples(crop: Float[Tensor, "3 H W"], blur_px: float) -> PhotoSamples:
    """Blur a crop with a Gaussian of the given sigma and take central differences."""
    radius = max(1, int(3.0 * blur_px + 0.5))
    offsets = torch.arange(-radius, radius + 1, dtype=crop.dtype, device=crop.device)
    kernel = torch.exp(-0.5 * (offsets / blur_px).square())
    kernel = (kernel / kernel.sum()).expand(3, 1, -1)
    padded = torch.nn.functional.pad(crop[None], [radius] * 4, mode="replicate")
    rows = torch.nn.functional.conv2d(padded, kernel[..., None], groups=3)
    blurred = torch.nn.functional.conv2d(rows, kernel[:, :, None], groups=3)
    edge = torch.nn.functional.pad(blurred, [1, 1, 1, 1], mode="replicate")
    by_column = (edge[..., 1:-1, 2:] - edge[..., 1:-1, :-2]) / 2.0
    by_row = (edge[..., 2:, 1:-1] - edge[..., :-2, 1:-1]) / 2.0
    return PhotoSamples(torch.cat([blurred, by_column, by_row], 1)[0])


@dataclass(frozen=True)
class StandingView(TensorRecord):
    """What a photo and a face that stands still have in common, whatever its light and albedo.

    Attributes:
        normals: unit normals of the colour-carrying vertices.
        seen: the photo under the compared triangles' centres, from ``PhotoSamples.at``.
    """

    normals: Float[Tensor, "N 3"]
    seen: Float[Tensor, "G 3 3"]


def standing_view(
    patch: ColoredPatch, samples: PhotoSamples, coefficients: FaceCoefficients, camera: Camera
) -> StandingView:
    """The view of a face in its pose, for as many terms as it stands still."""
    world = standing_still(patch.points, coefficients)
    centres = project_points(bag(patch.compared, world, "mean")[None], camera)[0, :, :2]
    return StandingView(surface_of(world, patch.faces, patch.vertex_faces).normals, samples.at(centres))


def photometric_term(
    patch: ColoredPatch,
    samples: PhotoSamples,
    visible: Float[Tensor, " G"],
    coefficients: FaceCoefficients,
    camera: Camera,
    unknowns: Unknowns,
    *,
    precision: float,
    scale: float = 0.12,
    moving: bool = True,
    view: StandingView | None = None,
) -> LinearTerm:
    """Robust colour difference of shaded triangles and the photo under their centres.

    residual = encode(mean over corners of albedo * light(normal)) - photo(pixel); Geman-McClure on its length, so that
    hair, glasses and hands lose their say. Scaled by the count of visible triangles: hiding is not rewarded.

    Args:
        patch: what is compared.
        samples: the blurred photo.
        visible: 0..1 per compared triangle.
        coefficients: present state.
        camera: of the crop.
        unknowns: order of the step vector.
        precision: total weight of the term: as many independent observations of unit variance.
        scale: colour difference (sRGB-coded) at which a triangle loses three quarters of its weight.
        moving: False: derivatives by albedo and light alone, at a fifth of the cost or less.
        view: of a face that does not move, where it is known already.
    """
    if moving:
        view = None
    elif view is None:
        view = standing_view(patch, samples, coefficients, camera)
    quick = can_compile() and patch.mean_albedo.device.type == "cpu"
    residual, jacobian = (compiled_rows if quick else chained_rows)(
        patch, samples, coefficients, camera, unknowns, view
    )
    trust = visible * patch.weight
    trust = trust * (precision / trust.sum().clamp_min(1.0))
    spread = 1.0 + residual.square().sum(-1) / scale**2
    weight = (trust / spread.square())[:, None].expand_as(residual)
    cost = (trust * residual.square().sum(-1) / spread).sum()
    columns = slice(0 if moving else unknowns.geometry.stop, unknowns.size)
    return LinearTerm("photometric", jacobian.flatten(0, 1), residual.flatten(), weight.flatten(), columns, float(cost))


def chained_rows(
    patch: ColoredPatch,
    samples: PhotoSamples,
    coefficients: FaceCoefficients,
    camera: Camera,
    unknowns: Unknowns,
    view: StandingView | None,
) -> tuple[Float[Tensor, "G 3"], Float[Tensor, "G 3 Q"]]:
    """Residual of ``photometric_term`` and its derivatives, by the chain rule through whole tables.

    Args:
        patch: what is compared.
        samples: the blurred photo.
        coefficients: present state.
        camera: of the crop.
        unknowns: order of the step vector.
        view: of a face that stands still: derivatives by albedo and light alone; None: by all unknowns.
    """
    if view is None:
        world = world_motion(patch.points, coefficients)
        normals = normal_motion(world, patch.faces, patch.vertex_faces)
        centres = pixel_motion(mean_of_corners(world, patch.compared), camera)
        seen = samples.at(centres.value)
    else:
        normals, seen = Motion(view.normals, view.normals.new_zeros(*view.normals.shape, 0)), view.seen
        centres = None
    radiance = mean_of_corners(_radiance_motion(patch, normals, coefficients), patch.compared)
    color, slope = encode_with_slope(radiance.value, patch.display)
    jacobian = radiance.jacobian.mul_(slope[..., None])  # ours alone: made a few lines above
    if centres is not None:
        by_column, by_row = (axis[:, None] for axis in centres.jacobian.unbind(1))
        jacobian[..., unknowns.geometry] -= seen[:, 1, :, None] * by_column + seen[:, 2, :, None] * by_row
    return color - seen[:, 0], jacobian


def compiled_rows(
    patch: ColoredPatch,
    samples: PhotoSamples,
    coefficients: FaceCoefficients,
    camera: Camera,
    unknowns: Unknowns,
    view: StandingView | None,
) -> tuple[Float[Tensor, "G 3"], Float[Tensor, "G 3 Q"]]:
    """``chained_rows``, row by row: how a colour moves with the points around it, then these with the unknowns."""
    sh = sh_with_offset(coefficients.sh[0])
    albedo = patch.mean_albedo + patch.albedo_basis @ coefficients.tex[0]
    if view is None:
        rotation = rotation_from_angles(coefficients.angles[0])
        turned = patch.points.of(coefficients) @ rotation.T
        surface = surface_of(turned, patch.faces, patch.vertex_faces)
        normals = surface.normals
        centres = bag(patch.compared, turned, "mean") + coefficients.translation[0]
        pixels = project_points(centres[None], camera)[0]
        seen = samples.at(pixels[:, :2])
    else:
        normals, seen = view.normals, view.seen
    basis = sh_basis(normals)
    light = basis @ sh
    color, slope = encode_with_slope(bag(patch.compared, albedo * light, "mean"), patch.display)
    first = unknowns.geometry.stop if view is None else 0
    jacobian = color.new_zeros(*color.shape, first + unknowns.size - unknowns.geometry.stop)
    add_appearance_rows(patch.compared, patch.albedo_basis, albedo, light, basis, slope / 3.0, first, jacobian)
    if view is None:
        by_normal = albedo[..., None] * torch.einsum("nsd,sc->ncd", sh_basis_gradient(normals), sh)
        x, y, distance = centres[:, 0], centres[:, 1], pixels[:, 2]
        column, row = camera.focal_px[0] / distance * seen[:, 1].T, -camera.focal_px[0] / distance * seen[:, 2].T
        by_centre = -torch.stack([column, row, (column * x + row * y) / distance], -1).transpose(0, 1)
        add_shape_rows(patch, surface, turned, rotation, by_normal, slope / 3.0, by_centre / 3.0, jacobian)
    return color - seen[:, 0], jacobian


def _radiance_motion(patch: ColoredPatch, normals: Motion, coefficients: FaceCoefficients) -> Motion:
    """Albedo times light at the vertices, and its derivative by all unknowns [geometry, tex, sh]."""
    albedo = patch.mean_albedo + patch.albedo_basis @ coefficients.tex[0]
    sh = sh_with_offset(coefficients.sh[0])
    basis = sh_basis(normals.value)
    light = basis @ sh
    if normals.jacobian.shape[-1] > 0:
        light_by_normal = torch.einsum("nsd,sc->ncd", sh_basis_gradient(normals.value), sh)
        by_geometry = albedo[..., None] * (light_by_normal @ normals.jacobian)
    else:
        by_geometry = normals.jacobian
    by_tex = light[..., None] * patch.albedo_basis
    channels = torch.eye(3, dtype=basis.dtype, device=basis.device)
    by_sh = albedo[:, :, None, None] * basis[:, None, :, None] * channels[None, :, None, :]
    return Motion(albedo * light, torch.cat([by_geometry, by_tex, by_sh.flatten(2)], -1))


def encode_with_slope(
    radiance: Float[Tensor, "N 3"], display: bool
) -> tuple[Float[Tensor, "N 3"], Float[Tensor, "N 3"]]:
    """Display-coded colour of shaded albedo and the derivative of the coding."""
    if display:
        return radiance, torch.ones_like(radiance)
    magnitude = radiance.abs()
    curve = 1.055 / 2.4 * magnitude.clamp_min(0.0031308) ** (1.0 / 2.4 - 1.0)
    return srgb_from_linear(radiance), torch.where(magnitude <= 0.0031308, torch.full_like(curve, 12.92), curve)
