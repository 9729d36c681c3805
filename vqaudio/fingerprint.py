"""Which model exactly: a hash of its weights and configuration."""

import hashlib
import json
from typing import Any
from weakref import WeakKeyDictionary

from torch import Tensor, nn

_known: "WeakKeyDictionary[nn.Module, tuple[list[tuple[int, int]], str]]" = WeakKeyDictionary()


def inference_state(module: nn.Module) -> dict[str, Tensor]:
    """The state of a model without what only training needs, which modules name in `training_only`."""
    spare = {
        f"{path}.{name}" if path else name
        for path, part in module.named_modules()
        for name in getattr(part, "training_only", ())
    }
    return {name: value for name, value in module.state_dict().items() if name not in spare}


def version(module: nn.Module) -> list[tuple[int, int]]:
    """What changes when a tensor of a module is written to or replaced; quickly found."""
    found: list[tuple[int, int]] = []
    parts = [module]
    for part in parts:
        for tensors in (part._parameters, part._buffers):
            found += [(t.data_ptr(), t._version) for t in tensors.values() if t is not None]
        parts += [child for child in part._modules.values() if child is not None]
    return found


def fingerprint(module: nn.Module, config: dict[str, Any]) -> str:
    """SHA-256 of a configuration and of the weights, in hexadecimal digits.

    It is computed anew only when a tensor was written to or replaced since the last call.
    """
    now = version(module)
    if module not in _known or _known[module][0] != now:
        state = inference_state(module)
        digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode())
        for name in sorted(state):
            digest.update(name.encode())
            digest.update(state[name].detach().cpu().contiguous().numpy().tobytes())
        _known[module] = (now, digest.hexdigest())
    return _known[module][1]
