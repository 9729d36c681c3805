"""A prior's probabilities: normalized, causal, and the same however they are computed."""

import math
from collections import Counter
from collections.abc import Iterator

import pytest
import torch

from tests.prior.priors import LAYOUTS, nats, random_codes, small_prior
from vqaudio.codes import Codes
from vqaudio.errors import UserError
from vqaudio.prior.conditions import Conditions, conditions_of
from vqaudio.prior.layout import FIRST_END, PAD
from vqaudio.prior.model import CodecSpec
from vqaudio.prior.stage import batch_of

every_layout = pytest.mark.parametrize("layout", LAYOUTS)
CONDITIONS = {"labels": ["a", "b"], "speakers": ["x"], "text_bytes": 12}


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


@every_layout
def test_a_sound_is_as_likely_in_a_padded_batch_as_alone(layout: str) -> None:
    prior = small_prior(layout, **CONDITIONS)
    sounds = [random_codes(length, length) for length in (1, 7, 30, 22)]
    labels, speakers, texts = [None, "a", "b", "a"], ["x", None, "x", None], ["hi", None, "you", "zoë"]
    together = nats(prior, sounds, conditions_of(prior.config, labels, speakers, texts))
    for row, codes in enumerate(sounds):
        said = prior.conditions(labels[row], speakers[row], texts[row])
        total = 0.0
        for batch, alone in zip(together, nats(prior, [codes], said), strict=True):
            length = alone.shape[1]
            assert torch.allclose(batch[row, :length], alone[0], atol=1e-4)
            assert (batch[row, length:] == 0).all()
            total += float(alone.sum())
        bits = prior.nll(codes, labels[row], speakers[row], texts[row]).bits
        assert bits == pytest.approx(total / math.log(2), rel=1e-5)


@every_layout
def test_what_may_come_has_probability_one_together(layout: str) -> None:
    prior = small_prior(layout)
    codes = random_codes(10, 3)
    for stage in prior.stages:
        above = prior.above(stage, codes)
        tokens = stage.tokens(stage.layout.encode(codes))
        for step in range(len(tokens) - 1):
            for slot in stage.layout.steps[step % stage.layout.cycle]:
                if tokens[step + 1, slot.column] == PAD:
                    continue
                may_come = [*range(slot.offset, slot.offset + slot.size)]
                may_come += [FIRST_END + end for end in range(len(slot.ends)) if step]
                passages = []
                for token in may_come:
                    other = tokens[: step + 2].clone()
                    other[step + 1, slot.column] = token
                    passages.append(stage.passage(other, 0, step + 1, above))
                said = conditions_of(prior.config, *[[None] * len(may_come)] * 3)
                last = stage(batch_of(passages), said)[0][:, -1, slot.column]
                assert torch.exp(-last).sum().item() == pytest.approx(1, abs=1e-5)


@every_layout
def test_a_token_changes_nothing_before_it_nor_beside_it(layout: str) -> None:
    prior = small_prior(layout)
    codes = random_codes(32, 1)
    said = prior.conditions()
    for stage in prior.stages:
        above = prior.above(stage, codes)
        tokens = stage.tokens(stage.layout.encode(codes))
        step = stage.layout.cycle
        slot = stage.layout.steps[0][0]
        changed = tokens.clone()
        changed[step + 1, slot.column] = (
            slot.offset + (changed[step + 1, slot.column] - slot.offset + 1) % slot.size
        )
        before, after = (
            stage(batch_of([stage.passage(grid, 0, len(grid) - 1, above)]), said)[0][0]
            for grid in (tokens, changed)
        )
        assert torch.equal(before[:step], after[:step])
        beside = [column for column in range(stage.layout.columns) if column != slot.column]
        assert torch.equal(before[step, beside], after[step, beside])
        rest = tokens[step + 2 :] != PAD
        assert (before[step + 1 :][rest] != after[step + 1 :][rest]).float().mean() > 0.9


@every_layout
@pytest.mark.parametrize(
    "condition", [{"label": "a"}, {"label": "b"}, {"speaker": "x"}, {"text": "abc"}]
)
def test_conditions_matter_at_every_moment(layout: str, condition: dict[str, str]) -> None:
    prior = small_prior(layout, **CONDITIONS)
    codes = random_codes(40)
    free, said = prior.nll(codes).per_frame, prior.nll(codes, **condition).per_frame
    assert (free != said).all()


@every_layout
def test_bits_add_up_over_frames_and_seconds(layout: str) -> None:
    prior = small_prior(layout)
    nll = prior.nll(random_codes(37))
    assert nll.per_frame.shape == (5,)
    assert nll.per_frame.min() > 0
    assert nll.per_frame.sum().item() == pytest.approx(nll.bits, rel=1e-5)
    assert nll.bits_per_second == pytest.approx(nll.bits / (37 / 8000))


def test_nll_uses_no_dropout_and_leaves_training_on() -> None:
    prior = small_prior().train()
    codes = random_codes(30)
    assert prior.nll(codes).bits == prior.nll(codes).bits
    assert prior.training


def test_conditions_are_left_out_together_and_each_by_itself() -> None:
    torch.manual_seed(0)
    number = 20000
    three = Conditions(torch.ones(number).long(), torch.full((number,), 2), torch.full((number, 3), 65))

    def told(conditions: Conditions) -> Counter[tuple[bool, bool, bool]]:
        found = torch.stack(
            [conditions.label > 0, conditions.speaker > 0, conditions.text_lengths > 0], dim=1
        )
        return Counter(map(tuple, found.tolist()))

    shares = {which: count / number for which, count in told(three.dropped(0.1)).items()}
    assert shares[False, False, False] == pytest.approx(0.1 + 0.9 * 0.1**3, abs=0.01)
    assert shares[True, True, True] == pytest.approx(0.9**4, abs=0.01)
    assert shares[False, True, True] == pytest.approx(0.9**3 * 0.1, abs=0.01)
    only = Conditions(torch.ones(number).long(), torch.zeros(number).long(), torch.zeros(number, 0))
    shares = {which: count / number for which, count in told(only.dropped(0.1)).items()}
    assert shares[False, False, False] == pytest.approx(0.1, abs=0.01)
    assert told(three.dropped(0)) == {(True, True, True): number}


@every_layout
def test_a_sound_beyond_the_context_is_read_in_parts_that_each_count_once(layout: str) -> None:
    spec = CodecSpec(8000, [4, 2], [[4], [4]])
    prior = small_prior(layout, context=24, layers=1, spec=spec)
    for stage in prior.stages:
        stage.transformer.blocks[0].attention.to_out.weight.zero_()  # each row by the one before
    codes = random_codes(403, spec=spec)
    long = small_prior(layout, context=1024, layers=1, spec=spec)
    for stage in long.stages:
        stage.transformer.blocks[0].attention.to_out.weight.zero_()
    long.load_state_dict(prior.state_dict())
    assert torch.allclose(prior.nll(codes).per_frame, long.nll(codes).per_frame, atol=1e-3)
    with pytest.raises(UserError, match="beyond"):
        prior.sample(seconds=1.0)


def test_windows_leave_at_least_almost_half_the_room() -> None:
    stage = small_prior().stages[0]
    cycle = stage.layout.cycle
    for room in (2 * cycle, 40, 41, 100):
        for step in range(400):
            start = stage.window(step, room)
            assert start % cycle == 0
            assert start <= step < start + room
            assert start == 0 or step - start >= room // 2
            assert start == 0 or step - start > room // 2 - cycle


def test_unknown_names_and_unread_text_are_refused() -> None:
    codes = random_codes(9)
    knowing = small_prior(labels=["eight", "nine"], speakers=["jo", "mo"], text_bytes=4)
    with pytest.raises(UserError, match="label ten: unknown; this prior knows eight, nine"):
        knowing.nll(codes, "ten")
    with pytest.raises(UserError, match="speaker ho: unknown; this prior knows jo, mo"):
        knowing.sample(speaker="ho")
    with pytest.raises(UserError, match="5 bytes, but this prior reads 4"):
        knowing.sample(text="hallo")
    with pytest.raises(UserError, match="text: is empty"):
        knowing.sample(text="")
    for condition in ("label", "speaker", "text"):
        with pytest.raises(UserError, match=f"{condition}.*: this prior was trained without"):
            small_prior().sample(**{condition: "eight"})  # type: ignore[misc]


def test_codes_of_another_codec_or_rate_are_refused() -> None:
    prior = small_prior()
    codes = random_codes(9)
    other = Codes(codes.levels, 9, 8000, codes.hops, "xyz")
    with pytest.raises(UserError, match="made by codec xyz"):
        prior.nll(other)
    with pytest.raises(UserError, match="made by codec xyz"):
        prior.sample(prompt=other)
    with pytest.raises(UserError, match="at 16000 Hz"):
        prior.nll(Codes(codes.levels, 9, 16000, codes.hops, "abc"))


@every_layout
def test_a_context_without_room_is_refused(layout: str) -> None:
    cycle = max(stage.layout.cycle for stage in small_prior(layout).stages)
    least = 2 * cycle + 2 + 12
    with pytest.raises(
        UserError, match=rf"prior\.context: {least - 1} is too short.* take {least} steps"
    ):
        small_prior(layout, context=least - 1, text_bytes=12)
    measured = small_prior(layout, context=least, text_bytes=12).nll(random_codes(800), text="a" * 12)
    assert math.isfinite(measured.bits)
    assert measured.per_frame.min() > 0


def test_the_fingerprint_tells_weights_and_configurations_apart() -> None:
    prior = small_prior()
    assert prior.fingerprint == small_prior().fingerprint
    assert prior.fingerprint != small_prior(context=64).fingerprint
    prior.stages[0].step_embedding.weight[0, 0] += 1e-3
    assert prior.fingerprint != small_prior().fingerprint
