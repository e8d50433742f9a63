"""What a network's coefficients, points and doubts each bring: identity on drawings that it never learnt from.

    facewright train synthesize --out data/held_out --count 512 --first-seed 500000
    facewright train rnet --preset coefficients --data data/synthetic --steps 3000 --out runs/coefficients
    facewright train rnet --preset points --data data/synthetic --steps 3000 --out runs/points
    facewright train rnet --preset open --data data/synthetic --steps 3000 --out runs/both
    python benchmarks/ablation.py --data data/held_out --runs runs/coefficients runs/points runs/both

A line per run: distance of the neutral face from the true one (mm, less what pose and size explain), of the mean head,
of the network's answer, and of the fit to its points and doubts without pixels; how far apart people are, of 1.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from jaxtyping import Float
from torch import Tensor

from facewright.fit import Evidence, FitPlan, FitSettings, around, fit_face, prior_of
from facewright.geometry.frames import crop_camera
from facewright.morphable.container import load_face_model
from facewright.morphable.linear import FaceModel
from facewright.pipeline.evidence import Seen, SeenPoints, dense_evidence, seen_points_of
from facewright.pipeline.mirrored import dense_belief
from facewright.regress.rnet import RNet, RNetPrediction
from facewright.regress.weights import load_weights
from facewright.train.jitter import NO_JITTER
from facewright.train.loader import BatchStream
from facewright.train.losses.likeness import FaceSample, likeness_error, people_of, sample_face
from facewright.train.samples import TrainingBatch
from facewright.train.shards import load_data

BATCH = 32


@dataclass(frozen=True)
class Arguments:
    """Which runs are compared on which drawings."""

    data: Path
    """Drawings that nothing was learnt from."""
    runs: tuple[Path, ...]
    """Folders of runs, or weights files."""
    face_model: str = "open"
    """Whom the drawings show."""
    batches: int = 8
    """How many batches of 32 pictures are looked at."""


@torch.no_grad()
def refined(
    found: RNetPrediction, plan: FitPlan, points: SeenPoints, crop_size: int, settings: FitSettings
) -> Float[Tensor, "B Kid"]:
    """Identities by the fit to what a network says, without pixels."""
    camera, codes = crop_camera(size=crop_size), []
    for k in range(len(found.coefficients.id)):
        start, belief = found.coefficients.one(k), dense_belief(found, k)
        assert belief is not None
        evidence = Evidence(camera, (dense_evidence(Seen(points, belief), crop_size, settings),))
        prior = around(
            prior_of(plan, settings),
            start,
            plan.unknowns,
            id=belief.id_sigma,
            exp=belief.exp_sigma,
            tex=belief.tex_sigma,
        )
        codes.append(fit_face(evidence, plan, prior, start, settings).coefficients.id)
    return torch.cat(codes)


def spread_of(sample: FaceSample, codes: Tensor, truth: Tensor) -> float:
    """Mean distance of different people, as a share of the true one."""
    others = people_of(truth)[:, None] != people_of(truth)
    found, true = (torch.cdist(sample.codes_mm(c), sample.codes_mm(c))[others].mean() for c in (codes, truth))
    return float(found / true)


@torch.no_grad()
def measured(net: RNet, model: FaceModel, batches: Sequence[TrainingBatch]) -> dict[str, float]:
    """The figures of a line."""
    plan, sample, settings = FitPlan.of(model), sample_face(model), FitSettings().refining(1)
    found = [net.predict(batch.crops) for batch in batches]
    truth = torch.cat([batch.truth.id for batch in batches])
    angles = torch.cat([batch.truth.angles for batch in batches])
    codes = {"mean": torch.zeros_like(truth), "network": torch.cat([answer.coefficients.id for answer in found])}
    if net.point_ids is not None:
        points = seen_points_of(model, plan, net.point_ids)
        codes["refined"] = torch.cat([refined(answer, plan, points, net.crop_size, settings) for answer in found])
    mm = {f"{name}_mm": float(likeness_error(sample, of, truth, angles).mean()) for name, of in codes.items()}
    return mm | {f"{name}_spread": spread_of(sample, of, truth) for name, of in codes.items() if name != "mean"}


def main(arguments: Arguments) -> None:
    """Print a line per run."""
    model = load_face_model(arguments.face_model)
    for run in arguments.runs:
        path = run / "weights.safetensors" if run.is_dir() else run
        net = load_weights(path, layout=model.layout, face_model=model.name, edition=model.edition, kind="rnet")
        stream = BatchStream(
            [load_data(arguments.data)],
            batch_size=BATCH,
            crop_size=net.crop_size,
            layout=model.layout,
            jitter=NO_JITTER,
        )
        figures = measured(net, model, [stream.batch(number) for number in range(arguments.batches)])
        print(json.dumps({"run": str(run)} | {name: round(value, 3) for name, value in figures.items()}))


if __name__ == "__main__":
    main(tyro.cli(Arguments))
