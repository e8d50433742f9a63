"""GNM Head (google/GNM, Apache-2.0): ``gnm_head.npz`` and ``head_sparse_68.txt`` (docs/face-models.md)."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from facewright.bounds import Use, only
from facewright.errors import FaceModelError
from facewright.morphable.linear import FaceModel
from facewright.morphable.readers.arrays import file_digests, ids_from_zero, pick, require_files, shaped
from facewright.morphable.readers.assembly import SourceMesh, face_model_from_source
from facewright.morphable.readers.frame import five_ids_from_68, five_points, frame_from_five
from facewright.morphable.readers.landmarks import heaviest_corners, jaw_in_order
from facewright.morphable.readers.report import ImportProgress, ImportReport, MissingPart, silent
from facewright.morphable.readers.topology import cropped_faces, faces_inside, winds_outwards
from facewright.morphable.readers.uv import in_unit_square, shared_corners
from facewright.untrusted import read_npz, read_text, reading

MODEL = MissingPart("gnm_head.npz", "https://huggingface.co/google/gnm-v3 (Apache-2.0)")
LANDMARKS = MissingPart(
    "head_sparse_68.txt (68 landmarks)",
    "https://github.com/google/GNM: gnm/shape/data/landmarks (Apache-2.0)",
    "head_dense_468.txt, a community table of other points",
)
ALBEDO = MissingPart("albedo", "GNM has none; one skin tone, where none is borrowed")
_M_TO_DM = 10.0
_MOST_TEXT = 1 << 20
_UNUSED = ("joint_regressor", "pose_correctives_regressor", "skinning_weights", "quads", "quad_uvs")


@dataclass(frozen=True)
class GnmArguments:
    """GNM Head of Google (Apache-2.0)."""

    model: Path
    """gnm_head.npz."""
    landmarks: Path
    """head_sparse_68.txt."""
    keep: tuple[str, ...] = ()
    """Vertex groups to keep (skin, left_eye, upper_teeth_and_gums, tongue, ...); all if none is named."""
    drop: tuple[str, ...] = only(
        Use("of groups that --keep names, or without it", lambda o: not o["keep"] or set(o["drop"]) <= set(o["keep"])),
        ("eye_exteriors",),
    )
    """Vertex groups to leave out: by default the clear front of the eyes, which would hide the iris."""


def import_gnm(
    model: Path,
    landmarks: Path,
    *,
    keep: tuple[str, ...] = (),
    drop: tuple[str, ...] = ("eye_exteriors",),
    progress: ImportProgress = silent,
) -> tuple[FaceModel, ImportReport]:
    """Read GNM Head, metres; the landmarks fit the Deep3D face rigidly.

    The linear part only: neck and eye joints and their pose correctives are left out. Modes that do not move the
    chosen vertices are dropped.

    Args:
        model: ``gnm_head.npz``.
        landmarks: ``head_sparse_68.txt``; each point is taken to the nearest corner of its triangle.
        keep: vertex groups to keep, all if empty.
        drop: vertex groups to leave out, where the file has them.
        progress: told what is being done.

    Raises:
        AssetNotFoundError: a file is missing.
        FaceModelError: a file is malformed, or the landmarks are not on the chosen groups.
    """
    require_files([(model, MODEL), (landmarks, LANDMARKS)])
    progress("arrays", 0.0)
    file = model.name
    with reading(file, FaceModelError, "a whole .npz of plain arrays", "download it again"):
        arrays = read_npz(model, skip=_UNUSED)
    mean = shaped(pick(arrays, "template_vertex_positions", file), (None, 3), f"{file}: template_vertex_positions")
    count = len(mean)
    mean = mean.astype(np.float64)
    groups = _groups(arrays, count, file)
    kept = _chosen_vertices(groups, keep, drop, count, file)
    progress("modes", 0.4)
    id_basis, id_dropped = _modes(pick(arrays, "vertex_identity_basis", file), kept, count, f"{file}: identity")
    exp_basis, exp_dropped = _modes(pick(arrays, "expression_basis", file), kept, count, f"{file}: expression")
    exp_names = _names(arrays, "expression_names", len(exp_dropped), file)
    progress("triangles and landmarks", 0.7)
    all_faces = ids_from_zero(shaped(pick(arrays, "triangles", file), (None, 3), f"{file}: triangles"), count, file)
    ids_68, jaw_note = _landmarks(landmarks, mean, kept, count)
    faces = cropped_faces(all_faces, kept, count)
    inside = faces_inside(all_faces, np.isin(np.arange(count), kept))
    stored_uv = shaped(pick(arrays, "triangle_uvs", file), (len(all_faces), 3, 2), f"{file}: triangle_uvs")
    corner_uv = stored_uv[inside].astype(np.float64)
    notes = [
        f"{id_dropped.sum()} identity and {exp_dropped.sum()} expression modes do not move the chosen groups: dropped"
    ]
    notes += ["neck and eye joints and their pose correctives are left out: only the linear part is kept", *jaw_note]
    if not winds_outwards(mean[kept], faces):
        faces, corner_uv = faces[:, ::-1], corner_uv[:, ::-1]
        notes.append("triangles were turned to be counter-clockwise from outside")
    uv, faces_uv = shared_corners(in_unit_square(corner_uv.reshape(-1, 2)).reshape(-1, 3, 2))
    five = five_ids_from_68(ids_68)
    frame = frame_from_five(five_points(mean[kept], five), unit="metre", scale=_M_TO_DM, what=file)
    progress("assembling", 0.9)
    regions = {name: mask[kept].astype(np.float32) for name, mask in groups.items() if mask[kept].any()}
    built = face_model_from_source(
        SourceMesh(
            mean_shape=mean[kept],
            id_basis=id_basis,
            exp_basis=exp_basis,
            faces=faces,
            uv=uv,
            faces_uv=faces_uv,
            exp_names=[name for name, gone in zip(exp_names, exp_dropped, strict=True) if not gone],
            ibug68=ids_68,
            five=five,
            regions=regions,
            face_parts={name: faces_inside(faces, mask > 0.5) for name, mask in regions.items()},
            mirror=_mirror(arrays, kept, count, file),
        ),
        frame,
        {
            "name": f"gnm-{len(kept)}",
            "version": str(arrays.get("version", "3")),
            "licence": "Apache-2.0",
            "source": "GNM Head, Google, https://github.com/google/GNM",
            "source_files": file_digests([model, landmarks]),
            "albedo_space": "linear",
            "exp_prior": "normal",
        },
    )
    progress("done", 1.0)
    layout = built.layout
    found = (
        f"GNM Head: {len(kept)} of {count} vertices, {len(faces)} triangles, metres",
        f"{layout.id} identity and {layout.exp} expression modes",
        f"68 landmarks, texture coordinates, {len(regions)} vertex groups",
    )
    return built, ImportReport("gnm", found, (ALBEDO,), tuple(notes))


def _groups(arrays: dict[str, Any], count: int, file: str) -> dict[str, Bool[np.ndarray, " V"]]:
    masks = shaped(pick(arrays, "vertex_groups", file), (None, count), f"{file}: vertex_groups") > 0.5
    names = _names(arrays, "vertex_group_names", len(masks), file)
    return dict(zip(names, masks, strict=True))


def _names(arrays: dict[str, Any], key: str, count: int, file: str) -> list[str]:
    names = [str(name) for name in np.asarray(pick(arrays, key, file)).ravel()]
    if len(names) != count:
        raise FaceModelError(f"{file}: expected {count} entries in {key}, received {len(names)}; the file is damaged")
    return names


def _chosen_vertices(
    groups: dict[str, Bool[np.ndarray, " V"]], keep: tuple[str, ...], drop: tuple[str, ...], count: int, file: str
) -> Int[np.ndarray, " N"]:
    unknown = [name for name in keep if name not in groups]
    if unknown:
        raise FaceModelError(
            f"{file}: expected groups out of {', '.join(sorted(groups))}, received {', '.join(unknown)}"
        )
    chosen = np.any([groups[name] for name in keep], axis=0) if keep else np.ones(count, bool)
    for name in drop:
        if name in groups:
            chosen &= ~groups[name]
    return np.flatnonzero(chosen)


def _modes(
    stored: Any, kept: Int[np.ndarray, " N"], count: int, what: str
) -> tuple[Float[np.ndarray, "N 3 K"], Bool[np.ndarray, " M"]]:
    """Modes of the chosen vertices that move them, and which were dropped."""
    basis = shaped(stored, (None, count, 3), what)[:, kept]
    still = np.abs(basis).max((1, 2), initial=0.0) < 1e-9
    return np.ascontiguousarray(basis[~still].transpose(1, 2, 0)), still


def _landmarks(
    path: Path, mean: Float[np.ndarray, "V 3"], kept: Int[np.ndarray, " N"], count: int
) -> tuple[Int[np.ndarray, "68"], list[str]]:
    """Rows ``i0 w0 i1 w1 i2 w2`` as ids into the chosen vertices."""
    with reading(path.name, FaceModelError, "68 rows of three ids and weights", "take it from GNM's own repository"):
        table = np.loadtxt(io.StringIO(read_text(path, most=_MOST_TEXT)), ndmin=2)
    shaped(table, (68, 6), path.name)
    corners = ids_from_zero(table[:, ::2], count, path.name)
    whole_ids = heaviest_corners(corners, table[:, 1::2], path.name)
    ordered = jaw_in_order(whole_ids, mean)
    position = np.searchsorted(kept, ordered)
    if (position >= len(kept)).any() or (kept[np.minimum(position, len(kept) - 1)] != ordered).any():
        raise FaceModelError(f"{path.name}: expected landmarks on the chosen vertex groups; keep the group 'skin'")
    moved = int((ordered != whole_ids).sum())
    return position, [f"{moved} jaw landmarks were brought into order from ear to chin"] if moved else []


def _mirror(arrays: dict[str, Any], kept: Int[np.ndarray, " N"], count: int, file: str) -> Int[np.ndarray, " N"] | None:
    if "mirror_indices" not in arrays:
        return None
    what = f"{file}: mirror_indices"
    partner = ids_from_zero(shaped(arrays["mirror_indices"], (count,), what), count, what)[kept]
    position = np.minimum(np.searchsorted(kept, partner), len(kept) - 1)
    return position if np.array_equal(kept[position], partner) else None
