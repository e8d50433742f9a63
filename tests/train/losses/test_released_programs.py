"""Gradients of the pixel terms under the presets that carry a program's name, against that program's own formulas.

Written again in float64 from the published facts (docs/deep3d.md, sections 3, 4 and 6.2), without any of our geometry,
drawing or losses: each pixel is a ray, which meets the nearest of all triangles (Möller and Trumbore 1997).
"""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from facewright.geometry.frames import crop_camera
from facewright.morphable.linear import FaceModel
from facewright.morphable.toy import toy_face_model
from facewright.records import FaceCoefficients
from facewright.regress.rnet import RNetPrediction
from facewright.train.losses.perceptual import EmbeddingMetric
from facewright.train.losses.presets import PRESETS, PresetName
from facewright.train.objective import repeated, weak_terms
from tests.train.pictures import draw_batch, some_faces

SIZE, COUNT = 40, 2


class Network:
    """Stands for the recognition network: smooth in all pixels; by the five points, if it gets any, in a window."""

    metric: EmbeddingMetric = "cosine"

    def __init__(self) -> None:
        self.weight = torch.randn(3 * 64, 24, generator=torch.Generator().manual_seed(3), dtype=torch.float64)

    def __call__(self, crop_srgb: Tensor, five_px: Tensor | None) -> Tensor:
        seen = 2.0 * crop_srgb - 1.0
        if five_px is not None:
            centre, width = five_px.mean(1), (five_px[:, 1] - five_px[:, 0]).norm(dim=-1)
            steps = torch.linspace(-1.0, 1.0, 16, dtype=seen.dtype)
            grid = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), -1) * width[:, None, None, None]
            grid = (2.0 * (grid + centre[:, None, None]) + 1.0) / SIZE - 1.0
            seen = torch.nn.functional.grid_sample(seen, grid, align_corners=False)
        return torch.tanh(torch.nn.functional.adaptive_avg_pool2d(seen, 8).flatten(1) @ self.weight / 8.0)


def turned(angles: Tensor) -> Tensor:
    """``Rz Ry Rx``, of elementary matrices that act on columns."""
    (cx, cy, cz), (sx, sy, sz) = angles.cos().unbind(-1), angles.sin().unbind(-1)
    one, nil = torch.ones_like(cx), torch.zeros_like(cx)
    about_x = torch.stack([one, nil, nil, nil, cx, -sx, nil, sx, cx], -1).view(-1, 3, 3)
    about_y = torch.stack([cy, nil, sy, nil, one, nil, -sy, nil, cy], -1).view(-1, 3, 3)
    about_z = torch.stack([cz, -sz, nil, sz, cz, nil, nil, nil, one], -1).view(-1, 3, 3)
    return about_z @ about_y @ about_x


def released_basis(n: Tensor) -> Tensor:
    a = (math.pi, 2 * math.pi / math.sqrt(3), 2 * math.pi / math.sqrt(8))
    c = (1 / math.sqrt(4 * math.pi), math.sqrt(3) / math.sqrt(4 * math.pi), 3 * math.sqrt(5) / math.sqrt(12 * math.pi))
    x, y, z = n.unbind(-1)
    second = a[2] * c[2]
    return torch.stack(
        [
            torch.full_like(x, a[0] * c[0]),
            -a[1] * c[1] * y,
            a[1] * c[1] * z,
            -a[1] * c[1] * x,
            second * x * y,
            -second * y * z,
            second / (2 * math.sqrt(3)) * (3 * z**2 - 1),
            -second * x * z,
            second / 2 * (x**2 - y**2),
        ],
        -1,
    )


def released_drawing(model: FaceModel, of: FaceCoefficients) -> tuple[Tensor, Tensor, Tensor]:
    """Picture, photometric region, and five points (y down) as the programs have them."""
    flat = model.mean_shape + torch.einsum("vck,bk->bvc", model.id_basis, of.id)
    flat = flat + torch.einsum("vck,bk->bvc", model.exp_basis, of.exp)
    texture = model.mean_albedo + torch.einsum("vck,bk->bvc", model.albedo_basis, of.tex)
    a, b, c = (flat[:, model.faces[:, k]] for k in range(3))
    sides = torch.nn.functional.normalize(torch.linalg.cross(a - b, b - c), dim=-1)
    sums = torch.zeros_like(flat)
    for k in range(3):
        sums = sums.index_add(1, model.faces[:, k], sides)
    rotation = turned(of.angles)
    normals = torch.nn.functional.normalize(sums, dim=-1) @ rotation.mT
    world = flat @ rotation.mT + of.translation[:, None]
    light = of.sh + 0.8 * torch.eye(9, 1, dtype=of.sh.dtype)
    colors = texture * torch.einsum("bvk,bkc->bvc", released_basis(normals), light)

    focal, middle = 1015.0 * SIZE / 224.0, SIZE / 2.0
    z = 10.0 - world[..., 2]
    up = torch.stack([focal * world[..., 0] / z + middle, focal * world[..., 1] / z + middle], -1)
    marks = up[:, model.annotations.ibug68]
    five = five_of(torch.stack([marks[..., 0], SIZE - 1 - marks[..., 1]], -1))

    across = (torch.arange(SIZE, dtype=flat.dtype) + 0.5 - middle) / focal
    rays = torch.stack([*torch.meshgrid(across, -across, indexing="xy"), -torch.ones(SIZE, SIZE).double()], -1)
    rays = rays.view(-1, 3)
    region = model.annotations.regions["photometric"]
    pictures, regions = [], []
    for k in range(len(flat)):
        with torch.no_grad():
            nearest, hit = met(rays[:, None], world[k][model.faces][None])[0].min(1)
        seen = nearest.isfinite()
        corners = model.faces[hit[seen]]
        _, weights = met(rays[seen], world[k][corners])
        picture = torch.zeros(SIZE * SIZE, 3, dtype=flat.dtype)
        picture[seen] = (weights[..., None] * colors[k][corners]).sum(-2)
        weighed = torch.zeros(SIZE * SIZE, dtype=flat.dtype)
        weighed[seen] = (weights * region[corners]).sum(-1).detach()
        pictures.append(picture.T.view(3, SIZE, SIZE))
        regions.append(weighed.view(SIZE, SIZE))
    return torch.stack(pictures), torch.stack(regions), five


def five_of(marks: Tensor) -> Tensor:
    """Eyes between their corners, tip of the nose, corners of the mouth."""
    eyes = [marks[:, [first, second]].mean(1) for first, second in ((36, 39), (42, 45))]
    return torch.stack([*eyes, marks[:, 30], marks[:, 48], marks[:, 54]], 1)


def met(rays: Tensor, triangles: Tensor) -> tuple[Tensor, Tensor]:
    """How far along rays from the camera triangles are met (inf: not at all), and the weights of their corners."""
    first, second = triangles[..., 1, :] - triangles[..., 0, :], triangles[..., 2, :] - triangles[..., 0, :]
    away = torch.tensor([0.0, 0.0, 10.0], dtype=rays.dtype) - triangles[..., 0, :]
    side, over = torch.linalg.cross(rays, second), torch.linalg.cross(away, first)
    scale = (first * side).sum(-1)
    u, v = (away * side).sum(-1) / scale, (rays * over).sum(-1) / scale
    inside = (u >= 0) & (v >= 0) & (u + v <= 1)
    return torch.where(inside, (second * over).sum(-1) / scale, math.inf), torch.stack([1 - u - v, u, v], -1)


@pytest.mark.parametrize("name", ["deng-tf", "deng-pytorch"])
def test_pixel_terms_pull_as_the_programs_do(name: PresetName) -> None:
    model = toy_face_model().double()
    model.metadata["albedo_space"] = "display"
    truth, faces = (some_faces(model, COUNT, seed).to(torch.float64) for seed in (0, 5))
    batch = draw_batch(model, truth, SIZE, torch.zeros(COUNT, dtype=torch.bool))
    attention = torch.rand(batch.skin.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    batch, network = replace(batch, skin=attention), Network()
    vector = model.layout.pack(faces).requires_grad_()

    preset = replace(PRESETS[name], photometric=1.0, perceptual=1.0, landmark=0.0, coefficient=0.0, flattening=0.0)
    ours = weak_terms(
        RNetPrediction(model.layout.unpack(vector)),
        batch,
        model,
        repeated(crop_camera(size=SIZE, like=vector), COUNT),
        preset,
        network,
    )
    drawn, region, five = released_drawing(model, model.layout.unpack(vector))
    rounding, five_of_photo = (1e-6, five_of(batch.landmarks)) if name == "deng-pytorch" else (0.0, None)
    apart = ((drawn - batch.crops).square().sum(1) + rounding).clamp_min(1e-300).sqrt()
    weights = attention * region
    wanted = network(batch.crops, five_of_photo).detach()
    received = network(drawn.clamp(0.0, 1.0), five.detach() if name == "deng-pytorch" else None)
    cosine = (wanted * received).sum(-1) / (wanted.norm(dim=-1) * received.norm(dim=-1))
    theirs = {"photometric": (weights * apart).sum() / weights.sum(), "perceptual": (1.0 - cosine).mean()}
    for term, value in theirs.items():
        assert float(ours[term].detach()) == pytest.approx(float(value.detach()), rel=1e-6), term
        pulls = [torch.autograd.grad(loss, vector, retain_graph=True)[0] for loss in (ours[term], value)]
        assert float(torch.cosine_similarity(*(pull.flatten() for pull in pulls), dim=0)) > 1 - 1e-6, term
        torch.testing.assert_close(pulls[0], pulls[1], rtol=1e-3, atol=1e-6 * float(pulls[1].abs().max()))
