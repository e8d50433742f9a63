"""Pillow's bicubic resizing of a window alone, to the bit: rows, rounded to 8 bits, then columns.

``resized_window`` is a loop compiled for the CPU; ``resized_window_by_pillow`` its slow twin, which resizes whole
strips of the photo and cuts them. Whole numbers are the same in both, so it does not matter which one runs.
"""

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

import numpy as np
from jaxtyping import Int32, UInt8
from numpy import ndarray
from PIL import Image

from facewright.compiled import can_compile, compiled

Region = Callable[[int, int, int, int], UInt8[ndarray, "h w 3"]]
"""Gives a picture's pixels between two columns and rows (x0, y0, x1, y1)."""

BICUBIC_REACH = 2
"""Source pixels on each side, times the shrinking factor."""
PRECISION_BITS = 22
"""Of Pillow's weights, which are whole numbers."""
FEW_CROPS, SMALL_PIXELS = 16, 4_000_000
"""Crops of pictures so small that are cut before the loop is loaded for them, which takes as long as fifty."""
_BLOCK_PIXELS = 8_000_000  # of a large face, so many are resized at once
_CUT = count()


@dataclass(frozen=True)
class ResizedPart:
    """A part of a picture that is resized as a whole.

    Attributes:
        source: width and height of the picture, px.
        resized: width and height that it is resized to.
        left: first column of the window in the resized picture; inside, like the others.
        top: first row.
        right: column after the last.
        bottom: row after the last.
    """

    source: tuple[int, int]
    resized: tuple[int, int]
    left: int
    top: int
    right: int
    bottom: int

    @property
    def seen(self) -> tuple[int, int, int, int]:
        """Columns and rows of the picture that the filter reads: x0, y0, x1, y1."""
        (width, height), (new_width, new_height) = self.source, self.resized
        x0, x1 = _seen(self.left, self.right, width / new_width, width)
        y0, y1 = _seen(self.top, self.bottom, height / new_height, height)
        return x0, y0, x1, y1


def resized_window(region: Region, window: ResizedPart) -> UInt8[ndarray, "h w 3"]:
    """The window's pixels, by the twin that has them sooner."""
    if not can_compile() or _is_sooner_by_pillow(window):
        return resized_window_by_pillow(region, window)
    x0, y0, x1, y1 = window.seen
    columns = weights_of(window.source[0], window.resized[0], window.left, window.right)
    rows = weights_of(window.source[1], window.resized[1], window.top, window.bottom)
    resample, wide = compiled(_resample), window.right - window.left
    narrow = np.zeros((y1 - y0, wide, 3), dtype=np.uint8)
    together = max(1, _BLOCK_PIXELS // (x1 - x0))
    for top in range(y0, y1, together):
        bottom = min(top + together, y1)
        # Lines of what is summed lie together: columns of the picture at first, then rows.
        turned = np.ascontiguousarray(region(x0, top, x1, bottom).transpose(1, 0, 2))
        across = np.zeros((wide, bottom - top, 3), dtype=np.uint8)
        resample(turned.reshape(len(turned), -1), columns[0] - x0, columns[1], across.reshape(wide, -1))
        narrow[top - y0 : bottom - y0] = across.transpose(1, 0, 2)
    pixels = np.zeros((window.bottom - window.top, wide, 3), dtype=np.uint8)
    resample(narrow.reshape(len(narrow), -1), rows[0] - y0, rows[1], pixels.reshape(len(pixels), -1))
    return pixels


def _is_sooner_by_pillow(window: ResizedPart) -> bool:
    """Few crops of small pictures, in a program that has not compiled anything yet."""
    small = window.source[0] * window.source[1] <= SMALL_PIXELS
    return small and "numba" not in sys.modules and next(_CUT) < FEW_CROPS


def resized_window_by_pillow(region: Region, window: ResizedPart) -> UInt8[ndarray, "h w 3"]:
    """The same by Pillow: what the window does not see stays black, and of the first pass its columns go on."""
    (source_width, source_height), (width, height) = window.source, window.resized
    x0, y0, x1, y1 = window.seen
    columns = Image.new("RGB", (window.right - window.left, source_height))
    rows = max(1, _BLOCK_PIXELS // source_width)
    for top in range(y0, y1, rows):
        bottom = min(top + rows, y1)
        strip = Image.new("RGB", (source_width, bottom - top))
        strip.paste(Image.fromarray(np.ascontiguousarray(region(x0, top, x1, bottom))), (x0, 0))
        narrow = strip.resize((width, bottom - top), Image.Resampling.BICUBIC)
        columns.paste(narrow.crop((window.left, 0, window.right, bottom - top)), (0, top))
    whole = columns.resize((window.right - window.left, height), Image.Resampling.BICUBIC)
    return np.asarray(whole.crop((0, window.top, window.right - window.left, window.bottom)))


def weights_of(source: int, resized: int, first: int, last: int) -> tuple[Int32[ndarray, " N"], Int32[ndarray, "N K"]]:
    """First pixel that each resized pixel of ``first``..``last`` sums, and the weights, as Pillow rounds them.

    Args:
        source: length of the line, px.
        resized: length that it is resized to.
        first: of the resized pixels.
        last: after the last of them.
    """
    scale = source / resized
    stretch = max(scale, 1.0)
    reach = BICUBIC_REACH * stretch
    centres = (np.arange(first, last) + 0.5) * scale
    starts = np.maximum((centres - reach + 0.5).astype(np.int64), 0)
    ends = np.minimum((centres + reach + 0.5).astype(np.int64), source)
    taps = starts[:, None] + np.arange(int((ends - starts).max()))
    shares = np.where(taps < ends[:, None], _bicubic((taps - centres[:, None] + 0.5) * (1.0 / stretch)), 0.0)
    total = np.zeros(len(shares))
    for tap in range(shares.shape[1]):  # in Pillow's order: sums of floating point depend on it
        total += shares[:, tap]
    shares /= total[:, None]
    whole = np.trunc(shares * (1 << PRECISION_BITS) + np.where(shares < 0, -0.5, 0.5))
    return starts.astype(np.int32), whole.astype(np.int32)


def _bicubic(x: ndarray) -> ndarray:
    """Keys' kernel with a = -0.5."""
    x = np.abs(x)
    near = (1.5 * x - 2.5) * x * x + 1.0
    far = (((x - 5.0) * x + 8.0) * x - 4.0) * -0.5
    return np.where(x < 1.0, near, np.where(x < 2.0, far, 0.0))


def _resample(source, starts, weights, pixels):
    """Weighted sums of whole lines, rounded and cut to 8 bits. For numba."""
    width = source.shape[1]
    total = np.zeros(width, np.int32)
    for n in range(pixels.shape[0]):
        total[:] = 1 << 21
        for k in range(weights.shape[1]):
            weight = weights[n, k]
            if weight != 0:
                line = source[starts[n] + k]
                for i in range(width):
                    total[i] += np.int32(line[i]) * weight
        for i in range(width):
            pixels[n, i] = min(max(total[i] >> 22, 0), 255)


def _seen(first: int, last: int, step: float, length: int) -> tuple[int, int]:
    """The span of source pixels that the bicubic filter reads for the resized pixels first..last."""
    reach = BICUBIC_REACH * max(1.0, step) + 1.0
    return max(0, math.floor(first * step - reach)), min(length, math.ceil(last * step + reach))
