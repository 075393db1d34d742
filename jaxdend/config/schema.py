"""What a key of a TOML table may hold, and errors that name the key at fault."""

import dataclasses
import difflib
import math
import sys
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from jaxdend._errors import ConfigError

Check = Callable[[Any], Any]  # value -> normalised value; raises ValueError("expected ...")
Table = dict[str, Any]

_MISSING = object()
_MOST = 2**53  # up to which floats, and JAX's seeds, hold whole numbers exactly
_LARGEST = int(sys.float_info.max)
_PLACE_KEYS = ("region", "distance", "section", "x", "xyz", "site")


@dataclasses.dataclass(frozen=True)
class Key:
    """A key of a table: how to check its value, and whether it may be left out."""

    check: Check
    default: Any = None  # `None` leaves the key out of the resolved table
    required: bool = False


@dataclasses.dataclass(frozen=True)
class Place:
    """Where in a configuration file we are: every error begins with it."""

    file: Path
    path: str = ""  # for example "[[insert]] 2"

    def within(self, path: str) -> "Place":
        """The place in the same file whose path is `path` inside this one."""
        return Place(self.file, path)

    def error(self, message: str) -> ConfigError:
        """A `ConfigError` that says in which file and at which key it happened."""
        return ConfigError(f"{self.file}: {self.path}: {message}".replace(": : ", ": "))


def read_toml(file: Path) -> Table:
    """The tables of a TOML file.

    **Raises:** `ConfigError` if the file is absent, is not UTF-8 or is not TOML (with the line).
    """
    place = Place(file)
    if "\0" in str(file):
        raise place.error("no file has a NUL in its name")
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise place.error("no such file") from None
    except OSError as error:
        raise place.error(f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise place.error("not a text file in UTF-8") from None
    except RecursionError:
        raise place.error("not read: its brackets are nested too deeply") from None
    except ValueError as error:  # TOML, and numbers of thousands of digits
        raise place.error(f"not valid TOML: {error}") from None


def check_table(place: Place, table: Any, keys: Mapping[str, Key]) -> Table:
    """Checks every value of `table` and fills in the defaults.

    **Raises:** `ConfigError` for an unknown key (naming the nearest one), a missing key or a value
    of the wrong type or range.
    """
    if not isinstance(table, dict):
        raise place.error(f"expected a table, got {_shown(table)}")
    for name in table:
        if name not in keys:
            raise place.error(f"unknown key {name!r}; {nearest(name, keys)}")
    out: Table = {}
    for name, key in keys.items():
        value = table.get(name, _MISSING)
        if value is _MISSING:
            if key.required:
                raise place.error(f"key {name!r} is missing")
            if key.default is not None:
                out[name] = key.default
            continue
        try:
            out[name] = key.check(value)
        except ValueError as error:
            raise place.error(f"{name}: {error}, got {_shown(value)}") from None
    return out


def check_tables(place: Place, value: Any) -> list[Any]:
    """An array of tables, such as `[[insert]]` writes; one table counts as an array of one."""
    if isinstance(value, dict):
        return [value]
    if not isinstance(value, list):
        raise place.error(f"expected an array of tables written {place.path}, got {_shown(value)}")
    return value


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint: the nearest known name, and all of them."""
    known = list(known)
    return f"{did_you_mean(name, known)}It takes {', '.join(known)}"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A question that names the nearest known name, whatever its case, or nothing."""
    by_lower = {candidate.lower(): candidate for candidate in known}
    close = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.5)
    return f"did you mean {by_lower[close[0]]!r}? " if close else ""


def number(
    unit: str = "", *, above: float = -math.inf, least: float = -math.inf, most: float = math.inf
) -> Check:
    """A finite number, greater than `above` and within `[least, most]`."""

    def check(value: Any) -> float:
        bounds = [f"> {above:g}"] if above > -math.inf else []
        bounds += [f">= {least:g}"] if least > -math.inf else []
        bounds += [f"<= {most:g}"] if most < math.inf else []
        wanted = " ".join(["expected a number", " and ".join(bounds)]).strip()
        wanted += f" in {unit}" if unit else ""
        if not _is_number(value) or not (value > above and least <= value <= most):
            raise ValueError(wanted)
        return value

    return check


def integer(*, least: int | None = None, most: int = _MOST) -> Check:
    """A check that a value is a whole number, at least `least` and at most `most`."""

    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError("expected a whole number")
        if least is not None and value < least:
            raise ValueError(f"expected a whole number >= {least}")
        if not -most <= value <= most:
            raise ValueError(f"expected a whole number <= {most}")
        return value

    return check


def flag() -> Check:
    """A check that a value of the file is true or false."""

    def check(value: Any) -> bool:
        if not isinstance(value, bool):
            raise ValueError("expected true or false")
        return value

    return check


def text(choices: Iterable[str] = ()) -> Check:
    """A string, one of `choices` if there are any."""
    allowed = tuple(choices)

    def check(value: Any) -> str:
        if not isinstance(value, str) or not value:
            raise ValueError("expected a text in quotes")
        if "\0" in value:
            raise ValueError("expected a text without NUL")
        if allowed and value not in allowed:
            raise ValueError(f"{did_you_mean(value, allowed)}expected one of {', '.join(allowed)}")
        return value

    return check


def number_or(*words: str, unit: str = "") -> Check:
    """A check that a value of the file is a finite number or one of `words`."""

    def check(value: Any) -> float | str:
        if value in words:
            return value
        if not _is_number(value):
            raise ValueError(f"expected a number in {unit} or one of {', '.join(words)}")
        return value

    return check


def numbers(unit: str = "", *, least: float = -math.inf) -> Check:
    """A finite number or (nested) list of them, each at least `least`."""
    one = number(unit, least=least)

    def check(value: Any) -> Any:
        if isinstance(value, list):
            if not value:
                raise ValueError("expected at least one number in the list")
            return [check(item) for item in value]
        return one(value)

    return check


def pair(*, ordered: bool = True) -> Check:
    """A check that a value is two finite numbers, the first less than the second if `ordered`."""

    def check(value: Any) -> list[float]:
        if not isinstance(value, list) or len(value) != 2 or not all(map(_is_number, value)):
            raise ValueError("expected two numbers, [low, high]")
        if ordered and value[0] >= value[1]:
            raise ValueError("expected [low, high] with low < high")
        return value

    return check


def names() -> Check:
    """A check that a value of the file is a name or a list of names."""

    def check(value: Any) -> list[str]:
        items = value if isinstance(value, list) else [value]
        if not items or not all(isinstance(item, str) for item in items):
            raise ValueError('expected a region or section such as "soma", or a list of them')
        return items

    return check


def places() -> Check:
    """A place such as `{region = "apical", distance = 300}`, or a list of them.

    A name alone, of a region or section, is short for `{region = name}`, and a whole number for
    `{site = number}`.
    """

    def one(value: Any) -> Table:
        if isinstance(value, str):
            return {"region": value}
        if isinstance(value, int) and not isinstance(value, bool):
            return {"site": value}
        wanted = 'a place such as "soma" or {region = "apical", distance = 300} '
        wanted += f"({'/'.join(_PLACE_KEYS)})"
        if not isinstance(value, dict) or not value:
            raise ValueError(f"expected {wanted}")
        for name, item in value.items():
            if name not in _PLACE_KEYS:
                raise ValueError(f"unknown key {name!r}; {nearest(name, _PLACE_KEYS)}")
            good = {
                "region": isinstance(item, str),
                "section": isinstance(item, str) or _is_whole(item),
                "site": _is_whole(item),
                "xyz": isinstance(item, list) and len(item) == 3 and all(map(_is_number, item)),
            }.get(name, _is_number(item))
            if not good:
                raise ValueError(f"{name} has a value of the wrong type; expected {wanted}")
        if "site" in value and len(value) > 1:
            raise ValueError("site is a compartment number and stands alone")
        return value

    def check(value: Any) -> list[Table]:
        items = value if isinstance(value, list) else [value]
        if not items:
            raise ValueError("expected at least one place")
        return [one(item) for item in items]

    return check


def _is_number(value: Any) -> bool:
    """Whether it is a finite number that a float can hold."""
    if isinstance(value, int):
        return not isinstance(value, bool) and abs(value) <= _LARGEST
    return isinstance(value, float) and math.isfinite(value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _MOST


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except ValueError:  # a whole number of thousands of digits
        text = "a number of too many digits"
    return text if len(text) <= 60 else text[:57] + "..."
