"""The flow of an album: photos, or frames of a clip, to observations, observations to people, people to files.

What is said about each photo is kept in a folder beside the results until all is written, so that a run that was
killed goes on where it was; photos are read again one by one. What grows with their number is what is kept of each
(some tens of kilobytes), and a sheet within bounds.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from facewright.errors import ExportError, NoFaceFoundError, PhotoError, ReconstructionError
from facewright.export.formats import ALL_FORMATS, FormatName
from facewright.export.json import plain
from facewright.export.png import is_own_picture
from facewright.files import FileSet, natural_order, remove_leftovers
from facewright.pipeline.album.clips import AlbumPhotos, opened
from facewright.pipeline.album.merged_texture import MergedTexture, TextureMerger
from facewright.pipeline.album.observations import Observation, observe
from facewright.pipeline.album.observing import digest_of, observed, read_within
from facewright.pipeline.album.outputs import (
    ALBUM,
    PersonFiles,
    add_document,
    add_person,
    identity_document,
    regions_document,
    tile_side,
)
from facewright.pipeline.album.people import (
    SAME_PERSON,
    copies,
    distances_to_others,
    doubtful,
    grouped,
    in_doubt,
    likest,
)
from facewright.pipeline.album.person import AlbumMethod, Person, face_in_photo, person_of
from facewright.pipeline.album.weighing import Weighing
from facewright.pipeline.batch import photo_paths
from facewright.pipeline.flow import Reconstructor
from facewright.pipeline.identity import Recogniser, identity_descriptors
from facewright.pipeline.report import input_sha256
from facewright.pipeline.views import overlay_tile
from facewright.provenance import VERSION

Status = Literal["used", "copy", "doubtful", "stranger", "failed"]
"""What became of a face or a photo: ``stranger``: of somebody of whom there is no other photo, or not the one asked
for."""
USUAL_FRAMES = 20
OBSERVATIONS = ".facewright-album"
"""Folder beside the results, until all are written."""


@dataclass(frozen=True)
class AlbumOptions:
    """What is done with an album.

    Attributes:
        formats: files of each person; those that hold no mesh are of single photos, and left out.
        texture_px: side of the texture.
        rounds: of the joint refinement; None: as suits the method.
        same_person: largest mean distance of the descriptors of two groups of faces of one person.
        reference: a photo of the one who is wanted; None: everybody.
        max_pixels: refuse larger photos; the photo door's own limits if None.
        sheet: draw the sheet of all photos.
        frames: taken of a clip, at most.
    """

    formats: tuple[FormatName, ...] = ALL_FORMATS
    texture_px: int = 1024
    rounds: int | None = None
    same_person: float = SAME_PERSON
    reference: Path | None = None
    max_pixels: int | None = None
    sheet: bool = True
    frames: int = USUAL_FRAMES


@dataclass(frozen=True)
class Verdict:
    """What became of a face, or of a photo without one.

    Attributes:
        photo: path as given.
        status: see ``Status``.
        reason: why it was not used; empty where it was.
        face: number of the face in its photo; None: the photo itself.
        person: number of the person; None: of nobody who is written.
        weight: share of the photo in the identity.
        distance: mean distance of its descriptor to those of the others of its group.
        yaw_deg: of the head.
        sharpness: see ``Observation``.
    """

    photo: str
    status: Status
    reason: str = ""
    face: int | None = None
    person: int | None = None
    weight: float | None = None
    distance: float | None = None
    yaw_deg: float | None = None
    sharpness: float | None = None


@dataclass(frozen=True)
class AlbumReport:
    """What became of an album.

    Attributes:
        folder: of the results.
        verdicts: of all faces and photos.
        people: how many were written.
        outputs: names of the files.
        doubts: what of who is who is no more than likely, in words.
        resumed: whether all was there already.
    """

    folder: Path
    verdicts: tuple[Verdict, ...]
    people: int
    outputs: tuple[str, ...]
    doubts: tuple[str, ...] = ()
    resumed: bool = False

    @property
    def failed(self) -> list[Verdict]:
        """Photos that could not be read, or without a face."""
        return [verdict for verdict in self.verdicts if verdict.status == "failed"]


def album_folders(inputs: Sequence[str | os.PathLike[str]]) -> list[tuple[str, list[Path]]]:
    """Albums by name: a folder of pictures, or the files together, are one; of a folder of folders each is one.

    Raises:
        PhotoError: there are no pictures.
    """
    given = [Path(entry) for entry in inputs]
    albums: list[tuple[str, list[Path]]] = []
    for folder in given if all(path.is_dir() for path in given) and given else []:
        inside = photo_paths([folder])
        if inside != [folder]:
            albums.append((folder.name, inside))
            continue
        for part in natural_order(path for path in folder.iterdir() if path.is_dir() and path.name[:1] != "."):
            pictures = photo_paths([part])
            if pictures != [part]:
                albums.append((part.name, pictures))
    if not albums and not all(path.is_dir() for path in given):
        albums = [("album", photo_paths(given))]
    if not albums:
        raise PhotoError(f"expected pictures, or folders of pictures, for an album; found none in {given or 'nothing'}")
    return albums


def reconstruct_albums(
    inputs: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    reconstructor: Reconstructor,
    weighing: Weighing,
    *,
    options: AlbumOptions | None = None,
    resume: bool = False,
    recognise: Recogniser = identity_descriptors,
    on_photo: Callable[[Path], None] | None = None,
    on_album: Callable[[AlbumReport], None] | None = None,
) -> list[AlbumReport]:
    """Albums into a folder; several go into a folder of their own each, by their names.

    Args:
        inputs: see ``album_folders``.
        out: folder of the results.
        reconstructor: the loaded flow.
        weighing: of the photos.
        options: what is done.
        resume: keep what a run before has done with the same settings.
        recognise: says who is seen.
        on_photo: called after each photo.
        on_album: called after each album.

    Raises:
        PhotoError: there are no pictures.
        SettingsError: a method without coefficients.
        ExportError: the results cannot be written.
        ReconstructionError: the person asked for is in no photo.
    """
    albums = album_folders(inputs)
    reports = []
    names: dict[str, int] = {}
    for name, paths in albums:
        number = names[name] = names.get(name, 0) + 1
        folder = Path(out) if len(albums) == 1 else Path(out) / (name if number == 1 else f"{name}-{number}")
        report = reconstruct_album(
            paths,
            folder,
            reconstructor,
            weighing,
            options=options,
            resume=resume,
            recognise=recognise,
            on_photo=on_photo,
        )
        reports.append(report)
        if on_album is not None:
            on_album(report)
    return reports


def reconstruct_album(
    paths: Sequence[Path],
    out: Path,
    reconstructor: Reconstructor,
    weighing: Weighing,
    *,
    options: AlbumOptions | None = None,
    resume: bool = False,
    recognise: Recogniser = identity_descriptors,
    on_photo: Callable[[Path], None] | None = None,
) -> AlbumReport:
    """One album; arguments and errors as ``reconstruct_albums``."""
    work = _AlbumWork(out, reconstructor, weighing, options or AlbumOptions(), recognise)
    before = work.document()
    if resume and before is not None and work.is_done(paths, before):
        for path in paths:
            if on_photo is not None:
                on_photo(path)
        return _reported(out, before)
    remove_leftovers(out)
    if not resume:
        shutil.rmtree(work.store, ignore_errors=True)
    album = opened(paths, work.store, work.options.frames, work.options.max_pixels)
    failures = [Verdict(str(path), "failed", reason) for path, reason in album.failures]
    seen = observed(
        album.photos,
        work.store,
        reconstructor,
        weighing,
        settings=work.digest(),
        max_pixels=work.options.max_pixels,
        resume=True,
        recognise=recognise,
        on_photo=on_photo,
    )
    failures += [Verdict(str(path), "copy", f"the same file as {first}") for path, first in seen.copies]
    for path, reason in seen.failures:  # a clip is not to show its person all the time
        failures.append(Verdict(str(path), "doubtful" if str(path) in album.names else "failed", reason))
    if not seen.faces:
        reason = album.spelled(failures[0].reason) if failures else "there are no photos"
        raise NoFaceFoundError(f"expected a face in at least one of {len(album.photos)} photos, found none: {reason}")
    return work.write(paths, album, seen.faces, failures, before)


@dataclass(frozen=True)
class _AlbumWork:
    """See ``reconstruct_album``."""

    out: Path
    reconstructor: Reconstructor
    weighing: Weighing
    options: AlbumOptions
    recognise: Recogniser

    @property
    def store(self) -> Path:
        return self.out / OBSERVATIONS

    def digest(self) -> str:
        """Of all but the photos that decides what is said about each."""
        return digest_of(self.reconstructor, self.weighing, self.options.max_pixels, self.recognise)

    def settings(self, paths: Sequence[Path]) -> str:
        """Of everything that decides the results."""
        options = asdict(self.options) | {
            "reference": None if self.options.reference is None else input_sha256(self.options.reference)
        }
        facts = [self.digest(), options, sorted(input_sha256(path) for path in paths)]
        return hashlib.sha256(json.dumps(plain(facts), sort_keys=True, default=str).encode()).hexdigest()

    def document(self) -> dict[str, Any] | None:
        """``album.json`` of a run before.

        Raises:
            ExportError: there is one that is not ours.
        """
        path = self.out / ALBUM
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError, RecursionError) as error:
            raise _foreign(path) from error
        if not isinstance(found, dict) or "facewright" not in found:
            raise _foreign(path)
        return found

    def is_done(self, paths: Sequence[Path], before: dict[str, Any]) -> bool:
        names = before.get("outputs")
        try:
            _reported(self.out, before)
        except (KeyError, TypeError):  # written by another version, or changed since
            return False
        return (
            before.get("settings") == self.settings(paths)
            and isinstance(names, list)
            and all(isinstance(name, str) and (self.out / name).is_file() for name in names)
        )

    def write(
        self,
        paths: Sequence[Path],
        album: AlbumPhotos,
        observations: list[Observation],
        failures: list[Verdict],
        before: dict[str, Any] | None,
    ) -> AlbumReport:
        """Say who is who, join what belongs together, write all files."""
        verdicts, people, doubts = self._people(observations)
        method = AlbumMethod.of(self.reconstructor.estimator, self.options.rounds)
        own = before.get("outputs") if before is not None else None
        ours = {name for name in own if isinstance(name, str)} if isinstance(own, list) else set[str]()
        documents = []
        with FileSet(lambda path: path.name in ours | {ALBUM} or is_own_picture(path)) as files:
            for number, members in enumerate(people):
                stem = "person" if len(people) == 1 else f"person_{number + 1}"
                seen = [observations[k] for k in members]
                person = person_of([one.to(self.reconstructor.device) for one in seen], method)
                for k, share in zip(members, person.shares.tolist(), strict=True):
                    verdicts[k] = replace(verdicts[k], person=number + 1, weight=round(share, 4))
                document = self._add_person(files, stem, seen, person, method)
                documents.append(document)
            names = [path.name for path in files.paths]
            order = sorted([*verdicts, *failures], key=lambda v: (_place(album.photos, v.photo), v.face or 0))
            every = tuple(
                replace(one, photo=album.spelled(one.photo), reason=album.spelled(one.reason)) for one in order
            )
            doubts = [album.spelled(doubt) for doubt in doubts]
            add_document(
                files,
                self.out,
                {
                    "facewright": VERSION,
                    "method": self.reconstructor.method,
                    "weights": self.reconstructor.weights,
                    "weighing": {"name": self.weighing.name, "weights": self.weighing.weights},
                    "joint_rounds": method.rounds,
                    "same_person": self.options.same_person,
                    "people": documents,
                    "doubts": doubts,
                    "photos": [asdict(verdict) for verdict in every],
                    "outputs": names,
                    "settings": self.settings(paths),
                },
            )
        shutil.rmtree(self.store, ignore_errors=True)
        return AlbumReport(self.out, every, len(people), (*names, ALBUM), tuple(doubts))

    def _people(self, observations: list[Observation]) -> tuple[list[Verdict], list[list[int]], list[str]]:
        """A verdict for each face; the faces of each person, who has most photos first; what of that is doubtful."""
        verdicts = [
            Verdict(
                one.photo,
                "used",
                face=one.face,
                yaw_deg=round(one.yaw_deg, 1),
                sharpness=round(one.sharpness, 4),
            )
            for one in observations
        ]
        for k, first in copies(observations).items():
            verdicts[k] = replace(verdicts[k], status="copy", reason=f"the same picture as {observations[first].photo}")
        left = [k for k, verdict in enumerate(verdicts) if verdict.status == "used"]
        for k, reason in doubtful([observations[k] for k in left]).items():
            verdicts[left[k]] = replace(verdicts[left[k]], status="doubtful", reason=reason)
        left = [k for k in left if verdicts[k].status == "used"]
        groups = [
            [left[k] for k in group] for group in grouped([observations[k] for k in left], self.options.same_person)
        ]
        for group in (group for group in groups if len(group) > 1):
            for k, own in zip(group, distances_to_others([observations[k] for k in group]), strict=True):
                verdicts[k] = replace(verdicts[k], distance=round(own, 3))
        wanted = self._wanted(observations, groups)
        for group in groups:
            if group not in wanted:
                reason = (
                    "nobody else in the album looks like this"
                    if self.options.reference is None
                    else f"does not look like the one in {self.options.reference}"
                )
                for k in group:
                    verdicts[k] = replace(verdicts[k], status="stranger", reason=reason)
        order = wanted + [group for group in groups if group not in wanted]
        return verdicts, wanted, in_doubt(observations, order, self.options.same_person)

    def _wanted(self, observations: list[Observation], groups: list[list[int]]) -> list[list[int]]:
        """Who is written: the one asked for; else all of whom there are several photos; else everybody."""
        if self.options.reference is None:
            several = [group for group in groups if len(group) > 1]
            return several or groups
        photo = read_within(self.options.reference, self.options.max_pixels)
        face = self.reconstructor.faces_in(photo, faces="largest")[0]
        asked = observe(face, self.weighing.weighed([face])[0], self.recognise([face])[0]).to("cpu")
        people = [[observations[k] for k in group] for group in groups]
        best, alike = likest(asked, people, self.options.same_person)
        if alike < 0.0:
            away = distances_to_others([asked, *people[best]])[0]
            raise ReconstructionError(
                f"expected the person in {self.options.reference} among {len(groups)} in the album, found nobody with "
                f"a distance of at most {self.options.same_person:g} (the likest: {away:.2f}, evidence {alike:.1f}); "
                "raise --same-person, or give another --reference"
            )
        return [groups[best]]

    def _add_person(
        self, files: FileSet, stem: str, seen: list[Observation], person: Person, method: AlbumMethod
    ) -> dict[str, Any]:
        model, device = method.face_model, self.reconstructor.device
        neutral = model.decode(person.identity)
        merger = None if model.uv is None else TextureMerger(model.topology, neutral, self.options.texture_px)
        sharpest = max(max(one.sharpness for one in seen), 1e-6)
        tiles = []
        side = tile_side(len(seen))
        order = (
            sorted(range(len(seen)), key=lambda k: -float(person.shares[k])) if self.options.sheet else range(len(seen))
        )
        for k in order:
            one = seen[k]
            photo = read_within(Path(one.photo), self.options.max_pixels).to(device)
            face = face_in_photo(photo, one.to(device), person.faces[k], model)
            if merger is not None:
                merger.add(face, one.sharpness / sharpest)
            if self.options.sheet:
                tiles.append(
                    (f"{float(person.shares[k]):.1%} {Path(one.photo).name}", _shrunk(overlay_tile(face), side))
                )
        merged = None if merger is None else merger.finish()
        heading = f"{stem}: {len(seen)} photos, weighed by {self.weighing.name}"
        entry = PersonFiles(stem, person, merged, tiles, heading)
        names = add_person(files, self.out, entry, model, self.options.formats)
        return self._person_document(names, [seen[k] for k in order], person, merged, method)

    def _person_document(
        self,
        names: list[str],
        seen: list[Observation],
        person: Person,
        merged: MergedTexture | None,
        method: AlbumMethod,
    ) -> dict[str, Any]:
        model = method.face_model
        document = identity_document(person, model) | {"photos": len(seen), "outputs": names}
        if merged is None:
            return document
        photos = [Path(one.photo).name for one in seen]
        return document | {
            "texture_seen": round(merged.complete, 4),
            "regions": regions_document(model.topology, merged, photos),
        }


def _shrunk(picture: Any, side: int) -> Any:
    from torch.nn.functional import interpolate

    if picture.shape[-1] <= side:
        return picture
    return interpolate(picture[None], size=(side, side), mode="area")[0].cpu()


def _place(paths: Sequence[Path], photo: str) -> int:
    return next((k for k, path in enumerate(paths) if str(path) == photo), len(paths))


def _foreign(path: Path) -> ExportError:
    return ExportError(f"expected {path} to be absent or one of ours, received another file; choose another --out")


def _reported(out: Path, document: dict[str, Any]) -> AlbumReport:
    verdicts = tuple(Verdict(**entry) for entry in document["photos"])
    outputs, doubts = (*document["outputs"], ALBUM), tuple(document["doubts"])
    return AlbumReport(out, verdicts, len(document["people"]), outputs, doubts, resumed=True)
