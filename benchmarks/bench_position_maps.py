"""What everything around a PRNet costs, as shares of its network's forward pass on the CPU.

    python benchmarks/bench_position_maps.py [--turns 5] [--weights F]

CPU time of the whole process, median over turns, one face of a bundled portrait in a photo of its own size. Without
weights the published network is built, untrained: its times are those of its published weights.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro

from facewright.assets import embedded_path
from facewright.detect import detect_faces, load_face_detector
from facewright.export.formats import FORMATS
from facewright.geometry.map_pose import aflw_angles, map_pose
from facewright.morphable.container import load_face_model
from facewright.morphable.uv import position_space
from facewright.photo import read_photo
from facewright.pipeline.estimator import Candidate, Estimate
from facewright.pipeline.maps import depth_map, pncc_picture
from facewright.pipeline.outputs import FaceFiles
from facewright.pipeline.prnet_estimator import PRNetEstimator
from facewright.pipeline.reconstruction import Reconstruction
from facewright.pipeline.texture import face_texture
from facewright.regress.prnet import SQUARE_CROPS, PRNet, PRNetPrediction
from facewright.regress.weights import load_weights, read_card


@dataclass(frozen=True)
class Arguments:
    """Time the stages around a position map."""

    turns: int = 5
    """How often; the median counts."""
    weights: str | None = None
    """Of a PRNet; None: the published network's layers."""
    texture_px: int = 256
    """Side of the texture: the published program's."""


def estimator_of(weights: str | None) -> PRNetEstimator:
    """The method; an untrained net's tables are the open head's."""
    if weights is not None:
        return PRNetEstimator.of(load_weights(weights, kind="prnet").eval(), read_card(weights).template)
    torch.manual_seed(0)
    net, (space, _) = PRNet(), position_space(load_face_model(), 256)
    net.set_tables(space.mask, space.landmarks, space.canonical_dm, space.window)
    return PRNetEstimator.of(net.eval(), SQUARE_CROPS)


def measured(estimator: PRNetEstimator, folder: Path, texture_px: int) -> dict[str, float]:
    """CPU seconds of each stage, once."""
    seconds: dict[str, float] = {}

    def timed(stage: str, step: Callable[[], Any]) -> Any:
        start = time.process_time()
        result = step()
        seconds[stage] = time.process_time() - start
        return result

    photo = read_photo(embedded_path("photos/astronaut.jpg"))
    seen = detect_faces(photo, load_face_detector())[0]
    aligned = timed("crop", lambda: estimator.crop(photo, seen.five))
    net, space = estimator.net, estimator.space
    with torch.no_grad():
        picture = torch.nn.functional.avg_pool2d(aligned.crop[None], aligned.crop.shape[-1] // net.crop_size)
        timed("network", lambda: net.predict(picture))
        # an untrained net's maps are no faces: the mean face's takes their place
        canonical = space.points_of(space.canonical_dm)
        points = canonical * torch.tensor([60.0, -60.0, 60.0]) + torch.tensor([128.0, 128.0, 60.0])
        timed("gather", lambda: space.points_of(space.map_of(points)))
        timed("pose", lambda: aflw_angles(map_pose(points, canonical).rotation))
    known = _Known(estimator, space.map_of(points)[None])
    whole = PRNetEstimator(known, space, estimator.topology, SQUARE_CROPS)
    candidate = Candidate(photo, seen, whole.crop(photo, seen.five))
    (answer,) = timed("mesh", lambda: whole.estimates([candidate]))
    assert isinstance(answer, Estimate)
    face = Reconstruction(photo, seen, answer.aligned, answer.topology, answer.mesh, answer.pose, "prnet")
    timed("visibility", lambda: face.visibility)
    timed("texture", lambda: face_texture(face, texture_px, complete=False))
    timed("depth", lambda: depth_map(face))
    timed("pncc", lambda: pncc_picture(face))
    files = FaceFiles(face)
    for name in ("kpt", "depth", "json"):
        kind = FORMATS[name]
        timed(f"file {name}", lambda kind=kind: kind.write(files.content(kind.content), folder / f"a{kind.suffix}"))
    return seconds


class _Known(PRNet):
    """A network that answers with one map."""

    def __init__(self, estimator: PRNetEstimator, maps: torch.Tensor) -> None:
        super().__init__(architecture="resnet18", width=0.0625, crop_size=256, map_size=estimator.space.size)
        self.maps = maps

    def predict(self, crops: torch.Tensor):

        return PRNetPrediction(self.maps.expand(len(crops), -1, -1, -1))


def main(arguments: Arguments) -> None:
    """Print the table."""
    estimator, rows = estimator_of(arguments.weights), []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(arguments.turns + 1):
            rows.append(measured(estimator, Path(folder), arguments.texture_px))
    medians = {stage: statistics.median(row[stage] for row in rows[1:]) for stage in rows[0]}
    network = medians["network"]
    for stage, value in medians.items():
        print(f"{stage:12s} {value / network:8.2f} of the network  {1000 * value:8.1f} ms")
    around = sum(value for stage, value in medians.items() if stage != "network")
    print(f"{'around it':12s} {around / network:8.2f} of the network  {1000 * around:8.1f} ms")


if __name__ == "__main__":
    main(tyro.cli(Arguments))
