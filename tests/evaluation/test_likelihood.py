"""Bits of unseen codes."""

import pytest
import torch

from vqaudio.codes import Codes
from vqaudio.config import PriorConfig
from vqaudio.errors import UserError
from vqaudio.evaluation.likelihood import fit
from vqaudio.prior.model import CodecSpec, Prior

RATE = 8000


def test_a_prior_that_knows_nothing_needs_all_the_bits() -> None:
    spec = CodecSpec(RATE, [40, 20], [[16], [64, 64]])
    prior = Prior(PriorConfig(layers=1, width=16, heads=2, context=64), spec)
    torch.nn.init.zeros_(prior.stages[0].to_logits.weight)
    levels = [torch.zeros(1, 4, dtype=torch.int64), torch.zeros(2, 8, dtype=torch.int64)]
    codes = Codes(levels, num_samples=160, sample_rate=RATE, hops=[40, 20])
    found = fit(prior, [codes, codes])
    assert found.tokens == 2 * (4 + 16)
    assert found.nominal_bits_per_token == pytest.approx((4 * 4 + 16 * 6) / 20)
    assert 1 < found.share < 1.1  # the end costs something too
    assert found.bits_per_second == pytest.approx(found.bits_per_token * 20 / 0.02)
    with pytest.raises(UserError, match="no codes"):
        fit(prior, [], [])
