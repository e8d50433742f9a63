"""``facewright train synthesize``, ``prepare`` and ``labels``: make the data that networks learn from."""

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from facewright.bounds import bounded
from facewright.cli.console import DONE, SOME_FAILED, CommandError, complain, progress_bar, say
from facewright.train.label_settings import OUTLIER, LabelSettings
from facewright.train.make import MakingReport, make_data
from facewright.train.photo_folders import open_photo_folders
from facewright.train.quality import QualityLimits
from facewright.train.samples import STORED_CROP_SIZE
from facewright.train.trainees import crop_size_for

PEOPLE_PER_SHARD = 8
PHOTOS_PER_SHARD = 64
"""What a kill can cost at most, in each process."""
MOST_CROP_SIZE = 2048
"""Of stored crops, px."""
MOST_NAMED = 20
"""Failures named on the terminal; the report names all."""


@dataclass(frozen=True)
class TrainSynthesize:
    """Pictures of people who do not exist, with complete truth. Killed, the same command goes on where it was."""

    out: Path
    """Folder of the data."""
    count: int = bounded(least=1)
    """Scenes."""
    first_seed: int = 0
    """Seed of the first scene; data of different ranges have no scene in common."""
    per_person: int = bounded(4, least=1, most=64)
    """Neighbouring scenes that show one person, in other light, pose, expression, sometimes hair."""
    workers: int = bounded(os.cpu_count() or 1, least=1, most=1024)
    """Processes."""
    crop_size: int | None = bounded(None, least=32, most=MOST_CROP_SIZE)
    """Side of the stored crops, px; 128 if nothing is said."""
    preset: Annotated[str | None, tyro.conf.arg(name="for")] = None
    """Store crops as large as this preset of ``facewright train`` wants them."""
    parts: bool = False
    """Store what each pixel shows too (head, hair, things), which ``facewright train parsing`` learns."""

    def run(self) -> int:
        """Make the data."""
        from facewright.synthetic.plan import HELD_OUT_SEED  # takes its time to load
        from facewright.train.synthetic import SceneSampler, data_card

        seeds = range(self.first_seed, self.first_seed + self.count)
        if seeds.stop > HELD_OUT_SEED:
            raise CommandError(
                f"expected one or more seeds in 0 .. {HELD_OUT_SEED - 1} (higher ones are for measuring), received "
                f"--first-seed {self.first_seed} --count {self.count}"
            )
        crop_size = stored_crop_size(self.crop_size, self.preset)
        card = data_card(crop_size, per_person=self.per_person, parts=self.parts)
        sampler = SceneSampler(crop_size, per_person=self.per_person, parts=self.parts)
        with progress_bar("synthesize") as progress:
            report = make_data(self.out, card, seeds, sampler, workers=self.workers, progress=progress)
        return _finish(report, self.out)


@dataclass(frozen=True)
class TrainPrepareFitted:
    """Pictures of 300W-LP, with the coefficients in the .mat beside each, to training data of position maps.

    Killed, the same command goes on where it was.
    """

    photos: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders of pictures (with their subfolders), a .mat of the same name beside each."""
    out: Path
    """Folder of the data."""
    face_model: str
    """Face model of the files: what ``facewright model import bfm-face3d`` writes."""
    pixel_origin: Literal["exact", "face3d"] = "exact"
    """Where the files' pixels are: as MATLAB counts them, or a pixel to the right and above, as in published labels."""
    workers: int = bounded(os.cpu_count() or 1, least=1, most=1024)
    """Processes."""
    crop_size: int = bounded(256, least=32, most=MOST_CROP_SIZE)
    """Side of the stored crops, px."""
    retry_failed: bool = False
    """Try again what failed in an earlier run of this command."""

    def run(self) -> int:
        """Make the data."""
        from facewright.train.lp300 import FittedSampler, fitted_card  # takes its time to load

        if not self.photos:
            raise CommandError("expected one or more folders of pictures, received none")
        folder = open_photo_folders(self.photos)
        sampler = FittedSampler(folder.root, self.face_model, self.crop_size, self.pixel_origin)
        card = fitted_card(sampler)
        with progress_bar("prepare") as progress:
            report = make_data(
                self.out,
                card,
                folder.names,
                sampler,
                workers=self.workers,
                shard_size=PHOTOS_PER_SHARD,
                retry_failed=self.retry_failed,
                progress=progress,
            )
        return _finish(report, self.out)


@dataclass(frozen=True)
class TrainPrepare:
    """Photographs to training data: find faces, lift their points, cut them out, leave out what is no good.

    Killed, the same command goes on where it was.
    """

    photos: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders of photographs (with their subfolders; in official layouts too), or official ``datalist/train``."""
    out: Path
    """Folder of the data."""
    workers: int = bounded(os.cpu_count() or 1, least=1, most=1024)
    """Processes."""
    crop_size: int | None = bounded(None, least=32, most=MOST_CROP_SIZE)
    """Side of the stored crops, px: what the largest network will want; 128 if nothing is said."""
    preset: Annotated[str | None, tyro.conf.arg(name="for")] = None
    """Store crops as large as this preset of ``facewright train`` wants them."""
    faces: Literal["all", "largest"] = "all"
    """Of each photo."""
    retry_failed: bool = False
    """Try again what failed in an earlier run of this command."""
    limits: QualityLimits = field(default_factory=QualityLimits)

    def run(self) -> int:
        """Make the data."""
        from facewright.train.prepare import PhotoSampler, PrepareSettings, photo_card  # takes its time to load

        crop_size = stored_crop_size(self.crop_size, self.preset)
        if not self.photos:
            raise CommandError("expected one or more folders of photographs, received none")
        folder = open_photo_folders(self.photos)
        settings = PrepareSettings(crop_size, self.faces, self.limits)
        sampler = PhotoSampler(folder.root, settings)
        with progress_bar("prepare") as progress:
            report = make_data(
                self.out,
                photo_card(settings),
                folder.names,
                sampler,
                workers=self.workers,
                shard_size=PHOTOS_PER_SHARD,
                retry_failed=self.retry_failed,
                progress=progress,
            )
        return _finish(report, self.out)


@dataclass(frozen=True)
class TrainLabels:
    """Photographs of people to training data whose codes are pooled: a folder a person, or folders of such folders.

    Each photo is fitted alone; a person's codes are their mean, weighed by how much the landmarks of each are trusted.
    A photo that shows somebody else is named and left out. Killed, the same command goes on where it was.
    """

    folders: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders: of photos of one person each, or of such folders."""
    out: Path
    """Folder of the data."""
    workers: int = bounded(os.cpu_count() or 1, least=1, most=1024)
    """Processes."""
    retry_failed: bool = False
    """Try again what failed in an earlier run of this command."""
    labels: LabelSettings = field(default_factory=LabelSettings)

    def run(self) -> int:
        """Make the data."""
        from facewright.train.labels import PersonSampler, label_card, person_folders  # takes its time to load

        people = person_folders(self.folders)
        with progress_bar("labels") as progress:
            report = make_data(
                self.out,
                label_card(self.labels),
                list(people),
                PersonSampler(people, self.labels),
                workers=self.workers,
                shard_size=PEOPLE_PER_SHARD,
                retry_failed=self.retry_failed,
                progress=progress,
            )
        for rejection in report.rejected:
            if rejection.reason == OUTLIER:
                complain(f"{rejection.key}: {rejection.reason}:", rejection.detail)
        return _finish(report, self.out)


def stored_crop_size(asked: int | None, preset: str | None) -> int:
    """The side of stored crops, px: as asked, or what a preset needs; never less than the usual one for a preset.

    Raises:
        CommandError: both are given, or a size that no network can have.
        TrainingError: no such preset.
    """
    if asked is not None and preset is not None:
        raise CommandError(f"expected --crop-size or --for, received both ({asked} px and {preset})")
    if preset is not None:
        return max(STORED_CROP_SIZE, crop_size_for(preset))
    return STORED_CROP_SIZE if asked is None else asked


def _finish(report: MakingReport, out: Path) -> int:
    """Say what was made; failed jobs are named."""
    for failure in report.failed[:MOST_NAMED]:
        complain(f"{failure.job}:", failure.error)
    if len(report.failed) > MOST_NAMED:
        complain(f"and {len(report.failed) - MOST_NAMED} more:", f"see {out / 'report.json'}")
    for reason, count in Counter(rejection.reason for rejection in report.rejected).most_common():
        say(f"left out: {count} faces ({reason})")
    say(f"{out}: {len(report.data)} samples of {report.jobs} jobs in {len(report.data.shards)} shards")
    if not len(report.data):
        complain("no samples:", f"see {out / 'report.json'}")
    return SOME_FAILED if report.failed or not len(report.data) else DONE
