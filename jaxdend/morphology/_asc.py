"""Neurolucida ASC files, parsed as NEURON's Import3d parses them.

Parsed here and not by MorphIO, which leaves out trees whose label it does not know, and refuses
stacks of soma contours, numbers such as `.5`, and commas.
"""

import re
from typing import Any, TypeAlias

import numpy as np

from jaxdend._errors import MorphologyError
from jaxdend.morphology._drawn import Contour, Drawn, DrawnSection
from jaxdend.morphology._options import Options
from jaxdend.morphology._report import Notes
from jaxdend.morphology._source import Source

_TOKEN = re.compile(r'"[^"]*"|;[^\n]*|[()|<>,]|[^\s()|<>,;"]+|"')
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$")
_SOMA = re.compile(r"(cell ?body|soma)$", re.IGNORECASE)
KINDS = {"Axon": 2, "Dendrite": 3, "Apical": 4}
# properties of a tree that say nothing about its type
_OTHER = {"Color", "Name", "Closed", "FillDensity", "GUID", "MBFObjectType", "Resolution", "ZSmear"}

Node: TypeAlias = list[Any]  # of tokens (their numbers) and nodes, as the brackets nest


class _Parser:
    """The tokens of a file as nested lists, and errors that name the line."""

    def __init__(self, source: Source, notes: Notes):
        self.path = source.path
        self.notes = notes
        text = source.text
        found = [m for m in _TOKEN.finditer(text) if not m[0].startswith(";")]
        self.tokens = [m[0] for m in found]
        breaks = np.flatnonzero(np.frombuffer(text.encode("utf-32-le"), np.uint32) == 10)
        starts = np.array([m.start() for m in found], int)
        self.line = (np.searchsorted(breaks, starts) + 1).tolist()
        self.last_line = len(text.splitlines())
        self.contours: list[Contour] = []
        self.sections: list[DrawnSection] = []
        self.unknown: dict[str, list[int]] = {}  # labels that say no type -> lines

    def fail(self, line: int, reason: str, mend: str = "") -> MorphologyError:
        mend = mend or "The file may be cut off: each '(' needs its ')'. Export it again."
        return MorphologyError(
            f"{self.path}, line {line}: expected a complete ASC morphology, got: {reason}. {mend}"
        )

    def nested(self) -> Node:
        """All objects of the file, as the brackets nest."""
        top: Node = []
        open_, stack, opened = top, [], []
        for i, token in enumerate(self.tokens):
            if token == "(":
                stack.append(open_)
                opened.append(i)
                open_ = []
                stack[-1].append(open_)
                open_.append(i)
            elif token == ")":
                if not stack:
                    raise self.fail(self.line[i], "a ')' that closes nothing")
                open_ = stack.pop()
                opened.pop()
            elif token == '"':
                raise self.fail(self.line[i], "a '\"' that opens a text without an end")
            elif token != ",":
                open_.append(i)
        if stack:
            line = self.line[opened[-1]]
            raise self.fail(self.last_line, f"the end, while the '(' of line {line} is open")
        return top

    def objects(self, items: Node) -> None:
        """Read contours and trees among items; markers, texts and properties are passed over."""
        for item in items:
            if not isinstance(item, list):
                what = f"{self.tokens[item][:40]} outside any bracket"
                raise self.fail(self.line[item], what)
            first = self.first(item)
            if isinstance(first, list):
                self.tree(item)
            elif first == "Set":
                self.objects([x for x in item[1:] if isinstance(x, list)])
            elif first is not None and first.startswith('"'):
                self.contour(item, first.strip('"'))

    def first(self, node: Node) -> Any:
        """What a bracket begins with: a token, another bracket, or `None`."""
        if len(node) < 2:
            return None
        return node[1] if isinstance(node[1], list) else self.tokens[node[1]]

    def is_point(self, item: Any) -> bool:
        return isinstance(item, list) and _is_number(self.first(item))

    def point(self, node: Node) -> list[float]:
        """The x, y, z and diameter of a point; the last two may be missing, as in NEURON."""
        words = [x for x in node[1:] if not isinstance(x, list)]
        numbers = [float(self.tokens[i]) for i in words if _is_number(self.tokens[i])]
        if not 2 <= len(numbers) <= 4:
            raise self.fail(
                self.line[node[0]],
                f"a point of {len(numbers)} numbers",
                "A point is (x y z diameter). A decimal comma has to become a point.",
            )
        return numbers + [0.0] * (4 - len(numbers))

    def contour(self, node: Node, name: str) -> None:
        labels = [self.first(x) for x in node[2:] if isinstance(x, list)]
        if not _SOMA.match(name) and "CellBody" not in labels:
            return
        inside = [x for x in node[2:] if self.is_point(x)]
        points = np.array([self.point(x) for x in inside]).reshape(-1, 4)
        self.contours.append(Contour(points, [self.line[node[0]]]))

    def tree(self, node: Node) -> None:
        """Read a tree, branch by branch, each before those that hang on it."""
        kind = self.kind(node)
        if kind is None:
            return
        todo = [(node[1:], -1, self.line[node[0]])]
        while todo:
            items, parent, line = todo.pop()
            points, splits = self.branch(items)
            if points:
                at = [self.line[x[0]] for x in points]
                rows = np.array([self.point(x) for x in points])
                self.sections.append(DrawnSection(rows, at, parent, kind))
                parent = len(self.sections) - 1
            else:
                self.notes.note("a branch without points is passed over.", [line])
            for split in reversed(splits):
                todo.extend((part, parent, self.line[split[0]]) for part in self.parts(split)[::-1])

    def parts(self, node: Node) -> list[Node]:
        """The branches of a fork, which '|' divides."""
        out: list[Node] = [[]]
        for item in node[1:]:
            if not isinstance(item, list) and self.tokens[item] == "|":
                out.append([])
            else:
                out[-1].append(item)
        return out

    def branch(self, items: Node) -> tuple[list[Node], list[Node]]:
        """The points and the forks of a branch; markers, spines and labels are passed over."""
        points, forks, spine = [], [], 0
        for item in items:
            if not isinstance(item, list):
                token = self.tokens[item]
                spine += (token == "<") - (token == ">")
                if token == "|" or _is_number(token):
                    raise self.fail(self.line[item], f"{token} where a point or branch should be")
            elif spine:
                continue
            elif self.is_point(item):
                if forks:
                    raise self.fail(self.line[item[0]], "a point behind the fork of its branch")
                points.append(item)
            elif isinstance(self.first(item), list) or self.divided(item):
                forks.append(item)
        return points, forks

    def divided(self, node: Node) -> bool:
        return any(not isinstance(x, list) and self.tokens[x] == "|" for x in node)

    def kind(self, node: Node) -> int | None:
        """The type of a tree by its label; `None` for what is a text or the contour of a soma."""
        words = [self.tokens[x] for x in node[1:] if not isinstance(x, list)]
        lists = [x for x in node[1:] if isinstance(x, list)]
        points = [self.point(x) for x in lists if self.is_point(x)]
        if len(points) == 1 and any(word.startswith('"') for word in words):
            return None
        labels = [self.first(x) for x in lists if not self.is_point(x)]
        labels = [x for x in labels if isinstance(x, str) and x not in _OTHER]
        if "CellBody" in labels:
            self.contours.append(Contour(np.array(points).reshape(-1, 4), [self.line[node[0]]]))
            return None
        known = [KINDS[x] for x in labels if x in KINDS]
        if known:
            return known[-1]
        label = f"({labels[0]})" if labels else "no label"
        self.unknown.setdefault(label, []).append(self.line[node[0]])
        return 0


def read_asc(source: Source, asked: Options, notes: Notes) -> Drawn:
    """The contours and trees of an ASC file.

    Trees whose label is neither Axon, Dendrite nor Apical get type 0, as in NEURON, with a doubt.

    **Raises:** `MorphologyError` with file, line, what was expected and what to do.
    """
    parser = _Parser(source, notes)
    parser.objects(parser.nested())
    for label, lines in parser.unknown.items():
        if 0 in asked.types:
            notes.note(f"{len(lines)} trees with {label} get the type that types= says.", lines)
            continue
        glia = " Glia is no part of a neuron's cable: leave it out." if "lia" in label else ""
        notes.doubt(
            f"{len(lines)} tree{'s' if len(lines) > 1 else ''} with {label}, which names none of "
            f"{', '.join(f'({x})' for x in KINDS)}, read as SWC type 0, as in NEURON.",
            f"Say what they are: correct the label, or give types={{0: 'basal'}}.{glia}",
            lines,
        )
    return Drawn(parser.contours, parser.sections, "CellBody contour")


def _is_number(token: Any) -> bool:
    return isinstance(token, str) and _NUMBER.match(token) is not None
