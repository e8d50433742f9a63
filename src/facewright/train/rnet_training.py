"""An R-Net in training: what it starts from, what it minimises, and how its progress looks."""

from dataclasses import fields, replace
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from facewright.morphable.container import load_face_model
from facewright.morphable.linear import FaceModel
from facewright.regress.rnet import RNet, RNetPrediction
from facewright.regress.weights import WeightsCard
from facewright.train.arcface import load_embedder
from facewright.train.course import BatchNeeds, Course, Losses, Trainee
from facewright.train.objective import TWIN_EVERY, Objective, make_objective
from facewright.train.rnet_settings import RUN_PRESETS, ObjectiveSettings, RNetSettings, check_rnet, start_of
from facewright.train.samples import TrainingBatch
from facewright.train.sheets import training_sheet
from facewright.train.starts import start_net

_SEEN = tuple(entry.name for entry in fields(RNetPrediction))[1:]
"""What a prediction holds beside coefficients, in the order of an answer; what a net has no heads for is left out."""


class RNetCourse(Course):
    """An R-Net on its way.

    Args:
        net: to train.
        objective: what is minimised; its face model decodes.
        start: what the net started from; empty for a random one.
    """

    def __init__(self, net: RNet, objective: Objective, start: str = "") -> None:
        model = objective.model
        self.net, self.objective, self.layout = net, objective, net.layout
        self.needs = BatchNeeds(net.crop_size, model.name, model.edition, model.layout)
        self.card = WeightsCard(
            face_model=model.name,
            face_model_edition=model.edition,
            recipe=f"from {Path(start).name}" if start else "",
            licence=str(model.metadata.get("licence", "")),
        )

    def answer(self, net: nn.Module, crops: Float[Tensor, "B 3 S S"]) -> tuple[Tensor, ...]:
        """All that a prediction holds, coefficients packed; in training rows for some crops in a mirror follow."""
        if net.training and self.objective.mirrors:
            crops = torch.cat([crops, crops[::TWIN_EVERY].flip(-1)])
        prediction: RNetPrediction = net.predict(crops)  # pyright: ignore[reportCallIssue] - an R-Net
        seen = [getattr(prediction, name) for name in _SEEN]
        return self.layout.pack(prediction.coefficients), *(part for part in seen if part is not None)

    def prediction(self, answer: tuple[Tensor, ...]) -> RNetPrediction:
        """The record of an answer, in float32: decoding and drawing need it."""
        vector, *seen = (part.float() if part.dtype != torch.float64 else part for part in answer)
        return RNetPrediction(self.layout.unpack(vector), *seen)

    def losses(self, answer: tuple[Tensor, ...], batch: TrainingBatch) -> Losses:
        """As the objective weighs them."""
        straight, twins = (
            tuple(part[rows] for part in answer) for rows in (slice(len(batch)), slice(len(batch), None))
        )
        mirrored = self.prediction(twins) if len(twins[0]) else None
        return self.objective(self.prediction(straight), batch, mirrored)

    def terms(self) -> list[str]:
        """All terms that weigh something."""
        return self.objective.names()

    @torch.no_grad()
    def preview(self, net: nn.Module, batch: TrainingBatch, heading: str) -> Float[Tensor, "3 H W"]:
        """Crop, predicted face and points of each."""
        device = next(net.parameters()).device
        prediction = self.prediction(self.answer(net, batch.crops.to(device))).to("cpu")
        model = self.objective.model.mapped(lambda tensor: tensor.cpu())
        return training_sheet(prediction, batch.to("cpu"), model, heading=heading)


def begin_rnet(settings: RNetSettings, seed: int, device: torch.device) -> RNetCourse:
    """Load and build all that a training of an R-Net needs.

    Raises:
        AssetNotFoundError, FaceModelError: of the face model, as ``load_face_model``.
        TrainingError, WeightsError, MissingExtraError: of what the net starts from, as ``start_net``; the face model
            lacks what a term needs; of the recognition network, as ``load_embedder``.
    """
    model, net = load_face_model(settings.face_model), replace(settings.net, init=start_of(settings.net))
    made = start_net(
        model,
        architecture=net.backbone,
        width=net.width,
        crop_size=net.crop_size,
        landmark_head=net.landmark_head,
        dense_points=net.dense_points,
        glance=net.glance,
        init=net.init,
        seed=seed,
    )
    objective = build_objective(settings.objective, net.crop_size, model.to(device), device, made.point_ids)
    return RNetCourse(made, objective, net.init)


def build_objective(
    wanted: ObjectiveSettings,
    crop_size: int,
    model: FaceModel,
    device: torch.device,
    points: Int[Tensor, " N"] | None = None,
) -> Objective:
    """What a run minimises, with its recognition network.

    Args:
        wanted: terms and their weights.
        crop_size: px.
        model: decodes; on ``device``.
        device: of the run.
        points: vertices that the net sees directly.

    Raises:
        TrainingError: the face model lacks what a term needs.
        MissingExtraError, AssetNotFoundError, WeightsError: of the recognition network, as ``load_embedder``.
    """
    embedder = load_embedder(wanted.embedder, wanted.chips).to(device) if wanted.weak.perceptual > 0 else None
    return make_objective(
        model,
        crop_size,
        weak=wanted.weak,
        supervised=wanted.supervised,
        weak_on_synthetic=wanted.weak_on_synthetic,
        embedder=embedder,
        points=None if points is None else points.to(device),
    )


RNET_TRAINEE = Trainee(
    purpose="Train an R-Net: weak supervision on photographs, truth on synthetic pictures.",
    settings=RNetSettings,
    presets=RUN_PRESETS,
    preset="open",
    begin=begin_rnet,
    crop_size=lambda settings: settings.net.crop_size,
    check=check_rnet,
)
