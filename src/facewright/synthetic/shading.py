"""What reaches the camera from a surface: matte light by SH less the blocked sun, gloss, mottled skin. Two twins.

``shade_samples`` is plain tensors, for any device; ``shade_picture_compiled`` does the same for all rays of a picture in
one loop on the CPU, six times as fast, for pictures by the hundred thousand.
"""

from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from facewright.records import Fragments
from facewright.render.compiled import compiled
from facewright.render.lighting import sh_basis, sh_with_offset
from facewright.synthetic.textures import GRAIN_SIZE, grain_block, read_grain

LEAST_MATTE = 0.02
BACK_FACING = -0.2
"""Cosine to the view below which a normal is turned around: insides of shells."""
GLOSS_POWER = 12.0
FAINTEST_COSINE = 0.35
"""Below it the compiled twin leaves gloss out: 0.35^12 is 3e-6."""


@dataclass(frozen=True)
class Lighting:
    """What light a shader needs; of a batch of pictures.

    Attributes:
        sh: spherical harmonics of everything.
        sun: irradiance of the sun that is part of ``sh``.
        sun_direction: unit, toward the sun, world frame.
        gloss: share of the sun that skin mirrors.
        camera_z: of the cameras on the world's z axis, dm.
    """

    sh: Float[Tensor, "B 9 3"]
    sun: Float[Tensor, "B 3"]
    sun_direction: Float[Tensor, "B 3"]
    gloss: Float[Tensor, " B"]
    camera_z: Float[Tensor, " B"]

    @cached_property
    def polynomial(self) -> Float[Tensor, "B 9 3"]:
        """Shading as a polynomial of the normal: 1, x, y, z, xy, yz, zz, xz, xx - yy."""
        return _polynomial_matrix().to(self.sh) @ sh_with_offset(self.sh)


def shade_samples(
    values: Float[Tensor, "P 16"], light: Lighting, picture: Int[Tensor, " P"]
) -> Float[Tensor, "P 3"]:
    """Linear colours of surface samples.

    Args:
        values: albedo (3), place of the grain (3), its strength, gloss, sunlit, face, normal (3), position (3).
        light: of the scenes.
        picture: which of them each sample belongs to.
    """
    albedo, places, (grain, gloss, lit) = values[:, :3], values[:, 3:6], values[:, 6:9].T
    sun, toward = light.sun.index_select(0, picture), light.sun_direction.index_select(0, picture)
    eye = torch.nn.functional.pad(light.camera_z.index_select(0, picture)[:, None], (2, 0))
    view = torch.nn.functional.normalize(eye - values[:, 13:16], dim=-1)
    normals = torch.nn.functional.normalize(values[:, 10:13], dim=-1)
    normals = torch.where((normals * view).sum(-1, keepdim=True) < BACK_FACING, -normals, normals)
    albedo = albedo * torch.exp(grain * read_grain(places))[:, None]
    facing = (normals * toward).sum(-1).clamp_min(0.0)
    matte = _shading(normals, light.polynomial, picture) - ((1.0 - lit) * facing)[:, None] * sun
    half = torch.nn.functional.normalize(view + toward, dim=-1)
    spot = (normals * half).sum(-1).clamp_min(0.0) ** (GLOSS_POWER * (1.0 + gloss)) * gloss * lit * (facing > 0)
    spot = spot * light.gloss.index_select(0, picture)
    return albedo * matte.clamp_min(LEAST_MATTE) + spot[:, None] * sun


def _shading(
    normals: Float[Tensor, "P 3"], polynomial: Float[Tensor, "B 9 3"], picture: Int[Tensor, " P"]
) -> Float[Tensor, "P 3"]:
    """The polynomial of each sample's picture at its normal; one coefficient after the other, to save memory."""
    x, y, z = normals.unbind(-1)
    total = polynomial[:, 0].index_select(0, picture)
    for k, term in enumerate((x, y, z, x * y, y * z, z * z, x * z, x * x - y * y), 1):
        total = total + term[:, None] * polynomial[:, k].index_select(0, picture)
    return total


def shade_picture_compiled(
    values: Float[ndarray, "V 16"],
    faces: Int[ndarray, "F 3"],
    fragments: Fragments,
    light: Lighting,
    index: int,
    oversampling: int,
    head_faces: int,
) -> Float[ndarray, "H W 5"]:
    """Colour (times coverage), coverage, and share of rays that meet the face itself, per pixel.

    Args:
        values: per vertex, as ``shade_samples`` takes them per sample.
        faces: of all meshes; the head's come first.
        fragments: one picture, ``oversampling`` rays per pixel along each side.
        light: of the scenes, on the CPU.
        index: of the scene.
        oversampling: rays.
        head_faces: how many of ``faces`` are the head's.

    Raises:
        MissingExtraError: numba is not installed.
    """
    height, width = (side // oversampling for side in fragments.face_index.shape[1:])
    picture = np.zeros((height, width, 5), np.float32)
    arrays = (fragments.face_index[0], fragments.barycentrics[0], light.polynomial[index])
    one = torch.stack([light.gloss[index], light.camera_z[index]])
    numbers = torch.cat([light.sun[index], light.sun_direction[index], one]).numpy()
    compiled(_shade_rays)(
        values, faces, *(array.contiguous().numpy() for array in arrays), numbers, grain_block().numpy(), head_faces, picture
    )
    return picture


@cache
def _polynomial_matrix() -> Float[Tensor, "9 9"]:
    """Spherical-harmonic coefficients to those of a polynomial of the normal."""
    axes = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=torch.float64)
    mixed = torch.stack([axes[0] + axes[1], axes[1] + axes[2], axes[0] + axes[2]])
    at = torch.cat([torch.zeros(1, 3, dtype=torch.float64), axes, -axes, mixed])
    values = sh_basis(at)
    constant, plus, minus, both = values[0], values[1:4], values[4:7], values[7:]
    linear, square = (plus - minus) / 2, (plus + minus) / 2 - constant
    cross = [both[k] - plus[a] - plus[b] + constant for k, (a, b) in enumerate(((0, 1), (1, 2), (0, 2)))]
    return torch.stack([constant, *linear, cross[0], cross[1], square[2], cross[2], square[0]])


def _shade_rays(values, faces, face_index, barycentrics, light, numbers, grain, head_faces, picture):
    """The loop of ``shade_picture_compiled``: one ray after the other. For numba."""
    finer = face_index.shape[0] // picture.shape[0]
    one, zero, tiny = np.float32(1.0), np.float32(0.0), np.float32(1e-12)  # literals would make all of it float64
    share, darkest, power = one / np.float32(finer * finer), np.float32(LEAST_MATTE), np.float32(GLOSS_POWER)
    cells, half, faintest = np.float32(GRAIN_SIZE // 2), np.float32(0.5), np.float32(FAINTEST_COSINE)
    turned = np.float32(BACK_FACING)
    tx, ty, tz, shine, camera_z = numbers[3], numbers[4], numbers[5], numbers[6], numbers[7]
    for row in range(face_index.shape[0]):
        i = row // finer
        for column in range(face_index.shape[1]):
            f = face_index[row, column]
            if f < 0:
                continue
            a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
            wa, wb, wc = barycentrics[row, column, 0], barycentrics[row, column, 1], barycentrics[row, column, 2]
            ex = -(wa * values[a, 13] + wb * values[b, 13] + wc * values[c, 13])
            ey = -(wa * values[a, 14] + wb * values[b, 14] + wc * values[c, 14])
            ez = camera_z - (wa * values[a, 15] + wb * values[b, 15] + wc * values[c, 15])
            scale = one / np.sqrt(ex * ex + ey * ey + ez * ez)
            ex, ey, ez = ex * scale, ey * scale, ez * scale
            x = wa * values[a, 10] + wb * values[b, 10] + wc * values[c, 10]
            y = wa * values[a, 11] + wb * values[b, 11] + wc * values[c, 11]
            z = wa * values[a, 12] + wb * values[b, 12] + wc * values[c, 12]
            scale = one / max(np.sqrt(x * x + y * y + z * z), tiny)
            x, y, z = x * scale, y * scale, z * scale
            if x * ex + y * ey + z * ez < turned:
                x, y, z = -x, -y, -z
            mottle = wa * values[a, 6] + wb * values[b, 6] + wc * values[c, 6]
            if mottle != zero:
                place = 0
                for k in range(3, 6):
                    at = wa * values[a, k] + wb * values[b, k] + wc * values[c, k]
                    place = place * GRAIN_SIZE + (int(np.floor(at * cells)) & (GRAIN_SIZE - 1))
                mottle *= grain[place]
                mottle = np.exp(mottle)
            else:
                mottle = one
            lit = wa * values[a, 8] + wb * values[b, 8] + wc * values[c, 8]
            facing = max(x * tx + y * ty + z * tz, zero)
            blocked, spot = (one - lit) * facing, zero
            if facing > zero and lit > zero:
                hx, hy, hz = ex + tx, ey + ty, ez + tz
                cosine = (x * hx + y * hy + z * hz) / max(np.sqrt(hx * hx + hy * hy + hz * hz), tiny)
                if cosine > faintest:
                    gloss = wa * values[a, 7] + wb * values[b, 7] + wc * values[c, 7]
                    spot = cosine ** (power * (one + gloss)) * gloss * lit * shine
            xy, yz, zz, xz, xxyy = x * y, y * z, z * z, x * z, x * x - y * y
            j = column // finer
            for k in range(3):
                matte = (
                    light[0, k]
                    + light[1, k] * x
                    + light[2, k] * y
                    + light[3, k] * z
                    + light[4, k] * xy
                    + light[5, k] * yz
                    + light[6, k] * zz
                    + light[7, k] * xz
                    + light[8, k] * xxyy
                ) - blocked * numbers[k]
                albedo = wa * values[a, k] + wb * values[b, k] + wc * values[c, k]
                picture[i, j, k] += share * (albedo * mottle * max(matte, darkest) + spot * numbers[k])
            picture[i, j, 3] += share
            if f < head_faces and wa * values[a, 9] + wb * values[b, 9] + wc * values[c, 9] > half:
                picture[i, j, 4] += share
