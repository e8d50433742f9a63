"""What a page shows, below the browser; and in the slow tests the page in Chromium."""

import io
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from facewright.assets import embedded_path
from facewright.cli import main
from facewright.cli import view as view_command
from facewright.errors import CoefficientsError, SettingsError
from facewright.export.npz import npz_bytes
from facewright.export.png import write_png
from facewright.geometry.frames import project_points
from facewright.morphable.container import load_face_model
from facewright.viewer import Shown, load_shown, open_page
from facewright.viewer.shape import LOOKS, Controls, asset_of, changed, mesh_of, vertices_of

CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-unsafe-swiftshader",
]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that ``reconstruct`` wrote."""
    out = tmp_path_factory.mktemp("out")
    photo = str(embedded_path("photos/astronaut.jpg"))
    command = ("reconstruct", photo, "--out", str(out), "--formats", "json", "--weights", "fast", "--refine", "0")
    assert main((*command, "--quiet")) == 0
    return out


@pytest.fixture(scope="module")
def shown(results: Path) -> Shown:
    (one,) = load_shown([results])
    return one


def test_a_folder_of_results_is_shown_in_its_photo_s_camera(results: Path, shown: Shown) -> None:
    (face,) = json.loads((results / "astronaut.json").read_text())["faces"]
    ids = shown.model.annotations.ibug68
    assert ids is not None
    points = project_points(vertices_of(shown, shown.frames[0])[None, ids], shown.camera)[0, :, :2]
    np.testing.assert_allclose(points.numpy(), face["landmarks_68"], atol=0.01)
    picture = shown.picture(0)
    assert picture is not None
    assert picture.shape == (512, 512, 3)
    assert shown.texture is not None
    assert load_shown([results / "astronaut.json"])[0].title == shown.title


def test_sliders_move_vertices_and_colours(shown: Shown) -> None:
    jaw = shown.model.exp_names.index("jawOpen")
    rest = changed(shown, Controls(exp={jaw: 0.0}))
    opened = changed(shown, Controls(exp={jaw: 1.0}, turn=(0.0, 0.5, 0.0), id={2: 1.5}))
    assert (float(opened.exp[0, jaw]), float(opened.id[0, 2])) == (1.0, 1.5)
    torch.testing.assert_close(opened.angles - rest.angles, torch.tensor([[0.0, 0.5, 0.0]]))
    moved = vertices_of(shown, changed(shown, Controls(exp={jaw: 1.0}))) - vertices_of(shown, rest)
    torch.testing.assert_close(moved.norm(dim=-1), shown.model.exp_basis[:, :, jaw].norm(dim=-1), atol=1e-5, rtol=0)
    meshes: list[Any] = [mesh_of(shown, Controls(look=look)) for look in LOOKS]
    assert all(len(mesh.faces) == len(shown.model.faces) for mesh in meshes)
    textured, albedo, normals, _ = meshes
    assert textured.visual.kind == "texture"
    assert not np.array_equal(albedo.visual.vertex_colors, normals.visual.vertex_colors)
    saved = asset_of(shown, Controls(exp={jaw: 1.0}))
    assert saved.morph_weights["jawOpen"] == 1.0
    assert saved.texture is not None


def test_clips_and_albums_are_shown(tmp_path: Path) -> None:
    model = load_face_model("open")
    count = 3
    arrays = {
        "times_s": torch.arange(count) / 10.0,
        "frames": torch.arange(count),
        "id": torch.zeros(1, 80),
        "tex": torch.zeros(1, 60),
        "exp": torch.linspace(0, 1, count)[:, None].expand(count, 52),
        "angles": torch.zeros(count, 3),
        "translation": torch.zeros(count, 3),
        "sh": torch.zeros(count, 9, 3),
        "camera": torch.tensor([400.0, 99.5, 49.5]),
        "size": torch.tensor([200, 100]),
        "distance_dm": torch.tensor(10.0),
    }
    clip = tmp_path / "clip"
    clip.mkdir()
    (clip / "me.npz").write_bytes(npz_bytes(arrays))
    (clip / "clip.json").write_text(json.dumps({"outputs": ["me.npz", "../x.npz"], "clip": "gone.mp4"}))
    (one,) = load_shown([clip])
    assert (len(one.frames), one.times_s[-1], one.camera.width, one.pictures) == (3, pytest.approx(0.2), 200, ())
    assert float(changed(one, Controls(frame=2)).exp.min()) == 1.0
    album = tmp_path / "album"
    album.mkdir()
    write_png(album / "a.png", torch.rand(3, 40, 30))
    person = {"coefficients": {"id": [0.5] * 80, "tex": [0.0] * 60}}
    photos = [
        {"photo": str(album / "a.png"), "weight": 0.25, "status": "used", "person": 1},
        {"photo": "gone.png", "weight": None, "status": "failed", "reason": "not there", "person": None},
    ]
    (album / "album.json").write_text(json.dumps({"people": [person], "photos": photos}))
    (one,) = load_shown([album])
    assert [(name, what, picture is None) for name, what, picture in one.photos] == [
        ("a.png", "25.0%", False),
        ("gone.png", "failed: not there", True),
    ]
    assert model.name == one.model.name


def test_what_shows_nothing_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.npz").write_bytes(npz_bytes({"times_s": torch.zeros(2)}))
    for path in (tmp_path, tmp_path / "me.jpg", tmp_path / "bad.npz"):
        with pytest.raises(CoefficientsError, match="expected"):
            load_shown([path])
    not_finite = io.BytesIO()
    np.savez(not_finite, times_s=np.full(2, np.nan))
    for name, content in {
        "pickle.npz": b"\x80\x04N.",
        "nan.npz": not_finite.getvalue(),
        "cut.json": b'{"faces": [',
        "list.json": b"[1]",
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CoefficientsError, match=f"{name}.*expected"):
            load_shown([tmp_path / name])
    for record, content in {"clip.json": "[]", "album.json": '{"people": [3]}', "report.json": '"done"'}.items():
        folder = tmp_path / Path(record).stem
        folder.mkdir()
        (folder / record).write_text(content)
        with pytest.raises(CoefficientsError, match="expected"):
            load_shown([folder])
    pytest.importorskip("viser")
    with pytest.raises(SettingsError, match="none"):
        open_page([])


def test_the_command_serves_a_page_on_the_loopback(
    results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("viser")
    import urllib.request

    served: list[str] = []

    def looked() -> None:
        url = capsys.readouterr().out.split()[-1]
        assert url.startswith("http://127.0.0.1:")
        served.append(urllib.request.urlopen(url, timeout=20).read(2000).decode(errors="replace"))

    monkeypatch.setattr(view_command, "wait", looked)
    assert main(("view", str(results), "--port", "0")) == 0
    assert "<!doctype html" in served[0].lower()


@pytest.fixture
def page(shown: Shown) -> Iterator[Any]:
    pytest.importorskip("viser")
    served = open_page([shown], port=0)
    yield served
    served.close()


@pytest.mark.slow
def test_the_page_in_chromium(page: Any, tmp_path: Path) -> None:
    """It loads, asks for nothing from outside, has no errors, and a slider moves what is seen; on a phone too."""
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("no chromium here")
    said, asked = [], []
    with playwright.sync_playwright() as play:
        window = play.chromium.launch_persistent_context(
            tmp_path / "user",
            executable_path=CHROMIUM,
            headless=True,
            args=FLAGS,
            viewport={"width": 700, "height": 500},
        )
        tab = window.pages[0]
        tab.on("console", lambda message: said.append((message.type, message.text)))
        tab.on("pageerror", lambda error: said.append(("error", str(error))))
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto(page.url)
        tab.wait_for_selector("canvas", timeout=120_000)

        def picture(name: str) -> np.ndarray:
            time.sleep(12.0)
            tab.screenshot(path=tmp_path / name, timeout=150_000)
            return np.asarray(cv2.imread(str(tmp_path / name))).astype(float)

        before = picture("before.png")
        page.sliders["exp", page.now.model.exp_names.index("jawOpen")].value = 1.0
        after = picture("after.png")
        tab.set_viewport_size({"width": 390, "height": 780})
        phone = picture("phone.png")
        window.close()
    change = np.abs(after - before).max(2)[:, :350]  # beside the sliders
    assert (change > 40).mean() > 0.01, (change > 40).mean()
    assert phone[:300].std() > 10.0
    assert not [entry for entry in said if entry[0] == "error"], said
    assert all(url.startswith((page.url, "blob:", "data:")) for url in asked), asked
