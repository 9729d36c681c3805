"""How good generated sounds are as a set, through the eyes of a recognizer.

The measures and their use on spoken digits follow SC09 as in SaShiMi (Goel et al. 2022,
arXiv 2202.09729, appendix C.3) and DiffWave (Kong et al. 2021, arXiv 2009.09761).
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from vqaudio.codes import Codes

NEAREST_AT_ONCE = 1024  # sounds: with 30,000 real ones their distances take 250 MB


def frechet_distance(features: Tensor, reference: Tensor) -> float:
    """Fréchet distance of two Gaussians fitted to features (Heusel et al. 2017, arXiv 1706.08500).

    `|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2))`, equation 6 there. Lower is better. The
    estimate falls with the number of sounds: compare equal numbers.

    Args:
        features: `[N, D]` of the sounds under test.
        reference: `[M, D]` of real ones.

    Returns:
        0 or more, in squared units of the features.
    """
    mean_a, cov_a = _gaussian(features)
    mean_b, cov_b = _gaussian(reference)
    # tr (C1 C2)^(1/2) = tr (R C2 R)^(1/2) with R = C1^(1/2): symmetric, so eigvalsh is exact enough
    values, vectors = torch.linalg.eigh(cov_a)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    cross = torch.linalg.eigvalsh(root @ cov_b @ root).clamp(min=0).sqrt().sum()
    distance = (mean_a - mean_b).square().sum() + cov_a.trace() + cov_b.trace() - 2 * cross
    return max(distance.item(), 0.0)


def inception_score(log_probabilities: Tensor) -> float:
    """Inception score (Salimans et al. 2016, arXiv 1606.03498): `exp E KL(p(y|x) || p(y))`.

    High when each sound is clearly one label and all labels come equally often.

    Args:
        log_probabilities: `[N, K]`, natural logarithms.

    Returns:
        From 1 to K.
    """
    log_p = log_probabilities.double()
    log_mean = log_p.logsumexp(0) - math.log(len(log_p))
    return (log_p.exp() * (log_p - log_mean)).sum(1).mean().exp().item()


def modified_inception_score(log_probabilities: Tensor) -> float:
    """Modified Inception score (Gurumurthy et al. 2017, arXiv 1706.02071).

    `exp E KL(p(y|x) || p(y|x'))` over all pairs of sounds: variety within a label counts as well.
    SC09 estimates it from 10,000 random pairs; the mean over all pairs has a closed form.

    Args:
        log_probabilities: `[N, K]`, natural logarithms.

    Returns:
        1 or more, without a bound: it grows with the recognizer's confidence.
    """
    log_p = log_probabilities.double()
    p = log_p.exp()
    own = (p * log_p).sum(1).mean()
    other = p.mean(0) @ log_p.mean(0)
    return (own - other).exp().item()


def am_score(log_probabilities: Tensor, reference: Tensor) -> float:
    """AM score (Zhou et al. 2018, arXiv 1703.02000).

    `KL(E p_data(y|x) || E p(y|x)) + E H(p(y|x))`: the labels come as often as in the data, and each
    sound is clearly one of them. Lower is better.

    Args:
        log_probabilities: `[N, K]` of the sounds under test, natural logarithms.
        reference: `[M, K]` of real ones.

    Returns:
        0 or more, in nats.
    """
    log_p, log_real = log_probabilities.double(), reference.double()
    log_mean = log_p.logsumexp(0) - math.log(len(log_p))
    log_real_mean = log_real.logsumexp(0) - math.log(len(log_real))
    divergence = (log_real_mean.exp() * (log_real_mean - log_mean)).sum()
    entropy = -(log_p.exp() * log_p).sum(1).mean()
    return (divergence + entropy).item()


def nearest_distances(features: Tensor, reference: Tensor) -> Tensor:
    """How far each sound is from the nearest reference sound: float32 `[N]`, Euclidean.

    Next to what real unseen sounds have, it tells whether a generator repeats what it was shown:
    copies have a distance near 0.

    Args:
        features: `[N, D]` of the sounds under test.
        reference: `[M, D]` of those that were trained on.
    """
    real = reference.double()
    parts = features.double().split(NEAREST_AT_ONCE)
    return torch.cat([torch.cdist(part, real).amin(dim=1) for part in parts]).float()


def longest_copies(sounds: Sequence[Codes], training: Sequence[Codes]) -> list[float]:
    """The longest stretch of each sound whose coarsest codes stand in a training sound too, in seconds.

    Next to what real unseen sounds have, it tells whether a prior repeats what it was shown.

    Args:
        sounds: under test.
        training: what was shown, at least one, of the same codec.
    """
    shown = [list(zip(*codes.levels[0].tolist(), strict=True)) for codes in training]
    longest = []
    windows: dict[int, set[tuple[tuple[int, ...], ...]]] = {}
    for codes in sounds:
        frames = list(zip(*codes.levels[0].tolist(), strict=True))
        length = 0
        while length < len(frames):
            size = length + 1
            if size not in windows:
                windows[size] = {
                    tuple(each[i : i + size]) for each in shown for i in range(len(each) - size + 1)
                }
            starts = range(len(frames) - size + 1)
            if not any(tuple(frames[i : i + size]) in windows[size] for i in starts):
                break
            length = size
        longest.append(length * codes.hops[0] / codes.sample_rate)
    return longest


def _gaussian(features: Tensor) -> tuple[Tensor, Tensor]:
    features = features.double()
    return features.mean(0), torch.cov(features.T).reshape(features.shape[1], features.shape[1])
