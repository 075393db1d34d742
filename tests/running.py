"""Runs without a progress bar, and their settings among the other options of a test."""

from jaxdend import Run

QUIET = Run(progress=False)


def in_a_run(options):
    """`options` for a fit: those that belong to its `Run` are put into one, by default quiet."""
    names = ("folder", "every", "resume", "progress")
    given = {"progress": False} | {k: v for k, v in options.items() if k in names}
    return {k: v for k, v in options.items() if k not in names} | {"run": Run(**given)}
