"""ICT-FaceKit "Light" (MIT): a clone's folder of OBJ files (docs/face-models.md)."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int

from facewright.errors import FaceModelError
from facewright.files import natural_order
from facewright.morphable.linear import FaceModel
from facewright.morphable.readers.arrays import file_digests, first_modes, ids_from_zero, pick, require_files, vector
from facewright.morphable.readers.assembly import SourceMesh, face_model_from_source
from facewright.morphable.readers.frame import five_ids_from_68, five_points, frame_from_five
from facewright.morphable.readers.obj import ObjMesh, read_obj, read_vertices
from facewright.morphable.readers.report import ImportProgress, ImportReport, MissingPart, silent
from facewright.morphable.readers.topology import cropped_faces, faces_inside, winds_outwards
from facewright.morphable.readers.uv import in_unit_square, used_only
from facewright.untrusted import read_json, reading

Part = Literal[
    "face", "head_neck", "mouth_socket", "eye_sockets", "gums_tongue", "teeth", "eyeballs", "eye_helpers", "eyelashes"
]
PARTS: dict[str, tuple[int, int]] = {
    "face": (0, 9409),
    "head_neck": (9409, 11248),
    "mouth_socket": (11248, 13294),
    "eye_sockets": (13294, 14062),
    "gums_tongue": (14062, 17039),
    "teeth": (17039, 21451),
    "eyeballs": (21451, 24591),
    "eye_helpers": (24591, 25351),
    "eyelashes": (25351, 26719),
}
"""Vertex ranges of the published order; eye helpers are the clear films over the eyes."""
VERTICES = 26719

CLONE = MissingPart(
    "FaceXModel/ of an ICT-FaceKit clone (generic_neutral_mesh.obj, identity*.obj, one OBJ per expression, "
    "vertex_indices.json)",
    "git clone https://github.com/ICT-VGL/ICT-FaceKit (MIT)",
    "a zip of one OBJ only",
)
ALBEDO = MissingPart("albedo", "the Light model has none; one skin tone, where none is borrowed")
_CM_TO_DM = 0.1
_RANK_TOLERANCE = 1e-6
_NAME = re.compile(r"\w[\w.-]{0,99}")


@dataclass(frozen=True)
class IctArguments:
    """ICT-FaceKit Light (MIT), from a clone."""

    folder: Path
    """The clone, or its folder FaceXModel."""
    parts: tuple[Part, ...] = (
        "face",
        "head_neck",
        "mouth_socket",
        "eye_sockets",
        "gums_tongue",
        "teeth",
        "eyeballs",
    )
    """Parts to keep; identity modes are made orthogonal again on them."""
    num_id: int = 0
    """Identity modes to keep; 0 keeps all 100."""


def import_ict(
    folder: Path,
    *,
    parts: tuple[Part, ...] = ("face", "head_neck", "mouth_socket", "eye_sockets", "gums_tongue", "teeth", "eyeballs"),
    num_id: int = 0,
    progress: ImportProgress = silent,
) -> tuple[FaceModel, ImportReport]:
    """Read ICT-FaceKit, centimetres: modes are targets minus the neutral head; landmarks fit the Deep3D face rigidly.

    Identity modes are orthogonal on the whole head only. On the chosen parts they are replaced by their principal axes:
    the same distribution of shapes (the same covariance), in falling order of deviation.

    Args:
        folder: the clone, or its folder ``FaceXModel``.
        parts: which parts to keep.
        num_id: identity modes to keep after that, 0 for all.
        progress: told what is being done.

    Raises:
        AssetNotFoundError: the folder or the neutral mesh is missing.
        FaceModelError: a file is malformed, another topology, or a listed one is missing.
    """
    inner = folder / "FaceXModel"
    root = inner if inner.is_dir() else folder
    neutral_path, config_path = root / "generic_neutral_mesh.obj", root / "vertex_indices.json"
    require_files([(neutral_path, CLONE), (config_path, CLONE)])
    progress("neutral head", 0.0)
    neutral, config = read_obj(neutral_path), _read_config(config_path)
    if len(neutral.vertices) != VERTICES:
        raise FaceModelError(
            f"{neutral_path.name}: expected the {VERTICES} vertices of ICT-FaceKit Light, received "
            f"{len(neutral.vertices)}; update the clone"
        )
    kept = _chosen_vertices(parts)
    id_paths = natural_order(root.glob("identity[0-9]*.obj"))
    exp_names = _expressions(config, config_path.name)
    exp_paths = [root / f"{name}.obj" for name in exp_names]
    require_files((path, CLONE) for path in [*exp_paths, *([] if id_paths else [root / "identity000.obj"])])
    mesh, notes = _crop(neutral, kept)
    ids_68 = _landmarks(config, kept, config_path.name)
    five = five_ids_from_68(ids_68)
    frame = frame_from_five(five_points(mesh.vertices, five), unit="centimetre", scale=_CM_TO_DM, what=config_path.name)
    offsets = _read_offsets([*id_paths, *exp_paths], neutral.vertices, kept, progress)
    progress("principal axes", 0.85)
    id_basis = _principal_modes(offsets[:, :, : len(id_paths)])
    id_basis = id_basis[:, :, : first_modes(num_id, id_basis.shape[2], "identity modes")]
    regions = {name: _range_mask(kept, *PARTS[name]) for name in parts}
    built = face_model_from_source(
        SourceMesh(
            mean_shape=mesh.vertices,
            id_basis=id_basis,
            exp_basis=offsets[:, :, len(id_paths) :],
            faces=mesh.faces,
            uv=mesh.uv,
            faces_uv=mesh.faces_uv,
            exp_names=[_arkit_name(name) for name in exp_names],
            ibug68=ids_68,
            five=five,
            regions=regions,
            face_parts={name: faces_inside(mesh.faces, mask > 0.5) for name, mask in regions.items()},
        ),
        frame,
        {
            "name": f"ict-{len(kept)}",
            "version": "Light",
            "licence": "MIT",
            "source": "ICT-FaceKit Light, USC Institute for Creative Technologies, https://github.com/ICT-VGL/ICT-FaceKit",
            "source_files": file_digests([neutral_path, config_path]),
            "albedo_space": "linear",
            "exp_prior": "box",
        },
    )
    progress("done", 1.0)
    layout = built.layout
    found = (
        f"ICT-FaceKit Light: {len(kept)} of {VERTICES} vertices ({', '.join(parts)}), {len(mesh.faces)} triangles",
        f"{layout.id} identity modes (principal axes on these parts), {layout.exp} named expressions",
        "68 landmarks, texture coordinates, parts",
    )
    return built, ImportReport("ict", found, (ALBEDO,), tuple(notes))


def _read_config(path: Path) -> dict[str, Any]:
    with reading(path.name, FaceModelError, "JSON", "update the clone"):
        config = read_json(path)
    if not isinstance(config, dict):
        raise FaceModelError(f"{path.name}: expected a JSON object, received {type(config).__name__}; update the clone")
    return config


def _expressions(config: dict[str, Any], file: str) -> list[str]:
    """Names of the expressions, which are names of files beside the list."""
    names = pick(config, "expressions", file)
    are_names = isinstance(names, list) and all(isinstance(n, str) and _NAME.fullmatch(n) for n in names)
    if not are_names or len(set(names)) < len(names):
        raise FaceModelError(
            f"{file}: expected expressions as a list of different plain names, received {names!r:.80}; update the clone"
        )
    return names


def _chosen_vertices(parts: tuple[Part, ...]) -> Int[np.ndarray, " N"]:
    unknown = [name for name in parts if name not in PARTS]
    if unknown or not parts:
        raise FaceModelError(f"expected parts out of {', '.join(PARTS)}, received {', '.join(unknown) or 'none'}")
    return np.unique(np.concatenate([np.arange(*PARTS[name]) for name in parts]))


def _range_mask(kept: Int[np.ndarray, " N"], first: int, end: int) -> Float[np.ndarray, " N"]:
    return ((kept >= first) & (kept < end)).astype(np.float32)


def _read_offsets(
    paths: list[Path], neutral: Float[np.ndarray, "V 3"], kept: Int[np.ndarray, " N"], progress: ImportProgress
) -> Float[np.ndarray, "N 3 K"]:
    """Target minus neutral of each file, on the chosen vertices."""
    offsets = np.zeros((len(kept), 3, len(paths)), np.float32)
    for k, path in enumerate(paths):
        progress(path.stem, 0.05 + 0.8 * k / len(paths))
        target = read_vertices(path)
        if target.shape != neutral.shape:
            raise FaceModelError(
                f"{path.name}: expected {len(neutral)} vertices, received {len(target)}; update the clone"
            )
        offsets[:, :, k] = (target - neutral)[kept]
    return offsets


def _principal_modes(modes: Float[np.ndarray, "N 3 K"]) -> Float[np.ndarray, "N 3 R"]:
    """Orthogonal modes with the same covariance: U S of the singular value decomposition, rank kept."""
    flat = modes.reshape(-1, modes.shape[2]).astype(np.float64)
    variance, axes = np.linalg.eigh(flat.T @ flat)
    order = np.argsort(-variance)
    rank = int((variance > variance.max(initial=0.0) * _RANK_TOLERANCE**2).sum())
    return (flat @ axes[:, order[:rank]]).reshape(*modes.shape[:2], rank)


def _crop(neutral: ObjMesh, kept: Int[np.ndarray, " N"]) -> tuple[ObjMesh, list[str]]:
    """The neutral mesh on the chosen vertices, counter-clockwise from outside, texture inside 0..1."""
    notes = []
    faces = cropped_faces(neutral.faces, kept, len(neutral.vertices))
    uv, faces_uv = neutral.uv, neutral.faces_uv
    if uv is not None and faces_uv is not None:
        inside = faces_inside(neutral.faces, np.isin(np.arange(len(neutral.vertices)), kept))
        uv, faces_uv = used_only(uv, faces_uv[inside])
        if uv.max() > 1.0 + 1e-6:
            notes.append("texture tiles were shrunk together into the unit square")
        uv = in_unit_square(uv)
    if not winds_outwards(neutral.vertices[kept], faces):
        faces, faces_uv = faces[:, ::-1], None if faces_uv is None else faces_uv[:, ::-1]
        notes.append("triangles were turned to be counter-clockwise from outside")
    return ObjMesh(neutral.vertices[kept], faces, uv, faces_uv), notes


def _landmarks(config: dict[str, Any], kept: Int[np.ndarray, " N"], file: str) -> Int[np.ndarray, "68"]:
    listed = vector(pick(config, "idx_to_landmark_verts", file), 68, f"{file}: idx_to_landmark_verts")
    ids = ids_from_zero(listed, VERTICES, f"{file}: idx_to_landmark_verts")
    position = np.searchsorted(kept, ids)
    if (position >= len(kept)).any() or not np.array_equal(kept[np.minimum(position, len(kept) - 1)], ids):
        raise FaceModelError(f"{file}: expected landmarks on the chosen parts; keep the part 'face'")
    return position


def _arkit_name(name: str) -> str:
    """ICT's ``browDown_L`` as ARKit spells it: ``browDownLeft``."""
    return name.removesuffix("_L") + "Left" if name.endswith("_L") else _right(name)


def _right(name: str) -> str:
    return name.removesuffix("_R") + "Right" if name.endswith("_R") else name
