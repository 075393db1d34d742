"""The errors that jaxdend raises beyond `ValueError` and `TypeError`."""


class MorphologyError(ValueError):
    """A morphology file or tree that cannot be used: says the file, the line and the mend."""


class ConfigError(ValueError):
    """A model, fit or sweep file that cannot be used: names the file and the key at fault."""


class SimulationError(RuntimeError):
    """A solve that failed: says when, where on the cell and the likely cause."""


class RecordingError(ValueError):
    """A recording that cannot be used: names the file, and the line and column or the sweep."""


class SavedFileError(ValueError):
    """A file or store written by jaxdend that is damaged or something else: names its path."""
