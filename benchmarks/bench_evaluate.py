"""Time of scan metrics: alignment and surface distances of a 36k-vertex mesh against a 100k-vertex scan, and memory.

Times are printed with the time of a plain nearest-vertex query of the same points (SciPy's k-d tree) in the same run as
the unit: a busy machine slows both. The last line measures how resident memory grows with the number of scans.
"""

import argparse
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy import ndarray
from scipy.spatial import ConvexHull, KDTree
from scipy.spatial.transform import Rotation

from facewright.evaluate.alignment import Similarity
from facewright.evaluate.icp import icp
from facewright.evaluate.pooled import PooledDistances
from facewright.evaluate.scan_fit import fit_to_scan
from facewright.evaluate.surfaces import Surface, closest_points, distances_mm

MESH_VERTICES, SCAN_VERTICES = 35_709, 100_000
LIMIT_S = 5.0
"""ICP and surface distances together must stay below, on two cores."""
LIMIT_KB_PER_SCAN = 50.0
"""A scan of 100,000 distances is 780 kB: growth near that would mean that something is kept."""


def head(num_vertices: int, phase: float = 0.0) -> Surface:
    """A bumpy closed surface of about a head's size; points on a spiral, another phase turns them."""
    i = np.arange(num_vertices) + 0.5
    polar, azimuth = np.arccos(1 - 2 * i / num_vertices), np.pi * (1 + 5**0.5) * i + phase
    d = np.column_stack([np.sin(polar) * np.cos(azimuth), np.cos(polar), np.sin(polar) * np.sin(azimuth)])
    faces = ConvexHull(d).simplices
    a, b, c = (d[faces[:, k]] for k in range(3))
    inward = (np.cross(b - a, c - a) * a).sum(1) < 0
    faces[inward] = faces[inward][:, ::-1]
    x, y, z = d[:, :1], d[:, 1:2], d[:, 2:]
    radius = 85 * (1 + 0.15 * x * y + 0.05 * np.sin(9 * z) + 0.12 * y**3 + 0.03 * np.sin(11 * x) * np.cos(9 * y))
    return Surface(d * radius * [0.8, 1.1, 0.9], faces.astype(np.int64))


def fresh(surface: Surface) -> Surface:
    """The same mesh without its search structures: what a benchmark meets for every prediction."""
    return Surface(surface.vertices_mm, surface.faces)


def timed(function: Callable[[], Any]) -> tuple[float, Any]:
    """Wall time in seconds, and the result."""
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def resident_kb() -> float:
    """Peak resident memory so far, kB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024 if sys.platform == "darwin" else float(peak)


def time_rows(mesh: Surface, scan: Surface, seven: ndarray, turns: int) -> list[tuple[str, float, float]]:
    """Name, median seconds, and median ratio to the nearest-vertex query, of each metric."""
    motion = Similarity(1.04, Rotation.from_rotvec([0.06, -0.08, 0.05]).as_matrix(), np.array([4.0, -3.0, 2.0]))
    truth = Surface(motion.apply(scan.vertices_mm), scan.faces)
    metrics: dict[str, Callable[[], Any]] = {
        "search tree of the mesh": lambda: fresh(mesh).tree,
        "100k points to the surface": lambda: distances_mm(scan.vertices_mm, mesh, "surface"),
        "100k points to tangent planes": lambda: distances_mm(scan.vertices_mm, mesh, "plane"),
        "ICP, rigid + own scale, planes": lambda: icp(fresh(mesh), truth, scale=None),
        "ICP, both directions": lambda: icp(fresh(mesh), fresh(truth), scale=None, direction="symmetric"),
        "ICP and surface distance": lambda: icp_and_distance(mesh, truth),
        "NoW fit and distances": lambda: fit_to_scan(fresh(mesh), seven, truth.vertices_mm, motion.apply(seven) + 2.0),
    }
    rows = []
    for name, metric in metrics.items():
        metric()
        pairs = [
            (timed(metric)[0], timed(lambda: KDTree(mesh.vertices_mm).query(scan.vertices_mm))[0]) for _ in range(turns)
        ]
        rows.append((name, float(np.median([a for a, _ in pairs])), float(np.median([a / b for a, b in pairs]))))
    return rows


def icp_and_distance(mesh: Surface, truth: Surface) -> ndarray:
    """What one pair costs in all."""
    prediction = fresh(mesh)
    alignment = icp(prediction, truth, scale=None).alignment
    return alignment.scale * closest_points(alignment.inverse().apply(truth.vertices_mm), prediction).distances_mm


def memory_slope_kb(mesh: Surface, scan: Surface, num_scans: int) -> float:
    """Growth of peak memory per scan over the second half of a stream of scans."""
    rng, pooled, peaks = np.random.default_rng(0), PooledDistances(), []
    for _ in range(num_scans):
        noisy = scan.vertices_mm + 0.3 * rng.normal(size=scan.vertices_mm.shape)
        pooled.add(closest_points(noisy, fresh(mesh)).distances_mm)
        peaks.append(resident_kb())
    return (peaks[-1] - peaks[num_scans // 2]) / (num_scans - num_scans // 2 - 1)


def main() -> int:
    """Print both tables; 1 if a limit is broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=3, help="runs per metric")
    parser.add_argument("--threads", type=int, default=2, help="of torch; libigl uses all cores")
    parser.add_argument("--scans", type=int, default=40, help="length of the memory test")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    mesh, scan = head(MESH_VERTICES), head(SCAN_VERTICES, phase=1.0)
    seven = mesh.vertices_mm[np.linspace(0, MESH_VERTICES - 1, 7).astype(int)]
    slope = memory_slope_kb(mesh, scan, arguments.scans)  # first: later peaks would hide a slow growth
    broken = int(slope > LIMIT_KB_PER_SCAN)
    print(f"{'metric':<34}{'seconds':>9}{'x nearest vertex':>18}")
    for name, seconds, ratio in time_rows(mesh, scan, seven, arguments.turns):
        over = name == "ICP and surface distance" and seconds > LIMIT_S
        broken += over
        print(f"{name:<34}{seconds:>9.2f}{ratio:>18.1f}{'  over the limit' if over else ''}")
    print(f"peak memory grows by {slope:.1f} kB per scan of {SCAN_VERTICES} distances (limit {LIMIT_KB_PER_SCAN:.0f})")
    return int(broken > 0)


if __name__ == "__main__":
    raise SystemExit(main())
