"""What a codec costs."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tests.models import tiny_codec, waveform_codec
from vqaudio.codec.model import Codec
from vqaudio.evaluation.cost import _decode, _encode, multiply_adds

CODECS = {
    "mel": lambda: tiny_codec("mel", "istft"),
    "waveform": waveform_codec,
    "upsample": lambda: tiny_codec("waveform", "upsample", levels=3),
    "independent": lambda: tiny_codec("mel", "istft", encoders="independent"),
}


@torch.no_grad()
def counted_by_torch(codec: Codec, run: object) -> float:
    """Multiply-adds of 64 coarse frames more, over the seconds that they last."""
    counts = []
    for frames in (64, 128):
        with FlopCounterMode(display=False) as counter:
            run(codec, frames)  # type: ignore[operator]
        counts.append(counter.get_total_flops() / 2)
    return (counts[1] - counts[0]) / (64 * codec.hops[0] / codec.sample_rate)


@pytest.mark.parametrize("kind", sorted(CODECS))
def test_multiply_adds_are_those_that_torch_counts(kind: str) -> None:
    codec = CODECS[kind]()
    encode, decode = multiply_adds(codec)
    assert encode == pytest.approx(counted_by_torch(codec, _encode), rel=1e-9)
    assert decode == pytest.approx(counted_by_torch(codec, _decode), rel=1e-9)


COST = """
import torch
from vqaudio.evaluation.cost import measure_cost
if __name__ == "__main__":
    cost = measure_cost("speech-16k", 0.05 * torch.randn(16000))
    print(cost.parameters, cost.encode_rtf > 0, cost.decode_rtf > 0, cost.peak_memory_bytes)
"""


def test_the_cost_of_the_shipped_codec(tmp_path: Path) -> None:
    script = tmp_path / "cost.py"
    script.write_text(COST)
    run = subprocess.run([sys.executable, script], check=True, capture_output=True, text=True)
    parameters, encoded, decoded, memory = run.stdout.split()
    assert (int(parameters), encoded, decoded) == (10_604_786, "True", "True")
    assert 2e8 < int(memory) < 3e9
