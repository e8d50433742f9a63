"""A whole training run: settings and data in, a run folder out. What is trained is looked up by its name."""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from numpy import ndarray

from facewright.errors import MissingExtraError, TrainingError
from facewright.provenance import source_commit
from facewright.records import CoefficientLayout
from facewright.regress.kinds import kind_of
from facewright.regress.weights import WeightsCard, card_entries
from facewright.train.balance import balanced_shares, read_labels
from facewright.train.checkpoint import load_checkpoint, own_dice
from facewright.train.course import BatchNeeds, Course, Trainee
from facewright.train.jitter import NO_JITTER
from facewright.train.loader import BatchStream, rows_of_shares
from facewright.train.loop import BatchSource, Training, run_steps
from facewright.train.recorder import LoggedStep, Recorder
from facewright.train.run_folder import RunFolder, open_run
from facewright.train.samples import DataCard
from facewright.train.settings import INSTALL, DataSettings, TrainSettings, check_settings
from facewright.train.shards import DataSet, load_data
from facewright.train.trainees import TRAINEES
from facewright.train.validation import Validated, Validation

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def train(
    settings: TrainSettings[Any],
    out: Path,
    *,
    resume: bool = False,
    source: BatchSource | None = None,
    cards: list[DataCard] | None = None,
    on_log: Callable[[LoggedStep], None] | None = None,
    on_validation: Callable[[Validated], None] | None = None,
) -> RunFolder:
    """Train, or go on training, until ``settings.steps``.

    Args:
        settings: of the run.
        out: run folder.
        resume: go on in it.
        source: of pictures; None reads ``settings.data``.
        cards: of the data of ``source``.
        on_log: called at each logged step, in the first process.
        on_validation: called with the losses of ``settings.data.val``, at each checkpoint, in the first process.

    Raises:
        MissingExtraError: the packages of the ``train`` extra are not installed.
        TrainingError: settings that cannot be trained, a folder that is taken, or a run of which no step was finite.
        TrainingDataError: data that is damaged.
        FaceModelError: the face model cannot be read.
        WeightsError: initial weights that do not fit.
    """
    trainee = check_run(settings)
    fabric = make_fabric(settings)
    sets = [] if source else [load_data(folder) for folder in settings.data.folders]
    course = trainee.begin(settings.network, settings.seed, fabric.device)
    live = settings.data.source == "live" and source is None
    cards = cards or [*([live_card(course, settings.data.together)] if live else []), *(stored.card for stored in sets)]
    template = check_cards(cards, course, (*(["--source live"] if live else []), *settings.data.folders))
    source = source or open_source(settings, sets, fabric, course.needs)
    validation = open_validation(settings, course, template)
    card = weights_card(settings, course, template, cards)
    card_entries(course.net, card)  # it is saved after hours: whatever is wrong with it is said now
    if fabric.is_global_zero:
        open_run(out, settings, resume=resume)
    fabric.barrier()
    folder = RunFolder(out)
    training = Training(fabric, course, settings.optimizer, steps=settings.steps, accumulate=settings.accumulate)
    recorder = None
    with own_dice(settings.seed, fabric.device):
        if folder.last_checkpoint is not None:
            training.restore(load_checkpoint(folder.last_checkpoint, fabric.device))
        if fabric.is_global_zero:
            recorder = Recorder(training, settings, folder, card, on_log, validation, on_validation)
        run_steps(training, source, on_step=recorder or (lambda report, batch: None))
    if recorder is not None:
        recorder.close()
    fabric.barrier()
    if training.skipped == training.step:
        raise TrainingError(
            f"all {training.step} steps were skipped, because loss or gradient was not finite: nothing was trained; "
            f"lower --lr, or look for the term that is null in {folder.log}"
        )
    return folder


def check_run(settings: TrainSettings[Any]) -> Trainee[Any]:
    """Refuse settings that cannot be trained, before anything is loaded; gives who is trained.

    Raises:
        TrainingError: naming the setting, what it may be, and what it was.
    """
    if settings.trainee not in TRAINEES:
        raise TrainingError(f"expected a trainee of {', '.join(TRAINEES)}; received {settings.trainee!r}")
    check_settings(settings, world_size())
    TRAINEES[settings.trainee].check(settings.network)
    return TRAINEES[settings.trainee]


def world_size() -> int:
    """Number of training processes, as ``torchrun`` says."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def make_fabric(settings: TrainSettings[Any]) -> "Fabric":
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
    known = kind == "cpu" or (kind == "cuda" and torch.cuda.is_available())
    if not known or (":" in wanted and not wanted.partition(":")[2].isdecimal()):
        raise TrainingError(f"expected a --device of auto, cpu or cuda that is there; received {wanted}")
    half = settings.precision == "bf16-mixed" or (settings.precision == "auto" and kind == "cuda")
    world, local = world_size(), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    devices: Any = [int(wanted.partition(":")[2])] if ":" in wanted and world == 1 else local
    fabric = Fabric(
        accelerator=kind,
        devices=devices,
        num_nodes=max(1, world // local),
        strategy=DDPStrategy(process_group_backend="nccl" if kind == "cuda" else "gloo") if world > 1 else "auto",
        precision="bf16-mixed" if half else "32-true",
    )
    fabric.launch()
    return fabric


def live_card(course: Course, together: int) -> DataCard:
    """What pictures that are drawn for a network are.

    Raises:
        TrainingError: it needs the truth of a face model that cannot be drawn.
    """
    from facewright.train.synthetic import data_card  # takes its time to load

    needs = course.needs
    drawn = data_card(needs.crop_size, per_person=together, parts=needs.parts)
    if needs.layout and needs.face_model != drawn.face_model:
        raise TrainingError(
            f"expected --source live with the face model {drawn.face_model!r}, whose people are drawn; received "
            f"{needs.face_model!r}: train on stored data of that face model"
        )
    return drawn


def open_source(
    settings: TrainSettings[Any], sets: Sequence[DataSet], fabric: "Fabric", needs: BatchNeeds
) -> BatchSource:
    """The pictures of this process: stored, drawn, or both.

    Raises:
        TrainingDataError: sets that cannot be mixed; a batch that cannot be divided.
    """
    data = settings.data
    if data.source != "live":
        return open_stream(settings, sets, fabric, needs)
    from facewright.train.live import JoinedSources, LiveStream  # takes its time to load

    counts = rows_of_shares(data.shares or [1.0] * data.sources, data.batch_size)
    live = LiveStream(
        counts[0],
        needs.crop_size,
        per_person=data.together,
        seed=settings.seed,
        jitter=data.moves if data.jitter else NO_JITTER,
        rank=fabric.global_rank,
        world=fabric.world_size,
        device="cpu" if fabric.device.type == "cpu" else str(fabric.device),
        workers=data.workers,
        view=needs.view,
        parts=needs.parts,
    )
    if not sets:
        return live
    shares = data.shares[1:]
    rest = replace(settings, data=replace(data, shares=shares, batch_size=sum(counts[1:])))
    return JoinedSources((live, open_stream(rest, sets, fabric, needs)))


def open_stream(
    settings: TrainSettings[Any], sets: Sequence[DataSet], fabric: "Fabric", needs: BatchNeeds
) -> BatchStream:
    """The pictures of this process.

    Raises:
        TrainingDataError: sets that cannot be mixed.
    """
    data, truth = settings.data, any(stored.card.layout for stored in sets)
    return BatchStream(
        sets,
        shares=list(data.shares) or None,
        row_shares=open_shares(settings.data, sets),
        batch_size=data.batch_size,
        crop_size=needs.crop_size,
        layout=needs.layout or (None if truth else CoefficientLayout(0, 0, 0)),
        seed=settings.seed,
        jitter=data.moves if data.jitter else NO_JITTER,
        rank=fabric.global_rank,
        world=fabric.world_size,
        workers=data.workers,
        together=data.together,
        view=needs.view,
    )


def open_shares(data: DataSettings, sets: Sequence[DataSet]) -> list[Float[ndarray, " N"]] | None:
    """How often the faces of each set are shown; None where all are shown alike.

    Raises:
        TrainingDataError: labels that cannot be read or are of other faces; a damaged shard.
    """
    if not data.balance:
        return None
    labels = read_labels(data.labels)
    return [balanced_shares(stored, data.balance, labels=labels, most_repeats=data.most_repeats) for stored in sets]


def open_validation(settings: TrainSettings[Any], course: Course, template: str) -> Validation | None:
    """The pictures that nothing is learnt from; None where none are named.

    Raises:
        TrainingDataError: data that is damaged or empty.
        TrainingError: as ``check_cards``; crops of another template than those that are learnt from.
    """
    data = settings.data
    if not data.val:
        return None
    sets = [load_data(folder) for folder in data.val]
    found = check_cards([stored.card for stored in sets], course, data.val)
    if found != template:
        raise TrainingError(f"expected --val of crops of {template}, as --data, received {found}; prepare them alike")
    layout = course.needs.layout or (None if any(s.card.layout for s in sets) else CoefficientLayout(0, 0, 0))
    return Validation(
        course,
        sets,
        batch_size=data.batch_size,
        batches=data.val_batches,
        layout=layout,
        together=data.together,
    )


def check_cards(cards: Sequence[DataCard], course: Course, folders: Sequence[str]) -> str:
    """Whether data belong together, to the network and to its face model; gives their crop template.

    Raises:
        TrainingError: crops smaller than those that the network sees, truth of another face model, crops of several
            templates, or of one unknown to the network.
    """
    needs, (_, kind) = course.needs, kind_of(course.net)
    for card, folder in zip(cards, folders, strict=True):
        if card.crop_size < needs.crop_size:
            raise TrainingError(
                f"{folder} stores crops of {card.crop_size} px, and the network sees {needs.crop_size} px: enlarged "
                f"pictures lack half of what it should learn from. Make the data again with --crop-size "
                f"{needs.crop_size}, or train with --crop-size {card.crop_size}"
            )
        if needs.parts and not card.parts:
            raise TrainingError(
                f"{folder} does not say what its pictures' pixels show, and that is what is to be learnt; make it with "
                "facewright train synthesize --parts, or draw with --source live"
            )
        found = card.face_model, card.face_model_edition, card.layout
        wanted = needs.face_model, needs.face_model_edition, needs.layout
        if needs.layout and card.layout and found != wanted:
            given, asked = (f"{name!r}, edition {edition}, with {layout}" for name, edition, layout in (found, wanted))
            raise TrainingError(
                f"{folder} holds truth for face model {given}, and {asked} is to be trained; give the --face-model "
                "that the data was made with, or make the data again"
            )
    templates = sorted({card.template for card in cards}) or [kind.templates[0]]
    if len(templates) > 1:
        raise TrainingError(
            f"expected --data of one crop template, received {', '.join(templates)}; prepare them alike"
        )
    if templates[0] not in kind.templates:
        raise TrainingError(
            f"{kind.label} takes crops of {', '.join(kind.templates)}, and --data has crops of {templates[0]}; "
            "prepare it again"
        )
    return templates[0]


def weights_card(settings: TrainSettings[Any], course: Course, template: str, cards: list[DataCard]) -> WeightsCard:
    """Where the weights of this run come from."""
    shares = settings.data.shares or (1.0,) * len(cards)
    mixed = [f"{share / sum(shares):.0%} {card.source or card.kind}" for share, card in zip(shares, cards, strict=True)]
    optimizer = settings.optimizer
    recipe = (
        f"preset {settings.preset}, {settings.steps} steps of {settings.data.batch_size}, {optimizer.name} "
        f"lr {optimizer.lr:g} {optimizer.schedule}, EMA {optimizer.ema_decay:g}, {settings.precision}"
    )
    return replace(
        course.card,
        template=template,
        training_data="; ".join(mixed),
        recipe=recipe + (f", {course.card.recipe}" if course.card.recipe else ""),
        commit=source_commit(),
        seed=settings.seed,
    )
