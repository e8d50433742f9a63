"""What each pixel of a drawn picture shows: head, hair, things, or none of them; the truth for face parsing."""

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from facewright.records import PARTS, Camera
from facewright.render.rasterizers import rasterize
from facewright.synthetic.engine import held_cover
from facewright.synthetic.staging import Stage, clip_by


@torch.no_grad()
def draw_parts(stage: Stage, cameras: list[Camera], *, oversampling: int = 2) -> list[Float[ndarray, "_ _ 4"]]:
    """Shares, 0..1, of ``records.PARTS`` in each pixel of the pictures that ``draw_pictures`` makes; they sum to 1.

    The lens is not looked at: borders are as sharp as pixels.

    Args:
        stage: the people.
        cameras: one each.
        oversampling: rays per pixel along each side.
    """
    return [_parts_of(stage, index, camera, oversampling) for index, camera in enumerate(cameras)]


def _parts_of(stage: Stage, index: int, camera: Camera, oversampling: int) -> Float[ndarray, "H W 4"]:
    vertices, faces, parts = _meshes_of(stage, index)
    world = vertices @ stage.rotation[index].cpu().T + stage.translation[index].cpu()
    size = (oversampling * camera.height, oversampling * camera.width)
    met = rasterize(clip_by(world[None], [camera]), faces, size).face_index
    of_ray = torch.where(met >= 0, parts[met.clamp_min(0)], 0)
    rays = torch.nn.functional.one_hot(of_ray[0], len(PARTS)).permute(2, 0, 1).float()
    shares = torch.nn.functional.avg_pool2d(rays, oversampling).permute(1, 2, 0).numpy()
    cover = held_cover(stage, index, camera)
    if cover is not None:
        shares = shares * (1.0 - cover[..., None])
        shares[..., PARTS.index("thing")] += cover
    return np.ascontiguousarray(shares, np.float32)


def _meshes_of(stage: Stage, index: int) -> tuple[Float[Tensor, "N 3"], Tensor, Tensor]:
    """Vertices of head and shells in the model frame, their faces, and the number of each face's part."""
    shells, head = stage.shells[index], stage.heads[index].cpu()
    faces, parts, start = [stage.studio.model.faces], [PARTS.index("head")], len(head)
    for shell in shells:
        faces.append(shell.faces + start)
        parts.append(PARTS.index(shell.part))
        start += len(shell.vertices)
    counts = torch.tensor([len(some) for some in faces])
    vertices = torch.cat([head, *(shell.vertices for shell in shells)])
    return vertices, torch.cat(faces), torch.tensor(parts).repeat_interleave(counts)
