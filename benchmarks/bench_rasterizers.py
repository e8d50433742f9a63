"""Rasteriser backends side by side, and one differentiable rendering step: times, ratios and peak memory in one run.

    python benchmarks/bench_rasterizers.py [--repeats 20] [--device cuda]

The scene is a bumpy ball that covers about half of the picture. Times are CPU time of one thread (median), so that a
busy machine slows all columns alike, and on a GPU wall time; ratios compare backends on the same line. Memory is how
far one call raises the process's memory, where the system tells (Linux with glibc), and on a GPU the device's.
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
from facewright.render.rasterizers import Backend

SUBDIVISIONS = {2562: 4, 10242: 5, 40962: 6}
RASTERIZE_CASES = [(v, s, b) for v in SUBDIVISIONS for s, b in ((224, 1), (224, 8), (1024, 1))]
RENDER_CASES = [(2562, 224, 1), (10242, 224, 1), (10242, 224, 8), (10242, 512, 1), (40962, 224, 1)]


@dataclass(frozen=True)
class Arguments:
    """Time the rasterisers and one forward and backward rendering step."""

    repeats: int = 20
    """Runs per measurement; the median counts."""
    device: str = "cpu"
    """cpu: numba and torch; cuda: triton and torch."""


def bumpy_ball(num_vertices: int, batch: int, device: str) -> tuple[Tensor, Tensor]:
    """Vertices (batch, V, 3) in the world frame, and faces."""
    ball = trimesh.creation.icosphere(SUBDIVISIONS[num_vertices], 0.9)
    vertices = torch.tensor(ball.vertices, dtype=torch.float32)
    phases = torch.arange(batch)[:, None, None]
    bumps = 1 + 0.05 * torch.sin(9 * vertices + phases).sum(-1, keepdim=True) / 3
    return (vertices * bumps).to(device), torch.tensor(ball.faces).to(device)


def milliseconds(run: Callable[[], object], repeats: int, device: str) -> float:
    """Median time of a call, after two to warm up: of the CPU, or until the GPU is done."""
    times = []
    for _ in range(repeats + 2):
        start = time.process_time() if device == "cpu" else time.perf_counter()
        run()
        if device == "cpu":
            times.append(time.process_time() - start)
        else:
            torch.cuda.synchronize()
            times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times[2:])


def peak_growth_mb(run: Callable[[], object], device: str) -> str:
    """By how much one call raises the memory in use above where it stood, MB; "?" where that cannot be asked."""
    if device != "cpu":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        run()
        return f"{(torch.cuda.max_memory_allocated() - before) / 2**20:.1f}"
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


def bench_rasterizers(repeats: int, device: str) -> None:
    """The device's own backend and torch on the same scenes."""
    own: Backend = "numba" if device == "cpu" else "triton"
    print_row("vertices", "size, px", "batch", f"{own}, ms", "torch, ms", f"torch / {own}", f"{own}, MB", "torch, MB")
    print_row(*["--:"] * 8)
    for num_vertices, size, batch in RASTERIZE_CASES:
        vertices, faces = bumpy_ball(num_vertices, batch, device)
        camera = crop_camera(batch, size=size, like=vertices)
        draw = partial(rasterize, clip_from_world(vertices, camera), faces, (size, size))
        runs = (partial(draw, backend=own), partial(draw, backend="torch"))
        quick, tensors = (milliseconds(run, repeats, device) for run in runs)
        memory = [peak_growth_mb(run, device) for run in runs]
        print_row(num_vertices, size, batch, f"{quick:.2f}", f"{tensors:.2f}", f"{tensors / quick:.1f}", *memory)


def bench_reference() -> None:
    """The slow twin, once."""
    vertices, faces = bumpy_ball(2562, 1, "cpu")
    draw = partial(rasterize, clip_from_world(vertices, crop_camera(size=64)), faces, (64, 64))
    slow, quick = (milliseconds(partial(draw, backend=name), 3, "cpu") for name in ("reference", "numba"))
    print(f"\nreference / numba, 2562 vertices, 64 px: {slow / quick:.0f}\n")


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
        light = vertices.new_zeros(batch, 9, 3).requires_grad_()
        mesh = FaceMesh(vertices, vertex_normals(vertices, self.faces), albedo, self.faces)
        camera = crop_camera(batch, size=self.size, like=vertices)
        picture = render(mesh, camera, light, antialias=antialias, edges=self.edges)
        return picture.image.square().mean() + picture.mask.mean()

    def both_ways(self) -> None:
        """Forward and backward."""
        self.loss(antialias=True).backward()


def bench_render(repeats: int, device: str) -> None:
    """Where the time of a step goes; each column is the difference to the run without it."""
    print_row("vertices", "size, px", "batch", "normals", "draw", "silhouettes", "backward", "all, ms", "MB")
    print_row(*["--:"] * 9)
    for num_vertices, size, batch in RENDER_CASES:
        vertices, faces = bumpy_ball(num_vertices, batch, device)
        step = Step(vertices, faces, mesh_edges(faces), size)
        runs = (step.normals, partial(step.loss, antialias=False), partial(step.loss, antialias=True), step.both_ways)
        normals, jagged, smooth, whole = (milliseconds(run, repeats, device) for run in runs)
        parts = (normals, jagged - normals, smooth - jagged, whole - smooth, whole)
        memory = peak_growth_mb(step.both_ways, device)
        print_row(num_vertices, size, batch, *(f"{part:.2f}" for part in parts), memory)


def main() -> None:
    """Print the tables."""
    arguments = tyro.cli(Arguments)
    torch.set_num_threads(1)
    bench_rasterizers(arguments.repeats, arguments.device)
    if arguments.device == "cpu":
        bench_reference()
    bench_render(arguments.repeats, arguments.device)


if __name__ == "__main__":
    main()
