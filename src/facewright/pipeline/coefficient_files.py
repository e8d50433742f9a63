"""Coefficients from files: our ``.json`` and ``.npz``, and the official ``.mat`` in both spellings."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from facewright.align.official import photo_points_from_mat, trans_params_from_mat
from facewright.detect import detection_from_points, read_landmarks
from facewright.errors import CoefficientsError, ReconstructionError
from facewright.export.formats import FORMATS, format_of
from facewright.morphable.linear import FaceModel
from facewright.records import Camera, FaceCoefficients, FaceDetection
from facewright.regress.official import coefficients_from_official
from facewright.untrusted import read_json, read_mat, read_npz, reading

_LARGEST = 1e6
"""No coefficient, angle or distance comes near; far beyond, what is decoded overflows."""

_MOST_PIXELS = 1_000_000

Reader = Callable[..., Any]
"""A path, and what else is to be known, to what is asked for."""


def read_coefficients(path: Path, model: FaceModel, *, face: int = 0) -> FaceCoefficients:
    """Read the coefficients of one face.

    Accepted are our ``.json`` and ``.npz``, and MATLAB files with ``coeff`` (packed vectors; the TensorFlow spelling)
    or with ``id``, ``exp``, ``tex``, ``angle``, ``gamma``, ``trans`` (the PyTorch spelling). Packed vectors have the
    model's length; or up to three more, which some released graphs emit and which are dropped; or 18 fewer: white
    light, whose 9 numbers are repeated for the three channels. Pose and light are zero where a file has none.

    Args:
        path: the file.
        model: fixes how many coefficients there must be.
        face: which one, where the file holds several.

    Raises:
        CoefficientsError: unreadable, malformed, not finite, or of another model.
    """
    readers = {"json": _from_json, "npz": _from_npz, "mat": _from_mat}
    with _reading(path, readers) as reader:
        return reader(path, model, face)


def coefficients_of_document(content: Any, model: FaceModel, *, face: int = 0, name: str = "it") -> FaceCoefficients:
    """The coefficients of one face in the content of our ``.json``, that came as no file.

    Args:
        content: of the document.
        model: fixes how many coefficients there must be.
        face: which one.
        name: what messages call the document.

    Raises:
        CoefficientsError: malformed, not finite, or of another model.
    """
    with reading(name, CoefficientsError, "a result of a reconstruction", "reconstruct the photo again"):
        return _from_document(content, model, face, Path(name))


def read_trans_params(path: Path, *, face: int = 0) -> Float[Tensor, "5"]:
    """Crop parameters W, H, s, tx, ty of one face, out of a ``.json``, ``.npz`` or ``.mat``; float64.

    Raises:
        CoefficientsError: unreadable, malformed, or without them (the official PyTorch program does not write them).
    """
    readers = {"json": _trans_params_of_json, "npz": _trans_params_of_npz, "mat": _trans_params_of_mat}
    with _reading(path, readers) as reader:
        return trans_params_from_mat({"trans_params": reader(path, face)})


def read_known_face(path: Path) -> FaceDetection:
    """The face that a landmarks file marks: ``.txt`` (``detect.read_landmarks``), or a ``.mat`` with ``trans_params``.

    Raises:
        LandmarksError: the ``.txt`` is malformed.
        CoefficientsError: the ``.mat`` is, or has no landmarks or crop parameters.
    """
    if path.suffix.lower() != FORMATS["mat"].suffix:
        return read_landmarks(path)
    with _reading(path, {"mat": read_mat}) as reader:
        points = photo_points_from_mat(reader(path, ["trans_params", "lm68", "lm_68p", "lm_5p"]))
        if len(points) not in (5, 68) or not bool((points.abs() < _LARGEST).all()):
            raise CoefficientsError(
                f"{path}: expected 5 or 68 points in the photo, received {len(points)}, or points far outside; mark "
                "the face in a text file instead"
            )
        return detection_from_points(points.float())


def read_camera(path: Path, *, face: int = 0) -> Camera | None:
    """Camera of the whole photo, out of our ``.json``; None where there is none.

    Raises:
        CoefficientsError: unreadable or malformed.
    """
    if path.suffix.lower() != FORMATS["json"].suffix:
        return None
    with _reading(path, {"json": read_json}) as reader:
        content = reader(path)
        camera = _json_face(content, face, path).get("camera")
        if camera is None:
            return None
        focal, cx, cy = (torch.tensor([float(camera[name])]) for name in ("focal_px", "cx", "cy"))
        size = [content["photo"][name] for name in ("width", "height")]
        if not 0 < float(focal) < _LARGEST or not max(abs(float(cx)), abs(float(cy))) < _LARGEST:
            raise CoefficientsError(
                f"{path}: expected a camera of a focal length > 0 px and a principal point, received {camera!r:.100}"
            )
        if not all(isinstance(pixels, int) and 0 < pixels < _MOST_PIXELS for pixels in size):
            raise CoefficientsError(f"{path}: expected a photo's width and height in pixels, received {size!r:.100}")
        distance = float(camera.get("distance_dm", Camera.distance_dm))
        if not 0 < distance < _LARGEST:
            raise CoefficientsError(f"{path}: expected a camera farther away than 0 dm, received {distance!r} dm")
        return Camera(focal, cx, cy, size[0], size[1], distance)


def read_photo_name(path: Path) -> str:
    """File name, without folders, of the photo that our ``.json`` is of.

    Raises:
        CoefficientsError: unreadable, malformed, not a ``.json``, or it names none.
    """
    with _reading(path, {"json": read_json}) as reader:
        name = PurePath(str(reader(path)["photo"]["path"])).name
        if not name:
            raise CoefficientsError(f"{path}: expected the name of its photo, found none; reconstruct the photo again")
        return name


@contextmanager
def _reading(path: Path, readers: Mapping[str, Reader]) -> Iterator[Reader]:
    """The reader (by name of its format) that the suffix asks for; whatever goes wrong inside, what was expected."""
    chosen = format_of(path, readers, error=CoefficientsError)
    if not path.is_file():
        raise CoefficientsError(f"expected a file at {path}, found none")
    known = ", ".join(FORMATS[name].suffix for name in readers)
    expected, remedy = f"a result ({known}) as facewright or Deep3DFaceRecon writes it", "reconstruct the photo again"
    with reading(path, CoefficientsError, expected, remedy):
        try:
            yield readers[chosen.name]
        except ReconstructionError as error:
            raise CoefficientsError(f"{path}: {error}") from error


def _from_json(path: Path, model: FaceModel, face: int) -> FaceCoefficients:
    return _from_document(read_json(path), model, face, path)


def _from_document(content: Any, model: FaceModel, face: int, path: Path) -> FaceCoefficients:
    entry = _json_face(content, face, path)
    made_for = entry.get("face_model")
    if made_for is not None and not model.takes_coefficients_of(str(made_for)):
        raise CoefficientsError(
            f"{path}: expected coefficients of face model {model.name!r}, received those of {made_for!r}; "
            "pass that model with --face-model"
        )
    if "face_model" in entry and (edition := entry.get("face_model_edition", 1)) != model.edition:
        raise CoefficientsError(
            f"{path}: expected coefficients of edition {model.edition} of face model {model.name!r}, received those of "
            f"edition {edition!r:.40}, which mean other faces; reconstruct the photo again"
        )
    parts = {name: _row(entry["coefficients"][name], 1) for name in ("id", "exp", "tex")}
    parts["sh"] = _row(entry["coefficients"].get("sh", np.zeros((9, 3))), 2)
    if pose := entry.get("pose"):
        degrees = [pose["pitch_deg"], pose["yaw_deg"], pose["roll_deg"]]
        parts |= {"angles": _row([math.radians(value) for value in degrees], 1)}
        parts |= {"translation": _row(pose["translation_dm"], 1)}
    return _checked(parts, model, path)


def _from_npz(path: Path, model: FaceModel, face: int) -> FaceCoefficients:
    arrays = read_npz(path, ["coeff", "id", "exp", "tex", "angles", "sh", "translation"])
    coeff = arrays.pop("coeff", None)
    if coeff is not None and "id" not in arrays:
        return _unpacked(coeff, model, face, path)
    return _checked({name: _row(_entry(values, face, path), None) for name, values in arrays.items()}, model, path)


def _from_mat(path: Path, model: FaceModel, face: int) -> FaceCoefficients:
    content = read_mat(path, ["coeff", "id", "exp", "tex", "angle", "gamma", "trans"])
    if "coeff" in content:
        return _unpacked(content["coeff"], model, face, path)
    spelled = {"id": "id", "exp": "exp", "tex": "tex", "angle": "angles", "trans": "translation"}
    parts = {ours: _row(_entry(content[name], face, path), None) for name, ours in spelled.items() if name in content}
    if "gamma" in content:
        gamma = np.asarray(_entry(content["gamma"], face, path)).reshape(-1, 9)  # one row of white light, or R, G, B
        parts["sh"] = _row(np.broadcast_to(gamma, (3, 9)).T, None)
    return _checked(parts, model, path)


def _unpacked(coeff: Any, model: FaceModel, face: int, path: Path) -> FaceCoefficients:
    vectors = np.atleast_2d(_real(coeff))
    size = model.layout.size
    if vectors.ndim != 2 or vectors.shape[1] not in (size - 18, *range(size, size + 4)):
        raise CoefficientsError(
            f"{path}: expected 'coeff' of {size} values per face for face model {model.name!r} "
            f"({model.layout}), received shape {vectors.shape}; pass the model that they belong to with --face-model"
        )
    vector = _row(_entry(vectors, face, path), 1).to(model.mean_shape)
    return _finite(coefficients_from_official(vector, layout=model.layout), path)


def _trans_params_of_json(path: Path, face: int) -> Any:
    return _json_face(read_json(path), face, path)["trans_params"]


def _trans_params_of_npz(path: Path, face: int) -> Any:
    return _entry(read_npz(path, ["trans_params"])["trans_params"].reshape(-1, 5), face, path)


def _trans_params_of_mat(path: Path, face: int) -> Any:
    content = read_mat(path, ["trans_params"])
    if "trans_params" not in content:
        return trans_params_from_mat(content)  # says why
    return _entry(content["trans_params"].reshape(-1, 5), face, path)


def _entry(faces: Any, face: int, path: Path) -> Any:
    if not 0 <= face < len(faces):
        raise CoefficientsError(f"{path}: expected face {face}, received a file of {len(faces)} (counted from 0)")
    return faces[face]


def _json_face(content: Any, face: int, path: Path) -> dict[str, Any]:
    faces = content.get("faces") if isinstance(content, dict) else None
    entry = _entry(faces, face, path) if isinstance(faces, list) else None
    if not isinstance(entry, dict):
        raise CoefficientsError(
            f"{path}: expected a result with a list 'faces' of named entries, received {content!r:.60}; give the .json "
            "that facewright wrote"
        )
    return entry


def _real(values: Any) -> Float[np.ndarray, "..."]:
    array = np.asarray(values)
    if array.dtype.kind not in "iuf":
        raise ValueError(f"numbers are wanted, not {array.dtype}")
    return array.astype(np.float64)


def _row(values: Any, dimensions: int | None) -> torch.Tensor:
    array = _real(values)
    if dimensions is not None and array.ndim != dimensions:
        raise ValueError(f"expected an array of {dimensions} dimensions, received shape {array.shape}")
    return torch.from_numpy(array.copy())[None]


def _checked(parts: Mapping[str, torch.Tensor], model: FaceModel, path: Path) -> FaceCoefficients:
    zeros = model.layout.zeros()
    for name in ("id", "exp", "tex"):
        if name not in parts:
            raise CoefficientsError(f"{path}: expected the coefficients {name!r}, found only {sorted(parts)}")
    for name, values in parts.items():
        expected = getattr(zeros, name).shape
        if values.shape != expected:
            raise CoefficientsError(
                f"{path}: expected {name!r} of {tuple(expected[1:])} for face model {model.name!r}, received "
                f"{tuple(values.shape[1:])}; pass the model that they belong to with --face-model"
            )
    return _finite(
        replace(zeros.to(model.mean_shape.device), **{n: v.to(model.mean_shape) for n, v in parts.items()}), path
    )


def _finite(coefficients: FaceCoefficients, path: Path) -> FaceCoefficients:
    for name in ("id", "exp", "tex", "angles", "sh", "translation"):
        if not bool((getattr(coefficients, name).abs() < _LARGEST).all()):
            raise CoefficientsError(
                f"{path}: expected finite numbers below {_LARGEST:g}, {name!r} holds NaN, infinity or larger ones; "
                "reconstruct the photo again"
            )
    return coefficients
