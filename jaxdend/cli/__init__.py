"""The command line, `jaxdend`: simulate a model file, fit one, or see the demonstration."""

from jaxdend.cli.app import app as app, main as main
