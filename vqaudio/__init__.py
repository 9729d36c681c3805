"""vqaudio: VQ-VAE-2 for sound, from sound to integers at several time scales and back."""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Codec", "Codes", "Prior", "UserError", "load"]

if TYPE_CHECKING:
    from vqaudio.codec.model import Codec
    from vqaudio.codes import Codes
    from vqaudio.errors import UserError
    from vqaudio.model_folder import load
    from vqaudio.prior.model import Prior

_HOMES = {
    "Codec": "vqaudio.codec.model",
    "Codes": "vqaudio.codes",
    "Prior": "vqaudio.prior.model",
    "UserError": "vqaudio.errors",
    "load": "vqaudio.model_folder",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `import vqaudio` costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'vqaudio' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
