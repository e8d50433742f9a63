"""The flow on one page: photographs become 3D faces."""

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from facewright import align
from facewright import photo as photo_door
from facewright.align.square import GUESSED
from facewright.detect import FaceDetector, detect_faces_in_batch, load_face_detector
from facewright.detect.faces import distinct_faces, possible_faces
from facewright.errors import FacewrightError, NoFaceFoundError, ReconstructionError, SettingsError
from facewright.fit import FitSettings
from facewright.geometry.frames import apply_homogeneous
from facewright.geometry.turning import quarter_turned
from facewright.morphable.container import load_face_model
from facewright.morphable.linear import FaceModel
from facewright.pipeline.answers import no_person, speaks_against
from facewright.pipeline.attempts import attempt, timed
from facewright.pipeline.estimator import Candidate, Estimate, Estimator
from facewright.pipeline.methods import FALLBACK, METHODS, MethodParts, load_estimator
from facewright.pipeline.reconstruction import Reconstruction, reconstruction_of
from facewright.records import FaceDetection, Photo

FacesChoice = Literal["all", "largest"]
Stage = Literal["read", "detect", "align", "estimate", "check", "write"]
"""Where a face or a photo can fail."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Failure:
    """A face that could not be reconstructed; or a photo, of which no face could.

    Attributes:
        input: number of the photo among those that were given together.
        face: number of the face in its photo, the largest first; None: the photo itself.
        stage: where it failed.
        error: why.
    """

    input: int
    face: int | None
    stage: Stage
    error: FacewrightError


@dataclass(frozen=True)
class Reconstructor:
    """The parts of the flow, loaded once and used for many photos, from many threads if you like.

    Attributes:
        detector: finds faces.
        estimator: the method that reconstructs them.
        check: why an answer is not believed, None if it is; None believes all, as measurements want to.
        fallback: the method whose answer is taken where the first one's is not believed; None: there is none.
    """

    detector: FaceDetector
    estimator: Estimator
    check: Callable[[Reconstruction], str | None] | None = speaks_against
    fallback: Estimator | None = None

    @property
    def device(self) -> torch.device:
        """Of the networks and the face model."""
        return next(self.detector.parameters()).device

    @property
    def method(self) -> str:
        """Name of the method."""
        return self.estimator.method

    @property
    def weights(self) -> str:
        """Name of its network's weights; empty without a network."""
        return self.estimator.weights

    @property
    def face_model(self) -> FaceModel | None:
        """What coefficients belong to; None for methods that find meshes alone."""
        return self.estimator.face_model

    def faces_in(
        self, photo: Photo, *, faces: FacesChoice = "all", detections: list[FaceDetection] | None = None
    ) -> list[Reconstruction]:
        """Reconstruct the faces of one photo, the largest first; those that fail go to the log.

        Args:
            photo: the picture.
            faces: all of them or the largest.
            detections: faces that are known already; found by the detector if None.

        Raises:
            NoFaceFoundError: there is none.
            ReconstructionError: there are some, and the reconstruction of all failed.
        """
        results = self.faces_in_batch([photo], faces=faces, detections=None if detections is None else [detections])
        failed = [result for result in results if isinstance(result, Failure)]
        found = [result for result in results if isinstance(result, Reconstruction)]
        if not found:
            raise failed[0].error
        for failure in failed:
            log.warning("%s, face %s: %s", photo.path or "the photo", failure.face, failure.error)
        return found

    def faces_in_batch(
        self,
        photos: Sequence[Photo],
        *,
        faces: FacesChoice = "all",
        detections: Sequence[list[FaceDetection]] | None = None,
    ) -> list[Reconstruction | Failure]:
        """Reconstruct the faces of several photos, of any sizes; the networks run on all of them together.

        Args:
            photos: the pictures.
            faces: all of them or the largest of each photo.
            detections: of each photo, faces that are known already; found by the detector if None.

        Returns:
            All faces, photo by photo, the largest of each first; in the place of a face that failed, and of a photo
            without any, a ``Failure``, which costs the others nothing.

        Raises:
            SettingsError: ``faces`` is none of its choices, or what is given is no photo.
        """
        _require_choice(faces)
        for photo in photos:
            if not isinstance(photo, Photo):
                raise SettingsError(f"expected a Photo, as read_photo or photo_from_array make it, received {photo!r}")
        if not photos:
            return []
        photos = [photo.to(self.device) for photo in photos]
        spent: dict[str, float] = {}
        with timed(spent, "detect"):
            found = (
                self.find_faces(photos)
                if detections is None
                else [[face.to(self.device) for face in some] for some in detections]
            )
        with timed(spent, "align"):
            chosen = [some[:1] if faces == "largest" else some for some in found]
            places = [(n, k, face) for n, some in enumerate(chosen) for k, face in enumerate(some)]
            cut = [attempt(self._candidate, photos[n], face) for n, _, face in places]
        candidates = [candidate for candidate in cut if isinstance(candidate, Candidate)]
        answers = iter(self.estimator.estimates(candidates))
        each = {stage: seconds / len(photos) for stage, seconds in spent.items()}
        results: list[Reconstruction | Failure] = [
            Failure(n, None, "detect", _no_face(photo)) for n, photo in enumerate(photos) if not chosen[n]
        ]
        for (n, k, face), candidate in zip(places, cut, strict=True):
            if isinstance(candidate, FacewrightError):
                results.append(Failure(n, k, "align", candidate))
                continue
            answer = next(answers)
            if isinstance(answer, FacewrightError):
                results.append(Failure(n, k, "estimate", answer))
                continue
            found_face = attempt(self._believed, self.reconstruction(photos[n], face, answer))
            if isinstance(found_face, FacewrightError):
                results.append(Failure(n, k, "check", found_face))
                continue
            results.append(replace(found_face, seconds=each | found_face.seconds, input=n, face=k))
        if detections is None and self.estimator.most_doubt is not None:
            unbelieved = {r.input for r in results} - {r.input for r in results if not _is_unbelieved(r)}
            for n in unbelieved:
                seen = self._read_turned(photos[n], n)[: 1 if faces == "largest" else None]
                results = [result for result in results if result.input != n or not seen] + seen
        return sorted(results, key=lambda result: (result.input, result.face or 0))

    def _read_turned(self, photo: Photo, number: int) -> list[Reconstruction | Failure]:
        """A photo none of whose readings was believed, read the other ways up: what is believed of that."""
        answers = [attempt(self._estimated, photo, face) for face in self._seen_turned(photo)]
        believed = [
            answer
            for answer in answers
            if isinstance(answer, Reconstruction) and (self.check is None or self.check(answer) is None)
        ]
        return [replace(answer, input=number, face=k) for k, answer in enumerate(believed)]

    def find_faces(self, photos: Sequence[Photo]) -> list[list[FaceDetection]]:
        """The faces of several photos, the largest of each first.

        Where the detector finds none, its doubtful candidates are shown to the method, if that knows its doubts: R-Net
        sees profiles which the detector's mesh network denies. Such faces have the landmarks' five points and no mesh.
        """
        photos = [photo.to(self.device) for photo in photos]
        found = detect_faces_in_batch(photos, self.detector)
        if self.estimator.most_doubt is None:
            return found
        return [faces or self._seen_by_method(photo) for photo, faces in zip(photos, found, strict=True)]

    def _seen_by_method(self, photo: Photo) -> list[FaceDetection]:
        """Candidates in which the method is sure of the landmarks; of the photo turned if there are none upright."""
        upright = [face for _, face in self._sure_of(photo)]
        return distinct_faces(upright) or self._seen_turned(photo)

    def _seen_turned(self, photo: Photo) -> list[FaceDetection]:
        """What the method sees in the photo turned by quarters: of the orientation in which it is surest."""
        readings: list[tuple[float, list[FaceDetection]]] = []
        for turns in (1, 2, 3):
            view, T_photo_view = quarter_turned(photo, turns)
            seen = self._sure_of(view)
            if seen:
                least = min(doubt for doubt, _ in seen)
                readings.append((least, [_mapped(face, T_photo_view) for _, face in seen]))
        return distinct_faces(min(readings, key=lambda reading: reading[0])[1]) if readings else []

    def _sure_of(self, photo: Photo) -> list[tuple[float, FaceDetection]]:
        """Upright candidates in which the method is sure of the landmarks, with its doubts."""
        most = self.estimator.most_doubt
        # Upright candidates: points that nobody confirmed are not trusted to say how a head is rolled.
        cut = [attempt(self._candidate, photo, face, "never") for face in possible_faces(photo, self.detector)]
        candidates = [candidate for candidate in cut if isinstance(candidate, Candidate)]
        faces = []
        for candidate, answer in zip(candidates, self.estimator.estimates(candidates, finish=False), strict=True):
            if isinstance(answer, FacewrightError) or answer.belief is None or most is None or answer.doubt > most:
                continue
            points = apply_homogeneous(answer.aligned.T_photo_crop, answer.belief.points_px)
            box = torch.cat([points.amin(0), points.amax(0)])
            faces.append((answer.doubt, replace(candidate.detection, box=box, five=align.five_from_68(points))))
        return faces

    def _believed(self, found: Reconstruction) -> Reconstruction:
        """The face, or the other method's, if nothing speaks against it.

        Raises:
            ReconstructionError: it contradicts what was seen.
        """
        against = None if self.check is None else self.check(found)
        if against is None:
            return found
        if self.fallback is None or found.detection.score == GUESSED or no_person(found) is not None:
            raise ReconstructionError(f"an answer that contradicts what was seen: {against}")
        other = replace(self, estimator=self.fallback, fallback=None)
        (second,) = other.faces_in_batch([found.photo], detections=[[found.detection]])
        if isinstance(second, Failure):
            raise second.error
        log.warning("%s: method %r instead of %r: %s", found.photo.path, other.method, self.method, against)
        return second

    def _estimated(self, photo: Photo, face: FaceDetection) -> Reconstruction:
        """One face by the method, not checked.

        Raises:
            FacewrightError: its crop cannot be cut, or the method fails.
        """
        (answer,) = self.estimator.estimates([self._candidate(photo, face)])
        if isinstance(answer, FacewrightError):
            raise answer
        return self.reconstruction(photo, face, answer)

    def _candidate(self, photo: Photo, face: FaceDetection, turn: align.Turn = "auto") -> Candidate:
        return Candidate(photo, face, self.estimator.crop(photo, face.five, turn=turn))

    def reconstruction(self, photo: Photo, face: FaceDetection, answer: Estimate) -> Reconstruction:
        """What a method says of a face, in the frame of its photo; not checked."""
        return reconstruction_of(photo, face, answer, method=self.method, weights=self.weights)


def _is_unbelieved(result: Reconstruction | Failure) -> bool:
    return isinstance(result, Failure) and result.stage == "check"


def _mapped(face: FaceDetection, T_photo_view: Float[Tensor, "3 3"]) -> FaceDetection:
    """A face without a mesh that was found in another view of the photo."""
    corners = apply_homogeneous(T_photo_view, face.box.unflatten(0, (2, 2)))
    five = apply_homogeneous(T_photo_view, face.five)
    return replace(face, box=torch.cat([corners.amin(0), corners.amax(0)]), five=five)


def _require_choice(faces: object) -> None:
    if faces not in get_args(FacesChoice):
        raise SettingsError(f"expected faces out of {', '.join(get_args(FacesChoice))}, received {faces!r}")


def _require_paths(**settings: object) -> None:
    for name, value in settings.items():
        if not isinstance(value, str | os.PathLike) or not os.fspath(value):
            raise SettingsError(f"expected {name} to be a name or the path of a file, received {value!r}")


def _require_device(name: object) -> None:
    """It must hold numbers, which torch's ``meta`` does not."""
    try:
        if not isinstance(name, str | torch.device):
            raise TypeError("it is given by its name")
        torch.zeros(1, device=name).item()
    except (RuntimeError, AssertionError, TypeError, ValueError) as error:
        first_line = str(error).partition("\n")[0]
        message = f"expected a torch device that this machine has, received device {name!r}: {first_line}"
        raise SettingsError(message) from error


def _no_face(photo: Photo) -> NoFaceFoundError:
    return NoFaceFoundError(
        f"expected a face in {photo.path or 'the photo'} ({photo.width}x{photo.height} px), found none; "
        "is it large enough (24 px between the eyes), and not covered? --landmarks takes points of your own"
    )


def load_reconstructor(
    *,
    face_model: str | os.PathLike[str] = "open",
    method: str = "auto",
    weights: str | os.PathLike[str] | None = None,
    refine: int | None = None,
    device: str = "cpu",
    fit: FitSettings | None = None,
    subdivide: bool = False,
) -> Reconstructor:
    """Load the parts of the flow.

    Args:
        face_model: "open" (embedded) or the file of an imported one.
        method: how faces are reconstructed: a name in ``METHODS``, or "auto" (``load_estimator``).
        weights: of the method's network: a file, or the name of embedded ones ("open", "fast": R-Nets for the open
            head; "prnet": position maps of it); None: those in the package for the face model.
        refine: rounds of the fit after a network; None: one after embedded weights, none after others.
        device: torch device of the networks and the model.
        fit: settings of the fit.
        subdivide: decode results with the face model after one Loop subdivision: four times the triangles, smoother.

    Raises:
        SettingsError: no such method or device, a setting that is none, or one that the method would ignore.
        AssetNotFoundError: a file is missing, or a method that needs weights has none.
        FaceModelError: the face model file is malformed.
        WeightsError: the weights are malformed, or made for another face model or method.
    """
    _require_paths(face_model=face_model, **({} if weights is None else {"weights": weights}))
    _require_device(device)
    if refine is not None and type(refine) is not int:
        raise SettingsError(f"expected refine to be a whole number of rounds or None, received {refine!r}")
    model = load_face_model(face_model)
    decoder = _subdivided(model).to(device) if subdivide else None
    model = model.to(device)
    parts = MethodParts(model, decoder or model, fit or FitSettings(), weights, refine)
    estimator = load_estimator(method, parts)
    fallback = None if estimator.method == FALLBACK else METHODS[FALLBACK].load(replace(parts, weights=None))
    return Reconstructor(load_face_detector().to(device), estimator, fallback=fallback)


def reconstruct(
    photo: str | os.PathLike[str] | Photo,
    *,
    face_model: str | os.PathLike[str] = "open",
    method: str = "auto",
    weights: str | os.PathLike[str] | None = None,
    refine: int | None = None,
    faces: FacesChoice = "all",
    device: str = "cpu",
) -> list[Reconstruction]:
    """Photograph in, 3D faces out, the largest face first.

    For many photos, load a ``Reconstructor`` once and call its ``faces_in_batch``.

    Args:
        photo: a file, or a ``Photo`` in memory.
        face_model: "open" (embedded) or the file of an imported one.
        method: "rnet" (a network, then the fit), "fit" (analysis by synthesis alone), "guided" (the fit
            of any face model to what the open head's network sees), or "auto".
        weights: see ``load_reconstructor``.
        refine: see ``load_reconstructor``.
        faces: all faces or the largest.
        device: torch device.

    Raises:
        PhotoError: the file is not a picture that can be read.
        NoFaceFoundError: no face is in it.
        FaceModelError: the face model file is malformed.
        SettingsError, AssetNotFoundError, WeightsError: see ``load_reconstructor``.
    """
    _require_choice(faces)
    picture = photo if isinstance(photo, Photo) else photo_door.read_photo(photo)
    flow = load_reconstructor(face_model=face_model, method=method, weights=weights, refine=refine, device=device)
    return flow.faces_in(picture, faces=faces)


def _subdivided(model: FaceModel) -> FaceModel:
    from facewright.morphable.subdivide import subdivide_face_model  # here: few ask for it, and scipy takes its time

    return subdivide_face_model(model)
