"""Random numbers of scenes: one stream per aspect of a seed, so that a change to one leaves the others as they were.

The streams are ``numpy.random.default_rng([seed, aspect])`` to the bit. Their starts are found for a block of seeds and
all aspects in one pass, since each alone takes longer than the numbers that are drawn from it.
"""

from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float, UInt64
from numpy import ndarray
from numpy.random.bit_generator import ISeedSequence

Kind = TypeVar("Kind")
BLOCK, ASPECTS = 32, 48
"""Seeds and aspects whose starts are found together."""
BLOCKS_KEPT = 64
_POOL = 4
_WORD = np.uint64(0xFFFFFFFF)


class _Start(ISeedSequence):
    """The start of a stream that is known already."""

    def __init__(self, words: UInt64[ndarray, "4"]) -> None:
        self._words = words

    def generate_state(self, n_words: int, dtype: Any = np.uint32) -> ndarray:
        """The words of ``numpy.random.PCG64``, which asks for four of 64 bits."""
        if n_words != len(self._words) or np.dtype(dtype) != np.uint64:
            raise ValueError(f"expected to be asked for 4 words of 64 bits, received {n_words} of {np.dtype(dtype)}")
        return self._words


def stream(seed: int, aspect: int) -> np.random.Generator:
    """Random numbers of one aspect of one scene."""
    if not (0 <= seed < 2**63 and 0 <= aspect < ASPECTS):
        return np.random.default_rng([seed, aspect])
    block, place = divmod(seed, BLOCK)
    return np.random.Generator(np.random.PCG64(_Start(_starts(block)[place, aspect])))  # pyright: ignore[reportArgumentType] - all that it asks for


def picked(rng: np.random.Generator, shares: Mapping[Kind, float]) -> Kind:
    """One of several kinds, as often as its share says; ``rng.choice`` with probabilities, but for its checks.

    Args:
        rng: random state; it advances by one number.
        shares: of the kinds; they add up to 1.
    """
    kinds, steps = tuple(shares), _steps(tuple(shares.values()))
    return kinds[int(steps.searchsorted(rng.random(), side="right"))]


def sign(rng: np.random.Generator) -> float:
    """-1 or 1; as ``rng.choice([-1.0, 1.0])``."""
    return 2.0 * int(rng.integers(2)) - 1.0


@cache
def _steps(shares: tuple[float, ...]) -> Float[ndarray, " N"]:
    total = np.cumsum(shares)
    return total / total[-1]


@lru_cache(BLOCKS_KEPT)
def _starts(block: int) -> UInt64[ndarray, "S A 4"]:
    """What ``numpy.random.SeedSequence([seed, aspect]).generate_state(4, uint64)`` gives, for all of a block.

    The algorithm is M. O'Neill's ``seed_seq_fe``, which numpy promises to keep. Words are held in 64 bits and cut.
    """
    seeds = np.arange(block * BLOCK, (block + 1) * BLOCK, dtype=np.uint64)[:, None]
    aspects = np.broadcast_to(np.arange(ASPECTS, dtype=np.uint64), (BLOCK, ASPECTS))
    low, high = (np.broadcast_to(part, aspects.shape) for part in (seeds & _WORD, seeds >> np.uint64(32)))
    # Numbers are taken apart into words of 32 bits without leading zeros: a large seed has two, and the aspect follows.
    large, nothing = high > 0, np.zeros_like(aspects)
    entropy = [low, np.where(large, high, aspects), np.where(large, aspects, nothing), nothing]
    factor = _Factor(0x43B0D7E5, 0x931E8875)
    pool = [_hashed(word, factor) for word in entropy]
    for source in range(_POOL):
        for target in range(_POOL):
            if source != target:
                mixed = np.uint64(0xCA01F9DD) * pool[target] - np.uint64(0x4973F715) * _hashed(pool[source], factor)
                pool[target] = _folded(mixed & _WORD)
    factor = _Factor(0x8B51F9DD, 0x58F38DED)
    words = [_hashed(pool[k % _POOL], factor) for k in range(2 * _POOL)]
    return np.stack([words[2 * k] | (words[2 * k + 1] << np.uint64(32)) for k in range(_POOL)], -1)


class _Factor:
    """A factor that changes each time it is used."""

    def __init__(self, value: int, multiplier: int) -> None:
        self.value, self._multiplier = value, multiplier

    def advance(self) -> int:
        """The next value."""
        self.value = self.value * self._multiplier & 0xFFFFFFFF
        return self.value


def _hashed(word: UInt64[ndarray, "S A"], factor: _Factor) -> UInt64[ndarray, "S A"]:
    word = word ^ np.uint64(factor.value)
    return _folded(word * np.uint64(factor.advance()) & _WORD)


def _folded(word: UInt64[ndarray, "S A"]) -> UInt64[ndarray, "S A"]:
    return word ^ (word >> np.uint64(16))
