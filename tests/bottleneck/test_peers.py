"""The same indices as another implementation, vector-quantize-pytorch, of the same weights: exactly."""

import pytest
import torch
from torch import Tensor
from vector_quantize_pytorch import FSQ, LFQ, ResidualVQ, VectorQuantize

from vqaudio.bottleneck.residual import ResidualQuantizer
from vqaudio.bottleneck.scalar import FiniteScalarQuantizer, LookupFreeQuantizer
from vqaudio.bottleneck.vector import VectorQuantizer

VECTORS = 4096


def vectors(dim: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    """`[1, dim, VECTORS]`."""
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(1, dim, VECTORS, generator=generator)


def trained(quantizer: ResidualQuantizer, steps: int = 3) -> ResidualQuantizer:
    for step in range(steps):
        quantizer(vectors(quantizer.dim, 10 + step))
    return quantizer.eval()


def theirs(x: Tensor) -> Tensor:
    """Their layout: dimensions last."""
    return x.transpose(1, 2)


@pytest.mark.parametrize("codebook", ["average", "learned", "linear"])
@pytest.mark.parametrize(("size", "dim"), [(7, 3), (256, 8), (1000, 16)])
def test_one_codebook(codebook: str, size: int, dim: int) -> None:
    mine = trained(VectorQuantizer(size, dim, codebook=codebook))
    peer = VectorQuantize(dim, size, codebook_dim=dim).eval()
    peer._codebook.embed.data.copy_(mine.codebooks[0].centroids.detach()[None])
    x = vectors(dim)
    features, codes, _ = peer(theirs(x))
    assert torch.equal(mine.encode(x)[:, 0], codes)
    assert len(codes.unique()) > 0.8 * size
    torch.testing.assert_close(mine(x).features, theirs(features))


def test_one_codebook_by_angle() -> None:
    mine = trained(VectorQuantizer(200, 8, distance="cosine"))
    peer = VectorQuantize(8, 200, use_cosine_sim=True).eval()
    peer._codebook.embed.data.copy_(mine.codebooks[0].centroids.detach()[None])
    codes = peer(theirs(vectors(8)))[1]
    assert torch.equal(mine.encode(vectors(8))[:, 0], codes)
    assert len(codes.unique()) > 160


@pytest.mark.parametrize("stages", [2, 5])
def test_a_residual_stack(stages: int) -> None:
    mine = trained(ResidualQuantizer(128, stages, 6))
    peer = ResidualVQ(dim=6, num_quantizers=stages, codebook_size=128).eval()
    for layer, codebook in zip(peer.layers, mine.codebooks, strict=True):
        layer._codebook.embed.data.copy_(codebook.centroids[None])
    x = vectors(6)
    features, codes, _ = peer(theirs(x))
    assert torch.equal(mine.encode(x), theirs(codes))
    torch.testing.assert_close(mine(x).features, theirs(features), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "levels", [[3], [4], [5, 5, 5], [8, 8, 4], [8, 5, 5, 5], [7, 4, 3, 8, 6], [8] * 5, [16, 9, 3]]
)
def test_finite_scalars(levels: list[int]) -> None:
    mine, peer = FiniteScalarQuantizer(levels).eval(), FSQ(levels).eval()
    for scale in (0.3, 1.0, 4.0):
        x = vectors(len(levels), scale=scale)
        features, codes = peer(theirs(x))
        assert torch.equal(mine.encode(x)[:, 0], codes.long())
        assert torch.equal(mine.decode(mine.encode(x)), theirs(features))
        torch.testing.assert_close(mine(x).features, theirs(features))
    every = torch.arange(mine.codebook_sizes[0])
    assert torch.equal(mine.decode(every[None, None])[0].T, peer.indices_to_codes(every[None])[0])


@pytest.mark.parametrize("bits", [1, 6, 12])
@pytest.mark.parametrize("spherical", [False, True], ids=["lfq", "bsq"])
def test_signs(bits: int, spherical: bool) -> None:
    mine = LookupFreeQuantizer(bits, spherical).eval()
    peer = LFQ(dim=bits, codebook_size=2**bits, spherical=spherical).eval()
    x = vectors(bits)
    features, codes, _ = peer(theirs(x))
    assert torch.equal(mine.encode(x)[:, 0], codes.long())
    torch.testing.assert_close(mine.decode(mine.encode(x)), theirs(features))


@pytest.mark.parametrize("bits", [3, 8])
@pytest.mark.parametrize("spherical", [False, True], ids=["lfq", "bsq"])
def test_the_entropy_of_signs_where_all_bits_are_counted_together(bits: int, spherical: bool) -> None:
    mine = LookupFreeQuantizer(bits, spherical)
    peer = LFQ(dim=bits, codebook_size=2**bits, spherical=spherical)
    x = vectors(bits, scale=0.05)
    # their distance has the factor 2 of |x - c|^2, ours is all of it: the same inverse temperature
    _, entropies = peer(theirs(x), inv_temperature=10.0, return_loss_breakdown=True)
    expected = entropies.per_sample_entropy - entropies.batch_entropy
    torch.testing.assert_close(mine(x).losses["entropy"], expected, atol=1e-4, rtol=1e-3)
