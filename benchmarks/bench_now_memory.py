"""Memory of a NoW-sized run: it must not grow with the number of scans (2,054 pictures, 100 people in the whole set).

    python benchmarks/bench_now_memory.py [--people 40] [--pictures 4]

Writes a folder in NoW's layout from random people of the open head, evaluates meshes from files, and fits a line to the
resident memory after each picture of the second half. Linux only (reads /proc).
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
from PIL import Image

from facewright.evaluate.benchmarks.now import evaluate_now
from facewright.evaluate.methods import MM_PER_DM
from facewright.evaluate.predictions import FileMeshes, mean_mesh, outer_surface
from facewright.export.formats import export_mesh
from facewright.geometry.ibug68 import SEVEN_OF_68
from facewright.geometry.mesh import vertex_normals
from facewright.morphable.container import load_face_model
from facewright.morphable.linear import FaceModel
from facewright.morphable.sample import sample_coefficients
from facewright.records import MeshAsset

WHOLE_SET = 2054


@dataclass(frozen=True)
class Arguments:
    """How much is evaluated."""

    people: int = 40
    """Scans."""
    pictures: int = 4
    """Predictions per scan."""


def resident_mb() -> float:
    """Memory of this process now."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def write_mesh(path: Path, vertices_dm: torch.Tensor, faces: torch.Tensor) -> None:
    """One OBJ, mm."""
    export_mesh(MeshAsset(vertices_dm, vertex_normals(vertices_dm, faces), faces), path, units="mm")


def write_folder(root: Path, model: FaceModel, arguments: Arguments) -> None:
    """NoW's layout with random people; the predictions are other random people."""
    ids, faces = (
        torch.from_numpy(part) for part in outer_surface(model.topology, 100.0 * model.mean_shape.double().numpy())
    )
    landmark_ids = model.annotations.ibug68
    if landmark_ids is None:
        raise SystemExit("the face model has no landmarks")
    seven = landmark_ids[torch.from_numpy(SEVEN_OF_68)]
    people = sample_coefficients(model, torch.Generator().manual_seed(0), arguments.people, expressions=False)
    shapes = model.shape(people.id, people.exp)
    names = []
    for k, shape in enumerate(shapes):
        write_mesh(root / f"scans/S{k:03d}/scan.obj", shape[ids], faces)
        points = (MM_PER_DM * shape[seven]).tolist()
        text = "\n".join('<point x="{}" y="{}" z="{}" name="p"/>'.format(*row) for row in points)
        folder = root / f"scans_lmks_onlypp/S{k:03d}"
        folder.mkdir(parents=True)
        (folder / "scan_picked_points.pp").write_text(text)
        for j in range(arguments.pictures):
            names.append(f"S{k:03d}/multiview_neutral/IMG_{j:04d}.jpg")
            picture = root / "iphone_pictures" / names[-1]
            picture.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8)).save(picture)
            predicted = shapes[(k + j + 1) % len(shapes)]
            mesh = (root / "files" / names[-1]).with_suffix(".obj")
            mesh.parent.mkdir(parents=True, exist_ok=True)
            write_mesh(mesh, predicted[ids], faces)
            np.save(mesh.with_suffix(".npy"), MM_PER_DM * predicted[seven].numpy())
    (root / "imagepathsvalidation.txt").write_text("\n".join(names))


def main(arguments: Arguments) -> None:
    """Print the slope."""
    model = load_face_model("open").requires_grad_(False)
    used: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        write_folder(Path(name), model, arguments)
        evaluation = evaluate_now(
            Path(name),
            FileMeshes(Path(name) / "files"),
            model,
            progress=lambda _picture, _fraction: used.append(resident_mb()),
        )
    half = np.array(used[len(used) // 2 :])
    slope_kb = float(np.polyfit(np.arange(len(half)), half, 1)[0] * 1024)
    vertices = len(mean_mesh(model).surface.vertices_mm)
    print(f"{len(used)} pictures of {arguments.people} people, scans of {vertices} vertices")
    print(f"resident after 10: {used[9]:.1f} MB, at the end: {used[-1]:.1f} MB, most: {max(used):.1f} MB")
    whole_mb = slope_kb * WHOLE_SET / 1024
    print(f"slope over the second half: {slope_kb:+.2f} kB a picture, {whole_mb:+.1f} MB for the whole set")
    print(f"{evaluation.result.seconds / len(used):.2f} s a picture")


if __name__ == "__main__":
    main(tyro.cli(Arguments))
