"""A ready ``BFM_model_front.mat``: what Deep3D's own conversion wrote (docs/deep3d.md section 1.7)."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facewright.errors import FaceModelError
from facewright.morphable.linear import FaceModel
from facewright.morphable.readers.arrays import file_digests, interleaved, require_files, shaped, vector
from facewright.morphable.readers.assembly import SourceMesh, face_model_from_source
from facewright.morphable.readers.deep3d_topology import LICENCE, read_topology
from facewright.morphable.readers.frame import ModelFrame, five_ids_from_68
from facewright.morphable.readers.matlab import read_matlab
from facewright.morphable.readers.report import ImportProgress, ImportReport, MissingPart, silent
from facewright.morphable.readers.topology import faces_inside

FRONT = MissingPart(
    "BFM_model_front.mat",
    "written by Deep3D's own conversion; import 01_MorphableModel.mat and Exp_Pca.bin with 'bfm2009' to get the same",
    "01_MorphableModel.mat, which 'bfm2009' reads",
)
_TABLES = ("tri", "point_buf", "tri_mask2", "keypoints", "frontmask2_idx", "skinmask")


@dataclass(frozen=True)
class BfmFrontArguments:
    """A ready BFM_model_front.mat, as Deep3D's own conversion writes it."""

    model: Path
    """BFM_model_front.mat."""


def import_bfm_front(model: Path, *, progress: ImportProgress = silent) -> tuple[FaceModel, ImportReport]:
    """Read a converted model, dm and RGB 0..255, not yet centred, into the Deep3D frame.

    Args:
        model: ``BFM_model_front.mat``.
        progress: told what is being done.

    Raises:
        AssetNotFoundError: the file is missing.
        FaceModelError: it is malformed or another file.
    """
    require_files([(model, FRONT)])
    file = model.name
    progress("means and tables", 0.0)
    means = read_matlab(model, ["meanshape", "meantex", *_TABLES])
    mean = vector(means["meanshape"], None, f"{file}: meanshape").astype(np.float64)
    if mean.size % 3:
        raise FaceModelError(f"{file}: expected meanshape to hold x, y, z per vertex, received {mean.size} numbers")
    count = mean.size // 3
    topology = read_topology(means, count, file)
    mean = mean.reshape(-1, 3)
    bases = {}
    for step, name in enumerate(("idBase", "exBase", "texBase")):
        progress(name, 0.1 + 0.25 * step)
        base = shaped(read_matlab(model, [name])[name], (3 * count, None), f"{file}: {name}")
        bases[name] = interleaved(base.astype(np.float32))
    progress("assembling", 0.9)
    mean_albedo = vector(means["meantex"], 3 * count, f"{file}: meantex").astype(np.float64).reshape(-1, 3)
    source = SourceMesh(
        mean_shape=mean,
        id_basis=bases["idBase"],
        exp_basis=bases["exBase"],
        faces=topology.faces,
        mean_albedo=mean_albedo / 255.0,
        albedo_basis=bases["texBase"] / np.float32(255.0),
        ibug68=topology.ibug68,
        five=five_ids_from_68(topology.ibug68),
        regions=topology.regions(np.arange(count), count),
        face_parts={"photometric": faces_inside(topology.faces, topology.photometric)},
    )
    built = face_model_from_source(
        source,
        ModelFrame("decimetre", 1.0, np.eye(3), -mean.mean(0)),
        {
            "name": "bfm2009-front",
            "crop_of": "bfm2009",
            "version": "2009",
            "crop": "front",
            "licence": LICENCE,
            "source": "Basel Face Model 2009 as converted by Deep3DFaceRecon",
            "source_files": file_digests([model]),
            "albedo_space": "display",
            "exp_prior": "normal",
        },
    )
    progress("done", 1.0)
    layout = built.layout
    report = ImportReport(
        "bfm-front",
        found=(
            f"Deep3D's crop of the Basel Face Model 2009: {count} vertices, {len(topology.faces)} triangles",
            f"{layout.id} identity, {layout.exp} expression and {layout.tex} albedo modes",
            "68 landmarks, photometric region, skin region",
        ),
        missing=(MissingPart("ears and neck", "import the original files with 'bfm2009 --crop full'"),),
        notes=("colours are display values (not linear), as in Deep3D",),
    )
    return built, report
