"""Pictures with times as an MP4 (H.264), with another clip's sound if it has any. Needs PyAV."""

import importlib
import io
import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from torch import Tensor

from facewright.errors import ExportError, MissingExtraError
from facewright.photo.frames import sound_of

CODECS = ("libx264", "mpeg4")
"""Codings of pictures, the first that is there."""
CLOCK = Fraction(1, 90_000)
SOUNDS = frozenset({"aac", "mp3", "ac3", "alac", "opus"})
"""Codings that go into an MP4 as they are; others are left out."""


@dataclass(frozen=True)
class Film:
    """What is written.

    Attributes:
        frames: sRGB pictures of one size, and when each is shown, s; one at a time.
        sound: the clip whose sound it gets; None: it has none.
    """

    frames: Iterable[tuple[UInt8[Tensor, "3 H W"], float]]
    sound: Path | None = None


def film_bytes(film: Film) -> bytes:
    """A film in memory.

    Raises:
        MissingExtraError: PyAV is not installed.
        ExportError: there are no frames, or they cannot be coded.
    """
    stream = io.BytesIO()
    write_film(film, stream)
    return stream.getvalue()


def write_film(film: Film, destination: str | os.PathLike[str] | io.BytesIO) -> None:
    """Write a film as its frames come.

    Args:
        film: sides of an odd number of pixels lose one.
        destination: a path, which appears at once (write to a temporary one), or a stream that can seek.

    Raises:
        MissingExtraError: PyAV is not installed.
        ExportError: there are no frames, or they cannot be coded.
    """
    try:
        av: Any = importlib.import_module("av")
    except ImportError as error:
        raise MissingExtraError(
            "writing clips expects the package av (PyAV), which is not installed: pip install 'facewright[video]'"
        ) from error
    target = destination if isinstance(destination, io.BytesIO) else os.fspath(destination)
    sound: AbstractContextManager[Any] = nullcontext() if film.sound is None else sound_of(film.sound)
    try:
        with av.open(target, "w", format="mp4") as container, sound as heard:
            _write(av, container, film, heard)
    except (av.FFmpegError, ValueError) as error:
        raise ExportError(f"expected frames that can be coded as an MP4, received others: {error}") from error


def _write(av: Any, container: Any, film: Film, heard: tuple[Any, Iterator[Any], float] | None) -> None:
    pictures: Any = None
    audio, packets, begin = None, iter(()), 0.0
    waiting: Any = None
    for picture, time in film.frames:
        pixels = np.ascontiguousarray(picture.cpu().numpy().transpose(1, 2, 0))
        pixels = pixels[: len(pixels) // 2 * 2, : pixels.shape[1] // 2 * 2]
        if pictures is None:
            pictures = _picture_stream(av, container, pixels.shape[1], pixels.shape[0])
            if heard is not None and heard[0].codec_context.name in SOUNDS:
                audio, packets, begin = container.add_stream_from_template(heard[0]), heard[1], heard[2]
                waiting = next(packets, None)
        while waiting is not None and float(waiting.pts * waiting.time_base) - begin <= time:
            _mux_sound(container, waiting, audio, begin)
            waiting = next(packets, None)
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
        frame.pts, frame.time_base = round(Fraction(time) / CLOCK), CLOCK
        container.mux(pictures.encode(frame))
    if pictures is None:
        raise ExportError("expected frames for a film, received none")
    container.mux(pictures.encode())
    while waiting is not None:
        _mux_sound(container, waiting, audio, begin)
        waiting = next(packets, None)


def _picture_stream(av: Any, container: Any, width: int, height: int) -> Any:
    codec = next((name for name in CODECS if name in av.codecs_available), None)
    if codec is None:
        raise ExportError(f"expected FFmpeg with one of {', '.join(CODECS)}, found none; leave out overlay")
    stream = container.add_stream(codec, rate=30)
    stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
    stream.codec_context.time_base = CLOCK
    stream.codec_context.thread_count = 1
    stream.options = {"crf": "20", "preset": "veryfast"} if codec == CODECS[0] else {}
    return stream


def _mux_sound(container: Any, packet: Any, stream: Any, begin: float) -> None:
    """With times from the first picture on; what was heard before it is left out."""
    shift = round(begin / float(packet.time_base))
    if packet.pts + (packet.duration or 0) < shift:
        return
    packet.pts -= shift
    packet.dts = packet.pts if packet.dts is None else packet.dts - shift
    packet.stream = stream
    container.mux(packet)
