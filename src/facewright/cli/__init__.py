"""The ``facewright`` command: subcommands as frozen dataclasses, one file a group. The only room that prints.

Exit codes: 0 all done; 1 some inputs failed (the others are written, each failure is named); 2 the command is wrong.
"""

import io
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, make_dataclass
from functools import reduce
from operator import or_
from typing import Annotated, Any

import tyro

from facewright.cli.checks import check_command, require_arguments
from facewright.cli.console import SOME_FAILED, WRONG_COMMAND, complain
from facewright.cli.interrupts import TerminatedError, termination_interrupts
from facewright.cli.log import log_on_terminal
from facewright.cli.threads import take_threads
from facewright.errors import FacewrightError


@dataclass(frozen=True)
class Command:
    """One row of the table of commands.

    Attributes:
        purpose: one line, as ``--help`` lists it: known without loading what the command needs.
        load: the command's type, for a command line.
    """

    purpose: str
    load: Callable[[Sequence[str]], Any]


def _reconstruct(given: Sequence[str]) -> Any:
    from facewright.cli.reconstruct import Reconstruct

    return Reconstruct


def _view(given: Sequence[str]) -> Any:
    from facewright.cli.view import ViewFaces

    return ViewFaces


def _decode(given: Sequence[str]) -> Any:
    from facewright.cli.decode import Decode

    return Decode


def _edit(given: Sequence[str]) -> Any:
    from facewright.cli.edit import Edit

    return Edit


def _swap(given: Sequence[str]) -> Any:
    from facewright.cli.swap import Swap

    return Swap


def _convert(given: Sequence[str]) -> Any:
    from facewright.cli.convert import Convert

    return Convert


def _evaluate(given: Sequence[str]) -> Any:
    from facewright.cli.evaluate import Evaluate

    return Evaluate


def _batch(given: Sequence[str]) -> Any:
    from facewright.cli.batch import Batch

    return Batch


def _serve(given: Sequence[str]) -> Any:
    from facewright.cli.serve import Serve

    return Serve


def _recognise(given: Sequence[str]) -> Any:
    from facewright.cli.recognise import Recognise

    return Recognise


def _train(given: Sequence[str]) -> Any:
    from facewright.cli.train import train_command

    return train_command(given)


def _model(given: Sequence[str]) -> Any:
    from facewright.cli.model import Model

    return Model


def _weights(given: Sequence[str]) -> Any:
    from facewright.cli.weights import Weights

    return Weights


COMMANDS: dict[str, Command] = {
    "reconstruct": Command("Turn photographs and clips into 3D faces.", _reconstruct),
    "view": Command("Show faces on a page in the browser: turn, move, light and save them. Ends with Ctrl-C.", _view),
    "decode": Command("Turn coefficients into a mesh: neutral pose, model space, unlit colours.", _decode),
    "edit": Command(
        "Change the expression, pose or light of a reconstructed face; whatever is not named stays.", _edit
    ),
    "swap": Command(
        "Give faces of one photo the looks of a face in another; shape, pose, expression and light stay.", _swap
    ),
    "convert": Command("Write reconstructed faces as other programs read them.", _convert),
    "evaluate": Command(
        "Measure a method as the benchmarks do, with intervals, the mean head and published figures beside it.",
        _evaluate,
    ),
    "batch": Command("Turn very many photographs into a table of 3D faces.", _batch),
    "serve": Command("Answer pictures with 3D faces over HTTP.", _serve),
    "recognise": Command("Who it is: enrol people, verify two photos, search for whom a photo shows.", _recognise),
    "train": Command("Make training data, train networks on it.", _train),
    "model": Command("Face models: import them, look inside, draw samples, fit them to scans.", _model),
    "weights": Command("Network weights: import them, look inside, export them.", _weights),
}
"""All commands; what one needs is loaded when it is named."""


def subcommands(given: Sequence[str]) -> list[Any]:
    """The types of the commands, with their names: that of the one that a command line names, and stand-ins of others.

    Raises:
        FacewrightError: a preset or file that its other options begin from is wrong.
    """
    named = next((word for word in given if not word.startswith("-")), None)
    return [
        Annotated[
            command.load(given) if name == named else make_dataclass(name, []),
            tyro.conf.subcommand(name, description=command.purpose),
        ]
        for name, command in COMMANDS.items()
    ]


def parse(given: Sequence[str]) -> Any:
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
            if (threads := getattr(command, "threads", 1)) is not None:
                take_threads(threads)
            return command.run()
        except FacewrightError as error:
            complain(f"{type(error).__name__}:", str(error))
            return WRONG_COMMAND
        except KeyboardInterrupt as interrupt:
            how = "terminated" if isinstance(interrupt, TerminatedError) else "interrupted"
            complain(f"{how};", "what was done before is kept")
            return SOME_FAILED
