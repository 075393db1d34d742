"""What the code of a function reads and writes outside of itself."""

import dis
import types
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

_SILENT = frozenset({"CACHE", "EXTENDED_ARG", "NOP", "PRECALL", "PUSH_NULL", "RESUME"})
_OUTER = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF", "LOAD_CLASSDEREF"})
_OUTER_ALSO = frozenset({"LOAD_FROM_DICT_OR_DEREF", "LOAD_FROM_DICT_OR_GLOBALS"})
_STORES = frozenset({"STORE_GLOBAL", "DELETE_GLOBAL", "STORE_DEREF", "DELETE_DEREF"})
_CONSTANT = frozenset({"LOAD_CONST", "LOAD_SMALL_INT"})
_GROWS = frozenset({"append", "extend", "add"})  # methods that return nothing
_BUMPED = ("COPY", "LOAD_ATTR", "LOAD_CONST", "BINARY_OP", "SWAP", "STORE_ATTR")
_COUNTED = ("COPY", "COPY", "BINARY_SUBSCR", "LOAD_CONST", "BINARY_OP", "SWAP", "SWAP")

Chain = tuple[str, ...]  # attributes taken one from the other


@dataclass(frozen=True)
class Reads:
    """What a function and the functions inside of it reach by name."""

    globals: tuple[str, ...]  # names looked up among globals and built-ins
    chains: dict[str, tuple[Chain, ...]]  # name -> the attributes that are taken from it
    written: frozenset[str]  # names of containers and numbers only counted up or appended to
    bumped: frozenset[str]  # names of objects of which only attributes are counted up
    stored: frozenset[str]  # names outside of the function that are set
    imports: tuple[str, ...]  # modules that are imported inside
    known: bool  # whether that is all


@lru_cache(maxsize=4096)
def normal(code: types.CodeType) -> tuple:
    """A code object without the places in its file: equal for equal text."""
    constants = tuple(_constant(c) for c in code.co_consts)
    counts = code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags
    names = code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars
    return code.co_code, constants, counts, names, code.co_exceptiontable


def _constant(value: Any) -> Any:
    if isinstance(value, types.CodeType):
        return normal(value)
    if isinstance(value, tuple | frozenset):
        return type(value), type(value)(_constant(x) for x in value)
    return type(value), repr(value) if isinstance(value, float | complex) else value


@lru_cache(maxsize=4096)
def reads(code: types.CodeType) -> Reads:
    """What `code` and the code inside of it reach by name."""
    outer: dict[str, None] = {}
    chains: dict[str, dict[Chain, None]] = {}
    uses: dict[str, set[str]] = {}  # name -> how it is used
    stored: set[str] = set()
    imports: dict[str, None] = {}
    known = True
    for part in _parts(code):
        steps = [s for s in dis.get_instructions(part) if s.opname not in _SILENT]
        for i, step in enumerate(steps):
            name = str(step.argval)
            if step.opname in _OUTER | _OUTER_ALSO:
                if "DEREF" not in step.opname:
                    outer[name] = None
                chains.setdefault(name, {})[_chain(steps, i)] = None
                uses.setdefault(name, set()).add(_use(steps, i))
            elif step.opname in _STORES and not _own(part, step):
                stored.add(name)
                known &= step.opname.startswith("STORE")
            elif step.opname == "IMPORT_NAME":
                imports[name] = None
                known &= not step.argval.startswith(".")
    return Reads(
        globals=tuple(outer),
        chains={name: tuple(found) for name, found in chains.items()},
        written=frozenset(name for name, found in uses.items() if found == {"grows"}),
        bumped=frozenset(name for name, found in uses.items() if found == {"bumps"}),
        stored=frozenset(stored),
        imports=tuple(imports),
        known=known and stored <= set(chains),
    )


def _parts(code: types.CodeType) -> list[types.CodeType]:
    inner = [c for c in code.co_consts if isinstance(c, types.CodeType)]
    return [code, *(part for c in inner for part in _parts(c))]


def _own(code: types.CodeType, step: dis.Instruction) -> bool:
    """Whether a store goes to a variable of the function itself."""
    return "DEREF" in step.opname and step.argval in code.co_cellvars


def _chain(steps: list[dis.Instruction], i: int) -> Chain:
    chain: list[str] = []
    for step in steps[i + 1 :]:
        if step.opname not in ("LOAD_ATTR", "LOAD_METHOD"):
            break
        chain.append(str(step.argval))
    return tuple(chain)


def _use(steps: list[dis.Instruction], i: int) -> str:
    """What a load is for.

    **Returns:** `"grows"` for `x.append(...)`, `x += 1` or `x[0] += 1`, `"bumps"` for
    `x.count += 1`, after which nothing depends on `x`; else `"reads"`.
    """
    after = steps[i + 1 : i + 10]
    if not after:
        return "reads"
    names = tuple(s.opname for s in after)
    if names[0] == "LOAD_METHOD" or (names[0] == "LOAD_ATTR" and _method(after[0])):
        return "grows" if after[0].argval in _GROWS else "reads"
    if names[:6] == _BUMPED and after[1].argval == after[5].argval and _adds(after[3]):
        return "bumps"
    if names[0] not in _CONSTANT or len(after) < 3:
        return "reads"
    back = {"STORE_GLOBAL": "LOAD_GLOBAL", "STORE_DEREF": "LOAD_DEREF"}.get(names[2])
    if back == steps[i].opname and after[2].argval == steps[i].argval and _adds(after[1]):
        return "grows"
    item = names[1:9] == (*_COUNTED, "STORE_SUBSCR") and _adds(after[5])
    return "grows" if item else "reads"


def _adds(step: dis.Instruction) -> bool:
    return step.opname == "BINARY_OP" and step.argrepr == "+="


def _method(step: dis.Instruction) -> bool:
    """Whether an attribute is called at once, in the newer of Python's codes for it."""
    return bool((step.arg or 0) & 1) and "NULL" in step.argrepr
