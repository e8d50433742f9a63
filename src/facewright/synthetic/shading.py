"""What reaches the camera from a surface: matte light by SH less the blocked sun, gloss, mottled skin. Two twins.

Light is found at vertices, which lie about as dense as pixels; mottle and the shape of highlights at every ray. What
ends in ``_compiled`` does the same for one picture in one loop on the CPU, many times as fast.
"""

from dataclasses import dataclass, fields
from functools import cache, cached_property

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from facewright.compiled import compiled
from facewright.records import Fragments
from facewright.render.lighting import sh_basis, sh_shading, sh_with_offset
from facewright.synthetic.textures import GRAIN_SIZE, GRAIN_STEPS, grain_bytes, read_grain

LEAST_MATTE = 0.02
GIVEN_OFF = 11
BACK_FACING = -0.2
"""Cosine to the view below which a normal is turned around: insides of shells."""
GLOSS_POWER = 12.0
FAINTEST_LOG = 9.5
"""Where gloss is below exp(-9.5), 7e-5 of what is mirrored at most, the compiled twin leaves it out."""


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

    def of(self, which: list[int]) -> "Lighting":
        """That of some of the pictures."""
        return Lighting(*(getattr(self, entry.name)[which] for entry in fields(self)))

    @cached_property
    def polynomial(self) -> Float[Tensor, "B 9 3"]:
        """Shading as a polynomial of the normal: 1, x, y, z, xy, yz, zz, xz, xx - yy."""
        return _polynomial_matrix().to(self.sh) @ sh_with_offset(self.sh)


def light_vertices(table: Float[Tensor, "B N 16"], light: Lighting) -> Float[Tensor, "B N 11"]:
    """What vertices give off: between them it is linear, except for mottle and gloss.

    Args:
        table: albedo (3), place of the grain (3), its strength, gloss, sunlit, face, normal (3), position (3).
        light: of the scenes.

    Returns:
        Matte colour (3), place of the grain (3), its strength, gloss, strength of the mirrored sun, cosine between
        normal and half vector (0 where the sun is behind), face.
    """
    toward = light.sun_direction[:, None]
    gloss, lit = table[..., 7:8], table[..., 8:9]
    eye = torch.nn.functional.pad(light.camera_z[:, None, None], (2, 0))
    view = torch.nn.functional.normalize(eye - table[..., 13:16], dim=-1)
    normals = torch.nn.functional.normalize(table[..., 10:13], dim=-1)
    normals = torch.where((normals * view).sum(-1, keepdim=True) < BACK_FACING, -normals, normals)
    facing = (normals * toward).sum(-1, keepdim=True).clamp_min(0.0)
    matte = sh_shading(normals, light.sh) - (1.0 - lit) * facing * light.sun[:, None]
    half = torch.nn.functional.normalize(view + toward, dim=-1)
    cosine = (normals * half).sum(-1, keepdim=True).clamp_min(0.0) * (facing > 0)
    strength = gloss * lit * light.gloss[:, None, None]
    matte = table[..., :3] * matte.clamp_min(LEAST_MATTE)
    return torch.cat([matte, table[..., 3:8], strength, cosine, table[..., 9:10]], -1)


def shade_samples(
    values: Float[Tensor, "P 11"], sun: Float[Tensor, "B 3"], picture: Int[Tensor, " P"]
) -> Float[Tensor, "P 3"]:
    """Linear colours of surface samples.

    Args:
        values: as ``light_vertices`` gives them, between vertices.
        sun: of the scenes.
        picture: which of them each sample belongs to.
    """
    mottle = torch.exp(values[:, 6] * read_grain(values[:, 3:6]))
    spot = values[:, 9] ** (GLOSS_POWER * (1.0 + values[:, 7])) * values[:, 8]
    return values[:, :3] * mottle[:, None] + spot[:, None] * sun.index_select(0, picture)


def light_vertices_compiled(
    table: Float[ndarray, "N 16"], faces: Int[ndarray, "F 3"], light: Lighting, index: int
) -> Float[ndarray, "N 11"]:
    """``light_vertices`` for one picture on the CPU; zeros for what is no corner of the faces.

    Args:
        table: as there.
        faces: that the camera may see.
        light: of the scenes.
        index: of the picture.

    Raises:
        MissingExtraError: numba is not installed.
    """
    numbers = [light.sun[index], light.sun_direction[index], light.gloss[index : index + 1]]
    numbers = torch.cat([*numbers, light.camera_z[index : index + 1]]).numpy()
    given_off = np.zeros((len(table), GIVEN_OFF), np.float32)
    compiled(_light, contract=True)(table, faces, light.polynomial[index].contiguous().numpy(), numbers, given_off)
    return given_off


def shade_picture_compiled(
    given_off: Float[ndarray, "N 11"],
    faces: Int[ndarray, "F 3"],
    fragments: Fragments,
    sun: Float[Tensor, "3"],
    oversampling: int,
) -> Float[ndarray, "H W 4"]:
    """Colour (times coverage) and coverage per pixel, by ``shade_samples`` for all rays of one picture.

    Args:
        given_off: by the vertices, as ``light_vertices`` says.
        faces: of all meshes.
        fragments: one picture, ``oversampling`` rays per pixel along each side.
        sun: of the scene.
        oversampling: rays.

    Raises:
        MissingExtraError: numba is not installed.
    """
    height, width = (side // oversampling for side in fragments.face_index.shape[1:])
    picture = np.zeros((height, width, 4), np.float32)
    index, weights = fragments.face_index[0].numpy(), fragments.barycentrics[0].numpy()
    compiled(_shade_rays, contract=True)(given_off, faces, index, weights, sun.numpy(), grain_bytes(), picture)
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


def _light(table, faces, light, numbers, given_off):
    """The loop of ``light_vertices_compiled``. For numba: literals would make all of it float64."""
    one, zero, tiny = np.float32(1.0), np.float32(0.0), np.float32(1e-12)
    darkest, turned = np.float32(LEAST_MATTE), np.float32(BACK_FACING)
    tx, ty, tz, shine, camera_z = numbers[3], numbers[4], numbers[5], numbers[6], numbers[7]
    wanted = np.zeros(table.shape[0], np.bool_)
    for f in range(faces.shape[0]):
        wanted[np.uintp(faces[f, 0])], wanted[np.uintp(faces[f, 1])], wanted[np.uintp(faces[f, 2])] = True, True, True
    for n in range(table.shape[0]):
        if not wanted[n]:
            continue
        ex, ey, ez = -table[n, 13], -table[n, 14], camera_z - table[n, 15]
        scale = one / np.sqrt(ex * ex + ey * ey + ez * ez)
        ex, ey, ez = ex * scale, ey * scale, ez * scale
        x, y, z = table[n, 10], table[n, 11], table[n, 12]
        scale = one / max(np.sqrt(x * x + y * y + z * z), tiny)
        x, y, z = x * scale, y * scale, z * scale
        if x * ex + y * ey + z * ez < turned:
            x, y, z = -x, -y, -z
        lit, facing, cosine = table[n, 8], x * tx + y * ty + z * tz, zero
        if facing > zero:
            hx, hy, hz = ex + tx, ey + ty, ez + tz
            cosine = (x * hx + y * hy + z * hz) / max(np.sqrt(hx * hx + hy * hy + hz * hz), tiny)
        blocked = (one - lit) * max(facing, zero)
        xy, yz, zz, xz, xxyy = x * y, y * z, z * z, x * z, x * x - y * y
        for k in range(3):
            matte = light[0, k] + light[1, k] * x + light[2, k] * y + light[3, k] * z + light[4, k] * xy
            matte += light[5, k] * yz + light[6, k] * zz + light[7, k] * xz + light[8, k] * xxyy - blocked * numbers[k]
            given_off[n, k] = table[n, k] * max(matte, darkest)
        for k in range(3, 8):
            given_off[n, k] = table[n, k]
        given_off[n, 8] = table[n, 7] * lit * shine
        given_off[n, 9] = max(cosine, zero)
        given_off[n, 10] = table[n, 9]


def _shade_rays(given_off, faces, face_index, barycentrics, sun, grain, picture):
    """The loop of ``shade_picture_compiled``: one ray after the other. For numba."""
    finer = face_index.shape[0] // picture.shape[0]
    one, zero = np.float32(1.0), np.float32(0.0)
    share, power = one / np.float32(finer * finer), np.float32(GLOSS_POWER)
    cells, faintest = np.float32(GRAIN_SIZE // 2), np.float32(FAINTEST_LOG)
    two, third, fifth, seventh = np.float32(2.0), np.float32(2 / 3), np.float32(2 / 5), np.float32(2 / 7)
    sixteenth, half, sixth, last = np.float32(1 / 16), np.float32(1 / 2), np.float32(1 / 6), np.float32(1 / 24)
    step = np.float32(1.0 / GRAIN_STEPS)
    for row in range(face_index.shape[0]):
        i = row // finer
        for column in range(face_index.shape[1]):
            f = face_index[row, column]
            if f < 0:
                continue
            wa, wb, wc = barycentrics[row, column, 0], barycentrics[row, column, 1], barycentrics[row, column, 2]
            a, b, c = np.uintp(faces[f, 0]), np.uintp(faces[f, 1]), np.uintp(faces[f, 2])  # never from the end
            mottle, spot = share, zero
            strength = wa * given_off[a, 6] + wb * given_off[b, 6] + wc * given_off[c, 6]
            if strength != zero:
                place = 0
                for k in range(3, 6):
                    at = (wa * given_off[a, k] + wb * given_off[b, k] + wc * given_off[c, k]) * cells
                    cell = np.int32(at)  # toward zero
                    place = place * GRAIN_SIZE + ((cell - (at < cell)) & (GRAIN_SIZE - 1))
                x = strength * step * np.float32(grain[np.uintp(place)])
                # exp(x) = exp(x / 16)^16, by five terms of its series: to 1e-4 where the logarithm is below 4.
                x *= sixteenth
                x = one + x * (one + x * (half + x * (sixth + x * last)))
                x *= x
                x *= x
                x *= x
                mottle *= x * x
            cosine = wa * given_off[a, 9] + wb * given_off[b, 9] + wc * given_off[c, 9]
            exponent = power * (one + wa * given_off[a, 7] + wb * given_off[b, 7] + wc * given_off[c, 7])
            if exponent * (one - cosine) < faintest:
                mirrored = wa * given_off[a, 8] + wb * given_off[b, 8] + wc * given_off[c, 8]
                if mirrored > zero:
                    # cos^e = exp(e log(cos)); the logarithm is 2 artanh((cos - 1) / (cos + 1)), by four terms.
                    x = (cosine - one) / (cosine + one)
                    u = x * x
                    x = exponent * x * (two + u * (third + u * (fifth + u * seventh))) * sixteenth
                    x = one + x * (one + x * (half + x * (sixth + x * last)))
                    x *= x
                    x *= x
                    x *= x
                    spot = share * mirrored * x * x
            j = column // finer
            for k in range(3):
                matte = wa * given_off[a, k] + wb * given_off[b, k] + wc * given_off[c, k]
                picture[i, j, k] += matte * mottle + spot * sun[k]
            picture[i, j, 3] += share
