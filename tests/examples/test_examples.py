"""Every example runs, and does what its page says; the pages are those of the examples."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch
import trimesh
from PIL import Image

from facewright.apps.edited_files import write_edited
from facewright.assets import embedded_path
from facewright.morphable.container import load_face_model
from facewright.morphable.sample import sample_coefficients

ROOT = Path(__file__).resolve().parents[2]


def imported(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def example(number: str) -> ModuleType:
    (path,) = (ROOT / "examples").glob(f"{number}_*.py")
    return imported(path)


def picture_size(path: Path) -> tuple[int, int]:
    with Image.open(path) as picture:
        return picture.size


@pytest.mark.slow
def test_01_reconstructs_a_photo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    example("01").main(out=tmp_path)
    assert "yaw" in capsys.readouterr().out
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".glb", ".png"}
    example("02").main(face=tmp_path / "astronaut.json", out=tmp_path)
    assert (tmp_path / "smile.glb").exists()


def test_02_gives_a_face_other_expressions(tmp_path: Path) -> None:
    model = load_face_model("open")
    write_edited(tmp_path / "face.json", model, sample_coefficients(model, torch.Generator().manual_seed(2)))
    edit = example("02")
    edit.main(face=tmp_path / "face.json", out=tmp_path)
    assert picture_size(tmp_path / "expressions.png")[0] > 5 * 256
    smile = edit.named_expression(model, edit.EXPRESSIONS["smile"])
    assert smile.count_nonzero() == 4
    assert model.annotations.ibug68 is not None
    corners = model.annotations.ibug68[[48, 54]]
    zeros = model.layout.zeros()
    moved = model.shape(zeros.id, smile)[0, corners] - model.mean_shape[corners]
    assert torch.all(moved[:, 1] > 0)  # the corners of the mouth rise
    assert len(trimesh.load_mesh(tmp_path / "smile.glb").faces) == len(model.faces)


def test_03_draws_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sample = example("03")
    sample.main(count=2, out=tmp_path)
    first = (tmp_path / "people.png").read_bytes()
    assert "2 people" in capsys.readouterr().out
    sample.main(count=2, out=tmp_path)
    assert (tmp_path / "people.png").read_bytes() == first
    sample.main(count=2, seed=5, out=tmp_path)
    assert (tmp_path / "people.png").read_bytes() != first


def test_04_finds_a_light_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    example("04").main(size=48, steps=40, out=tmp_path)
    assert float(capsys.readouterr().out.split()[-1]) < 0.01
    assert picture_size(tmp_path / "lights.png")[0] > 5 * 48


def test_05_fits_to_landmarks_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    example("05").main(out=tmp_path)
    assert float(capsys.readouterr().out.split("off by ")[1].split()[0]) < 2.0
    with Image.open(embedded_path("photos/grace_hopper.jpg")) as photo:
        assert picture_size(tmp_path / "grace_hopper_points.png") == photo.size


@pytest.mark.slow
def test_06_does_many_photos(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    example("06").main(out=tmp_path)
    assert capsys.readouterr().out.count("done, 1 face") == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "astronaut.json", "astronaut.ply", "grace_hopper.json", "grace_hopper.ply", "report.html", "report.json",
    ]  # fmt: skip


def test_07_follows_a_face(capsys: pytest.CaptureFixture[str]) -> None:
    example("07").main(count=5)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[1].split(",")[0] for line in lines] == [
        "found",
        "followed",
        "no face",
        "found",
        "followed",
    ]


def test_every_example_has_a_test() -> None:
    numbers = [path.name[:2] for path in sorted((ROOT / "examples").glob("*.py"))]
    assert numbers == [f"{k:02}" for k in range(1, len(numbers) + 1)]
    tests = Path(__file__).read_text(encoding="utf-8")
    assert all(f"def test_{number}_" in tests for number in numbers)


def test_pages_are_those_of_the_examples() -> None:
    pages = imported(ROOT / "scripts" / "write_example_pages.py").pages()
    folder = ROOT / "docs" / "examples"
    assert {path.name for path in folder.iterdir()} == set(pages)
    for name, content in pages.items():
        assert (folder / name).read_text(encoding="utf-8") == content, f"run scripts/write_example_pages.py: {name}"


@pytest.mark.slow
def test_08_makes_one_face_of_an_album(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    example("08").main(out=tmp_path, count=2, size=240)
    shown = capsys.readouterr().out
    assert "0.png" in shown
    assert "weighed by" in shown
    assert (tmp_path / "album.json").is_file()
    assert list(tmp_path.glob("person*.glb"))
