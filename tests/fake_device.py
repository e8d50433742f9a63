"""A device that is none: memory of the CPU behind a wall, so that mixing devices fails where there is no GPU.

``torch.device("fake")`` is made of torch's hook for devices written in Python (its private-use backend). Tensors on it
hold ordinary CPU tensors; of every operator it is asked first whether CUDA would take these operands, then it is
computed on what they hold. The rules are those of CUDA, neither stricter nor laxer:

- tensors of several devices do not meet in one operator;
- but a CPU tensor of no dimensions meets any in an elementwise operator, as a number would;
- a tensor of the device is read and written at places that a CPU tensor names (``x[ids]``), not the other way round;
- ``copy_``, ``to``, ``cpu``, ``tolist`` and ``item`` carry data through the wall, ``numpy`` does not;
- a generator draws on its own device alone.

A process that knows the device is changed for good: autograd counts the kinds of devices once, starts a thread for
each, and cannot be forked any more. ``on_fake_device`` (a fixture of the whole suite) keeps it in a process of its own.
"""

from functools import cache, partial
from typing import Any

import torch
from torch.utils._mode_utils import no_dispatch
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

FAKE = "fake"

aten: Any = torch.ops.aten
_BY_PLACE = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default}
_TAKE_A_NUMBER = {  # as elementwise operators do, though torch does not tag them so
    aten.fill.Tensor,
    aten.fill_.Tensor,
    aten.masked_fill.Tensor,
    aten.masked_fill_.Tensor,
    aten.index_fill.int_Tensor,
    aten.index_fill_.int_Tensor,
}
_MAKERS = [aten.arange.default, aten.arange.start, aten.arange.start_step, aten.range.step, aten.linspace.default]
_MAKERS += [aten.eye.default, aten.eye.m, aten.randperm.default, aten.randperm.generator]
_MAKERS += [aten.tril_indices.default, aten.triu_indices.default]


class FakeTensor(torch.Tensor):
    """A tensor on the fake device; ``held`` is its content, a CPU tensor."""

    held: torch.Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl  # pyright: ignore

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> "FakeTensor":
        made = torch.Tensor._make_wrapper_subclass(  # pyright: ignore
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            layout=held.layout,
            device=torch.device(FAKE, 0),
        )
        made.held = held
        return made

    def __init__(self, held: torch.Tensor) -> None:
        super().__init__()

    def __repr__(self, **_: Any) -> str:  # pyright: ignore
        return f"{self.held!r} on {FAKE}"

    def numpy(self, **_: Any) -> Any:  # pyright: ignore
        raise TypeError(
            f"can't convert {FAKE} tensor to numpy. Use Tensor.cpu() to copy the tensor to host memory first."
        )

    def __array__(self, *_: Any, **__: Any) -> Any:  # pyright: ignore
        return self.numpy()

    def tolist(self) -> Any:
        return self.detach().cpu().tolist()

    def __deepcopy__(self, memo: dict[int, Any]) -> torch.Tensor:
        return memo.setdefault(id(self), self.detach().clone().requires_grad_(self.requires_grad))

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Check the operands as CUDA would; compute on what they hold; put the results behind the wall again."""
    elementwise, writes, reshapes = _nature(func)
    if reshapes:  # the wrapper too
        with no_dispatch():
            func(*args, **kwargs)
    operands: list[torch.Tensor] = []
    plain = _unwrapped(args, operands)
    plain_kwargs = {name: _unwrapped(value, operands) for name, value in kwargs.items()} if kwargs else {}
    wanted = plain_kwargs.get("device")
    if func is aten.copy_.default:
        on_fake = isinstance(args[0], FakeTensor)
    elif wanted is not None:
        on_fake = torch.device(wanted).type == FAKE
        plain_kwargs["device"] = torch.device("cpu")
    else:
        on_fake = any(isinstance(value, FakeTensor) for value in operands)
        if not all(isinstance(value, FakeTensor) for value in operands):
            _refuse_mixture(func, args, operands, elementwise and (isinstance(args[0], FakeTensor) or not writes))
    drawn = plain_kwargs.get("generator")
    if drawn is not None and (drawn.device.type == FAKE) != on_fake:
        raise RuntimeError(f"{func}: expected a generator of the tensors' device, received one of {drawn.device}")
    result = func(*plain, **plain_kwargs)
    if not on_fake:
        return result
    known = {id(value.held): value for value in operands if isinstance(value, FakeTensor)} if writes else {}
    return _wrapped(func, result, known)


@cache
def _nature(func: Any) -> tuple[bool, bool, bool]:
    """Whether an operator takes numbers as elementwise ones do, writes to an operand, changes its shape in place."""
    elementwise = torch.Tag.pointwise in func.tags or func in _TAKE_A_NUMBER
    return elementwise, func._schema.is_mutable, torch.Tag.inplace_view in func.tags


def _unwrapped(value: Any, operands: list[torch.Tensor]) -> Any:
    """The contents of all fake tensors, however deep; all tensors are noted."""
    if isinstance(value, torch.Tensor):
        operands.append(value)
        return value.held if isinstance(value, FakeTensor) else value
    if isinstance(value, list | tuple):
        return type(value)([_unwrapped(part, operands) for part in value])
    return value


def _wrapped(func: Any, value: Any, known: dict[int, FakeTensor]) -> Any:
    """Fake tensors around contents; ``known`` are the operands that the operator may have written to."""
    if isinstance(value, torch.Tensor):
        operand = known.get(id(value))
        if operand is None:
            return FakeTensor(value)
        if operand.shape != value.shape:
            raise NotImplementedError(f"the fake device cannot resize: {func}")
        return operand
    return type(value)([_wrapped(func, part, known) for part in value]) if isinstance(value, list | tuple) else value


def _refuse_mixture(func: Any, args: Any, operands: list[torch.Tensor], numbers_pass: bool) -> None:
    strangers = [value for value in operands if not isinstance(value, FakeTensor)]
    if len(strangers) == len(operands):
        return
    if func in _BY_PLACE and isinstance(args[0], FakeTensor):  # anywhere may the places be; not what is written there
        strangers, numbers_pass = [value for value in args[2:3] if not isinstance(value, FakeTensor)], True
    if any(value.dim() > 0 or not numbers_pass for value in strangers):
        shapes = [(tuple(value.shape), value.device.type) for value in operands]
        raise RuntimeError(f"{func}: expected all tensors to be on the same device, received {shapes}")


def _made(func: Any, *args: Any, **kwargs: Any) -> Any:
    return _run(func, args, kwargs)


def _plain(value: torch.Tensor) -> torch.Tensor:
    return value.held if isinstance(value, FakeTensor) else value


def _copy_from(source: torch.Tensor, target: torch.Tensor, non_blocking: bool = False) -> torch.Tensor:
    """What ``torch.tensor(values, device=...)`` fills a new tensor with."""
    _plain(target).copy_(_plain(source))
    return target


@cache
def register() -> list[torch.library.Library]:
    """Make the device known to this process; before anything is differentiated in it."""
    _setup_privateuseone_for_python_backend(FAKE)
    anything, by_name = torch.library.Library("_", "IMPL"), torch.library.Library("aten", "IMPL")
    anything.fallback(_made, "PrivateUse1")
    by_name.impl("_copy_from", _copy_from, "PrivateUse1")
    for maker in _MAKERS:  # torch's own would make an empty tensor and resize it
        by_name.impl(maker, partial(_made, maker), "PrivateUse1")
    return [anything, by_name]  # what they hold is forgotten with them
