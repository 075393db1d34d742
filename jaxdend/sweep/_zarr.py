"""A folder of zarr arrays whose damaged files are named. Import it where zarr is needed."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from zarr.codecs import Crc32cCodec
from zarr.storage import LocalStore

from jaxdend._errors import SavedFileError

_CODEC: Any = Crc32cCodec()


class CheckedStore(LocalStore):
    """A local store that checks every chunk it reads, and says which file is damaged."""

    async def get(self, key: str, prototype: Any = None, byte_range: Any = None) -> Any:
        """The bytes of a file; `None` where it is missing, or a chunk is empty.

        **Raises:** `SavedFileError` for a chunk that is not as it was written.
        """
        found = await super().get(key, prototype, byte_range)
        if found is not None and byte_range is None and "/c/" in key:
            if len(found) == 0:
                return None
            try:
                await _CODEC.decode([(found, SimpleNamespace(prototype=prototype))])
            except ValueError as error:
                raise damaged(Path(self.root), Path(self.root) / key) from error
        return found


def damaged(store: Path, file: Path) -> SavedFileError:
    """The error of a damaged chunk."""
    return SavedFileError(
        f"{file} is damaged: its checksum is not that of what was written. Run the same sweep "
        f"again with verify=True (--resume --verify): it computes the damaged points of {store} "
        "again"
    )
