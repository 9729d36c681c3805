"""Continuous features to integers and back, a kind a file.

Every kind is a module with the same four members:

- `forward(x, quantize=True) -> Bottlenecked`: features to pass on, codes and losses, in training;
- `encode(x) -> codes`: `[B, D, F]` to int64 `[B, Q, F]`;
- `decode(codes) -> x`: back to `[B, D, F]`;
- `codebook_sizes`: the number of codes of each of its `Q` quantizers.
"""

from vqaudio.bottleneck.base import Bottleneck, Bottlenecked
from vqaudio.bottleneck.residual import ResidualQuantizer
from vqaudio.bottleneck.vector import VectorQuantizer
from vqaudio.config import ResidualBottleneck, VectorBottleneck

__all__ = ["Bottleneck", "Bottlenecked", "build_bottleneck"]


def build_bottleneck(config: VectorBottleneck | ResidualBottleneck) -> Bottleneck:
    """The bottleneck that a recipe's `kind:` names."""
    if isinstance(config, ResidualBottleneck):
        return ResidualQuantizer(
            config.codebook_size, config.quantizers, config.dim, config.decay, config.dropout
        )
    return VectorQuantizer(config.codebook_size, config.dim, config.decay)
