"""What tells one computation from another: its code, and everything that the code can reach."""

import dataclasses
import enum
import functools
import hashlib
import inspect
import sys
import types
import weakref
from collections import OrderedDict, defaultdict, namedtuple
from collections.abc import Callable, Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jaxdend._code import Reads, normal, reads
from jaxdend._jax import Tracer

LARGEST = 1 << 20  # bytes of an array up to which its content is compared
MOST = 20_000  # parts of a function that are looked at
DEEPEST = 80

# What these packages define at their top level does not change while a process runs.
FIXED = frozenset(
    {"blackjax", "cma", "diffrax", "equinox", "jax", "jaxdend", "jaxlib", "jaxtyping", "lineax",
     "ml_dtypes", "numpy", "optax", "optimistix", "quax", "scipy"}
    | {"abc", "collections", "copy", "dataclasses", "enum", "functools", "itertools", "math",
       "operator", "typing", "types", "builtins", "_operator", "_functools"}
)  # fmt: skip
VALUES = frozenset({"datetime", "decimal", "fractions", "pathlib", "re", "uuid"})  # of these, types
REACHING = frozenset(
    {"__import__", "compile", "delattr", "eval", "exec", "globals", "input", "locals", "open",
     "setattr", "vars"}
)  # fmt: skip  # built-in functions that reach what no reading of code shows


class _Unknown(Exception):
    """Something whose later changes would go unnoticed."""


class _Ref:
    """An object by its identity; keeps it alive, so that no other takes its address."""

    __slots__ = ("of",)

    def __init__(self, of: Any):
        self.of = of

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Ref) and self.of is other.of

    def __hash__(self) -> int:
        return id(self.of)


def fingerprint(parts: tuple) -> Any:
    """A hashable value that is equal only for parts that compute the same; `None` if unknown."""
    try:
        key = _Reader().many(parts)
        hash(key)
    except (_Unknown, RecursionError, TypeError):
        return None
    return key


def _package(module: Any) -> str:
    return str(module).split(".", 1)[0]


class _Reader:
    """Walks through everything that a computation can reach, once."""

    def __init__(self) -> None:
        self.seen: dict[int, tuple[int, Any]] = {}  # by id, whose objects have to live on
        self.left, self.depth = MOST, 0

    def many(self, values: Any) -> tuple:
        return tuple([self.one(value) for value in values])

    def one(self, x: Any) -> Any:
        """The fingerprint of one value."""
        kind = type(x)
        if x is None or kind in (bool, int, str, bytes, range):
            return kind, x
        if kind in (float, complex):
            return kind, repr(x)
        self.left -= 1
        self.depth += 1
        if self.left < 0 or self.depth > DEEPEST:
            raise _Unknown
        read = READERS.get(kind) or self._other(x)
        found = kind, read(self, x)
        self.depth -= 1
        return found

    def _other(self, x: Any) -> Callable[["_Reader", Any], Any]:
        """How to read what is not of a common type."""
        if isinstance(x, Tracer):
            raise _Unknown
        for base, read in _BASES:
            if isinstance(x, base):
                return read
        kind = type(x)
        if isinstance(x, tuple) and hasattr(kind, "_fields"):
            return _read_named
        frozen = getattr(kind, "__dataclass_params__", None)
        if frozen is not None and frozen.frozen:
            return _read_dataclass
        if hasattr(x, "__wrapped__") and _package(kind.__module__) in FIXED:  # jitted, custom_vjp
            return _read_wrapped
        by_value = kind.__hash__ not in (None, object.__hash__) and kind.__eq__ is not object.__eq__
        if by_value and _package(kind.__module__) in FIXED | VALUES:
            return _read_itself
        empty = _package(kind.__module__) in FIXED and getattr(x, "__dict__", None) == {}
        if empty or _package(kind.__module__) == "jaxlib":  # a sentinel, or a part of JAX
            return _read_ref
        raise _Unknown

    def again(self, x: Any) -> int | None:
        """Where `x` was met before, if it was."""
        if id(x) in self.seen:
            return self.seen[id(x)][0]
        self.seen[id(x)] = len(self.seen), x
        return None


def _read_itself(reader: _Reader, x: Any) -> Any:
    hash(x)
    return x


def _read_ref(reader: _Reader, x: Any) -> _Ref:
    return _Ref(x)


def _read_named(reader: _Reader, x: Any) -> tuple:
    return reader.one(type(x)), reader.many(x)


def _read_member(reader: _Reader, x: enum.Enum) -> tuple:
    return _Ref(x), reader.one(type(x))


def _read_dict(reader: _Reader, x: Any) -> tuple:
    return reader.many([part for pair in x.items() for part in pair])


def _read_default(reader: _Reader, x: defaultdict) -> tuple:
    return reader.one(x.default_factory), _read_dict(reader, x)


def _read_nothing(reader: _Reader, x: Any) -> None:
    """What only describes something else that is read as well."""


def _read_set(reader: _Reader, x: Any) -> frozenset:
    return frozenset(reader.many(x))


def _read_slice(reader: _Reader, x: slice) -> tuple:
    return reader.many((x.start, x.stop, x.step))


def _read_scalar(reader: _Reader, x: np.generic) -> tuple:
    if x.dtype.hasobject:
        raise _Unknown
    return x.dtype.str, x.tobytes()


def _read_numpy(reader: _Reader, x: np.ndarray) -> tuple:
    if x.dtype.hasobject or x.nbytes > LARGEST:
        raise _Unknown
    return x.dtype.str, x.shape, hashlib.sha256(x.tobytes()).digest()


_DIGESTS: dict[int, tuple[weakref.ref, bytes]] = {}  # of JAX arrays, which never change


def _read_jax(reader: _Reader, x: jax.Array) -> Any:
    key = jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
    if key or x.nbytes > LARGEST or x.is_deleted() or not x.is_fully_addressable:
        return _Ref(x)
    found = _DIGESTS.get(id(x))
    if found is None or found[0]() is not x:
        place = id(x)
        gone = weakref.ref(x, lambda _: _DIGESTS.pop(place, None))
        found = _DIGESTS[place] = gone, hashlib.sha256(np.asarray(x).tobytes()).digest()
    return x.dtype.name, x.weak_type, x.shape, x.sharding, found[1]


def _read_method(reader: _Reader, x: Any) -> tuple:
    return reader.many((x.__func__, x.__self__))


def _read_builtin(reader: _Reader, x: Any) -> Any:
    owner = x.__self__
    if owner is None or isinstance(owner, types.ModuleType):
        if x.__name__ in REACHING or _package(x.__module__) not in FIXED:
            raise _Unknown
        return _Ref(x)
    return x.__name__, reader.one(owner)


def _read_partial(reader: _Reader, x: functools.partial) -> tuple:
    return reader.many((x.func, x.args, x.keywords, vars(x)))


def _read_module(reader: _Reader, x: types.ModuleType) -> _Ref:
    """A module that is not only looked into: anything in it could be meant."""
    if _package(x.__name__) not in FIXED:
        raise _Unknown
    return _Ref(x)


def _read_wrapped(reader: _Reader, x: Any) -> tuple:
    """A jitted function, or one with a rule of its own for derivatives."""
    if isinstance(x, jax.stages.Wrapped):
        return _Ref(x), reader.one(vars(x)["__wrapped__"])
    rules = [value for name, value in vars(x).items() if not name.startswith("__")]
    return _Ref(x), reader.many(rules)


def _read_fields(reader: _Reader, x: Any) -> tuple:
    return reader.one(type(x)), reader.one(vars(x))


def _read_dataclass(reader: _Reader, x: Any) -> tuple:
    values = [getattr(x, field.name) for field in dataclasses.fields(x)]
    return reader.one(type(x)), reader.many(values)


def _read_code(reader: _Reader, x: types.CodeType) -> Any:
    return normal(x)


def _read_class(reader: _Reader, x: type) -> Any:
    """A class by identity; one that somebody may change at any time, with its methods too."""
    again = reader.again(x)
    if again is not None or _package(x.__module__) in FIXED:
        return _Ref(x)
    inside = tuple([entry for base in x.__mro__ for entry in _read_members(reader, base)])
    return _Ref(x), inside


def _read_members(reader: _Reader, x: type) -> Iterator[tuple[str, Any]]:
    """What a class says, without what Python and dataclasses write into it."""
    if _package(x.__module__) in FIXED:
        return
    for name, member in list(vars(x).items()):
        inner = getattr(member, "method", getattr(member, "__func__", member))
        inner = getattr(inner, "func", inner)  # of a cached property
        private = name.startswith(("__", "_abc_"))
        for part in (inner.fget, inner.fset) if isinstance(inner, property) else (inner,):
            if isinstance(part, types.FunctionType):
                home = _package(part.__globals__.get("__name__"))
                if part.__code__.co_filename != "<string>" and not (private and home in FIXED):
                    yield name, reader.one(part)
            elif not private and not isinstance(part, _DESCRIPTORS):
                yield name, reader.one(part)


def _read_function(reader: _Reader, f: types.FunctionType) -> Any:
    again = reader.again(f)
    if again is not None:
        return again
    code, fixed = f.__code__, _package(f.__globals__.get("__name__")) in FIXED
    if fixed and f.__closure__ is None and "<locals>" not in code.co_qualname:
        return _Ref(f)
    used = reads(code)
    if not fixed and not (used.known and all(_package(name) in FIXED for name in used.imports)):
        raise _Unknown
    more = {name: value for name, value in vars(f).items() if name not in _SAYING}
    found = [normal(code), *reader.many((f.__defaults__, f.__kwdefaults__, more))]
    for name, cell in zip(code.co_freevars, f.__closure__ or (), strict=True):
        try:
            value = cell.cell_contents
        except ValueError:  # nothing in it yet
            found.append((name, _Ref(cell)))
            continue
        if fixed and name in used.stored and type(value) in (int, float):
            found.append((name, float(value).hex()))  # optax's schedules turn theirs into these
            continue
        found.append((name, reader.one(value) if fixed else _read_name(reader, used, name, value)))
    for name in () if fixed else used.globals:
        known = f.__globals__ if name in f.__globals__ else vars(sys.modules["builtins"])
        if name in known:
            found.append((name, _read_name(reader, used, name, known[name])))
    return tuple(found)


def _read_name(reader: _Reader, used: Reads, name: str, value: Any) -> Any:
    """What a name stands for; of a module, only what is taken from it."""
    if name in used.written and type(value) in (int, float, list, dict, set, np.ndarray):
        return None
    if name in used.bumped and type(value).__setattr__ in _PLAIN:
        return None
    if name in used.stored:
        raise _Unknown
    if not isinstance(value, types.ModuleType):
        return reader.one(value)
    found = []
    for chain in used.chains[name]:
        inner: Any = value
        for place, attribute in enumerate(chain):
            if not isinstance(inner, types.ModuleType):
                break
            inner = getattr(inner, attribute, None)
            found.append(chain[: place + 1])
        found.append(reader.one(inner))
    return _Ref(value), tuple(found)


_SAYING = frozenset({"__annotations__", "__doc__", "_jit_info"})  # attributes that only describe
_PLAIN = (object.__setattr__, type.__setattr__, types.SimpleNamespace.__setattr__)
_DESCRIPTORS = (
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
    types.WrapperDescriptorType,
    types.MethodDescriptorType,
    types.ClassMethodDescriptorType,
    type(vars(namedtuple("_Row", ["field"]))["field"]),
)
READERS: dict[type, Callable[[_Reader, Any], Any]] = {
    tuple: _Reader.many,
    list: _Reader.many,
    dict: _read_dict,
    OrderedDict: _read_dict,
    types.MappingProxyType: _read_dict,
    defaultdict: _read_default,
    inspect.Signature: _read_nothing,
    set: _read_set,
    frozenset: _read_set,
    slice: _read_slice,
    np.ndarray: _read_numpy,
    types.FunctionType: _read_function,
    types.MethodType: _read_method,
    types.BuiltinFunctionType: _read_builtin,
    types.CodeType: _read_code,
    type(Ellipsis): _read_ref,
    type(NotImplemented): _read_ref,
    object: _read_ref,
    functools.partial: _read_partial,
    np.ufunc: _read_ref,
}
_BASES: tuple[tuple[Any, Callable[[_Reader, Any], Any]], ...] = (
    (type, _read_class),
    (types.ModuleType, _read_module),
    (jax.tree_util.Partial, _read_partial),
    (eqx.Module, _read_fields),
    (np.generic, _read_scalar),
    (jax.Array, _read_jax),
    (enum.Enum, _read_member),
    (jax.Device, _read_ref),
    (_DESCRIPTORS, _read_ref),
)
