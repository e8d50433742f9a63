"""Clips as albums: which frames are taken, what they are called, what a clip that cannot be read costs."""

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from facewright.cli import main
from facewright.errors import NoFaceFoundError
from facewright.photo import read_photo
from facewright.photo.frames import read_frames
from facewright.pipeline.album import AlbumOptions, Weighing, reconstruct_album
from facewright.pipeline.album.clips import chosen_frames
from facewright.pipeline.album.flow import OBSERVATIONS
from tests.pipeline.albums import draw, known_flow, photos_of, recognised

av = pytest.importorskip("av")
SHOTS, LENGTH = 3, 4  # turns of the head, frames of each
OPTIONS = AlbumOptions(("ply",), texture_px=64, sheet=False, frames=SHOTS)


@pytest.fixture(scope="module")
def faces(toy_model):
    return photos_of(toy_model, (0.0, 35.0, -35.0))


@pytest.fixture(scope="module")
def clip(toy_model, faces, tmp_path_factory):
    """Three turns of one head, four frames each, of which one is sharp; then a wall."""
    folder = tmp_path_factory.mktemp("clip")
    shots = [read_photo(draw(toy_model, face, folder / f"{k}.png")).pixels for k, face in enumerate(faces)]
    with av.open(str(folder / "me.mp4"), "w", options={"movflags": "faststart"}) as container:
        stream: Any = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt, stream.options = 224, 224, "yuv444p", {"crf": "4", "bf": "0"}
        stream.codec_context.time_base = Fraction(1, 25)
        for k in range(SHOTS * LENGTH):
            pixels = shots[k // LENGTH]
            if k % LENGTH != 2:
                pixels = torch.nn.functional.avg_pool2d(pixels[None].float(), 9, 1, 4)[0].byte()
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels.permute(1, 2, 0).numpy()), format="rgb24")
            frame.pts, frame.time_base = k, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return folder / "me.mp4"


@pytest.fixture
def flow(toy_model, faces):
    times = (f"frame_{k / 25:09.3f}s.png" for k in range(SHOTS * LENGTH))
    return known_flow(toy_model, {name: [faces[k // LENGTH]] for k, name in enumerate(times)})


def test_frames_that_are_taken_are_sharp_and_differ(clip, tmp_path):
    chosen, problem = chosen_frames(clip, SHOTS)
    assert problem == ""
    assert sorted(number // LENGTH for number in chosen) == [0, 1, 2]
    assert {2, 6, 10} & chosen
    alone, _ = chosen_frames(clip, 1)
    assert next(iter(alone)) % LENGTH == 2
    assert len(chosen_frames(clip, 100)[0]) == SHOTS * LENGTH
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(clip.read_bytes()[:-2000])
    some, problem = chosen_frames(cut, 100)
    assert "cut short" in problem
    assert 0 < len(some) < SHOTS * LENGTH


def test_a_clip_is_an_album(clip, flow, tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"no clip")
    told = []

    def stop(path):
        told.append(path)
        if len(told) == 2:
            raise KeyboardInterrupt

    paths = [clip, tmp_path / "broken.mp4"]
    with pytest.raises(KeyboardInterrupt):
        reconstruct_album(
            paths, tmp_path / "out", flow, Weighing(), options=OPTIONS, recognise=recognised, on_photo=stop
        )
    assert len(list((tmp_path / "out" / OBSERVATIONS).glob("clip-*/*.png"))) == SHOTS
    asked = len(flow.asked)
    report = reconstruct_album(
        paths, tmp_path / "out", flow, Weighing(), options=OPTIONS, recognise=recognised, resume=True
    )
    assert len(flow.asked) - asked == 1  # the frames that were looked at are not looked at again
    assert report.people == 1
    used = [verdict for verdict in report.verdicts if verdict.status == "used"]
    assert len(used) == SHOTS
    for verdict in used:
        assert verdict.photo.startswith(f"{clip}@")
        assert verdict.photo.endswith("s")
    assert [(verdict.photo, verdict.status) for verdict in report.failed] == [(str(paths[1]), "failed")]
    assert "received another file or a damaged one" in report.failed[0].reason
    assert not (tmp_path / "out" / OBSERVATIONS).exists()
    assert sum(verdict.weight or 0.0 for verdict in used) == pytest.approx(1.0, abs=1e-3)


def test_frames_without_a_face_are_no_failure(toy_model, faces, clip, tmp_path):
    known = {f"frame_{k / 25:09.3f}s.png": [faces[0]] for k in range(LENGTH)}
    run = {"options": OPTIONS, "recognise": recognised}
    report = reconstruct_album([clip], tmp_path / "out", known_flow(toy_model, known), Weighing(), **run)
    assert report.failed == []
    assert sorted(verdict.status for verdict in report.verdicts) == ["doubtful", "doubtful", "used"]
    with pytest.raises(NoFaceFoundError, match=r"in at least one of 3 photos, found none: .*no face in .*me\.mp4@"):
        reconstruct_album([clip], tmp_path / "none", known_flow(toy_model, {}), Weighing(), **run)


def test_pictures_of_frames_are_the_frames(clip, flow, tmp_path):
    options = replace(OPTIONS, frames=1)
    kept = {}

    def look(path):
        kept[path.name] = read_photo(path).pixels

    reconstruct_album([clip], tmp_path, flow, Weighing(), options=options, recognise=recognised, on_photo=look)
    ((name, pixels),) = kept.items()
    same = [frame for frame in read_frames(clip) if f"frame_{frame.time_s:09.3f}s.png" == name]
    assert pixels.equal(same[0].photo.pixels)


def test_frames_are_of_clips(tmp_path, capsys):
    assert main(["reconstruct", "me.jpg", "--album", "--out", str(tmp_path / "o"), "--frames", "5"]) == 2
    assert "--frames only with --album and a clip" in capsys.readouterr().err
