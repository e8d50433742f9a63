"""``facewright weights``: look into weights files, import those of others, write ours for others."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro

from facewright.bounds import bounded
from facewright.cli.console import DONE, error_console, out_console, say
from facewright.export.json import format_json, plain
from facewright.regress.importers import convert_weights
from facewright.regress.official import OFFICIAL_FACE_MODEL
from facewright.regress.onnx_export import OPSETS, export_onnx, onnx_difference
from facewright.regress.weights import describe_weights, load_weights, read_card


@dataclass(frozen=True)
class WeightsInfo:
    """Say what a weights file is and what it fits."""

    file: Annotated[Path, tyro.conf.Positional]
    """Weights file (.safetensors), or the name of an embedded one: open, fast."""

    def run(self) -> int:
        """Print its card as JSON."""
        out_console.print_json(format_json(plain(describe_weights(self.file))))
        return DONE


@dataclass(frozen=True)
class WeightsImport:
    """Convert the network of another project (Deep3D, SadTalker, 3DDFA-V3, PRNet, 3DMM-CNN, ...) to a weights file."""

    file: Annotated[Path, tyro.conf.Positional]
    """epoch_20.pth, net_recon.pth, a state dict, a safetensors bundle, FaceReconModel.pb, a checkpoint's .index or a
    .caffemodel."""
    out: Path
    """Weights file to write (.safetensors)."""
    face_model: str = OFFICIAL_FACE_MODEL
    """Name of the face model that its coefficients belong to; its crops (bfm2009-front, ...) fit too."""
    half: bool = False
    """Store float16: half the size, results change in the fourth digit."""
    uv_data: Path | None = None
    """Folder of PRNet's tables (Data/uv-data); found by itself where the checkpoint lies in Data/net-data."""

    mean: Path | None = None
    """Mean picture of 3DMM-CNN (mean.binaryproto, or .npy); found by itself where it lies beside the weights."""

    def run(self) -> int:
        """Import, report, write."""
        with error_console.status("importing"):
            report = convert_weights(
                self.file,
                self.out,
                face_model=self.face_model,
                half=self.half,
                uv_data=self.uv_data,
                mean=self.mean,
            )
        for line in report.lines():
            say(line)
        say(f"wrote    {self.out}")
        return DONE


@dataclass(frozen=True)
class WeightsExportOnnx:
    """Write a network as ONNX, for programs without torch."""

    file: Annotated[Path, tyro.conf.Positional]
    """Weights file (.safetensors), or the name of an embedded one: open, fast."""
    out: Path
    """File to write (.onnx)."""
    opset: int = bounded(OPSETS[0], least=OPSETS[0], most=OPSETS[-1])
    """Version of the ONNX operators."""
    half: bool = False
    """Store float16: half the size, results change by a thousandth or two of their range."""

    def run(self) -> int:
        """Write, run it once, report."""
        net, size = load_weights(self.file), describe_weights(self.file)["crop_size"]
        with error_console.status("exporting"):
            export_onnx(net, read_card(self.file), self.out, opset=self.opset, half=self.half)
            crops = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
            difference = onnx_difference(net, self.out, crops)
        say(f"checked  onnxruntime answers as torch does, to {difference:.1e} of each output's range")
        say(f"wrote    {self.out}")
        return DONE


@dataclass(frozen=True)
class Weights:
    """Network weights: import them, look inside, export them."""

    action: (
        Annotated[WeightsImport, tyro.conf.subcommand("import")]
        | Annotated[WeightsInfo, tyro.conf.subcommand("info")]
        | Annotated[WeightsExportOnnx, tyro.conf.subcommand("export-onnx")]
    )

    def run(self) -> int:
        """Run the chosen action."""
        return self.action.run()
