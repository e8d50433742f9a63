"""``facewright recognise``: people by their 3D faces."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro

from facewright.apps.recognise import (
    Calibration,
    CodeSource,
    KnownPeople,
    Searcher,
    calibrated,
    codes_of,
    load_calibration,
    load_gallery,
    network_of,
    save_calibration,
    save_gallery,
)
from facewright.assets import embedded_path
from facewright.bounds import bounded
from facewright.cli.console import DONE, SOME_FAILED, CommandError, complain, progress_bar, say
from facewright.cli.threads import MOST_THREADS
from facewright.errors import FacewrightError
from facewright.evaluate.benchmarks.recognition import Parts
from facewright.files import natural_order
from facewright.photo import read_photo
from facewright.pipeline.batch import photo_paths
from facewright.pipeline.flow import Reconstructor, load_reconstructor

EMBEDDED_CALIBRATION = "recognition_open.safetensors"
"""For the method and the weights that are taken where nothing is said."""


@dataclass(frozen=True, kw_only=True)
class _Recognising:
    """What all of it takes."""

    method: str = "3dmm-cnn"
    """How faces are reconstructed: any method that finds coefficients."""
    weights: str | None = None
    """Weights of the method's network; those in the package where nothing is said."""
    face_model: str = "open"
    """``open``, or the file of an imported model."""
    parts: Parts = "shape-texture"
    """Codes that describe a person: shape, or shape and albedo."""
    device: str = "cpu"
    """Torch device."""
    threads: int = bounded(1, least=1, most=MOST_THREADS)
    """Of the processor. One gives the same numbers on every machine."""

    def loaded(self) -> tuple[Reconstructor, CodeSource]:
        """The flow, and what its codes are."""
        flow = load_reconstructor(
            face_model=self.face_model, method=self.method, weights=self.weights, device=self.device
        )
        return flow, network_of(flow, self.weights, self.parts)

    def photos(self, flow: Reconstructor, paths: Iterable[Path]) -> tuple[list[np.ndarray], bool]:
        """Codes of the largest face of each photo, and whether some failed; those are named."""
        found, failed = [], False
        for path in paths:
            try:
                found.append(codes_of(flow.faces_in(read_photo(path), faces="largest")[0], self.parts))
            except FacewrightError as error:
                complain("failed", f"{path}: {type(error).__name__}: {error}")
                failed = True
        return found, failed

    def people(self, flow: Reconstructor, folders: Iterable[Path]) -> tuple[dict[str, list[np.ndarray]], bool]:
        """Codes of each person's photos by name, and whether some photo or person failed."""
        found: dict[str, list[np.ndarray]] = {}
        failed, paths = False, _people(folders)
        with progress_bar("people") as progress:
            for place, (name, photos) in enumerate(paths.items()):
                codes, missed = self.photos(flow, photos)
                failed |= missed or not codes
                if codes:
                    found[name] = codes
                else:
                    complain("failed", f"{name}: no usable photo among {len(photos)}; nobody is enrolled by this name")
                progress(name, (place + 1) / len(paths))
        return found, failed


@dataclass(frozen=True, kw_only=True)
class _Calibrated(_Recognising):
    """What needs thresholds."""

    calibration: Path | None = None
    """Directions and thresholds (``recognise calibrate``); those in the package where nothing is said."""
    far: float = bounded(0.01, above=0, below=1)
    """Share of pairs of two people that may be taken for one: one for which the calibration has a threshold."""

    def calibrated(self, network: CodeSource) -> Calibration:
        """For the codes of a network."""
        path = embedded_path(EMBEDDED_CALIBRATION) if self.calibration is None else self.calibration
        found = load_calibration(path)
        network.require(found.network, f"the calibration {path.name}")
        return found


@dataclass(frozen=True, kw_only=True)
class Enrol(_Calibrated):
    """People into a file of descriptors: a folder of photos each. No photo is kept, and nobody can be drawn back."""

    people_folders: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders of photos of one person each, or folders of such folders; single photos are people by their names."""
    out: Path
    """File of people (.safetensors). People are added to one that is there; who is in it already is replaced."""

    def run(self) -> int:
        """Enrol and write."""
        old = load_gallery(self.out) if self.out.exists() else None  # before any work: it may be damaged
        flow, network = self.loaded()
        calibration = self.calibrated(network)
        if old is not None:
            network.require(old.network, str(self.out))
        people, failed = self.people(flow, self.people_folders)
        if not people:
            complain("nobody", "was enrolled; nothing was written")
            return SOME_FAILED
        gallery = KnownPeople.of(people, calibration)
        save_gallery(gallery if old is None else old.with_people(gallery), self.out)
        for name, count in zip(gallery.names, gallery.photos.tolist(), strict=True):
            say(f"enrolled {name} ({count} {'photo' if count == 1 else 'photos'})")
        say(f"written  {self.out}")
        return SOME_FAILED if failed else DONE


@dataclass(frozen=True, kw_only=True)
class Verify(_Calibrated):
    """Whether two photos, or two folders of photos, show one person."""

    first: Annotated[Path, tyro.conf.Positional]
    """A photo, or a folder of photos of one person."""
    second: Annotated[Path, tyro.conf.Positional]
    """Another."""

    def run(self) -> int:
        """Compare."""
        flow, network = self.loaded()
        calibration = self.calibrated(network)
        threshold = calibration.threshold(self.far)
        sides, failed = [], False
        for path in (self.first, self.second):
            codes, missed = self.photos(flow, photo_paths([path]))
            failed |= missed
            if not codes:
                complain("failed", f"{path}: no usable photo")
                return SOME_FAILED
            sides.append(calibration.descriptors(np.mean(codes, 0)[None])[0])
        score = float(sides[0] @ sides[1])
        verdict = "one person" if score >= threshold.score else "two people"
        say(f"{verdict}: score {score:.3f}, threshold {threshold.score:.3f}")
        say(_stated(calibration, self.far))
        return SOME_FAILED if failed else DONE


@dataclass(frozen=True, kw_only=True)
class Search(_Calibrated):
    """Whom photos show, among the people of a file."""

    photo_paths: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Photos; every face of each is looked for."""
    gallery: Path
    """File of people (``recognise enrol``)."""
    top: int = bounded(5, least=1, most=1000)
    """Names for each face."""
    engine: Literal["numpy", "usearch"] = "numpy"
    """What compares; usearch is of the extra ``search``."""

    def run(self) -> int:
        """Search and print."""
        if not self.photo_paths:
            raise CommandError("expected at least one photo, received none: facewright recognise search PHOTO ...")
        gallery = load_gallery(self.gallery)
        flow, network = self.loaded()
        calibration = self.calibrated(network)
        network.require(gallery.network, str(self.gallery))
        threshold, failed = calibration.threshold(self.far), False
        searcher = Searcher(gallery, self.engine)
        for path in photo_paths(self.photo_paths):
            try:
                faces = flow.faces_in(read_photo(path))
            except FacewrightError as error:
                complain("failed", f"{path}: {type(error).__name__}: {error}")
                failed = True
                continue
            for number, face in enumerate(faces):
                descriptor = calibration.descriptors(codes_of(face, self.parts)[None])[0]
                for name, score in searcher.likest(descriptor, self.top):
                    known = "" if score >= threshold.score else " (below the threshold)"
                    say(f"{path} face {number}: {name} {score:.3f}{known}")
        say(_stated(calibration, self.far))
        return SOME_FAILED if failed else DONE


@dataclass(frozen=True, kw_only=True)
class Calibrate(_Recognising):
    """Directions and thresholds for the codes of a network, from photos of people: for weights of your own."""

    people_folders: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders of photos of one person each, or folders of such folders."""
    out: Path
    """File to write (.safetensors)."""

    def run(self) -> int:
        """Work them out and write."""
        flow, network = self.loaded()
        people, failed = self.people(flow, self.people_folders)
        rows = [codes for photos in people.values() for codes in photos]
        persons = [number for number, photos in enumerate(people.values()) for _ in photos]
        if not rows:
            raise CommandError("expected photos of people, none is usable")
        found = calibrated(np.stack(rows), np.array(persons), network, source=f"{len(rows)} photos")
        save_calibration(found, self.out)
        for threshold in found.thresholds:
            say(f"FAR {threshold.far:g}: threshold {threshold.score:.3f}, TAR {threshold.tar:.1%}")
        say(f"written  {self.out}")
        return SOME_FAILED if failed else DONE


@dataclass(frozen=True)
class Recognise:
    """Who it is: enrol people, verify two photos, search for whom a photo shows."""

    action: (
        Annotated[Enrol, tyro.conf.subcommand("enrol")]
        | Annotated[Verify, tyro.conf.subcommand("verify")]
        | Annotated[Search, tyro.conf.subcommand("search")]
        | Annotated[Calibrate, tyro.conf.subcommand("calibrate")]
    )

    @property
    def threads(self) -> int:
        """Of the processor."""
        return self.action.threads

    def run(self) -> int:
        """Run the chosen action."""
        return self.action.run()


def _stated(calibration: Calibration, far: float) -> str:
    """What a threshold means."""
    threshold = calibration.threshold(far)
    return (
        f"of {threshold.pairs} pairs of two people {threshold.far:.1%} score so much, of pairs of one person "
        f"{threshold.tar:.1%} do ({calibration.people} people: {calibration.source})"
    )


def _people(paths: Iterable[Path]) -> dict[str, list[Path]]:
    """Photos by name of the person."""
    found: dict[str, list[Path]] = {}
    for path in paths:
        inside = natural_order(entry for entry in path.iterdir() if entry.is_dir()) if path.is_dir() else []
        for entry in inside or [path]:
            name = entry.name if entry.is_dir() else entry.stem
            if name in found:
                raise CommandError(f"expected people of different names, received {name!r} twice")
            found[name] = photo_paths([entry])
    if not found:
        raise CommandError(
            "expected folders of photos, a person each, received none: facewright recognise enrol PEOPLE --out F"
        )
    return found
