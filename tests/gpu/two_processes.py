"""As a program: one process of a training run of toy heads; ``test_on_cuda`` starts as many as it wants."""

import sys
from dataclasses import replace
from pathlib import Path

from facewright.morphable.container import load_face_model, save_face_model
from facewright.morphable.toy import toy_face_model
from facewright.train.rnet_settings import RUN_PRESETS, NetSettings, ObjectiveSettings, RNetSettings
from facewright.train.run import train
from facewright.train.run_folder import RunFolder, read_log
from facewright.train.samples import DataCard
from facewright.train.settings import DataSettings, OptimizerSettings, TrainSettings
from tests.train.pictures import ToyStream

SIZE = 72


def settings_of(folder: Path, device: str) -> TrainSettings[RNetSettings]:
    """A short run of all terms but recognition; dlib's trunk has no norm over the batch."""
    return TrainSettings(
        RNetSettings(
            ObjectiveSettings(RUN_PRESETS["open"].network.objective.weak),
            face_model=str(folder / "toy.npz"),
            net=NetSettings("dlib_resnet29", width=0.125, crop_size=SIZE, landmark_head=True),
        ),
        trainee="rnet",
        preset="none",
        data=DataSettings(("toy",), batch_size=8),
        optimizer=OptimizerSettings("adamw", lr=1e-3, weight_decay=0.01, clip_norm=5.0, ema_decay=0.9),
        steps=4,
        device=device,
        log_every=1,
        sheet_every=2,
        checkpoint_every=2,
    )


def losses(run: Path) -> list[float]:
    """The loss of each step."""
    return [line["total"] for line in read_log(RunFolder(run).log)]


def learn(rank: int, world: int, device: str, out: Path) -> None:
    """This process's part of the run."""
    models = out.parent / f"{out.name}-{rank}"  # each its own file: they write at once
    models.mkdir(parents=True)
    save_face_model(toy_face_model(), models / "toy.npz")
    stream = ToyStream(load_face_model(models / "toy.npz"), SIZE, rank=rank, world=world)
    card = DataCard("photographs", source="toy heads")
    train(replace(settings_of(models, device)), out, source=stream, cards=[card])


if __name__ == "__main__":
    import os

    learn(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), sys.argv[1], Path(sys.argv[2]))
