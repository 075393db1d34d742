"""What the command line prints, and how it reports errors: one screen, no traceback."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from jaxdend._errors import SimulationError

OUT = Console()
ERR = Console(stderr=True)

USER_ERROR, FAILED, INTERRUPTED = 2, 1, 130
_LONGEST = 1200  # characters of an error: one screen


@contextmanager
def explain() -> Iterator[None]:
    """Report errors on stderr and exit: 2 for a mistake in the input, 1 for a solve that failed.

    With `JAXDEND_DEBUG=1` in the environment they pass through with their traceback.
    """
    if os.environ.get("JAXDEND_DEBUG") == "1":
        yield
        return
    try:
        yield
    except (typer.Exit, typer.Abort):
        raise
    except KeyboardInterrupt:
        ERR.print("interrupted")
        raise typer.Exit(INTERRUPTED) from None
    except (ValueError, OSError, ImportError) as error:
        show("Cannot do that", error)
        raise typer.Exit(USER_ERROR) from None
    except SimulationError as error:
        show("The simulation failed", error)
        raise typer.Exit(FAILED) from None
    except Exception as error:
        show(f"Unexpected {type(error).__name__} (JAXDEND_DEBUG=1 shows where)", error)
        raise typer.Exit(FAILED) from None


def show(title: str, error: BaseException) -> None:
    """Show one panel on the standard error stream."""
    message = str(error) or type(error).__name__
    if len(message) > _LONGEST:
        message = message[:_LONGEST] + " …"
    ERR.print(Panel(Text(message), title=title, title_align="left", border_style="red"))
