"""A face that moves: the animation in a GLB, the table of a capture, a film's times and sound."""

import csv
import io
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from facewright.errors import ExportError
from facewright.export.capture import ARKIT_NAMES, COLUMNS, capture_bytes, timecode
from facewright.export.film import Film, write_film
from facewright.export.glb import moving_glb_bytes
from facewright.export.moving import FaceMotion, MovingFace
from facewright.geometry.rotations import rotation_from_angles
from facewright.photo.frames import read_frames, sound_of
from facewright.records import Camera, MeshAsset
from tests.export.test_glb import read_accessor, read_glb

CAMERA = Camera(torch.tensor([500.0]), torch.tensor([159.5]), torch.tensor([119.5]), 320, 240)


def motion_of(names: tuple[str, ...]) -> FaceMotion:
    """Five frames at uneven times; the head turns round by more than a half."""
    angles = torch.tensor([[0.1, -0.2, 0.8 * k] for k in range(5)])
    weights = torch.linspace(0.0, 1.0, 5 * len(names)).view(5, len(names))
    moves = torch.arange(15.0).view(5, 3) / 10.0
    return FaceMotion(
        torch.tensor([0.0, 0.033, 0.1, 0.2, 0.25]), rotation_from_angles(angles), moves, weights, names, CAMERA
    )


def test_node_and_weights_move_at_the_frames_times(asset: MeshAsset, tmp_path: Path) -> None:
    names = tuple(asset.morph_targets)
    motion, path = motion_of(names), tmp_path / "face.glb"
    path.write_bytes(moving_glb_bytes(MovingFace(asset, motion)))
    tree, binary = read_glb(path)
    (animation,) = tree["animations"]
    keys = {}
    for channel in animation["channels"]:
        assert channel["target"]["node"] == 0
        sampler = animation["samplers"][channel["sampler"]]
        times = tree["accessors"][sampler["input"]]
        np.testing.assert_allclose(read_accessor(tree, binary, sampler["input"])[:, 0], motion.times_s)
        assert (times["min"], times["max"]) == ([0.0], [pytest.approx(0.25)])
        view = tree["bufferViews"][tree["accessors"][sampler["output"]]["bufferView"]]
        start, count = view["byteOffset"], view["byteLength"] // 4
        keys[channel["target"]["path"]] = np.frombuffer(binary, "<f4", count, start)
    assert set(keys) == {"rotation", "translation", "weights"}
    turns = keys["rotation"].reshape(5, 4)
    np.testing.assert_allclose(Rotation.from_quat(turns).as_matrix(), motion.rotations, atol=1e-6)
    assert (np.sum(turns[1:] * turns[:-1], 1) > 0).all()  # straight lines between keys take the shorter way
    np.testing.assert_allclose(keys["translation"].reshape(5, 3), 0.1 * motion.translations, atol=1e-6)  # metres
    np.testing.assert_allclose(keys["weights"].reshape(5, -1), motion.weights, atol=1e-6)
    assert tree["meshes"][0]["extras"]["targetNames"] == list(names)
    lens = tree["cameras"][0]["perspective"]
    assert np.tan(lens["yfov"] / 2) * 500.0 == pytest.approx(120.0)
    assert tree["nodes"][1] == {"name": "camera", "camera": 0, "translation": [0.0, 0.0, 1.0]}
    for wrong in (replace(motion, names=(*names[:-1], "x")), replace(motion, times_s=motion.times_s.flip(0))):
        with pytest.raises(ExportError):
            moving_glb_bytes(MovingFace(asset, wrong))


def test_a_capture_has_the_columns_of_phones() -> None:
    motion = motion_of(("mouthSmileLeft", "jawOpen"))
    rows = list(csv.reader(io.StringIO(capture_bytes(motion).decode())))
    assert rows[0] == list(COLUMNS)
    assert rows[0][:3] == ["Timecode", "BlendshapeCount", "EyeBlinkLeft"]
    assert rows[0][53:57] == ["TongueOut", "HeadYaw", "HeadPitch", "HeadRoll"]
    assert (len(set(ARKIT_NAMES)), len(COLUMNS), rows[1][1]) == (52, 63, "61")
    last = dict(zip(rows[0], rows[5], strict=True))
    assert float(last["JawOpen"]) == pytest.approx(1.0)
    assert float(last["MouthSmileLeft"]) == pytest.approx(8 / 9)
    assert [float(last[f"Head{turn}"]) for turn in ("Yaw", "Pitch")] == pytest.approx([-0.2, 0.1], abs=1e-6)
    assert last["Timecode"] == "00:00:00:15.000"
    assert timecode(3661.5) == "01:01:01:30.000"
    with pytest.raises(ExportError, match="ARKit"):
        capture_bytes(replace(motion, names=("one", "two")))


def test_a_film_has_its_frames_times_and_the_other_clips_sound(tmp_path: Path) -> None:
    av: Any = pytest.importorskip("av")
    source = tmp_path / "source.mp4"
    with av.open(str(source), "w") as container:
        sound = container.add_stream("aac", rate=16_000, layout="mono")
        pictures = container.add_stream("libx264", rate=25)
        pictures.width, pictures.height, pictures.pix_fmt = 32, 32, "yuv420p"
        for k in range(10):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 20 * k, np.uint8), format="rgb24")
            container.mux(pictures.encode(frame))
        tone = (8000 * np.sin(np.arange(6400) / 5.0)).astype(np.int16)[None]
        heard = av.AudioFrame.from_ndarray(tone, format="s16", layout="mono")
        heard.sample_rate, heard.time_base, heard.pts = 16_000, Fraction(1, 16_000), 0
        container.mux([*sound.encode(heard), *sound.encode(None), *pictures.encode()])
    times = [0.0, 0.04, 0.11, 0.3]
    write_film(
        Film(((torch.full((3, 33, 31), 51 * k, dtype=torch.uint8), t) for k, t in enumerate(times)), source),
        tmp_path / "out.mp4",
    )
    frames = list(read_frames(tmp_path / "out.mp4"))
    assert [frame.time_s for frame in frames] == pytest.approx(times, abs=1e-4)
    assert (frames[0].photo.width, frames[0].photo.height) == (30, 32)
    assert [float(frame.photo.srgb.mean()) for frame in frames] == pytest.approx([0.0, 0.2, 0.4, 0.6], abs=0.02)
    with sound_of(source) as before, sound_of(tmp_path / "out.mp4") as after:
        assert before is not None
        assert after is not None
        assert [bytes(packet) for packet in before[1]] == [bytes(packet) for packet in after[1]]
    with sound_of(tmp_path / "out.mp4") as after:
        assert after is not None
    with pytest.raises(ExportError, match="none"):
        write_film(Film(()), tmp_path / "empty.mp4")
