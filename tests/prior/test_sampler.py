"""Sampling: only what may come, repeatable, as likely as the prior says, and each sound for itself."""

import math
from collections import Counter, deque

import pytest
import torch
from torch import Tensor

from tests.prior.priors import LAYOUTS, SPEC, nats, random_codes, small_prior
from vqaudio.codes import Codes, frames_for
from vqaudio.errors import UserError
from vqaudio.prior import reader, sampler
from vqaudio.prior.layout import PAD, Slot
from vqaudio.prior.model import CodecSpec, Prior
from vqaudio.prior.sampler import Options
from vqaudio.prior.stage import batch_of
from vqaudio.prior.writer import Writer

every_layout = pytest.mark.parametrize("layout", LAYOUTS)
CONDITIONS = {"labels": ["a", "b"], "speakers": ["x"], "text_bytes": 12}
TWO_LEVELS = CodecSpec(8000, [4, 2], [[4], [4]])


@every_layout
@pytest.mark.parametrize("path", ["cpu", "torch"])
def test_a_sound_of_a_seed_does_not_depend_on_how_many(
    layout: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if path == "torch":
        monkeypatch.setattr(reader, "library", lambda: None)
    prior = small_prior(layout, **CONDITIONS)
    how: Options = {"seed": 5, "label": "a", "guidance": 1.5}
    many = prior.sample(19, **how)  # more than one group
    assert prior.sample(19, **how) == many
    assert prior.sample(3, **how) == many[:3]
    assert len({sound.num_samples for sound in many}) > 2  # they do end early, each where it ends
    assert all(sound.codec == "abc" for sound in many)
    assert prior.sample(19, **{**how, "seed": 6}) != many  # type: ignore[typeddict-item]
    assert len({str(sound.levels) for sound in many}) > 15


def test_what_a_cascade_is_told_has_the_same_bits_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """At a width at which torch convolves one row otherwise than several."""
    told_of = Writer._told
    told: list[Tensor] = []
    monkeypatch.setattr(
        Writer, "_told", lambda self, *rest: told.append(told_of(self, *rest)) or told[-1]
    )
    prior = small_prior("cascade", width=128, heads=4, context=600)
    prior.sample(2, 0.05)
    two = told.copy()
    told.clear()
    prior.sample(1, 0.05)
    assert len(told) == len(two) == 3
    for alone, among in zip(told, two, strict=True):
        assert torch.equal(alone, among[:1])


@every_layout
@pytest.mark.parametrize("seconds", [1e-6, 0.001, 0.0034, 0.01])
def test_seconds_give_exactly_that_length(layout: str, seconds: float) -> None:
    for sound in small_prior(layout).sample(2, seconds):
        assert sound.num_samples == max(1, math.ceil(round(seconds * 8000, 6)))
        assert [list(level.shape) for level in sound.levels] == [
            [len(sizes), frames_for(sound.num_samples, hop)]
            for sizes, hop in zip(SPEC.codebook_sizes, SPEC.hops, strict=True)
        ]


@every_layout
def test_a_sound_that_does_not_end_fills_the_context(layout: str) -> None:
    prior = small_prior(layout, context=10, spec=TWO_LEVELS)
    lengths = Counter(sound.num_samples for sound in prior.sample(200))
    longest = prior.layout.longest(10)
    assert max(lengths) == longest * 2
    assert prior.layout.length_with_end(longest) <= 10 < prior.layout.length_with_end(longest + 1)
    [whole] = prior.sample(seconds=prior.longest_seconds)
    assert whole.num_samples == prior.longest_seconds * 8000 >= longest * 2
    with pytest.raises(UserError, match=f"at most {prior.longest_seconds:g}"):
        prior.sample(seconds=prior.longest_seconds + 1 / 8000)


def recorded(
    prior: Prior, how: Options, monkeypatch: pytest.MonkeyPatch
) -> tuple[Codes, dict[object, Tensor]]:
    """One sound, and the logits that each of its tokens was chosen from, by stage, step and slot."""
    found: dict[object, Tensor] = {}
    step_of, logits_of = Writer._say, Writer._logits

    def say(self: Writer, step: int, hidden: Tensor, active: Tensor) -> bool:
        self.now = step  # type: ignore[attr-defined]
        return step_of(self, step, hidden, active)

    def logits(self: Writer, hidden: Tensor, slot: Slot, places: Tensor, count: int) -> Tensor:
        scores = logits_of(self, hidden, slot, places, count)
        found[id(self.stage), self.now, slot] = scores[0]  # type: ignore[attr-defined]
        return scores

    monkeypatch.setattr(Writer, "_say", say)
    monkeypatch.setattr(Writer, "_logits", logits)
    [sound] = prior.sample(seconds=0.01, **how)
    return sound, found


# Only a cascade writes beyond its context.
@pytest.mark.parametrize(("layout", "context"), [*((name, 128) for name in LAYOUTS), ("cascade", 33)])
@pytest.mark.parametrize("path", ["cpu", "torch"])
def test_logits_while_sampling_are_those_of_the_whole(
    layout: str, path: str, context: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if path == "torch":
        monkeypatch.setattr(reader, "library", lambda: None)
    prior = small_prior(layout, context=context, **{**CONDITIONS, "text_bytes": 5})
    sound, found = recorded(prior, {"label": "b", "speaker": "x", "text": "zoë"}, monkeypatch)
    said = prior.conditions("b", "x", "zoë")
    room = context - 4
    with torch.no_grad():
        for stage in prior.stages:
            tokens = stage.tokens(stage.layout.encode(sound, end=False))
            above = prior.above(stage, sound)
            for step in range(len(tokens) - 1):
                start = stage.window(step, room)
                passage = batch_of([stage.passage(tokens, start, step + 1, above)])
                told = stage.told(step + 1 - start, said, passage.around)
                hidden = stage.hidden(stage.embed(passage.tokens[:, :-1]) + told, said)[0, -1]
                for slot in stage.layout.steps[step % stage.layout.cycle]:
                    if tokens[step + 1, slot.column] != PAD:
                        scores = found.pop((id(stage), step, slot))
                        wanted = stage.logits(hidden, slot)
                        assert torch.allclose(scores, wanted, atol=1e-4, rtol=1e-4)
    assert not found
    if context == 33:
        assert prior.stages[-1].window(len(tokens) - 2, room) > 0


@every_layout
def test_the_likeliest_sound_is_the_likeliest_token_by_token(layout: str) -> None:
    prior = small_prior(layout, **CONDITIONS)
    [sound] = prior.sample(seconds=0.005, label="b", temperature=0)
    for position in range(3):
        other = [level.clone() for level in sound.levels]
        other[0][0, position] = (other[0][0, position] + 1) % 5
        changed = Codes(other, sound.num_samples, 8000, SPEC.hops)
        said = prior.conditions("b")
        likely, less = (nats(prior, [codes], said)[0][0, :, 0] for codes in (sound, changed))
        first = int((likely != less).nonzero()[0])
        assert likely[first] < less[first]


@every_layout
def test_samples_are_as_frequent_as_the_prior_says(layout: str) -> None:
    spec = CodecSpec(100, [2, 1], [[2], [2]])
    prior = small_prior(layout, context=12, spec=spec, seed=1)
    number = 4000
    sounds = prior.sample(number, seed=3)
    counts = Counter(str([level.tolist() for level in sound.levels]) for sound in sounds)
    by_text = {str([level.tolist() for level in sound.levels]): sound for sound in sounds}
    longest = prior.layout.longest(12)
    checked = 0
    for text, count in counts.items():
        codes = by_text[text]
        if codes.num_samples == longest:  # the context's end stands in for END
            continue
        expected = 2 ** -prior.nll(codes).bits
        spread = (number * expected * (1 - expected)) ** 0.5
        assert abs(count - number * expected) < 5 * spread + 2
        checked += count
    assert checked > number / 4


@every_layout
@pytest.mark.parametrize("seconds", [None, 0.0101])
def test_streamed_is_whole(layout: str, seconds: float | None) -> None:
    prior = small_prior(layout, **CONDITIONS)
    parts_of = []
    for seed in range(20):
        how: Options = {"seed": seed, "speaker": "x"}
        [whole] = prior.sample(1, seconds, **how)
        parts = list(prior.sample(1, seconds, stream=True, **how))
        parts_of.append(len(parts))
        joined = [torch.cat([part.levels[i] for part in parts], dim=1) for i in range(3)]
        assert Codes(joined, sum(part.num_samples for part in parts), 8000, SPEC.hops, "abc") == whole
        assert all(part.num_samples % SPEC.hops[0] == 0 for part in parts[:-1])
    assert max(parts_of) > 1
    with pytest.raises(UserError, match="n 2: one sound can be streamed"):
        prior.sample(2, stream=True)


def test_between_the_parts_of_a_stream_the_settings_are_the_callers() -> None:
    prior = small_prior().train()
    first, second = (prior.sample(1, 0.0101, stream=True, seed=seed) for seed in (0, 1))
    for stream in (first, second, first, first, second):
        next(stream)
        assert torch.is_grad_enabled()
        assert prior.training
        assert all(module.training for module in prior.modules())


def test_a_stream_speaks_while_it_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the first part comes, two coarse frames are written, and no more."""
    steps = []
    say = Writer._say
    monkeypatch.setattr(
        Writer, "_say", lambda self, step, *rest: steps.append(step) or say(self, step, *rest)
    )
    stream = small_prior().sample(1, 0.0101, stream=True)
    assert steps == []
    next(stream)
    assert len(steps) == 2 * small_prior().layout.cycle


@every_layout
def test_a_prompt_is_gone_on_from(layout: str) -> None:
    prior = small_prior(layout)
    prompt = random_codes(35)
    kept = Codes(
        [level[:, : 32 // hop] for level, hop in zip(prompt.levels, SPEC.hops, strict=True)],
        32,
        8000,
        SPEC.hops,
    )
    sounds = prior.sample(5, seconds=0.008, prompt=prompt)
    for sound in sounds:
        assert sound.num_samples == 64
        begun = [level[:, : 32 // hop] for level, hop in zip(sound.levels, SPEC.hops, strict=True)]
        assert Codes(begun, 32, 8000, SPEC.hops) == kept
    assert len({str(sound.levels) for sound in sounds}) == 5
    assert prior.sample(1, prompt=prompt)[0].num_samples >= 32
    with pytest.raises(UserError, match=r"prompt: too short; give at least a coarse frame, 0\.001 s"):
        prior.sample(prompt=random_codes(7))
    with pytest.raises(UserError, match=r"prompt: 0\.004 seconds, which leaves none of 0\.004"):
        prior.sample(prompt=prompt, seconds=0.004)
    with pytest.raises(UserError, match="not Codes; give what Codec.encode makes"):
        prior.sample(prompt="prompt.wav")  # type: ignore[arg-type]
    other = Codes([torch.zeros(1, 8, dtype=torch.int64)], 32, 8000, [4])
    with pytest.raises(UserError, match=r"codes: hops \[4\] with \[1\] quantizers"):
        prior.sample(prompt=other)


@every_layout
def test_a_prompt_is_heeded(layout: str) -> None:
    """The likeliest way on from a prompt is that from its codes, whoever wrote them."""
    prior = small_prior(layout, **CONDITIONS)
    [whole] = prior.sample(1, 0.008, temperature=0, label="a")
    begun = [level[:, : 24 // hop] for level, hop in zip(whole.levels, SPEC.hops, strict=True)]
    [again] = prior.sample(1, 0.008, temperature=0, label="a", prompt=Codes(begun, 24, 8000, SPEC.hops))
    assert again == whole


@every_layout
def test_guidance_leads_from_no_condition_to_more_than_the_condition(layout: str) -> None:
    prior = small_prior(layout, **CONDITIONS)
    said: Options = {"label": "a", "text": "hi"}
    assert prior.sample(4, 0.008, guidance=0, **said) == prior.sample(4, 0.008)
    assert prior.sample(4, 0.008, guidance=1, **said) == prior.sample(4, 0.008, **said)

    def gained(guidance: float) -> float:
        sounds = prior.sample(16, 0.008, guidance=guidance, **said)
        return sum(prior.nll(codes).bits - prior.nll(codes, **said).bits for codes in sounds)  # type: ignore[misc]

    assert gained(0) < gained(1) < gained(3)


def test_less_precise_samples_are_of_the_same_prior() -> None:
    prior = small_prior(**CONDITIONS)
    bits = []
    for precision in ("float32", "bfloat16", "int8"):
        sounds = prior.sample(64, 0.008, label="a", precision=precision)
        bits.append(sum(prior.nll(codes, "a").bits for codes in sounds) / 64)
    assert bits[1] == pytest.approx(bits[0], rel=0.05)
    assert bits[2] == pytest.approx(bits[0], rel=0.05)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"n": 0}, "n 0: must be at least 1"),
        ({"seconds": 0.0}, "seconds 0.0: must be above 0"),
        ({"seconds": 1.0}, "seconds 1: beyond the context of this prior; at most 0.01"),
        ({"temperature": math.nan}, "temperature nan: must be 0"),
        ({"guidance": 1e39, "label": "a"}, "logits: beyond what floats hold; bring guidance"),
        ({"text": "\udcff"}, "not UTF-8"),
        ({"temperature": -1}, "temperature -1: must be 0"),
        ({"guidance": -1}, "guidance -1: must be 0"),
        ({"guidance": math.nan}, "guidance nan"),
    ],
)
def test_impossible_samples_are_refused(how: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        small_prior(**CONDITIONS).sample(**how)  # type: ignore[call-overload]
    with pytest.raises(UserError, match=message):
        deque(small_prior(**CONDITIONS).sample(stream=True, **how))  # type: ignore[call-overload]


def test_groups_are_no_larger_than_stated(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = small_prior().sample(7)
    monkeypatch.setattr(sampler, "GROUP", 2)
    assert small_prior().sample(7) == whole
