"""What is handed to the processes of a batch: light, so that they may be loaded with anything."""

from dataclasses import dataclass

from facewright.scale.sources import PhotoEntry


@dataclass(frozen=True)
class PhotoJob:
    """One photo.

    Attributes:
        entry: where it is.
        known: SHA-256 of the bytes of which a part has the rows, made by the same version; empty: none has.
    """

    entry: PhotoEntry
    known: str = ""
