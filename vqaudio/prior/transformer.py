"""A causal transformer over feature vectors: no vocabulary, no sounds.

Pre-normalization (Xiong et al. 2020, arXiv 2002.04745), RMSNorm (Zhang and Sennrich 2019, arXiv
1910.07467), rotary positions (Su et al. 2021, arXiv 2104.09864), SwiGLU (Shazeer 2020, arXiv
2002.05202).
"""

from collections.abc import Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Past(Protocol):
    """Keys and values of what a block has read."""

    def add(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Take new ones, `[B, heads, N, width]`; give all so far, and which of them each may see."""


class Attention(nn.Module):
    """Causal self-attention, `[B, N, D]` to the same."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_qkv = nn.Linear(width, 3 * width, bias=False)
        self.to_out = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, rotation: tuple[Tensor, Tensor], past: "Past | None" = None) -> Tensor:
        """Attend to what came before.

        Args:
            x: `[B, N, D]`.
            rotation: cosine and sine of their positions, each `[N, D / heads / 2]`, or
                `[B, 1, N, D / heads / 2]` where rows stand at different positions.
            past: what was read before; keys and values of `x` are added to it.
        """
        batch, length, _ = x.shape
        qkv = self.to_qkv(x).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        query, key, value = rotate(qkv[0], *rotation), rotate(qkv[1], *rotation), qkv[2]
        if past is None:
            out = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        else:
            key, value, mask = past.add(key, value)
            out = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return self.to_out(out.transpose(1, 2).reshape(batch, length, -1))


class FeedForward(nn.Module):
    """SwiGLU, `[..., D]` to the same."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        inner = -(-8 * width // 3 // 32) * 32
        self.to_gate_and_value = nn.Linear(width, 2 * inner, bias=False)
        self.to_out = nn.Linear(inner, width, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Each position by itself."""
        gate, value = self.to_gate_and_value(x).chunk(2, dim=-1)
        return self.to_out(self.dropout(F.silu(gate) * value))


class Block(nn.Module):
    """Attention, then a feed-forward layer, each added to what it reads."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention_norm = nn.RMSNorm(width, eps=1e-6)
        self.attention = Attention(width, heads)
        self.feed_forward_norm = nn.RMSNorm(width, eps=1e-6)
        self.feed_forward = FeedForward(width, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, rotation: tuple[Tensor, Tensor], past: "Past | None" = None) -> Tensor:
        """As in `Attention.forward`."""
        x = x + self.dropout(self.attention(self.attention_norm(x), rotation, past))
        return x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))


class Transformer(nn.Module):
    """A stack of causal blocks and a last norm, `[B, N, D]` to the same.

    Args:
        layers: blocks.
        width: D.
        heads: of attention; D is a multiple of twice this.
        dropout: share of activations dropped in training.
        context: positions that it can tell apart.
    """

    cosine: Tensor
    sine: Tensor

    def __init__(self, layers: int, width: int, heads: int, dropout: float, context: int) -> None:
        super().__init__()
        self.heads = heads
        self.head_width = width // heads
        blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(layers))
        self.blocks: Sequence[Block] = blocks  # type: ignore[assignment]
        self.norm = nn.RMSNorm(width, eps=1e-6)
        half = self.head_width // 2
        angles = torch.outer(torch.arange(context).float(), 10000.0 ** (-torch.arange(half) / half))
        self.register_buffer("cosine", angles.cos(), persistent=False)
        self.register_buffer("sine", angles.sin(), persistent=False)
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                # What is added to the residual stream starts small, the more so in a deep stack.
                scale = (2 * layers) ** -0.5 if "to_out" in name else 1.0
                nn.init.normal_(parameter, std=0.02 * scale)

    def forward(self, x: Tensor) -> Tensor:
        """Read whole sequences, `[B, N, D]`, from their start."""
        rotation = (self.cosine[: x.shape[1]], self.sine[: x.shape[1]])
        for block in self.blocks:
            x = block(x, rotation)
        return self.norm(x)


def rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Turn pairs of features by an angle that grows with the position.

    Args:
        x: `[B, heads, N, width]`.
        cosine: of the angles, `[N, width / 2]` or `[B, 1, N, width / 2]`.
        sine: likewise.
    """
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cosine - second * sine, second * cosine + first * sine], dim=-1)
