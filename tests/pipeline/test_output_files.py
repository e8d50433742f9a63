"""Files of results: whole or absent whatever happens to the disk, and never one over another."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from facewright.assets import embedded_path
from facewright.detect import load_face_detector
from facewright.errors import ExportError
from facewright.morphable.linear import FaceModel
from facewright.photo import read_photo
from facewright.pipeline.batch import InputReport, output_stems, photo_paths, reconstruct_files
from facewright.pipeline.flow import Reconstruction, Reconstructor
from facewright.pipeline.outputs import ALL_FORMATS, OutputOptions, save_reconstruction, write_outputs
from facewright.regress.rnet import RNet

PORTRAIT = embedded_path("photos/astronaut.jpg")


@pytest.fixture(scope="module")
def reconstructor(toy_model: FaceModel) -> Reconstructor:
    torch.manual_seed(0)
    rnet = RNet(toy_model.layout, architecture="resnet18", width=0.0625, crop_size=64)
    return Reconstructor(toy_model, load_face_detector(), rnet.eval(), weights="untrained.safetensors")


@pytest.fixture(scope="module")
def face(reconstructor: Reconstructor) -> Reconstruction:
    (found,) = reconstructor.faces_in(read_photo(PORTRAIT))
    return found


@pytest.fixture
def break_off_files_at() -> Iterator[Callable[[int | None], None]]:
    """The system itself then ends longer writes half-way, as on a full disk (errno EFBIG instead of ENOSPC)."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(size_bytes: int | None) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, before if size_bytes is None else (size_bytes, before[1]))

    yield limit
    limit(None)


@pytest.mark.parametrize("kind", [kind for kind in ALL_FORMATS if kind != "json"])
def test_a_write_that_breaks_off_leaves_what_was_there(
    face: Reconstruction, tmp_path: Path, break_off_files_at: Callable[[int | None], None], kind: str
) -> None:
    options = OutputOptions((kind,), texture_px=128)  # pyright: ignore[reportArgumentType] - a Format by ALL_FORMATS
    written = write_outputs([face], tmp_path, "me", options)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert set(written) == set(before)
    break_off_files_at(2_000)
    with pytest.raises(ExportError, match=r"cannot write .*me"):
        write_outputs([face], tmp_path, "me", options)
    break_off_files_at(None)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_disk_that_is_full_for_a_while_costs_the_photos_of_that_while(
    reconstructor: Reconstructor, tmp_path: Path, break_off_files_at: Callable[[int | None], None]
) -> None:
    inputs = []
    for name in ("before", "during", "after"):
        inputs.append(tmp_path / "in" / f"{name}.jpg")
        inputs[-1].parent.mkdir(exist_ok=True)
        inputs[-1].write_bytes(PORTRAIT.read_bytes())

    def fill_or_free(report: InputReport) -> None:
        break_off_files_at(20_000 if Path(report.input).stem == "before" else None)

    options = OutputOptions(("glb", "json"), texture_px=128)
    out = tmp_path / "out"
    reports = reconstruct_files(inputs, out, reconstructor, options=options, on_done=fill_or_free)
    assert [report.status for report in reports] == ["done", "failed", "done"]
    assert str(reports[1].error).startswith("ExportError: cannot write")
    assert "free some space" in str(reports[1].error)
    names = {"report.json", "before.glb", "before.json", "after.glb", "after.json"}
    assert {path.name for path in out.iterdir()} == names
    assert json.loads((out / "report.json").read_text())["failed"] == 1


def test_a_report_of_an_earlier_run_is_not_left_to_mislead(
    reconstructor: Reconstructor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in the middle, a run leaves its own report, of what was done so far."""
    (tmp_path / "report.json").write_text('{"done": 7}')
    seen: list[int] = []

    def look(*_: object, **__: object) -> object:
        seen.append(json.loads((tmp_path / "report.json").read_text())["done"])
        raise KeyboardInterrupt

    monkeypatch.setattr(Reconstructor, "faces_in_batch", look)
    with pytest.raises(KeyboardInterrupt):
        reconstruct_files([PORTRAIT], tmp_path, reconstructor)
    assert seen == [0]
    assert json.loads((tmp_path / "report.json").read_text())["results"] == []


@pytest.mark.parametrize(
    ("names", "stems"),
    [
        (["a.jpg", "b.jpg"], ["a", "b"]),
        (["a.jpg", "a.png", "a.png", "A.jpg"], ["a", "a-png", "a-2", "A-jpg"]),
        (["a", "a"], ["a", "a-2"]),
        (["report.jpg", "Report.png"], ["report-jpg", "Report-png"]),
        (["a.jpg", "a_0.jpg", "a_1.png"], ["a", "a_0-jpg", "a_1-png"]),
        (["a_0.jpg", "a_1.jpg", "a.jpg"], ["a_0", "a_1", "a-jpg"]),
        (["frame_1.jpg", "frame_2.jpg", "frame_1.png"], ["frame_1", "frame_2", "frame_1-png"]),
        (["_0.jpg", "x.y.jpg", ".jpg"], ["_0", "x.y", ".jpg"]),
    ],
)
def test_no_two_photos_share_a_file(names: list[str], stems: list[str]) -> None:
    assert output_stems([Path("some") / name for name in names]) == stems
    files = [name.casefold() for stem in stems for name in (stem, f"{stem}_0", f"{stem}_1")]
    assert len(set(files)) == len(files)


def test_folders_become_their_pictures(tmp_path: Path) -> None:
    for name in ("z.jpg", "a.PNG", "._a.png", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "folder.jpg").mkdir()
    assert photo_paths([tmp_path, "absent.jpg"]) == [tmp_path / "a.PNG", tmp_path / "z.jpg", Path("absent.jpg")]
    assert photo_paths([tmp_path / "folder.jpg"]) == [tmp_path / "folder.jpg"]


@pytest.mark.parametrize("suffix", [".glb", ".obj", ".ply", ".stl", ".mat", ".npz", ".json", ".png", ".GLB"])
def test_one_face_to_one_file(face: Reconstruction, tmp_path: Path, suffix: str) -> None:
    save_reconstruction(face, tmp_path / f"me{suffix}", texture_px=64)
    assert (tmp_path / f"me{suffix}").stat().st_size > 1000


def test_an_unknown_suffix_is_named(face: Reconstruction, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"one of .*\.glb.*received .*me\.bmp"):
        save_reconstruction(face, tmp_path / "me.bmp")
    assert list(tmp_path.iterdir()) == []
