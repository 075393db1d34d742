"""What the command line prints, and how it reports errors: one screen, no traceback."""

import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager

import typer
from jax.errors import JaxRuntimeError
from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from jaxdend._errors import SimulationError

# Names and paths are printed as they are: neither [b] nor :-) in them means anything.
OUT = Console(markup=False, emoji=False)
ERR = Console(markup=False, emoji=False, stderr=True)

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
    except (ValueError, OSError, ImportError, MemoryError) as error:
        show("Cannot do that", error)
        raise typer.Exit(USER_ERROR) from None
    except SimulationError as error:
        show("The simulation failed", error)
        raise typer.Exit(FAILED) from None
    except Exception as error:
        if isinstance(error, JaxRuntimeError) and "RESOURCE_EXHAUSTED" in str(error):
            show("Cannot do that", MemoryError(f"it takes more memory than there is: {error}"))
            raise typer.Exit(USER_ERROR) from None
        show(f"Unexpected {type(error).__name__} (JAXDEND_DEBUG=1 shows where)", error)
        raise typer.Exit(FAILED) from None


def say_command(console: Console, before: str, *words: object) -> None:
    """Print a command on one line, as a shell takes it, behind the text `before`."""
    command = shlex.join([str(word) for word in words])
    console.print(f"{before}{command}", highlight=False, soft_wrap=True)


def show(title: str, error: BaseException) -> None:
    """Show one panel on the standard error stream."""
    message = str(error) or type(error).__name__
    if len(message) > _LONGEST:
        message = message[:_LONGEST] + " …"
    ERR.print(Panel(Text(message), title=title, title_align="left", border_style="red"))
