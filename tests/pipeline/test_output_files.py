"""Files of results: whole or absent whatever happens to the disk, and never one over another."""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import torch

from facewright.assets import embedded_path
from facewright.detect import load_face_detector
from facewright.errors import ExportError
from facewright.morphable.linear import FaceModel
from facewright.photo import read_photo
from facewright.pipeline.batch import InputReport, output_stems, photo_paths, reconstruct_files
from facewright.pipeline.flow import Reconstructor
from facewright.pipeline.outputs import ALL_FORMATS, OutputOptions, official_five, save_face, write_outputs
from facewright.pipeline.reconstruction import Reconstruction
from facewright.records import Photo
from facewright.regress.rnet import RNet
from tests.pipeline.flows import rnet_flow, rnet_of

PORTRAIT = embedded_path("photos/astronaut.jpg")


@pytest.fixture(scope="module")
def reconstructor(toy_model: FaceModel) -> Reconstructor:
    torch.manual_seed(0)
    rnet = RNet(toy_model.layout, architecture="resnet18", width=0.0625, crop_size=64)
    return rnet_flow(toy_model, load_face_detector(), rnet.eval(), weights="untrained.safetensors")


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
    names = {"report.json", "report.html", "before.glb", "before.json", "after.glb", "after.json"}
    assert {path.name for path in out.iterdir()} == names
    assert json.loads((out / "report.json").read_text())["failed"] == 1


def test_a_photo_has_all_of_its_files_or_none(
    face: Reconstruction, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> object:
        raise ExportError("the last of the files cannot be made")

    (tmp_path / "me.glb").write_bytes(b"of an earlier run")
    monkeypatch.setattr("facewright.pipeline.outputs.overlay_of_faces", fail)
    with pytest.raises(ExportError, match="the last of the files"):
        write_outputs([face], tmp_path, "me", OutputOptions(("glb", "obj", "npz", "overlay"), texture_px=64))
    assert [path.name for path in tmp_path.iterdir()] == ["me.glb"]
    assert (tmp_path / "me.glb").read_bytes() == b"of an earlier run"


def test_the_report_names_files_that_stand_though_the_photo_failed(
    reconstructor: Reconstructor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a rename can fail so late, as where a folder appears in a file's place."""

    def in_the_way(*_: object, **__: object) -> object:
        (tmp_path / "astronaut.glb").mkdir()
        return {}

    monkeypatch.setattr("facewright.pipeline.outputs.document", in_the_way)
    options = OutputOptions(("glb", "npz", "json"), texture_px=64)
    (report,) = reconstruct_files([PORTRAIT], tmp_path, reconstructor, options=options)
    assert report.status == "failed"
    assert sorted(report.outputs) == ["astronaut.json", "astronaut.npz"]
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == [
        *sorted(report.outputs),
        "report.html",
        "report.json",
    ]


def copies(folder: Path, *names: str) -> list[Path]:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_bytes(PORTRAIT.read_bytes())
    return [folder / name for name in names]


JSON_ONLY = OutputOptions(("json",))


def test_an_earlier_report_is_kept_entry_by_entry(
    reconstructor: Reconstructor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever stops the second run, the first one's entries stay and its own finished ones are there."""
    out = tmp_path / "out"
    a, b, c = copies(tmp_path / "in", "a.jpg", "b.jpg", "c.jpg")
    reconstruct_files([a], out, reconstructor, options=JSON_ONLY)
    alone = replace(reconstructor, estimator=replace(rnet_of(reconstructor), photos_together=1))
    inside, calls = Reconstructor.faces_in_batch, 0

    def stop_at_the_second(self: Reconstructor, photos: list[Photo], **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt
        return inside(self, photos, **options)

    monkeypatch.setattr(Reconstructor, "faces_in_batch", stop_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        reconstruct_files([b, c], out, alone, options=JSON_ONLY)
    report = json.loads((out / "report.json").read_text())
    assert [Path(entry["input"]).name for entry in report["results"]] == ["a.jpg", "b.jpg"]
    assert (report["inputs"], report["done"], report["failed"]) == (2, 2, 0)
    assert not (out / "report.jsonl").exists()


def test_a_killed_run_leaves_its_entries_to_the_next(reconstructor: Reconstructor, tmp_path: Path) -> None:
    """As if killed after two photos: lines stand beside the report, the second one torn; files half-made lie about."""
    out = tmp_path / "out"
    inputs = copies(tmp_path / "in", "a.jpg", "b.jpg")
    reconstruct_files(inputs, out, reconstructor, options=JSON_ONLY)
    whole = json.loads((out / "report.json").read_text())
    lines = ['{"writing": "a"}', json.dumps(whole["results"][0]), '{"writing": "b"}', '{"input": "torn']
    (out / "report.jsonl").write_text("\n".join(lines))
    (out / "report.json").unlink()
    dead = out / ".facewright-999999999-00.json"
    alive = out / f".facewright-{os.getpid()}-00.json"
    for path in (dead, alive):
        path.touch()
    done: list[str] = []
    reports = reconstruct_files(
        inputs, out, reconstructor, options=JSON_ONLY, resume=True, on_done=lambda r: done.append(Path(r.input).name)
    )
    assert done == ["a.jpg", "b.jpg"]
    assert [report.status for report in reports] == ["done", "done"]
    assert reports[0].seconds == pytest.approx(whole["results"][0]["seconds"])  # taken over
    assert (dead.exists(), alive.exists()) == (False, True)
    assert len(json.loads((out / "report.json").read_text())["results"]) == 2


def test_resuming_does_again_what_has_changed(
    reconstructor: Reconstructor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another photo of the same name, other settings, a file that is gone; and nothing else."""
    out = tmp_path / "out"
    inputs = copies(tmp_path / "in", "a.jpg", "b.jpg", "c.jpg")
    reconstruct_files(inputs, out, reconstructor, options=JSON_ONLY)
    seen: list[str] = []
    inside = Reconstructor.faces_in_batch

    def noted(self: Reconstructor, photos: list[Photo], **options: Any) -> Any:
        seen.extend(Path(photo.path).name for photo in photos)
        return inside(self, photos, **options)

    monkeypatch.setattr(Reconstructor, "faces_in_batch", noted)

    def done_again(options: OutputOptions = JSON_ONLY) -> list[str]:
        seen.clear()
        reconstruct_files(inputs, out, reconstructor, options=options, resume=True)
        return list(seen)

    assert done_again() == []
    inputs[1].write_bytes(embedded_path("photos/grace_hopper.jpg").read_bytes())
    (out / "c.json").unlink()
    assert done_again() == ["b.jpg", "c.jpg"]
    assert done_again(OutputOptions(("json", "mat"))) == ["a.jpg", "b.jpg", "c.jpg"]


def test_what_others_wrote_is_never_replaced(reconstructor: Reconstructor, tmp_path: Path) -> None:
    """Neither an input nor any other file; a second run replaces the first one's files and takes none for a photo."""
    folder = tmp_path / "io"
    (photo,) = copies(folder, "me.jpg")
    options = OutputOptions(("overlay", "json"))
    first = reconstruct_files([folder], folder, reconstructor, options=options)
    assert [report.status for report in first] == ["done"]
    again = reconstruct_files([folder], folder, reconstructor, options=options)
    assert [(report.status, Path(report.input).name) for report in again] == [("done", "me.jpg")]
    mine = folder / "me_overlay.png"
    mine.write_bytes(PORTRAIT.read_bytes())
    refused = reconstruct_files([photo, mine], folder, reconstructor, options=options)
    assert "did not write" in str(refused[0].error)
    assert mine.read_bytes() == PORTRAIT.read_bytes()
    (folder / "report.json").write_text('{"mine": 1}')
    with pytest.raises(ExportError, match=r"report\.json to be absent or a report of ours"):
        reconstruct_files([photo], folder, reconstructor, options=options)
    assert (folder / "report.json").read_text() == '{"mine": 1}'


def test_two_runs_at_once_keep_each_others_entries(reconstructor: Reconstructor, tmp_path: Path) -> None:
    out = tmp_path / "out"
    a, b = copies(tmp_path / "in", "a.jpg", "b.jpg")

    def other_run(_: InputReport) -> None:
        reconstruct_files([b], out, reconstructor, options=JSON_ONLY)

    reconstruct_files([a], out, reconstructor, options=JSON_ONLY, on_done=other_run)
    names = {Path(entry["input"]).name for entry in json.loads((out / "report.json").read_text())["results"]}
    assert names == {"a.jpg", "b.jpg"}


def test_a_name_of_250_letters_is_cut(reconstructor: Reconstructor, tmp_path: Path) -> None:
    (photo,) = copies(tmp_path / "in", "x" * 246 + ".jpg")
    (report,) = reconstruct_files([photo], tmp_path / "out", reconstructor, options=OutputOptions(("overlay",)))
    assert report.status == "done"
    assert len(report.outputs[0]) < 255


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
    for name in ("z10.jpg", "z2.jpg", "a.PNG", "._a.png", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "folder.jpg").mkdir()
    assert photo_paths([tmp_path, "absent.jpg"]) == [
        tmp_path / "a.PNG",
        tmp_path / "z2.jpg",
        tmp_path / "z10.jpg",
        Path("absent.jpg"),
    ]
    assert photo_paths([tmp_path / "folder.jpg"]) == [tmp_path / "folder.jpg"]


def test_a_photo_that_is_named_twice_is_done_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).touch()
    once, again = tmp_path / "a.jpg", tmp_path / ".." / tmp_path.name / "a.jpg"
    assert photo_paths([once, tmp_path, again]) == [once, tmp_path / "b.jpg"]
    assert caplog.messages == [
        f"{path} is named more than once (as {once} before); it is done once" for path in (once, again)
    ]
    caplog.clear()
    assert photo_paths([tmp_path]) == [once, tmp_path / "b.jpg"]
    assert not caplog.messages


@pytest.mark.parametrize("suffix", [".glb", ".obj", ".ply", ".stl", ".mat", ".npz", ".json", ".png", ".GLB"])
def test_one_face_to_one_file(face: Reconstruction, tmp_path: Path, suffix: str) -> None:
    save_face(face, tmp_path / f"me{suffix}", texture_px=64)
    assert (tmp_path / f"me{suffix}").stat().st_size > 1000


def test_the_matlab_file_has_the_five_points_of_the_official_formula(face: Reconstruction, tmp_path: Path) -> None:
    face.save(tmp_path / "one.mat")
    stored = scipy.io.loadmat(tmp_path / "one.mat")["lm_5p"]
    np.testing.assert_allclose(stored, official_five(face.aligned), atol=1e-4)
    assert np.abs(stored - face.aligned.five_crop.numpy()).max() > 0.1


def test_an_unknown_suffix_is_named(face: Reconstruction, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"one of .*\.glb.*received .*me\.bmp"):
        save_face(face, tmp_path / "me.bmp")
    assert list(tmp_path.iterdir()) == []
