"""The ``facewright`` command: subcommands as frozen dataclasses. The only room that prints.

Exit codes: 0 all done; 1 some inputs failed (the others are written, each failure is named); 2 the command is wrong.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import rich.progress
import torch
import tyro
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from facewright.errors import FacewrightError
from facewright.export.json import format_json, plain
from facewright.export.meshes import Unit, export_mesh
from facewright.morphable.container import load_face_model
from facewright.morphable.sample import describe_face_model, sample_coefficients
from facewright.pipeline.batch import InputReport, photo_paths, reconstruct_files
from facewright.pipeline.coefficient_files import read_coefficients
from facewright.pipeline.flow import FacesChoice, Method, load_reconstructor
from facewright.pipeline.outputs import ALL_FORMATS, Format, OutputOptions, model_asset

DONE, SOME_FAILED, WRONG_COMMAND = 0, 1, 2

out_console = Console()
error_console = Console(stderr=True)


@dataclass(frozen=True)
class Reconstruct:
    """Turn photographs into 3D faces."""

    photos: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Pictures, or folders of pictures."""
    out: Path
    """Folder for the results; made if absent. ``report.json`` in it says what became of each input."""
    method: Method = "fit"
    """How coefficients are found: ``fit`` is analysis by synthesis and needs no network; ``rnet`` needs --weights."""
    weights: Path | None = None
    """R-Net weights (.safetensors), made for the face model."""
    refine: int = 0
    """Rounds of the fit after R-Net."""
    faces: FacesChoice = "all"
    """All faces of a photo, or only the largest."""
    formats: tuple[Format, ...] = ALL_FORMATS
    """Files to write per face: overlay is ``_overlay.png``, mesh the sheet ``_mesh.png``."""
    face_model: str = "open"
    """``open`` is the embedded CC0 head; or the file of an imported model."""
    landmarks: Path | None = None
    """Folder of ``<name>.txt`` with 5 or 68 points (x y, y down) to use instead of the detector."""
    texture_size: int = 1024
    """Side of the texture, px."""
    max_megapixels: float = 200.0
    """Refuse larger photos before decoding them."""
    device: str = "cpu"
    """Torch device: cpu, cuda, mps."""
    quiet: bool = False
    """No progress bar and no summary; failures are still named on stderr."""

    def run(self) -> int:
        """Reconstruct all photos."""
        if not self.photos:
            raise CommandError(
                "expected at least one photo or folder, received none: facewright reconstruct PHOTO --out DIR"
            )
        _require_device(self.device)
        reconstructor = load_reconstructor(
            face_model=self.face_model,
            method=self.method,
            weights=self.weights,
            refine=self.refine,
            device=self.device,
        )
        options = OutputOptions(self.formats, self.texture_size)
        total = len(photo_paths(self.photos))
        with rich.progress.Progress(console=error_console, transient=True, disable=self.quiet) as progress:
            task = progress.add_task("reconstructing", total=total)

            def advance(report: InputReport) -> None:
                if report.error is not None:
                    error_console.print(
                        f"[red]failed[/red] {escape(report.input)}: {escape(report.error)}", soft_wrap=True
                    )
                progress.advance(task)

            reports = reconstruct_files(
                self.photos,
                self.out,
                reconstructor,
                faces=self.faces,
                options=options,
                landmarks=self.landmarks,
                max_pixels=int(self.max_megapixels * 1e6),
                on_done=advance,
            )
        if not self.quiet:
            _print_summary(reports, self.out)
        return SOME_FAILED if any(report.status == "failed" for report in reports) else DONE


@dataclass(frozen=True)
class ModelInfo:
    """Say what a face model file holds."""

    face_model: Annotated[str, tyro.conf.Positional] = "open"
    """``open`` or a file."""

    def run(self) -> int:
        """Print the facts as JSON."""
        out_console.print_json(format_json(plain(describe_face_model(load_face_model(self.face_model)))))
        return DONE


@dataclass(frozen=True)
class ModelSample:
    """Draw random people from a face model and write their meshes."""

    out: Path
    """Folder for ``sample_000.glb`` and so on."""
    face_model: str = "open"
    """``open`` or a file."""
    count: int = 4
    """How many."""
    seed: int = 0
    """Same seed, same people."""
    expressions: bool = False
    """Give them expressions too."""
    format: Literal["glb", "obj", "ply"] = "glb"
    """Mesh format."""

    def run(self) -> int:
        """Write the samples."""
        model = load_face_model(self.face_model)
        generator = torch.Generator().manual_seed(self.seed)
        coefficients = sample_coefficients(model, generator, self.count, expressions=self.expressions)
        for k in range(self.count):
            path = self.out / f"sample_{k:03d}.{self.format}"
            export_mesh(model_asset(model, coefficients, k, name=path.stem), path)
            out_console.print(escape(str(path)), soft_wrap=True)
        return DONE


@dataclass(frozen=True)
class Decode:
    """Turn coefficients into a mesh: neutral pose, model space."""

    coefficients: Annotated[Path, tyro.conf.Positional]
    """A ``.json``, ``.npz`` or ``.mat`` of ours, or an official ``.mat`` (``coeff``, or ``id`` ``exp`` ``tex`` ...)."""
    out: Path
    """Mesh file: .glb, .obj, .ply, .stl or .npz."""
    face_model: str = "open"
    """The model that the coefficients belong to."""
    units: Unit | Literal["default"] = "default"
    """Unit of the mesh file; by default metres in GLB, millimetres in OBJ, PLY and STL."""
    face: int = 0
    """Which face of a ``.json`` with several."""

    def run(self) -> int:
        """Decode and write."""
        model = load_face_model(self.face_model)
        coefficients = read_coefficients(self.coefficients, model, face=self.face)
        export_mesh(model_asset(model, coefficients, 0, name=self.out.stem), self.out, units=self.units)
        out_console.print(escape(str(self.out)), soft_wrap=True)
        return DONE


@dataclass(frozen=True)
class Model:
    """Face models: look inside, draw samples."""

    action: Annotated[ModelInfo, tyro.conf.subcommand("info")] | Annotated[ModelSample, tyro.conf.subcommand("sample")]

    def run(self) -> int:
        """Run the chosen action."""
        return self.action.run()


Command = (
    Annotated[Reconstruct, tyro.conf.subcommand("reconstruct")]
    | Annotated[Decode, tyro.conf.subcommand("decode")]
    | Annotated[Model, tyro.conf.subcommand("model")]
)


class CommandError(FacewrightError):
    """The command line asks for something that cannot be."""


def _require_device(name: str) -> None:
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as error:
        first_line = str(error).splitlines()[0]
        raise CommandError(f"expected a torch device that this machine has, received {name!r}: {first_line}") from error


def _print_summary(reports: list[InputReport], out: Path) -> None:
    table = Table(box=None, pad_edge=False)
    for column in ("input", "faces", "seconds", "files"):
        table.add_column(column, overflow="fold")
    for report in reports:
        made = ", ".join(report.outputs) if report.status == "done" else "[red]failed[/red]"
        table.add_row(escape(report.input), str(report.faces), f"{sum(report.seconds.values()):.1f}", made)
    out_console.print(table)
    out_console.print(f"written to {escape(str(out))}; what became of each input is in report.json", soft_wrap=True)


def main(args: list[str] | None = None) -> int:
    """Run the command line; returns the exit code (2 for a wrong command, from the parser too)."""
    logging.basicConfig(level=logging.ERROR, format="%(name)s: %(message)s")
    command = tyro.cli(
        Command,
        prog="facewright",
        description="Photographs in, 3D faces out.",
        args=args,
        config=(tyro.conf.OmitSubcommandPrefixes, tyro.conf.OmitArgPrefixes),
    )
    try:
        return command.run()
    except FacewrightError as error:
        error_console.print(f"[red]{type(error).__name__}[/red]: {escape(str(error))}", soft_wrap=True)
        return WRONG_COMMAND
    except KeyboardInterrupt:
        error_console.print("interrupted; the report holds what was done")
        return SOME_FAILED
