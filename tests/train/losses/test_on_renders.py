"""The losses on renderings of the toy face: what they are minimised for comes out."""

import torch

from facewright.geometry.color import srgb_from_linear
from facewright.geometry.frames import crop_camera, project_points
from facewright.morphable.linear import FaceModel
from facewright.records import FaceCoefficients
from facewright.render.renderer import render
from facewright.train.losses.landmark import landmark_loss, landmark_weights
from facewright.train.losses.photometric import photometric_loss

SIZE, NOISE = 32, 0.02


def drawn(model: FaceModel, coefficients: FaceCoefficients) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Picture, mask and landmarks in pixels."""
    camera = crop_camera(size=SIZE)
    mesh = model.decode(coefficients)
    rendering = render(mesh, camera, coefficients.sh)
    coded = srgb_from_linear(rendering.image) if model.albedo_space == "linear" else rendering.image
    return coded, rendering.mask[:, 0], project_points(mesh.vertices[:, model.annotations.ibug68], camera)[..., :2]


def test_photometric_loss_falls_to_the_noise_floor(toy_model: FaceModel, rng: torch.Generator) -> None:
    layout = toy_model.layout
    truth = layout.unpack(0.4 * torch.randn(1, layout.size, generator=rng))
    still = layout.zeros()
    truth = FaceCoefficients(truth.id, truth.exp, truth.tex, still.angles, 0.3 * truth.sh, still.translation)
    clean, _, points = (part.detach() for part in drawn(toy_model, truth))
    photo = clean + NOISE * torch.randn(clean.shape, generator=rng)

    unknown = torch.zeros(1, layout.size, requires_grad=True)
    weights = landmark_weights(points)

    def losses(coefficients: FaceCoefficients) -> tuple[torch.Tensor, torch.Tensor]:
        image, mask, projected = drawn(toy_model, coefficients)
        return photometric_loss(image, photo, mask), landmark_loss(projected, points, weights, SIZE)

    floor = float(losses(truth)[0])
    start = float(losses(layout.unpack(unknown))[0].detach())
    optimiser = torch.optim.Adam([unknown], lr=0.07)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 80)
    for _ in range(80):
        optimiser.zero_grad()
        color, landmark = losses(layout.unpack(unknown))
        (1.9 * color + 1.6e-3 * landmark).backward()
        optimiser.step()
        schedule.step()
    color, landmark = (float(loss.detach()) for loss in losses(layout.unpack(unknown)))
    assert start > 3 * floor
    assert color < 1.1 * floor
    assert landmark < 0.5
