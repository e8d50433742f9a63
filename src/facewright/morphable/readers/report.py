"""What an import found, what it lacks, and how far it is."""

from collections.abc import Callable
from dataclasses import dataclass

ImportProgress = Callable[[str, float], None]
"""Called with what is being done and the fraction done, 0..1."""


@dataclass(frozen=True)
class MissingPart:
    """Something a face model could have and this one does not.

    Attributes:
        name: the part, and the file that would bring it.
        where: where it can be obtained, and on what terms.
        wrong_file: the file that people usually take by mistake; empty if there is no such trap.
    """

    name: str
    where: str
    wrong_file: str = ""

    def line(self) -> str:
        """One plain sentence."""
        return f"{self.name}: {self.where}" + (f" (not: {self.wrong_file})" if self.wrong_file else "")


@dataclass(frozen=True)
class ImportReport:
    """Plain account of an import.

    Attributes:
        kind: the reader's name, as on the command line.
        found: what was read, with counts and units.
        missing: what could not be read because no file brings it.
        notes: decisions a user may want to know (dropped modes, flipped triangles, approximations).
    """

    kind: str
    found: tuple[str, ...] = ()
    missing: tuple[MissingPart, ...] = ()
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """The report as text, one fact a line."""
        return [
            *(f"found    {text}" for text in self.found),
            *(f"missing  {part.line()}" for part in self.missing),
            *(f"note     {text}" for text in self.notes),
        ]


def silent(message: str, fraction: float) -> None:
    """The progress callback of those who do not look."""
