"""What codes say: use of codebooks, bits, what levels share."""

import math

import numpy as np
import pytest
import torch

from vqaudio.codes import Codes
from vqaudio.evaluation.code_use import (
    agreement,
    codebook_use,
    entropy_bits_per_second,
    mutual_information,
    nominal_bits_per_second,
    shared_information,
)


def codes(coarse: list[int], fine: list[list[int]]) -> Codes:
    levels = [torch.tensor([coarse]), torch.tensor(fine)]
    return Codes(levels, num_samples=40 * len(coarse), sample_rate=8000, hops=[40, 20])


def test_codebook_use_counts_every_quantizer_over_all_sounds() -> None:
    sounds = [codes([0, 1], [[0, 0, 1, 1], [5, 5, 5, 5]]), codes([1, 0], [[2, 2, 3, 3], [5, 5, 5, 5]])]
    coarse, first, second = codebook_use(sounds, [[4], [8, 8]])
    assert [(u.level, u.quantizer, u.size, u.frames) for u in (coarse, first, second)] == [
        (0, 0, 4, 4),
        (1, 0, 8, 8),
        (1, 1, 8, 8),
    ]
    assert [u.used for u in (coarse, first, second)] == [2, 4, 1]
    assert [u.perplexity for u in (coarse, first, second)] == pytest.approx([2, 4, 1])
    # 4 coarse codes of 1 bit, 8 fine ones of 2 bits and 8 that are always the same, in 20 ms
    assert entropy_bits_per_second([coarse, first, second], 160 / 8000) == pytest.approx(20 / 0.02)


def test_codebook_use_of_skewed_codes_is_their_entropy() -> None:
    (use,) = codebook_use(
        [Codes([torch.tensor([[0, 0, 0, 1]])], num_samples=4, sample_rate=8000, hops=[1])], [[16]]
    )
    entropy = -(0.75 * math.log2(0.75) + 0.25 * math.log2(0.25))
    assert use.entropy_bits == pytest.approx(entropy)
    assert use.perplexity == pytest.approx(2**entropy)


def test_nominal_bits_per_second() -> None:
    # 50 frames a second of 10 bits, and 100 of two quantizers of 8 bits
    assert nominal_bits_per_second(16000, [320, 160], [[1024], [256, 256]]) == pytest.approx(2100)


def test_entropy_of_few_frames_is_corrected_upwards() -> None:
    generator = np.random.default_rng(0)
    plain, corrected = [], []
    for _ in range(20):
        row = torch.from_numpy(generator.integers(64, size=(1, 200)))
        (use,) = codebook_use([Codes([row], num_samples=200, sample_rate=8000, hops=[1])], [[64]])
        plain.append(use.entropy_bits)
        corrected.append(use.corrected_entropy_bits)
    assert np.mean(plain) < 5.8
    assert np.mean(corrected) == pytest.approx(6, abs=0.06)
    assert max(corrected) <= 6


def test_mutual_information_is_that_of_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    generator = np.random.default_rng(0)
    first = generator.integers(10, size=500)
    second = (first + generator.integers(3, size=500)) % 10
    want = metrics.mutual_info_score(first, second) / math.log(2)
    assert mutual_information(first, second) == pytest.approx(want, rel=1e-9)


def random_codes(shares: bool, frames: int = 3000) -> list[Codes]:
    """Two sounds of two levels, whose fine codes are those of the coarse level or not."""
    generator = torch.Generator().manual_seed(0)
    found = []
    for length in (frames, frames + 1):  # the last coarse frame has one fine frame only
        coarse = torch.randint(16, (1, -(-length // 2)), generator=generator)
        noise = torch.randint(16, (1, length), generator=generator)
        fine = coarse.repeat_interleave(2, dim=1)[:, :length] if shares else noise
        found.append(Codes([coarse, fine], num_samples=length, sample_rate=8000, hops=[2, 1]))
    return found


def test_levels_share_what_they_share_and_no_more() -> None:
    [all_of_it] = shared_information(random_codes(shares=True))
    assert (all_of_it.coarse, all_of_it.fine) == ((0, 0), (1, 0))
    assert all_of_it.plain == pytest.approx(4, abs=0.01)
    assert all_of_it.bits == pytest.approx(4, abs=0.1)
    [nothing] = shared_information(random_codes(shares=False))
    assert nothing.plain > 0.02  # few counts look like knowledge
    assert nothing.bits < 0.01


def test_agreement_is_the_share_of_equal_codes_over_all_codebooks() -> None:
    first = codes([0, 1], [[0, 0, 1, 1], [5, 5, 5, 5]])
    second = codes([0, 2], [[0, 0, 1, 1], [5, 6, 5, 6]])
    assert agreement(first, first) == 1
    assert agreement(first, second) == pytest.approx(7 / 10)
