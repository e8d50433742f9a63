"""``facewright reconstruct``: photographs to 3D faces."""

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import tyro
from rich.markup import escape
from rich.progress import Progress, TaskID
from rich.table import Table

from facewright.bounds import Use, bounded, only
from facewright.cli.console import DONE, SOME_FAILED, CommandError, complain, out_console, say, transient_progress
from facewright.cli.threads import MOST_THREADS
from facewright.errors import ClipError, NoFaceFoundError, ReconstructionError
from facewright.export.formats import (
    ALL_FORMATS,
    CLIP_FORMATS,
    FORMATS,
    KNOWN_FORMATS,
    MESH_CONTENTS,
    ClipFormat,
    FormatName,
)
from facewright.photo.frames import is_clip
from facewright.pipeline.album import AlbumOptions, AlbumReport, load_weighing, reconstruct_albums
from facewright.pipeline.album.flow import USUAL_FRAMES
from facewright.pipeline.album.people import SAME_PERSON
from facewright.pipeline.batch import InputReport, output_stems, photo_paths, reconstruct_files
from facewright.pipeline.clip import ClipOptions, ClipReport, reconstruct_clip
from facewright.pipeline.flow import FacesChoice, Reconstructor, load_reconstructor
from facewright.pipeline.known_faces import KnownFaces
from facewright.pipeline.methods import MOST_ROUNDS
from facewright.pipeline.outputs import OutputOptions

TEXTURED = Use(
    "with --formats that hold a texture",
    lambda options: (
        OF_CLIPS.holds(options)
        or any("texture" in FORMATS[name].holds or name == "texture" for name in options["formats"])
    ),
)
COLORED = Use(
    "with --formats that hold a texture or colours, and without --album",
    lambda options: (
        not options["album"]
        and any(FORMATS[name].holds & {"texture", "colors"} or name == "texture" for name in options["formats"])
    ),
)
OF_MESHES = Use(
    "with --formats of meshes, and without --album",
    lambda options: not options["album"] and any(FORMATS[name].content in MESH_CONTENTS for name in options["formats"]),
)
WITH_ALBUM = Use("with --album", lambda options: options["album"])
WITH_CLIPS = Use("with --album and a clip", lambda options: options["album"] and any(map(is_clip, options["photos"])))
WITHOUT_ALBUM = Use("without --album", lambda options: not options["album"])
OF_CLIPS = Use(
    "with clips, and without --album",
    lambda options: not options["album"] and any(is_clip(path) for path in options["photos"]),
)
WITH_ALBUM_OR_CLIPS = Use(
    "with --album or clips", lambda options: options["album"] or any(is_clip(path) for path in options["photos"])
)
OF_PHOTOS = Use(
    "with photos or --album",
    lambda options: options["album"] or not all(is_clip(path) for path in options["photos"]),
)
OF_SINGLE_PHOTOS = Use(
    "with photos, and without --album",
    lambda options: not options["album"] and not all(is_clip(path) for path in options["photos"]),
)
LEAST_MEGAPIXELS, MOST_MEGAPIXELS = 0.001, 10_000.0


@dataclass(frozen=True)
class Reconstruct:
    """Turn photographs and clips into 3D faces."""

    photos: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Pictures, folders of pictures, or clips (MP4, MOV, MKV, WebM ...)."""
    out: Path
    """Folder for the results; made if absent. ``report.json`` in it says what became of each input."""
    method: str = "auto"
    """How faces are reconstructed: ``rnet`` by a network's coefficients, ``prnet`` by its position map, ``3dmm-cnn``
    with a shape and albedo that stay alike over all photos of a person, ``fit`` by analysis by synthesis alone,
    ``guided`` by the fit of any face model to what the open head's network sees; ``auto`` goes by the weights that are
    named, or takes R-Net where there are weights for the face model, else ``guided``."""
    weights: str | None = None
    """Weights of the method's network, made for the face model: a file (.safetensors), or ``open`` or ``fast``, which
    are embedded R-Nets for the open head, or ``prnet``. Default: ``open``; ``fast`` is for video."""
    refine: int | None = bounded(None, most=MOST_ROUNDS)
    """Rounds of the fit after a network. Default: 1 after embedded weights, 0 after others."""
    album: bool = False
    """The photos are an album: what is in several of them of one person becomes one face. A folder is an album, so are
    single files together; of a folder of folders each is one."""
    reference: Path | None = only(WITH_ALBUM, None)
    """A photo of the one whose face is wanted; without it everybody of whom there are several photos."""
    weigh: str = only(WITH_ALBUM_OR_CLIPS, "auto")
    """How much each photo counts: by ``cnet``, by the network's own ``doubts``, or ``alike``; or the file of a C-Net.
    ``auto``: the C-Net of the package where it fits the network."""
    same_person: float = bounded(SAME_PERSON, least=0.0, most=2.0, use=WITH_ALBUM)
    """Largest mean distance of the identity network's descriptors at which groups of faces are taken for one
    person's."""
    frames: int = bounded(USUAL_FRAMES, least=1, most=1000, use=WITH_CLIPS)
    """Most frames that are taken of a clip for an album: sharp ones that differ."""
    live: bool = only(OF_CLIPS, False)
    """Clips as a program sees them that gets the frames one by one: no frame knows of more than the next one."""
    clip_formats: tuple[ClipFormat, ...] = only(OF_CLIPS, CLIP_FORMATS)
    """Files to write of a clip: animated meshes (glb), face captures (csv), arrays (npz), the film (overlay)."""
    faces: FacesChoice = only(OF_SINGLE_PHOTOS, "all")
    """All faces of a photo, or only the largest."""
    formats: tuple[FormatName, ...] = only(OF_PHOTOS, ALL_FORMATS)
    """Files to write per face: overlay is ``_overlay.png``, mesh the sheet ``_mesh.png``. Where they are named also
    depth (16-bit ``_depth.png``), depth-npz, pncc, texture, kpt (``_kpt.txt``: 68 lines x y z), and neutral and
    neutral-ascii (``_neutral.ply``, ``_neutral_ascii.ply``: shape and albedo alone)."""
    face_model: str = "open"
    """``open`` is the embedded CC0 head; or the file of an imported model."""
    landmarks: Path | None = only(OF_SINGLE_PHOTOS, None)
    """Folder of ``<name>.txt`` (or of ``detections/<name>.txt``) with 5 or 68 points (x y, photo pixels, y down), or of
    results ``<name>.mat``, to use instead of the detector."""
    boxes: Path | None = only(OF_SINGLE_PHOTOS, None)
    """Folder of ``<name>.txt`` with a face's box a line (x0 y0 x1 y1, photo pixels, y down), to use instead of the
    detector; crops are 1.6 times as large, as PRNet's."""
    cropped: bool = only(OF_SINGLE_PHOTOS, False)
    """The photos are crops of one face each already, by such a box: the whole picture is looked at, whatever its
    size."""
    subdivide: bool = False
    """Write meshes after one Loop subdivision of the face model: four times the triangles, smoother."""
    texture_size: int = bounded(1024, least=16, most=8192, use=TEXTURED)
    """Side of the texture, px."""
    posed: bool = only(OF_MESHES, False)
    """Write meshes as they stand before the camera, instead of upright in the model frame."""
    seen_only: bool = only(COLORED, False)
    """Leave black what of the texture the photo does not show, instead of completing it."""
    max_megapixels: float = bounded(200.0, least=LEAST_MEGAPIXELS, most=MOST_MEGAPIXELS)
    """Refuse larger photos before decoding them."""
    device: str = "cpu"
    """Torch device: cpu, cuda, mps."""
    threads: int = bounded(1, least=1, most=MOST_THREADS)
    """Of the processor. One gives the same numbers on every machine; for speed, start several programs."""
    resume: bool = False
    """Go on where a run before stopped: what it has done with the same settings and the same photos is kept."""
    quiet: bool = False
    """No progress bar and no summary; warnings and failures are still named on stderr."""

    def run(self) -> int:
        """Reconstruct all photos and clips."""
        self._check()
        clips = [path for path in self.photos if is_clip(path)]
        reconstructor = load_reconstructor(
            face_model=self.face_model,
            method=self.method,
            weights=self.weights,
            refine=self.refine,
            device=self.device,
            subdivide=self.subdivide,
        )
        if self.album:
            return self._album(reconstructor)
        worst = self._clips(clips, reconstructor) if clips else DONE
        others = [path for path in self.photos if not is_clip(path)]
        return max(worst, self._pictures(others, reconstructor)) if others else worst

    def _pictures(self, inputs: list[Path], reconstructor: Reconstructor) -> int:
        photos = photo_paths(inputs)
        with transient_progress(quiet=self.quiet) as progress:
            task = progress.add_task("reconstructing", total=len(photos))

            def advance(report: InputReport) -> None:
                for failure in report.failures:
                    place = "" if failure.face is None else f", face {failure.face}"
                    complain("failed", f"{report.input}{place}: {failure.error}")
                progress.advance(task)

            reports = reconstruct_files(
                photos,
                self.out,
                reconstructor,
                faces=self.faces,
                options=OutputOptions(self.formats, self.texture_size, self.posed, not self.seen_only),
                known=KnownFaces(self.landmarks, self.boxes, self.cropped),
                max_pixels=int(self.max_megapixels * 1e6),
                resume=self.resume,
                on_done=advance,
            )
        if not self.quiet:
            _print_summary(reports, self.out)
        return DONE if all(report.status == "done" for report in reports) else SOME_FAILED

    def _clips(self, clips: list[Path], reconstructor: Reconstructor) -> int:
        weighing = load_weighing(reconstructor.estimator, self.weigh)
        options = ClipOptions(
            self.clip_formats,
            self.texture_size,
            self.live,
            None if self.refine is None else 2 * min(1, self.refine),
            int(self.max_megapixels * 1e6),
        )
        alone = len(self.photos) == 1
        worst = DONE
        for clip, name in zip(clips, output_stems(clips), strict=True):
            folder = self.out if alone else self.out / name
            with transient_progress(quiet=self.quiet) as progress:
                task = progress.add_task(escape(clip.name), total=1.0)
                try:
                    report = reconstruct_clip(
                        clip,
                        folder,
                        reconstructor,
                        weighing,
                        options=options,
                        resume=self.resume,
                        on_progress=partial(_show, progress, task),
                    )
                except (ClipError, NoFaceFoundError, ReconstructionError) as error:
                    complain("failed", f"{clip}: {type(error).__name__}: {error}")
                    worst = SOME_FAILED
                    continue
            if report.document.get("cut_short"):
                complain("failed", f"{clip}: {report.document['cut_short']}")
                worst = SOME_FAILED
            if not self.quiet:
                _print_clip(report)
        return worst

    def _album(self, reconstructor: Reconstructor) -> int:
        weighing = load_weighing(reconstructor.estimator, self.weigh)
        options = AlbumOptions(
            self.formats,
            self.texture_size,
            None if self.refine is None else 2 * min(1, self.refine),
            self.same_person,
            self.reference,
            int(self.max_megapixels * 1e6),
            frames=self.frames,
        )
        with transient_progress(quiet=self.quiet) as progress:
            task = progress.add_task("looking at photos", total=None)

            def done(report: AlbumReport) -> None:
                for doubt in report.doubts:
                    complain("in doubt:", doubt)
                for verdict in report.failed:
                    complain("failed", f"{verdict.photo}: {verdict.reason}")

            reports = reconstruct_albums(
                self.photos,
                self.out,
                reconstructor,
                weighing,
                options=options,
                resume=self.resume,
                on_photo=lambda path: progress.advance(task),
                on_album=done,
            )
        if not self.quiet:
            _print_albums(reports)
        return SOME_FAILED if any(report.failed for report in reports) else DONE

    def _check(self) -> None:
        if not self.photos:
            raise CommandError(
                "expected at least one photo or folder, received none: facewright reconstruct PHOTO --out DIR"
            )
        if not self.clip_formats or len(set(self.clip_formats)) < len(self.clip_formats):
            raise CommandError(
                f"expected --clip-formats of {', '.join(CLIP_FORMATS)}, each once; received {list(self.clip_formats)}"
            )
        if not self.formats or len(set(self.formats)) < len(self.formats):
            raise CommandError(
                f"expected --formats of {', '.join(KNOWN_FORMATS)}, each once; received {list(self.formats)}"
            )
        for name, folder in (("landmarks", self.landmarks), ("boxes", self.boxes)):
            if folder is not None and not folder.is_dir():
                raise CommandError(f"expected --{name} to be a folder of <name>.txt, received {folder}")


def _shortened(names: tuple[str, ...]) -> str:
    """Names with what they share said once, as shells take it: ``me{.glb,.json,_mesh.png}``."""
    shared = os.path.commonprefix(names)  # noqa: RUF071 - a common beginning of names is what is wanted
    return shared if len(names) == 1 else f"{shared}{{{','.join(name.removeprefix(shared) for name in names)}}}"


def _print_summary(reports: list[InputReport], out: Path) -> None:
    table = Table(box=None, pad_edge=False)
    for column in ("input", "faces", "seconds", "files"):
        table.add_column(column, overflow="fold")
    for report in reports:
        made = escape(_shortened(report.outputs)) if report.faces else "[red]failed[/red]"
        table.add_row(escape(report.input), str(report.faces), f"{sum(report.seconds.values()):.1f}", made)
    out_console.print(table)
    say(f"written to {out}; what became of each input is in report.json")


def _show(progress: Progress, task: TaskID, what: str, share: float) -> None:
    progress.update(task, description=what, completed=share)


def _print_clip(report: ClipReport) -> None:
    table = Table(box=None, pad_edge=False)
    for column in ("person", "frames", "jitter", "frame by frame", "files"):
        table.add_column(column, overflow="fold")
    for person in report.people:
        shaking = [person.get(name) for name in ("jitter", "jitter_frame_by_frame")]
        names = _shortened(tuple(person["outputs"])) if person["outputs"] else ""
        table.add_row(
            escape(person["name"]),
            f"{person['frames']} of {report.document['frames']}",
            *("" if value is None else f"{value:.3%}" for value in shaking),
            escape(names),
        )
    out_console.print(table)
    say(f"written to {report.folder}; what became of each person and frame is in clip.json")


def _print_albums(reports: list[AlbumReport]) -> None:
    table = Table(box=None, pad_edge=False)
    for column in ("photo", "", "weight", "why not"):
        table.add_column(column, overflow="fold")
    for report in reports:
        for verdict in report.verdicts:
            weight = "" if verdict.weight is None else f"{verdict.weight:.1%}"
            who = verdict.status if verdict.person is None or report.people == 1 else f"person {verdict.person}"
            table.add_row(escape(verdict.photo), who, weight, escape(verdict.reason))
    out_console.print(table)
    for report in reports:
        people = "1 person" if report.people == 1 else f"{report.people} people"
        say(f"{people} written to {report.folder}; what became of each photo is in album.json")
