"""Time and size of each mesh format, as multiples of trimesh's own GLB of the same surface without morph targets.

A head-sized asset: 10,242 vertices, 20,480 faces, 52 local morph targets, a 1024 x 1024 texture. Medians of five runs.
Then one of the product's own pictures (a bundled portrait, enlarged) as a PNG: our encoder, OpenCV's, Pillow's; of
trimesh's writers the texture is the costly part, which they encode themselves, by Pillow.
"""

import io
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
import trimesh
from PIL import Image

from facewright.assets import embedded_path
from facewright.export.formats import FORMATS, MESH_FORMATS, export_mesh
from facewright.export.png import png_bytes
from facewright.geometry.mesh import vertex_normals
from facewright.records import MeshAsset


def head_sized_asset() -> MeshAsset:
    """A sphere whose targets each move about a quarter of the vertices."""
    sphere = trimesh.creation.icosphere(subdivisions=5)
    vertices, faces = torch.tensor(sphere.vertices).float(), torch.tensor(sphere.faces).long()
    generator = torch.Generator().manual_seed(0)
    centres = torch.nn.functional.normalize(torch.randn(52, 3, generator=generator), dim=1)
    weights = (1.0 - (vertices[None] - centres[:, None]).square().sum(-1)).clamp_min(0.0)
    targets = {f"target{k}": 0.1 * weights[k, :, None] * centres[k] for k in range(52)}
    texture = torch.linspace(0.2, 0.8, 1024).expand(3, 1024, 1024) + 0.05 * torch.randn(
        3, 1024, 1024, generator=generator
    )
    return MeshAsset(
        vertices=vertices,
        normals=vertex_normals(vertices, faces),
        faces=faces,
        uv=0.5 + 0.5 * vertices[:, :2],
        faces_uv=faces,
        colors=torch.rand(len(vertices), 3, generator=generator),
        texture=texture.clamp(0.0, 1.0),
        morph_targets=targets,
        morph_weights={"target3": 0.4},
    )


def median_seconds(action: Callable[[], object], runs: int = 5) -> float:
    """Median wall time of an action, s."""
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    """Print one row per format."""
    torch.set_num_threads(1)
    asset = head_sized_asset()
    mesh = trimesh.Trimesh(asset.vertices.numpy(), asset.faces.numpy(), process=False)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        unit_time = median_seconds(lambda: mesh.export(folder / "plain.glb"))
        unit_size = (folder / "plain.glb").stat().st_size
        print(f"{'format':24}{'time':>8}{'size':>8}   (trimesh, bare GLB: {1e3 * unit_time:.1f} ms, {unit_size} bytes)")
        variants = dict.fromkeys(MESH_FORMATS, asset)
        variants["glb, no morph targets"] = replace(asset, morph_targets={}, morph_weights={})
        for label, variant in variants.items():
            target = folder / label.replace(", ", "_").replace(" ", "_") / f"face{FORMATS[label.split(',')[0]].suffix}"
            seconds = median_seconds(lambda variant=variant, target=target: export_mesh(variant, target))
            size = sum(file.stat().st_size for file in target.parent.iterdir())
            print(f"{label:24}{seconds / unit_time:7.1f}x{size / unit_size:7.1f}x")
    compare_encoders()


def compare_encoders() -> None:
    """Print time and size of a picture by each encoder, as multiples of ours."""
    cv2.setNumThreads(1)
    picture = Image.open(embedded_path("photos/astronaut.jpg")).convert("RGB").resize((1024, 1024))
    pixels = np.asarray(picture)
    tensor = torch.from_numpy(pixels.copy()).permute(2, 0, 1) / 255.0

    def by_pillow() -> bytes:
        stream = io.BytesIO()
        picture.save(stream, "PNG")
        return stream.getvalue()

    encoders: dict[str, Callable[[], bytes]] = {
        "png, ours": lambda: png_bytes(tensor),
        "png, OpenCV at level 1": lambda: cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes(),
        "png, Pillow": by_pillow,
    }
    seconds = {label: median_seconds(encode) for label, encode in encoders.items()}
    print(f"(ours: {1e3 * seconds['png, ours']:.1f} ms)")
    for label, encode in encoders.items():
        print(f"{label:24}{seconds[label] / seconds['png, ours']:7.1f}x{len(encode()) / len(png_bytes(tensor)):7.1f}x")


if __name__ == "__main__":
    main()
