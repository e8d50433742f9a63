"""A network that is nothing like the others: crop -> its mean colour and a doubt. All that a table's line asks for."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from facewright.bounds import bounded
from facewright.errors import TrainingError
from facewright.regress.cards import Kind, whole
from facewright.regress.weights import WeightsCard
from facewright.train.course import BatchNeeds, Course, Losses, Trainee
from facewright.train.samples import TrainingBatch
from facewright.train.settings import DataSettings, OptimizerSettings, TrainSettings


class ToyNet(nn.Module):
    """A filter, a mean, a layer."""

    def __init__(self, channels: int, crop_size: int) -> None:
        super().__init__()
        self.channels, self.crop_size = channels, crop_size
        self.backbone = nn.Conv2d(3, channels, 3)
        self.head = nn.Linear(channels, 4)

    def forward(self, crops: Tensor) -> Tensor:
        return self.head(self.backbone(crops).relu().mean((2, 3)))


TOY_KIND = Kind(
    label="toy",
    network=ToyNet,
    entries={"channels": whole(1, 64)},
    build=lambda card: ToyNet(card["channels"], card["crop_size"]),
    describe=lambda net: {"channels": net.channels, "crop_size": net.crop_size},
    answers=lambda net, crops: dict(zip(("color", "doubt"), net(crops).split([3, 1], 1), strict=True)),
    layout=False,
)


@dataclass(frozen=True)
class ToySettings:
    """Of the toy's own.

    Attributes:
        channels: of the filter.
        crop_size: px.
        darkness: factor on the colour that is wanted.
    """

    channels: int = bounded(4, least=1, most=64)
    crop_size: int = bounded(16, least=16)
    darkness: float = 1.0


class ToyCourse(Course):
    """Learns the mean colour of crops."""

    def __init__(self, settings: ToySettings, seed: int, device: torch.device) -> None:
        torch.manual_seed(seed)
        self.net = ToyNet(settings.channels, settings.crop_size)
        self.needs = BatchNeeds(settings.crop_size)
        self.card = WeightsCard(face_model="none", licence="CC0-1.0")
        self.darkness = settings.darkness

    def answer(self, net: nn.Module, crops: Tensor) -> tuple[Tensor, ...]:
        return (net(crops),)

    def losses(self, answer: tuple[Tensor, ...], batch: TrainingBatch) -> Losses:
        missed = (answer[0][:, :3] - self.darkness * batch.crops.mean((2, 3))).square().mean()
        return Losses(missed, {"color": missed}, {"color": len(batch)})

    def terms(self) -> list[str]:
        return ["color"]

    def preview(self, net: nn.Module, batch: TrainingBatch, heading: str) -> Tensor:
        return net(batch.crops)[0, :3].clamp(0.0, 1.0).detach()[:, None, None].expand(3, 8, 8)


def check_toy(settings: ToySettings) -> None:
    """Refuse black."""
    if settings.darkness == 0:
        raise TrainingError("expected --darkness above 0; received 0")


def _preset(name: str, **own: Any) -> TrainSettings[ToySettings]:
    return TrainSettings(
        ToySettings(**own),
        trainee="toy",
        preset=name,
        data=DataSettings(batch_size=4),
        optimizer=OptimizerSettings(lr=1e-2, ema_decay=0.5),
        steps=6,
        device="cpu",
        log_every=1,
        sheet_every=5,
        checkpoint_every=2,
    )


PRESETS: Mapping[str, TrainSettings[ToySettings]] = {"thin": _preset("thin"), "wide": _preset("wide", channels=8)}
TOY_TRAINEE = Trainee(
    purpose="Train the toy.",
    settings=ToySettings,
    presets=PRESETS,
    preset="thin",
    begin=ToyCourse,
    crop_size=lambda settings: settings.crop_size,
    check=check_toy,
)
