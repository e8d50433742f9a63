"""Rasteriser backends side by side, and one differentiable rendering step: times, ratios and peak memory in one run.

    python benchmarks/bench_rasterizers.py [--repeats 20]

The scene is a bumpy ball that covers about half of the picture. Times are CPU time of one thread (median), so that a
busy machine slows all columns alike; ratios compare backends on the same line. Memory is how far one call raises the
process's memory, where the system tells (Linux with glibc).
"""

import ctypes
import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
import trimesh
import tyro
from torch import Tensor

from facewright.geometry.frames import clip_from_world, crop_camera
from facewright.geometry.mesh import vertex_normals
from facewright.records import FaceMesh
from facewright.render import MeshEdges, mesh_edges, rasterize, render

SUBDIVISIONS = {2562: 4, 10242: 5, 40962: 6}
RASTERIZE_CASES = [(v, s, b) for v in SUBDIVISIONS for s, b in ((224, 1), (224, 8), (1024, 1))]
RENDER_CASES = [(2562, 224, 1), (10242, 224, 1), (10242, 224, 8), (10242, 512, 1), (40962, 224, 1)]


@dataclass(frozen=True)
class Arguments:
    """Time the rasterisers and one forward and backward rendering step."""

    repeats: int = 20
    """Runs per measurement; the median counts."""


def bumpy_ball(num_vertices: int, batch: int) -> tuple[Tensor, Tensor]:
    """Vertices (batch, V, 3) in the world frame, and faces."""
    ball = trimesh.creation.icosphere(SUBDIVISIONS[num_vertices], 0.9)
    vertices = torch.tensor(ball.vertices, dtype=torch.float32)
    phases = torch.arange(batch)[:, None, None]
    bumps = 1 + 0.05 * torch.sin(9 * vertices + phases).sum(-1, keepdim=True) / 3
    return vertices * bumps, torch.tensor(ball.faces)


def milliseconds(run: Callable[[], object], repeats: int) -> float:
    """Median CPU time of a call, after two to warm up."""
    times = []
    for _ in range(repeats + 2):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return 1e3 * statistics.median(times[2:])


def peak_growth_mb(run: Callable[[], object]) -> str:
    """By how much one call raises the process's memory above where it stood, MB; "?" where that cannot be asked."""
    status = Path("/proc/self/status")

    def kilobytes(name: str) -> int:
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith(name))

    try:
        gc.collect()
        ctypes.CDLL("libc.so.6").malloc_trim(0)  # give back what earlier calls left
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
        before = kilobytes("VmRSS")
        run()
        return f"{(kilobytes('VmHWM') - before) / 1024:.1f}"
    except (OSError, AttributeError):
        return "?"


def print_row(*cells: object) -> None:
    """One line of a Markdown table."""
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)


def bench_rasterizers(repeats: int) -> None:
    """Numba and torch on the same scenes."""
    print_row("vertices", "size, px", "batch", "numba, ms", "torch, ms", "torch / numba", "numba, MB", "torch, MB")
    print_row(*["--:"] * 8)
    for num_vertices, size, batch in RASTERIZE_CASES:
        vertices, faces = bumpy_ball(num_vertices, batch)
        draw = partial(rasterize, clip_from_world(vertices, crop_camera(batch, size=size)), faces, (size, size))
        runs = (partial(draw, backend="numba"), partial(draw, backend="torch"))
        numba, tensors = (milliseconds(run, repeats) for run in runs)
        memory = [peak_growth_mb(run) for run in runs]
        print_row(num_vertices, size, batch, f"{numba:.2f}", f"{tensors:.2f}", f"{tensors / numba:.1f}", *memory)


def bench_reference() -> None:
    """The slow twin, once."""
    vertices, faces = bumpy_ball(2562, 1)
    draw = partial(rasterize, clip_from_world(vertices, crop_camera(size=64)), faces, (64, 64))
    slow = milliseconds(partial(draw, backend="reference"), 3)
    print(f"\nreference / numba, 2562 vertices, 64 px: {slow / milliseconds(partial(draw, backend='numba'), 20):.0f}\n")


@dataclass(frozen=True)
class Step:
    """One step of analysis by synthesis: normals, light, picture, silhouettes, and back to every input."""

    vertices: Tensor
    faces: Tensor
    edges: MeshEdges
    size: int

    def normals(self) -> Tensor:
        """Normals alone."""
        return vertex_normals(self.vertices.clone().requires_grad_(), self.faces)

    def loss(self, *, antialias: bool) -> Tensor:
        """Forward."""
        batch = len(self.vertices)
        vertices = self.vertices.clone().requires_grad_()
        albedo = torch.full_like(vertices, 0.5).requires_grad_()
        light = torch.zeros(batch, 9, 3, requires_grad=True)
        mesh = FaceMesh(vertices, vertex_normals(vertices, self.faces), albedo, self.faces)
        camera = crop_camera(batch, size=self.size)
        picture = render(mesh, camera, light, antialias=antialias, edges=self.edges)
        return picture.image.square().mean() + picture.mask.mean()

    def both_ways(self) -> None:
        """Forward and backward."""
        self.loss(antialias=True).backward()


def bench_render(repeats: int) -> None:
    """Where the time of a step goes; each column is the difference to the run without it."""
    print_row("vertices", "size, px", "batch", "normals", "draw", "silhouettes", "backward", "all, ms", "MB")
    print_row(*["--:"] * 9)
    for num_vertices, size, batch in RENDER_CASES:
        vertices, faces = bumpy_ball(num_vertices, batch)
        step = Step(vertices, faces, mesh_edges(faces), size)
        runs = (step.normals, partial(step.loss, antialias=False), partial(step.loss, antialias=True), step.both_ways)
        normals, jagged, smooth, whole = (milliseconds(run, repeats) for run in runs)
        parts = (normals, jagged - normals, smooth - jagged, whole - smooth, whole)
        print_row(num_vertices, size, batch, *(f"{part:.2f}" for part in parts), peak_growth_mb(step.both_ways))


def main() -> None:
    """Print the tables."""
    arguments = tyro.cli(Arguments)
    torch.set_num_threads(1)
    bench_rasterizers(arguments.repeats)
    bench_reference()
    bench_render(arguments.repeats)


if __name__ == "__main__":
    main()
