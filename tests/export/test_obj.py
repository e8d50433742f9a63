"""OBJ, MTL and texture: read back by trimesh and by a reader of ten lines that knows no merging."""

import errno
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from facewright.errors import ExportError
from facewright.export.formats import export_mesh
from facewright.export.obj import safe_name
from facewright.records import MeshAsset


def read_obj(path: Path) -> dict[str, np.ndarray]:
    """Rows of v, vt and vn, and the index triples of each face corner, 0-based."""
    rows: dict[str, list[Any]] = {"v": [], "vt": [], "vn": [], "f": []}
    for line in path.read_text(encoding="ascii").splitlines():
        kind, *words = line.split()
        if kind == "f":
            rows["f"].append([[int(word or 0) - 1 for word in corner.split("/")] for corner in words])
        elif kind in rows:
            rows[kind].append([float(word) for word in words])
    return {kind: np.array(values) for kind, values in rows.items()}


def test_vertex_order_uv_normals_and_millimetres(asset: MeshAsset, tmp_path: Path) -> None:
    still = replace(asset, morph_weights={})
    export_mesh(still, tmp_path / "face.obj")
    rows = read_obj(tmp_path / "face.obj")
    assert asset.uv is not None
    assert asset.faces_uv is not None
    np.testing.assert_allclose(rows["v"], asset.vertices.numpy() * 100, atol=1e-4)
    np.testing.assert_allclose(rows["vt"], asset.uv.numpy(), atol=1e-7)
    np.testing.assert_allclose(rows["vn"], asset.normals.numpy(), atol=1e-5)
    np.testing.assert_array_equal(rows["f"][..., 0], asset.faces.numpy())
    np.testing.assert_array_equal(rows["f"][..., 1], asset.faces_uv.numpy())
    np.testing.assert_array_equal(rows["f"][..., 2], asset.faces.numpy())


@pytest.mark.parametrize(("units", "scale"), [("mm", 100.0), ("dm", 1.0), ("m", 0.1)])
def test_units(asset: MeshAsset, tmp_path: Path, units, scale: float) -> None:
    export_mesh(replace(asset, morph_weights={}), tmp_path / "face.obj", units=units)
    vertices = read_obj(tmp_path / "face.obj")["v"]
    np.testing.assert_allclose(vertices, asset.vertices.numpy() * scale, atol=scale * 1e-6)


def test_expression_is_baked_in(asset: MeshAsset, tmp_path: Path) -> None:
    export_mesh(asset, tmp_path / "face.obj", units="dm")
    expected = asset.vertices + 0.5 * asset.morph_targets["jawOpen"]
    rows = read_obj(tmp_path / "face.obj")
    np.testing.assert_allclose(rows["v"], expected.numpy(), atol=1e-6)
    normals = trimesh.Trimesh(expected.numpy(), asset.faces.numpy(), process=False).face_normals
    outward = rows["vn"][rows["f"][..., 2]] @ normals[:, :, None]
    assert (outward > 0).all()


def test_trimesh_reads_the_textured_mesh(asset: MeshAsset, tmp_path: Path) -> None:
    export_mesh(replace(asset, morph_weights={}), tmp_path / "face.obj")
    mesh: Any = trimesh.load_mesh(tmp_path / "face.obj", process=False)
    assert asset.uv is not None
    assert asset.faces_uv is not None
    assert asset.texture is not None
    np.testing.assert_allclose(mesh.triangles, asset.vertices[asset.faces].numpy() * 100, atol=1e-4)
    visual = mesh.visual
    np.testing.assert_allclose(visual.uv[mesh.faces], asset.uv[asset.faces_uv].numpy(), atol=1e-6)
    image = np.asarray(visual.material.image.convert("RGB"))
    np.testing.assert_array_equal(image, (asset.texture.permute(1, 2, 0) * 255).round().byte().numpy())


def test_texture_is_the_right_way_up(asset: MeshAsset, tmp_path: Path) -> None:
    texture = torch.zeros(3, 32, 64)
    texture[0, :8, :8] = 1.0
    export_mesh(replace(asset, texture=texture), tmp_path / "face.obj")
    mesh: Any = trimesh.load_mesh(tmp_path / "face.obj", process=False)
    uv, colors = mesh.visual.uv, mesh.visual.to_color().vertex_colors
    inside = (uv[:, 0] < 6 / 64) & (uv[:, 1] > 1 - 6 / 32)
    outside = (uv[:, 0] > 10 / 64) | (uv[:, 1] < 1 - 10 / 32)
    assert inside.any()
    assert (colors[inside, 0] == 255).all()
    assert (colors[outside, 0] == 0).all()


def test_colours_without_a_texture(asset: MeshAsset, tmp_path: Path) -> None:
    export_mesh(replace(asset, texture=None, morph_weights={}), tmp_path / "face.obj")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["face.obj"]
    assert asset.colors is not None
    np.testing.assert_allclose(read_obj(tmp_path / "face.obj")["v"][:, 3:], asset.colors.numpy(), atol=1e-6)
    mesh: Any = trimesh.load_mesh(tmp_path / "face.obj", process=False, maintain_order=True)
    read = mesh.visual.vertex_colors[:, :3] / 255.0
    np.testing.assert_allclose(read, asset.colors.numpy(), atol=1 / 255)


@pytest.mark.parametrize("stem", ["with space", "ünï cödé", "a#b", 'it\'s "quoted"', "-s 1 1", "..dots", "脸"])
def test_odd_names_resolve(asset: MeshAsset, tmp_path: Path, stem: str) -> None:
    path = tmp_path / f"{stem}.obj"
    export_mesh(replace(asset, name=stem), path)
    lines = path.read_text(encoding="ascii").splitlines()
    (library,) = [line.removeprefix("mtllib ") for line in lines if line.startswith("mtllib")]
    (used,) = [line.removeprefix("usemtl ") for line in lines if line.startswith("usemtl")]
    material = (tmp_path / library).read_text(encoding="ascii").splitlines()
    assert f"newmtl {used}" in material
    (image,) = [line.removeprefix("map_Kd ") for line in material if line.startswith("map_Kd")]
    with Image.open(tmp_path / image) as picture:
        assert picture.size == (64, 32)
    assert not set(library + image + used) & set(" #'\"\\")
    assert not image.startswith("-")
    mesh: Any = trimesh.load_mesh(path, process=False)
    assert mesh.visual.material.image is not None


def test_names_that_differ_stay_different() -> None:
    assert safe_name("plain-name_1.2") == "plain-name_1.2"
    assert safe_name("é") != safe_name("è")


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_disk_full_leaves_none_of_the_three(
    asset: MeshAsset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    calls = 0

    def full(*_: object, **__: object) -> None:
        nonlocal calls
        if calls == failing:
            raise OSError(errno.ENOSPC, "No space left on device")
        calls += 1

    monkeypatch.setattr(Path, "write_text", full)
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(ExportError, match="No space left"):
        export_mesh(asset, tmp_path / "face.obj")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_the_way_leaves_no_part(asset: MeshAsset, tmp_path: Path) -> None:
    (tmp_path / "face.mtl").mkdir()
    with pytest.raises(ExportError, match=r"face\.mtl"):
        export_mesh(asset, tmp_path / "face.obj")
    assert [file.name for file in tmp_path.iterdir()] == ["face.mtl"]
