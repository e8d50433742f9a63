"""Everybody in a clip, from frame to frame: who is followed, lost behind somebody, gone, and back.

Each face is looked at where its own movement says it will be; two that end at one face are told apart by who it is. The
detector is asked at the beginning, after a cut, while somebody is missing, and every so often for those who come in.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor

from facewright import align
from facewright.align.chips import identity_chips
from facewright.detect import detect_faces_in_batch
from facewright.detect.suppression import overlap
from facewright.errors import FacewrightError
from facewright.pipeline.attempts import attempt
from facewright.pipeline.flow import Reconstructor
from facewright.pipeline.identity import load_identity
from facewright.pipeline.tracking import TrackedFace, following_estimator
from facewright.records import FaceDetection, Photo, TensorRecord
from facewright.regress.identity import SAME_PERSON_DISTANCE, descriptor_distances

LOOK_EVERY = 15
"""Frames after which the detector is asked for people who come in."""
MISSED_EVERY, MISSED_FOR_S = 2, 1.0
"""While somebody is missing it is asked every so many frames, for so long after the last sight."""
SAME_PLACE = 0.3
"""Least intersection over union of boxes of one face."""
ONE_FACE = 0.5
"""From this intersection over union on two that are followed are at one face."""
SURE_DISTANCE = 0.08
"""Difference of distances to two people from which on who it is decides, and not how they moved."""
SOON_S = 0.5
"""Someone who is missing for less is the one who is found there again, were the light to change his looks."""
SOON_DISTANCE = 0.75
"""Largest distance of descriptors of such a one."""
MOST_REMEMBERED = 6
"""Descriptors that are kept of each person."""
CUT_SMALL_PX = 24
CUT_DIFFERENCE = 0.22
"""Mean difference of small frames, of their brightness 0..1, from which on one does not follow on the other."""


@dataclass(frozen=True)
class Track(TensorRecord):
    """Somebody who is or was followed.

    Attributes:
        number: of the person in the clip, from 0.
        shot: how often he was found anew; frames of one shot follow on each other.
        five: the five points at the last sight, px.
        box: of the landmarks then.
        velocity: of the face, px / s.
        time_s: of the last sight.
        looks: descriptors of who it is; the first ones.
        seen: whether he was in the last frame.
    """

    number: int
    shot: int
    five: Float[Tensor, "5 2"]
    box: Float[Tensor, "4"]
    velocity: Float[Tensor, "2"]
    time_s: float
    looks: Float[Tensor, "N 128"]
    seen: bool = True

    def moved(self, time_s: float) -> Float[Tensor, "2"]:
        """How far the face will have gone by then; nobody keeps on running for long."""
        return self.velocity * min(time_s - self.time_s, 0.25)

    def distance(self, looks: Float[Tensor, "M 128"]) -> float:
        """To a face, by who it is."""
        return float(descriptor_distances(self.looks, looks).min())


@dataclass(frozen=True)
class Followed:
    """A face in a frame, and whose it is.

    Attributes:
        track: of the person, as of this frame.
        face: what the network says.
    """

    track: Track
    face: TrackedFace


@dataclass
class PeopleTracker:
    """Follows all faces of a clip; a call per frame.

    Attributes:
        flow: the loaded flow; its method must be a network that sees landmarks.
        look_every: frames after which the detector is asked.
        tracks: everybody so far.
        cuts: times of frames that do not follow on the one before, s.
    """

    flow: Reconstructor
    look_every: int = LOOK_EVERY
    tracks: list[Track] = field(default_factory=list)
    cuts: list[float] = field(default_factory=list)
    small: Float[Tensor, "3 S S"] | None = None
    since: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot follow.

        Raises:
            SettingsError: the flow's method does not see landmarks.
        """
        self._estimator, self._limit = following_estimator(self.flow)

    def follow(self, photo: Photo, time_s: float) -> list[Followed]:
        """The faces in the next frame.

        Args:
            photo: the frame.
            time_s: when it is shown.
        """
        photo = photo.to(self.flow.device)
        small = small_frame(photo)
        first = self.small is None
        cut = self.small is not None and is_cut(self.small, small)
        self.small = small
        if cut:
            self.cuts.append(time_s)
            self.tracks = [replace(track, seen=False, time_s=-1e9) for track in self.tracks]
        found = self._still_there(photo, time_s)
        self.since += 1
        missing = any(not track.seen and time_s - track.time_s < MISSED_FOR_S for track in self.tracks)
        lost_now = any(track.seen and track.number not in found for track in self.tracks)
        due = self.since >= (MISSED_EVERY if missing else self.look_every)
        if first or cut or lost_now or due:
            self.since = 0
            self._come_in(photo, time_s, found)
        self.tracks = [
            found[track.number].track if track.number in found else replace(track, seen=False) for track in self.tracks
        ] + [one.track for number, one in found.items() if number >= len(self.tracks)]
        return [found[number] for number in sorted(found)]

    def _still_there(self, photo: Photo, time_s: float) -> dict[int, Followed]:
        """Those of the last frame who are where their movement says, by number."""
        found: dict[int, Followed] = {}
        for track in (track for track in self.tracks if track.seen):
            face = self._looked(photo, track.five + track.moved(time_s), detected=False)
            if face is not None:
                found[track.number] = Followed(track, face)
        for one, other in _at_one_face(found):
            if one in found and other in found:
                del found[self._intruder(found[one], found[other], time_s)]
        return {number: Followed(_on(one.track, one.face, time_s), one.face) for number, one in found.items()}

    def _intruder(self, one: Followed, other: Followed, time_s: float) -> int:
        """Whose face it is not, of two who ended at one."""
        looks = self._descriptor(one.face)
        near = [each.track.distance(looks) for each in (one, other)]
        if abs(near[0] - near[1]) < SURE_DISTANCE:
            near = [
                float((_middle(each.face.detection.box) - _middle(each.track.box) - each.track.moved(time_s)).norm())
                for each in (one, other)
            ]
        return one.track.number if near[0] > near[1] else other.track.number

    def _come_in(self, photo: Photo, time_s: float, found: dict[int, Followed]) -> None:
        """Add those whom the detector sees and nobody follows: known ones, and new ones."""
        (seen,) = detect_faces_in_batch([photo], self.flow.detector, try_turned=False)
        for candidate in seen:
            if _taken(candidate.box, found.values()):
                continue
            first = self._looked(photo, candidate.five, detected=True)
            face = None if first is None else self._looked(photo, first.detection.five, detected=True)
            if face is None or _taken(face.detection.box, found.values()):
                continue
            looks = self._descriptor(face)
            known = self._known(face, looks, time_s, found)
            detection = face.detection
            if known is None:
                number = len(self.tracks) + sum(number >= len(self.tracks) for number in found)
                still = torch.zeros_like(detection.box[:2])
                track = Track(number, 0, detection.five, detection.box, still, time_s, looks)
            else:
                soon = time_s - known.time_s < SOON_S
                more = torch.cat([known.looks, looks])[:MOST_REMEMBERED]
                track = _on(replace(known, looks=more), face, time_s)
                track = (
                    track if soon else replace(track, shot=known.shot + 1, velocity=torch.zeros_like(track.velocity))
                )
            found[track.number] = Followed(track, face)

    def _known(
        self, face: TrackedFace, looks: Float[Tensor, "1 128"], time_s: float, found: dict[int, Followed]
    ) -> Track | None:
        """Who is missing and looks like this, the likest; one who was there just now need be less alike."""
        candidates: list[tuple[float, Track]] = []
        for track in self.tracks:
            if track.number in found:
                continue
            distance = track.distance(looks)
            moved = track.box + track.moved(time_s).repeat(2)
            here = float(overlap(moved[None], face.detection.box[None])[0]) > SAME_PLACE
            soon = here and time_s - track.time_s < SOON_S
            if distance < (SOON_DISTANCE if soon else SAME_PERSON_DISTANCE):
                candidates.append((distance, track))
        return min(candidates, key=lambda pair: pair[0])[1] if candidates else None

    def _descriptor(self, face: TrackedFace) -> Float[Tensor, "1 128"]:
        """Who it is, by the identity network: from the photo, finer than the crop of a glance."""
        net = load_identity()
        aligned = align.align_face(face.photo, face.detection.five, exact=False)
        chips = identity_chips(aligned.crop[None], aligned.five_crop.to(aligned.crop)[None])
        return net.infer(chips.to(net.head.weight)).to(face.detection.box)

    def _looked(self, photo: Photo, five: Float[Tensor, "5 2"], *, detected: bool) -> TrackedFace | None:
        glance = attempt(self._estimator.glance, photo, five)
        if isinstance(glance, FacewrightError) or glance.doubt > self._limit:
            return None
        points = glance.landmarks
        box = torch.cat([points.amin(0), points.amax(0)])
        return TrackedFace(photo, FaceDetection(box, 1.0 - glance.doubt, align.five_from_68(points)), glance, detected)


def small_frame(photo: Photo) -> Float[Tensor, "3 S S"]:
    """A frame as a few cells, 0..1."""
    step = max(1, min(photo.width, photo.height) // (4 * CUT_SMALL_PX))
    coarse = photo.pixels[:, ::step, ::step].float()[None] / 255.0
    return torch.nn.functional.interpolate(coarse, size=(CUT_SMALL_PX, CUT_SMALL_PX), mode="area")[0]


def is_cut(before: Float[Tensor, "3 S S"], after: Float[Tensor, "3 S S"]) -> bool:
    """Whether one small frame does not follow on the other; a change of exposure is none."""
    one, other = (small - small.mean() for small in (before, after))
    return float((one - other).abs().mean()) > CUT_DIFFERENCE


def _on(track: Track, face: TrackedFace, time_s: float) -> Track:
    """The track in the next frame; its velocity is the mean of the last ones."""
    detection, dt = face.detection, max(time_s - track.time_s, 1e-3)
    velocity = (_middle(detection.box) - _middle(track.box)) / dt
    velocity = 0.5 * (track.velocity + velocity) if dt < SOON_S else torch.zeros_like(velocity)
    return replace(track, five=detection.five, box=detection.box, velocity=velocity, time_s=time_s, seen=True)


def _middle(box: Float[Tensor, "4"]) -> Float[Tensor, "2"]:
    return (box[:2] + box[2:]) / 2.0


def _at_one_face(found: dict[int, Followed]) -> list[tuple[int, int]]:
    numbers = list(found)
    boxes = torch.stack([found[number].face.detection.box for number in numbers]) if numbers else torch.zeros(0, 4)
    shared = overlap(boxes, boxes)[0]
    return [
        (numbers[i], numbers[j])
        for i in range(len(numbers))
        for j in range(i + 1, len(numbers))
        if float(shared[i, j]) > ONE_FACE
    ]


def _taken(box: Float[Tensor, "4"], found: Iterable[Followed]) -> bool:
    boxes = [one.face.detection.box for one in found]
    return bool(boxes) and float(overlap(box[None], torch.stack(boxes))[0].max()) > SAME_PLACE
