"""The whole flow (photo in memory to JSON text, no pictures) as a multiple of R-Net's bare forward pass.

    python benchmarks/bench_flow.py [--batch 16] [--threads 1]

Sixteen photos go through detection, alignment, R-Net with ResNet-50, landmarks and JSON, with a face model of the Basel
size; the numbers in both are made up, the work is not. CPU time, not wall time, of flow and network in turns, so that a
busy machine slows both alike; each figure is the median of the turns' ratios.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the synthetic Basel model lives with the tests

from facewright.detect import load_face_detector
from facewright.export.json import format_json
from facewright.fit import FitPlan, FitSettings
from facewright.inference import Inference
from facewright.morphable.readers import import_face_model
from facewright.photo import read_photo
from facewright.pipeline.flow import Reconstructor
from facewright.pipeline.outputs import document
from facewright.pipeline.reconstruction import Reconstruction
from facewright.pipeline.rnet_estimator import RNetEstimator
from facewright.records import Photo
from facewright.regress.backbones import build_backbone
from facewright.regress.rnet import RNet
from facewright.regress.weights import WeightsCard, load_weights, save_weights
from tests.morphable.readers.full_size import write_full_bfm_front

PORTRAITS = Path(__file__).resolve().parents[1] / "src" / "facewright" / "assets" / "photos"

LIMIT = 2.0
"""A flow that costs more than this many bare forward passes fails the run."""


@dataclass(frozen=True)
class Arguments:
    """Measure the flow."""

    photos: Path | None = None
    """Folder of photographs; the two bundled portraits, repeated, if none is given."""
    batch: int = 16
    """Photos that go through the networks together."""
    turns: int = 5
    """Measurements."""
    threads: int = 1
    """Of torch."""


def load_photos(folder: Path | None, count: int) -> list[Photo]:
    """As many as asked for, repeating those that there are."""
    folder = folder or PORTRAITS
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in {".jpg", ".jpeg", ".png"})
    photos = [read_photo(path) for path in paths[:count]]
    return [photos[k % len(photos)] for k in range(count)]


def flow(photos: list[Photo], reconstructor: Reconstructor) -> list[Reconstruction]:
    """Photos to JSON."""
    results = reconstructor.faces_in_batch(photos, faces="largest")
    faces = [result for result in results if isinstance(result, Reconstruction)]
    for face in faces:
        format_json(document([face]))
    return faces


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU time of one call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def main(arguments: Arguments) -> int:
    """Print the ratio and what it is made of; 1 if it is above the limit."""
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        model, _ = import_face_model(write_full_bfm_front(Path(folder)))
        save_weights(
            RNet(model.layout),
            WeightsCard(model.name, face_model_edition=model.edition),
            Path(folder) / "rnet.safetensors",
        )
        rnet = load_weights(Path(folder) / "rnet.safetensors")
    estimator = RNetEstimator(rnet, model, FitPlan.of(model), FitSettings())
    reconstructor = Reconstructor(load_face_detector(), estimator, check=None)  # such answers are no faces
    photos, crops = load_photos(arguments.photos, arguments.batch), torch.rand(arguments.batch, 3, 224, 224)
    network = torch.nn.Sequential(build_backbone("resnet50"), torch.nn.Linear(2048, 1000)).eval()
    with torch.inference_mode(), tempfile.TemporaryDirectory() as folder:
        # by the engine that the flow's network takes: the other one is slower
        bare = Inference(network, lambda images: {"logits": network(images)}, side=224, folder=Path(folder))
        faces = flow(photos, reconstructor)
        bare(crops)
        pairs = [
            (cpu_seconds(lambda: flow(photos, reconstructor)), cpu_seconds(lambda: bare(crops)))
            for _ in range(arguments.turns)
        ]
    ratio = statistics.median(whole / network for whole, network in pairs)
    per_photo = 1e3 / arguments.batch
    print(f"photos {arguments.batch}, faces {len(faces)}, threads {arguments.threads}, both by {bare.engine}")
    print(
        f"bare ResNet-50: {statistics.median(network for _, network in pairs) * per_photo:.0f} ms of CPU time a photo"
    )
    print(f"whole flow:     {ratio:.2f} times that (limit {LIMIT})")
    for stage, seconds in faces[0].seconds.items():
        print(f"  {stage:<10} {1e3 * seconds:.0f} ms a photo (wall time)")
    return int(ratio > LIMIT)


if __name__ == "__main__":
    raise SystemExit(main(tyro.cli(Arguments)))
