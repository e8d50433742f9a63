"""The fake device takes what CUDA takes and refuses what CUDA refuses."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.fake_device import FAKE, FakeTensor


def there(*shape: int) -> Tensor:
    return torch.arange(1.0, 1.0 + np.prod(shape, initial=1)).view(shape).to(FAKE)


def here(*shape: int) -> Tensor:
    return there(*shape).cpu()


PLACES = torch.tensor([1, 0])

TAKEN: dict[str, Callable[[], Tensor]] = {
    "a number": lambda: 2.0 * there(3, 4) + 1,
    "a CPU tensor of no dimensions": lambda: there(3, 4) * here(),
    "a CPU tensor of no dimensions first": lambda: here() - there(3, 4),
    "a choice between numbers": lambda: torch.where(there(3, 4) > 2, 1.0, torch.tensor(0.0)),
    "places on the CPU": lambda: there(3, 4)[PLACES],
    "a mask on the CPU": lambda: there(3, 4)[here(3) > 1],
    "places as a list, and as an array": lambda: there(3, 4)[[0, 2]][np.array([1])],
    "writing a number at places on the CPU": lambda: there(3, 4).index_put((PLACES,), torch.tensor(0.0)),
    "new tensors of every kind": lambda: torch.stack(
        [
            torch.zeros(4, device=FAKE),
            torch.full((4,), 2.0, device=FAKE),
            torch.tensor([1.0, 2, 3, 4], device=FAKE),
            torch.arange(0, 8, 2, device=FAKE).float(),
            torch.linspace(0, 1, 4, device=FAKE),
            torch.eye(4, device=FAKE)[0],
            torch.randperm(4, device=FAKE).float(),
            torch.rand(4, device=FAKE),
            there(4).new_tensor([1, 2, 3, 4]),
            there(4).new_zeros(4),
        ]
    ),
    "copying over": lambda: torch.zeros(3, 4, device=FAKE).copy_(here(3, 4)),
    "a number drawn here": lambda: torch.rand(3, generator=torch.Generator().manual_seed(0)).to(FAKE),
}

REFUSED: dict[str, Callable[[], object]] = {
    "arithmetic": lambda: there(3, 4) + here(4),
    "a matrix product": lambda: there(3, 4) @ here(4, 2),
    "places on the device": lambda: here(3, 4)[PLACES.to(FAKE)],
    "a mask on the device": lambda: here(3, 4)[there(3) > 1],
    "index_select by places on the CPU": lambda: there(3, 4).index_select(0, PLACES),
    "gather by places on the CPU": lambda: there(2, 4).gather(0, PLACES[:, None]),
    "writing CPU values": lambda: there(3, 4).index_put((PLACES,), here(2, 4)),
    "adding CPU values at places": lambda: there(3, 4).index_add(0, PLACES.to(FAKE), here(2, 4)),
    "a choice by a CPU mask": lambda: torch.where(here(4) > 1, there(4), there(4)),
    "joining": lambda: torch.cat([there(2), here(2)]),
    "stacking a number beside one of the CPU": lambda: torch.stack([there(), here()]),
    "a network elsewhere": lambda: nn.Linear(4, 2)(there(3, 4)),
    "sampling by a CPU grid": lambda: nn.functional.grid_sample(
        there(1, 1, 4, 4), here(1, 2, 2, 2), align_corners=False
    ),
    "a CPU number changed in place": lambda: here().add_(there()),
    "a CPU generator": lambda: torch.rand(3, device=FAKE, generator=torch.Generator()),
    "numpy": lambda: there(3).numpy(),
    "an array": lambda: np.asarray(there(3)),
}


def taken(case: str) -> str:
    found = TAKEN[case]()
    assert isinstance(found, FakeTensor)
    return str(found.device)


def refused(case: str) -> None:
    with pytest.raises((RuntimeError, TypeError), match=r"same device|generator|to numpy"):
        REFUSED[case]()


@pytest.mark.parametrize("case", TAKEN)
def test_what_cuda_takes_is_taken(case: str, on_fake_device: Callable[..., str]) -> None:
    assert on_fake_device(taken, case) == f"{FAKE}:0"


@pytest.mark.parametrize("case", REFUSED)
def test_what_cuda_refuses_is_refused(case: str, on_fake_device: Callable[..., None]) -> None:
    on_fake_device(refused, case)


def numbers() -> None:
    def calculate(x: Tensor) -> Tensor:
        turned = x.T.reshape(2, -1).flip(0)
        turned[0] = 7.0
        turned[turned > 9] *= 0.5
        low = torch.quantile(turned, torch.tensor([0.25]).to(x))
        return torch.linalg.svdvals(turned - low).cumsum(0).to(torch.float64)

    found = calculate(there(3, 4))
    assert torch.equal(found.cpu(), calculate(here(3, 4)))
    assert found.tolist() == found.cpu().tolist()
    assert there(3)[1].item() == float(there(3)[1]) == 2.0


def test_numbers_are_those_of_the_cpu(on_fake_device: Callable[..., None]) -> None:
    on_fake_device(numbers)


def learning() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2))
    twin = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2))
    twin.load_state_dict(net.state_dict())
    net.to(FAKE)
    pictures = torch.rand(2, 3, 8, 8)
    for one, seen in ((net, pictures.to(FAKE)), (twin, pictures)):
        optimizer = torch.optim.AdamW(one.parameters(), lr=0.1)
        one(seen).square().sum().backward()
        optimizer.step()
    assert {parameter.device.type for parameter in net.parameters()} == {FAKE}
    for moved, stayed in zip(net.cpu().parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(moved, stayed)


def test_networks_move_learn_and_come_back(on_fake_device: Callable[..., None]) -> None:
    on_fake_device(learning)


def test_this_process_does_not_know_it(on_fake_device: Callable[..., None]) -> None:
    on_fake_device(numbers)
    with pytest.raises(RuntimeError, match="Expected one of cpu, cuda"):
        torch.device(FAKE)
