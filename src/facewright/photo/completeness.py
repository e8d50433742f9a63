"""Whether a file held all of its picture. Decoders fill what is missing with grey or black, and few of them say so.

No decoder is trusted. A picture whose data were all there is the same whatever lay in memory before, and whatever
follows the data: so where anything looks unwritten it is decoded a second time, in front of another background (most
formats) or with more data at the end of the last scan (JPEG, whose decoder paints missing blocks grey itself).
"""

import re
import zlib
from collections.abc import Callable
from io import BufferedReader, BytesIO
from typing import Any

import numpy as np
from numpy import ndarray
from PIL import Image

Stream = BufferedReader | BytesIO

_INKS = (1, 254)
"""Values that a picture is filled with before it is decoded the first and the second time."""
_END_OF_PICTURE = b"\xff\xd9"
_STARTS_SCAN, _ALONE = 0xDA, {0x01, *range(0xD0, 0xD9)}  # markers; the latter have no length
_ANY_MARKER = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]")  # but those within a scan
_NOISE = bytes(np.random.default_rng(0).integers(0, 255, 256, dtype=np.uint8))
# Whichever restart interval is the first to be missing, one of these continues it.
_MORE_DATA = _NOISE + b"".join(bytes([0xFF, 0xD0 + k]) + _NOISE for _ in range(2) for k in range(8))
_GREY = 128
_BLOCK_ROWS = 512


def load_whole(image: Image.Image, stream: Stream, reopened: Callable[[Stream], Image.Image]) -> Image.Image:
    """Decode an opened picture and see to it that all of it was there.

    Args:
        image: opened from ``stream``, not decoded yet.
        stream: the file.
        reopened: opens a file again in the same way.

    Returns:
        The decoded picture; of a JPEG without an end marker, another one than was opened.

    Raises:
        OSError: the data end before the picture does; or what Pillow's decoder raises on a damaged file.
    """
    if image.format in ("JPEG", "MPO"):
        return _whole_jpeg(image, stream, reopened)
    first = _last_column(image, _INKS[0])
    unwritten = _is_ink(first, image.mode, _INKS[0])
    if unwritten.any():
        stream.seek(0)
        again = reopened(stream)
        second = _is_ink(_last_column(again, _INKS[1]), again.mode, _INKS[1])
        if (unwritten & second).any():
            missing = int((unwritten & second).sum())
            raise OSError(f"its data end before the picture does: {missing} of {len(first)} rows are not there")
    return image


def _last_column(image: Image.Image, ink: int) -> ndarray:
    """Decode in front of a plain background; the rightmost pixels of what the file says it holds."""
    # An animation's first picture may be smaller than the canvas.
    boxes = [tile[1] for tile in getattr(image, "tile", ()) if tile[1]] or [(0, 0, *image.size)]
    right, top, bottom = (max(b[2] for b in boxes), min(b[1] for b in boxes), max(b[3] for b in boxes))
    hooked: Any = image
    prepare = hooked.load_prepare  # where Pillow takes the memory that it decodes into

    def prepared() -> None:
        prepare()
        hooked.im.paste(_color(hooked.im.mode, ink), (0, 0, *hooked.im.size))

    hooked.load_prepare = prepared
    try:
        image.load()
    finally:
        del hooked.load_prepare
    right, bottom = min(right, image.width), min(bottom, image.height)
    return np.asarray(image.crop((right - 1, top, right, bottom)))[:, 0]


def _color(mode: str, ink: int) -> int | float | tuple[int, ...]:
    bands = Image.getmodebands(mode)
    if bands > 1:
        return tuple(ink if band % 2 == 0 else 255 - ink for band in range(bands))
    return -float(ink) if mode == "F" else (255 * (ink & 1) if mode == "1" else ink)


def _is_ink(column: ndarray, mode: str, ink: int) -> ndarray:
    """Which pixels are still as they were before decoding."""
    wanted = np.asarray(_color(mode, ink))
    same = column == (wanted != 0 if mode == "1" else wanted)
    return same if same.ndim == 1 else same.all(-1)


def _whole_jpeg(image: Image.Image, stream: Stream, reopened: Callable[[Stream], Image.Image]) -> Image.Image:
    at = stream.tell()
    stream.seek(0)
    content = stream.read()
    stream.seek(at)
    data_end, is_ended = _end_of_scans(content)
    if not is_ended:  # some cameras and cut downloads leave it out; Pillow then refuses the whole picture
        image = reopened(BytesIO(content[:data_end] + _END_OF_PICTURE))
    image.load()
    corner = np.asarray(image.crop((image.width - 1, image.height - 1, *image.size)))
    # Missing blocks come out as middle grey (or its negative); missing scans of a progressive picture as blur.
    grey = bool(((corner == _GREY) | (corner == 255 - _GREY)).all())
    if grey or not is_ended or "progressive" in image.info:
        longer = reopened(BytesIO(content[:data_end] + _MORE_DATA + _END_OF_PICTURE))
        longer.load()
        if _checksum(longer) != _checksum(image):
            raise OSError("its data end before the picture does: more data would have changed it")
    return image


def _end_of_scans(content: bytes) -> tuple[int, bool]:
    """Where the last scan of the first picture ends, and whether an end marker follows."""
    data_end = at = 2
    while (found := content.find(b"\xff", at)) >= 0:
        at = found + 1
        if at >= len(content) or content[at] in (0x00, 0xFF):
            continue
        marker = content[at]
        at += 1
        if marker == _END_OF_PICTURE[1]:
            return data_end, True
        if marker in _ALONE:
            continue
        at += int.from_bytes(content[at : at + 2])
        if marker == _STARTS_SCAN:
            following = _ANY_MARKER.search(content, at)
            data_end = at = len(content) if following is None else following.start()
    return data_end, False


def _checksum(image: Image.Image) -> int:
    """Of all pixels, taken in bands of rows: large pictures are in memory twice already."""
    total = 0
    for top in range(0, image.height, _BLOCK_ROWS):
        band = image.crop((0, top, image.width, min(top + _BLOCK_ROWS, image.height)))
        total = zlib.crc32(band.tobytes(), total)
    return total
