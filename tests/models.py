"""Tiny models that the tests share."""

from typing import Any

import torch

from tests.sounds import tone
from vqaudio.codec.model import Codec
from vqaudio.config import CodecConfig, parse_section

FRONTS: dict[str, dict[str, Any]] = {
    "mel": {"kind": "mel", "hop": 40, "n_fft": 160, "bands": 20},
    "waveform": {"kind": "waveform", "strides": [4, 10], "channels": [8, 16]},
}
HEADS: dict[str, dict[str, Any]] = {
    "istft": {"kind": "istft", "hop": 40, "n_fft": 160, "channels": 24, "units": 1},
    "upsample": {"kind": "upsample", "strides": [10, 4], "channels": [16, 8]},
    "mel": {
        "kind": "mel", "hop": 40, "n_fft": 160, "bands": 20, "channels": 24, "units": 1, "iterations": 4,
    },
}  # fmt: skip
LEVELS: list[dict[str, Any]] = [
    {
        "hop": 320, "channels": 20, "encoder_units": 1, "decoder_units": 1,
        "bottleneck": {
            "kind": "residual", "codebook_size": 8, "quantizers": 2, "dim": 6, "dropout": 0.2,
        },
    },
    {
        "hop": 160, "channels": 16, "encoder_units": 1, "decoder_units": 1,
        "bottleneck": {"kind": "vector", "codebook_size": 12, "dim": 6},
    },
    {
        "hop": 80, "channels": 16, "encoder_units": 1, "decoder_units": 1,
        "bottleneck": {"kind": "residual", "codebook_size": 10, "quantizers": 3, "dim": 4},
    },
]  # fmt: skip

WAVEFORM_CODEC: dict[str, Any] = {
    "sample_rate": 16000,
    "front": {"kind": "waveform", "strides": [4, 16], "channels": [4, 8]},
    "levels": [
        {
            "hop": 256,
            "channels": 8,
            "encoder_units": 1,
            "decoder_units": 1,
            "bottleneck": {"kind": "vector", "codebook_size": 16, "dim": 4},
        },
        {
            "hop": 64,
            "channels": 8,
            "encoder_units": 1,
            "decoder_units": 1,
            "bottleneck": {"kind": "residual", "codebook_size": 8, "quantizers": 2, "dim": 4},
        },
    ],
    "head": {"kind": "istft", "hop": 64, "n_fft": 256, "channels": 8, "units": 1},
}


def codec_config(
    front: str = "mel",
    head: str = "istft",
    levels: int = 2,
    encoders: str = "shared",
    bottlenecks: dict[int, dict[str, Any]] | None = None,
) -> CodecConfig:
    """Of a codec at 8 kHz with hops of 320 (, 160 (, 80)) samples.

    Args:
        front: of FRONTS.
        head: of HEADS.
        levels: how many.
        encoders: shared or independent.
        bottlenecks: other sections for some levels.
    """
    sections = [
        {**level, "bottleneck": (bottlenecks or {}).get(index, level["bottleneck"])}
        for index, level in enumerate(LEVELS[:levels])
    ]
    return CodecConfig.model_validate(
        {
            "sample_rate": 8000,
            "front": FRONTS[front],
            "encoders": encoders,
            "levels": sections,
            "head": HEADS[head],
        }
    )


def tiny_codec(
    front: str = "mel",
    head: str = "istft",
    levels: int = 2,
    steps: int = 5,
    encoders: str = "shared",
    bottlenecks: dict[int, dict[str, Any]] | None = None,
) -> Codec:
    """A codec whose codebooks were set from, and followed, a few batches of noise of varying colour."""
    torch.manual_seed(0)
    codec = Codec(codec_config(front, head, levels, encoders, bottlenecks))
    with torch.no_grad():
        for _ in range(steps):
            codec(coloured_noise(4, 3200))
    return codec.eval()


def waveform_codec(seed: int = 0) -> Codec:
    """A codec of two levels at 16 kHz, hops 256 and 64, with codebooks set from a few sounds."""
    torch.manual_seed(seed)
    codec = Codec(parse_section(CodecConfig, WAVEFORM_CODEC, "tests/models.py")).train()
    with torch.no_grad():
        codec(torch.stack([tone(0.512, seed=seed + n) for n in range(4)]))
    return codec.eval()


def coloured_noise(batch: int, samples: int) -> torch.Tensor:
    """`[B, 1, T]`, with a loudness that changes: features that differ from frame to frame."""
    noise = torch.randn(batch, 1, samples)
    loudness = torch.nn.functional.interpolate(
        torch.randn(batch, 1, samples // 400 + 2), samples, mode="linear"
    )
    return (noise * torch.exp(loudness) * 0.05).clamp(-1, 1)
