"""What reaches the camera from a surface: matte light by SH less the blocked sun, gloss, mottled skin. Two twins.

``shade_samples`` is plain tensors; ``shade_picture_compiled`` does the same for all rays of a picture in one loop, six
times as fast, for pictures by the hundred thousand.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from facewright.records import Fragments
from facewright.render.compiled import compiled
from facewright.render.lighting import sh_basis, sh_shading, sh_with_offset
from facewright.synthetic.textures import GRAIN_SIZE, grain_block, read_grain

LEAST_MATTE = 0.02
BACK_FACING = -0.2
"""Cosine to the view below which a normal is turned around: insides of shells."""
GLOSS_POWER = 12.0


@dataclass(frozen=True)
class Lighting:
    """What light a shader needs.

    Attributes:
        sh: spherical harmonics of everything.
        sun: irradiance of the sun that is part of ``sh``.
        sun_direction: unit, toward the sun, world frame.
        gloss: share of the sun that skin mirrors.
        camera_z: of the camera on the world's z axis, dm.
    """

    sh: Float[Tensor, "1 9 3"]
    sun: Float[Tensor, "3"]
    sun_direction: Float[Tensor, "3"]
    gloss: float
    camera_z: float


def shade_samples(values: Float[Tensor, "P 16"], light: Lighting) -> Float[Tensor, "P 3"]:
    """Linear colours of surface samples.

    Args:
        values: albedo (3), place of the grain (3), its strength, gloss, sunlit, face, normal (3), position (3).
        light: of the scene.
    """
    albedo, places, (grain, gloss, lit) = values[:, :3], values[:, 3:6], values[:, 6:9].T
    eye = torch.tensor([0.0, 0.0, light.camera_z])
    view = torch.nn.functional.normalize(eye - values[:, 13:16], dim=-1)
    normals = torch.nn.functional.normalize(values[:, 10:13], dim=-1)
    normals = torch.where((normals * view).sum(-1, keepdim=True) < BACK_FACING, -normals, normals)
    albedo = albedo * torch.exp(grain * read_grain(places))[:, None]
    facing = (normals @ light.sun_direction).clamp_min(0.0)
    matte = sh_shading(normals[None], light.sh)[0] - ((1.0 - lit) * facing)[:, None] * light.sun
    half = torch.nn.functional.normalize(view + light.sun_direction, dim=-1)
    spot = (normals * half).sum(-1).clamp_min(0.0) ** (GLOSS_POWER * (1.0 + gloss)) * gloss * lit * (facing > 0)
    return albedo * matte.clamp_min(LEAST_MATTE) + light.gloss * spot[:, None] * light.sun


def shade_picture_compiled(
    values: Float[Tensor, "V 16"],
    faces: Int[Tensor, "F 3"],
    fragments: Fragments,
    light: Lighting,
    oversampling: int,
    head_faces: int,
) -> Float[ndarray, "H W 5"]:
    """Colour (times coverage), coverage, and share of rays that meet the face itself, per pixel.

    Args:
        values: per vertex, as ``shade_samples`` takes them per sample.
        faces: of all meshes; the head's come first.
        fragments: one picture, ``oversampling`` rays per pixel along each side.
        light: of the scene.
        oversampling: rays.
        head_faces: how many of ``faces`` are the head's.

    Raises:
        MissingExtraError: numba is not installed.
    """
    height, width = (side // oversampling for side in fragments.face_index.shape[1:])
    picture = np.zeros((height, width, 5), np.float32)
    arrays = (values, faces, fragments.face_index[0], fragments.barycentrics[0], _polynomial(light.sh))
    numbers = np.array([*light.sun, *light.sun_direction, light.gloss, light.camera_z], np.float32)
    compiled(_shade_rays)(
        *(array.contiguous().numpy() for array in arrays), numbers, grain_block().numpy(), head_faces, picture
    )
    return picture


def _polynomial(sh: Float[Tensor, "1 9 3"]) -> Float[Tensor, "9 3"]:
    """Shading as a polynomial of the normal: 1, x, y, z, xy, yz, zz, xz, xx - yy."""
    axes = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=torch.float64)
    mixed = torch.stack([axes[0] + axes[1], axes[1] + axes[2], axes[0] + axes[2]])
    at = torch.cat([torch.zeros(1, 3, dtype=torch.float64), axes, -axes, mixed])
    values = sh_basis(at) @ sh_with_offset(sh[0].double())
    constant, plus, minus, both = values[0], values[1:4], values[4:7], values[7:]
    linear, square = (plus - minus) / 2, (plus + minus) / 2 - constant
    cross = [both[k] - plus[a] - plus[b] + constant for k, (a, b) in enumerate(((0, 1), (1, 2), (0, 2)))]
    return torch.stack([constant, *linear, cross[0], cross[1], square[2], cross[2], square[0]]).float()


def _shade_rays(values, faces, face_index, barycentrics, light, numbers, grain, head_faces, picture):
    """The loop of ``shade_picture_compiled``: one ray after the other. For numba."""
    finer = face_index.shape[0] // picture.shape[0]
    one, zero, tiny = np.float32(1.0), np.float32(0.0), np.float32(1e-12)  # literals would make all of it float64
    share, darkest, power = one / np.float32(finer * finer), np.float32(LEAST_MATTE), np.float32(GLOSS_POWER)
    cells = np.float32(GRAIN_SIZE // 2)
    sun, toward, shine, camera_z = numbers[:3], numbers[3:6], numbers[6], numbers[7]
    v, matte = np.zeros(16, np.float32), np.zeros(3, np.float32)
    for row in range(face_index.shape[0]):
        for column in range(face_index.shape[1]):
            f = face_index[row, column]
            if f < 0:
                continue
            a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
            wa, wb, wc = barycentrics[row, column, 0], barycentrics[row, column, 1], barycentrics[row, column, 2]
            for k in range(16):
                v[k] = wa * values[a, k] + wb * values[b, k] + wc * values[c, k]
            ex, ey, ez = -v[13], -v[14], camera_z - v[15]
            scale = one / np.sqrt(ex * ex + ey * ey + ez * ez)
            ex, ey, ez = ex * scale, ey * scale, ez * scale
            scale = one / max(np.sqrt(v[10] * v[10] + v[11] * v[11] + v[12] * v[12]), tiny)
            x, y, z = v[10] * scale, v[11] * scale, v[12] * scale
            if x * ex + y * ey + z * ez < BACK_FACING:
                x, y, z = -x, -y, -z
            place = 0
            for k in range(3):
                place = place * GRAIN_SIZE + (int(np.floor(v[3 + k] * cells)) & (GRAIN_SIZE - 1))
            mottle = np.exp(v[6] * grain[place])
            gloss, lit = v[7], v[8]
            facing = max(x * toward[0] + y * toward[1] + z * toward[2], zero)
            for k in range(3):
                matte[k] = (
                    light[0, k]
                    + light[1, k] * x
                    + light[2, k] * y
                    + light[3, k] * z
                    + light[4, k] * x * y
                    + light[5, k] * y * z
                    + light[6, k] * z * z
                    + light[7, k] * x * z
                    + light[8, k] * (x * x - y * y)
                ) - (one - lit) * facing * sun[k]
            spot = zero
            if facing > 0:
                hx, hy, hz = ex + toward[0], ey + toward[1], ez + toward[2]
                scale = one / max(np.sqrt(hx * hx + hy * hy + hz * hz), tiny)
                cosine = (x * hx + y * hy + z * hz) * scale
                if cosine > 0:
                    spot = cosine ** (power * (one + gloss)) * gloss * lit
            i, j = row // finer, column // finer
            for k in range(3):
                color = v[k] * mottle * max(matte[k], darkest) + shine * spot * sun[k]
                picture[i, j, k] += share * color
            picture[i, j, 3] += share
            if f < head_faces and v[9] > 0.5:
                picture[i, j, 4] += share
