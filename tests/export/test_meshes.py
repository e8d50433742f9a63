"""What holds for every mesh format: PLY, STL and NPZ round trips, the table, bad input, full disks, equal bytes."""

import errno
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trimesh

from facewright.errors import ExportError
from facewright.export.asset import split_at_seams, with_expression
from facewright.export.formats import FORMATS, MESH_FORMATS, export_mesh
from facewright.export.ply import ply_bytes
from facewright.geometry.mesh import vertex_normals
from facewright.morphable.linear import FaceModel
from facewright.records import MeshAsset

SUFFIXES = [FORMATS[name].suffix for name in MESH_FORMATS]


@pytest.mark.parametrize("encoding", ["binary", "ascii"])
def test_ply_round_trip(asset: MeshAsset, tmp_path: Path, encoding) -> None:
    (tmp_path / "face.ply").write_bytes(ply_bytes(asset, encoding=encoding))
    mesh: Any = trimesh.load_mesh(tmp_path / "face.ply", process=False)
    posed = with_expression(asset)
    assert asset.colors is not None
    np.testing.assert_allclose(mesh.vertices, posed.vertices.numpy() * 100, rtol=1e-6)
    np.testing.assert_array_equal(mesh.faces, asset.faces.numpy())
    # trimesh computes normals itself; the file's, and columns that it does not know, stay in its raw table.
    raw = mesh.metadata["_ply_raw"]["vertex"]["data"]
    np.testing.assert_allclose(_columns(raw, "nx", "ny", "nz"), posed.normals.numpy(), atol=1e-6)
    expected = (asset.colors * 255).round().byte().numpy()
    np.testing.assert_array_equal(mesh.visual.vertex_colors[:, :3], expected)
    np.testing.assert_allclose(_columns(raw, "srgb_r", "srgb_g", "srgb_b"), asset.colors.numpy(), rtol=1e-6)


def _columns(table, *names: str) -> np.ndarray:
    return np.stack([np.asarray(table[name]).reshape(-1) for name in names], 1)


def test_stl_round_trip(asset: MeshAsset, tmp_path: Path) -> None:
    export_mesh(asset, tmp_path / "face.stl")
    mesh: Any = trimesh.load_mesh(tmp_path / "face.stl", process=False)
    posed = with_expression(asset)
    np.testing.assert_allclose(mesh.triangles, posed.vertices[asset.faces].numpy() * 100, rtol=1e-5)
    assert ((mesh.face_normals * mesh.triangles_center).sum(1) > 0).all()


def test_npz_holds_everything(asset: MeshAsset, tmp_path: Path) -> None:
    export_mesh(asset, tmp_path / "face.npz")
    assert asset.texture is not None
    with np.load(tmp_path / "face.npz", allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["vertices_neutral"], asset.vertices.numpy())
        np.testing.assert_allclose(arrays["vertices"], with_expression(asset).vertices.numpy())
        np.testing.assert_array_equal(arrays["faces"], asset.faces.numpy())
        np.testing.assert_array_equal(arrays["uv"], asset.uv)
        np.testing.assert_array_equal(arrays["faces_uv"], asset.faces_uv)
        np.testing.assert_array_equal(arrays["colors"], asset.colors)
        np.testing.assert_array_equal(arrays["texture"], (asset.texture.permute(1, 2, 0) * 255).round().byte().numpy())
        assert arrays["morph_names"].tolist() == list(asset.morph_targets)
        np.testing.assert_array_equal(arrays["morph_targets"], torch.stack(list(asset.morph_targets.values())))
        assert arrays["morph_weights"].tolist() == [0.5, 0.0, 0.0]
        assert str(arrays["units"]) == "dm"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_default_units_are_the_formats_own(asset: MeshAsset, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"face{suffix.upper()}"
    export_mesh(replace(asset, morph_weights={}), path)
    height = {".glb": 0.24, ".npz": 2.4}.get(suffix, 240.0)
    if suffix == ".npz":
        with np.load(path) as arrays:
            vertices = arrays["vertices"]
    else:
        scene: Any = trimesh.load_scene(io.BytesIO(path.read_bytes()), file_type=suffix[1:], process=False)
        vertices = next(iter(scene.geometry.values())).vertices
    assert float(np.ptp(vertices[:, 1])) == pytest.approx(height, rel=1e-5)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_same_asset_same_bytes(asset: MeshAsset, tmp_path: Path, suffix: str) -> None:
    for name in ("a", "b"):
        export_mesh(asset, tmp_path / name / f"face{suffix}")
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()


def _spoilt(asset: MeshAsset, field: str) -> MeshAsset:
    value = getattr(asset, field).clone()
    value[1, 0] = float("nan")
    return replace(asset, **{field: value})


BAD: dict[str, Callable[[MeshAsset], MeshAsset]] = {
    "vertices": lambda asset: _spoilt(asset, "vertices"),
    "normals": lambda asset: _spoilt(asset, "normals"),
    "uv": lambda asset: _spoilt(asset, "uv"),
    "colors": lambda asset: _spoilt(asset, "colors"),
    "texture": lambda asset: _spoilt(asset, "texture"),
    "'jawOpen'": lambda asset: replace(asset, morph_targets={"jawOpen": asset.vertices / 0}),
    "weight": lambda asset: replace(asset, morph_weights={"jawOpen": float("inf")}),
    "frown": lambda asset: replace(asset, morph_weights={"frown": 1.0}),
    "faces": lambda asset: replace(asset, faces=asset.faces + 5),
    "faces_uv": lambda asset: replace(asset, faces_uv=asset.faces),
    "received 86 and 0": lambda asset: replace(asset, faces=asset.faces[:0], uv=None, faces_uv=None),
}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("what", BAD)
def test_bad_assets_are_named_and_nothing_is_written(asset: MeshAsset, tmp_path: Path, suffix: str, what: str) -> None:
    if what == "faces_uv":
        assert asset.uv is not None
        asset = replace(asset, uv=asset.uv[:20])
    with pytest.raises(ExportError, match=what):
        export_mesh(BAD[what](asset), tmp_path / f"face{suffix}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".glb", ".ply", ".npz", ".stl"])
def test_disk_full_keeps_the_old_file(
    asset: MeshAsset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    path = tmp_path / f"face{suffix}"
    path.write_bytes(b"old")
    real_open = io.open

    class Full(io.FileIO):
        """A file on a disk with room for 100 bytes."""

        def write(self, data) -> int:
            if self.tell() + len(data) > 100:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(data)

    def open_full(file, mode="r", *rest, **named):
        return Full(file, mode.replace("b", "")) if "w" in mode else real_open(file, mode, *rest, **named)

    monkeypatch.setattr(io, "open", open_full)
    with pytest.raises(ExportError, match="No space left"):
        export_mesh(asset, path)
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("name", ["face.fbx", "face"])
def test_unknown_suffix_names_the_known(asset: MeshAsset, tmp_path: Path, name: str) -> None:
    with pytest.raises(ExportError, match=r"\.glb.*\.obj"):
        export_mesh(asset, tmp_path / name)


def test_assets_are_left_as_they_are(asset: MeshAsset, tmp_path: Path) -> None:
    before = {name: value.clone() for name, value in vars(asset).items() if isinstance(value, torch.Tensor)}
    for suffix in SUFFIXES:
        export_mesh(asset, tmp_path / f"face{suffix}")
    for name, value in before.items():
        assert torch.equal(getattr(asset, name), value)


def test_split_keeps_model_ids_first(asset: MeshAsset) -> None:
    split = split_at_seams(asset)
    num_vertices = len(asset.vertices)
    assert asset.uv is not None
    assert asset.faces_uv is not None
    assert split.uv is not None
    assert torch.equal(split.vertex[:num_vertices], torch.arange(num_vertices))
    assert torch.equal(split.vertex[split.faces], asset.faces)
    assert torch.equal(split.uv[split.faces], asset.uv[asset.faces_uv])
    pairs = set(zip(asset.faces.flatten().tolist(), asset.faces_uv.flatten().tolist(), strict=True))
    assert len(split.vertex) == len(pairs)  # every vertex is used here, and no pair is stored twice


def test_unused_vertices_survive_with_a_unit_normal(asset: MeshAsset, tmp_path: Path) -> None:
    lonely = torch.cat([asset.vertices, torch.ones(1, 3)])
    normals = torch.cat([asset.normals, torch.zeros(1, 3)])
    plain = replace(
        asset, vertices=lonely, normals=normals, colors=None, texture=None, morph_targets={}, morph_weights={}
    )
    export_mesh(plain, tmp_path / "face.ply")
    mesh: Any = trimesh.load_mesh(tmp_path / "face.ply", process=False)
    np.testing.assert_allclose(mesh.vertices[-1], [100, 100, 100])
    raw = mesh.metadata["_ply_raw"]["vertex"]["data"]
    np.testing.assert_allclose(_columns(raw, "nx", "ny", "nz")[-1], [0, 0, 1])


def test_a_decoded_face_is_written_in_every_format(toy_model: FaceModel, tmp_path: Path) -> None:
    mesh = toy_model.decode(toy_model.layout.zeros())
    vertices = mesh.vertices[0].requires_grad_()
    asset = MeshAsset(
        vertices, vertex_normals(vertices, mesh.faces), mesh.faces, mesh.uv, mesh.faces_uv, colors=mesh.albedo[0]
    )
    for suffix in SUFFIXES:
        export_mesh(asset, tmp_path / f"face{suffix}")
    read = trimesh.load_mesh(tmp_path / "face.ply", process=False)
    np.testing.assert_allclose(read.vertices, vertices.detach().numpy() * 100, rtol=1e-5, atol=1e-5)
