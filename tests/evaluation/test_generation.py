"""Measures of a set of sounds, against distributions whose answer is known."""

import math

import pytest
import torch

from vqaudio.codes import Codes
from vqaudio.evaluation.generation import (
    am_score,
    frechet_distance,
    inception_score,
    longest_copies,
    modified_inception_score,
    nearest_distances,
)


def exact_gaussian(n: int, mean: torch.Tensor, covariance: torch.Tensor, seed: int) -> torch.Tensor:
    """Numbers whose sample mean and covariance are exactly the given ones."""
    dims = len(mean)
    raw = torch.randn(n, dims, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    raw = raw - raw.mean(0)
    white = raw @ torch.linalg.inv(torch.linalg.cholesky(torch.cov(raw.T))).T
    return white @ torch.linalg.cholesky(covariance).T + mean


def log_softmax_of(sharpness: float, labels: list[int], k: int) -> torch.Tensor:
    return (sharpness * torch.eye(k, dtype=torch.float64)[labels]).log_softmax(1)


def test_frechet_distance_of_diagonal_gaussians_is_the_closed_form() -> None:
    deviations = torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64)
    others = torch.tensor([1.5, 0.5, 0.5], dtype=torch.float64)
    shift = torch.tensor([0.3, -1.0, 2.0], dtype=torch.float64)
    a = exact_gaussian(50, torch.zeros(3, dtype=torch.float64), deviations.square().diag(), 0)
    b = exact_gaussian(70, shift, others.square().diag(), 1)
    closed = shift.square().sum() + (deviations - others).square().sum()
    assert frechet_distance(a, b) == pytest.approx(closed.item(), rel=1e-9)


def test_frechet_distance_of_correlated_gaussians_matches_a_matrix_square_root() -> None:
    from scipy.linalg import sqrtm

    generator = torch.Generator().manual_seed(2)
    factors = [torch.randn(4, 4, generator=generator, dtype=torch.float64) for _ in range(2)]
    cov_a, cov_b = (f @ f.T + 0.1 * torch.eye(4, dtype=torch.float64) for f in factors)
    zero = torch.zeros(4, dtype=torch.float64)
    cross = sqrtm((cov_a @ cov_b).numpy()).real.trace()
    closed = cov_a.trace().item() + cov_b.trace().item() - 2 * cross
    a, b = exact_gaussian(40, zero, cov_a, 3), exact_gaussian(40, zero, cov_b, 4)
    assert frechet_distance(a, b) == pytest.approx(closed, rel=1e-7)


def test_frechet_distance_of_a_set_to_itself_is_zero_though_a_dimension_is_constant() -> None:
    features = torch.randn(20, 5, generator=torch.Generator().manual_seed(0))
    features[:, 2] = 1.0
    assert frechet_distance(features, features) == pytest.approx(0.0, abs=1e-6)


def test_inception_score_is_the_number_of_labels_when_each_sound_is_one_and_all_come() -> None:
    assert inception_score(log_softmax_of(60, list(range(10)) * 3, 10)) == pytest.approx(10)


def test_inception_score_is_one_when_the_recognizer_cannot_tell() -> None:
    assert inception_score(torch.full((8, 10), 0.1).log()) == pytest.approx(1)


def test_inception_score_counts_only_the_labels_that_come() -> None:
    assert inception_score(log_softmax_of(60, [0, 3, 7, 7, 3, 0], 10)) == pytest.approx(3)


def test_modified_inception_score_is_the_mean_over_all_pairs() -> None:
    log_p = torch.randn(7, 4, generator=torch.Generator().manual_seed(1)).double().log_softmax(1)
    divergences = [
        sum(math.exp(a[y]) * (a[y] - b[y]) for y in range(4))
        for a in log_p.tolist()
        for b in log_p.tolist()
    ]
    want = math.exp(sum(divergences) / len(divergences))
    assert modified_inception_score(log_p) == pytest.approx(want)


def test_modified_inception_score_rewards_variety_that_the_inception_score_cannot_see() -> None:
    one_way = log_softmax_of(3, [0, 1] * 4, 2)
    two_ways = torch.cat([log_softmax_of(1, [0, 1] * 2, 2), log_softmax_of(9, [0, 1] * 2, 2)])
    assert modified_inception_score(two_ways) > modified_inception_score(one_way) > 1


def test_am_score_is_zero_for_clear_labels_in_the_right_proportion() -> None:
    real = log_softmax_of(60, [0, 0, 1], 3)
    assert am_score(log_softmax_of(60, [1, 0, 0] * 5, 3), real) == pytest.approx(0, abs=1e-9)


def test_am_score_is_entropy_plus_divergence_of_the_labels() -> None:
    real = torch.tensor([[0.5, 0.5]]).log()
    generated = torch.tensor([[0.8, 0.2]]).log()
    entropy = -(0.8 * math.log(0.8) + 0.2 * math.log(0.2))
    divergence = 0.5 * math.log(0.5 / 0.8) + 0.5 * math.log(0.5 / 0.2)
    assert am_score(generated, real) == pytest.approx(entropy + divergence, rel=1e-6)


def test_nearest_distances_find_copies() -> None:
    reference = torch.randn(50, 8)
    shown = torch.cat([reference[[3, 7]], reference[[5]] + 3.0])
    found = nearest_distances(shown, reference)
    assert torch.allclose(found[:2], torch.zeros(2), atol=1e-5)
    assert found[2] == pytest.approx((shown[2] - reference).norm(dim=1).min().item(), rel=1e-4)


def test_longest_copies_are_found_wherever_they_stand() -> None:
    def sound(*frames: int) -> Codes:
        levels = [torch.tensor([list(frames), [f + 1 for f in frames]]), torch.zeros(1, 2 * len(frames))]
        return Codes(levels, 4 * len(frames), 8, [4, 2])

    training = [sound(1, 2, 3, 4, 5, 6), sound(9, 8, 7)]
    shown = [sound(0, 3, 4, 5, 0), sound(7, 9, 8, 7), sound(0, 0), sound(6, 1), sound(1, 2, 3, 4, 5, 6)]
    assert longest_copies(shown, training) == [1.5, 1.5, 0, 0.5, 3.0]
