"""TorchScript files: networks are read, programs that could do harm are refused before they do any."""

import io
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from facewright.errors import AssetNotFoundError, WeightsError
from facewright.train.torchscript import load_torchscript
from tests.train.iresnet import small_iresnet

Writer = Callable[[nn.Module, Path], Path]
CHIPS = torch.rand(3, 3, 112, 112, generator=torch.Generator().manual_seed(3))


@pytest.fixture(autouse=True)
def _old_writer() -> Iterator[None]:
    """torch says that TorchScript is not for new programs; these tests are about files that exist."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`torch\.jit\.\w+` is deprecated", DeprecationWarning)
        yield


def traced(net: nn.Module, path: Path) -> Path:
    torch.jit.save(torch.jit.trace(net, CHIPS[:2], check_trace=False), str(path))
    return path


def scripted(net: nn.Module, path: Path) -> Path:
    torch.jit.script(net).save(str(path))
    return path


def frozen(net: nn.Module, path: Path) -> Path:
    torch.jit.freeze(torch.jit.script(net)).save(str(path))
    return path


@pytest.mark.parametrize("write", [traced, frozen])
def test_networks_answer_as_they_did(write: Writer, tmp_path: Path) -> None:
    net = small_iresnet()
    network = load_torchscript(write(net, tmp_path / "net.pt"))
    torch.testing.assert_close(network(CHIPS), net(CHIPS), rtol=1e-5, atol=1e-5)
    assert not any(value.requires_grad for value in network.parameters())


def test_gradients_reach_the_pixels(tmp_path: Path) -> None:
    network = load_torchscript(traced(small_iresnet(), tmp_path / "net.pt")).double()
    probe = torch.randn(1, 16, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda x: (network(x) * probe).sum(), (CHIPS[:1].double().requires_grad_(),), fast_mode=True
    )


# ------------------------------------------------------------------------------------------------------- refusals


class Writes(nn.Module):
    """Writes a file when called."""

    def __init__(self, target: str) -> None:
        super().__init__()
        self.target = target

    def forward(self, chips: Tensor) -> Tensor:
        torch.save(chips, self.target)
        return chips


class Reads(nn.Module):
    """Maps a file into memory when called, for writing."""

    def __init__(self, target: str) -> None:
        super().__init__()
        self.target = target

    def forward(self, chips: Tensor) -> Tensor:
        return chips + torch.from_file(self.target, True, 1)


class Endless(nn.Module):
    """Does not return."""

    def forward(self, chips: Tensor) -> Tensor:
        while bool(chips.max() > -1.0):
            chips = chips * 1.0
        return chips


class WritesOnLoading(nn.Module):
    """Writes a file when it is loaded: TorchScript calls ``__setstate__``."""

    def __init__(self, target: str) -> None:
        super().__init__()
        self.target = target

    @torch.jit.export
    def __getstate__(self) -> tuple[str, bool]:
        return self.target, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[str, bool]) -> None:
        self.target = state[0]
        self.training = state[1]
        torch.save(torch.zeros(1), self.target)

    def forward(self, chips: Tensor) -> Tensor:
        return chips


class Hooked(nn.Module):
    """A network with something that runs before it."""

    def __init__(self) -> None:
        super().__init__()

        def look(module: nn.Module, inputs: tuple[Tensor]) -> None:
            inputs[0].zero_()

        self.register_forward_pre_hook(look)

    def forward(self, chips: Tensor) -> Tensor:
        return chips


class Nameless(nn.Module):
    """Has no ``forward``."""

    @torch.jit.export
    def embed(self, chips: Tensor) -> Tensor:
        return chips


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (Writes, "received the operators aten::save; nothing of it was run"),
        (Reads, r"received the operators aten::from_file"),
        (lambda target: Endless(), "received the operators .*prim::Loop"),
        (WritesOnLoading, "received a method that runs while the file is loaded; it was not loaded"),
        (lambda target: Hooked(), "received hooks"),
        (lambda target: Nameless(), "without forward"),
    ],
)
def test_programs_that_do_more_than_compute_are_refused(
    make: Callable[[str], nn.Module], message: str, tmp_path: Path
) -> None:
    target = tmp_path / "target"
    path = scripted(make(str(target)), tmp_path / "net.pt")
    with pytest.raises(WeightsError, match=message):
        load_torchscript(path)
    assert not target.exists()


def test_torch_itself_would_have_run_it(tmp_path: Path) -> None:
    """Without the check above the file is written: the check is not idle."""
    target = tmp_path / "target"
    torch.jit.load(str(scripted(WritesOnLoading(str(target)), tmp_path / "net.pt")))
    assert target.exists()


def copy_with(path: Path, change: Callable[[str, bytes], bytes | None], compression: int = zipfile.ZIP_STORED) -> None:
    copied = io.BytesIO()
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(copied, "w", compression) as target:
        for name in source.namelist():
            if (content := change(name, source.read(name))) is not None:
                target.writestr(name, content)
    path.write_bytes(copied.getvalue())


def with_a_bomb(name: str, content: bytes) -> bytes:
    return bytes(2**26 + 1) if name.endswith("constants.pkl") else content


def add_entry(path: Path, name: str) -> None:
    with warnings.catch_warnings(), zipfile.ZipFile(path, "a") as archive:
        warnings.simplefilter("ignore")  # that the name is there already
        archive.writestr(name, b"")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.write_text("not a network"), "a whole TorchScript file, received one that cannot be read"),
        (
            lambda path: path.write_bytes(path.read_bytes()[:-100]),
            "a whole TorchScript file, received one that cannot be read",
        ),
        (lambda path: torch.save({"w": torch.zeros(1)}, path), "perhaps a state dict.*torch.jit.trace"),
        (lambda path: add_entry(path, "net/data.pkl"), "as torch writes it"),
        (lambda path: add_entry(path, "net/model.json"), "received another archive"),
        (lambda path: copy_with(path, with_a_bomb, zipfile.ZIP_DEFLATED), "as torch writes it"),
        (
            lambda path: copy_with(path, lambda name, content: None if name.endswith("data.pkl") else content),
            "a whole TorchScript file, received one that cannot be read",
        ),
        (
            lambda path: copy_with(
                path, lambda name, content: content.replace(b"__torch__.torch.nn", b"__torch__.torch.classes")
            ),
            "received compiled classes",
        ),
    ],
)
def test_damaged_and_foreign_files_are_refused(spoil: Callable[[Path], object], message: str, tmp_path: Path) -> None:
    path = traced(nn.Sequential(nn.Conv2d(3, 2, 3)).eval(), tmp_path / "net.pt")
    spoil(path)
    with pytest.raises(WeightsError, match=message):
        load_torchscript(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(AssetNotFoundError, match=r"none\.pt"):
        load_torchscript(tmp_path / "none.pt")
