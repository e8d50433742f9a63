"""``facewright reconstruct`` on what people really have: each bad input is named, and costs the others nothing."""

import json
import os
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from facewright.assets import embedded_path
from facewright.cli.reconstruct import MOST_MEGAPIXELS
from facewright.morphable.container import load_face_model, save_face_model
from facewright.morphable.linear import FaceModel
from facewright.regress.rnet import RNet
from facewright.regress.weights import WeightsCard, save_weights
from tests.cli.conftest import Outcome, Run

PORTRAIT = embedded_path("photos/astronaut.jpg")


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """Options of a run that spends no time on the fit: an untrained network answers with the mean face."""
    weights = tmp_path_factory.mktemp("weights") / "untrained.safetensors"
    head = load_face_model("open")
    card = WeightsCard(head.name, face_model_edition=head.edition)
    save_weights(RNet(head.layout, architecture="resnet18", width=0.0625), card, weights)
    return ("reconstruct", "--method", "rnet", "--weights", str(weights))


def document(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def results_of(out: Path) -> dict[str, dict[str, Any]]:
    return {Path(result["input"]).name: result for result in document(out / "report.json")["results"]}


def png(width: int, height: int, bits: int = 8) -> bytes:
    """A PNG of a size that its few pixels do not have."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, bits, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1 + 3 * min(width, 100)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


BAD_FILES: dict[str, tuple[bytes, str, str]] = {
    "empty.jpg": (b"", "PhotoError", "empty"),
    "truncated.jpg": (PORTRAIT.read_bytes()[:20_000], "PhotoError", "truncated"),
    "text.jpg": (b"Dear Sir or Madam,\n" * 100, "PhotoError", "received something else"),
    "nothing.png": (png(0, 0), "PhotoError", "expected"),
    "huge.png": (png(30_000, 30_000), "PhotoError", "30000 x 30000"),
    "short.png": (png(500, 500), "PhotoError", "truncated"),
    "phone.heic": (b"\0\0\0\x18ftypheic" + bytes(100), "PhotoError", "export it as JPEG"),
    "document.pdf": (b"%PDF-1.7\n%" + bytes(200), "PhotoError", "received something else"),
}


def test_one_run_over_a_dozen_bad_inputs_and_a_good_one(run: Run, quick: tuple[str, ...], tmp_path: Path) -> None:
    inputs, out = tmp_path / "in", tmp_path / "out"
    inputs.mkdir()
    for name, (content, _, _) in BAD_FILES.items():
        (inputs / name).write_bytes(content)
    Image.new("RGB", (300, 200), (90, 120, 90)).save(inputs / "meadow.png")
    (inputs / "album").mkdir()
    bad = {name: (kind, word) for name, (_, kind, word) in BAD_FILES.items()} | {
        "meadow.png": ("NoFaceFoundError", "expected a face"),
        "album": ("PhotoError", "found none"),
        "absent.jpg": ("PhotoError", "found nothing"),
        "n" * 300: ("PhotoError", "too long"),
    }
    paths = [inputs / name for name in bad]
    done = run(*quick, *paths[:6], PORTRAIT, *paths[6:], "--out", out, "--formats", "json")
    assert done.code == 1
    results = results_of(out)
    assert list(results) == [*list(bad)[:6], PORTRAIT.name, *list(bad)[6:]]
    assert results[PORTRAIT.name]["status"] == "done"
    for name, (kind, word) in bad.items():
        assert results[name]["status"] == "failed"
        assert results[name]["error"].startswith(f"{kind}: "), results[name]["error"]
        assert word in results[name]["error"]
        assert results[name]["outputs"] == []
        (line,) = [line for line in done.err.splitlines() if name in line.partition(": ")[0]]
        assert results[name]["error"] in line
    assert "Traceback" not in done.err
    assert (document(out / "report.json")["done"], document(out / "report.json")["failed"]) == (1, len(bad))
    assert sorted(path.name for path in out.iterdir()) == ["astronaut.json", "report.html", "report.json"]


def test_a_huge_picture_costs_no_time_and_the_limit_is_an_option(
    run: Run, quick: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "huge.png").write_bytes(png(30_000, 30_000))
    start = time.process_time()
    assert run(*quick, tmp_path / "huge.png", "--out", tmp_path / "a", "--formats", "json").code == 1
    assert time.process_time() - start < 2.0  # decoding 900 megapixels takes longer than that
    limit = ("--max-megapixels", "0.2")
    failed = run(*quick, PORTRAIT, "--out", tmp_path / "b", "--formats", "json", *limit)
    assert failed.code == 1
    assert "at most 200000 pixels" in failed.err
    assert "512 x 512" in failed.err
    # A wide panorama is a matter of pixels, too: no other limit is hidden behind the option.
    Image.new("RGB", (21_000, 20)).save(tmp_path / "wide.png")
    assert "NoFaceFoundError" in run(*quick, tmp_path / "wide.png", "--out", tmp_path / "c", "--formats", "json").err


def test_every_kind_of_picture_gives_the_same_face(run: Run, quick: tuple[str, ...], tmp_path: Path) -> None:
    """Grey, 16-bit, CMYK, palette, transparent, animated, turned by EXIF: the landmarks are the plain photo's."""
    inputs = tmp_path / "in"
    inputs.mkdir()
    with Image.open(PORTRAIT) as opened:
        plain = opened.convert("RGB")
    plain.save(inputs / "plain.png")
    plain.convert("L").save(inputs / "grey.png")
    sixteen = np.asarray(plain.convert("L")).astype(np.uint16) * 257
    Image.fromarray(sixteen).save(inputs / "sixteen.png")
    plain.convert("CMYK").save(inputs / "print.tif")
    plain.quantize(64).save(inputs / "palette.png")
    transparent = plain.convert("RGBA")
    transparent.putalpha(Image.fromarray(np.where(np.arange(512) < 60, 0, 255).astype(np.uint8)[None].repeat(512, 0)))
    transparent.save(inputs / "transparent.webp", lossless=True)
    plain.save(inputs / "animated.gif", save_all=True, append_images=[Image.new("RGB", plain.size)], duration=100)
    exact = {"grey.png", "print.tif", "transparent.webp"}
    for orientation, turn in ((3, Image.Transpose.ROTATE_180), (6, Image.Transpose.ROTATE_90), (8, 4)):
        exif = Image.Exif()
        exif[0x0112] = orientation
        name = f"turned{orientation}.png"
        plain.transpose(Image.Transpose(turn)).save(inputs / name, exif=exif)
        exact.add(name)
    done = run(*quick, inputs, "--out", tmp_path / "out", "--formats", "json")
    assert (done.code, len(results_of(tmp_path / "out"))) == (0, 10)
    faces = {
        path.stem: document(path)["faces"][0] for path in (tmp_path / "out").glob("*.json") if "report" not in path.name
    }
    expected = np.array(faces["plain"]["landmarks_68"])
    for name in exact - {"grey.png", "transparent.webp"}:
        face = faces[name.split(".")[0]]
        np.testing.assert_allclose(face["landmarks_68"], expected, atol=0.02, err_msg=name)
    for name, face in faces.items():
        size = np.ptp(np.array(face["box"])[[0, 2]])
        assert np.linalg.norm(np.array(face["landmarks_68"]) - expected, axis=1).mean() < 0.03 * size, name


ODD_NAMES = (
    "with space.jpg",
    "ünï-脸.jpg",
    "a#b%20.jpg",
    "quote\"'.jpg",
    "new\nline.jpg",
    "-dash.jpg",
    "nosuffix",
    ".hidden.jpg",
    "[red]rich[/].jpg".replace("/", ""),
    "a;b$(c)|d*?.jpg",
    "report.jpg",
    "same.png",
    "same.jpg",
    "Same.jpeg",
    "pair_0.jpg",
    "pair.jpg",
)


def test_odd_names_are_only_names(
    run: Run, quick: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs, out = tmp_path / "in", tmp_path / "out"
    inputs.mkdir()
    points = tmp_path / "points"  # given, they spare the search for sixteen faces
    points.mkdir()
    for name in ODD_NAMES:
        (inputs / name).write_bytes(PORTRAIT.read_bytes())
        (points / f"{Path(name).stem}.txt").write_text("203 101\n246 103\n224 127\n202 140\n245 141\n")
    monkeypatch.chdir(inputs)
    done = run(*quick, "--out", out, "--formats", "json", "--landmarks", points, "--", *ODD_NAMES)
    assert done.code == 0, done.err
    results = results_of(out)
    assert list(results) == list(ODD_NAMES)
    outputs = [name for result in results.values() for name in result["outputs"]]
    assert len({name.casefold() for name in outputs}) == len(ODD_NAMES)
    assert sorted([*outputs, "report.html", "report.json"]) == sorted(path.name for path in out.iterdir())
    for name, result in results.items():
        assert document(out / result["outputs"][0])["photo"]["path"] == name
    assert results["with space.jpg"]["outputs"] == ["with space.json"]
    assert results["same.jpg"]["outputs"] == ["same-jpg.json"]
    assert results["report.jpg"]["outputs"] == ["report-jpg.json"]
    assert results["pair.jpg"]["outputs"] == ["pair-jpg.json"]  # pair_0.json could be the first of its faces


def test_photos_of_one_name_do_not_share_points(run: Run, quick: tuple[str, ...], tmp_path: Path) -> None:
    points, out = tmp_path / "points", tmp_path / "out"
    for folder in ("anna", "bert", "points"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "1.jpg").write_bytes(PORTRAIT.read_bytes())
    (points / "1.txt").write_text("203 101\n246 103\n224 127\n202 140\n245 141\n")
    photos = (tmp_path / "anna" / "1.jpg", tmp_path / "bert" / "1.jpg")
    failed = run(*quick, *photos, "--landmarks", points, "--out", out, "--formats", "json", "--quiet")
    assert failed.code == 1
    lines = failed.err.splitlines()
    assert len(lines) == 2
    assert all("points of its own" in line and all(str(photo) in line for photo in photos) for line in lines)
    alone = run(*quick, photos[0], "--landmarks", points, "--out", out, "--formats", "json", "--quiet")
    assert (alone.code, alone.err) == (0, "")
    for folder in ("anna", "bert"):
        (points / folder).mkdir()
        (points / folder / "1.txt").write_text((points / "1.txt").read_text())
    assert run(*quick, *photos, "--landmarks", points, "--out", out, "--formats", "json").code == 0


@pytest.mark.skipif(sys.platform != "linux", reason="file names are any bytes on Linux alone")
def test_a_name_that_is_no_text_is_written_in_every_format(run: Run, quick: tuple[str, ...], tmp_path: Path) -> None:
    path = os.fsdecode(os.path.join(os.fsencode(tmp_path), b"caf\xe9 [red]#\n.jpg"))
    Path(path).write_bytes(PORTRAIT.read_bytes())
    done = run(*quick, path, "--out", tmp_path / "out", "--texture-size", "64")
    assert done.code == 0, done.err
    assert "caf\\udce9 [red]#" in done.out
    (result,) = document(tmp_path / "out" / "report.json")["results"]
    assert result["input"] == path
    assert len(result["outputs"]) == 10
    assert all((tmp_path / "out" / name).stat().st_size for name in result["outputs"])


def test_folders_are_searched_for_pictures_alone(run: Run, quick: tuple[str, ...], tmp_path: Path) -> None:
    inputs = tmp_path / "in"
    (inputs / "deeper").mkdir(parents=True)
    for name in ("b.jpg", "A.JPG", "deeper/c.jpg"):
        (inputs / name).write_bytes(PORTRAIT.read_bytes())
    (inputs / "notes.txt").write_text("not a picture")
    (inputs / "._b.jpg").write_bytes(b"\0\5\x16\7 what a Mac leaves beside b.jpg")
    done = run(*quick, inputs, "--out", tmp_path / "out", "--formats", "json", "--quiet")
    assert (done.code, done.out, done.err) == (0, "", "")
    assert list(results_of(tmp_path / "out")) == ["A.JPG", "b.jpg"]


@pytest.mark.parametrize("where", ["a file", "below a file", "a folder that cannot be"])
def test_an_unwritable_folder_is_said_before_the_work(
    run: Run, quick: tuple[str, ...], tmp_path: Path, where: str
) -> None:
    (tmp_path / "file").write_text("mine")
    out = {"a file": tmp_path / "file", "below a file": tmp_path / "file" / "out"}.get(where, Path("/proc/none/out"))
    failed = run(*quick, tmp_path / "never-opened.jpg", "--out", out)
    assert failed.code == 2
    assert failed.err.strip().startswith("ExportError: cannot write")
    assert "choose another --out" in failed.err
    assert "never-opened" not in failed.err
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("damage", ["nan", "shape", "cut", "text"])
def test_a_malformed_face_model_is_a_wrong_command(run: Run, toy_model: FaceModel, tmp_path: Path, damage: str) -> None:
    path = tmp_path / "model.npz"
    save_face_model(toy_model, path)
    with np.load(path) as archive:
        arrays = dict(archive)
    if damage == "nan":
        arrays["mean_shape"][3, 1] = np.nan
    elif damage == "shape":
        arrays["id_basis"] = arrays["id_basis"][:-1]
    np.savez(path, **arrays)
    content = path.read_bytes()
    path.write_bytes({"cut": content[: len(content) // 2], "text": b"mean_shape = 1"}.get(damage, content))
    failed = run("reconstruct", PORTRAIT, "--face-model", path, "--out", tmp_path / "out")
    assert failed.code == 2
    assert failed.err.startswith("FaceModelError:")
    assert "model.npz" in failed.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ((), "at least one photo"),
        ((PORTRAIT, "--formats", "bmp"), "bmp"),
        ((PORTRAIT, "--formats"), "--formats"),
        ((PORTRAIT, "--device", "meta"), "'meta'"),
        ((PORTRAIT, "--device", "toaster"), "'toaster'"),
        ((PORTRAIT, "--texture-size", "0"), "--texture-size"),
        ((PORTRAIT, "--texture-size", "100000"), "--texture-size"),
        ((PORTRAIT, "--max-megapixels", "nan"), "--max-megapixels"),
        ((PORTRAIT, "--max-megapixels", str(2 * MOST_MEGAPIXELS)), "--max-megapixels"),
        ((PORTRAIT, "--refine", "-1"), "--refine"),
        ((PORTRAIT, "--no-such-option"), "--no-such-option"),
    ],
)
def test_a_wrong_command_does_nothing(run: Run, tmp_path: Path, arguments: tuple[str | Path, ...], word: str) -> None:
    failed = run("reconstruct", *arguments, "--out", tmp_path / "out")
    assert failed.code == 2
    assert word in failed.err
    assert "Traceback" not in failed.err
    assert not (tmp_path / "out").exists()


def test_the_program_itself(tmp_path: Path) -> None:
    """Once as a program of its own: a user's mistake is one line and code 2, whatever the terminal can show."""
    command = [sys.executable, "-m", "facewright", "model", "info", str(tmp_path / "脸.npz")]
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)
    assert Outcome(done.returncode, done.stdout, "").code == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert "AssetNotFoundError" in done.stderr
    assert "\\u8138.npz" in done.stderr
