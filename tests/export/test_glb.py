"""GLB: what trimesh reads back, and what the file says about morph targets and materials."""

import json
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trimesh

from facewright.errors import ExportError
from facewright.export.asset import split_at_seams
from facewright.export.formats import export_mesh
from facewright.geometry.color import linear_from_srgb
from facewright.records import MeshAsset


def read_glb(path: Path) -> tuple[dict[str, Any], bytes]:
    """JSON and binary chunk of a GLB file."""
    blob = path.read_bytes()
    magic, container_version, length = struct.unpack_from("<4sII", blob)
    assert (magic, container_version, length) == (b"glTF", 2, len(blob))
    json_length, json_kind = struct.unpack_from("<I4s", blob, 12)
    assert json_kind == b"JSON"
    return json.loads(blob[20 : 20 + json_length]), blob[20 + json_length + 8 :]


def read_accessor(tree: dict[str, Any], binary: bytes, index: int) -> np.ndarray:
    """An accessor's values after its sparse substitution (glTF 2.0 section 3.6.2)."""
    accessor = tree["accessors"][index]
    width = {"SCALAR": 1, "VEC2": 2, "VEC3": 3}[accessor["type"]]
    kinds = {5123: "<u2", 5125: "<u4", 5126: "<f4"}

    def view(number: int, kind: int, count: int) -> np.ndarray:
        start = tree["bufferViews"][number]["byteOffset"]
        return np.frombuffer(binary, kinds[kind], count, start).copy()

    count = accessor["count"]
    if "bufferView" in accessor:
        values = view(accessor["bufferView"], accessor["componentType"], count * width).reshape(count, width)
    else:
        values = np.zeros((count, width), kinds[accessor["componentType"]])
    if "sparse" in accessor:
        sparse = accessor["sparse"]
        ids = view(sparse["indices"]["bufferView"], sparse["indices"]["componentType"], sparse["count"])
        values[ids] = view(sparse["values"]["bufferView"], 5126, sparse["count"] * width).reshape(-1, width)
    return values


def load(path: Path) -> Any:
    """trimesh's reading, which is typed as a union that pyright cannot narrow."""
    (mesh,) = trimesh.load_scene(path, process=False).geometry.values()
    return mesh


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "face.glb"


def test_trimesh_reads_the_same_mesh_in_metres(asset: MeshAsset, path: Path) -> None:
    export_mesh(asset, path)
    mesh, split = load(path), split_at_seams(asset)
    np.testing.assert_allclose(mesh.vertices, asset.vertices[split.vertex].numpy() * 0.1, atol=1e-8)
    np.testing.assert_array_equal(split.vertex[mesh.faces].numpy(), asset.faces.numpy())
    assert asset.uv is not None
    assert asset.faces_uv is not None
    np.testing.assert_allclose(mesh.visual.uv[mesh.faces], asset.uv[asset.faces_uv].numpy(), atol=1e-6)
    np.testing.assert_allclose(mesh.vertex_normals, asset.normals[split.vertex].numpy(), atol=1e-6)


def test_normals_and_winding_point_outward(asset: MeshAsset, path: Path) -> None:
    export_mesh(asset, path)
    mesh = load(path)
    assert ((mesh.face_normals * mesh.triangles_center).sum(1) > 0).all()
    assert ((mesh.vertex_normals * mesh.vertices).sum(1) > 0).all()


def test_texture_returns_bit_for_bit_and_right_way_up(asset: MeshAsset, path: Path) -> None:
    texture = torch.zeros(3, 32, 64)
    texture[0, :8, :8] = 1.0  # red in the top-left corner: u near 0, v near 1
    export_mesh(replace(asset, texture=texture), path)
    mesh = load(path)
    image = np.asarray(mesh.visual.material.baseColorTexture.convert("RGB"))
    np.testing.assert_array_equal(image, (texture.permute(1, 2, 0) * 255).byte().numpy())
    # glTF's own uv has its origin at the top-left texel; read it raw, not through trimesh's flip.
    tree, binary = read_glb(path)
    uv = read_accessor(tree, binary, tree["meshes"][0]["primitives"][0]["attributes"]["TEXCOORD_0"])
    texel = image[np.clip((uv[:, 1] * 32).astype(int), 0, 31), np.clip((uv[:, 0] * 64).astype(int), 0, 63)]
    split = split_at_seams(asset)
    assert split.uv is not None
    expected_red = (split.uv[:, 0] < 8 / 64) & (split.uv[:, 1] > 1 - 8 / 32)
    np.testing.assert_array_equal(texel[:, 0] == 255, expected_red.numpy())
    assert expected_red.any()


def test_morph_targets_have_names_weights_and_offsets(asset: MeshAsset, path: Path) -> None:
    export_mesh(asset, path)
    tree, binary = read_glb(path)
    mesh = tree["meshes"][0]
    assert mesh["extras"]["targetNames"] == ["jawOpen", "cheekPuff", "still"]
    assert mesh["weights"] == [0.5, 0.0, 0.0]
    split = split_at_seams(asset)
    for target, offsets in zip(mesh["primitives"][0]["targets"], asset.morph_targets.values(), strict=True):
        accessor = tree["accessors"][target["POSITION"]]
        values = read_accessor(tree, binary, target["POSITION"])
        np.testing.assert_allclose(values, offsets[split.vertex].numpy() * 0.1, atol=1e-6)
        np.testing.assert_array_equal(values.min(0), np.float32(accessor["min"]))
        np.testing.assert_array_equal(values.max(0), np.float32(accessor["max"]))
    sparse = ["sparse" in tree["accessors"][target["POSITION"]] for target in mesh["primitives"][0]["targets"]]
    assert sparse == [True, False, True]  # few vertices, all vertices, none


def test_vertex_colours_are_linear_and_only_there_without_a_texture(asset: MeshAsset, path: Path) -> None:
    export_mesh(asset, path)
    assert "COLOR_0" not in read_glb(path)[0]["meshes"][0]["primitives"][0]["attributes"]
    export_mesh(replace(asset, texture=None), path)
    tree, binary = read_glb(path)
    colors = read_accessor(tree, binary, tree["meshes"][0]["primitives"][0]["attributes"]["COLOR_0"])
    assert asset.colors is not None
    linear = linear_from_srgb(asset.colors)[split_at_seams(asset).vertex].numpy()
    np.testing.assert_allclose(colors, linear, atol=1e-7)
    read = load(path).visual.vertex_attributes["color"]
    np.testing.assert_allclose(read, linear, atol=1e-7)


def test_material_node_generator_and_metadata(asset: MeshAsset, path: Path) -> None:
    export_mesh(asset, path)
    tree, _ = read_glb(path)
    (material,) = tree["materials"]
    assert material["pbrMetallicRoughness"]["metallicFactor"] == 0.0
    assert material["pbrMetallicRoughness"]["roughnessFactor"] == 1.0
    assert tree["asset"]["generator"].startswith("facewright ")
    assert tree["nodes"] == [{"name": "ball", "mesh": 0, "extras": asset.metadata}]


def test_a_mesh_without_uv_or_morphs(asset: MeshAsset, path: Path) -> None:
    plain = replace(
        asset, uv=None, faces_uv=None, texture=None, morph_targets={}, morph_weights={}, metadata={}, name="nackt ü"
    )
    export_mesh(plain, path)
    tree, _ = read_glb(path)
    assert set(tree["meshes"][0]["primitives"][0]["attributes"]) == {"POSITION", "NORMAL", "COLOR_0"}
    assert tree["nodes"][0]["name"] == "nackt ü"
    assert len(load(path).vertices) == len(asset.vertices)


def test_other_units_are_refused(asset: MeshAsset, path: Path) -> None:
    with pytest.raises(ExportError, match="metres"):
        export_mesh(asset, path, units="mm")
    assert not path.exists()


def test_sparse_ids_beyond_sixteen_bits(path: Path) -> None:
    side = 260
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    vertices = torch.stack([columns / 100.0, rows / 100.0, torch.zeros(side, side)], -1).reshape(-1, 3)
    corner = (rows[:-1, :-1] * side + columns[:-1, :-1]).reshape(-1)
    faces = torch.stack([corner, corner + 1, corner + side], 1)
    offsets = torch.zeros_like(vertices)
    offsets[-1, 2] = 0.25
    normals = torch.tensor([0.0, 0.0, 1.0]).expand_as(vertices)
    export_mesh(MeshAsset(vertices, normals, faces, morph_targets={"last": offsets}), path)
    tree, binary = read_glb(path)
    (target,) = tree["meshes"][0]["primitives"][0]["targets"]
    assert tree["accessors"][target["POSITION"]]["sparse"]["indices"]["componentType"] == 5125
    np.testing.assert_allclose(read_accessor(tree, binary, target["POSITION"]), offsets.numpy() * 0.1, atol=1e-6)
