"""Sounds made on the spot."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

WavMaker = Callable[..., Path]


def tone(seconds: float = 0.3, sample_rate: int = 16000, channels: int = 1, seed: int = 0) -> Tensor:
    """A vowel-like buzz with some noise, float32 `[C, T]`, at most 0.5."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    pitch = 90 + 120 * rng.random((channels, 1))
    buzz = sum(np.sin(2 * np.pi * pitch * k * time) / k for k in range(1, 6))
    noise = rng.standard_normal((channels, len(time)))
    return torch.from_numpy((0.15 * buzz + 0.01 * noise).astype(np.float32)).clamp(-0.5, 0.5)


def speechlike(seconds: float, sample_rate: int, seed: int = 0) -> Tensor:
    """Noise in syllables: loud and quiet by turns, as STOI and mel bands want it."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(seconds * sample_rate)) / sample_rate
    tone = sum(
        np.sin(2 * np.pi * f * time + p) for f, p in zip((180, 540, 1300), (0, 1, 2), strict=True)
    )
    envelope = 0.05 + np.sin(2 * np.pi * 2 * time) ** 2
    return torch.from_numpy(0.1 * envelope * (tone + 0.3 * rng.standard_normal(len(time)))).float()
