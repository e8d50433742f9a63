"""What the open head lends to a face model that is brought: its annotations, and what its network sees.

    python benchmarks/accuracy_any_model.py [--count 30]
    python benchmarks/accuracy_any_model.py --hard --count 60

The brought model is made of the open head so that the truth is known: another order of vertices, another mean,
40 mixed modes, no albedo, iBUG-68 landmarks and nothing else. Renders are those of ``accuracy_renders.py``.
Lines: the mean head; the fit with landmarks alone; the fit with the marks and the albedo that ``model import`` borrows;
``guided``. Errors: neutral face after rigid alignment, mm; places of iBUG-68, per cent of the size of their box.
With ``--hard`` scenes that bring what photographs bring, the last two ways alone, by yaw.
"""

import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import tyro
from accuracy_renders import HELD_OUT_SEED, scene, vertex_error_mm
from jaxtyping import Float, Int
from torch import Tensor

from facewright.errors import FacewrightError
from facewright.fit.borrowing import borrowed
from facewright.geometry.frames import pose_points, project_points
from facewright.morphable.container import load_face_model, save_face_model
from facewright.morphable.linear import FaceModel
from facewright.pipeline.flow import Reconstructor, load_reconstructor
from facewright.records import Annotations, Topology
from facewright.synthetic import Studio, open_studio, photograph, plan_scene

MODES = 40
YAWS: tuple[int, ...] = (30, 60, 90)
"""Upper limits of classes, degrees."""


@dataclass(frozen=True)
class Arguments:
    """Measure on renders of the open head."""

    count: int = 30
    """Renders."""
    seed: int = HELD_OUT_SEED
    """First seed; each render takes the next."""
    weights: Path | None = None
    """The guide's; none: the embedded ones."""
    hard: bool = False
    """Hard scenes of ``facewright evaluate synthetic`` instead of plain renders."""


def stranger(model: FaceModel, seed: int = 1) -> tuple[FaceModel, Int[Tensor, " V"]]:
    """A face model of the same people that shares landmarks with the open one; and where each vertex was."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(model.mean_shape), generator=generator)
    place = torch.argsort(order)
    modes = torch.linalg.qr(torch.randn(model.layout.id, model.layout.id, generator=generator)).Q[:, :MODES]
    person = 0.7 * torch.randn(model.layout.id, generator=generator)
    marks, count = model.annotations, len(order)
    assert marks.ibug68 is not None
    return FaceModel(
        mean_shape=(model.mean_shape + model.id_basis @ person)[order],
        id_basis=(model.id_basis @ modes)[order],
        exp_basis=model.exp_basis[order],
        mean_albedo=torch.full((count, 3), 0.3),
        albedo_basis=torch.zeros(count, 3, 0),
        topology=Topology(place[model.faces], annotations=Annotations(ibug68=place[marks.ibug68])),
        metadata={"name": "stranger", "exp_prior": "box", "albedo_space": "linear"},
    ), order


def measured(flow: Reconstructor | None, model: FaceModel, order: Int[Tensor, " V"], seeds: range) -> str:
    """The figures of a line; without a flow those of the mean face."""
    shapes, points, missed = [], [], 0
    region = model.annotations.regions["face"] > 0.5
    for seed in seeds:
        photo, truth, camera = scene(model, seed)
        wanted = model.shape(truth.id, torch.zeros_like(truth.exp))
        if flow is None:
            shapes.append(vertex_error_mm(model.mean_shape[None], wanted, region))
            continue
        try:
            face = flow.faces_in(photo)[0]
        except FacewrightError:
            missed += 1
            continue
        neutral = replace(face.coefficients, exp=torch.zeros_like(face.coefficients.exp))
        found = torch.zeros_like(wanted)
        found[:, order] = face.face_model.decode(neutral).vertices
        shapes.append(vertex_error_mm(found, wanted, region))
        ids = model.annotations.ibug68
        assert ids is not None
        posed = pose_points(model.points(ids, truth.id, truth.exp), truth.angles, truth.translation)
        seen = project_points(posed, camera)[0, :, :2]
        points.append(float(100 * (face.landmarks - seen).norm(dim=-1).mean() / _box(seen)))
    line = f"neutral face {statistics.mean(shapes):.2f} mm"
    return line if flow is None else f"{line}, landmarks {statistics.mean(points):.2f} %, not found {missed}"


def measured_hard(flow: Reconstructor, studio: Studio, seeds: range) -> str:
    """Landmarks by yaw: mean per cent of the size of their box, and faces not found."""
    found: dict[int, list[float]] = {limit: [] for limit in YAWS}
    missed: dict[int, int] = dict.fromkeys(YAWS, 0)
    for seed in seeds:
        scene = photograph(studio, plan_scene(studio, seed))
        yaw = float(torch.rad2deg(scene.coefficients.angles[0, 1]).abs())
        limit = next((limit for limit in YAWS if yaw < limit), YAWS[-1])
        seen = scene.landmarks[:, :2]
        try:
            faces = flow.faces_in(scene.photo)
        except FacewrightError:
            missed[limit] += 1
            continue
        apart = min(float((face.landmarks - seen).norm(dim=-1).mean()) for face in faces)
        found[limit].append(100 * apart / _box(seen))
    return "; ".join(
        f"yaw to {limit}: {statistics.mean(found[limit] or [float('nan')]):.2f} %, {missed[limit]} of "
        f"{missed[limit] + len(found[limit])} not found"
        for limit in YAWS
    )


def _box(points: Float[Tensor, "N 2"]) -> float:
    return float((points.amax(0) - points.amin(0)).prod().sqrt())


def main(arguments: Arguments) -> None:
    """Print a line per way."""
    model = load_face_model()
    bare, order = stranger(model)
    lent, notes = borrowed(bare, model)
    print("; ".join(notes))
    seeds = range(arguments.seed, arguments.seed + arguments.count)
    with TemporaryDirectory() as folder:
        files = {name: Path(folder) / f"{name}.npz" for name in ("bare", "lent")}
        save_face_model(bare, files["bare"])
        save_face_model(lent, files["lent"])
        load = partial(load_reconstructor, method="guided", weights=arguments.weights)
        ways: dict[str, Callable[[], Reconstructor | None]] = {
            "mean head": lambda: None,
            "fit, landmarks alone": lambda: load_reconstructor(face_model=files["bare"], method="fit"),
            "fit, borrowed marks and albedo": lambda: load_reconstructor(face_model=files["lent"], method="fit"),
            "guided, landmarks alone": lambda: load(face_model=files["bare"]),
            "guided": lambda: load(face_model=files["lent"]),
        }
        if arguments.hard:
            studio = open_studio()
            for name in ("fit, borrowed marks and albedo", "guided"):
                flow = ways[name]()
                assert flow is not None
                print(f"{name:32s} {measured_hard(flow, studio, seeds)}")
            return
        for name, make in ways.items():
            print(f"{name:32s} {measured(make(), model, order, seeds)}")


if __name__ == "__main__":
    main(tyro.cli(Arguments))
