"""``facewright batch``: photos by the million, into Parquet."""

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import tyro

from facewright.bounds import Use, bounded, only
from facewright.cli.console import DONE, SOME_FAILED, CommandError, complain, say, transient_progress
from facewright.cli.threads import MOST_THREADS
from facewright.export.formats import FORMATS, KNOWN_FORMATS, FormatName
from facewright.export.png import is_own_picture
from facewright.pipeline.batch import PHOTO_SUFFIXES
from facewright.pipeline.flow import FacesChoice
from facewright.pipeline.methods import MOST_ROUNDS
from facewright.scale.engines import LocalEngine, RayEngine, hired
from facewright.scale.photo_work import load_photo_work
from facewright.scale.rows import arrow
from facewright.scale.run import ROWS_A_PART, Counts, run_batch
from facewright.scale.sources import entries_in

FILES = "_files"
"""Folder of what ``--formats`` asks for, in that of the parts."""

WITH_RAY = Use("with --engine ray", lambda options: options["engine"] == "ray")
TEXTURED = Use(
    "with --formats that hold a texture",
    lambda options: any("texture" in FORMATS[name].holds or name == "texture" for name in options["formats"]),
)
OF_PARQUET = Use("with a Parquet file", lambda options: options["source"].lower().endswith(".parquet"))


@dataclass(frozen=True)
class Batch:
    """Turn very many photographs into a table of 3D faces."""

    source: Annotated[str, tyro.conf.Positional]
    """Photos: a folder with all folders in it, a ``.txt`` with an address a line, a ``.parquet`` with a column of bytes
    or addresses, a WebDataset ``.tar``; here, or at any address that fsspec knows (``s3://``, ``hf://``, ...)."""
    out: Path
    """Folder for the parts (``part-00000000.parquet``, ...); made if absent."""
    column: str | None = only(OF_PARQUET, None)
    """Column of the Parquet file. Default: the first of those that usually hold pictures, or their addresses."""
    formats: tuple[FormatName, ...] = ()
    """Files to write per face besides, under ``_files/``; as of ``reconstruct``. Default: none."""
    texture_size: int = bounded(1024, least=16, most=8192, use=TEXTURED)
    """Side of the texture, px."""
    faces: FacesChoice = "all"
    """All faces of a photo, or only the largest."""
    method: str = "auto"
    """As of ``reconstruct``."""
    weights: str | None = None
    """As of ``reconstruct``."""
    refine: int | None = bounded(None, most=MOST_ROUNDS)
    """As of ``reconstruct``."""
    face_model: str = "open"
    """As of ``reconstruct``."""
    device: str = "cpu"
    """Torch device: cpu, cuda, mps."""
    workers: int = bounded(1, least=1, most=100_000)
    """Processes that reconstruct, each with the networks in its memory."""
    threads: int = bounded(1, least=1, most=MOST_THREADS)
    """Of the processor, for each of them."""
    engine: Literal["local", "ray"] = "local"
    """``local``: processes of this machine; ``ray``: actors of Ray Data (extra ``scale``)."""
    address: str | None = only(WITH_RAY, None)
    """Of a Ray cluster: ``auto``, ``ray://host:10001``. Default: this machine."""
    part: int = bounded(ROWS_A_PART, least=1, most=1_000_000)
    """Inputs whose rows become one part."""
    time_limit: float = bounded(600.0, least=0.1, most=86_400.0)
    """Seconds that photos which go through the networks together may take; one that alone takes longer is given up."""
    max_megapixels: float = bounded(200.0, least=0.001, most=10_000.0)
    """Refuse larger photos before decoding them."""
    resume: bool = False
    """Go on where a run before stopped: rows of the same bytes, made by the same version, weights and settings, are
    kept."""
    quiet: bool = False
    """No progress bar and no summary; failures are still named on stderr."""

    def run(self) -> int:
        """Reconstruct all photos."""
        self._check()
        arrow()
        entries = entries_in(self.source, is_photo=_is_photo, without=str(self.out.resolve()), column=self.column)
        load = partial(
            load_photo_work,
            faces=self.faces,
            most_pixels=int(self.max_megapixels * 1e6),
            folder=str(self.out.resolve() / FILES),
            formats=self.formats,
            texture_px=self.texture_size,
            face_model=self.face_model,
            method=self.method,
            weights=self.weights,
            refine=self.refine,
            device=self.device,
        )
        hire = hired(load, threads=self.threads, limit_s=self.time_limit)
        first = hire()
        try:
            first.start()  # a wrong command ends here, before any work
            facts = first.facts
            if self.engine == "ray":
                first.end()
                os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # nobody is told that this runs
                gpus = 1.0 if self.device.startswith("cuda") else 0.0
                engine = RayEngine(
                    load,
                    workers=self.workers,
                    threads=self.threads,
                    limit_s=self.time_limit,
                    gpus=gpus,
                    address=self.address,
                )
            else:
                engine = LocalEngine(hire, workers=self.workers, first=first)
            with transient_progress(quiet=self.quiet) as progress:
                task = progress.add_task("reconstructing", total=None)
                failed = 0

                def advance(counts: Counts) -> None:
                    nonlocal failed
                    if counts.failed > failed:
                        failed = counts.failed
                        complain("failed", counts.last)
                    progress.update(task, completed=counts.done + counts.kept + counts.failed)

                counts = run_batch(
                    entries,
                    self.out,
                    engine,
                    facts,
                    resume=self.resume,
                    inputs_a_part=self.part,
                    on_input=advance,
                )
        finally:
            first.end()
        if not self.quiet:
            say(
                f"{counts.inputs} photos: {counts.done} done ({counts.faces} faces), {counts.kept} kept, "
                f"{counts.failed} failed; {counts.parts} parts written to {self.out}"
            )
        return SOME_FAILED if counts.failed else DONE

    def _check(self) -> None:
        if len(set(self.formats)) < len(self.formats):
            raise CommandError(f"expected --formats of {', '.join(KNOWN_FORMATS)}, each once; received {self.formats}")
        if "://" in self.source and self.source.startswith("file://"):
            raise CommandError("expected a path instead of a file:// address")


def _is_photo(name: str) -> bool:
    suffix = Path(name).suffix.lower()
    return suffix in PHOTO_SUFFIXES and not (suffix == ".png" and is_own_picture(name))
