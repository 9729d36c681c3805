"""Which model exactly: a hash of its weights and configuration."""

import hashlib
import json
from itertools import chain
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
    """What changes when a tensor of a module is written to or replaced; quickly found.

    A write through `tensor.data`, or to a tensor made in `torch.inference_mode`, does not show.
    """
    found: list[tuple[int, int]] = []
    parts: list[nn.Module | None] = [module]
    for part in parts:
        if part is not None:
            if part._parameters or part._buffers:
                tensors = chain(part._parameters.values(), part._buffers.values())
                found += [
                    (t.data_ptr(), 0 if t.is_inference() else t._version)
                    for t in tensors
                    if t is not None
                ]
            parts += part._modules.values()
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
