"""Measured voltages and currents: what a recording is, and files of them."""

from jaxdend.recordings._files import read_recordings, write_recordings
from jaxdend.recordings._recording import Recording

__all__ = ["Recording", "read_recordings", "write_recordings"]
