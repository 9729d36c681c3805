"""The two ways to sample that prior.py compares with: transformers' `generate`, and gpt-fast's method.

The second is written plainly after gpt-fast's description: one compiled function for one token, a
preallocated cache, a fixed mask, and, by choice, weights in int8 that are widened inside the product.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

LAYERS, WIDTH, HEADS, INNER, VOCABULARY = 8, 384, 6, 1024, 4160


def generate(model: LlamaForCausalLM, batch: int, tokens: int) -> None:
    """Sample by transformers."""
    start = torch.zeros(batch, 1, dtype=torch.int64)
    model.generate(
        start,
        attention_mask=torch.ones_like(start),
        max_new_tokens=tokens,
        min_new_tokens=tokens,
        do_sample=True,
        top_k=0,
        pad_token_id=0,
    )


def llama(positions: int) -> LlamaForCausalLM:
    """Transformers' model of the shape that is compared."""
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=INNER,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        max_position_embeddings=positions + 1,
    )
    return LlamaForCausalLM(config).eval()


class Int8Linear(nn.Module):
    """A matrix in int8, a scale an output."""

    def __init__(self, outputs: int, inputs: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.randint(-127, 128, (outputs, inputs), dtype=torch.int8))
        self.register_buffer("scale", torch.full((outputs,), 1e-3))

    def forward(self, x: Tensor) -> Tensor:
        """`[..., inputs]` to `[..., outputs]`."""
        return F.linear(x, self.weight.to(x.dtype)) * self.scale


class PlainLlama(nn.Module):
    """One token at a time, for `torch.compile`."""

    def __init__(self, batch: int, positions: int, int8: bool) -> None:
        super().__init__()

        def linear(outputs: int, inputs: int) -> nn.Module:
            return Int8Linear(outputs, inputs) if int8 else nn.Linear(inputs, outputs, bias=False)

        self.embedding = nn.Embedding(VOCABULARY, WIDTH)
        self.layers = nn.ModuleList(
            nn.ModuleDict(
                {
                    "norm_1": nn.RMSNorm(WIDTH),
                    "norm_2": nn.RMSNorm(WIDTH),
                    "qkv": linear(3 * WIDTH, WIDTH),
                    "out": linear(WIDTH, WIDTH),
                    "gate_up": linear(2 * INNER, WIDTH),
                    "down": linear(WIDTH, INNER),
                }
            )
            for _ in range(LAYERS)
        )
        self.norm, self.head = nn.RMSNorm(WIDTH), linear(VOCABULARY, WIDTH)
        each = WIDTH // HEADS
        self.register_buffer("cache", torch.zeros(LAYERS, 2, batch, HEADS, positions, each))
        angles = torch.outer(torch.arange(positions), 1e4 ** (-torch.arange(0, each, 2) / each))
        self.register_buffer("turn", torch.stack([angles.cos(), angles.sin()]))
        self.register_buffer("positions", torch.arange(positions))

    def forward(self, token: Tensor, position: Tensor) -> Tensor:
        """Logits `[B, V]` after token `[B]` at position `[1]`."""
        x = self.embedding(token)
        mask = (self.positions <= position)[None, None, None]
        cosine, sine = self.turn[:, position]
        for layer, past in zip(self.layers, self.cache, strict=True):
            qkv = layer["qkv"](layer["norm_1"](x)).view(len(x), 3, HEADS, 1, -1)
            query, key = (self._rotate(qkv[:, i], cosine, sine) for i in (0, 1))
            past[0].index_copy_(2, position, key)
            past[1].index_copy_(2, position, qkv[:, 2])
            out = F.scaled_dot_product_attention(query, past[0], past[1], attn_mask=mask)
            x = x + layer["out"](out.reshape(len(x), WIDTH))
            gate, up = layer["gate_up"](layer["norm_2"](x)).chunk(2, dim=-1)
            x = x + layer["down"](F.silu(gate) * up)
        return self.head(self.norm(x))

    @staticmethod
    def _rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        first, second = x.chunk(2, dim=-1)
        return torch.cat([first * cosine - second * sine, second * cosine + first * sine], dim=-1)

    def sample(self, tokens: int) -> None:
        """Sample by chance, a compiled call a token."""
        token = torch.zeros(self.cache.shape[2], dtype=torch.int64)
        for position in range(tokens):
            logits = self.step(token, torch.tensor([position]))
            token = torch.multinomial(logits.softmax(dim=-1), 1)[:, 0]

    def compile_step(self) -> None:
        """Compile the call of one token; takes a minute."""
        self.step = torch.compile(self, fullgraph=True)
