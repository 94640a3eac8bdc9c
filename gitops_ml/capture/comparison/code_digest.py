"""The digest of a code object: equal source has equal digests, wherever in a file it is.

Line numbers, file names and the opcodes that depend on nearby imports do not count.
"""

from __future__ import annotations

import bisect
import dis
import hashlib
from collections.abc import Iterator
from types import CodeType
from typing import Any

_CALLING = frozenset({"PUSH_NULL", "PRECALL", "CACHE", "NOP", "EXTENDED_ARG", "RESUME"})
_SAME = {"LOAD_METHOD": "LOAD_ATTR", "CALL_METHOD": "CALL", "CALL_FUNCTION": "CALL"}
_GLOBAL = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "STORE_GLOBAL", "DELETE_GLOBAL"})
_FLAGS_OF_KIND = 0x04 | 0x08 | 0x20 | 0x80 | 0x200
"""``*args``, ``**kwargs``, generators and coroutines."""
_MOST_BITS = 2000
"""Of a whole number in decimals; Python's own limit can be set as low as 640 digits."""


def code_digest(code: CodeType) -> str:
    return hashlib.sha256(_text(code).encode("utf-8", "surrogatepass")).hexdigest()


def is_same_code(one: CodeType, other: CodeType) -> bool:
    """Whether both do the same; their line numbers may differ."""
    return _text(one) == _text(other)


def codes_of(code: CodeType) -> Iterator[CodeType]:
    """The code, and all code inside of it."""
    yield code
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield from codes_of(each)


def _text(code: CodeType) -> str:
    steps = [step for step in dis.get_instructions(code) if step.opname not in _CALLING]
    places = [step.offset for step in steps]
    lines = [
        code.co_name,
        repr((code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount)),
        repr((code.co_varnames, code.co_flags & _FLAGS_OF_KIND)),
    ]
    lines += [f"{_SAME.get(step.opname, step.opname)} {_argument(step, places)}" for step in steps]
    for entry in getattr(dis.Bytecode(code), "exception_entries", ()):
        where = [bisect.bisect_left(places, at) for at in (entry.start, entry.end, entry.target)]
        lines.append(f"handler {where} {entry.depth} {entry.lasti}")
    return "\n".join(lines)


def _argument(step: dis.Instruction, places: list[int]) -> str:
    if step.opcode in dis.hasjrel or step.opcode in dis.hasjabs:
        # The next instruction that counts.
        return str(bisect.bisect_left(places, step.argval))
    return constant(step.argval)


def constant(value: Any) -> str:
    """A constant of a code object as text, the same in every process."""
    if isinstance(value, CodeType):
        return _text(value)
    if isinstance(value, frozenset):
        return f"frozenset({sorted(map(constant, value))})"
    if isinstance(value, tuple):
        return f"({', '.join(map(constant, value))})"
    return f"{type(value).__name__} {short_repr(value)}"


def short_repr(value: Any) -> str:
    """A `repr` that huge whole numbers have, too: Python refuses to write them in decimals."""
    return hex(value) if is_huge(value) else repr(value)


def is_huge(value: Any) -> bool:
    return type(value) is int and value.bit_length() > _MOST_BITS


def used_names(code: CodeType) -> dict[str, set[tuple[str, ...]]]:
    """The global names of a function, each with the attributes that it reads through it."""
    found: dict[str, set[tuple[str, ...]]] = {}
    for each in codes_of(code):
        name = ""
        chain: tuple[str, ...] = ()
        for step in dis.get_instructions(each):
            if step.opname in _CALLING:
                continue
            if step.opname in ("LOAD_ATTR", "LOAD_METHOD") and name:
                chain = (*chain, str(step.argval))
                found[name].add(chain)
                continue
            name, chain = "", ()
            if step.opname in _GLOBAL:
                name = str(step.argval)
                found.setdefault(name, set())
    return found
