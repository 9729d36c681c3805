import io
from collections.abc import Sequence
from dataclasses import replace
from itertools import count

import numpy as np
import pytest
import torch

from tests.applications.conftest import make_prior_model
from tests.sounds import tone
from vqaudio.applications.block_codes import MismatchError, Walk, read_codes, write_codes
from vqaudio.applications.code_tables import CodeTables
from vqaudio.applications.compression import Compressor
from vqaudio.applications.decompression import Decompressor
from vqaudio.applications.prior_model import PriorModel
from vqaudio.applications.static_model import StaticModel
from vqaudio.applications.vqa_format import read_header
from vqaudio.codec.model import Codec
from vqaudio.codes import Codes
from vqaudio.errors import UserError
from vqaudio.prior.model import Prior


@pytest.mark.parametrize(
    ("layout", "context"), [("flat", 256), ("flat", 64), ("delay", 64), ("cascade", 64)]
)
def test_codes_come_back(codec: Codec, tables: CodeTables, layout: str, context: int) -> None:
    """By every layout, within its context and beyond it."""
    model = make_prior_model(codec, tables, layout, context)
    for num_samples in (1, 64, 257, 5000):
        levels = list(codec.encode(tone(0.5)[:, :num_samples]).levels)
        frames = [level.shape[1] for level in levels]
        data = write_codes(model, levels)
        found = read_codes(model, [1, 2], frames, data)
        assert all(torch.equal(a, b) for a, b in zip(found, levels, strict=True))


@pytest.mark.parametrize("layout", ["delay", "cascade"])
def test_tables_know_as_much_beside_a_prior_as_alone(
    codec: Codec, tables: CodeTables, layout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All codes before a code, and those of coarser levels after it, where the layout has them ahead."""
    monkeypatch.setattr("vqaudio.applications.prior_model.PRIOR_WEIGHT", 0)
    monkeypatch.setattr("vqaudio.applications.prior_model.TABLES_WEIGHT", 256)
    levels = list(codec.encode(tone(0.5)).levels)
    alone, beside = (
        shares_of(model, levels)
        for model in (StaticModel(tables), make_prior_model(codec, tables, layout))
    )
    assert alone.keys() == beside.keys()
    assert all(np.array_equal(alone[place], beside[place]) for place in alone)


def shares_of(
    model: StaticModel | PriorModel, levels: Sequence[torch.Tensor]
) -> dict[tuple[int, int, int], np.ndarray]:
    """Frequencies of each code of a sound, by level, quantizer and frame."""
    walk, found = model.walk([level.shape[1] for level in levels]), {}
    place = next(walk, None)
    while place is not None:
        *where, share = place
        found[tuple(where)] = share
        level, quantizer, frame = where
        try:
            place = walk.send(int(levels[level][quantizer, frame]))
        except StopIteration:
            place = None
    return found


def test_bits_are_those_that_the_two_models_give(codec: Codec, prior_model: PriorModel) -> None:
    """Fewer with a prior that knows these codes than with one that knows nothing of them."""
    levels = list(codec.encode(tone(0.5)).levels)
    before = len(write_codes(prior_model, levels))
    prior = prior_model.prior
    codes = Codes(levels, 8000, 16000, codec.hops, codec.fingerprint)
    taught = teach(prior, codes)
    after = len(write_codes(PriorModel(taught, codec, prior_model.tables), levels))
    assert after < 0.9 * before


def teach(prior: Prior, codes: Codes) -> Prior:
    """The same prior after some steps on one sound."""
    from copy import deepcopy

    from vqaudio.prior.stage import batch_of

    prior = deepcopy(prior)
    [stage] = prior.stages
    tokens = stage.tokens(stage.layout.encode(codes))[:200]
    optimizer = torch.optim.Adam(prior.parameters(), 1e-2)
    for _ in range(60):
        nats, _ = stage(batch_of([stage.passage(tokens, 0, len(tokens) - 1, None)]), prior.conditions())
        optimizer.zero_grad()
        nats.mean().backward()
        optimizer.step()
    return prior.eval()


def test_numbers_that_round_otherwise_are_noticed(codec: Codec, prior_model: PriorModel) -> None:
    """As another kind of machine has them: a weight differs in its last digits."""
    file = io.BytesIO()
    compressor = Compressor(codec, prior_model, file, 16000)
    compressor.push(tone(1.0))
    compressor.finish()
    file.seek(0)
    header = read_header(file, "a.vqa")
    other = make_prior_model(codec, prior_model.tables)
    with torch.no_grad():
        for weight in other.prior.parameters():
            weight.mul_(1 + 1e-4)
    other.fingerprint = prior_model.fingerprint  # the same model, elsewhere
    reader = Decompressor(codec, other, header, file, "a.vqa")
    with pytest.raises(UserError, match=r"a.vqa: --model prior: made on another kind of machine"):
        list(reader.audio())


def test_damage_is_told_from_other_rounding(codec: Codec, prior_model: PriorModel) -> None:
    file = io.BytesIO()
    compressor = Compressor(codec, prior_model, file, 16000, block_seconds=0.2)
    compressor.push(tone(0.5))
    compressor.finish()
    data = bytearray(file.getvalue())
    data[-20] ^= 1
    damaged = io.BytesIO(bytes(data))
    reader = Decompressor(codec, prior_model, read_header(damaged, "a.vqa"), damaged, "a.vqa")
    assert sum(piece.shape[1] for piece in reader.audio()) > 0
    assert len(reader.gaps) == 1


def test_a_prior_of_another_codec_is_refused(codec: Codec, tables: CodeTables) -> None:
    prior = make_prior_model(codec, tables).prior
    prior.codec = replace(prior.codec, fingerprint="f" * 64)
    with pytest.raises(UserError, match="the prior reads codec ffffffffffff"):
        PriorModel(prior, codec, tables)


def test_every_other_frequency_is_noticed(codec: Codec, static: StaticModel) -> None:
    """By what is left in the coder: one part in 2^24 for one code, early or late, is enough."""

    class Elsewhere:
        kind, rounds, fingerprint = static.kind, False, static.fingerprint

        def __init__(self, place: int, code: int) -> None:
            self.place, self.code = place, code

        def walk(self, frames: Sequence[int]) -> Walk:
            walk, code = static.walk(frames), None
            for number in count():
                try:
                    *place, share = walk.send(code) if number else next(walk)
                except StopIteration:
                    return
                if number == self.place:
                    share = share.copy()
                    share[self.code] += 1
                    share[(self.code + 1) % len(share)] -= 1
                code = yield (*place, share)

    levels = list(codec.encode(tone(0.2)).levels)
    frames = [level.shape[1] for level in levels]
    data = write_codes(static, levels)
    total = sum(level.numel() for level in levels)
    said = [level.T.flatten().tolist() for level in levels]
    for place in range(0, total, 3):
        level, rest = (0, place) if place < len(said[0]) else (1, place - len(said[0]))
        before = said[level][rest] - 1  # so that the code itself begins elsewhere
        if before >= 0:
            with pytest.raises(MismatchError):
                read_codes(Elsewhere(place, before), [1, 2], frames, data)
