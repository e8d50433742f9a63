"""What holds of every command line, whatever the command: looked at whole, before any work."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from facewright.bounds import check_bounds, check_uses
from facewright.cli.console import CommandError


def require_arguments(given: Sequence[str]) -> None:
    """Refuse empty arguments, which a script's unset variable leaves: as a path they would be the current folder.

    Raises:
        CommandError: one is empty; what stands before it is named.
    """
    for place, argument in enumerate(given):
        name, sign, value = argument.partition("=")
        if not argument or (name.startswith("--") and sign and not value):
            before = name or (given[place - 1] if place else "facewright")
            raise CommandError(f"expected something after {before}, received an empty argument")


def check_command(command: Any, given: Sequence[str] = ()) -> None:
    """Refuse numbers outside of their bounds, options without a use, and files that would be written over what is read.

    Args:
        command: with all its options.
        given: the command line.

    Raises:
        CommandError: naming the option.
    """
    check_bounds(command, CommandError)
    check_uses(command, {_option_of(argument) for argument in given if argument.startswith("--")}, CommandError)
    read, written = set[str](), list[Path]()
    for name, value in _paths(command):
        if name == "out":
            written.append(Path(value))
        elif os.path.isfile(value):
            read.add(os.path.realpath(value))
    for path in written:
        if os.path.realpath(path) in read:
            raise CommandError(f"expected --out to be another file than those that are read, received {path} for both")
    if len(set(written)) < len(written):
        raise CommandError(f"expected each --out once, received {' '.join(map(str, written))}")


def _option_of(argument: str) -> str:
    """The long name; underscores are understood as dashes."""
    return argument.partition("=")[0].replace("_", "-")


def _paths(command: Any) -> Iterator[tuple[str, str | Path]]:
    """What may be a path, by the name of its field."""
    for entry in fields(command):
        value = getattr(command, entry.name)
        if is_dataclass(value):
            yield from _paths(value)
        for each in value if isinstance(value, tuple) else (value,):
            if isinstance(each, str | Path):
                yield entry.name, each
