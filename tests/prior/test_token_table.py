"""Codes read and scored by the codec's vectors for them."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.prior.priors import LAYOUTS, SPEC, nats, random_codes, small_prior
from vqaudio.codes import Codes
from vqaudio.errors import UserError
from vqaudio.model_folder import load_prior, save_model
from vqaudio.prior.layout import Layout
from vqaudio.prior.model import Prior
from vqaudio.prior.token_table import TokenTable

DIMS = [[3, 3], [2], [4, 4]]
every_layout = pytest.mark.parametrize("layout", LAYOUTS)


def vectors(seed: int = 0) -> list[list[Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    return [
        [torch.randn(size, dim, generator=generator) for size, dim in zip(sizes, dims, strict=True)]
        for sizes, dims in zip(SPEC.codebook_sizes, DIMS, strict=True)
    ]


def prior_with_vectors(layout: str, seed: int = 0) -> Prior:
    prior = small_prior(layout, vector_dims=DIMS)
    prior.set_code_vectors(vectors(seed))
    return prior


def test_what_is_learned_of_a_code_holds_for_those_near_it() -> None:
    """A code that never came is scored as the one that has its vector, and unlike others."""
    torch.manual_seed(0)
    table = TokenTable(1 + 4, 8, [(4, 2)])
    table.set_vectors([torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]])])
    hidden = torch.randn(8)
    optimizer = torch.optim.SGD(table.parameters(), lr=0.05)
    for _ in range(50):  # code 0 comes, 1 never does
        loss = -(table.table()[[1, 3, 4]] @ hidden).log_softmax(dim=0)[0]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        scores = table.table()[1:] @ hidden
    assert scores[1] > max(scores[2], scores[3]) + 1


@every_layout
def test_vectors_are_heeded_and_stay_with_the_weights(layout: str, tmp_path: Path) -> None:
    prior, codes = prior_with_vectors(layout), random_codes(41)
    bits = prior.nll(codes).bits
    save_model(tmp_path / "prior", prior, "# A toy\n")
    again = load_prior(tmp_path / "prior")
    assert again.fingerprint == prior.fingerprint
    assert again.nll(codes).bits == bits
    assert again.sample(seconds=0.005) == prior.sample(seconds=0.005)
    prior.set_code_vectors(vectors(seed=1))
    assert prior.nll(codes).bits != pytest.approx(bits, rel=1e-3)
    assert prior.fingerprint != again.fingerprint


@every_layout
def test_each_codebook_has_its_own_vectors(layout: str) -> None:
    """Another vector of one code changes how it is scored, and nothing before it in time."""
    other = vectors()
    other[2][1][5] += 3.0
    changed = prior_with_vectors(layout)
    changed.set_code_vectors(other)
    last = changed.stages[-1]
    slot = next(slot for slot in last.layout.slots if (slot.level, slot.quantizer) == (2, 1))
    before = prior_with_vectors(layout).stages[-1].head(slot)
    # one row by its vector, the others by the spread that all are brought to
    moved = (last.head(slot) - before).abs().sum(dim=1)
    assert int(moved[: slot.size].argmax()) == 5
    for place in last.layout.slots:
        if (place.level, place.quantizer) != (2, 1):
            unmoved = prior_with_vectors(layout).stages[-1].head(place)
            assert torch.equal(last.head(place), unmoved)


@every_layout
def test_sampling_goes_by_the_same_vectors_as_likelihood(layout: str) -> None:
    """Greedy sounds are the likeliest first codes of the likelihood, and follow changed weights."""
    prior = prior_with_vectors(layout)
    for _ in range(2):
        [sound] = prior.sample(seconds=0.005, temperature=0)
        bits = []
        for code in range(SPEC.codebook_sizes[0][0]):
            levels = [level.clone() for level in sound.levels]
            levels[0][0, 0] = code
            other = Codes(levels, sound.num_samples, sound.sample_rate, sound.hops)
            bits.append(float(nats(prior, [other], prior.conditions())[0][0, 0, 0].detach()))
        assert int(torch.tensor(bits).argmin()) == int(sound.levels[0][0, 0])
        with torch.no_grad():
            for name, weight in prior.named_parameters():
                if "maps" in name:
                    weight.neg_()


def test_dimensions_of_other_codebooks_are_refused() -> None:
    with pytest.raises(UserError, match=r"prior\.vector_dims: .* has not one for each codebook"):
        small_prior(vector_dims=DIMS[:2])


def test_gradients_reach_maps_and_rows() -> None:
    prior = prior_with_vectors("flat").train()
    nats(prior, [random_codes(41)], prior.conditions())[0].sum().backward()
    for table in (prior.stages[0].token_embedding, prior.stages[0].to_logits):
        for learned in (table.weight, *table.maps):
            assert learned.grad is not None
            assert learned.grad.abs().sum() > 0


def test_books_come_in_the_order_of_their_tokens() -> None:
    layout = Layout("flat", SPEC.hops, SPEC.codebook_sizes)
    assert layout.books(DIMS) == [(5, 3), (4, 3), (7, 2), (3, 4), (6, 4)]
    ends = sum(size for size, _ in layout.books(DIMS))
    assert layout.vocab_size - ends == min(slot.offset for slot in layout.slots)
