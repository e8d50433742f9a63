"""Following a face from frame to frame: its last landmarks say where to look next; the detector steps in when lost.

A network that sees landmarks, and states its doubts, needs no detector to find again what it has just seen.
"""

from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from facewright import align
from facewright.detect import detect_faces_in_batch
from facewright.detect.suppression import overlap
from facewright.errors import FacewrightError, SettingsError
from facewright.pipeline.attempts import attempt
from facewright.pipeline.estimator import Estimate, Estimator, Glance
from facewright.pipeline.flow import Reconstructor
from facewright.pipeline.reconstruction import Reconstruction
from facewright.records import FaceDetection, Photo

LOOK_EVERY = 60
"""Frames after which the detector is asked whether what is followed is still a face."""
SAME_FACE = 0.3
"""Least intersection over union of the box that is followed and one that the detector finds."""


@runtime_checkable
class Glancer(Estimator, Protocol):
    """A method whose network can look at a face quickly."""

    def glance(self, photo: Photo, five: Float[Tensor, "5 2"]) -> Glance:
        """One look at the face at these five points, photo pixels."""
        ...

    def estimate_at(self, glance: Glance) -> Estimate:
        """The whole estimate that a glance amounts to."""
        ...


@dataclass(frozen=True)
class TrackedFace:
    """A face in one frame.

    Attributes:
        photo: the frame.
        detection: box and five points, by the landmarks.
        glance: what the network says of it.
        detected: whether the detector found it in this frame, and not the frame before.
    """

    photo: Photo
    detection: FaceDetection
    glance: Glance
    detected: bool

    @property
    def landmarks(self) -> Float[Tensor, "68 2"]:
        """iBUG-68 in pixels of the frame (3D definition, hidden ones where they would be)."""
        return self.glance.landmarks

    @property
    def doubt(self) -> float:
        """Mean deviation of the landmarks that the network states, as a share of the crop."""
        return self.glance.doubt


def following_estimator(flow: Reconstructor) -> tuple[Glancer, float]:
    """What a face is followed with: the flow's network, and its doubt from which on it has lost the face.

    Raises:
        SettingsError: the flow's method does not see landmarks.
    """
    estimator = flow.estimator
    if not isinstance(estimator, Glancer) or estimator.most_doubt is None:
        raise SettingsError(
            f"expected a network that sees landmarks to follow faces with, received method {flow.method!r} with "
            f"weights {flow.weights!r}; take method rnet with weights open or fast"
        )
    return estimator, estimator.most_doubt


@dataclass
class FaceTracker:
    """Follows one face, the largest that is found, through the frames of a clip; a call per frame.

    Attributes:
        flow: the loaded flow; its method must be a network that sees landmarks.
        most_doubt: doubt (``TrackedFace.doubt``) from which on the face counts as lost; None: the method's own.
        look_every: frames after which the detector is asked once, whether a face is still there: what is followed is
            given up where it finds faces and none of them is this one.
    """

    flow: Reconstructor
    most_doubt: float | None = None
    look_every: int = LOOK_EVERY
    _last: TrackedFace | None = field(default=None, init=False, repr=False)
    _since: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        """Refuse what cannot follow.

        Raises:
            SettingsError: the flow's method does not see landmarks.
        """
        if self.look_every < 1:
            raise SettingsError(f"expected look_every of 1 or more frames, received {self.look_every}")
        self._estimator, usual = following_estimator(self.flow)
        self._limit = usual if self.most_doubt is None else self.most_doubt

    def follow(self, photo: Photo) -> TrackedFace | None:
        """The face in the next frame; None where there is none.

        Args:
            photo: the frame, of any size.
        """
        photo = photo.to(self.flow.device)
        face = None if self._last is None else self._looked(photo, self._last.detection.five, detected=False)
        self._since += 1
        if face is None or self._since >= self.look_every:
            self._since = 0
            face = self._detected(photo, face)
        self._last = face
        return face

    def reconstruction(self, face: TrackedFace) -> Reconstruction:
        """A followed face as the flow returns faces: with its mesh, ready to be drawn and saved; not refined."""
        return self.flow.reconstruction(face.photo, face.detection, self._estimator.estimate_at(face.glance))

    def _detected(self, photo: Photo, followed: TrackedFace | None) -> TrackedFace | None:
        """What is followed if the detector sees it too, or nothing else; else what it sees, looked at twice."""
        (found,) = detect_faces_in_batch([photo], self.flow.detector, try_turned=False)
        if followed is not None:
            boxes = torch.stack([face.box for face in found]) if found else followed.detection.box.new_zeros(0, 4)
            if not found or float(overlap(followed.detection.box[None], boxes)[0].max()) > SAME_FACE:
                return followed
        for candidate in found:
            first = self._looked(photo, candidate.five, detected=True)
            face = None if first is None else self._looked(photo, first.detection.five, detected=True)
            if face is not None:
                return face
        return None

    def _looked(self, photo: Photo, five: Float[Tensor, "5 2"], *, detected: bool) -> TrackedFace | None:
        glance = attempt(self._estimator.glance, photo, five)
        if isinstance(glance, FacewrightError) or glance.doubt > self._limit:
            return None
        points = glance.landmarks
        box = torch.cat([points.amin(0), points.amax(0)])
        return TrackedFace(photo, FaceDetection(box, 1.0 - glance.doubt, align.five_from_68(points)), glance, detected)
