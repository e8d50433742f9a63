"""Named tensors of a file that is read only where it is asked for."""

from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class TensorFile(Generic[T]):
    """A read-only dictionary of tensors (``torch`` or numpy) by name.

    Args:
        path: the file, for messages.
        names: of its tensors.
        read: gives the tensor of a name.
    """

    def __init__(self, path: str, names: Iterable[str], read: Callable[[str], T]) -> None:
        self.path = path
        self._names = dict.fromkeys(names)
        self._read = read

    def __getitem__(self, name: str) -> T:
        if name not in self._names:
            raise KeyError(name)
        return self._read(name)

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
