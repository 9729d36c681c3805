"""Continuous features to integers and back, a kind a file.

Every kind is a module with the same members:

- `forward(x, quantize=True) -> Bottlenecked`: features, codes, losses, health, in training;
- `encode(x) -> codes`: `[B, inputs, F]` to int64 `[B, Q, F]`;
- `decode(codes) -> x`: back to `[B, dim, F]`;
- `codebook_sizes`: the number of codes of each of its `Q` quantizers; none where it is continuous.
"""

from vqaudio import config
from vqaudio.bottleneck.base import Bottleneck, Bottlenecked
from vqaudio.bottleneck.gaussian import Gaussian
from vqaudio.bottleneck.grouped import GroupedResidualQuantizer
from vqaudio.bottleneck.gumbel import GumbelQuantizer
from vqaudio.bottleneck.residual import ResidualQuantizer
from vqaudio.bottleneck.scalar import FiniteScalarQuantizer, LookupFreeQuantizer
from vqaudio.bottleneck.vector import VectorQuantizer

__all__ = ["Bottleneck", "Bottlenecked", "build_bottleneck"]


def build_bottleneck(section: config.Bottleneck) -> Bottleneck:
    """The bottleneck that a recipe's `kind:` names."""
    match section:
        case config.GaussianBottleneck(dim=dim, beta=beta):
            return Gaussian(dim, beta, section.anneal_steps, section.free_bits, section.bits)
        case config.VectorBottleneck(dim=dim, decay=decay):
            return VectorQuantizer(
                section.size, dim, decay, section.codebook, section.distance, section.gradient
            )
        case config.GroupedResidualBottleneck(dim=dim, decay=decay):
            return GroupedResidualQuantizer(
                section.size, section.quantizers, section.groups, dim, decay,
                section.dropout, section.codebook, section.gradient,
            )  # fmt: skip
        case config.ResidualBottleneck(dim=dim, decay=decay):
            return ResidualQuantizer(
                section.size, section.quantizers, dim, decay,
                section.dropout, section.codebook, section.gradient,
                default=section.default_quantizers,
            )  # fmt: skip
        case config.ScalarBottleneck(method="fsq", sizes=sizes):
            return FiniteScalarQuantizer(sizes)
        case config.ScalarBottleneck(method=method, sizes=sizes):
            return LookupFreeQuantizer(len(sizes), spherical=method == "bsq")
        case config.GumbelBottleneck():
            return GumbelQuantizer(
                section.size, section.dim, section.temperature, section.final_temperature,
                section.anneal_steps, section.beta, section.decay,
            )  # fmt: skip
