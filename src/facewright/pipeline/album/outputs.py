"""Files of a person in an album: the face, a sheet of all photos, a mesh that shows what was seen, ``album.json``."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from facewright.export.formats import FORMATS, FormatName
from facewright.export.json import json_bytes
from facewright.export.png import png_bytes, texture_png
from facewright.export.sheets import contact_sheet
from facewright.files import FileSet
from facewright.morphable.linear import FaceModel
from facewright.pipeline.album.merged_texture import MergedTexture
from facewright.pipeline.album.person import Person
from facewright.pipeline.outputs import model_asset
from facewright.records import MeshAsset, Topology

ALBUM = "album.json"
SHEET_PIXELS = 4_000_000
"""Of all tiles of a sheet together: with more photos tiles are smaller."""
LARGEST_TILE_PX, SMALLEST_TILE_PX = 320, 96
UNSEEN, WELL_SEEN = (0.55, 0.12, 0.16), (0.18, 0.72, 0.42)
"""Colours of vertices that no photo shows, and that one shows head-on, sRGB."""


@dataclass(frozen=True)
class PersonFiles:
    """What is written of one person.

    Attributes:
        stem: what the names begin with.
        person: who.
        merged: texture; None of face models without texture coordinates.
        tiles: title and picture of each photo.
        heading: of the sheet.
    """

    stem: str
    person: Person
    merged: MergedTexture | None
    tiles: Sequence[tuple[str, Float[Tensor, "3 _ _"]]]
    heading: str


def tile_side(photos: int) -> int:
    """Side of a sheet's tiles, px."""
    return min(LARGEST_TILE_PX, max(SMALLEST_TILE_PX, math.isqrt(SHEET_PIXELS // max(1, photos))))


def add_person(
    files: FileSet, folder: Path, entry: PersonFiles, model: FaceModel, formats: Sequence[FormatName]
) -> list[str]:
    """Put the files of a person into a set; gives their names.

    Args:
        files: appear together.
        folder: of the album.
        entry: the person.
        model: decodes.
        formats: which of those that hold a mesh or its texture; the others are of single photos and left out.
    """
    before = len(files.paths)
    asset = person_asset(entry, model)
    content: dict[str, Callable[[], Any]] = {"asset": lambda: asset, "posed asset": lambda: asset}
    if asset.texture is not None:
        content["texture picture"] = lambda: asset.texture
    for name in formats:
        chosen = FORMATS[name]
        if chosen.content in content:
            chosen.add(files, content[chosen.content](), folder / f"{entry.stem}{chosen.suffix}")
    if entry.merged is not None:
        shown = replace(asset, colors=seen_colors(entry.merged), texture=None, texture_png=None)
        FORMATS["ply"].add(files, shown, folder / f"{entry.stem}_seen.ply")
    if entry.tiles:
        sheet = contact_sheet(entry.tiles, heading=entry.heading, tile_px=tile_side(len(entry.tiles)))
        files.write(folder / f"{entry.stem}_sheet.png", png_bytes(sheet, kind="album"))
    return [path.name for path in files.paths[before:]]


def add_document(files: FileSet, folder: Path, document: dict[str, Any]) -> None:
    """Put ``album.json`` into a set."""
    files.write(folder / ALBUM, json_bytes(document))


def person_asset(entry: PersonFiles, model: FaceModel) -> MeshAsset:
    """The neutral face ready for export, with its expressions as morph targets."""
    asset = model_asset(model, entry.person.identity, 0, name=entry.stem)
    facts = {"photos": len(entry.person.faces)}
    if entry.merged is None:
        return replace(asset, metadata=asset.metadata | facts)
    asset = replace(asset, texture=entry.merged.texture, colors=entry.merged.colors, metadata=asset.metadata | facts)
    return replace(asset, texture_png=texture_png(asset))


def seen_colors(merged: MergedTexture) -> Float[Tensor, "V 3"]:
    """From dark red, which no photo shows, to green, which one shows head-on."""
    share = merged.seen_vertices[:, None].clamp(0.0, 1.0)
    low, high = share.new_tensor(UNSEEN), share.new_tensor(WELL_SEEN)
    return low + share * (high - low)


def regions_document(topology: Topology, merged: MergedTexture, photos: Sequence[str]) -> dict[str, Any]:
    """Per region of the face model: how much of it was seen, how well, and which photos show it best.

    Args:
        topology: with regions.
        merged: the texture.
        photos: names, in the order in which they were merged.
    """
    found: dict[str, Any] = {}
    for name, mask in topology.annotations.regions.items():
        total = mask.sum().clamp_min(1e-6)
        best = {
            photo: round(float((mask * (merged.best_photo == k)).sum() / total), 4) for k, photo in enumerate(photos)
        }
        found[name] = {
            "seen": round(float((mask * (merged.seen_by > 0)).sum() / total), 4),
            "confidence": round(float((mask * merged.seen_vertices).sum() / total), 4),
            "photos": round(float((mask * merged.seen_by).sum() / total), 2),
            "best": dict(sorted(((p, s) for p, s in best.items() if s > 0), key=lambda pair: -pair[1])),
        }
    return found


def identity_document(person: Person, model: FaceModel) -> dict[str, Any]:
    """The person's coefficients."""
    return {
        "coefficients": {"id": person.identity.id[0], "tex": person.identity.tex[0]},
        "face_model": model.name,
        "face_model_edition": model.edition,
    }
