"""A whole training run of an R-Net: settings and data in, a run folder out."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch

from facewright.errors import MissingExtraError, TrainingError
from facewright.morphable.container import load_face_model
from facewright.morphable.linear import FaceModel
from facewright.provenance import source_commit
from facewright.records import CoefficientLayout
from facewright.regress.rnet import RNet
from facewright.regress.weights import WeightsCard
from facewright.train.arcface import load_embedder
from facewright.train.checkpoint import load_checkpoint
from facewright.train.loader import BatchStream
from facewright.train.loop import BatchSource, Training, run_steps
from facewright.train.objective import Objective, make_objective
from facewright.train.recorder import INSTALL, LoggedStep, Recorder
from facewright.train.run_folder import RunFolder, open_run
from facewright.train.samples import DataCard
from facewright.train.settings import TrainSettings, check_settings
from facewright.train.shards import DataSet, load_data
from facewright.train.starts import start_net

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def train_rnet(
    settings: TrainSettings,
    out: Path,
    *,
    resume: bool = False,
    source: BatchSource | None = None,
    cards: list[DataCard] | None = None,
    on_log: Callable[[LoggedStep], None] | None = None,
) -> RunFolder:
    """Train, or go on training, until ``settings.steps``.

    Args:
        settings: of the run.
        out: run folder.
        resume: go on in it.
        source: of pictures; None reads ``settings.data``.
        cards: of the data of ``source``.
        on_log: called at each logged step, in the first process.

    Raises:
        MissingExtraError: the packages of the ``train`` extra are not installed.
        TrainingError: settings that cannot be trained, or a folder that is taken.
        TrainingDataError: data that is damaged.
        FaceModelError: the face model cannot be read.
        WeightsError: initial weights that do not fit.
    """
    check_settings(settings, world_size())
    fabric = make_fabric(settings)
    model = load_face_model(settings.face_model)
    sets = [] if source else [load_data(folder) for folder in settings.data.folders]
    cards = cards or [stored.card for stored in sets]
    template = check_cards(cards, model, settings)
    source = source or open_stream(settings, sets, fabric, model.layout)
    net = start_net(
        model,
        architecture=settings.net.backbone,
        width=settings.net.width,
        crop_size=settings.net.crop_size,
        landmark_head=settings.net.landmark_head,
        init=settings.net.init,
        seed=settings.seed,
    )
    if fabric.world_size > 1 and fabric.device.type == "cuda":  # one batch for all processes, as in the PyTorch program
        net = cast(RNet, torch.nn.SyncBatchNorm.convert_sync_batchnorm(net))
    objective = build_objective(settings, model.to(fabric.device), fabric.device)
    if fabric.is_global_zero:
        open_run(out, settings, resume=resume)
    fabric.barrier()
    folder = RunFolder(out)
    training = Training(
        fabric, net, objective, settings.optimizer, steps=settings.steps, accumulate=settings.accumulate
    )
    if folder.last_checkpoint is not None:
        training.restore(load_checkpoint(folder.last_checkpoint, fabric.device))
    card = weights_card(settings, model, template, cards)
    recorder = Recorder(training, settings, folder, card, on_log) if fabric.is_global_zero else None
    run_steps(training, source, on_step=recorder or (lambda report, batch: None))
    if recorder is not None:
        recorder.close()
    fabric.barrier()
    return folder


def world_size() -> int:
    """Number of training processes, as ``torchrun`` says."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def make_fabric(settings: TrainSettings) -> "Fabric":
    """The processes, device and precision of a run; under ``torchrun`` this process becomes one of many.

    Raises:
        MissingExtraError: the packages of the ``train`` extra are not installed.
        TrainingError: no such device here.
    """
    try:
        from lightning_fabric import Fabric
        from lightning_fabric.strategies.ddp import DDPStrategy
    except ImportError as error:
        raise MissingExtraError(f"training expects lightning-fabric, which is not installed: {INSTALL}") from error
    wanted = settings.device
    kind = wanted.partition(":")[0] if wanted != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    if kind not in ("cpu", "cuda") or (kind == "cuda" and not torch.cuda.is_available()):
        raise TrainingError(f"expected a --device of auto, cpu or cuda that is there; received {wanted}")
    world, local = world_size(), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    devices: Any = [int(wanted.partition(":")[2])] if ":" in wanted and world == 1 else local
    fabric = Fabric(
        accelerator=kind,
        devices=devices,
        num_nodes=max(1, world // local),
        strategy=DDPStrategy(process_group_backend="nccl" if kind == "cuda" else "gloo") if world > 1 else "auto",
        precision="bf16-mixed" if settings.precision == "bf16-mixed" else "32-true",
    )
    fabric.launch()
    return fabric


def open_stream(
    settings: TrainSettings, sets: Sequence[DataSet], fabric: "Fabric", layout: CoefficientLayout
) -> BatchStream:
    """The pictures of this process.

    Raises:
        TrainingDataError: sets that cannot be mixed.
    """
    data = settings.data
    return BatchStream(
        sets,
        shares=list(data.shares) or None,
        batch_size=data.batch_size,
        crop_size=settings.net.crop_size,
        layout=layout,
        seed=settings.seed,
        jitter=data.jitter,
        rank=fabric.global_rank,
        world=fabric.world_size,
        workers=data.workers,
    )


def check_cards(cards: list[DataCard], model: FaceModel, settings: TrainSettings) -> str:
    """Whether data belong together and to the face model; gives their landmark template.

    Raises:
        TrainingError: truth of another face model, or crops of several templates.
    """
    for card, folder in zip(cards, settings.data.folders, strict=True):
        if card.layout is not None and (card.face_model != model.name or card.layout != model.layout):
            raise TrainingError(
                f"{folder} holds truth for face model {card.face_model!r} with {card.layout}, and {model.name!r} with "
                f"{model.layout} is to be trained; give the --face-model that the data was made with"
            )
    templates = sorted({card.template for card in cards})
    if len(templates) > 1:
        raise TrainingError(
            f"expected --data of one crop template, received {', '.join(templates)}; prepare them alike"
        )
    return templates[0] if templates else DataCard("photographs").template


def build_objective(settings: TrainSettings, model: FaceModel, device: torch.device) -> Objective:
    """What the run minimises, with its recognition network.

    Raises:
        TrainingError: the face model lacks what a term needs.
        MissingExtraError, AssetNotFoundError, WeightsError: of the recognition network, as ``load_embedder``.
    """
    wanted = settings.objective
    embedder = load_embedder(wanted.embedder, wanted.chips).to(device) if wanted.weak.perceptual > 0 else None
    return make_objective(
        model,
        settings.net.crop_size,
        weak=wanted.weak,
        supervised=wanted.supervised,
        weak_on_synthetic=wanted.weak_on_synthetic,
        embedder=embedder,
    )


def weights_card(settings: TrainSettings, model: FaceModel, template: str, cards: list[DataCard]) -> WeightsCard:
    """Where the weights of this run come from."""
    shares = settings.data.shares or (1.0,) * len(cards)
    mixed = [f"{share / sum(shares):.0%} {card.source or card.kind}" for share, card in zip(shares, cards, strict=True)]
    optimizer = settings.optimizer
    recipe = (
        f"preset {settings.preset}, {settings.steps} steps of {settings.data.batch_size}, {optimizer.name} "
        f"lr {optimizer.lr:g} {optimizer.schedule}, EMA {optimizer.ema_decay:g}, {settings.precision}"
    )
    return WeightsCard(
        face_model=model.name,
        template=template,
        training_data="; ".join(mixed),
        recipe=recipe + (f", from {Path(settings.net.init).name}" if settings.net.init else ""),
        commit=source_commit(),
        seed=settings.seed,
        licence=str(model.metadata.get("licence", "")),
    )
