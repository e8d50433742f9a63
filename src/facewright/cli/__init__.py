"""The ``facewright`` command: subcommands as frozen dataclasses, one file a group. The only room that prints.

Exit codes: 0 all done; 1 some inputs failed (the others are written, each failure is named); 2 the command is wrong.
"""

import io
import logging
import sys
from collections.abc import Sequence
from functools import reduce
from operator import or_
from typing import Annotated, Any

import tyro

from facewright.cli.console import SOME_FAILED, WRONG_COMMAND, complain
from facewright.cli.convert import Convert
from facewright.cli.decode import Decode
from facewright.cli.edit import Edit
from facewright.cli.evaluate import Evaluate
from facewright.cli.model import Model
from facewright.cli.reconstruct import Reconstruct
from facewright.cli.train import Train, train_command
from facewright.cli.weights import Weights
from facewright.errors import FacewrightError

Command = Reconstruct | Decode | Edit | Convert | Evaluate | Train[Any] | Model | Weights


def parse(args: Sequence[str] | None = None) -> Command:
    """The command that a command line (the program's own if None) asks for; leaves the program if it asks for none.

    Raises:
        FacewrightError: a preset or file that its other options begin from is wrong.
    """
    given = sys.argv[1:] if args is None else list(args)
    commands: list[Any] = [
        Annotated[Reconstruct, tyro.conf.subcommand("reconstruct")],
        Annotated[Decode, tyro.conf.subcommand("decode")],
        Annotated[Edit, tyro.conf.subcommand("edit")],
        Annotated[Convert, tyro.conf.subcommand("convert")],
        Annotated[Evaluate, tyro.conf.subcommand("evaluate")],
        Annotated[train_command(given), tyro.conf.subcommand("train")],
        Annotated[Model, tyro.conf.subcommand("model")],
        Annotated[Weights, tyro.conf.subcommand("weights")],
    ]
    return tyro.cli(
        reduce(or_, commands),
        prog="facewright",
        description="Photographs in, 3D faces out.",
        args=given,
        config=(tyro.conf.OmitSubcommandPrefixes, tyro.conf.OmitArgPrefixes, tyro.conf.CascadeSubcommandArgs),
    )


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code (2 for a wrong command, from the parser too)."""
    logging.basicConfig(level=logging.ERROR, format="%(name)s: %(message)s")
    for stream in (sys.stdout, sys.stderr):  # file names may hold what the terminal's coding has not
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        return parse(args).run()
    except FacewrightError as error:
        complain(f"{type(error).__name__}:", str(error))
        return WRONG_COMMAND
    except KeyboardInterrupt:
        complain("interrupted;", "what was done before is kept")
        return SOME_FAILED
