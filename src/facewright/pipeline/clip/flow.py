"""The flow of a clip: frames to sightings, sightings to people, people to steady motion, motion to files.

The clip is read three times, a frame in memory at a time: to look at every face, to look well at the few frames that
say who somebody is, and to draw. What was seen lies on disk meanwhile, so that a run that was killed goes on.
"""

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from facewright.errors import ClipError, ExportError, NoFaceFoundError
from facewright.export.formats import CLIP_FORMATS, ClipFormat
from facewright.export.json import json_bytes, plain
from facewright.files import FileSet, remove_leftovers
from facewright.geometry.frames import CAMERA_DISTANCE_DM
from facewright.photo.frames import Frame, clip_facts, read_frames
from facewright.pipeline.album.merged_texture import MergedTexture
from facewright.pipeline.album.observing import digest_of
from facewright.pipeline.album.person import AlbumMethod, Person
from facewright.pipeline.album.weighing import Weighing
from facewright.pipeline.clip.following import PeopleTracker
from facewright.pipeline.clip.outputs import (
    CLIP,
    ClipPerson,
    add_clip_person,
    add_film,
    overlay_frame,
    person_document,
)
from facewright.pipeline.clip.people import KeyFrame, Sights, face_of, identify, key_frames, steadied
from facewright.pipeline.clip.poses import FramePose, PersonPoser
from facewright.pipeline.clip.sightings import (
    FRAMES_A_PART,
    Sighting,
    Sightings,
    read_part,
    resume_tracker,
    sighting_of,
    write_part,
)
from facewright.pipeline.flow import Reconstructor
from facewright.pipeline.reconstruction import Reconstruction
from facewright.pipeline.report import input_sha256
from facewright.provenance import VERSION
from facewright.records import Camera

SIGHTINGS = ".facewright-clip"
"""Folder beside the results, until all are written."""
LEAST_FRAMES = 5
"""Frames in which somebody must be seen to be written: what comes and goes is no person."""
LIVE_FRAMES = 15
"""First frames of a person that say who it is, where later ones are not known yet."""
LONGEST_STEM = 100
"""Letters of the names of files."""

Progress = Callable[[str, float], None]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClipOptions:
    """What is done with a clip.

    Attributes:
        formats: files of each person, and the film of all.
        texture_px: side of the texture.
        live: as a program would that sees the frames as they come: no frame knows of more than the next one, and the
            identity is that of a person's first frames.
        rounds: of the joint refinement of a person's key frames; None: as suits the method.
        max_pixels: refuse larger frames.
    """

    formats: tuple[ClipFormat, ...] = CLIP_FORMATS
    texture_px: int = 1024
    live: bool = False
    rounds: int | None = None
    max_pixels: int | None = None


@dataclass(frozen=True)
class ClipReport:
    """What became of a clip.

    Attributes:
        clip: path as given.
        folder: of the results.
        document: what ``clip.json`` says.
        resumed: whether all was there already.
    """

    clip: Path
    folder: Path
    document: dict[str, Any] = field(default_factory=dict)
    resumed: bool = False

    @property
    def people(self) -> list[dict[str, Any]]:
        """Who is in it."""
        return self.document["people"]


def reconstruct_clip(
    path: Path,
    out: Path,
    reconstructor: Reconstructor,
    weighing: Weighing,
    *,
    options: ClipOptions | None = None,
    resume: bool = False,
    on_progress: Progress | None = None,
) -> ClipReport:
    """A clip becomes moving faces: of each person one shape and albedo, and a pose, expression and light a frame.

    Args:
        path: the clip.
        out: folder of the results; made if absent.
        reconstructor: the loaded flow; its method must be a network that sees landmarks.
        weighing: of the frames that say who somebody is.
        options: what is done.
        resume: keep what a run before has seen or done with the same settings.
        on_progress: called with what is done and the share of it, 0..1.

    Raises:
        MissingExtraError: PyAV is not installed.
        ClipError: the clip cannot be read.
        SettingsError: the method cannot follow faces.
        NoFaceFoundError: nobody is in it.
        ExportError: the results cannot be written.
    """
    options = options or ClipOptions()
    work = _ClipWork(path, out, reconstructor, weighing, options, on_progress or (lambda what, share: None))
    before = work.document()
    if resume and before is not None and work.is_done(before):
        return ClipReport(path, out, before, resumed=True)
    remove_leftovers(out)
    tracker, parts = work.look(resume=resume)
    people, left_out = work.people(parts)
    if not people:
        raise NoFaceFoundError(
            f"expected a face that is seen in {LEAST_FRAMES} frames or more of {path}, found none"
            + "".join(f"; {reason}" for reason in left_out[:3])
        )
    return ClipReport(path, out, work.write(people, tracker, left_out, before))


@dataclass
class _ClipWork:
    """See ``reconstruct_clip``."""

    path: Path
    out: Path
    reconstructor: Reconstructor
    weighing: Weighing
    options: ClipOptions
    tell: Progress
    frames: int = 0
    seconds: float = 0.0
    cut_short: str = ""

    def __post_init__(self) -> None:
        self.method = AlbumMethod.of(self.reconstructor.estimator, self.options.rounds)
        facts = clip_facts(self.path, **self._limits)
        self.width, self.height = facts.width, facts.height
        known = facts.frames or (None if not (facts.seconds and facts.rate_hz) else facts.seconds * facts.rate_hz)
        self.expected = known

    @property
    def _limits(self) -> dict[str, int]:
        return {} if self.options.max_pixels is None else {"max_pixels": self.options.max_pixels}

    @property
    def store(self) -> Path:
        return self.out / SIGHTINGS

    def looks(self) -> str:
        """Digest of all that decides what is seen."""
        facts = [digest_of(self.reconstructor, self.weighing, self.options.max_pixels), input_sha256(self.path)]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    def settings(self) -> str:
        """Digest of all that decides the results."""
        facts = [self.looks(), plain(asdict(self.options)), self.method.rounds]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def document(self) -> dict[str, Any] | None:
        """``clip.json`` of a run before.

        Raises:
            ExportError: there is one that is not ours.
        """
        place = self.out / CLIP
        try:
            found = json.loads(place.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError, RecursionError) as error:
            raise _foreign(place) from error
        if not isinstance(found, dict) or "facewright" not in found:
            raise _foreign(place)
        return found

    def is_done(self, before: dict[str, Any]) -> bool:
        names = before.get("outputs")
        return (
            before.get("settings") == self.settings()
            and isinstance(before.get("people"), list)
            and isinstance(names, list)
            and all(isinstance(name, str) and (self.out / name).is_file() for name in names)
        )

    def _read(self, what: str) -> Iterator[Frame]:
        """The frames; a clip that is cut short ends where it ends, and is told of."""
        try:
            for frame in read_frames(self.path, **self._limits):
                yield frame
                self.tell(what, 0.0 if not self.expected else min(1.0, (frame.number + 1) / self.expected))
                self.frames = max(self.frames, frame.number + 1)
                self.seconds = max(self.seconds, frame.time_s)
        except ClipError as error:
            if not self.frames:
                raise
            if not self.cut_short:
                log.warning("%s", error)
            self.cut_short = str(error)

    def look(self, *, resume: bool) -> tuple[PeopleTracker, list[Path]]:
        """Look at every face in every frame; what a run before has seen is kept."""
        tracker, settings = PeopleTracker(self.reconstructor), self.looks()
        parts: list[Path] = []
        if not resume:
            shutil.rmtree(self.store, ignore_errors=True)
        done = -1
        while (kept := read_part(self._part(len(parts)))) is not None and kept[1].get("settings") == settings:
            parts.append(self._part(len(parts)))
            done = int(kept[1]["last"])
        if parts:
            resume_tracker(parts[-1], tracker)
        rows: list[Sighting] = []
        for frame in self._read("looking"):
            if frame.number <= done:
                continue
            rows += [sighting_of(one, frame.number, frame.time_s) for one in tracker.follow(frame.photo, frame.time_s)]
            if frame.number - done == FRAMES_A_PART:
                done = self._keep(parts, rows, tracker, settings, frame.number)
                rows = []
        if self.frames - 1 > done:
            self._keep(parts, rows, tracker, settings, self.frames - 1)
        return tracker, parts

    def _keep(self, parts: list[Path], rows: list[Sighting], tracker: PeopleTracker, settings: str, last: int) -> int:
        write_part(self._part(len(parts)), rows, tracker, {"settings": settings, "last": last})
        parts.append(self._part(len(parts)))
        return last

    def _part(self, number: int) -> Path:
        return self.store / f"{number:06d}.safetensors"

    def people(self, parts: list[Path]) -> tuple[list[ClipPerson], list[str]]:
        """Who is in the clip, and how they move; and why others are left out."""
        sights, left_out = _sights(parts), list[str]()
        for person, one in list(sights.items()):
            if len(one.frame) < LEAST_FRAMES:
                left_out.append(f"somebody who is seen in {len(one.frame)} frames from {float(one.time_s[0]):.2f} s on")
                del sights[person]
        most = LIVE_FRAMES if self.options.live else None
        wanted = [key for person, one in sights.items() for key in key_frames(person, _first(one, most))]
        faces = self._key_faces(wanted)
        found: list[ClipPerson] = []
        several = sum(bool(faces.get(person)) for person in sights) > 1
        posers: dict[int, PersonPoser] = {}
        who: dict[int, tuple[Person, MergedTexture | None]] = {}
        for person, one in sights.items():
            if not faces.get(person):
                left_out.append(f"what is seen from {float(one.time_s[0]):.2f} s on is not believed to be a face")
                continue
            self.tell("who is who", len(who) / len(sights))
            who[person] = identify(
                [face for _, face in faces[person]], self.weighing, self.method, self.options.texture_px
            )
            posers[person] = PersonPoser(self.method, who[person][0].identity, self._camera(_first(one, most)))
        moving = self._poses(parts, posers)
        for number, person in enumerate(who):
            stem = self.path.stem[:LONGEST_STEM] or "clip"
            rows, poses = moving[person]
            movement = steadied(
                [row[0] for row in rows],
                [row[1] for row in rows],
                [row[2] for row in rows],
                poses,
                self.method.face_model.exp_names,
                posers[person].camera.to("cpu"),
                box=self.method.plan.exp_is_box,
                late=1 if self.options.live else None,
            )
            shots = sorted({row[2] for row in rows})
            spans = [[row[0] for row in rows if row[2] == shot] for shot in shots]
            found.append(
                ClipPerson(
                    f"{stem}_{number + 1}" if several else stem,
                    who[person][0],
                    who[person][1],
                    movement,
                    tuple(key.frame for key, _ in faces[person]),
                    tuple((span[0], span[-1]) for span in spans),
                )
            )
        return found, left_out

    def _camera(self, sights: Sights) -> Camera:
        """One for all frames of a person: of a usual one's focal length, its axis through the middle of the picture."""
        like = self.method.plan.shape.mean
        focal = like.new_tensor([float(sights.focal_px.median())])
        cx, cy = (like.new_tensor([(side - 1) / 2]) for side in (self.width, self.height))
        return Camera(focal, cx, cy, self.width, self.height, CAMERA_DISTANCE_DM)

    def _key_faces(self, wanted: list[KeyFrame]) -> dict[int, list[tuple[KeyFrame, Reconstruction]]]:
        """The key frames' faces that are believed, by person."""
        by_frame: dict[int, list[KeyFrame]] = {}
        for key in wanted:
            by_frame.setdefault(key.frame, []).append(key)
        faces: dict[int, list[tuple[KeyFrame, Reconstruction]]] = {}
        last = max(by_frame, default=-1)
        for frame in self._read("looking again"):
            for key in by_frame.get(frame.number, ()):
                face = face_of(frame.photo, key, self.reconstructor)
                if isinstance(face, Reconstruction):
                    faces.setdefault(key.person, []).append((key, face))
            if frame.number >= last:
                break
        return faces

    def _poses(
        self, parts: list[Path], posers: dict[int, PersonPoser]
    ) -> dict[int, tuple[list[tuple[int, float, int]], list[FramePose]]]:
        """Frame, time and shot, and what it says, of every sighting, by person."""
        found: dict[int, tuple[list[tuple[int, float, int]], list[FramePose]]] = {person: ([], []) for person in posers}
        for number, part in enumerate(parts):
            for seen in _rows(part):
                self.tell("fitting", number / len(parts))
                if seen.person in posers:
                    rows, poses = found[seen.person]
                    rows.append((seen.frame, seen.time_s, seen.shot))
                    poses.append(posers[seen.person].pose(seen.to(self.reconstructor.device)).to("cpu"))
        return found

    def write(
        self, people: list[ClipPerson], tracker: PeopleTracker, left_out: list[str], before: dict[str, Any] | None
    ) -> dict[str, Any]:
        """Write all files; gives what ``clip.json`` says."""
        model, own = self.method.face_model, None if before is None else before.get("outputs")
        ours = {name for name in own if isinstance(name, str)} if isinstance(own, list) else set[str]()
        with FileSet(lambda path: path.name in ours | {CLIP} and path.resolve() != self.path.resolve()) as files:
            documents = []
            for one in people:
                names = add_clip_person(files, self.out, one, model, self.options.formats)
                documents.append(person_document(one, model, names, self.frames))
            if "overlay" in self.options.formats:
                drawn = (
                    (overlay_frame(frame, people, model, self.reconstructor.method), frame.time_s)
                    for frame in self._read("drawing")
                )
                add_film(files, self.out, self.path.stem[:LONGEST_STEM] or "clip", drawn, self.path)
            document = {
                "facewright": VERSION,
                "clip": str(self.path),
                "width": self.width,
                "height": self.height,
                "frames": self.frames,
                "seconds": self.seconds,
                "method": self.reconstructor.method,
                "weights": self.reconstructor.weights,
                "face_model": model.name,
                "face_model_edition": model.edition,
                "live": self.options.live,
                "lag_frames": 1 if self.options.live else 0,
                "cuts_s": tracker.cuts,
                "cut_short": self.cut_short or None,
                "people": documents,
                "left_out": left_out,
                "outputs": [path.name for path in files.paths],
                "settings": self.settings(),
            }
            files.write(self.out / CLIP, json_bytes(document))
        shutil.rmtree(self.store, ignore_errors=True)
        return json.loads(json_bytes(document))


def _rows(part: Path) -> Iterator[Sighting]:
    kept = read_part(part)
    if kept is None:
        raise ExportError(f"expected what was seen in {part}, which is gone; give the command again")
    yield from kept[0]


def _sights(parts: list[Path]) -> dict[int, Sights]:
    """What decides the key frames, by person."""
    columns: dict[int, list[dict[str, torch.Tensor]]] = {}
    for part in parts:
        kept = read_part(part)
        seen: Sightings | None = None if kept is None else kept[0]
        if seen is None or not len(seen):
            continue
        numbers = seen.numbers
        for person in sorted({int(value) for value in numbers["person"].tolist()}):
            rows = numbers["person"] == person
            one = {name: numbers[name][rows] for name in ("frame", "time_s", "doubt", "sharpness")}
            one["yaw_deg"] = torch.rad2deg(seen.tensors["angles"][rows, 1]).double()
            one["focal_px"], one["five"] = seen.tensors["camera"][rows, 0].double(), seen.tensors["five"][rows]
            columns.setdefault(person, []).append(one)
    return {
        person: Sights(**{name: torch.cat([part[name] for part in several]) for name in several[0]})
        for person, several in sorted(columns.items())
    }


def _first(sights: Sights, most: int | None) -> Sights:
    """The first of them alone; None: all."""
    return replace(sights, **{name: value[:most] for name, value in vars(sights).items()})


def _foreign(path: Path) -> ExportError:
    return ExportError(f"expected {path} to be absent or one of ours, received another file; choose another --out")
