"""Many sounds: manifests, tokenizing, token shards."""

import os
from typing import TYPE_CHECKING, Any

# Read by pyarrow when it loads: of all its allocators this one gives back what a long sound took.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")

__all__ = ["LengthBatches", "PackedTokens", "TokenDataset", "TokenRow", "collate"]

if TYPE_CHECKING:
    from vqaudio.corpus.batches import LengthBatches, collate
    from vqaudio.corpus.dataset import TokenDataset
    from vqaudio.corpus.packing import PackedTokens
    from vqaudio.corpus.shards import TokenRow

_HOMES = {
    "LengthBatches": "vqaudio.corpus.batches",
    "PackedTokens": "vqaudio.corpus.packing",
    "TokenDataset": "vqaudio.corpus.dataset",
    "TokenRow": "vqaudio.corpus.shards",
    "collate": "vqaudio.corpus.batches",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module 'vqaudio.corpus' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
