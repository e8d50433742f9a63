"""A parsing network in training: what each pixel of a drawn picture shows is known to the pixel."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from facewright.bounds import Use, bounded
from facewright.errors import TrainingError
from facewright.export.sheets import contact_sheet
from facewright.morphable.container import load_face_model
from facewright.records import PARTS
from facewright.regress.cards import CROP_SIZES, MOST_WIDTH
from facewright.regress.parsing import BLOCKS, VIEW, ParsingNet
from facewright.regress.weights import WeightsCard, describe_weights, load_weights
from facewright.train.course import BatchNeeds, Course, Losses, Trainee
from facewright.train.jitter import CropJitter
from facewright.train.samples import TrainingBatch
from facewright.train.settings import DataSettings, OptimizerSettings, TrainSettings

PAINT = ((0.15, 0.15, 0.2), (0.3, 0.85, 0.5), (0.35, 0.5, 1.0), (1.0, 0.4, 0.3))
"""Colour of each part in previews."""
SMALLEST_CROP = 67
EDGE_PX, EDGE_WEIGHT = 2, 2.0
"""How near to a head's edge pixels count more, and by how much."""


@dataclass(frozen=True)
class Looks:
    """How the colours of pictures are changed, so that what is learnt of drawings holds for photographs.

    Attributes:
        grey: share of pictures without colours.
        level: of each channel: deviation of its logarithm.
        gamma: deviation of the logarithm of the exponent.
        soft: share of pictures that are blurred.
        covered: share of pictures with a patch of noise before them, which is a thing.
    """

    grey: float = bounded(0.1, most=1)
    level: float = bounded(0.12, most=1)
    gamma: float = bounded(0.25, most=1)
    soft: float = bounded(0.25, most=1)
    covered: float = bounded(0.15, most=1)


@dataclass(frozen=True)
class ParsingSettings:
    """A parsing network and its training.

    Attributes:
        crop_size: side of its crops, px, in which it sees 1.25 times the side of R-Net's.
        blocks: of the trunk; 4 to 7 reach an eighth of the crop's size, 8 to 10 a sixteenth.
        width: factor on the trunk's channels.
        channels: of the decoder.
        init: weights to start from: a parsing network's, or those of an R-Net of the trunk ``dlib_resnet29``
            (``open``, ``fast``, a file), of which the first blocks are taken; empty: random.
        kept: of the trunk's blocks, how many stay as ``init`` has them, with the layer before them.
        looks: how colours are changed.
    """

    crop_size: int = bounded(112, least=SMALLEST_CROP, most=CROP_SIZES[1])
    blocks: int = bounded(7, least=BLOCKS[0], most=BLOCKS[1])
    width: float = bounded(1.0, above=0, most=MOST_WIDTH)
    channels: int = bounded(48, least=8, most=512)
    init: str = "open"
    kept: int = bounded(3, most=BLOCKS[1], use=Use("with --init", lambda options: bool(options["init"])))
    looks: Looks = field(default_factory=Looks)


class ParsingCourse(Course):
    """A parsing network on its way.

    Args:
        net: to train.
        settings: how pictures are changed.
        edition: of the open head, whose drawings it learns from.
    """

    def __init__(self, net: ParsingNet, settings: ParsingSettings, edition: int = 1) -> None:
        self.net, self.settings = net, settings
        self.needs = BatchNeeds(net.crop_size, view=VIEW, parts=True)
        self.card = WeightsCard(
            face_model="open",
            face_model_edition=edition,
            recipe=f"from {Path(settings.init).name}" if settings.init else "",
            licence="CC0-1.0",
        )

    def varied(self, batch: TrainingBatch) -> TrainingBatch:
        """See ``Course``: mirrored, in other colours, soft or partly covered."""
        return changed_looks(batch, self.settings.looks)

    def answer(self, net: nn.Module, crops: Float[Tensor, "B 3 S S"]) -> tuple[Tensor, ...]:
        """Logarithms of the shares, not normalised; a network in one process or in many."""
        shares: Tensor = net(crops)
        return (shares.clamp_min(1e-6).log(),)

    def losses(self, answer: tuple[Tensor, ...], batch: TrainingBatch) -> Losses:
        """Cross entropy with the shares, most at the head's edges; one minus the head's soft overlap over its union."""
        (logits,) = answer
        assert batch.parts is not None
        true = batch.parts.to(logits.device).float()
        known = true.sum(1).clamp_max(1.0)
        weight = known * (1.0 + EDGE_WEIGHT * _edges(true[:, 1:2]))
        entropy = -(true * logits.float().log_softmax(1)).sum(1) * weight
        per_picture = entropy.sum((1, 2)) / weight.sum((1, 2)).clamp_min(1.0)
        head, wanted = logits.float().softmax(1)[:, 1] * known, true[:, 1]
        both = (head * wanted).sum((1, 2))
        missed = 1.0 - (both + 1.0) / ((head + wanted).sum((1, 2)) - both + 1.0)
        terms = {"entropy": per_picture.mean(), "head": missed.mean()}
        counts = dict.fromkeys(terms, len(batch))
        return Losses(terms["entropy"] + 0.3 * terms["head"], terms, counts)

    def terms(self) -> list[str]:
        """See ``Course``."""
        return ["entropy", "head"]

    @torch.no_grad()
    def preview(self, net: nn.Module, batch: TrainingBatch, heading: str) -> Float[Tensor, "3 H W"]:
        """Three tiles a face: the crop, its parts as predicted, and as they are."""
        assert batch.parts is not None
        device = next(net.parameters()).device
        said = net(batch.crops.to(device)).float().cpu()
        tiles = []
        for k, name in enumerate(batch.keys or [str(k) for k in range(len(batch))]):
            crop = batch.crops[k].cpu()
            tiles += [
                (name, crop),
                ("predicted", painted(crop, said[k])),
                ("true", painted(crop, batch.parts[k].cpu())),
            ]
        return contact_sheet(tiles, heading=heading, columns=6, tile_px=2 * batch.crops.shape[-1])


def _edges(head: Float[Tensor, "B 1 S S"]) -> Float[Tensor, "B S S"]:
    """1 within ``EDGE_PX`` of where a head begins or ends, else 0: thin things, as rims, are nothing but edges."""
    side = 2 * EDGE_PX + 1
    most, least = (F.max_pool2d(part, side, 1, EDGE_PX) for part in (head, -head))
    return (most + least > 0.5).to(head)[:, 0]


def painted(crop: Float[Tensor, "3 S S"], shares: Float[Tensor, "4 S S"]) -> Float[Tensor, "3 S S"]:
    """A crop under the colours of its parts."""
    color = torch.einsum("phw,pc->chw", shares, crop.new_tensor(PAINT))
    return 0.45 * crop + 0.55 * color


def changed_looks(batch: TrainingBatch, looks: Looks) -> TrainingBatch:
    """The batch in other colours, each picture by its own draw from torch's generator of the CPU, half of it mirrored.

    Only pictures and parts are changed: points of mirrored pictures are those of the unmirrored ones.
    """
    crops, parts, count, size = batch.crops, batch.parts, len(batch), batch.crops.shape[-1]
    assert parts is not None
    even, normal = torch.rand(count, 9), torch.randn(count, 4)
    flipped = (even[:, 0] < 0.5).to(crops.device)[:, None, None, None]
    crops, parts = (torch.where(flipped, picture.flip(-1), picture) for picture in (crops, parts))
    gain = torch.exp(looks.level * normal[:, :3]).to(crops)[..., None, None]
    exponent = torch.exp(looks.gamma * normal[:, 3]).to(crops)[:, None, None, None]
    changed = (crops.clamp_min(1e-4) ** exponent * gain).clamp(0.0, 1.0)
    grey = changed.mean(1, keepdim=True).expand_as(changed)
    changed = torch.where((even[:, 1] < looks.grey).to(crops.device)[:, None, None, None], grey, changed)
    soft = F.avg_pool2d(changed, 3, 1, 1, count_include_pad=False)
    changed = torch.where((even[:, 2] < looks.soft).to(crops.device)[:, None, None, None], soft, changed)
    noise = torch.rand(count, 3, 6, 6).to(crops)
    paint = F.interpolate(noise, size=(size, size), mode="bilinear", align_corners=False)
    place = (torch.arange(size) + 0.5) / size
    sides = 0.15 + 0.3 * even[:, 3:5]
    corner = even[:, 5:7] * (1.0 - sides)
    across = (place > corner[:, :1]) & (place < corner[:, :1] + sides[:, :1])
    down = (place > corner[:, 1:]) & (place < corner[:, 1:] + sides[:, 1:])
    hidden = (down[:, :, None] & across[:, None] & (even[:, 7] < looks.covered)[:, None, None]).to(crops.device)
    changed = torch.where(hidden[:, None], paint, changed)
    thing = torch.zeros(len(PARTS)).index_fill(0, torch.tensor(PARTS.index("thing")), 1.0).to(crops)
    known = parts.sum(1, keepdim=True) > 0
    parts = torch.where(hidden[:, None] & known, thing[:, None, None], parts)
    return replace(batch, crops=changed, parts=parts)


def begin_parsing(settings: ParsingSettings, seed: int, device: torch.device) -> ParsingCourse:
    """Build the network and what it starts from.

    Raises:
        TrainingError, AssetNotFoundError, WeightsError: of ``init``.
    """
    torch.manual_seed(seed)
    net = ParsingNet(
        crop_size=settings.crop_size, blocks=settings.blocks, width=settings.width, channels=settings.channels
    )
    if settings.init:
        _start(net, settings.init)
        for part in (net.backbone.stem, *net.backbone.blocks[: settings.kept]):
            part.requires_grad_(False)
    return ParsingCourse(net, settings, load_face_model().edition)


@torch.no_grad()
def _start(net: ParsingNet, init: str) -> None:
    """Earlier weights, in place."""
    card = describe_weights(init)
    if card["kind"] == "parsing":
        given: ParsingNet = load_weights(init)
        if (given.blocks, given.width, given.channels) != (net.blocks, net.width, net.channels):
            raise TrainingError(
                f"{init} holds a parsing network of {given.blocks} blocks, width {given.width:g}, {given.channels} "
                "channels; give the same --blocks, --width and --channels, or other --init weights"
            )
        net.load_state_dict(given.state_dict())
        return
    trunk, of_width = card.get("architecture", ""), card.get("width")
    if not str(trunk).startswith("dlib_resnet") or of_width != net.width:
        raise TrainingError(
            f"{init} holds a {card['kind']} of {trunk or 'no trunk'}, width {of_width}, and the first blocks of a "
            f"dlib_resnet29 of width {net.width:g} are to be taken; give other --init weights, or none"
        )
    state, own = load_weights(init).backbone.state_dict(), net.backbone.state_dict()
    net.backbone.load_state_dict({name: state[name] for name in own})


def check_parsing(settings: ParsingSettings) -> None:
    """Refuse what cannot be trained, before anything is loaded.

    Raises:
        TrainingError: naming the setting, what it may be, and what it was.
    """
    if settings.kept > settings.blocks:
        raise TrainingError(f"expected --kept of at most --blocks {settings.blocks}; received {settings.kept}")


_OPEN = TrainSettings(
    ParsingSettings(),
    trainee="parsing",
    preset="parsing",
    data=DataSettings(batch_size=32, moves=CropJitter(shift=0.04, scale=0.08)),
    optimizer=OptimizerSettings(
        "adamw",
        lr=2e-3,
        backbone_lr_scale=0.2,
        weight_decay=0.01,
        schedule="cosine",
        warmup_steps=50,
        clip_norm=10.0,
        ema_decay=0.99,
    ),
    steps=1500,
    checkpoint_every=250,
)
PARSING_PRESETS: Mapping[str, TrainSettings[ParsingSettings]] = {
    "parsing": _OPEN,
    "smoke": replace(
        _OPEN,
        network=ParsingSettings(crop_size=SMALLEST_CROP, blocks=4, width=0.25, channels=16, init="", kept=0),
        preset="smoke",
        data=DataSettings(batch_size=8, jitter=False),
        optimizer=OptimizerSettings("adamw", lr=3e-3, schedule="cosine", warmup_steps=2, ema_decay=0.9),
        steps=30,
        log_every=1,
        sheet_every=30,
        checkpoint_every=15,
        keep_checkpoints=2,
    ),
}

PARSING_TRAINEE = Trainee(
    purpose="Train a parsing network: which pixels show the head itself, hair, or things before it.",
    settings=ParsingSettings,
    presets=PARSING_PRESETS,
    preset="parsing",
    begin=begin_parsing,
    crop_size=lambda settings: settings.crop_size,
    check=check_parsing,
)
