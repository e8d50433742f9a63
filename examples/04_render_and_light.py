"""Pictures of a face, and a light found from a picture.

`facewright.render` draws posed faces through a camera in a light of nine spherical harmonics per colour channel. It
is differentiable, in plain PyTorch: the second half draws a face in a light that it then forgets, and finds it again
from the picture by gradient descent. In the same way shapes, poses and albedos can be trained and fitted.
"""

from pathlib import Path

import torch
import tyro
from torch import Tensor

import facewright
from facewright.apps.edit import light_from_direction
from facewright.export.pictures import on_backdrop
from facewright.export.png import write_png
from facewright.export.sheets import contact_sheet
from facewright.geometry.frames import crop_camera
from facewright.geometry.pose import posed_mesh
from facewright.morphable.sample import sample_coefficients
from facewright.pipeline.views import display_picture

DIRECTIONS = {"left": (-1.0, 0.2, 0.4), "above": (0.0, 1.0, 0.5), "right": (1.0, 0.2, 0.4), "behind": (0.3, 0.3, -1.0)}


def found_light(mesh: facewright.FaceMesh, camera: facewright.Camera, seen: Tensor, steps: int) -> Tensor:
    """The light in which the face looks as seen, by gradient descent from the plain light."""
    sh = torch.zeros(1, 9, 3, requires_grad=True)
    optimizer = torch.optim.Adam([sh], lr=0.05)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = (facewright.render(mesh, camera, sh, antialias=False).image - seen).square().mean()
        loss.backward()
        optimizer.step()
    return sh.detach()


def main(size: int = 224, steps: int = 60, seed: int = 3, out: Path = Path("out/examples")) -> None:
    """Draw a face in several lights, and find one of them again.

    Args:
        size: side of the pictures, px.
        steps: of the descent.
        seed: of the person.
        out: folder for the results.
    """
    model = facewright.load_face_model("open")
    person = sample_coefficients(model, torch.Generator().manual_seed(seed), expressions=False)
    mesh, camera = posed_mesh(model.decode(person), person.pose), crop_camera(size=size)
    lights = {name: light_from_direction(torch.tensor([toward])) for name, toward in DIRECTIONS.items()}
    seen = facewright.render(mesh, camera, lights["left"], antialias=False).image
    lights["left, found again"] = found_light(mesh, camera, seen, steps)
    tiles = []
    for title, sh in lights.items():
        drawn = facewright.render(mesh, camera, sh)
        tiles.append((title, on_backdrop(display_picture(drawn, mesh), drawn.mask[0])))
    out.mkdir(parents=True, exist_ok=True)
    write_png(out / "lights.png", contact_sheet(tiles, columns=len(tiles)))
    again = facewright.render(mesh, camera, lights["left, found again"], antialias=False).image
    print(f"root mean square difference of the two pictures: {(again - seen).square().mean().sqrt():.4f}")


if __name__ == "__main__":
    tyro.cli(main)
