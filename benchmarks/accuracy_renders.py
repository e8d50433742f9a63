"""The fit on renders of random people of the open head, whose truth is known.

    python benchmarks/accuracy_renders.py [--count 50]

Seeds from 900000 on are held out: nothing in the project is tuned or trained on them. Errors are of the vertices of the
face region after rigid alignment, of the rotation (geodesic), and of the projected iBUG-68 landmarks.
"""

import statistics
from dataclasses import dataclass, replace

import torch
import tyro

from facewright.errors import NoFaceFoundError, ReconstructionError
from facewright.geometry.color import srgb_from_linear
from facewright.geometry.frames import pose_points, project_points
from facewright.geometry.pose import posed_mesh
from facewright.geometry.rotations import geodesic_angle, rotation_from_angles
from facewright.geometry.similarity import apply_similarity, similarity_from_points
from facewright.morphable.container import load_face_model
from facewright.morphable.linear import FaceModel
from facewright.morphable.sample import sample_coefficients
from facewright.photo import photo_from_array
from facewright.pipeline.flow import load_reconstructor
from facewright.records import Camera, FaceCoefficients, Photo
from facewright.render.renderer import render

HELD_OUT_SEED = 900_000
SIZE = 400


@dataclass(frozen=True)
class Arguments:
    """Measure reconstructions against known truth."""

    count: int = 50
    """Renders."""
    seed: int = HELD_OUT_SEED
    """First seed; each render takes the next."""
    method: str = "fit"
    """How coefficients are found."""
    weights: str | None = None
    """R-Net's: a file, open or fast."""
    refine: int | None = None
    """Rounds of the fit after R-Net."""


def scene(model: FaceModel, seed: int) -> tuple[Photo, FaceCoefficients, Camera]:
    """A picture of a random person with an expression, in soft coloured light, before a smooth background."""
    generator = torch.Generator().manual_seed(seed)
    drawn = sample_coefficients(model, generator, 1, expressions=True)
    draw = lambda *size: torch.randn(*size, generator=generator)  # noqa: E731 - a local abbreviation
    truth = replace(
        drawn,
        angles=draw(1, 3) * torch.tensor([0.12, 0.40, 0.08]),
        translation=draw(1, 3) * torch.tensor([0.1, 0.1, 0.3]),
        sh=0.15 * draw(1, 9, 1) + 0.03 * draw(1, 9, 3),
    )
    middle = torch.tensor([(SIZE - 1) / 2])
    camera = Camera(torch.tensor([1300.0]), middle, middle, SIZE, SIZE)
    picture = render(posed_mesh(model.decode(truth), truth.pose), camera, truth.sh, shading="pixel")
    corners = torch.rand(1, 3, 3, 3, generator=generator)
    backdrop = torch.nn.functional.interpolate(corners, (SIZE, SIZE), mode="bicubic").clamp(0, 1)
    srgb = srgb_from_linear((picture.image + (1 - picture.mask) * backdrop).clamp(0, 1))
    noise = 0.01 * torch.randn(srgb.shape, generator=generator)
    return photo_from_array((srgb + noise).clamp(0, 1)[0].permute(1, 2, 0)), truth, camera


def vertex_error_mm(vertices: torch.Tensor, target: torch.Tensor, region: torch.Tensor) -> float:
    """Mean distance over a region after rigid alignment on it, mm."""
    chosen, wanted = vertices[:, region], target[:, region]
    fitted = apply_similarity(chosen, *similarity_from_points(chosen, wanted, with_scale=False))
    return float(100 * (fitted - wanted).norm(dim=-1).mean())


def main(arguments: Arguments) -> None:
    """Print the figures."""
    flow = load_reconstructor(method=arguments.method, weights=arguments.weights, refine=arguments.refine)
    model = load_face_model()
    region = model.annotations.regions["face"] > 0.5
    found_mm, mean_mm, neutral_mm, neutral_mean_mm, turns_deg, nme = [], [], [], [], [], []
    missed = 0
    for k in range(arguments.count):
        photo, truth, camera = scene(model, arguments.seed + k)
        try:
            face = flow.faces_in(photo, faces="largest")[0]
        except (NoFaceFoundError, ReconstructionError):
            missed += 1
            continue
        c = face.coefficients
        target, no_exp = model.shape(truth.id, truth.exp), torch.zeros_like(truth.exp)
        found_mm.append(vertex_error_mm(model.shape(c.id, c.exp), target, region))
        mean_mm.append(vertex_error_mm(model.mean_shape[None], target, region))
        neutral_mm.append(vertex_error_mm(model.shape(c.id, no_exp), model.shape(truth.id, no_exp), region))
        neutral_mean_mm.append(vertex_error_mm(model.mean_shape[None], model.shape(truth.id, no_exp), region))
        turn = geodesic_angle(rotation_from_angles(c.angles), rotation_from_angles(truth.angles))
        turns_deg.append(float(torch.rad2deg(turn)))
        ids = model.annotations.ibug68
        world = pose_points(model.shape(truth.id, truth.exp), truth.angles, truth.translation)
        marks = project_points(world[:, ids], camera)[0, :, :2]
        size = (marks.amax(0) - marks.amin(0)).prod().sqrt()
        nme.append(float(100 * (face.landmarks - marks).norm(dim=-1).mean() / size))
    print(f"renders {arguments.count}, no face found in {missed}")
    print(f"shape with expression: {compared(found_mm, mean_mm)}")
    print(f"identity alone: {compared(neutral_mm, neutral_mean_mm)}")
    print(
        f"rotation: median {statistics.median(turns_deg):.2f} degrees; 68 landmarks: NME {statistics.mean(nme):.2f} %"
    )


def compared(found_mm: list[float], mean_head_mm: list[float]) -> str:
    """Mean errors of the fit and of the mean head."""
    found, of_mean_head = statistics.mean(found_mm), statistics.mean(mean_head_mm)
    return f"{found:.2f} mm, mean head {of_mean_head:.2f} mm: {1 - found / of_mean_head:.1%} better"


if __name__ == "__main__":
    main(tyro.cli(Arguments))
