"""``facewright model``: look into face models, draw samples, import those of others, fit them to scans."""

from dataclasses import dataclass
from functools import reduce
from operator import or_
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import torch
import tyro

from facewright.bounds import bounded
from facewright.cli.console import DONE, out_console, progress_bar, say
from facewright.cli.fit_scan import ModelFitScan
from facewright.export.formats import export_mesh
from facewright.export.json import format_json, plain
from facewright.morphable.container import load_face_model, save_face_model
from facewright.morphable.describe import describe_face_model
from facewright.morphable.readers import KINDS, ImportArguments, import_face_model
from facewright.morphable.sample import sample_coefficients
from facewright.pipeline.outputs import model_asset


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
    count: int = bounded(4, least=1, most=100_000)
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
            say(path)
        return DONE


if TYPE_CHECKING:
    ImportKind = ImportArguments
else:  # one subcommand for each kind of files, with the options that its reader asks for
    ImportKind = reduce(or_, (Annotated[kind.arguments, tyro.conf.subcommand(name)] for name, kind in KINDS.items()))


@dataclass(frozen=True)
class ModelImport:
    """Convert a face model of others (Basel, FLAME, ICT, GNM, your own) into a file for --face-model."""

    kind: ImportKind
    out: Path
    """Face model file to write (.npz)."""
    borrow: bool = True
    """Give the model what it lacks and the open head knows: the detector's points, soft regions, albedo."""

    def run(self) -> int:
        """Import, borrow, report, write."""
        notes: tuple[str, ...] = ()
        with progress_bar("importing") as advance:
            model, report = import_face_model(self.kind, progress=advance)
            if self.borrow:
                from facewright.fit.borrowing import borrowed  # takes its time to load

                advance("laying the open head on it", 0.9)
                model, notes = borrowed(model, load_face_model())
            advance("writing", 0.95)
            save_face_model(model, self.out)
        for line in (*report.lines(), *(f"note     {text}" for text in notes)):
            say(line)
        say(f"wrote    {self.out}")
        return DONE


@dataclass(frozen=True)
class Model:
    """Face models: import them, look inside, draw samples, fit them to scans."""

    action: (
        Annotated[ModelImport, tyro.conf.subcommand("import")]
        | Annotated[ModelInfo, tyro.conf.subcommand("info")]
        | Annotated[ModelSample, tyro.conf.subcommand("sample")]
        | Annotated[ModelFitScan, tyro.conf.subcommand("fit-scan")]
    )

    def run(self) -> int:
        """Run the chosen action."""
        return self.action.run()
