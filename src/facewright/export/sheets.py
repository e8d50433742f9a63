"""Contact sheets: titled pictures in a grid."""

import math
import unicodedata
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from facewright.export.asset import to_uint8
from facewright.export.pictures import BACKDROP

TILE_PX = 384
SMALLEST_TILE_PX = 160
GAP_PX = 12
_TITLE_GREY = (215, 215, 220)


def contact_sheet(
    tiles: Sequence[tuple[str, Float[Tensor, "3 _ _"]]],
    *,
    heading: str = "",
    columns: int | None = None,
    tile_px: int = TILE_PX,
) -> Float[Tensor, "3 H W"]:
    """Titled pictures side by side, in equal tiles on a dark backdrop.

    Pictures larger than a tile shrink to it. Smaller ones are never smoothed up: they stay as they are, or are
    magnified by a whole factor with square pixels if they are less than half a tile.

    Args:
        tiles: title and sRGB picture of any size.
        heading: one line above all of them.
        columns: pictures per row; chosen for a sheet about twice as wide as high if None.
        tile_px: largest side of a tile.

    Raises:
        ValueError: there are no tiles.
    """
    if not tiles:
        raise ValueError("expected at least one tile, received none")
    longest = max(max(picture.shape[1:]) for _, picture in tiles)
    side = min(tile_px, max(longest, SMALLEST_TILE_PX))
    pictures = [_fitted(picture, side) for _, picture in tiles]
    width, height = max(p.width for p in pictures), max(p.height for p in pictures)
    width = max(width, SMALLEST_TILE_PX)
    columns = columns or min(len(tiles), max(1, round(math.sqrt(2.0 * len(tiles) * height / width))))
    rows = math.ceil(len(tiles) / columns)
    font_px = max(13, min(20, side // 20))
    font = ImageFont.load_default(size=font_px)
    line = round(1.7 * font_px)
    top = GAP_PX + (round(1.3 * line) if heading else 0)
    backdrop = tuple(round(255 * level) for level in BACKDROP)
    sheet = Image.new(
        "RGB", (GAP_PX + columns * (width + GAP_PX), top + rows * (height + line + GAP_PX)), color=backdrop
    )
    pen = ImageDraw.Draw(sheet)
    if heading:
        pen.text((GAP_PX, GAP_PX), _shortened(heading, font, sheet.width - 2 * GAP_PX), _TITLE_GREY, font)
    for index, ((title, _), picture) in enumerate(zip(tiles, pictures, strict=True)):
        x = GAP_PX + index % columns * (width + GAP_PX)
        y = top + index // columns * (height + line + GAP_PX)
        pen.text((x, y + (line - font_px) // 3), _shortened(title, font, width), _TITLE_GREY, font)
        sheet.paste(picture, (x, y + line))
    return torch.from_numpy(np.asarray(sheet).copy()).permute(2, 0, 1).float() / 255.0


def _fitted(picture: Float[Tensor, "3 H W"], side: int) -> Image.Image:
    image = Image.fromarray(np.ascontiguousarray(to_uint8(picture).transpose(1, 2, 0)))
    longest = max(image.size)
    if longest > side:
        scale = side / longest
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    factor = side // longest
    return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)


def _shortened(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    # Pillow's own font draws ASCII only: accents are dropped, other letters become question marks.
    text = unicodedata.normalize("NFKD", text)
    text = "".join(letter for letter in text if not unicodedata.combining(letter)).encode("ascii", "replace").decode()
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."
