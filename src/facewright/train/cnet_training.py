"""A C-Net in training: confidences that make the identity of a set of photos right; its R-Net stays as it is.

Label-free as published (Deng et al. 2019, equation 8: the hybrid losses of every photo, drawn with the identity of its
set), or by the truth of drawn people: how far the identity of a set is off, in millimetres.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from facewright.bounds import Use, bounded
from facewright.errors import TrainingError
from facewright.export.sheets import contact_sheet
from facewright.morphable.container import load_face_model
from facewright.morphable.linear import FaceModel
from facewright.pipeline.mirrored import Mirror, symmetric
from facewright.regress.cnet import MOST_CHANNELS, CNet, Scores, check_trunk, likeness, trunk_fingerprint
from facewright.regress.rnet import RNet, RNetPrediction
from facewright.regress.weights import WeightsCard, describe_weights, load_weights
from facewright.train.course import BatchNeeds, Course, Losses, Trainee
from facewright.train.losses.likeness import FaceSample, sample_face
from facewright.train.losses.presets import PRESETS
from facewright.train.objective import Objective
from facewright.train.rnet_settings import NO_TRUTH, ObjectiveSettings
from facewright.train.rnet_training import build_objective
from facewright.train.samples import TrainingBatch
from facewright.train.settings import DataSettings, OptimizerSettings, TrainSettings

Goal = Literal["truth", "photos"]
WHO = "who"
TILE_PX = 160
_MEGABYTE = 2**20
_ROUNDING_MM2 = 1e-4

_WITHOUT_TRUTH = ObjectiveSettings(
    replace(PRESETS["paper"], landmark=1.6e-3, photometric=1.9, perceptual=0.1), NO_TRUTH, True, "dlib"
)
"""As published: weights of section 5.1; on drawn pictures too, whose truth is not looked at."""


@dataclass(frozen=True)
class CNetSettings:
    """A C-Net and its training.

    Attributes:
        rnet: the R-Net whose features it reads: ``open``, ``fast`` or a file.
        face_model: of that R-Net: ``open`` or a file.
        filters: channels of the convolutions.
        hidden: width of the layer before the confidences.
        scores: a confidence of each identity ``coefficients``, or ``one`` of each photo.
        codes: length of the codes of who is seen, by which albums are sorted by person; 0: none.
        who: weight of telling people apart, beside the goal.
        goal: ``truth``: the true identity of drawn people; ``photos``: equation 8, without labels.
        objective: what ``photos`` minimises.
        left_out: chance that a photo is left out of its set in a step, so that sets of all sizes are seen; two of each
            stay.
        memory_mb: features of crops that were seen already are kept, up to so many megabytes; with --no-jitter every
            crop goes through the R-Net once.
        init: a C-Net to start from; empty: a random one, whose confidences are all alike.
    """

    rnet: str = "open"
    face_model: str = "open"
    filters: int = bounded(256, least=1, most=MOST_CHANNELS)
    hidden: int = bounded(512, least=1, most=MOST_CHANNELS)
    scores: Scores = "coefficients"
    codes: int = bounded(0, most=MOST_CHANNELS)
    who: float = bounded(1.0, use=Use("with --codes", lambda o: o["codes"] > 0))
    goal: Goal = "truth"
    objective: ObjectiveSettings = field(default=_WITHOUT_TRUTH)
    left_out: float = bounded(0.0, below=1, use=Use("with --goal truth", lambda o: o["goal"] == "truth"))
    memory_mb: int = bounded(1500, most=10**6)
    init: str = ""


@dataclass(frozen=True)
class SeenCrops:
    """What R-Net makes of crops.

    Attributes:
        shallow: maps of its first stage.
        pooled: what its heads see.
        coefficients: packed; means over the crops and their mirror images where the flow takes those.
    """

    shallow: Float[Tensor, "B C h w"]
    pooled: Float[Tensor, "B F"]
    coefficients: Float[Tensor, "B K"]


class FeatureMemory:
    """An R-Net that remembers the crops it has seen, by their pixels; features as float16, the newest within a limit.

    Args:
        rnet: answers; is not changed.
        mirror: what answers become in a mirror, where the flow looks at crops in one too.
        most_bytes: of what is kept.
    """

    def __init__(self, rnet: RNet, mirror: Mirror | None, most_bytes: int) -> None:
        self.rnet, self.mirror, self.most_bytes = rnet.eval().requires_grad_(False), mirror, most_bytes
        self._kept: OrderedDict[bytes, tuple[Tensor, ...]] = OrderedDict()
        self._bytes = 0

    @torch.no_grad()
    def __call__(self, crops: Float[Tensor, "B 3 S S"]) -> SeenCrops:
        """What R-Net makes of crops; new ones go through it together."""
        keys = [hashlib.sha1(crop.cpu().numpy().tobytes(), usedforsecurity=False).digest() for crop in crops]
        new = [k for k, key in enumerate(keys) if key not in self._kept]
        found = {k: self._kept[key] for k, key in enumerate(keys) if key in self._kept}
        if new:
            parts = [part.cpu() for part in self._looked(crops[new])]
            for place, k in enumerate(new):
                found[k] = tuple(part[place] for part in parts)
                self._keep(keys[k], found[k])
        columns = zip(*(found[k] for k in range(len(keys))), strict=True)
        return SeenCrops(*(torch.stack(column).to(crops) for column in columns))

    def _looked(self, crops: Float[Tensor, "B 3 S S"]) -> tuple[Tensor, Tensor, Tensor]:
        count = len(crops)
        both = crops if self.mirror is None else torch.cat([crops, crops.flip(-1)])
        maps = self.rnet.maps(both)
        shallow, pooled = maps[0], self.rnet.backbone.pooled(maps[-1])
        answer = self.rnet.predict_by(maps)
        if self.mirror is not None:
            answer = symmetric(answer, self.mirror, self.rnet.crop_size)
        vector = self.rnet.layout.pack(answer.coefficients)
        return shallow[:count].half(), pooled[:count].half(), vector

    def _keep(self, key: bytes, entry: tuple[Tensor, ...]) -> None:
        self._kept[key] = tuple(part.clone() for part in entry)  # not a view of the whole batch
        self._bytes += sum(part.nbytes for part in entry)
        while self._bytes > self.most_bytes and self._kept:
            _, old = self._kept.popitem(last=False)
            self._bytes -= sum(part.nbytes for part in old)


class CNetCourse(Course):
    """A C-Net on its way.

    Args:
        net: to train.
        memory: the R-Net whose features it reads.
        model: decodes.
        settings: what is minimised.
        objective: of equation 8; None with truth.
        device: of the tables.
    """

    def __init__(
        self,
        net: CNet,
        memory: FeatureMemory,
        model: FaceModel,
        settings: CNetSettings,
        objective: Objective | None,
        device: torch.device,
    ) -> None:
        self.net, self.memory, self.settings, self.objective = net, memory, settings, objective
        self.layout, self.sample = model.layout, sample_face(model).to(device)
        self.needs = BatchNeeds(net.crop_size, model.name, model.edition, model.layout)
        self.card = WeightsCard(
            face_model=model.name,
            face_model_edition=model.edition,
            recipe=f"C-Net of {Path(settings.rnet).name}, goal {settings.goal}",
            licence=str(model.metadata.get("licence", "")),
        )

    def answer(self, net: nn.Module, crops: Float[Tensor, "B 3 S S"]) -> tuple[Tensor, ...]:
        """Confidences, the packed coefficients that they are about, and codes of who is seen where there are some."""
        seen = self.memory(crops)
        found = net(seen.shallow, seen.pooled), seen.coefficients
        own: CNet = net  # pyright: ignore[reportAssignmentType] - a C-Net
        return found if own.who is None else (*found, own.person_codes(seen.pooled))

    def losses(self, answer: tuple[Tensor, ...], batch: TrainingBatch) -> Losses:
        """Of sets: photos of one person, or of one folder. A set of one teaches nothing and costs nothing."""
        confidences, vector, *codes = (part.float() for part in answer)
        sets = sets_of(batch).to(vector.device)
        own = self.layout.unpack(vector)
        weights = confidences
        if self.settings.left_out > 0 and torch.is_grad_enabled():
            weights = confidences * self._shown(sets)[:, None]
        together = set_codes(own.id, weights, sets)
        if self.objective is not None:
            found = self.objective(RNetPrediction(replace(own, id=together[sets])), batch)
        else:
            found = _truth_losses(self.sample, own.id, together, sets, batch)
        if not codes or len(batch) < 2:
            return found
        term = who_loss(codes[0], sets)
        return Losses(
            found.total + self.settings.who * term, found.terms | {WHO: term}, found.counts | {WHO: len(batch)}
        )

    def _shown(self, sets: Int[Tensor, " B"]) -> Float[Tensor, " B"]:
        """1 for photos that are looked at in this step; the first two of each set, in a random order, always are."""
        order = torch.randperm(len(sets)).to(sets.device)
        grouped = order[torch.argsort(sets[order], stable=True)]
        begins = torch.bincount(sets).cumsum(0) - torch.bincount(sets)
        rank = torch.zeros_like(sets)
        rank[grouped] = torch.arange(len(sets)).to(sets) - begins[sets[grouped]]
        kept = torch.rand(len(sets)).to(sets.device) >= self.settings.left_out
        return ((rank < 2) | kept).float()

    def terms(self) -> list[str]:
        """See ``Course``."""
        own = ["identity_mm", "average_mm", "single_mm"] if self.objective is None else self.objective.names()
        return [*own, WHO] if self.net.codes else own

    @torch.no_grad()
    def preview(self, net: nn.Module, batch: TrainingBatch, heading: str) -> Float[Tensor, "3 H W"]:
        """The photos of a few sets, a row each, with the share of their set's identity that each has."""
        device = next(net.parameters()).device
        confidences = self.answer(net, batch.crops.to(device))[0].cpu().float()
        sets, mean = sets_of(batch), confidences.mean(-1)
        total = torch.zeros(int(sets.max()) + 1).index_add(0, sets, mean)
        order = torch.argsort(sets, stable=True)
        tiles = [(f"{float(mean[k] / total[sets[k]]):.0%}", batch.crops[k].cpu()) for k in order.tolist()]
        columns = int(torch.bincount(sets).max())
        return contact_sheet(tiles, heading=heading, columns=max(2, columns), tile_px=TILE_PX)


def _truth_losses(
    sample: FaceSample,
    own: Float[Tensor, "B K"],
    together: Float[Tensor, "N K"],
    sets: Int[Tensor, " B"],
    batch: TrainingBatch,
) -> Losses:
    """How far identities are off: of sets, of their plain averages, of single photos; mean over photos in sets, mm."""
    true = batch.truth.id.to(own)
    average = set_codes(own, torch.ones_like(own), sets)
    taken = batch.truth_known.to(own.device) & (torch.bincount(sets)[sets] > 1)
    count = int(taken.sum())
    terms = {}
    for name, codes in (("identity_mm", together[sets]), ("average_mm", average[sets]), ("single_mm", own)):
        squared = sample.codes_mm(codes - true).square().sum(-1)
        terms[name] = torch.where(taken, (squared + _ROUNDING_MM2).sqrt(), 0.0).sum() / max(count, 1)
    return Losses(terms["identity_mm"] * count / len(batch), terms, dict.fromkeys(terms, count))


def who_loss(codes: Float[Tensor, "B D"], sets: Int[Tensor, " B"]) -> Float[Tensor, ""]:
    """Logistic loss of all pairs, nats; pairs of one person count as much as those of two, so that 0 is no evidence.

    Args:
        codes: ``CNet.person_codes``.
        sets: who each is.
    """
    evidence = likeness(codes)
    same = sets[:, None] == sets[None]
    pairs = ~torch.eye(len(sets), dtype=torch.bool, device=sets.device)
    losses = []
    for chosen, sign in ((same & pairs, -1.0), (~same, 1.0)):
        if bool(chosen.any()):
            losses.append(torch.nn.functional.softplus(sign * evidence[chosen]).mean())
    return torch.stack(losses).mean() if losses else codes.sum() * 0.0


def set_codes(
    codes: Float[Tensor, "B K"], weights: Float[Tensor, "B K"], sets: Int[Tensor, " B"]
) -> Float[Tensor, "N K"]:
    """The code of each set by equation 7 (``regress.cnet.aggregated``, for many sets at once).

    Args:
        codes: of each photo.
        weights: confidences.
        sets: number of each photo's set, 0 to N - 1.
    """
    shape = (int(sets.max()) + 1, codes.shape[1])
    total = codes.new_zeros(shape).index_add(0, sets, weights)
    return codes.new_zeros(shape).index_add(0, sets, weights * codes) / total.clamp_min(1e-12)


def sets_of(batch: TrainingBatch) -> Int[Tensor, " B"]:
    """Which photos of a batch belong together, numbered from 0: of one person, or of one folder; others are alone."""
    numbers: dict[object, int] = {}
    persons = [-1] * len(batch) if batch.persons is None else batch.persons.tolist()
    keys = batch.keys or [""] * len(batch)
    found = []
    for place, (person, key) in enumerate(zip(persons, keys, strict=True)):
        folder = key.rpartition("/")[0]
        who: object = person if person >= 0 else folder or ("alone", place)
        found.append(numbers.setdefault(who, len(numbers)))
    return torch.tensor(found)


def begin_cnet(settings: CNetSettings, seed: int, device: torch.device) -> CNetCourse:
    """Load and build all that a training of a C-Net needs.

    Raises:
        AssetNotFoundError, FaceModelError, WeightsError: of the face model and the R-Net; they do not fit each other;
            ``init`` is of another R-Net.
        TrainingError: ``init`` is of another shape; the face model lacks what a term needs.
        MissingExtraError: of the recognition network.
    """
    torch.manual_seed(seed)
    model = load_face_model(settings.face_model)
    fit = {"layout": model.layout, "face_model": model.name, "edition": model.edition}
    rnet: RNet = load_weights(settings.rnet, kind="rnet", **fit)
    with torch.no_grad():
        shallow, pooled = rnet.shallow_and_pooled(torch.zeros(1, 3, rnet.crop_size, rnet.crop_size))
    net = CNet(
        model.layout,
        shallow=shallow.shape[1],
        features=pooled.shape[1],
        crop_size=rnet.crop_size,
        channels=settings.filters,
        hidden=settings.hidden,
        scores=settings.scores,
        codes=settings.codes,
        trunk=trunk_fingerprint(rnet),
    )
    if settings.init:
        given: CNet = load_weights(settings.init, kind="cnet", **fit)
        check_trunk(given, rnet, settings.init)
        if any((getattr(given, name) != getattr(net, name)) for name in ("channels", "hidden", "scores", "codes")):
            raise TrainingError(
                f"{settings.init} holds a C-Net of {given.channels} channels, {given.hidden} hidden, scores "
                f"{given.scores}, codes of {given.codes}; give the same, or other --init weights"
            )
        net.load_state_dict(given.state_dict())
    mirror = Mirror.of(model, rnet.point_ids)
    memory = FeatureMemory(
        rnet.to(device), None if mirror is None else mirror.to(device), settings.memory_mb * _MEGABYTE
    )
    model = model.to(device)
    objective = None
    if settings.goal == "photos":
        objective = build_objective(settings.objective, net.crop_size, model, device)
    return CNetCourse(net, memory, model, settings, objective, device)


def check_cnet(settings: CNetSettings) -> None:
    """Refuse what cannot be trained, before anything is loaded.

    Raises:
        TrainingError: naming the setting, what it may be, and what it was.
    """
    weighs = settings.objective.weak.perceptual > 0 and settings.goal == "photos"
    if weighs and not settings.objective.embedder:
        raise TrainingError(
            "expected an --embedder (dlib, or a file), because the perceptual term weighs something; received none"
        )


def _crop_size(settings: CNetSettings) -> int:
    return int(describe_weights(settings.rnet)["crop_size"])


_OPEN = TrainSettings(
    CNetSettings(filters=32, hidden=256, codes=64, left_out=0.25),
    trainee="cnet",
    preset="open",
    data=DataSettings(batch_size=256, together=4, jitter=False),
    optimizer=OptimizerSettings(
        "adamw", lr=1e-3, weight_decay=0.05, schedule="cosine", warmup_steps=50, clip_norm=10.0, ema_decay=0.99
    ),
    steps=600,
    log_every=25,
    sheet_every=0,
    checkpoint_every=200,
)
CNET_PRESETS: Mapping[str, TrainSettings[CNetSettings]] = {
    "open": _OPEN,
    "open-scalar": replace(_OPEN, network=replace(_OPEN.network, scores="one"), preset="open-scalar"),
    "paper": TrainSettings(
        CNetSettings(goal="photos"),
        trainee="cnet",
        preset="paper",
        data=DataSettings(batch_size=5, together=5, jitter=False),
        optimizer=OptimizerSettings(lr=2e-5),
        steps=10_000,
    ),
    "smoke": replace(
        _OPEN,
        network=CNetSettings(filters=8, hidden=16, codes=4),
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

CNET_TRAINEE = Trainee(
    purpose="Train a C-Net: which photos of a person to believe about which identity coefficients.",
    settings=CNetSettings,
    presets=CNET_PRESETS,
    preset="open",
    begin=begin_cnet,
    crop_size=_crop_size,
    check=check_cnet,
)
