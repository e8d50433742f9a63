"""The stack machine of Python's pickles, without hands: it names, notes and collects, and calls nothing.

Opcodes are those of protocols 0 to 5 (Python's ``pickletools`` documents each). A global name becomes a ``Name``;
a call a ``Call`` that keeps name, arguments and state. Sizes are checked against the bytes that are there.
"""

import codecs
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

_MOST_STEPS = 2_000_000
"""Opcodes of one pickle; FLAME's have some hundreds. Each takes up to about 100 bytes of memory."""


@dataclass(frozen=True)
class Name:
    """A function or class that the pickle names."""

    module: str
    name: str


@dataclass(eq=False)
class Call:
    """An object that would have been made.

    Attributes:
        name: of the function or class.
        arguments: of the call.
        state: set on the object afterwards.
        entries: put into it as into a dictionary.
    """

    name: Name
    arguments: tuple[Any, ...]
    state: Any = None
    entries: dict[Any, Any] = field(default_factory=dict)


def run_pickle(content: memoryview, check: Callable[[Name], None]) -> Any:
    """What a pickle leaves on the stack: plain values, lists, tuples, dictionaries, ``Name`` and ``Call``.

    Args:
        content: the pickle.
        check: called with each name before it is put on the stack; what it raises stops the machine.

    Raises:
        ValueError: damaged, or too long. Also LookupError, TypeError and struct.error: call it inside ``reading``.
    """
    return _Machine(content, check).run()


class _Machine:
    def __init__(self, content: memoryview, check: Callable[[Name], None]) -> None:
        self._content, self._position = content, 0
        self._check = check
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def run(self) -> Any:
        for _ in range(_MOST_STEPS):
            code = self._bytes(1)[0]
            if code == ord("."):
                return self._stack.pop()
            step = _STEPS.get(code)
            if step is None:
                raise ValueError(f"opcode {code:#x} at byte {self._position - 1}")
            step(self)
        raise ValueError(f"more than {_MOST_STEPS} steps")

    # ------------------------------------------------------------------------------------------------- reading

    def _bytes(self, count: int) -> memoryview:
        end = self._position + count
        if count < 0 or end > len(self._content):
            raise ValueError(f"{count} bytes are wanted at byte {self._position} of {len(self._content)}")
        piece = self._content[self._position : end]
        self._position = end
        return piece

    def number(self, layout: str) -> Any:
        """A number of fixed layout."""
        return struct.unpack(layout, self._bytes(struct.calcsize(layout)))[0]

    def sized(self, layout: str) -> memoryview:
        """Bytes behind their length."""
        return self._bytes(self.number(layout))

    def line(self) -> bytes:
        """Up to the next line's end."""
        rest = self._content.obj
        offset = len(rest) - len(self._content)  # pyright: ignore[reportArgumentType] - a bytes object
        end = rest.find(b"\n", offset + self._position) - offset  # pyright: ignore[reportAttributeAccessIssue]
        piece = bytes(self._bytes(end - self._position))
        self._position += 1
        return piece

    # ------------------------------------------------------------------------------------------------- the stack

    def push(self, value: Any) -> None:
        """Onto the stack."""
        self._stack.append(value)

    def pop(self) -> Any:
        """From the stack, but not from under a mark."""
        if self._marks and len(self._stack) <= self._marks[-1]:
            raise ValueError("a mark where a value should be")
        return self._stack.pop()

    def top(self) -> Any:
        """The last value, left there."""
        value = self.pop()
        self._stack.append(value)
        return value

    def mark(self) -> None:
        """Begin a group."""
        self._marks.append(len(self._stack))

    def group(self) -> list[Any]:
        """All values above the last mark."""
        start = self._marks.pop()
        values = self._stack[start:]
        del self._stack[start:]
        return values

    def take(self, count: int) -> tuple[Any, ...]:
        """Some values, the first of them the deepest."""
        return tuple(self.pop() for _ in range(count))[::-1]

    def remember(self, key: int) -> None:
        """The last value under a number."""
        self._memo[key] = self.top()

    def remember_next(self) -> None:
        """The last value under the next number."""
        self._memo[len(self._memo)] = self.top()

    def recall(self, key: int) -> None:
        """A value by its number."""
        self.push(self._memo[key])

    # ------------------------------------------------------------------------------------------------- names and calls

    def name(self, module: Any, name: Any) -> None:
        """A global name."""
        if not isinstance(module, str) or not isinstance(name, str):
            raise ValueError("a name that is no text")
        found = Name(module, name)
        self._check(found)
        self.push(found)

    def call(self, function: Any, arguments: Any) -> None:
        """A note of a call."""
        if not isinstance(function, Name) or not isinstance(arguments, tuple):
            raise ValueError(f"a call of {type(function).__name__}")
        self.push(Call(function, arguments))

    def build(self) -> None:
        """State of the last object, which must be one: nothing else has any."""
        state, made = self.pop(), self.top()
        if not isinstance(made, Call):
            raise ValueError(f"a state is set on {type(made).__name__}")
        made.state = state

    def append(self, values: list[Any]) -> None:
        """To the last value, a list."""
        made = self.top()
        if not isinstance(made, list):
            raise ValueError(f"something is appended to {type(made).__name__}")
        made.extend(values)

    def put(self, pairs: list[Any]) -> None:
        """Into the last value, a dictionary."""
        made = self.top()
        entries = made.entries if isinstance(made, Call) else made
        if not isinstance(entries, dict) or len(pairs) % 2:
            raise ValueError(f"an entry is put into {type(made).__name__}")
        if not all(type(key) in (str, bytes, int, float) for key in pairs[::2]):
            raise ValueError("a key that is neither text nor number")  # tuples in tuples take ages to be compared
        entries.update(zip(pairs[::2], pairs[1::2], strict=True))


def _text_number(line: bytes) -> int | bool:
    return {b"00": False, b"01": True}.get(line, int(line.rstrip(b"L") or b"x"))


def _quoted(line: bytes) -> str:
    """Text of protocol 0: quoted, with backslashes; Python 2 kept bytes so."""
    if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b"'", b'"'):
        raise ValueError("text without quotes")
    return codecs.escape_decode(line[1:-1])[0].decode("latin1")  # pyright: ignore[reportAttributeAccessIssue] - bytes


def _unicode(content: bytes | memoryview) -> str:
    return bytes(content).decode("utf-8", "surrogatepass")


def _long(content: memoryview) -> int:
    return int.from_bytes(content, "little", signed=True)


def _instance(machine: _Machine) -> None:
    module, name = machine.line().decode(), machine.line().decode()
    arguments = tuple(machine.group())
    machine.name(module, name)
    machine.call(machine.pop(), arguments)


def _object(machine: _Machine) -> None:
    function, *arguments = machine.group()
    machine.call(function, tuple(arguments))


def _new_object(machine: _Machine, count: int) -> None:
    function, arguments, *_ = machine.take(count)
    machine.call(function, arguments)


_STEPS: dict[int, Callable[[_Machine], Any]] = {
    code[0]: step
    for code, step in {
        # protocol and frames: nothing to do
        b"\x80": lambda m: m.number("<B"),
        b"\x95": lambda m: m.number("<Q"),
        # constants
        b"N": lambda m: m.push(None),
        b"\x88": lambda m: m.push(True),
        b"\x89": lambda m: m.push(False),
        b"I": lambda m: m.push(_text_number(m.line())),
        b"L": lambda m: m.push(_text_number(m.line())),
        b"J": lambda m: m.push(m.number("<i")),
        b"K": lambda m: m.push(m.number("<B")),
        b"M": lambda m: m.push(m.number("<H")),
        b"\x8a": lambda m: m.push(_long(m.sized("<B"))),
        b"\x8b": lambda m: m.push(_long(m.sized("<i"))),
        b"F": lambda m: m.push(float(m.line())),
        b"G": lambda m: m.push(m.number(">d")),
        # text and bytes; those of Python 2 as text, which keeps each byte
        b"S": lambda m: m.push(_quoted(m.line())),
        b"T": lambda m: m.push(str(m.sized("<i"), "latin1")),
        b"U": lambda m: m.push(str(m.sized("<B"), "latin1")),
        b"V": lambda m: m.push(m.line().decode("raw-unicode-escape")),
        b"X": lambda m: m.push(_unicode(m.sized("<I"))),
        b"\x8c": lambda m: m.push(_unicode(m.sized("<B"))),
        b"\x8d": lambda m: m.push(_unicode(m.sized("<Q"))),
        b"B": lambda m: m.push(m.sized("<I")),
        b"C": lambda m: m.push(bytes(m.sized("<B"))),
        b"\x8e": lambda m: m.push(m.sized("<Q")),
        b"\x96": lambda m: m.push(m.sized("<Q")),
        # containers
        b"(": lambda m: m.mark(),
        b")": lambda m: m.push(()),
        b"t": lambda m: m.push(tuple(m.group())),
        b"\x85": lambda m: m.push(m.take(1)),
        b"\x86": lambda m: m.push(m.take(2)),
        b"\x87": lambda m: m.push(m.take(3)),
        b"]": lambda m: m.push([]),
        b"l": lambda m: m.push(m.group()),
        b"a": lambda m: m.append([m.pop()]),
        b"e": lambda m: m.append(m.group()),
        b"}": lambda m: m.push({}),
        b"d": lambda m: (lambda pairs: (m.push({}), m.put(pairs)))(m.group()),
        b"s": lambda m: m.put(list(m.take(2))),
        b"u": lambda m: m.put(m.group()),
        # the stack and what is remembered
        b"0": lambda m: m.pop(),
        b"1": lambda m: m.group(),
        b"2": lambda m: m.push(m.top()),
        b"p": lambda m: m.remember(int(m.line())),
        b"q": lambda m: m.remember(m.number("<B")),
        b"r": lambda m: m.remember(m.number("<I")),
        b"\x94": lambda m: m.remember_next(),
        b"g": lambda m: m.recall(int(m.line())),
        b"h": lambda m: m.recall(m.number("<B")),
        b"j": lambda m: m.recall(m.number("<I")),
        # names and calls
        b"c": lambda m: m.name(m.line().decode(), m.line().decode()),
        b"\x93": lambda m: m.name(*m.take(2)),
        b"R": lambda m: m.call(*m.take(2)),
        b"\x81": lambda m: _new_object(m, 2),
        b"\x92": lambda m: _new_object(m, 3),
        b"i": _instance,
        b"o": _object,
        b"b": lambda m: m.build(),
    }.items()
}
"""What each opcode does. Arrays need no sets, persistent ids, extension codes or out-of-band buffers."""
