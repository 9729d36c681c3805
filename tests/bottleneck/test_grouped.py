"""Residual stacks side by side."""

import pytest
import torch
from torch import Tensor

from vqaudio.bottleneck.grouped import GroupedResidualQuantizer


def batch(seed: int) -> Tensor:
    return torch.randn(4, 6, 50, generator=torch.Generator().manual_seed(seed))


def trained(groups: int = 2, dropout: float = 0.0) -> GroupedResidualQuantizer:
    quantizer = GroupedResidualQuantizer(16, 2, groups, 6, dropout=dropout)
    for step in range(11):  # the next step revives nothing
        quantizer(batch(step))
    return quantizer


@pytest.mark.parametrize("groups", [1, 2, 3])
def test_every_group_is_a_stack_of_its_own_part(groups: int) -> None:
    quantizer = trained(groups).eval()
    x = batch(99)
    codes = quantizer.encode(x)
    assert quantizer.codebook_sizes == [16] * (2 * groups)
    for index, (stack, part) in enumerate(zip(quantizer.groups, x.chunk(groups, dim=1), strict=True)):
        own = stack.encode(part)
        # stage by stage: first stages of all groups, then their second
        assert torch.equal(codes[:, index], own[:, 0])
        assert torch.equal(codes[:, groups + index], own[:, 1])
        said = quantizer.decode(codes).chunk(groups, dim=1)[index]
        assert torch.equal(said, stack.decode(own))


def test_a_group_without_a_code_says_nothing() -> None:
    quantizer = trained(3).eval()
    codes = quantizer.encode(batch(99))
    said = quantizer.decode(codes[:, :2]).chunk(3, dim=1)
    assert torch.equal(said[0], quantizer.groups[0].decode(codes[:, :1]))
    assert torch.equal(said[2], torch.zeros(4, 2, 50))


def test_groups_learn_from_their_part_alone() -> None:
    one, other = trained(), trained()
    x = batch(99)
    changed = torch.cat([x[:, :3], batch(98)[:, 3:]], dim=1)
    one(x)
    other(changed)
    states = [[stack.state_dict() for stack in quantizer.groups] for quantizer in (one, other)]
    assert all(torch.equal(states[0][0][name], states[1][0][name]) for name in states[0][0])
    assert not torch.equal(states[0][1]["codebooks.0.sums"], states[1][1]["codebooks.0.sums"])


def test_the_loss_is_the_mean_over_groups() -> None:
    quantizer = trained().eval()
    parts = batch(99).chunk(2, dim=1)
    losses = [
        stack(part).losses["commitment"] for stack, part in zip(quantizer.groups, parts, strict=True)
    ]
    torch.testing.assert_close(quantizer(batch(99)).losses["commitment"], torch.stack(losses).mean())


def test_dropout_keeps_as_many_stages_in_every_group() -> None:
    quantizer = trained(dropout=1.0)
    torch.manual_seed(0)
    x = torch.cat([batch(seed) for seed in range(10)])
    codes = quantizer.encode(x)
    features = quantizer(x).features
    cuts = []
    for sound in range(len(x)):
        distances = [
            (quantizer.decode(codes[sound : sound + 1, :count])[0] - features[sound]).abs().mean()
            for count in (2, 4)
        ]
        cuts.append(2 if distances[0] < distances[1] else 4)
        assert min(distances) < 0.1
    assert set(cuts) == {2, 4}
