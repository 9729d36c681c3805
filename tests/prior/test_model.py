"""A prior's probabilities: normalized, causal, and the same however they are computed."""

import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from vqaudio.codes import Codes, frames_for
from vqaudio.config import PriorConfig
from vqaudio.errors import UserError
from vqaudio.prior.layout import END
from vqaudio.prior.model import PAD, CodecSpec, Prior
from vqaudio.prior.sampler import Choice
from vqaudio.prior.transformer import Cache

pytestmark = pytest.mark.usefixtures("no_gradients")
SPEC = CodecSpec(8000, [8, 4, 2], [[5, 4], [7], [3, 6]], "abc")


@pytest.fixture
def no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def small_prior(labels: list[str] | None = None, context: int = 128, seed: int = 0) -> Prior:
    torch.manual_seed(seed)
    config = PriorConfig(layers=2, width=16, heads=2, dropout=0.2, context=context, labels=labels or [])
    prior = Prior(config, SPEC)
    with torch.no_grad():
        for parameter in prior.parameters():
            if parameter.ndim == 2:
                parameter.mul_(8)  # far from uniform, so that faults show
    return prior.eval()


def random_codes(num_samples: int, seed: int = 0, spec: CodecSpec = SPEC) -> Codes:
    generator = torch.Generator().manual_seed(seed)
    levels = [
        torch.stack(
            [torch.randint(0, k, (frames_for(num_samples, hop),), generator=generator) for k in sizes]
        )
        for sizes, hop in zip(spec.codebook_sizes, spec.hops, strict=True)
    ]
    return Codes(levels, num_samples, spec.sample_rate, spec.hops, spec.fingerprint)


def sequence(prior: Prior, codes: Codes) -> Tensor:
    return torch.cat([torch.tensor([END]), prior.layout.encode(codes)])


def test_a_sound_is_as_likely_in_a_padded_batch_as_alone() -> None:
    prior = small_prior(["a", "b"])
    sequences = [sequence(prior, random_codes(length, length)) for length in (1, 7, 30, 22)]
    labels = torch.tensor([0, 1, 2, 1])
    batch = torch.nn.utils.rnn.pad_sequence(sequences, batch_first=True, padding_value=PAD)
    together = prior(batch, labels)
    for row, (tokens, label) in enumerate(zip(sequences, labels, strict=True)):
        alone = prior(tokens[None], label[None])[0]
        assert torch.allclose(together[row, : len(alone)], alone, atol=1e-5)
        assert (together[row, len(alone) :] == 0).all()
    codes = random_codes(30, 30)
    assert prior.nll(codes, "b").bits == pytest.approx(float(together[2].sum()) / math.log(2), abs=1e-4)


def test_cached_logits_are_those_of_the_whole_sequence() -> None:
    prior = small_prior(["a", "b"])
    inputs = torch.stack([sequence(prior, random_codes(38, seed)) for seed in range(3)])[:, :-1]
    labels = torch.tensor([0, 1, 2])
    whole = prior.read(inputs, labels)
    cache = Cache(prior.transformer, 3, inputs.shape[1])
    steps = [5, 1, 1, 9, *[1] * (inputs.shape[1] - 16)]
    pieces = [prior.read(piece, labels, cache) for piece in inputs.split(steps, dim=1)]
    for position, hidden in enumerate(torch.cat(pieces, dim=1).unbind(dim=1)):
        slot = prior.layout.slot(position)
        expected = prior.logits(whole[:, position], slot)
        assert torch.allclose(prior.logits(hidden, slot), expected, atol=1e-4)


def test_what_may_come_has_probability_one_together() -> None:
    prior = small_prior()
    tokens = prior.layout.encode(random_codes(10, 3))
    for position in range(len(tokens)):
        slot = prior.layout.slot(position)
        may_come = [*range(slot.offset, slot.offset + slot.size)]
        may_come += [END] if prior.layout.may_end(position) else []
        prefix = torch.cat([torch.tensor([END]), tokens[:position]])
        rows = torch.stack([torch.cat([prefix, torch.tensor([token])]) for token in may_come])
        last = prior(rows, torch.zeros(len(rows), dtype=torch.int64))[:, -1]
        assert torch.exp(-last).sum().item() == pytest.approx(1, abs=1e-5)


def test_a_token_changes_nothing_before_it() -> None:
    prior = small_prior()
    tokens = sequence(prior, random_codes(32, 1))
    changed = tokens.clone()
    slot = prior.layout.slot(19)
    changed[20] = slot.offset + (changed[20] - slot.offset + 1) % slot.size
    labels = torch.zeros(1, dtype=torch.int64)
    before, after = prior(tokens[None], labels)[0], prior(changed[None], labels)[0]
    assert torch.equal(before[:19], after[:19])
    assert (before[19:] != after[19:]).all()


def test_the_label_matters_at_every_position() -> None:
    prior = small_prior(["a", "b"])
    codes = random_codes(40)
    bits = [prior.nll(codes, label).per_frame for label in (None, "a", "b")]
    assert (bits[0] != bits[1]).all()
    assert (bits[1] != bits[2]).all()


def test_bits_add_up_over_frames_and_seconds() -> None:
    prior = small_prior()
    codes = random_codes(37)
    nll = prior.nll(codes)
    assert nll.per_frame.shape == (5,)
    assert nll.per_frame.sum().item() == pytest.approx(nll.bits, rel=1e-5)
    assert nll.bits_per_second == pytest.approx(nll.bits / (37 / 8000))


def test_nll_uses_no_dropout_and_leaves_training_on() -> None:
    prior = small_prior().train()
    codes = random_codes(30)
    assert prior.nll(codes).bits == prior.nll(codes).bits
    assert prior.training


def test_a_sound_beyond_the_context_is_read_in_parts_that_each_count_once() -> None:
    spec = CodecSpec(8000, [4, 2], [[4], [4]])
    torch.manual_seed(0)
    prior = Prior(PriorConfig(layers=1, width=16, heads=2, context=24), spec).eval()
    with torch.no_grad():
        prior.transformer.blocks[0].attention.to_out.weight.zero_()  # each token by the one before
        for parameter in (prior.token_embedding.weight, prior.to_logits.weight):
            parameter.mul_(20)
    codes = random_codes(403, spec=spec)
    labels = torch.zeros(1, dtype=torch.int64)
    tokens = sequence(prior, codes)
    expected = torch.stack(
        [  # one token at a time: the part starts with a coarse frame, the token is its last
            prior(tokens[None, position // 3 * 3 : position + 2], labels)[0, -1]
            for position in range(len(tokens) - 1)
        ]
    )
    nll = prior.nll(codes)
    assert nll.bits == pytest.approx(expected.sum().item() / math.log(2), rel=1e-5)
    assert nll.per_frame[7].item() == pytest.approx(expected[21:24].sum().item() / math.log(2), rel=1e-4)


def test_unknown_labels_are_refused_by_name() -> None:
    codes = random_codes(9)
    with pytest.raises(UserError, match="unknown; this prior knows eight, nine"):
        small_prior(["eight", "nine"]).nll(codes, "ten")
    with pytest.raises(UserError, match="trained without labels"):
        small_prior().sample(label="eight")


def test_codes_of_another_codec_or_rate_are_refused() -> None:
    prior = small_prior()
    codes = random_codes(9)
    with pytest.raises(UserError, match="made by codec xyz"):
        prior.nll(Codes(codes.levels, 9, 8000, codes.hops, "xyz"))
    with pytest.raises(UserError, match="at 16000 Hz"):
        prior.nll(Codes(codes.levels, 9, 16000, codes.hops, "abc"))


def test_a_context_without_room_is_refused() -> None:
    with pytest.raises(UserError, match=r"prior\.context: 21 is too short"):
        small_prior(context=21)


def test_the_fingerprint_tells_weights_and_configurations_apart() -> None:
    prior = small_prior()
    assert prior.fingerprint == small_prior().fingerprint
    assert prior.fingerprint != small_prior(context=64).fingerprint
    with torch.no_grad():
        prior.slot_embedding.weight[0, 0] += 1e-3
    assert prior.fingerprint != small_prior().fingerprint


def test_choice_follows_the_probabilities() -> None:
    logits = torch.tensor([[0.1, 0.2, 0.4, 0.3]]).log().expand(1000, 4)
    uniform = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000

    def shares(choice: Choice) -> list[int]:
        return torch.bincount(choice(logits, uniform), minlength=4).tolist()

    assert shares(Choice()) == [100, 200, 400, 300]
    assert shares(Choice(temperature=0)) == [0, 0, 1000, 0]
    assert shares(Choice(top_k=1)) == [0, 0, 1000, 0]
    assert shares(Choice(top_p=0.65)) == pytest.approx([0, 0, 571, 429], abs=1)
    assert shares(Choice(top_k=3, top_p=0.7)) == pytest.approx([0, 0, 571, 429], abs=1)
    assert shares(Choice(top_p=1e-9)) == [0, 0, 1000, 0]
    cold = torch.tensor([0.01, 0.04, 0.16, 0.09]) / 0.3
    assert shares(Choice(temperature=0.5)) == pytest.approx((1000 * cold).tolist(), abs=1)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"temperature": -0.1}, "temperature -0.1: must be 0 or above"),
        ({"temperature": math.nan}, "temperature nan"),
        ({"top_k": -1}, "top_k -1"),
        ({"top_p": 0.0}, "top_p 0.0"),
        ({"top_p": 1.5}, "top_p 1.5"),
        ({"n": 0}, "n 0: must be at least 1"),
        ({"seconds": 0.0}, "seconds 0.0: must be above 0"),
        ({"seconds": 1.0}, "seconds 1: beyond the context of this prior; at most 0.01025"),
    ],
)
def test_impossible_samples_are_refused(choice: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        small_prior().sample(**choice)  # type: ignore[arg-type]


def test_a_long_sound_is_measured_through_the_smallest_context() -> None:
    cycle = len(small_prior().layout.slots)
    with pytest.raises(UserError, match=f"take {2 * cycle + 2} tokens"):
        small_prior(context=2 * cycle + 1)
    measured = small_prior(context=2 * cycle + 2).nll(random_codes(800))
    assert math.isfinite(measured.bits)
    assert measured.per_frame.min() > 0
