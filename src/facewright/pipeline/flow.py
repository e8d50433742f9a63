"""The flow on one page: a photo becomes 3D faces."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Literal, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from facewright import align
from facewright import photo as photo_door
from facewright.detect import FaceDetector, detect_faces_in_batch, load_face_detector
from facewright.detect.faces import distinct_faces, possible_faces
from facewright.errors import AssetNotFoundError, FacewrightError, NoFaceFoundError, ReconstructionError
from facewright.fit import FitPlan, FitSettings
from facewright.geometry.frames import CROP_SIZE, apply_homogeneous, pose_points, project_points
from facewright.geometry.rotations import rotation_from_angles
from facewright.morphable.container import load_face_model
from facewright.morphable.linear import FaceModel
from facewright.morphable.subdivide import subdivide_face_model
from facewright.pipeline.evidence import fit_detection, fit_from
from facewright.records import AlignedFace, Camera, FaceCoefficients, FaceDetection, FaceMesh, LandmarkBelief, Photo
from facewright.regress.rnet import RNet, RNetPrediction
from facewright.regress.weights import EMBEDDED_WEIGHTS, load_weights

Method = Literal["auto", "fit", "rnet"]
"""How coefficients are found. ``auto``: by R-Net where there are weights for the face model, else by the fit."""
FacesChoice = Literal["all", "largest"]

EMBEDDED_REFINE = 1
"""Rounds of the fit after an embedded R-Net; weights that are brought keep to their own method: none."""

MOST_DOUBT = 0.02
"""Doubt of R-Net about its landmarks, as a share of the crop, up to which a candidate is a face.

Measured on 120 scenes and 60 empty backgrounds: 99 % of the right places are doubted less, all wrong ones more.
"""

MAX_CROPS_TOGETHER = 32
"""Most crops that go through R-Net at once."""


@dataclass(frozen=True)
class Reconstruction:
    """One face of one photo, in 3D.

    Attributes:
        photo: the picture.
        detection: where the face was found.
        aligned: its crop and the cameras of crop and photo.
        face_model: what the coefficients belong to.
        coefficients: one face (batch of 1).
        method: how they were found.
        weights: name of the network weights; empty without a network.
        residuals: final value of each term of the fit.
        seconds: per stage.
    """

    photo: Photo
    detection: FaceDetection
    aligned: AlignedFace
    face_model: FaceModel
    coefficients: FaceCoefficients
    method: str
    weights: str = ""
    residuals: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def camera(self) -> Camera:
        """Camera of the whole photo."""
        return self.aligned.camera_photo

    @property
    def mesh(self) -> FaceMesh:
        """The face with its expression in the model frame, dm."""
        return self.face_model.decode(self.coefficients)

    @property
    def mesh_world(self) -> FaceMesh:
        """The face in the world frame, in front of ``camera``, dm."""
        return posed_mesh(self.mesh, self.coefficients)

    @property
    def landmarks(self) -> Float[Tensor, "68 2"]:
        """iBUG-68 in photo pixels (3D definition: fixed vertices, hidden ones included).

        Raises:
            ReconstructionError: the face model has no iBUG-68 table.
        """
        return self.landmarks_3d[:, :2]

    @property
    def landmarks_3d(self) -> Float[Tensor, "68 3"]:
        """iBUG-68 in photo pixels; z in the same pixels, growing away from the camera, 0 at the head's origin.

        Raises:
            ReconstructionError: the face model has no iBUG-68 table.
        """
        ids = self.face_model.annotations.ibug68
        if ids is None:
            raise ReconstructionError(
                f"face model {self.face_model.name!r} has no iBUG-68 table; import it again with its landmarks"
            )
        c = self.coefficients
        points_world = pose_points(self.face_model.points(ids, c.id, c.exp), c.angles, c.translation)
        return photo_points(points_world, c, self.camera)

    @property
    def five_points(self) -> Float[Tensor, "5 2"]:
        """Eye centres, nose tip and mouth corners of the reconstruction, photo pixels."""
        return align.five_from_68(self.landmarks)

    @property
    def pose(self) -> dict[str, float | list[float]]:
        """Angles in degrees (yaw: nose to image right; pitch: nodding down; roll: counter-clockwise as seen) and dm."""
        return pose_document(self.coefficients)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the textured face; the suffix chooses the format (.glb .obj .ply .npz .json .png ...)."""
        from facewright.pipeline.outputs import save_reconstruction  # outputs reads this record

        save_reconstruction(self, path)


def posed_mesh(mesh_model: FaceMesh, coefficients: FaceCoefficients) -> FaceMesh:
    """Model frame to world frame."""
    rotation = rotation_from_angles(coefficients.angles)
    return replace(
        mesh_model,
        vertices=pose_points(mesh_model.vertices, coefficients.angles, coefficients.translation),
        normals=mesh_model.normals @ rotation.transpose(-1, -2),
    )


def pose_document(coefficients: FaceCoefficients) -> dict[str, float | list[float]]:
    """``Reconstruction.pose`` of the first face."""
    pitch, yaw, roll = torch.rad2deg(coefficients.angles[0]).tolist()
    translation = coefficients.translation[0].tolist()
    return {"yaw_deg": yaw, "pitch_deg": pitch, "roll_deg": roll, "translation_dm": translation}


def photo_points(
    points_world: Float[Tensor, "1 N 3"], coefficients: FaceCoefficients, camera: Camera
) -> Float[Tensor, "N 3"]:
    """World points to photo pixels; depth in pixels at the head's scale, 0 at the model's origin, growing away."""
    projected = project_points(points_world, camera)[0]
    origin = camera.distance_dm - coefficients.translation[0, 2]
    depth = (projected[:, 2] - origin) * camera.focal_px[0] / origin
    return torch.cat([projected[:, :2], depth[:, None]], -1)


@dataclass(frozen=True)
class Reconstructor:
    """The parts of the flow, loaded once and used for many photos.

    Attributes:
        face_model: what faces are made of.
        detector: finds them.
        rnet: regresses coefficients; None finds them by optimisation.
        looks: how often R-Net looks: each time after the first at a crop by the landmarks of the time before, so that a
            crop by bad points (in profile) is put right. More than one needs a net that sees landmarks.
        weights: name of R-Net's weights, for the results.
        fit: settings of the fit.
        refine: rounds of the fit after R-Net; 0 keeps its answer.
        finer_model: the same face model with more vertices, to decode the results with; None for the model itself.
    """

    face_model: FaceModel
    detector: FaceDetector
    rnet: RNet | None = None
    looks: int = 1
    weights: str = ""
    fit: FitSettings = field(default_factory=FitSettings)
    refine: int = 0
    finer_model: FaceModel | None = None

    @property
    def method(self) -> Literal["fit", "rnet"]:
        """How coefficients are found."""
        return "fit" if self.rnet is None else "rnet"

    @cached_property
    def plan(self) -> FitPlan:
        """What the fit needs of the face model."""
        return FitPlan.of(self.face_model)

    def faces_in(
        self, photo: Photo, *, faces: FacesChoice = "all", detections: list[FaceDetection] | None = None
    ) -> list[Reconstruction]:
        """Reconstruct the faces of one photo, the largest first.

        Args:
            photo: the picture.
            faces: all of them or the largest.
            detections: faces that are known already; found by the detector if None.

        Raises:
            NoFaceFoundError: there is none.
            ReconstructionError: a face was found and its reconstruction failed.
        """
        (found,) = self.faces_in_batch([photo], faces=faces, detections=None if detections is None else [detections])
        if isinstance(found, FacewrightError):
            raise found
        return found

    def faces_in_batch(
        self, photos: list[Photo], *, faces: FacesChoice = "all", detections: list[list[FaceDetection]] | None = None
    ) -> list[list[Reconstruction] | FacewrightError]:
        """Reconstruct the faces of several photos, of any sizes; the networks run on all of them together.

        Args:
            photos: the pictures.
            faces: all of them or the largest of each photo.
            detections: of each photo, faces that are known already; found by the detector if None.

        Returns:
            Per photo its faces, the largest first; or the error that ``faces_in`` would raise, which costs the other
            photos nothing.
        """
        if not photos:
            return []
        photos = [photo.to(self.face_model.mean_shape.device) for photo in photos]
        spent: dict[str, float] = {}
        with _timed(spent, "detect"), one_thread():
            found = self.find_faces(photos) if detections is None else detections
        with _timed(spent, "align"), one_thread():
            chosen = found if faces == "all" else [some[:1] for some in found]
            placed = [_attempt(self._placed, photo, some) for photo, some in zip(photos, chosen, strict=True)]
        with _timed(spent, "regress"):
            crops = [crop for some in placed if isinstance(some, list) for _, crop in some]
            of_photo = [p for p, some in zip(photos, placed, strict=True) if isinstance(some, list) for _ in some]
            starts = iter(self._regressed(of_photo, crops))
        each = {stage: seconds / len(photos) for stage, seconds in spent.items() if self.rnet or stage != "regress"}

        def finished(photo: Photo, some: list[tuple[FaceDetection, AlignedFace]]) -> list[Reconstruction]:
            own = [next(starts) for _ in some]
            return [self._fitted(photo, face, start, dict(each)) for (face, _), start in zip(some, own, strict=True)]

        return [
            some if isinstance(some, FacewrightError) else _attempt(finished, photo, some)
            for photo, some in zip(photos, placed, strict=True)
        ]

    def find_faces(self, photos: list[Photo]) -> list[list[FaceDetection]]:
        """The faces of several photos, the largest of each first.

        Where the detector finds none, its doubtful candidates are shown to R-Net, if that knows its doubts: it sees
        profiles which the detector's mesh network denies. Such faces have the landmarks' five points and no mesh.
        """
        found = detect_faces_in_batch(photos, self.detector)
        if self.rnet is None or self.rnet.landmark_head is None:
            return found
        return [faces or self._seen_by_network(photo) for photo, faces in zip(photos, found, strict=True)]

    def _seen_by_network(self, photo: Photo) -> list[FaceDetection]:
        """Candidates in which R-Net is sure of the landmarks."""
        possible = possible_faces(photo, self.detector)
        cut = [(face, _attempt(self._cut, photo, face.five)) for face in possible]
        kept = [(face, crop) for face, crop in cut if not isinstance(crop, FacewrightError)]
        starts = self._regressed([photo] * len(kept), [crop for _, crop in kept])
        faces = []
        for (face, _), start in zip(kept, starts, strict=True):
            if start.belief is None or start.doubt > MOST_DOUBT:
                continue
            points = apply_homogeneous(start.aligned.T_photo_crop, start.belief.points_px)
            box = torch.cat([points.amin(0), points.amax(0)])
            faces.append(replace(face, box=box, five=align.five_from_68(points)))
        return distinct_faces(faces)

    def _placed(self, photo: Photo, found: list[FaceDetection]) -> list[tuple[FaceDetection, AlignedFace]]:
        if not found:
            raise NoFaceFoundError(
                f"expected a face in {photo.path or 'the photo'} ({photo.width}x{photo.height} px), found none; "
                "is it large enough (24 px between the eyes), and not covered? --landmarks takes points of your own"
            )
        return [(face, self._cut(photo, face.five)) for face in found]

    def _cut(self, photo: Photo, five: Float[Tensor, "5 2"]) -> AlignedFace:
        """The crop by five points, at least ``CROP_SIZE`` wide, a whole multiple of what R-Net sees."""
        size = CROP_SIZE if self.rnet is None else self.rnet.crop_size * -(-CROP_SIZE // self.rnet.crop_size)
        return align.align_face(photo, five, size=size, rescale=align.CROP_RESCALE * size / CROP_SIZE)

    @torch.no_grad()
    def _regressed(self, photos: list[Photo], crops: list[AlignedFace]) -> list["_Start"]:
        """What R-Net says about each crop (of the photo beside it), after all its looks; nothing without a network."""
        if self.rnet is None or not crops:
            return [_Start(crop) for crop in crops]
        starts = self._look(self.rnet, crops)
        for _ in range(self.looks - 1):
            crops = [self._cut_again(photo, start) for photo, start in zip(photos, starts, strict=True)]
            starts = self._look(self.rnet, crops)
        return starts

    def _look(self, rnet: RNet, crops: list[AlignedFace]) -> list["_Start"]:
        finer = crops[0].crop.shape[-1] // rnet.crop_size
        pictures = torch.nn.functional.avg_pool2d(torch.stack([aligned.crop for aligned in crops]), finer)
        answers = [rnet.predict(some) for some in pictures.split(MAX_CROPS_TOGETHER)]
        each = [(answer, k) for answer in answers for k in range(len(answer.coefficients.id))]
        return [
            _Start(aligned, self._possible(answer.coefficients.one(k)), _belief(answer, k, finer))
            for aligned, (answer, k) in zip(crops, each, strict=True)
        ]

    def _possible(self, coefficients: FaceCoefficients) -> FaceCoefficients:
        """Blendshapes between none and all; a network knows no bounds."""
        if not self.face_model.exp_is_box:
            return coefficients
        return replace(coefficients, exp=coefficients.exp.clamp(0.0, 1.0))

    def _cut_again(self, photo: Photo, start: "_Start") -> AlignedFace:
        """The crop by the landmarks that were seen; the same one where they make no sense."""
        if start.belief is None:
            return start.aligned
        five_crop = align.five_from_68(start.belief.points_px)
        again = _attempt(self._cut, photo, apply_homogeneous(start.aligned.T_photo_crop, five_crop))
        return start.aligned if isinstance(again, FacewrightError) else again

    def _fitted(
        self, photo: Photo, detection: FaceDetection, start: "_Start", seconds: dict[str, float]
    ) -> Reconstruction:
        residuals: dict[str, float] = {}
        aligned, coefficients = start.aligned, start.coefficients
        if coefficients is None or self.refine > 0:
            with _timed(seconds, "fit"), one_thread():
                if coefficients is None:
                    result = fit_detection(aligned, detection, self.plan, self.fit)
                else:
                    settings = self.fit.refining(self.refine)
                    result = fit_from(coefficients, aligned, detection, self.plan, settings, start.belief)
            coefficients, residuals = result.coefficients, result.residuals
        model = self.finer_model or self.face_model
        return Reconstruction(
            photo, detection, aligned, model, coefficients, self.method, self.weights, residuals, seconds
        )


@dataclass(frozen=True)
class _Start:
    """A face before the fit: its crop, and what R-Net says about it."""

    aligned: AlignedFace
    coefficients: FaceCoefficients | None = None
    belief: LandmarkBelief | None = None

    @property
    def doubt(self) -> float:
        """Mean deviation of the landmarks, as a share of the crop; infinite where none are seen."""
        return (
            float("inf") if self.belief is None else float(self.belief.sigma_px.mean()) / self.aligned.camera_crop.width
        )


def _belief(answer: RNetPrediction, k: int, finer: int) -> LandmarkBelief | None:
    """The k-th face's landmarks in a crop that is so many times finer than what the net saw."""
    if answer.landmarks_px is None or answer.landmarks_sigma_px is None:
        return None
    # Pixel centres: column i of the net's crop is the middle of columns finer * i to finer * (i + 1) - 1.
    return LandmarkBelief(finer * answer.landmarks_px[k] + (finer - 1) / 2, finer * answer.landmarks_sigma_px[k])


Result = TypeVar("Result")


def _attempt(step: Callable[..., Result], *arguments: object) -> Result | FacewrightError:
    """What a step gives; or the error that it raises."""
    try:
        return step(*arguments)
    except FacewrightError as error:
        return error


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute on one thread inside: for many small tensors a second one costs more than it brings.

    Where other programs compute too it would cost ten times that, as threads wait for each other busily.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    try:
        yield
    finally:
        seconds[stage] = seconds.get(stage, 0.0) + time.perf_counter() - start


def load_reconstructor(
    *,
    face_model: str | os.PathLike[str] = "open",
    method: Method = "auto",
    weights: str | os.PathLike[str] | None = None,
    refine: int | None = None,
    device: str = "cpu",
    fit: FitSettings | None = None,
    subdivide: bool = False,
) -> Reconstructor:
    """Load the parts of the flow.

    Args:
        face_model: "open" (embedded) or the file of an imported one.
        method: how coefficients are found.
        weights: R-Net's weights: a file, or "open" or "fast" (embedded, for the open head); None: "open" for that head.
        refine: rounds of the fit after R-Net; None: ``EMBEDDED_REFINE`` after embedded weights, none after others.
        device: torch device of the networks and the model.
        fit: settings of the fit.
        subdivide: decode results with the face model after one Loop subdivision: four times the triangles, smoother.

    Raises:
        AssetNotFoundError: a file is missing, or method "rnet" has no weights.
        FaceModelError: the face model file is malformed.
        WeightsError: the weights are malformed, or made for another face model.
    """
    model = load_face_model(face_model)
    finer = subdivide_face_model(model).to(device) if subdivide else None
    model, detector = model.to(device), load_face_detector().to(device)
    if weights is None and model.name == "open":
        weights = "open"
    if method == "fit" or (method == "auto" and weights is None):
        return Reconstructor(model, detector, fit=fit or FitSettings(), finer_model=finer)
    if weights is None:
        raise AssetNotFoundError(
            f"method 'rnet' expects weights for face model {model.name!r}, received none: pass --weights F.safetensors "
            "(facewright weights import makes one from the official checkpoints), or use --method fit"
        )
    rnet = load_weights(weights, layout=model.layout, face_model=model.name).to(device)
    return Reconstructor(
        model,
        detector,
        rnet,
        looks=1 if rnet.landmark_head is None else 2,
        weights=Path(weights).name,
        fit=fit or FitSettings(),
        refine=(EMBEDDED_REFINE if weights in EMBEDDED_WEIGHTS else 0) if refine is None else refine,
        finer_model=finer,
    )


def reconstruct(
    photo: str | os.PathLike[str] | Photo,
    *,
    face_model: str | os.PathLike[str] = "open",
    method: Method = "auto",
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
        method: "rnet" (a network, then the fit), "fit" (analysis by synthesis alone), or "auto".
        weights: see ``load_reconstructor``.
        refine: see ``load_reconstructor``.
        faces: all faces or the largest.
        device: torch device.

    Raises:
        PhotoError: the file is not a picture that can be read.
        NoFaceFoundError: no face is in it.
        FaceModelError: the face model file is malformed.
        AssetNotFoundError, WeightsError: see ``load_reconstructor``.
    """
    picture = photo if isinstance(photo, Photo) else photo_door.read_photo(photo)
    flow = load_reconstructor(face_model=face_model, method=method, weights=weights, refine=refine, device=device)
    return flow.faces_in(picture, faces=faces)
