"""Programs that are made once for every function that provably computes the same.

JAX keeps a compiled program for a function *object*. A loss that a notebook cell defines again, or
a lambda written inside a loop, is another object each time and would be compiled each time.
`once` therefore compares what functions compute: their code, and everything that the code can
reach. What it does not understand it never shares: a compilation too many costs seconds, a stale
program costs a wrong number.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from jaxdend._fingerprint import READERS, fingerprint

_T = TypeVar("_T")
KEPT = 128  # programs at once


class _StandIn:
    """Calls the newest of the functions that a program serves.

    It is called while the program is traced. Should the function have changed since it was looked
    up, the program is dropped from those that are kept, so that nobody else is given it.
    """

    def __init__(self, key: Any, parts: tuple):
        self.key, self.parts, self.stale = key, parts, False

    def __call__(self, *args: Any, **named: Any) -> Any:
        if not self.stale and fingerprint(self.parts) != self.key:
            self.stale = True
            with _LOCK:
                _PROGRAMS.pop(self.key, None)
        return self.parts[1](*args, **named)


_PROGRAMS: OrderedDict[Any, tuple[_StandIn, Any]] = OrderedDict()
_LOCK = threading.RLock()


class Program(Generic[_T]):
    """`make(f, *options)`, made again only when `f` or the options have changed.

    **Arguments:** `make`, a function at the top level of a module; it is given a function that
    calls `f`, and must call that only while it is traced. `f` and `options` may be anything: where
    they are not understood (see `once`) this program is made once and shared with nobody.
    """

    def __init__(self, make: Callable[..., _T], f: Callable, *options: Any):
        self._parts = (make, f, *options)
        self._kept: tuple[Any, _StandIn, _T] | None = None  # key, stand-in, what was made
        self._own: list[_T] = []

    def get(self) -> _T:
        """What was made for `f` as it is now."""
        key = fingerprint(self._parts)
        if key is None:
            if not self._own:
                make, f, *options = self._parts
                self._own.append(make(_fresh(f), *options))
            return self._own[0]
        if self._kept is None or self._kept[0] != key or self._kept[1].stale:
            self._kept = (key, *self._shared(key))
        self._kept[1].parts = self._parts
        with _LOCK:
            _PROGRAMS.setdefault(key, self._kept[1:])
            _PROGRAMS.move_to_end(key)
            while len(_PROGRAMS) > KEPT:
                _PROGRAMS.popitem(last=False)
        return self._kept[2]

    def _shared(self, key: Any) -> tuple[_StandIn, _T]:
        with _LOCK:
            found = _PROGRAMS.get(key)
        if found is not None:
            return found
        make, _, *options = self._parts
        stand_in = _StandIn(key, self._parts)
        return stand_in, make(stand_in, *options)


def once(make: Callable[..., _T], f: Callable, *options: Any) -> _T:
    """`make(f, *options)`, the same object for all functions that provably compute the same.

    Two functions do if their code is the same, and so is what it reaches: defaults, closures,
    globals, functions that these call, attributes of modules. Numbers, strings, containers and
    arrays up to a megabyte count by their content at the time of the call; larger JAX arrays by
    identity; classes by identity too, and those that are not of JAX, numpy or this library with
    their methods. Tracers, objects that may change, such as those of an ordinary class, and code
    that reaches out in other ways (`exec`, writing to globals, imports) are not understood: then
    `make` is called each time. What a function only counts up or appends to, to tell how often it
    was traced, does not matter.
    """
    return Program(make, f, *options).get()


def same(f: Callable) -> Callable:
    """A function that computes what `f` does: the same object for all that provably do.

    As a static argument of a compiled function it lets a function that was defined again find the
    program of the one before. A function that is not understood (see `once`) is another one each
    time.
    """
    return once(_itself, f)


def understood(f: Callable) -> bool:
    """Whether it can be told which other functions compute what `f` does (see `once`)."""
    return fingerprint((_itself, f)) is not None


def _itself(f: Callable) -> Callable:
    return f


def _fresh(f: Callable) -> Callable:
    """`f` as an object of its own, for which JAX finds nothing traced from earlier states of it."""
    return lambda *args, **named: f(*args, **named)


READERS[_StandIn] = lambda reader, x: reader.many(x.parts)
READERS[Program] = lambda reader, x: reader.many(x._parts)
