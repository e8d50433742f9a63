"""Work that ends its process: in a module of its own, for a process has to load it each time that it is born again."""

import os
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Suicidal:
    """Ends its process at one part of a task."""

    def __call__(self, task: str, lost: dict[int, str], begins: Callable[[int], None]) -> tuple[str, dict[int, str]]:
        for part in range(3):
            begins(part)
            if (task, part) == ("b", 1) and part not in lost:
                os._exit(3)
        return task, lost
