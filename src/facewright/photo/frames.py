"""A clip in, its frames out one by one: upright sRGB ``Photo``s with the times at which they are shown. Needs PyAV.

Files are strangers': of FFmpeg's readers those of films alone are let in (play lists open other files and addresses),
and they read through a file that is open already. Sizes are refused before anything is decoded. A damaged packet costs
the frames that depend on it and is told of; a file that ends before its frames do is an error after its last frame.
"""

import importlib
import logging
import math
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import UInt8
from numpy import ndarray

from facewright.errors import ClipError, MissingExtraError
from facewright.photo.door import MAX_SIDE
from facewright.records import Photo

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

CLIP_SUFFIXES = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".3gp"})
"""What a clip is known by; files of other names are pictures."""
MAX_FRAME_PIXELS = 40_000_000
"""Largest width x height of a frame: 8K is 33 million."""
_CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts"
_ASPECTS = (0.1, 10.0)  # widths of pixels over their heights that are believed
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Frame:
    """A picture of a clip.

    Attributes:
        photo: upright; its path is that of the clip.
        number: among the frames that the clip holds, from 0.
        time_s: when it is shown, from the clip's first frame on.
    """

    photo: Photo
    number: int
    time_s: float


@dataclass(frozen=True)
class ClipFacts:
    """What a clip's head says.

    Attributes:
        width: of upright frames, px.
        height: of upright frames, px.
        rate_hz: frames a second on average; of clips of varying rate no more than that. None: it does not say.
        seconds: duration; None: it does not say.
        frames: how many there are; None: it does not say.
    """

    width: int
    height: int
    rate_hz: float | None
    seconds: float | None
    frames: int | None


def is_clip(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a clip, by its name."""
    return Path(path).suffix.lower() in CLIP_SUFFIXES


def clip_facts(path: str | os.PathLike[str], *, max_pixels: int = MAX_FRAME_PIXELS) -> ClipFacts:
    """What a clip's head says of it; at most one frame is decoded.

    Args:
        path: the clip.
        max_pixels: largest accepted width x height of a frame.

    Raises:
        MissingExtraError: PyAV is not installed.
        ClipError: as ``read_frames``.
    """
    with _opened(path, max_pixels) as (container, stream):
        first = next(_decoded(container, stream, os.fspath(path)), None)
        if first is None:
            raise _without_frames(path)
        pixels = _upright(first, stream, max_pixels, os.fspath(path))
        rate, frames, base = stream.average_rate, stream.frames, stream.time_base
        seconds = float(stream.duration * base) if stream.duration is not None and base is not None else None
        if seconds is None and container.duration is not None:
            seconds = container.duration / 1e6
        return ClipFacts(
            pixels.shape[1], pixels.shape[0], float(rate) if rate else None, seconds, frames if frames > 0 else None
        )


def read_frames(
    path: str | os.PathLike[str],
    *,
    start_s: float = 0.0,
    end_s: float = float("inf"),
    apart_s: float = 0.0,
    max_pixels: int = MAX_FRAME_PIXELS,
) -> Iterator[Frame]:
    """The frames of a clip in the order in which they are shown, one in memory at a time.

    Turned as the file says (phones), pixels made square. Times are the file's own, of any rate; a frame without a time
    is a usual interval after the one before.

    Args:
        path: MP4, MOV, MKV, WebM, AVI, MPEG.
        start_s: leave out frames before this time.
        end_s: stop before this time.
        apart_s: least time between frames; those between are decoded and left out.
        max_pixels: largest accepted width x height of a frame.

    Raises:
        MissingExtraError: PyAV is not installed.
        ClipError: no such file, no permission, empty, damaged, no clip, without pictures, too large; or, after the last
            frame, a file that ends before its frames do.
    """
    with _opened(path, max_pixels) as (container, stream):
        name = os.fspath(path)
        usual = 1.0 / float(stream.average_rate or stream.guessed_rate or 25)
        first: float | None = None
        time, due, number = -usual, start_s - 1e-9, -1
        for frame in _decoded(container, stream, name):
            number += 1
            own = frame.time
            if first is None:
                first = own or 0.0
            # times that stand still or run back are not believed: what follows them is shown later
            time = own - first if own is not None and own - first > time else time + usual
            if time >= end_s:
                return
            if time >= due:
                due = max(due, time + apart_s - 1e-6)
                pixels = torch.from_numpy(_upright(frame, stream, max_pixels, name)).permute(2, 0, 1)
                yield Frame(Photo(pixels, name), number, time)
        if number < 0:
            raise _without_frames(path)


def _decoded(container: "InputContainer", stream: "VideoStream", name: str) -> Iterator["VideoFrame"]:
    """Frames; after the last an error where packets are missing."""
    from av.error import FFmpegError

    packets = damaged = frames = 0
    source = container.demux(stream)
    cut = False
    while True:
        try:
            packet = next(source, None)
        except FFmpegError:
            cut = True
            break
        if packet is None:
            break
        packets += packet.size > 0
        try:
            shown = packet.decode()
        except FFmpegError:
            damaged += 1
            continue
        for frame in shown:
            frames += 1
            yield frame
    if frames == 0 and (damaged or cut):
        raise ClipError(f"expected a clip, received one none of whose {packets} packets can be read: {name}; export it")
    if damaged:
        _log.warning("%s: %d of %d packets are damaged; the frames in them are left out", name, damaged, packets)
    if frames and (cut or packets < stream.frames):
        raise ClipError(
            f"expected {stream.frames or 'more'} frames in {name}, found the data of {packets}: the file is cut short; "
            "copy it again"
        )


@contextmanager
def _opened(path: str | os.PathLike[str], max_pixels: int) -> Iterator[tuple["InputContainer", "VideoStream"]]:
    """The clip and its pictures."""
    try:
        av: Any = importlib.import_module("av")
    except ImportError as error:
        raise MissingExtraError(
            "reading clips expects the package av (PyAV), which is not installed: pip install 'facewright[video]'"
        ) from error
    name = os.fspath(path)
    with _file(path) as file:
        try:
            container = av.open(file, mode="r", container_options={"format_whitelist": _CONTAINERS})
        except (av.FFmpegError, ValueError) as error:
            raise ClipError(
                f"expected a clip (MP4, MOV, MKV, WebM, AVI, MPEG), received another file or a damaged one: {name} "
                f"({error}); export it as MP4"
            ) from error
        with container:
            stream = next(
                (part for part in container.streams.video if not part.disposition & av.stream.Disposition.attached_pic),
                None,
            )
            if stream is None or stream.codec_context is None:
                raise ClipError(f"expected a clip with pictures in a known coding, received one without: {name}")
            _check_size(stream.codec_context.width, stream.codec_context.height, max_pixels, name)
            stream.codec_context.thread_count = torch.get_num_threads()
            yield container, stream


@contextmanager
def _file(path: str | os.PathLike[str]) -> Iterator[Any]:
    name = os.fspath(path)
    try:
        with open(path, "rb") as file:
            if not os.path.isfile(path):
                raise ClipError(f"expected a regular file, received a device or pipe: {name}; copy it to a file first")
            if os.fstat(file.fileno()).st_size == 0:
                raise ClipError(f"expected a clip, received the empty file {name} (0 bytes); copy it again")
            yield file
    except FileNotFoundError as error:
        raise ClipError(f"expected a clip, found nothing at {name}; check the path") from error
    except IsADirectoryError as error:
        raise ClipError(f"expected a clip, received the folder {name}; name the files in it") from error
    except PermissionError as error:
        raise ClipError(f"expected a readable file, received no permission for {name}; change its mode") from error


def _check_size(width: int, height: int, max_pixels: int, name: str) -> None:
    if width < 0 or height < 0 or width * height > max_pixels or max(width, height) > MAX_SIDE:
        raise ClipError(
            f"expected frames of at most {max_pixels} pixels and {MAX_SIDE} a side, received {width} x {height} in "
            f"{name}; make it smaller, or raise max_pixels if the memory is there (12 bytes a pixel)"
        )


def _upright(frame: "VideoFrame", stream: "VideoStream", max_pixels: int, name: str) -> UInt8[ndarray, "H W 3"]:
    """Colours by the frame's own matrix, square pixels, turned and mirrored as the file says."""
    aspect = float(stream.sample_aspect_ratio or 1)
    wide = round(frame.width * aspect) if _ASPECTS[0] < aspect < _ASPECTS[1] else frame.width
    _check_size(wide, frame.height, max_pixels, name)
    pixels = frame.to_ndarray(format="rgb24", width=wide, height=frame.height, interpolation="BICUBIC")
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return pixels
    # x, y of the picture go to (a x + c y, b x + d y), y down (ISO/IEC 14496-12, 8.3.2)
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(matrix))
    if a * d - b * c < 0:
        pixels, a, b = pixels[:, ::-1], -a, -b
    return np.ascontiguousarray(np.rot90(pixels, -round(math.degrees(math.atan2(b, a)) / 90.0)))


def _without_frames(path: str | os.PathLike[str]) -> ClipError:
    return ClipError(f"expected a clip with pictures, received one without: {os.fspath(path)}; export it again")


@contextmanager
def sound_of(path: str | os.PathLike[str]) -> Iterator[tuple[Any, Iterator[Any], float] | None]:
    """The first sound of a clip as it is coded: its stream, its packets, and when its pictures begin on their clock, s.

    None where it has none.

    Raises:
        MissingExtraError, ClipError: as ``read_frames``.
    """
    with _opened(path, MAX_FRAME_PIXELS) as (container, pictures):
        stream = next(iter(container.streams.audio), None)
        if stream is None or stream.codec_context is None:
            yield None
            return
        base = pictures.time_base
        begin = 0.0 if pictures.start_time is None or base is None else float(pictures.start_time * base)
        yield stream, _whole_packets(container, stream), begin


def _whole_packets(container: Any, stream: Any) -> Iterator[Any]:
    from av.error import FFmpegError

    source = container.demux(stream)
    while True:
        try:
            packet = next(source, None)
        except FFmpegError:  # the pictures have told of it
            return
        if packet is None:
            return
        if packet.size > 0 and packet.pts is not None:
            yield packet
