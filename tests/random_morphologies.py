"""Random morphology files, as text, for the tests that read them back or compare with NEURON."""

import numpy as np


def swc(seed: int, further_roots: bool = False, most: int = 25) -> str:
    """Samples of a soma of any shape, or of none, and a tree on it.

    Left out are branches from the first sample of a stem that has no chain to lead on, where
    NEURON 9 errs.
    """
    rng = np.random.default_rng(seed)
    n, soma = int(rng.integers(3, most)), int(rng.choice([0, 1, 1, 1, 3, 4]))
    rows: list[tuple] = []
    for i in range(n):
        parent = -1 if i == 0 else i - 1 if rng.random() < 0.6 else int(rng.integers(0, i))
        if i > max(soma, 1) and further_roots and rng.random() < 0.08:
            parent = -1
        if i < soma:
            kind, parent = 1, -1 if i == 0 else int(rng.integers(0, i))
        elif parent < 0 or rows[parent][0] == 1 or rng.random() < 0.1:
            kind = int(rng.choice([2, 3, 4]))
        else:
            kind = rows[parent][0]
        xyz = rng.normal(scale=10, size=3).round(3)
        rows.append((kind, *xyz, round(float(rng.uniform(0.2, 2)), 3), parent))
    if astray(rows):
        return swc(seed + 1_000_003, further_roots, most)
    return "".join(
        f"{i} {' '.join(map(str, row[:5]))} {row[5] + 1 if row[5] >= 0 else -1}\n"
        for i, row in enumerate(rows, 1)
    )


def astray(rows) -> bool:
    """Whether NEURON 9 runs a section through samples that are not its children."""
    kind, parent = [row[0] for row in rows], [row[5] for row in rows]
    for i, p in enumerate(parent):
        if p < 0 or p == i - 1:
            continue
        stem = p > 1 and kind[p] != 1 and kind[max(parent[p], 0)] == 1
        if (stem or (p == 0 and kind[0] != 1)) and parent[p + 1] != p:
            return True
    return False


def asc(seed: int) -> str:
    """A soma, one contour or a stack, and trees with all that such files hold."""
    rng = np.random.default_rng(seed)
    centre = rng.normal(scale=20, size=2)
    contours = [_contour(centre, 2.0 * i, rng) for i in range(int(rng.integers(1, 4)))]
    trees = [_tree(centre, rng) for _ in range(int(rng.integers(1, 5)))]
    first = int(rng.integers(0, len(trees) + 1))
    head = '; V3 text file\n(ImageCoords Filename "x.jpg" Merge 65535)\n'
    head += '("Outline" (Color Blue) (1 2 3) (4 5 6) (7 8 9))\n'
    return head + "".join([*trees[:first], *contours, *trees[first:]])


def _number(x: float, rng) -> str:
    text = f"{x:.3f}"
    short = text.startswith(("0.", "-0.")) and rng.random() < 0.5
    return text.replace("0.", ".", 1) if short else text


def _point(p, rng) -> str:
    between = ", " if rng.random() < 0.2 else " "
    text = f"({between.join(_number(x, rng) for x in p)}{' S1' if rng.random() < 0.05 else ''})"
    if rng.random() < 0.05:
        text += f" <({' '.join(_number(x, rng) for x in p)})>"
    return text + (" ; 3, 5" if rng.random() < 0.3 else "")


def _branch(start, rng, depth: int) -> str:
    out = [_point([*start, 1.0], rng)] if rng.random() < 0.15 else []
    p = start
    for _ in range(int(rng.integers(1, 4))):
        p = p + rng.normal(scale=8, size=3).round(3)
        out.append(_point([*p, rng.uniform(0.3, 2)], rng))
    if rng.random() < 0.1:
        out.append('(Dot (Color White) (Name "Marker 1") (1 2 3 .5))')
    if depth and rng.random() < 0.6:
        parts = (_branch(p, rng, depth - 1) for _ in range(int(rng.integers(2, 4))))
        out.append("(\n" + "\n|\n".join(parts) + "\n)")
    elif rng.random() < 0.5:
        out.append(str(rng.choice(["Normal", "High", "Incomplete", "Generated"])))
    return "\n".join(out)


def _tree(centre, rng) -> str:
    label = str(rng.choice(["(Axon)", "(Dendrite)", "(Apical)", "", "(Custom)"]))
    colour = str(rng.choice(["(Color Red)", "(Color RGB (128, 0, 64))"]))
    angle = rng.uniform(0, 2 * np.pi)
    start = np.array([centre[0] + 9 * np.cos(angle), centre[1] + 8 * np.sin(angle), 1.0]).round(3)
    return f"( {colour}\n{label}\n{_branch(start, rng, int(rng.integers(0, 4)))}\n) ; End of tree\n"


def _contour(centre, z: float, rng) -> str:
    n = int(rng.integers(5, 12))
    angle = (np.arange(n) + rng.uniform(0, 0.6, n)) * 2 * np.pi / n
    radius = 6 * rng.uniform(0.8, 1.2, n)
    points = "\n".join(
        f"({centre[0] + 1.5 * r * np.cos(a):.3f} {centre[1] + r * np.sin(a):.3f} {z:.3f} 0)"
        for r, a in zip(radius, angle, strict=True)
    )
    name = rng.choice(["CellBody", "Cell Body", "Soma"])
    return f'("{name}" (Color Red) (Closed)\n(CellBody)\n{points}\n) ; End\n'
