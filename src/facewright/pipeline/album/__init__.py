"""Albums: many photos, of one person or of several; each becomes one face."""

from facewright.pipeline.album.flow import AlbumOptions, AlbumReport, reconstruct_album, reconstruct_albums
from facewright.pipeline.album.weighing import Weighing, load_weighing

__all__ = [
    "AlbumOptions",
    "AlbumReport",
    "Weighing",
    "load_weighing",
    "reconstruct_album",
    "reconstruct_albums",
]
