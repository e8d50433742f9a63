"""What the processes of a batch do, here in this one, with a toy method."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("pyarrow", reason="the extra scale is not installed")

from facewright.assets import embedded_path
from facewright.detect import load_face_detector
from facewright.morphable.linear import FaceModel
from facewright.photo import read_photo
from facewright.pipeline.fingerprint import fingerprint
from facewright.pipeline.flow import Reconstructor
from facewright.pipeline.outputs import OutputOptions
from facewright.regress.rnet import RNet
from facewright.scale.jobs import PhotoJob
from facewright.scale.photo_work import PhotoWork, face_row
from facewright.scale.rows import table_of, unpacked
from facewright.scale.sources import PhotoEntry
from tests.pipeline.flows import rnet_flow
from tests.toy_method import ToyEstimator, toy_mesh


@pytest.fixture(scope="module")
def flow() -> Reconstructor:
    return Reconstructor(load_face_detector(), ToyEstimator(*toy_mesh()), check=None)


def test_rows_say_what_the_flow_says_and_what_is_known_is_skipped(flow: Reconstructor, tmp_path: Path) -> None:
    portrait = Path(shutil.copy(embedded_path("photos/grace_hopper.jpg"), tmp_path / "me.jpg"))
    (tmp_path / "cut.jpg").write_bytes(portrait.read_bytes()[:3000])
    (tmp_path / "grey.ppm").write_bytes(b"P6 64 64 255\n" + bytes(3 * 64 * 64))
    names = ("me.jpg", "cut.jpg", "grey.ppm", "missing.jpg")
    jobs = [PhotoJob(PhotoEntry(name, str(tmp_path / name))) for name in names]
    work = PhotoWork(flow, "all", 10_000_000, tmp_path / "_files", OutputOptions(("ply",)), "v1")
    answers = {number: (head, body) for number, head, body in work(jobs)}
    assert sorted(answers) == [0, 1, 2, 3]
    assert [answers[number][0]["faces"] for number in range(4)] == [1, 0, 0, 0]
    (row,), *failed = (unpacked(answers[number][1]).to_pylist() for number in range(4))
    (face,) = flow.faces_in(read_photo(portrait))
    expected = table_of([face_row(face)]).to_pylist()[0]
    assert row["landmarks_68"] == pytest.approx(face.landmarks.flatten().tolist(), abs=1e-4)
    same = {name for name, value in expected.items() if value is not None} - {"landmarks_68", "landmarks_68_3d"}
    assert {name: row[name] for name in same} == {name: expected[name] for name in same}
    assert (row["input"], row["status"], row["face"], row["version"]) == ("me.jpg", "done", 0, "v1")
    (file,) = row["files"]
    assert (tmp_path / file).read_bytes().startswith(b"ply")
    assert [rows[0]["stage"] for rows in failed] == ["read", "detect", "read"]
    assert "found none" in failed[1][0]["error"]
    assert [bool(rows[0]["sha256"]) for rows in failed] == [True, True, False]

    (known,) = work([PhotoJob(jobs[0].entry, row["sha256"])])
    assert known == (0, {"kept": True}, b"")
    (changed,) = work([PhotoJob(jobs[1].entry, row["sha256"])])
    assert "kept" not in changed[1]


def test_coefficients_are_columns_where_the_method_has_them(flow: Reconstructor, toy_model: FaceModel) -> None:
    rnet = RNet(toy_model.layout, architecture="resnet18", width=0.125, crop_size=64).eval()
    (face,) = rnet_flow(toy_model, flow.detector, rnet).faces_in(read_photo(embedded_path("photos/grace_hopper.jpg")))
    row = table_of([face_row(face) | {"input": "a", "sha256": "", "version": "", "status": "done"}]).to_pylist()[0]
    assert row["face_model"] == toy_model.name
    for name in ("id", "exp", "tex", "sh"):
        torch.testing.assert_close(torch.tensor(row[name]), getattr(face.coefficients, name)[0].flatten())


def test_versions_are_told_apart_by_numbers_not_by_names(flow: Reconstructor) -> None:
    estimator: Any = flow.estimator
    same = replace(flow, estimator=replace(estimator, seen=["what it was asked is no part of it"]))
    assert fingerprint(flow) == fingerprint(same)
    moved = replace(estimator, mesh=replace(estimator.mesh, vertices=estimator.mesh.vertices + 1e-6))
    others = [
        fingerprint(flow, faces="all"),
        fingerprint(replace(flow, estimator=moved)),
        fingerprint(replace(flow, estimator=replace(estimator, narrowest_px=1.0))),
        fingerprint(replace(flow, estimator=replace(estimator, weights="other"))),
        fingerprint(replace(flow, fallback=moved)),
    ]
    assert len({fingerprint(flow), *others}) == 6
