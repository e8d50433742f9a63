"""What the command line offers, found by asking its own dataclasses: no list to forget a command in."""

from collections.abc import Iterator
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from tyro.conf import subcommand

from facewright.cli import COMMANDS


@dataclass(frozen=True)
class Offered:
    """A command without subcommands.

    Attributes:
        words: that call it.
        least: arguments that it cannot do without, of the right types and of no sense.
        options: long name -> type, as annotated.
        bounds: long name -> what its field says of numbers.
    """

    words: tuple[str, ...]
    least: tuple[str, ...]
    options: dict[str, Any]
    bounds: dict[str, dict[str, float]]


def offered() -> Iterator[Offered]:
    """All of them."""
    for name, command in COMMANDS.items():
        yield from _below((), Annotated[command.load([]), subcommand(name)])


def _below(words: tuple[str, ...], entry: Any) -> Iterator[Offered]:
    cls, *notes = get_args(entry)
    (name,) = [note.name for note in notes if hasattr(note, "name") and hasattr(note, "description")]
    words = (*words, name)
    hints = get_type_hints(get_origin(cls) or cls, include_extras=True)
    arguments = get_args(cls)
    for part in fields(get_origin(cls) or cls):
        hint = arguments[0] if arguments else hints[part.name]
        choices = get_args(hint) if get_origin(hint) in (Union, UnionType) else ()
        if choices and all(get_origin(choice) is Annotated for choice in choices):
            rest = [other for other in fields(cls) if other.name != part.name] if not arguments else []
            for choice in choices:
                for found in _below(words, choice):
                    more = _described(rest, hints)
                    yield Offered(
                        found.words,
                        (*found.least, *more.least),
                        more.options | found.options,
                        more.bounds | found.bounds,
                    )
            return
    described = _described(fields(cls), hints)
    yield Offered(words, described.least, described.options, described.bounds)


def _described(parts: Any, hints: dict[str, Any], owner: Any = None) -> Offered:
    """Fields of a command; or of settings within it, which are there as an ``owner`` with its values."""
    least: list[str] = []
    options: dict[str, Any] = {}
    bounds: dict[str, dict[str, float]] = {}
    for part in parts:
        hint = hints[part.name]
        nested = _default(part) if owner is None else getattr(owner, part.name)
        if is_dataclass(nested):
            inner = _described(fields(nested), get_type_hints(type(nested), include_extras=True), nested)
            options |= inner.options
            bounds |= inner.bounds
            continue
        notes = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
        positional = any("positional" in str(note).lower() for note in notes)
        name = next((f"--{note.name}" for note in notes if getattr(note, "name", None)), _option(part.name))
        if not positional:
            options[name] = hint
            bounds[name] = dict(part.metadata)
        if nested is MISSING:
            least += [_value(hint)] if positional else [name, _value(hint)]
    return Offered((), tuple(least), options, bounds)


def _default(part: Field[Any]) -> Any:
    return part.default if part.default_factory is MISSING else part.default_factory()


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _value(hint: Any) -> str:
    plain = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    if get_origin(plain) is Literal:
        return str(get_args(plain)[0])
    return {int: "1", float: "1.0", Path: "missing.file"}.get(plain, "missing.file")


def numeric(hint: Any) -> type[int] | type[float] | None:
    """Whether an option is a number, several, or a number or nothing."""
    kinds = set(_parts(hint))
    return float if float in kinds else int if int in kinds else None


def how_many(hint: Any) -> int | None:
    """Numbers that the option takes, one where any number will do; None: it is a number, not several."""
    several = next((get_args(kind) for kind in _parts(hint) if get_origin(kind) is tuple), None)
    return None if several is None else 1 if Ellipsis in several else len(several)


def _parts(hint: Any) -> Iterator[Any]:
    yield hint
    for part in get_args(hint) if get_origin(hint) is not Literal else ():
        yield from _parts(part)
