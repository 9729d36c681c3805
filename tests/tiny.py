"""The smallest codec that still gives different codes for different sounds."""

import torch

from tests.sounds import tone
from vqaudio.codec.model import Codec
from vqaudio.config import CodecConfig, parse_section

TINY_CODEC = {
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


def tiny_codec(seed: int = 0) -> Codec:
    """A codec of two levels at 16 kHz, hops 256 and 64, with codebooks set from a few sounds."""
    torch.manual_seed(seed)
    codec = Codec(parse_section(CodecConfig, TINY_CODEC, "tests/tiny.py")).train()
    with torch.no_grad():
        codec(torch.stack([tone(0.512, seed=seed + n) for n in range(4)]))
    return codec.eval()
