"""Draw the picture at the top of the README: the bundled portraits, and what ``facewright.reconstruct`` makes of them.

    python scripts/draw_readme_picture.py [--out docs/images/demo.png]

Per person: the photo, the outline of the reconstruction on it, and the textured head and its shape from two sides.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
import tyro
from jaxtyping import Float
from torch import Tensor

import facewright
from facewright.apps.edit import light_from_direction
from facewright.assets import embedded_path
from facewright.export.asset import split_at_seams
from facewright.export.pictures import crop_around, draw_outline, on_backdrop
from facewright.export.png import write_png
from facewright.export.sheets import contact_sheet
from facewright.geometry.frames import crop_camera, pose_points
from facewright.geometry.rotations import rotation_from_angles
from facewright.pipeline.outputs import FaceFiles
from facewright.pipeline.views import display_picture
from facewright.render import render_attributes, sample_texture

PORTRAITS = ("astronaut.jpg", "grace_hopper.jpg")
DRAWN_PX = 720
"""Side of what is drawn; the sheet shrinks it, which smooths edges."""
MOST_BYTES = 400_000


@dataclass(frozen=True)
class Arguments:
    """Draw the README's picture."""

    out: Path = Path("docs/images/demo.png")
    """The picture."""
    tile: int = 186
    """Side of a tile, px."""


def turned(mesh: facewright.FaceMesh, yaw_deg: float) -> facewright.FaceMesh:
    """The mesh about the middle of its bounds, turned; +yaw brings the nose to image right."""
    angles = torch.deg2rad(torch.tensor([[0.0, yaw_deg, 0.0]]))
    middle = (mesh.vertices.amax(1, keepdim=True) + mesh.vertices.amin(1, keepdim=True)) / 2
    return replace(
        mesh,
        vertices=pose_points(mesh.vertices - middle, angles, torch.zeros(1, 3)),
        normals=mesh.normals @ rotation_from_angles(angles).transpose(-1, -2),
    )


def close_camera() -> facewright.Camera:
    """The picture is 27 cm high where the head is: the head fills it."""
    camera = crop_camera(size=DRAWN_PX)
    return replace(camera, focal_px=torch.tensor([DRAWN_PX * camera.distance_dm / 2.7]))


def textured_view(files: FaceFiles, yaw_deg: float) -> Float[Tensor, "3 T T"]:
    """The head with the photo's texture, as it would look from there in the same light."""
    asset = files.expressive_asset
    assert asset.uv is not None
    assert asset.texture is not None
    split = split_at_seams(asset)
    assert split.uv is not None
    whole = turned(files.face.mesh, yaw_deg)
    mesh = replace(whole, **{name: getattr(whole, name)[:, split.vertex] for name in ("vertices", "normals", "albedo")})
    mesh = replace(mesh, faces=split.faces, uv=None, faces_uv=None)
    drawn = render_attributes(torch.nn.functional.pad(split.uv, (0, 1), value=1.0)[None], mesh, close_camera())
    color = sample_texture(asset.texture[None], drawn[:, :2], filtering="mipmap")
    return on_backdrop(color[0], drawn[0, 2:])


def grey_view(face: facewright.Reconstruction, yaw_deg: float) -> Float[Tensor, "3 T T"]:
    """The bare shape, lit from above and the left."""
    mesh = turned(face.mesh, yaw_deg)
    mesh = replace(mesh, albedo=torch.full_like(mesh.albedo, 0.55))
    light = light_from_direction(torch.tensor([[-0.5, 0.7, 1.0]]), strength=0.9, ambient=0.12)
    drawn = facewright.render(mesh, close_camera(), light, shading="pixel")
    return on_backdrop(display_picture(drawn, mesh), drawn.mask[0])


def photo_views(face: facewright.Reconstruction) -> tuple[Float[Tensor, "3 _ _"], Float[Tensor, "3 _ _"]]:
    """The photo around the face, without and with the outline of the reconstruction."""
    mask = facewright.render(face.mesh_world, face.camera, face.coefficients.sh).mask[0]
    parts = [
        crop_around(picture, face.detection.box, margin=0.7) for picture in (face.photo.srgb, mask.expand(3, -1, -1))
    ]
    scale = DRAWN_PX / max(parts[0].shape[1:])
    large = torch.nn.functional.interpolate(torch.stack(parts), scale_factor=scale, mode="bicubic", antialias=True)
    photo = large[0].clamp(0.0, 1.0)
    return photo, draw_outline(photo, large[1, :1])


def tiles_of(face: facewright.Reconstruction) -> list[tuple[str, Float[Tensor, "3 _ _"]]]:
    """One row of the picture."""
    files = FaceFiles(face)
    photo, outlined = photo_views(face)
    return [
        ("photo", photo),
        ("outline", outlined),
        ("textured", textured_view(files, -30.0)),
        ("", textured_view(files, 40.0)),
        ("shape", grey_view(face, -30.0)),
        ("", grey_view(face, 40.0)),
    ]


def main() -> None:
    """Reconstruct both portraits and draw them."""
    arguments = tyro.cli(Arguments)
    tiles = []
    for name in PORTRAITS:
        (face,) = facewright.reconstruct(embedded_path(f"photos/{name}"))
        tiles += tiles_of(face)
    write_png(arguments.out, contact_sheet(tiles, columns=6, tile_px=arguments.tile))
    size = arguments.out.stat().st_size
    if size > MOST_BYTES:
        raise SystemExit(f"{arguments.out} has {size} bytes, more than {MOST_BYTES}: pass a smaller --tile")


if __name__ == "__main__":
    main()
