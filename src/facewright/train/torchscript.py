"""TorchScript files of other people, opened without trusting them.

A TorchScript file is a program. It cannot call Python, but what its language offers is enough to do harm: operators
read and write files by name, and ``__setstate__`` methods run while a file is being loaded. So the archive is first
copied without anything that could run then; what was copied is what is loaded; and nothing is called before every
operator of the program is on the list below, on which all just compute. What remains is the trust in torch's own reader
and operators, as with every file, and that a program may ask for more memory or time than there is.
"""

import io
import os
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from facewright.errors import AssetNotFoundError, WeightsError
from facewright.untrusted import reading

# What runs on loading or unseen on calling, by the words without which it cannot be written.
_RUNS_UNSEEN = {
    b"__setstate__": "a method that runs while the file is loaded",
    b"_hooks__": "hooks, which run beside the network",
    b"torch.classes": "compiled classes, which come with code of their own",
}

_TRACED = "_convolution addmm batch_norm conv2d linear matmul mm prelu relu relu_ leaky_relu leaky_relu_ sigmoid silu "
_TRACED += "hardswish hardsigmoid hardtanh hardtanh_ add add_ sub rsub mul mul_ div div_ pow sqrt sum mean clamp "
_TRACED += "clamp_min norm linalg_vector_norm max_pool2d avg_pool2d adaptive_avg_pool2d dropout dropout_ "
_TRACED += "feature_dropout flatten reshape view permute transpose t contiguous cat expand expand_as unsqueeze squeeze "
_TRACED += "select slice to detach size dim len Int eq ne lt gt __getitem__ __is__ __isnot__ __not__ floor_divide "
_TRACED += "format"
_STEPS = "Constant GetAttr ListConstruct TupleConstruct TupleUnpack ListUnpack If NumToTensor RaiseException dtype "
_STEPS += "unchecked_cast"
ALLOWED = {f"aten::{name}" for name in _TRACED.split()} | {f"prim::{name}" for name in _STEPS.split()}
"""Operators that compute and do nothing else. No loops: they could run for ever."""

_MOST_PACKED_BYTES = 64 * 2**20  # torch packs the code alone; tensors are stored as they are
_HOW_TO_WRITE = "torch.jit.trace(net.eval(), torch.zeros(2, 3, 112, 112)).save('net.pt')"


def load_torchscript(path: str | os.PathLike[str]) -> torch.jit.ScriptModule:
    """A network out of a TorchScript file, in float32, frozen, in evaluation mode, on the CPU.

    Raises:
        AssetNotFoundError: no such file.
        WeightsError: not TorchScript, damaged, or a program that does more than compute; the message names what.
    """
    if not Path(path).is_file():
        raise AssetNotFoundError(f"expected a TorchScript file at {path}, found none; bring one: {_HOW_TO_WRITE}")
    with warnings.catch_warnings():  # newer networks come as ONNX; for the others there is no other reader
        warnings.filterwarnings("ignore", r"`torch\.jit\.load` is deprecated", DeprecationWarning)
        with reading(path, WeightsError, "a whole TorchScript file", "fetch it again"):
            network = torch.jit.load(_checked_copy(path), map_location="cpu")
    if not hasattr(network, "forward"):
        raise WeightsError(f"{path}: expected a network, received a program without forward: {_HOW_TO_WRITE}")
    kinds = set(_kinds(network.inlined_graph))
    if unknown := sorted(kinds - ALLOWED):
        raise WeightsError(
            f"{path} expected a network that only computes, received the operators {', '.join(unknown)}; nothing of it "
            f"was run. Write it by {_HOW_TO_WRITE}, or as ONNX"
        )
    for value in network.parameters():
        value.requires_grad_(False)
    return network.eval().float()


def _checked_copy(path: str | os.PathLike[str]) -> io.BytesIO:
    """The archive's code, tensors and version alone; refuses what could run before it is looked at."""
    copy = io.BytesIO()
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(copy, "w") as target:
        names = source.namelist()
        packed = sum(e.file_size for e in source.infolist() if e.compress_type != zipfile.ZIP_STORED)
        if packed > _MOST_PACKED_BYTES or len(set(names)) < len(names):
            raise WeightsError(f"{path}: expected an archive as torch writes it, received another; save it again")
        if not any("/code/" in name for name in names) or any(name.endswith("/model.json") for name in names):
            raise WeightsError(
                f"{path}: expected a TorchScript file, received another archive, perhaps a state dict, which has "
                f"no network in it: {_HOW_TO_WRITE}"
            )
        for name in names:
            if name.endswith(".debug_pkl"):
                continue
            content = source.read(name)
            if name.endswith((".py", ".pkl")):
                _refuse_what_runs_unseen(path, content)
            target.writestr(name, content)
    copy.seek(0)
    return copy


def _refuse_what_runs_unseen(path: str | os.PathLike[str], content: bytes) -> None:
    for word, what in _RUNS_UNSEEN.items():
        if word in content:
            raise WeightsError(
                f"{path} expected a network that only computes, received {what}; it was not loaded. Write it by "
                f"{_HOW_TO_WRITE}, or as ONNX"
            )


def _kinds(block: Any) -> Iterator[str]:
    """Operators of a graph and of the blocks inside."""
    for node in block.nodes():
        yield node.kind()
        for inside in node.blocks():
            yield from _kinds(inside)
