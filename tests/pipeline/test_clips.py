"""A small clip through the whole flow: two portraits that move, one of which leaves and comes back."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from facewright.assets import embedded_path
from facewright.errors import ClipError, ExportError, NoFaceFoundError, SettingsError
from facewright.export.film import Film, write_film
from facewright.photo import read_photo
from facewright.photo.frames import read_frames
from facewright.pipeline.album.weighing import Weighing
from facewright.pipeline.clip import ClipOptions, ClipReport, reconstruct_clip
from facewright.pipeline.clip import flow as clip_flow
from facewright.pipeline.clip.figures import jitter
from facewright.pipeline.clip.following import is_cut, small_frame
from facewright.pipeline.clip.outputs import lost_frames
from facewright.pipeline.clip.people import Sights, key_frames
from facewright.pipeline.flow import Reconstructor, load_reconstructor
from facewright.pipeline.views import in_bytes
from facewright.untrusted import read_npz

pytest.importorskip("av")
TIMES = [0.0, 0.03, 0.07, 0.1, 0.13, 0.2, 0.23, 0.27, 0.3, 0.35, 0.4, 0.43]
GONE = range(4, 7)
WIDTH, HEIGHT = 420, 240
QUICK = ClipOptions(texture_px=32)


@pytest.fixture(scope="module")
def flow() -> Reconstructor:
    return load_reconstructor(weights="fast", refine=0)


def portrait(name: str, x: int, side: int) -> torch.Tensor:
    """200 px wide."""
    whole = read_photo(embedded_path(f"photos/{name}.jpg")).srgb[None, :, :side, x : x + side]
    return torch.nn.functional.interpolate(whole, size=(200, 200), mode="area")[0]


def draw(path: Path, frames: range = range(len(TIMES)), *, faces: bool = True) -> Path:
    """The astronaut on the left, moving right; the admiral on the right, gone for a while."""
    one, two = (portrait(name, x, side) for name, x, side in (("astronaut", 60, 330), ("grace_hopper", 20, 480)))

    def frame(k: int) -> torch.Tensor:
        picture = torch.full((3, HEIGHT, WIDTH), 0.4)
        if faces:
            picture[:, 20:220, k : k + 200] = one
            if k not in GONE:
                picture[:, 30 : 30 + 200, 215 : 215 + 200] = two
        return picture

    write_film(Film((in_bytes(frame(k)), TIMES[k]) for k in frames), path)
    return path


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw(tmp_path_factory.mktemp("clip") / "two people.mp4")


Run = Callable[..., ClipReport]


@pytest.fixture(scope="module")
def found(flow: Reconstructor, clip: Path, tmp_path_factory: pytest.TempPathFactory) -> ClipReport:
    return reconstruct_clip(clip, tmp_path_factory.mktemp("out"), flow, Weighing(), options=QUICK)


def arrays(report: ClipReport, k: int) -> dict[str, np.ndarray]:
    return read_npz(report.folder / f"{report.people[k]['name']}.npz")


def test_everybody_has_files_frames_and_one_identity(found: ClipReport, clip: Path) -> None:
    names = {path.name for path in found.folder.iterdir()}
    expected = {f"two people_{k}{end}" for k in (1, 2) for end in (".glb", ".csv", ".npz")}
    assert names == {*expected, "two people_overlay.mp4", "clip.json"}
    second, first = found.people  # the larger face first
    assert (first["frames"], second["frames"]) == (12, 8)
    assert (first["lost"], second["lost"]) == ([], [[4, 7]])  # looked for in every second frame
    assert second["shots"] == [{"first": 0, "last": 11}]  # missing for a moment is no new shot
    for k in (0, 1):
        one = arrays(found, k)
        assert one["id"].shape == (1, 80)  # one row for all frames: it cannot drift
        seen = [t for j, t in enumerate(TIMES) if k == 1 or j not in (*GONE, 7)]
        assert one["times_s"] == pytest.approx(seen, abs=1e-4)
        assert (one["exp"] >= 0).all()
        assert (one["exp"] <= 1).all()
        assert found.people[k]["jitter"] < found.people[k]["jitter_frame_by_frame"]
    moved = arrays(found, 1)["landmarks_68"].mean(1)
    assert moved[-1, 0] - moved[0, 0] == pytest.approx(11.0, abs=2.0)
    assert arrays(found, 0)["landmarks_68"].mean(1)[:, 0].min() > 215
    drawn = list(read_frames(found.folder / "two people_overlay.mp4"))
    assert [frame.time_s for frame in drawn] == pytest.approx(TIMES, abs=1e-4)
    plain = [frame.photo.srgb for frame in read_frames(clip)]
    change = [(one.photo.srgb - other).abs().mean(0) for one, other in zip(drawn, plain, strict=True)]
    assert float(change[0][:, 215:].mean()) > 4 * float(change[5][:, 230:].mean())  # drawn on those who are there alone


def test_a_run_that_was_killed_goes_on(
    flow: Reconstructor, clip: Path, tmp_path: Path, found: ClipReport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clip_flow, "FRAMES_A_PART", 4)
    options = replace(QUICK, formats=("npz",))
    looked: list[int] = []
    follow = clip_flow.PeopleTracker.follow

    def dying(self: Any, photo: Any, time_s: float) -> Any:
        looked.append(1)
        if len(looked) == 10:
            raise KeyboardInterrupt
        return follow(self, photo, time_s)

    monkeypatch.setattr(clip_flow.PeopleTracker, "follow", dying)
    with pytest.raises(KeyboardInterrupt):
        reconstruct_clip(clip, tmp_path, flow, Weighing(), options=options)
    report = reconstruct_clip(clip, tmp_path, flow, Weighing(), options=options, resume=True)
    assert len(looked) == 10 + 4  # the parts of four and four frames are kept
    for k in (0, 1):
        for name, value in arrays(found, k).items():
            np.testing.assert_allclose(arrays(report, k)[name], value, atol=1e-4)
    again = reconstruct_clip(clip, tmp_path, flow, Weighing(), options=options, resume=True)
    assert (again.resumed, len(looked)) == (True, 14)
    (tmp_path / "clip.json").write_text('{"mine": 1}')
    with pytest.raises(ExportError, match="ours"):
        reconstruct_clip(clip, tmp_path, flow, Weighing(), options=options)


@pytest.mark.slow
def test_live_frames_do_not_know_of_later_ones(
    flow: Reconstructor, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = replace(QUICK, formats=("npz",), live=True)
    monkeypatch.setattr(clip_flow, "LIVE_FRAMES", 5)
    whole = reconstruct_clip(clip, tmp_path / "a", flow, Weighing(), options=options)
    first = [frame for frame in read_frames(clip) if frame.number < 9]
    monkeypatch.setattr(clip_flow, "read_frames", lambda *_, **__: iter(first))
    part = reconstruct_clip(clip, tmp_path / "b", flow, Weighing(), options=options)
    assert whole.document["lag_frames"] == 1
    one, other = arrays(whole, 1), arrays(part, 1)
    np.testing.assert_array_equal(one["id"], other["id"])
    np.testing.assert_array_equal(one["exp"][:8], other["exp"][:8])
    np.testing.assert_array_equal(one["landmarks_68"][:8], other["landmarks_68"][:8])
    assert not np.array_equal(one["exp"][8], other["exp"][8])


def test_what_is_no_clip_or_shows_nobody_is_named(flow: Reconstructor, tmp_path: Path) -> None:
    empty = draw(tmp_path / "empty.mp4", range(6), faces=False)
    with pytest.raises(NoFaceFoundError, match="frames or more"):
        reconstruct_clip(empty, tmp_path / "out", flow, Weighing(), options=QUICK)
    with pytest.raises(ClipError):
        reconstruct_clip(tmp_path / "absent.mp4", tmp_path / "out", flow, Weighing())
    with pytest.raises(SettingsError):
        reconstruct_clip(empty, tmp_path / "out", load_reconstructor(method="prnet"), Weighing())


def test_key_frames_are_good_and_different() -> None:
    count = 60
    yaw = torch.linspace(-70.0, 70.0, count)
    sharp = torch.full((count,), 0.2).double()
    sharp[[3, 20, 40]] = 0.5
    sights = Sights(
        torch.arange(count).double(),
        torch.arange(count).double() / 10.0,
        torch.full((count,), 0.01).double(),
        sharp,
        yaw.double(),
        torch.full((count,), 500.0).double(),
        torch.zeros(count, 5, 2),
    )
    chosen = [key.frame for key in key_frames(0, sights)]
    assert len(chosen) == 6
    assert {3, 20, 40} <= set(chosen)
    assert len({int(yaw[k] // 10) for k in chosen}) == 6
    assert [key.frame for key in key_frames(0, sights, most=1)] in ([3], [20], [40])


def test_cuts_lost_frames_and_jitter() -> None:
    photo = read_photo(embedded_path("photos/astronaut.jpg"))
    small = small_frame(photo)
    assert not is_cut(small, small_frame(replace(photo, pixels=photo.pixels.roll(20, 2))))
    assert not is_cut(small, 0.8 * small)
    assert is_cut(small, small_frame(replace(photo, pixels=photo.pixels.flip(1))))
    assert lost_frames([0, 1, 4, 5], 8) == [[2, 3], [6, 7]]
    times, still = torch.tensor([0.0, 0.1, 0.15, 0.4]), torch.zeros(4, 68, 2)
    assert jitter(times, still + 3.0 * times[:, None, None], 100.0) == pytest.approx(0.0, abs=1e-7)
    noise = torch.randn(400, 68, 2, generator=torch.Generator().manual_seed(0))
    assert jitter(torch.arange(400.0), noise, 100.0) == pytest.approx(0.01, rel=0.02)
