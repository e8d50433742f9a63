"""Clips written here, read back: what is upright, when frames are shown, what is refused and how it is told of."""

import logging
import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from facewright.errors import ClipError, MissingExtraError
from facewright.photo.frames import clip_facts, is_clip, read_frames

av = pytest.importorskip("av")
CORNERS = {"red": (0, 0), "green": (0, 1), "blue": (1, 0), "white": (1, 1)}
COLORS = {"red": (220, 20, 30), "green": (20, 200, 40), "blue": (30, 40, 210), "white": (240, 240, 240)}


def picture(shade: int = 0) -> np.ndarray:
    """64 x 48 with a colour in each corner, darker by so much."""
    pixels = np.zeros((48, 64, 3), np.uint8)
    for name, (row, column) in CORNERS.items():
        pixels[24 * row : 24 * row + 24, 32 * column : 32 * column + 32] = COLORS[name]
    return np.maximum(pixels.astype(int) - shade, 0).astype(np.uint8)


def write_clip(path: Path, times_ms: list[int], *, aspect: Fraction | None = None, shift: int = 0) -> Path:
    """Frames with these times, each darker than the one before; the index first, so that a cut file opens."""
    with av.open(str(path), "w", options={"movflags": "faststart"} if path.suffix == ".mp4" else {}) as container:
        stream: Any = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv444p"
        stream.options = {"crf": "2", "bf": "0", "g": "4"}
        stream.codec_context.time_base = Fraction(1, 1000)
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        for k, time in enumerate(times_ms):
            frame = av.VideoFrame.from_ndarray(picture(4 * k), format="rgb24")
            frame.pts, frame.time_base = time + shift, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def turned(path: Path, matrix: tuple[int, int, int, int]) -> Path:
    """The same clip whose track header says how it lies: a, b, c, d of ISO/IEC 14496-12."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    a, b, c, d = (value << 16 for value in matrix)
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    out = path.with_name("turned.mp4")
    out.write_bytes(data)
    return out


def corner_names(pixels: torch.Tensor) -> list[str]:
    """Colours at top left, top right, bottom left, bottom right."""
    found = []
    for row in (4, -5):
        for column in (4, -5):
            color = pixels[:, row, column].tolist()
            found.append(
                min(COLORS, key=lambda name: sum(abs(a - b) for a, b in zip(COLORS[name], color, strict=True)))
            )
    return found


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clips") / "me.mp4", [0, 40, 80, 200, 240, 600, 640, 680], shift=500)


def test_frames_come_with_their_own_times(clip: Path) -> None:
    """The rate varies, and the file's clock does not start at zero."""
    frames = list(read_frames(clip))
    assert [frame.number for frame in frames] == list(range(8))
    assert [frame.time_s for frame in frames] == pytest.approx([0, 0.04, 0.08, 0.2, 0.24, 0.6, 0.64, 0.68], abs=2e-3)
    for k, frame in enumerate(frames):
        difference = frame.photo.pixels.permute(1, 2, 0).int() - torch.from_numpy(picture(4 * k)).int()
        assert float(difference.abs().float().mean()) < 2.0
    facts = clip_facts(clip)
    assert (facts.width, facts.height, facts.frames) == (64, 48, 8)
    assert is_clip(clip)
    assert not is_clip("me.jpg")


@pytest.mark.parametrize(
    ("limits", "numbers"),
    [({"apart_s": 0.1}, [0, 3, 5]), ({"start_s": 0.2, "end_s": 0.62}, [3, 4, 5]), ({"end_s": 0.0}, [])],
)
def test_parts_of_a_clip(clip: Path, limits: dict[str, Any], numbers: list[int]) -> None:
    assert [frame.number for frame in read_frames(clip, **limits)] == numbers


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        ((0, 1, -1, 0), ["blue", "red", "white", "green"]),  # a phone held upright: a quarter clockwise
        ((-1, 0, 0, -1), ["white", "blue", "green", "red"]),
        ((0, -1, 1, 0), ["green", "white", "red", "blue"]),
        ((-1, 0, 0, 1), ["green", "red", "white", "blue"]),  # a mirror
    ],
)
def test_clips_are_turned_as_they_say(clip: Path, matrix: tuple[int, int, int, int], expected: list[str]) -> None:
    path = turned(clip, matrix)
    photo = next(read_frames(path)).photo
    assert corner_names(photo.pixels) == expected
    assert (photo.width, photo.height) == ((48, 64) if matrix[0] == 0 else (64, 48))
    assert (clip_facts(path).width, clip_facts(path).height) == (photo.width, photo.height)


def test_pixels_become_square(tmp_path: Path) -> None:
    frame = next(read_frames(write_clip(tmp_path / "wide.mp4", [0, 40], aspect=Fraction(2, 1))))
    assert (frame.photo.width, frame.photo.height) == (128, 48)
    assert corner_names(frame.photo.pixels) == ["red", "green", "blue", "white"]


def test_a_clip_that_was_cut_gives_what_it_has_and_says_so(clip: Path, tmp_path: Path) -> None:
    data = clip.read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(data[: -len(data) // 5])
    found = []
    with pytest.raises(ClipError, match=r"expected 8 frames.*cut short; copy it again"):
        found += [frame.number for frame in _into(found, cut)]
    assert 0 < len(found) < 8


def _into(found: list[int], path: Path) -> list[Any]:
    for frame in read_frames(path):
        found.append(frame.number)
    return []


def _without_packets(data: bytes) -> bytes:
    start = data.index(b"mdat") + 4
    return data[:start] + bytes(len(data) - start)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda data: b"", r"the empty file .* \(0 bytes\); copy it again"),
        (lambda data: b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", "received another file or a damaged one"),
        (lambda data: data[:100], "expected a clip .*received"),
        (lambda data: b"no clip at all" * 99, "received another file or a damaged one"),
        (_without_packets, "none of whose|without"),
    ],
)
def test_other_files_are_refused(clip: Path, tmp_path: Path, spoil: Callable[[bytes], bytes], message: str) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(spoil(clip.read_bytes()))
    with pytest.raises(ClipError, match=message):
        list(read_frames(path))


def test_places_without_a_clip_are_named(clip: Path, tmp_path: Path) -> None:
    with pytest.raises(ClipError, match="found nothing at"):
        list(read_frames(tmp_path / "none.mp4"))
    with pytest.raises(ClipError, match="the folder"):
        list(read_frames(tmp_path))
    with pytest.raises(ClipError, match=r"at most 3000 pixels .* received 64 x 48"):
        clip_facts(clip, max_pixels=3000)


def test_a_damaged_packet_costs_its_frames_alone(clip: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = bytearray(clip.read_bytes())
    with av.open(str(clip)) as container:
        fourth = [packet for packet in container.demux(video=0) if packet.size][4]  # starts a group of pictures
        data[fourth.pos : fourth.pos + fourth.size] = bytes(fourth.size)
    path = tmp_path / "hurt.mp4"
    path.write_bytes(data)
    with caplog.at_level(logging.WARNING):
        times = [frame.time_s for frame in read_frames(path)]
    assert times[:4] == pytest.approx([0, 0.04, 0.08, 0.2], abs=2e-3)
    assert "packets are damaged" in caplog.text


def test_without_pyav_the_message_says_how_to_get_it(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'facewright\[video\]'"):
        list(read_frames(clip))
