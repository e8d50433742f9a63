"""What a page shows: faces of a photo or a folder of results, a clip with its frames, an album with its photos."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from PIL import Image
from torch import Tensor

from facewright.errors import ClipError, CoefficientsError, FacewrightError, MissingExtraError, PhotoError
from facewright.export.formats import FORMATS
from facewright.geometry.color import display_from_albedo
from facewright.geometry.frames import crop_camera
from facewright.geometry.turning import turn_of_face
from facewright.morphable.container import load_face_model
from facewright.morphable.linear import FaceModel
from facewright.photo import read_photo
from facewright.photo.frames import read_frames
from facewright.pipeline.coefficient_files import read_camera, read_coefficients
from facewright.pipeline.face import FaceInPhoto, face_before_camera
from facewright.pipeline.flow import Reconstructor
from facewright.pipeline.texture import face_texture
from facewright.records import Camera, FaceCoefficients, Photo
from facewright.untrusted import read_json, read_npz, reading

LONGEST_SIDE_PX = 1280
"""Of photos on the page."""
FRAME_SIDE_PX = 480
"""Of a clip's frames on the page, which are all kept."""
MOST_FRAMES = 900
"""Frames of a clip on the page; of longer ones every second, third ... is shown."""
THUMBNAIL_PX = 160
TEXTURE_PX = 512

Picture = UInt8[ndarray, "H W 3"]
_AGAIN = "reconstruct again, or give the --out folder of a run"
LoadFlow = Callable[[], Reconstructor]


@dataclass(frozen=True)
class Shown:
    """A face on the page.

    Attributes:
        title: of it.
        model: what its coefficients belong to.
        frames: the face; of a clip in each of its frames.
        camera: of the photo.
        pictures: the photo as JPEG, or each frame; empty: there is none.
        texture: sRGB-coded, row 0 on top; None: there is none.
        times_s: of the frames; empty of photos.
        photos: of an album: name, what became of it, and a small picture.
    """

    title: str
    model: FaceModel
    frames: tuple[FaceCoefficients, ...]
    camera: Camera
    pictures: tuple[bytes, ...] = ()
    texture: Float[Tensor, "3 S S"] | None = None
    times_s: tuple[float, ...] = ()
    photos: tuple[tuple[str, str, Picture | None], ...] = ()

    def picture(self, k: int) -> Picture | None:
        """The photo, or the k-th frame."""
        if not self.pictures:
            return None
        with Image.open(io.BytesIO(self.pictures[min(k, len(self.pictures) - 1)])) as image:
            return np.asarray(image.convert("RGB"))


def load_shown(paths: Sequence[Path], *, face_model: str = "open", flow: LoadFlow | None = None) -> list[Shown]:
    """What is at some paths.

    Args:
        paths: folders of results, single results (.json, .npz), or photos, which are reconstructed.
        face_model: of results.
        flow: loads what photos are reconstructed with; None: results alone are taken.

    Raises:
        CoefficientsError: there are no results, or they are malformed.
        PhotoError, NoFaceFoundError: of a photo.
    """
    model = load_face_model(face_model)
    loaded: list[Reconstructor] = []
    found: list[Shown] = []
    for path in paths:
        if path.is_dir():
            found += _of_folder(path, model)
        elif path.suffix.lower() == FORMATS["json"].suffix:
            found += _of_results(path, model)
        elif path.suffix.lower() == FORMATS["npz"].suffix:
            found.append(_of_arrays(path, model, None))
        elif flow is None:
            raise CoefficientsError(f"expected results (a folder, .json or .npz), received {path}")
        else:
            loaded = loaded or [flow()]
            found += of_photo(read_photo(path), loaded[0])
    if not found:
        raise CoefficientsError(f"expected at least one face at {', '.join(map(str, paths)) or 'a path'}, found none")
    return found


def of_photo(photo: Photo, flow: Reconstructor) -> list[Shown]:
    """The faces of a photo; after each what the network said of it before the fit, to compare."""
    shown = []
    faces = flow.faces_in(photo)
    for k, face in enumerate(faces):
        name = Path(photo.path).name or "photo"
        title = name if len(faces) == 1 else f"{name}, face {k + 1}"
        shown.append(_of_face(face, f"{title}: {face.method}"))
        if face.start is not None and face.residuals:
            start = turn_of_face(face.start, face.aligned.roll)
            shown.append(replace(shown[-1], title=f"{title}: network alone", frames=(start,)))
    return shown


def _of_face(face: FaceInPhoto, title: str) -> Shown:
    model, camera = face.face_model, face.camera
    texture = None if model.uv is None else face_texture(face, TEXTURE_PX)[0]
    coefficients = replace(face.coefficients, angles=face.pose.angles, translation=face.pose.translation, sh=face.sh)
    return Shown(title, model, (coefficients,), camera, (_jpeg(face.photo, LONGEST_SIDE_PX),), texture)


def _of_folder(folder: Path, model: FaceModel) -> list[Shown]:
    """By the record in it."""
    for name, reader in (("clip.json", _of_clip), ("album.json", _of_album), ("report.json", _of_report)):
        if (folder / name).is_file():
            return reader(folder, _record(folder / name), model)
    single = folder / "results.json"
    raise CoefficientsError(
        f"expected a folder that facewright reconstruct wrote (with clip.json, album.json or report.json), received "
        f"{folder}; give its --out folder, or a result ({single.suffix}) in it"
    )


def _record(path: Path) -> dict[str, Any]:
    """What a ``.json`` of this program holds.

    Raises:
        CoefficientsError: it is none.
    """
    with reading(path, CoefficientsError, "a record that facewright reconstruct wrote", _AGAIN):
        content = read_json(path)
        if not isinstance(content, dict):
            raise ValueError(f"it holds a {type(content).__name__}")
        return content


def _of_report(folder: Path, report: dict[str, Any], model: FaceModel) -> list[Shown]:
    found = []
    for name in _names(_outputs_of(report)):
        if Path(name).suffix == FORMATS["json"].suffix:
            found += _of_results(folder / name, model)
    if not found:
        raise CoefficientsError(
            f"expected results with coefficients in {folder}, found none: reconstruct with --formats json among others"
        )
    return found


def _outputs_of(report: dict[str, Any]) -> list[Any]:
    results = report.get("results")
    entries = results if isinstance(results, list) else []
    return [name for entry in entries if isinstance(entry, dict) for name in entry.get("outputs") or ()]


def _names(values: Any) -> list[str]:
    """File names out of a record: of the folder itself alone."""
    values = values if isinstance(values, list) else []
    return [value for value in values if isinstance(value, str) and value == Path(value).name]


def _of_results(path: Path, model: FaceModel) -> list[Shown]:
    """The faces of one ``.json`` of results, on their photo where that is still there."""
    content = _record(path)
    faces = content.get("faces")
    if not isinstance(faces, list) or not faces:
        raise CoefficientsError(f"expected a result with faces, received {path}; give the .json of a photo")
    photo = _photo_of(path, content)
    found = []
    for k, entry in enumerate(faces):
        coefficients = read_coefficients(path, model, face=k)
        camera = read_camera(path, face=k) or crop_camera()
        method = str(entry.get("method", "")) if isinstance(entry, dict) else ""
        title = f"{path.stem}{'' if len(faces) == 1 else f', face {k + 1}'}: {method} ({path.parent.name})"
        if photo is None:
            found.append(Shown(title, model, (coefficients,), camera))
        else:
            face = face_before_camera(photo, coefficients, camera, model, method)
            found.append(_of_face(face, title))
    return found


def _photo_of(path: Path, content: dict[str, Any]) -> Photo | None:
    """The photo of a result, of the size that it had, where it is still there."""
    facts = content.get("photo")
    if not isinstance(facts, dict) or not isinstance(facts.get("path"), str):
        return None
    name = Path(facts["path"])
    for place in (name, path.parent / name.name, path.parent.parent / name.name):
        try:
            photo = read_photo(place)
        except (PhotoError, OSError, ValueError):
            continue
        if [photo.width, photo.height] == [facts.get("width"), facts.get("height")]:
            return photo
    return None


def _of_arrays(path: Path, model: FaceModel, clip: Path | None) -> Shown:
    """A person of a clip out of his ``.npz``, or one face."""
    with reading(path, CoefficientsError, "arrays that facewright reconstruct wrote", _AGAIN):
        arrays = read_npz(path)
        if not all(np.isfinite(array).all() for array in arrays.values() if array.dtype.kind == "f"):
            raise ValueError("it holds NaN or infinity")
    if "times_s" not in arrays:
        return Shown(path.stem, model, (read_coefficients(path, model),), crop_camera())
    with reading(path, CoefficientsError, "the arrays of a person in a clip", _AGAIN):
        count = len(arrays["times_s"])
        step = -(-count // MOST_FRAMES)
        rows = torch.arange(0, count, step)
        parts = {name: torch.from_numpy(np.asarray(arrays[name], np.float32)) for name in ("id", "exp", "tex")}
        parts |= {
            name: torch.from_numpy(np.asarray(arrays[name], np.float32)) for name in ("angles", "translation", "sh")
        }
        focal, cx, cy = torch.from_numpy(np.asarray(arrays["camera"], np.float32)).split(1)
        width, height = (int(side) for side in arrays["size"])
        camera = Camera(focal, cx, cy, width, height, float(arrays["distance_dm"]))
        frames = tuple(
            FaceCoefficients(
                parts["id"],
                parts["exp"][k : k + 1],
                parts["tex"],
                parts["angles"][k : k + 1],
                parts["sh"][k : k + 1],
                parts["translation"][k : k + 1],
            )
            for k in rows.tolist()
        )
        model.decode(frames[0])
        numbers = [int(arrays["frames"][k]) for k in rows.tolist()]
        times = tuple(float(arrays["times_s"][k]) for k in rows.tolist())
    pictures = () if clip is None else _frames_of(clip, numbers)
    return Shown(path.stem, model, frames, camera, pictures, None, times)


def _frames_of(clip: Path, numbers: Sequence[int]) -> tuple[bytes, ...]:
    """Small pictures of some frames; none where the clip is gone, or PyAV is not there."""
    wanted, found = set(numbers), []
    try:
        for frame in read_frames(clip):
            if frame.number in wanted:
                found.append(_jpeg(frame.photo, FRAME_SIDE_PX))
            if frame.number >= numbers[-1]:
                break
    except (ClipError, MissingExtraError):
        pass
    return tuple(found) if len(found) == len(numbers) else ()


def _of_clip(folder: Path, document: dict[str, Any], model: FaceModel) -> list[Shown]:
    names = _names(document.get("outputs"))
    clip = Path(str(document.get("clip", "")))
    places = [folder / name for name in names if Path(name).suffix == FORMATS["clip-npz"].suffix]
    if not places:
        raise CoefficientsError(
            f"expected arrays of people in {folder}, found none: take --clip-formats npz among others"
        )
    return [_of_arrays(place, model, clip) for place in places]


def _of_album(folder: Path, document: dict[str, Any], model: FaceModel) -> list[Shown]:
    """Each person without expression, and the photos with their weights."""
    found = []
    people = document.get("people")
    for number, person in enumerate(people if isinstance(people, list) else []):
        with reading(folder / "album.json", CoefficientsError, "people with coefficients, and their photos", _AGAIN):
            codes = {name: torch.tensor([person["coefficients"][name]], dtype=torch.float32) for name in ("id", "tex")}
            face = replace(model.layout.zeros(), **codes)
            model.decode(face)
            entries = [entry for entry in document.get("photos", ()) if entry.get("person") in (number + 1, None)]
        photos = tuple(_album_photo(entry) for entry in entries)
        found.append(Shown(f"{folder.name}: person {number + 1}", model, (face,), crop_camera(), photos=photos))
    return found


def _album_photo(entry: dict[str, Any]) -> tuple[str, str, Picture | None]:
    weight = entry.get("weight")
    what = (
        f"{float(weight):.1%}" if isinstance(weight, float | int) else f"{entry.get('status')}: {entry.get('reason')}"
    )
    place = Path(str(entry.get("photo", "")))
    try:
        with Image.open(io.BytesIO(_jpeg(read_photo(place), THUMBNAIL_PX))) as image:
            return place.name, what, np.asarray(image.convert("RGB"))
    except (FacewrightError, OSError, ValueError):
        return place.name, what, None


def _jpeg(photo: Photo, side: int) -> bytes:
    image = Image.fromarray(np.ascontiguousarray(photo.pixels.permute(1, 2, 0).cpu().numpy()))
    image.thumbnail((side, side))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=88)
    return stream.getvalue()


def albedo_colors(model: FaceModel, face: FaceCoefficients) -> Float[Tensor, "V 3"]:
    """Of the vertices, sRGB-coded."""
    return display_from_albedo(model.albedo(face.tex)[0], model.albedo_space).clamp(0.0, 1.0)
