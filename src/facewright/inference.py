"""Networks as they answer soonest: by onnxruntime on CPUs, exported once for each set of weights; elsewhere by torch.

What was exported lies in the user's cache, keyed by a digest of the weights. A file there that is missing, damaged or
of another version is made again; where that is not possible, torch answers. Both give the same numbers, to rounding.
"""

import hashlib
import io
import logging
import os
import sys
import threading
import warnings
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from facewright.errors import ExportError
from facewright.files import put

if TYPE_CHECKING:
    import onnxruntime

EDITION = 1
"""Of what is exported: raised when the same weights come to be exported otherwise."""
OPSET = 17
MOST_DIFFERENCE = 1e-4
"""Largest difference from torch's answers, as a share of their range, of an exported network that is used."""
MOST_KEPT = 24
"""Exported networks in the cache; the ones that were made first go first."""
SUFFIX = ".network"
_DIGEST_BYTES = hashlib.sha256().digest_size

log = logging.getLogger(__name__)

Answers = Callable[[Tensor], dict[str, Tensor]]


class Inference:
    """Answers of a network, without derivatives, by the quicker engine.

    That is onnxruntime where it is installed and the weights are float32, on the CPU, in evaluation mode and as they
    were when they were exported, at the first call; torch for all others: GPUs, double precision, nets that learn.

    Args:
        network: of the weights.
        answers: what it says of pictures, by name, out of torch's tensors; always the same names.
        side: of a picture that it may see, px.
        facts: whatever decides its answers beside class, layers and weights.
        any_size: it takes pictures of other sizes too.
        least: numbers that a network must have to be worth exporting: small ones answer at once.
        folder: of what is exported; ``cache_folder()`` if None.
    """

    def __init__(
        self,
        network: nn.Module,
        answers: Answers,
        *,
        side: int,
        facts: str = "",
        any_size: bool = False,
        least: int = 0,
        folder: Path | None = None,
    ) -> None:
        self.network = network
        self.answers = answers
        self.side, self.facts, self.any_size, self.least = side, facts, any_size, least
        self.folder = folder
        self._lock = threading.Lock()
        self._forget()

    def __call__(self, images: Float[Tensor, "B 3 H W"]) -> dict[str, Tensor]:
        """Answers by name, on the pictures' device if torch gives them, which is the weights'."""
        session = self._session_for(images)
        if session is None:
            with torch.no_grad():
                return self.answers(images)
        outputs = session.run(None, {"images": images.detach().contiguous().numpy()})
        return {name: torch.from_numpy(output) for name, output in zip(self._names, outputs, strict=True)}

    @property
    def engine(self) -> str:
        """Which one answers at present: ``torch`` or ``onnxruntime``; torch before the first call."""
        return "torch" if self._session is None or self._state() != self._exported else "onnxruntime"

    def __getstate__(self) -> dict[str, Any]:
        """Copies of a network export theirs anew: the runtime's session cannot be copied."""
        return {name: value for name, value in self.__dict__.items() if not name.startswith("_")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """A copy."""
        self.__dict__.update(state)
        self._lock = threading.Lock()
        self._forget()

    def _forget(self) -> None:
        self._session: onnxruntime.InferenceSession | None = None
        self._names: list[str] = []
        self._tensors: tuple[Tensor, ...] | None = None
        self._exported: object = None

    def _session_for(self, images: Tensor) -> "onnxruntime.InferenceSession | None":
        if images.device.type != "cpu" or images.dtype != torch.float32 or len(images) == 0:
            return None
        if self.network.training or not can_export():
            return None
        with self._lock:  # one thread exports, the others wait
            if self._tensors is None:
                self._tensors = tuple(chain(self.network.parameters(), self.network.buffers()))
                self._session = self._made()
                self._exported = self._state()  # the exporter touches what it reads
                self._names = [] if self._session is None else [out.name for out in self._session.get_outputs()]
        return self._session if self._session is not None and self._state() == self._exported else None

    def _state(self) -> object:
        """Changes when weights move or are written to."""
        return [(tensor.data_ptr(), tensor._version) for tensor in self._tensors or ()]

    def _made(self) -> "onnxruntime.InferenceSession | None":
        """A session from the cache, or of what is exported into it; None where torch is to answer."""
        tensors = self._tensors or ()
        usable = all(tensor.device.type == "cpu" for tensor in tensors)
        usable = usable and all(tensor.dtype == torch.float32 for tensor in tensors if tensor.is_floating_point())
        folder = cache_folder() if self.folder is None else self.folder
        if not usable or folder is None or sum(tensor.numel() for tensor in tensors) < self.least:
            return None
        path = folder / f"{type(self.network).__name__.lower()}-{self._digest()}{SUFFIX}"
        kept = _read(path, any_size=self.any_size)
        if kept is not None:
            return kept
        try:
            blob = self._export()
            session = _session_of(blob, any_size=self.any_size)
            self._compare(session)
            put(path, hashlib.sha256(blob).digest() + blob)
            _prune(folder)
        except ExportError as error:
            log.info("torch answers for %s: nothing can be kept in %s (%s)", type(self.network).__name__, folder, error)
            return None
        except Exception:  # torch's exporter and the runtime have no class of errors in common
            log.info("torch answers for %s, which cannot be exported", type(self.network).__name__, exc_info=True)
            return None
        return session

    def _digest(self) -> str:
        versions = [version(package) for package in ("torch", "onnxruntime")]
        sha = hashlib.sha256(repr((EDITION, OPSET, versions, self.side, self.any_size, self.facts)).encode())
        sha.update(repr(self.network).encode())
        for name, tensor in self.network.state_dict().items():
            sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            sha.update(tensor.detach().contiguous().numpy().tobytes())
        return sha.hexdigest()[:32]

    def _export(self) -> bytes:
        """By the exporter that follows one run: a tenth of the other's time, and networks have no branches."""
        stream = io.BytesIO()
        images = _test_images(self.side)
        with torch.no_grad():
            names = list(self.answers(images))
        varying = {0: "batch", 2: "rows", 3: "columns"} if self.any_size else {0: "batch"}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the exporter about itself, and about sizes that are constants to us
            torch.onnx.export(
                _Named(self.network, self.answers).eval(),  # the exporter puts it, and all in it, back to what it was
                (images,),
                stream,  # pyright: ignore[reportArgumentType] - taken by this exporter; the stubs are the other's
                dynamo=False,
                opset_version=OPSET,
                input_names=["images"],
                output_names=names,
                dynamic_axes={"images": varying} | {name: {0: "batch", 1: f"{name}_rows"} for name in names},
            )
        return stream.getvalue()

    def _compare(self, session: "onnxruntime.InferenceSession") -> None:
        """Raise ``ArithmeticError`` unless both engines give the same answers."""
        images = _test_images(self.side)
        images = torch.cat([images, images], -1) if self.any_size else images
        with torch.no_grad():
            expected = self.answers(images)
        for (name, ours), theirs in zip(expected.items(), session.run(None, {"images": images.numpy()}), strict=True):
            span = float(ours.max() - ours.min()) if ours.numel() else 0.0
            off = float((torch.from_numpy(theirs) - ours).abs().max()) if ours.numel() else 0.0
            if not off <= MOST_DIFFERENCE * max(span, 1.0):
                raise ArithmeticError(f"expected both engines to agree, received {name} {off:g} apart")


class _Named(nn.Module):
    """A network that answers with a tuple, in the order of its names."""

    def __init__(self, network: nn.Module, answers: Answers) -> None:
        super().__init__()
        self.network = network
        self.answers = answers

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.answers(images).values())


@cache
def can_export() -> bool:
    """Whether onnxruntime and what torch's exporter needs are installed (they are not imported)."""
    return all(find_spec(package) is not None for package in ("onnx", "onnxruntime"))


def cache_folder() -> Path | None:
    """Where this system keeps what can be made again, for this product; None for users without a home."""
    try:
        home = Path.home()
    except RuntimeError:
        return None
    if sys.platform == "win32":
        place = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif sys.platform == "darwin":
        place = home / "Library" / "Caches"
    else:
        place = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return place / "facewright"


def _test_images(side: int) -> Float[Tensor, "2 3 S S"]:
    """Two pictures (a batch of one would be taken for a constant), the same ones always."""
    return torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(side))


def _session_of(blob: bytes, *, any_size: bool) -> "onnxruntime.InferenceSession":
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # memory that is kept from call to call saves time, and stays what the largest picture of all took
    options.enable_cpu_mem_arena = options.enable_mem_pattern = not any_size
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors: sizes other than the exported ones are no news
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # threads that wait do not work
    return onnxruntime.InferenceSession(blob, options, providers=["CPUExecutionProvider"])


def _read(path: Path, *, any_size: bool) -> "onnxruntime.InferenceSession | None":
    """The session of a kept file; None where it is missing or is not what was written."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    digest, blob = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
    if hashlib.sha256(blob).digest() != digest:
        log.info("%s is damaged; it is made again", path)
        return None
    try:
        return _session_of(blob, any_size=any_size)
    except Exception:  # the runtime has a class of errors for each of its own kinds, and no common one
        log.info("%s cannot be read by this onnxruntime; it is made again", path, exc_info=True)
        return None


def _prune(folder: Path) -> None:
    """Remove the files that were made first, beyond ``MOST_KEPT``; another program may be doing the same."""
    kept = []
    for path in folder.glob(f"*{SUFFIX}"):
        try:
            kept.append((path.stat().st_mtime, path))
        except OSError:
            continue
    for _, path in sorted(kept)[:-MOST_KEPT]:
        path.unlink(missing_ok=True)
