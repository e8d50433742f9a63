"""Pictures per second of a whole training step, as a share of the bare backbone's step in the same run.

The whole step decodes, draws, lights and compares every picture and goes all the way back: the photometric, landmark,
coefficient and whiteness terms of the ``open`` preset on photographs, gradient clipping and averaged weights. The bare
step is the same network without any of it: forward, the square of what it says, backward, optimiser; in the same
precision. Both in turns, by CPU time, so that a busy machine slows both alike (on a GPU by wall time); each figure is
the median of the turns. A share below its limit fails the run.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from lightning_fabric import Fabric
from torch import Tensor

from facewright.geometry.color import srgb_from_linear
from facewright.geometry.frames import crop_camera
from facewright.geometry.pose import posed_mesh
from facewright.morphable.container import load_face_model
from facewright.morphable.linear import FaceModel
from facewright.morphable.sample import sample_coefficients
from facewright.regress.rnet import RNet
from facewright.render.renderer import render
from facewright.train.arcface import load_embedder
from facewright.train.loop import Training, make_optimizer
from facewright.train.objective import make_objective, project_landmarks, repeated
from facewright.train.rnet_settings import NO_TRUTH, RUN_PRESETS
from facewright.train.rnet_training import RNetCourse
from facewright.train.run import make_fabric
from facewright.train.samples import TrainingBatch
from facewright.train.settings import Precision

LIMITS = {
    ("cpu", "resnet50", 224): 0.8,
    ("cpu", "dlib_resnet29", 112): 0.6,
    ("cuda", "resnet50", 224): 0.8,
    ("cuda", "dlib_resnet29", 112): 0.5,
}
"""A share below fails the run, but for that of the perceptual term's network."""
PRECISIONS: dict[str, Precision] = {"cpu": "32", "cuda": "bf16-mixed"}
"""What each device trains in."""


@dataclass(frozen=True)
class Case:
    """A network to be trained.

    Attributes:
        backbone: trunk.
        width: factor on its channels.
        size: of the crops, px.
        batch: pictures a step.
    """

    backbone: str
    width: float
    size: int
    batch: int


CASES = (
    Case("resnet50", 1.0, 224, 8),
    Case("resnet18", 1.0, 224, 16),
    Case("mobilenet_v3_large", 1.0, 224, 16),
    Case("dlib_resnet29", 1.0, 112, 32),
    Case("resnet18", 0.5, 112, 64),
    Case("mobilenet_v3_small", 1.0, 112, 64),
)


def photographs(model: FaceModel, size: int, count: int) -> TrainingBatch:
    """Drawn faces, turned in all directions, that are treated as photographs."""
    rng = torch.Generator().manual_seed(0)
    faces = sample_coefficients(model, rng, count, expressions=True)
    faces = replace(faces, angles=0.4 * torch.randn(count, 3, generator=rng))
    camera = repeated(crop_camera(size=size), count)
    with torch.no_grad():
        drawn = render(posed_mesh(model.decode(faces), faces.pose), camera, faces.sh)
        landmarks = project_landmarks(model, faces, camera)
    nothing = torch.zeros(count, 468)
    return TrainingBatch(
        srgb_from_linear(drawn.image).clamp(0.0, 1.0).contiguous(),
        drawn.mask[:, 0].contiguous(),
        landmarks,
        torch.ones(count, 68),
        nothing[..., None].expand(-1, -1, 2),
        nothing,
        model.layout.zeros(count),
        torch.zeros(count, dtype=torch.bool),
    )


def whole_step(
    case: Case, model: FaceModel, batch: TrainingBatch, fabric: Fabric, embedder: str
) -> Callable[[], object]:
    """A step as ``facewright train rnet`` takes it."""
    settings = RUN_PRESETS["open"]
    weak = replace(settings.network.objective.weak, perceptual=0.2 if embedder else 0.0)
    objective = make_objective(
        model,
        case.size,
        weak=weak,
        supervised=NO_TRUTH,
        embedder=load_embedder(embedder).to(fabric.device) if embedder else None,
    )
    training = Training(fabric, RNetCourse(network(case, model), objective), settings.optimizer, steps=10**6)
    return lambda: training.take_step(batch)


class Bare(torch.nn.Module):
    """The network's own part, as a module that Fabric runs in its precision."""

    def __init__(self, net: RNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, crops: Tensor) -> Tensor:
        """Everything that the network says, in one vector."""
        return self.net.forward_vector(crops)


def bare_step(case: Case, model: FaceModel, batch: TrainingBatch, fabric: Fabric) -> Callable[[], object]:
    """Forward, backward and optimiser of the network alone."""
    net = network(case, model).train()
    net.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] - missing from torch's stubs
    steps_of = make_optimizer(net, RUN_PRESETS["open"].optimizer, lambda name: name.startswith("backbone."))
    module, optimizer = fabric.setup(Bare(net), steps_of)

    def step() -> None:
        fabric.backward(module(batch.crops).square().mean())
        optimizer.step()
        optimizer.zero_grad()

    return step


def network(case: Case, model: FaceModel) -> RNet:
    """An R-Net for the open head."""
    torch.manual_seed(0)
    return RNet(model.layout, architecture=case.backbone, width=case.width, crop_size=case.size)


def seconds(step: Callable[[], object], device: str) -> float:
    """Of one step."""
    if device == "cpu":
        start = time.process_time()
        step()
        return time.process_time() - start
    torch.cuda.synchronize()
    start = time.perf_counter()
    step()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def main() -> int:
    """Print one row per network; 1 if a limit is broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=5, help="steps of each kind per network")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--precision", default="", help="of the networks: 32 or bf16-mixed; as the device trains")
    parser.add_argument("--batch-scale", type=float, default=1.0, help="factor on the batches, for GPUs")
    parser.add_argument("--embedder", default="", help="add the perceptual term of this network: dlib or a file")
    parser.add_argument("--only", default="", help="only backbones whose name holds this")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    kind = arguments.device.partition(":")[0]
    precision = arguments.precision or PRECISIONS[kind]
    fabric = make_fabric(replace(RUN_PRESETS["open"], device=arguments.device, precision=precision))
    model = load_face_model("open").to(fabric.device)
    too_low = []
    print(f"both in {precision}, on {arguments.device}")
    print(f"{'backbone':<24}{'px':>4}{'batch':>6}{'bare/s':>9}{'whole/s':>9}{'share':>8}{'losses, ms/picture':>20}")
    for case in (case for case in CASES if arguments.only in case.backbone):
        case = replace(case, batch=max(2, round(case.batch * arguments.batch_scale)))
        batch = photographs(load_face_model("open"), case.size, case.batch).to(fabric.device)
        whole = whole_step(case, model, batch, fabric, arguments.embedder)
        bare = bare_step(case, model, batch, fabric)
        for step in (whole, bare):
            step()  # the first one compiles and allocates
        pairs = [(seconds(whole, kind), seconds(bare, kind)) for _ in range(arguments.turns)]
        share = statistics.median(b / a for a, b in pairs)
        slow, quick = (statistics.median(times) for times in zip(*pairs, strict=True))
        name = case.backbone + (f" x{case.width:g}" if case.width != 1 else "")
        limit = LIMITS.get((kind, case.backbone, case.size), 0.0)
        if share < limit and case.width == 1 and not arguments.embedder:
            too_low.append(f"{name} at {case.size} px: expected a share of at least {limit}, measured {share:.2f}")
        rates = f"{case.batch / quick:>9.1f}{case.batch / slow:>9.1f}{share:>8.2f}"
        print(f"{name:<24}{case.size:>4}{case.batch:>6}{rates}{1e3 * (slow - quick) / case.batch:>20.1f}", flush=True)
    print("\n".join(too_low), end="\n" if too_low else "")
    return int(bool(too_low))


if __name__ == "__main__":
    raise SystemExit(main())
