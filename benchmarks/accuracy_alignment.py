"""Dense alignment, method beside method: position maps, R-Net, the detector's own mesh, and maps joined with R-Net.

    python benchmarks/accuracy_alignment.py [--prnet prnet] [--count 200] [--out alignment.json]

On the held-out scenes of ``facewright evaluate synthetic``, all methods after one detection. Errors are distances in
the picture over the square root of the area of the true landmarks' box, per cent, means by the true yaw: of the 68
landmarks (3D definition), and of all points of a position map (of the detector, its 468 points). ``--joined`` is what
R-Net's refinement makes of a map as further evidence.
"""

import json
import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import tyro
from jaxtyping import Float
from torch import Tensor

from facewright.errors import FacewrightError
from facewright.evaluate.methods import FlowMethod
from facewright.geometry.frames import project_points
from facewright.geometry.ibug68 import MESH_TO_IBUG68
from facewright.geometry.pose import posed_mesh
from facewright.morphable.linear import FaceModel
from facewright.morphable.uv import MapSurface, position_space
from facewright.pipeline.estimator import Candidate, Estimate
from facewright.pipeline.evidence import fit_from
from facewright.pipeline.flow import Reconstructor, load_reconstructor
from facewright.pipeline.map_evidence import evidence_of_map
from facewright.pipeline.prnet_estimator import PRNetEstimator
from facewright.pipeline.rnet_estimator import RNetEstimator
from facewright.records import FaceDetection
from facewright.synthetic import HELD_OUT_SEED, Scene, open_studio, photograph, plan_scene

BINS = ("0-30", "30-60", "60-90")
MAP_PX = 96


@dataclass(frozen=True)
class Arguments:
    """Measure alignment."""

    prnet: str = "prnet"
    """Weights of the position maps."""
    rnet: str = "open"
    """Weights of R-Net."""
    count: int = 200
    """Scenes."""
    first_seed: int = HELD_OUT_SEED
    """Of the first."""
    joined: bool = True
    """Measure R-Net's refinement with position maps as further evidence too."""
    out: Path | None = None
    """Figures as JSON."""


@dataclass(frozen=True)
class Seen:
    """What a method says about a scene, photo px.

    Attributes:
        marks: iBUG-68.
        points: dense.
        wanted: the same dense points, true.
    """

    marks: Float[Tensor, "68 2"]
    points: Float[Tensor, "P 2"]
    wanted: Float[Tensor, "P 2"]


@dataclass(frozen=True)
class Bench:
    """The parts, loaded once.

    Attributes:
        model: of the scenes.
        surface: points that methods with coefficients are asked of.
        of_map: those that PRNet's maps hold.
        rnet: R-Net and one round of the fit.
        alone: R-Net without.
        prnet: position maps.
    """

    model: FaceModel
    surface: MapSurface
    of_map: MapSurface
    rnet: Reconstructor
    alone: Reconstructor
    prnet: Reconstructor

    def of_estimate(self, answer: Estimate, truth: Float[Tensor, "V 2"]) -> Seen:
        """Of a mesh: of the open head's topology, or of a map's."""
        world = posed_mesh(answer.mesh, answer.pose)
        pixels = project_points(world.vertices, answer.aligned.camera_photo)[0, :, :2]
        ids = answer.topology.annotations.ibug68
        assert ids is not None
        if answer.morphable is not None:
            return Seen(pixels[ids], self.surface.of(pixels[None])[0], self.surface.of(truth[None])[0])
        return Seen(pixels[ids], pixels, self.of_map.of(truth[None])[0])

    def of_detector(self, face: FaceDetection, truth: Float[Tensor, "V 2"]) -> Seen | None:
        """Of the detector's own mesh."""
        glue = self.model.annotations.mesh468
        if face.mesh is None or glue is None:
            return None
        flat = torch.nn.functional.pad(truth, (0, 1))
        return Seen(face.mesh[MESH_TO_IBUG68, :2], face.mesh[:, :2], glue.of(flat)[:, :2])

    def joined(self, start: Candidate) -> Estimate:
        """R-Net's refinement with the map of its own last crop as evidence."""
        rnet, prnet = self.rnet.estimator, self.prnet.estimator
        assert isinstance(rnet, RNetEstimator)
        assert isinstance(prnet, PRNetEstimator)
        first = one(self.alone, start)
        map_ = one(replace(self.prnet, estimator=replace(prnet, looks=1)), replace(start, aligned=first.aligned))
        world = posed_mesh(map_.mesh, map_.pose).vertices[0]
        evidence = evidence_of_map(world, map_.pose, first.aligned, self.of_map, rnet.plan)
        assert first.morphable is not None
        found = fit_from(
            first.morphable.coefficients,
            first.aligned,
            start.detection,
            rnet.plan,
            rnet.fit.refining(1),
            belief=first.belief,
            more=evidence.points,
        )
        mesh = self.model.decode(found.coefficients)
        return replace(first, mesh=mesh, pose=found.coefficients.pose)


def one(flow: Reconstructor, face: Candidate) -> Estimate:
    """One method's answer.

    Raises:
        FacewrightError: there is none.
    """
    (answer,) = flow.estimator.estimates([face])
    if isinstance(answer, FacewrightError):
        raise answer
    return answer


def cut(flow: Reconstructor, scene: Scene, face: FaceDetection) -> Candidate:
    """The crop that a method wants."""
    return Candidate(scene.photo, face, flow.estimator.crop(scene.photo, face.five))


def answers(bench: Bench, scene: Scene, face: FaceDetection, *, joined: bool) -> dict[str, Seen | None]:
    """All methods on one scene."""
    c = scene.coefficients
    mesh = posed_mesh(bench.model.decode(c), c.pose)
    truth = project_points(mesh.vertices, scene.camera)[0, :, :2]
    methods: dict[str, Callable[[], Seen | None]] = {
        "detector's mesh": lambda: bench.of_detector(face, truth),
        "R-Net": lambda: bench.of_estimate(one(bench.alone, cut(bench.alone, scene, face)), truth),
        "R-Net + refine": lambda: bench.of_estimate(one(bench.rnet, cut(bench.rnet, scene, face)), truth),
        "PRNet": lambda: bench.of_estimate(one(bench.prnet, cut(bench.prnet, scene, face)), truth),
    }
    if joined:
        start = cut(bench.alone, scene, face)
        methods["R-Net + refine + PRNet"] = lambda: bench.of_estimate(bench.joined(start), truth)
    return {name: method() for name, method in methods.items()}


def main(arguments: Arguments) -> None:
    """Print the table."""
    studio, prnet = open_studio(), load_reconstructor(method="prnet", weights=arguments.prnet)
    alone, rnet = (load_reconstructor(method="rnet", weights=arguments.rnet, refine=rounds) for rounds in (0, 1))
    estimator = prnet.estimator
    assert isinstance(estimator, PRNetEstimator)
    surface, of_map = (position_space(studio.model, size)[1] for size in (MAP_PX, estimator.space.size))
    bench = Bench(studio.model, surface, of_map, rnet, alone, prnet)
    finder = FlowMethod("rnet", alone)
    found: dict[str, dict[str, list[tuple[float, float]]]] = {}
    missed = 0
    for seed in range(arguments.first_seed, arguments.first_seed + arguments.count):
        scene = photograph(studio, plan_scene(studio, seed, width=640, height=640))
        try:
            face = finder.find(scene.photo, near=scene.face_box)
            each = answers(bench, scene, face, joined=arguments.joined)
        except FacewrightError:
            missed += 1
            continue
        marks = scene.landmarks[:, :2]
        size = (marks.amax(0) - marks.amin(0)).prod().sqrt()
        for name, seen in each.items():
            if seen is not None:
                errors = [(seen.marks - marks), (seen.points - seen.wanted)]
                sparse, dense = (100.0 * float(error.norm(dim=-1).mean() / size) for error in errors)
                found.setdefault(name, {}).setdefault(_bin(scene), []).append((sparse, dense))
    document = {
        name: {
            key: {"scenes": len(rows), "nme_68": _mean(rows, 0), "nme_dense": _mean(rows, 1)}
            for key, rows in sorted(bins.items())
        }
        for name, bins in found.items()
    }
    print(f"{arguments.count} scenes from seed {arguments.first_seed}, {missed} not found; NME %: 68 landmarks / dense")
    print("| method | " + " | ".join(BINS) + " |\n|---|" + "---|" * len(BINS))
    for name, bins in document.items():
        cells = (bins.get(key) for key in BINS)
        shown = (f"{c['nme_68']:.2f} / {c['nme_dense']:.2f} ({c['scenes']})" if c else "-" for c in cells)
        print(f"| {name} | " + " | ".join(shown) + " |")
    if arguments.out is not None:
        arguments.out.write_text(json.dumps({"missed": missed, "methods": document}, indent=1), encoding="utf-8")


def _bin(scene: Scene) -> str:
    return scene.strata["yaw"].strip("[(]").replace(",", "-")


def _mean(rows: list[tuple[float, float]], column: int) -> float:
    return statistics.mean(row[column] for row in rows)


if __name__ == "__main__":
    main(tyro.cli(Arguments))
