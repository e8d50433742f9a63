"""The ``facewright`` command: subcommands as frozen dataclasses, one file a group. The only room that prints.

Exit codes: 0 all done; 1 some inputs failed (the others are written, each failure is named); 2 the command is wrong.
"""

import io
import sys
from collections.abc import Sequence
from functools import reduce
from operator import or_
from typing import Annotated, Any

import tyro

from facewright.cli.checks import check_command, require_arguments
from facewright.cli.console import SOME_FAILED, WRONG_COMMAND, complain
from facewright.cli.convert import Convert
from facewright.cli.decode import Decode
from facewright.cli.edit import Edit
from facewright.cli.evaluate import Evaluate
from facewright.cli.interrupts import TerminatedError, termination_interrupts
from facewright.cli.log import log_on_terminal
from facewright.cli.model import Model
from facewright.cli.reconstruct import Reconstruct
from facewright.cli.threads import take_threads
from facewright.cli.train import Train, TrainNetwork, train_command
from facewright.cli.weights import Weights
from facewright.errors import FacewrightError

Command = Reconstruct | Decode | Edit | Convert | Evaluate | Train[Any] | Model | Weights


def subcommands(given: Sequence[str]) -> list[Any]:
    """The types of the commands, with their names; those of training begin from what the command line says.

    Raises:
        FacewrightError: a preset or file that its other options begin from is wrong.
    """
    return [
        Annotated[Reconstruct, tyro.conf.subcommand("reconstruct")],
        Annotated[Decode, tyro.conf.subcommand("decode")],
        Annotated[Edit, tyro.conf.subcommand("edit")],
        Annotated[Convert, tyro.conf.subcommand("convert")],
        Annotated[Evaluate, tyro.conf.subcommand("evaluate")],
        Annotated[train_command(given), tyro.conf.subcommand("train")],
        Annotated[Model, tyro.conf.subcommand("model")],
        Annotated[Weights, tyro.conf.subcommand("weights")],
    ]


def parse(given: Sequence[str]) -> Command:
    """The command that a command line asks for; leaves the program if it asks for none.

    Raises:
        FacewrightError: as ``subcommands``.
    """
    return tyro.cli(
        reduce(or_, subcommands(given)),
        prog="facewright",
        description="Photographs in, 3D faces out.",
        args=list(given),
        config=(tyro.conf.OmitSubcommandPrefixes, tyro.conf.OmitArgPrefixes, tyro.conf.CascadeSubcommandArgs),
    )


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code (2 for a wrong command, from the parser too)."""
    for stream in (sys.stdout, sys.stderr):  # file names may hold what the terminal's coding has not
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    given = sys.argv[1:] if args is None else list(args)
    with log_on_terminal(), termination_interrupts():
        try:
            require_arguments(given)
            command = parse(given)
            check_command(command, given)
            if (threads := _threads_of(command)) is not None:
                take_threads(threads)
            return command.run()
        except FacewrightError as error:
            complain(f"{type(error).__name__}:", str(error))
            return WRONG_COMMAND
        except KeyboardInterrupt as interrupt:
            how = "terminated" if isinstance(interrupt, TerminatedError) else "interrupted"
            complain(f"{how};", "what was done before is kept")
            return SOME_FAILED


def _threads_of(command: Command) -> int | None:
    """Of the processor; None where networks are trained, which keep to torch's own number."""
    if isinstance(command, Train) and isinstance(command.action, TrainNetwork):
        return None
    return getattr(command.benchmark if isinstance(command, Evaluate) else command, "threads", 1)
