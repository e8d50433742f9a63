"""A 3DMM-CNN in training: one code for all photos of a person (Tran et al. 2017), and codes that tell people apart.

The pictures are drawn people, whose true codes are known, or photographs of people whose codes were pooled
(``facewright train labels``).
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from facewright.bounds import Use, bounded, only
from facewright.errors import TrainingError
from facewright.export.sheets import contact_sheet
from facewright.geometry.color import display_from_albedo
from facewright.geometry.frames import crop_camera
from facewright.geometry.pose import posed_mesh
from facewright.morphable.container import load_face_model
from facewright.morphable.linear import FaceModel
from facewright.pipeline.shared_trunks import SharedTrunks
from facewright.regress.backbones import BACKBONES
from facewright.regress.cards import CROP_SIZES, MOST_WIDTH
from facewright.regress.morphable_cnn import MOST_HIDDEN, SHARED, CodeInput, MorphableCNN
from facewright.regress.weights import WeightsCard, load_weights
from facewright.render.renderer import render
from facewright.train.cnet_training import sets_of
from facewright.train.course import BatchNeeds, Course, Losses, Trainee
from facewright.train.losses.asymmetric import OVER, UNDER, apartness_loss, asymmetric_loss
from facewright.train.samples import TrainingBatch
from facewright.train.settings import DataSettings, OptimizerSettings, TrainSettings

OF_SHARED = Use(f"with --backbone {SHARED}", lambda o: o["backbone"] == SHARED)
OF_OWN = Use(f"with another --backbone than {SHARED}", lambda o: o["backbone"] != SHARED)
TILE_PX = 128
_MEGABYTE = 2**20


@dataclass(frozen=True)
class MorphableCNNSettings:
    """A 3DMM-CNN and its training.

    Attributes:
        face_model: ``open`` or a file: whose codes.
        backbone: a trunk of its own, or ``shared``: it reads the features of networks in the package.
        trunks: which of them.
        width: factor on channel counts.
        crop_size: side of its crops, px.
        input_coding: what the trunk sees.
        hidden: width of a layer before the codes; 0: none, as published.
        dropout: chance that a feature of that layer is left out in a step.
        over: cost of a code that lies farther from the mean face than it should.
        under: cost of one that lies nearer.
        apart: weight of telling people apart: by the directions of their shape codes, and of all codes.
        temperature: of that.
        memory_mb: features of crops that were seen already are kept, up to so many megabytes; with --no-jitter every
            crop goes through the trunks once.
        init: a 3DMM-CNN to start from; empty: random weights, which say the mean face.
    """

    face_model: str = "open"
    backbone: str = "resnet101_caffe"
    trunks: tuple[str, ...] = only(OF_SHARED, ("open", "identity"))
    width: float = bounded(1.0, above=0, most=MOST_WIDTH, use=OF_OWN)
    crop_size: int = bounded(224, least=32, most=CROP_SIZES[1])
    input_coding: CodeInput = only(OF_OWN, "bgr_less_mean")
    hidden: int = bounded(0, most=MOST_HIDDEN)
    dropout: float = bounded(0.0, below=1, use=Use("with --hidden above 0", lambda o: o["hidden"] > 0))
    over: float = OVER
    under: float = UNDER
    apart: float = 0.0
    temperature: float = bounded(0.1, above=0, use=Use("with --apart above 0", lambda o: o["apart"] > 0))
    memory_mb: int = bounded(1500, most=10**6, use=OF_SHARED)
    init: str = ""


class TrunkMemory:
    """Shared trunks that remember the crops they have seen, by their pixels; the newest within a limit.

    Args:
        look: what is remembered (``SharedTrunks.seen``).
        most_bytes: of what is kept, as float16.
    """

    def __init__(self, look: Callable[[Tensor], Tensor], most_bytes: int) -> None:
        self.look, self.most_bytes = look, most_bytes
        self._kept: OrderedDict[bytes, Tensor] = OrderedDict()
        self._bytes = 0

    def __call__(self, crops: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B F"]:
        """Features of crops; new ones go through the trunks together."""
        keys = [hashlib.sha1(crop.cpu().numpy().tobytes(), usedforsecurity=False).digest() for crop in crops]
        found = {k: self._kept[key] for k, key in enumerate(keys) if key in self._kept}
        if new := [k for k in range(len(keys)) if k not in found]:
            rows = self.look(crops[new]).half().cpu()
            for k, row in zip(new, rows, strict=True):
                found[k] = row.clone()  # not a view of the whole batch
                self._kept[keys[k]] = found[k]
                self._bytes += row.nbytes
        while self._bytes > self.most_bytes and self._kept:
            self._bytes -= self._kept.popitem(last=False)[1].nbytes
        return torch.stack([found[k] for k in range(len(keys))]).to(crops)


class MorphableCNNCourse(Course):
    """A 3DMM-CNN on its way.

    Args:
        net: to train.
        model: of its codes.
        settings: what is minimised.
        memory: the trunks that it reads; None: it has its own.
        size: side of the crops, px.
    """

    def __init__(
        self,
        net: MorphableCNN,
        model: FaceModel,
        settings: MorphableCNNSettings,
        memory: TrunkMemory | None,
        size: int,
    ) -> None:
        self.net, self.model, self.settings, self.memory = net, model, settings, memory
        self.needs = BatchNeeds(size, model.name, model.edition, model.layout)
        self.card = WeightsCard(
            face_model=model.name,
            face_model_edition=model.edition,
            recipe=f"asymmetric loss {settings.over:g}:{settings.under:g}",
            licence=str(model.metadata.get("licence", "")),
        )

    def answer(self, net: nn.Module, crops: Float[Tensor, "B 3 S S"]) -> tuple[Tensor, ...]:
        """Codes: shape, and albedo behind it."""
        own: MorphableCNN = net  # pyright: ignore[reportAssignmentType] - a 3DMM-CNN
        if self.memory is None:
            return (net(crops),)
        return (self._dropped(own, self.memory(crops)),)

    def _dropped(self, net: MorphableCNN, features: Float[Tensor, "B F"]) -> Float[Tensor, "B K"]:
        if net.neck is None:
            return net.codes(features)
        return net.codes(F.dropout(net.neck(features), self.settings.dropout, net.training))

    def losses(self, answer: tuple[Tensor, ...], batch: TrainingBatch) -> Losses:
        """The asymmetric loss of pictures with codes; of those and all others with a person, how apart people are."""
        codes, known = answer[0].float(), batch.truth_known.to(answer[0].device)
        true = torch.cat([batch.truth.id, batch.truth.tex], -1).to(codes)
        each = asymmetric_loss(codes, true, over=self.settings.over, under=self.settings.under)
        count = int(known.sum())
        term = torch.where(known, each, 0.0).sum() / max(1, count)
        terms, counts = {"codes": term}, {"codes": count}
        total = term * count / len(batch)
        if self.settings.apart > 0:
            persons, warm = sets_of(batch).to(codes.device), self.settings.temperature
            apart = apartness_loss(codes[:, : self.net.id], persons, warm) + apartness_loss(codes, persons, warm)
            terms, counts = terms | {"apart": apart}, counts | {"apart": len(batch)}
            total = total + self.settings.apart * apart
        return Losses(total, terms, counts)

    def terms(self) -> list[str]:
        """See ``Course``."""
        return ["codes", *(["apart"] if self.settings.apart > 0 else [])]

    @torch.no_grad()
    def preview(self, net: nn.Module, batch: TrainingBatch, heading: str) -> Float[Tensor, "3 H W"]:
        """Three tiles a face: the crop, the neutral face of its codes, and that of the codes it should have."""
        device = next(net.parameters()).device
        batch = batch.to(device)
        codes = self.answer(net, batch.crops)[0].float()
        true = torch.cat([batch.truth.id, batch.truth.tex], -1)
        drawn = [self._drawn(vector).cpu() for vector in (codes, true)]
        crops = F.interpolate(batch.crops.cpu(), size=(TILE_PX, TILE_PX), mode="bilinear", antialias=True)
        names = batch.keys or [str(k) for k in range(len(batch))]
        tiles = []
        for k, name in enumerate(names):
            tiles += [(name, crops[k]), ("said", drawn[0][k]), ("to be said", drawn[1][k])]
        return contact_sheet(tiles, heading=heading, columns=6, tile_px=TILE_PX)

    def _drawn(self, codes: Float[Tensor, "B K"]) -> Float[Tensor, "B 3 S S"]:
        """Neutral faces, sRGB-coded, 0..1."""
        rest, net = self.model.layout.zeros(len(codes)).to(codes.device), self.net
        shape, albedo = codes.split([net.id, net.tex], -1)
        face = replace(rest, id=_filled(shape, rest.id), tex=_filled(albedo, rest.tex))
        mesh = posed_mesh(self.model.decode(face), face.pose)
        seen = render(mesh, crop_camera(len(codes), size=TILE_PX, like=codes), face.sh)
        return display_from_albedo(seen.image, self.model.albedo_space).clamp(0.0, 1.0)


def _filled(codes: Float[Tensor, "B k"], like: Float[Tensor, "B K"]) -> Float[Tensor, "B K"]:
    return F.pad(codes, (0, like.shape[-1] - codes.shape[-1]))


def begin_morphable_cnn(settings: MorphableCNNSettings, seed: int, device: torch.device) -> MorphableCNNCourse:
    """Load and build all that a training of a 3DMM-CNN needs.

    Raises:
        AssetNotFoundError, FaceModelError, WeightsError: of the face model, the trunks and ``init``.
        TrainingError: ``init`` is of another shape.
    """
    torch.manual_seed(seed)
    model = load_face_model(settings.face_model)
    trunks = SharedTrunks.load(settings.trunks) if settings.backbone == SHARED else None
    net = MorphableCNN(
        model.layout.id,
        model.layout.tex,
        architecture=settings.backbone,
        width=settings.width,
        crop_size=settings.crop_size,
        input_coding=settings.input_coding if trunks is None else "rgb_0_1",
        hidden=settings.hidden,
        mirrored=model.annotations.mirror is not None and trunks is not None,
        trunks=None if trunks is None else trunks.fingerprints,
        features=0 if trunks is None else trunks.features,
    )
    if settings.init:
        given: MorphableCNN = load_weights(settings.init, face_model=model.name, edition=model.edition, kind="3dmm-cnn")
        told = ("id", "tex", "architecture", "width", "crop_size", "input_coding", "hidden", "trunks")
        other = [name for name in told if getattr(given, name) != getattr(net, name)]
        if other:
            raise TrainingError(
                f"{settings.init} differs from the net that is to be trained in {', '.join(other)}: "
                f"{[getattr(given, name) for name in other]} instead of {[getattr(net, name) for name in other]}; give "
                "the same options, or other --init weights"
            )
        net.load_state_dict(given.state_dict())
    memory = None if trunks is None else TrunkMemory(trunks.to(device).seen, settings.memory_mb * _MEGABYTE)
    return MorphableCNNCourse(net, model.to(device), settings, memory, net.crop_size)


def check_morphable_cnn(settings: MorphableCNNSettings) -> None:
    """Refuse what cannot be trained, before anything is loaded.

    Raises:
        TrainingError: naming the setting, what it may be, and what it was.
    """
    known = (SHARED, *BACKBONES)
    if settings.backbone not in known:
        raise TrainingError(f"expected a --backbone of {', '.join(known)}; received {settings.backbone!r}")
    if max(settings.over, settings.under) == 0 and settings.apart == 0:
        raise TrainingError("expected a loss that weighs something, received --over 0 --under 0 --apart 0")


_PAPER = TrainSettings(
    MorphableCNNSettings(),
    trainee="3dmm-cnn",
    preset="paper",
    data=DataSettings(batch_size=144),
    optimizer=OptimizerSettings(
        lr=1e-3, backbone_lr_scale=0.1, weight_decay=5e-4, schedule="plateau", decay_factor=0.1
    ),
    steps=100_000,
)
MORPHABLE_PRESETS: Mapping[str, TrainSettings[MorphableCNNSettings]] = {
    "open": TrainSettings(
        MorphableCNNSettings(backbone=SHARED, crop_size=128, hidden=512, dropout=0.3, apart=1.0),
        trainee="3dmm-cnn",
        preset="open",
        data=DataSettings(batch_size=256, together=4, jitter=False),
        optimizer=OptimizerSettings(
            "adamw", lr=2e-3, weight_decay=0.05, schedule="cosine", warmup_steps=50, ema_decay=0.98
        ),
        steps=2000,
        log_every=25,
        sheet_every=0,
        checkpoint_every=500,
    ),
    "paper": _PAPER,
    "smoke": replace(
        _PAPER,
        network=MorphableCNNSettings(
            backbone="resnet18", width=0.125, crop_size=48, input_coding="rgb_0_1", hidden=16, apart=0.1
        ),
        preset="smoke",
        data=DataSettings(batch_size=8, together=4, jitter=False),
        optimizer=OptimizerSettings("adamw", lr=3e-3, schedule="cosine", warmup_steps=2, ema_decay=0.9),
        steps=20,
        log_every=1,
        sheet_every=20,
        checkpoint_every=10,
        keep_checkpoints=2,
    ),
}

MORPHABLE_TRAINEE = Trainee(
    purpose="Train a 3DMM-CNN: shape and albedo codes that are one for all photos of a person and tell people apart.",
    settings=MorphableCNNSettings,
    presets=MORPHABLE_PRESETS,
    preset="open",
    begin=begin_morphable_cnn,
    crop_size=lambda settings: settings.crop_size,
    check=check_morphable_cnn,
)
