"""``facewright train``: make training data; train networks on it.

Every network in ``TRAINEES`` is a command, and every setting of its runs an option: nothing is listed here twice.
"""

import argparse
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, make_dataclass
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

import tyro

from facewright.cli.console import DONE, CommandError, error_console, note, say, transient_progress
from facewright.cli.official_options import refuse_official_options
from facewright.cli.train_data import TrainLabels, TrainPrepare, TrainPrepareFitted, TrainSynthesize
from facewright.train.course import Trainee
from facewright.train.recorder import LoggedStep
from facewright.train.run import check_run, train
from facewright.train.settings import Own, TrainSettings, read_settings
from facewright.train.trainees import TRAINEES
from facewright.train.validation import Validated

Action = TypeVar("Action")


@dataclass(frozen=True, kw_only=True)
class TrainNetwork:
    """Train a network.

    What is not given is as the preset (or --config) has it. Under ``torchrun`` many processes train one network.
    """

    settings: TrainSettings[Any]
    """The run."""
    out: Path
    """Run folder."""
    config: Path | None = None
    """A run's config.json (edited or not) instead of a preset."""
    resume: bool = False
    """Go on in --out from its newest checkpoint; start where there is none."""

    def run(self) -> int:
        """Train."""
        first = os.environ.get("RANK", "0") == "0"  # of torchrun's processes
        check_run(self.settings)
        plain = first and not error_console.is_terminal  # a log: no bar is shown there
        if plain:
            for line in options_of(self.settings):
                note(line)
        with transient_progress(quiet=not first) as progress:
            task = progress.add_task("training", total=self.settings.steps)

            def show(logged: LoggedStep) -> None:
                progress.update(task, completed=logged.report.step + 1, description=describe(logged))
                if plain:
                    note(f"step {logged.report.step} of {self.settings.steps}: {describe(logged)}")
                if not logged.report.finite:
                    note(f"step {logged.report.step} was not finite and was skipped")

            def show_validation(found: Validated) -> None:
                note(f"step {found.step}, validation: {losses_line(found.total, found.terms)}")

            folder = train(self.settings, self.out, resume=self.resume, on_log=show, on_validation=show_validation)
        if first:
            say(f"trained  {folder.weights}")
        return DONE


def describe(logged: LoggedStep) -> str:
    """One line: losses and speed."""
    report = logged.report
    skipped = f", {report.skipped} skipped" if report.skipped else ""
    return f"{losses_line(report.total, report.terms)} {logged.images_per_second:.0f} images/s{skipped}"


def losses_line(total: float, terms: Mapping[str, float]) -> str:
    """Total and terms, for people."""
    each = " ".join(f"{name.rpartition('/')[2]} {value:.3g}" for name, value in terms.items())
    return f"{total:.4g} ({each})"


def options_of(settings: Any, prefix: str = "") -> Iterator[str]:
    """The resolved settings, a line each, by their dotted names in ``config.json``."""
    for entry in fields(settings):
        value = getattr(settings, entry.name)
        if is_dataclass(value):
            yield from options_of(value, f"{prefix}{entry.name}.")
        else:
            yield f"{prefix}{entry.name}: {value}"


@dataclass(frozen=True)
class Train(Generic[Action]):
    """Make training data, train networks on it."""

    action: Action

    @property
    def threads(self) -> int | None:
        """Of the processor; None where networks are trained, which keep to torch's own number."""
        return None if isinstance(self.action, TrainNetwork) else 1

    def run(self) -> int:
        """Run the chosen one."""
        return self.action.run()  # pyright: ignore[reportAttributeAccessIssue] - a command


def train_command(args: Sequence[str]) -> Any:
    """``Train`` for a command line: what it starts from (preset or file) decides what is not given.

    Args:
        args: the whole command line.

    Raises:
        CommandError: a preset that is not there, or an option of Deng's programs.
        TrainingError: the file is not a run's configuration.
    """
    actions: list[Any] = [
        Annotated[TrainPrepare, tyro.conf.subcommand("prepare")],
        Annotated[TrainPrepareFitted, tyro.conf.subcommand("prepare-300wlp")],
        Annotated[TrainSynthesize, tyro.conf.subcommand("synthesize")],
        Annotated[TrainLabels, tyro.conf.subcommand("labels")],
    ]
    for name, trainee in TRAINEES.items():
        asked = args[2:] if list(args[:2]) == ["train", name] else ()
        refuse_official_options(asked)
        start = field(default=start_of(name, trainee, asked))
        command = make_dataclass(
            f"Train_{name}",
            [("settings", TrainSettings[trainee.settings], start)],
            bases=(TrainNetwork,),
            frozen=True,
            kw_only=True,
        )
        actions.append(Annotated[command, tyro.conf.subcommand(name, description=trainee.purpose)])
    return Train[reduce(or_, actions)]


def start_of(name: str, trainee: Trainee[Own], args: Sequence[str]) -> TrainSettings[Own]:
    """The settings that a command line changes: those of its ``--config``, or of its ``--preset``.

    Raises:
        CommandError, TrainingError: as ``train_command``.
    """
    parser = argparse.ArgumentParser(prog=f"facewright train {name}", add_help=False, allow_abbrev=False)
    parser.add_argument("--preset")
    parser.add_argument("--config", type=Path)
    asked, _ = parser.parse_known_args(args)
    if asked.preset is not None and asked.preset not in trainee.presets:
        raise CommandError(f"expected a --preset of {', '.join(trainee.presets)}; received {asked.preset!r}")
    start = trainee.presets[asked.preset or trainee.preset]
    if asked.config is None:
        return start
    found = read_settings(asked.config, trainee.settings)
    if found.trainee != name:
        raise CommandError(f"expected a --config of {name}, received one of {found.trainee}: {asked.config}")
    if asked.preset not in (None, found.preset):
        raise CommandError(
            f"expected --config or --preset, received {asked.config}, which began as {found.preset}, and {asked.preset}"
        )
    return found
