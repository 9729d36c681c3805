"""EnCodec, DAC, SNAC and Mimi at their published shapes, with random weights, as encoders on a CPU."""

from collections.abc import Callable
from typing import Any

import torch
from snac import SNAC
from transformers import DacConfig, DacModel, EncodecConfig, EncodecModel, MimiConfig, MimiModel

Encoder = Callable[[torch.Tensor], Any]


def peers() -> dict[str, tuple[int, Encoder]]:
    """By name, the sample rate and the encoder, which takes `[1, 1, T]` at that rate.

    EnCodec is the 24 kHz model at 6 kbit/s, DAC that for 16 kHz, SNAC that for 24 kHz; Mimi makes 8
    codes a frame.
    """
    torch.manual_seed(0)
    encodec = EncodecModel(EncodecConfig()).eval()
    dac = DacModel(DacConfig()).eval()
    mimi = MimiModel(MimiConfig()).eval()
    snac = SNAC(
        sampling_rate=24000,
        encoder_dim=48,
        encoder_rates=[2, 4, 8, 8],
        decoder_dim=1024,
        decoder_rates=[8, 8, 4, 2],
        attn_window_size=None,
        vq_strides=[4, 2, 1],
    ).eval()
    return {
        "EnCodec": (24000, torch.inference_mode()(lambda x: encodec.encode(x, bandwidth=6.0))),
        "DAC": (16000, torch.inference_mode()(lambda x: dac.encode(x))),
        "SNAC": (24000, torch.inference_mode()(lambda x: snac.encode(x))),
        "Mimi": (24000, torch.inference_mode()(lambda x: mimi.encode(x, num_quantizers=8))),
    }
