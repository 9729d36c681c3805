import librosa
import numpy as np
import pytest
import torch

from tests.sounds import tone
from vqaudio.errors import UserError
from vqaudio.training.losses import SpectralLoss, _Magnitude

RATE = 16000
SIZES = [256, 1024]


def reference(output: np.ndarray, target: np.ndarray) -> dict[str, float]:
    """The same distances from librosa's spectrograms, sound by sound, in double precision."""
    totals = {"mel": 0.0, "stft": 0.0}
    for n_fft in SIZES:
        hop = n_fft // 4
        side = n_fft - hop
        filters = librosa.filters.mel(
            sr=RATE, n_fft=n_fft, n_mels=min(80, n_fft * 5 // 32), dtype=np.float64
        )

        def spectrum(
            audio: np.ndarray, n_fft: int = n_fft, hop: int = hop, side: int = side
        ) -> np.ndarray:
            padded = np.pad(audio.astype(np.float64), (side, side + -len(audio) % hop))
            return np.abs(librosa.stft(padded, n_fft=n_fft, hop_length=hop, center=False))

        for made, wanted in zip(output, target, strict=True):
            made, wanted = spectrum(made), spectrum(wanted)
            mels = [np.log(np.maximum(filters @ m, 1e-5)) for m in (made, wanted)]
            logs = [np.log(np.maximum(m, 1e-5)) for m in (made, wanted)]
            totals["mel"] += np.abs(mels[0] - mels[1]).mean()
            totals["stft"] += np.abs(logs[0] - logs[1]).mean()
            totals["stft"] += np.linalg.norm(made - wanted) / np.linalg.norm(wanted)
    return {name: total / len(SIZES) / len(output) for name, total in totals.items()}


def two_sounds() -> tuple[torch.Tensor, torch.Tensor]:
    target = torch.stack([tone(0.2, RATE, seed=1), 0.1 * tone(0.2, RATE, seed=2)])
    generator = torch.Generator().manual_seed(0)
    return 0.7 * target + 0.01 * torch.randn(target.shape, generator=generator), target


def test_distances_are_those_of_librosas_spectrograms():
    output, target = two_sounds()
    ours = SpectralLoss(RATE, SIZES)(output, target)
    theirs = reference(output[:, 0].numpy(), target[:, 0].numpy())
    assert ours["mel"].item() == pytest.approx(theirs["mel"], rel=1e-3)
    assert ours["stft"].item() == pytest.approx(theirs["stft"], rel=1e-3)


def test_a_sound_is_at_no_distance_from_itself():
    _, target = two_sounds()
    assert {k: v.item() for k, v in SpectralLoss(RATE, SIZES)(target, target).items()} == {
        "mel": 0.0,
        "stft": 0.0,
    }


def test_magnitude_gradient_is_the_derivative():
    audio = torch.randn(2, 48, dtype=torch.float64, requires_grad=True)
    window = torch.hann_window(16, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: _Magnitude.apply(x, window), (audio,))


@pytest.mark.parametrize("length", [1, 255, 3201])
def test_silence_and_odd_lengths_give_finite_gradients(length: int):
    output = torch.zeros(2, 1, length, requires_grad=True)
    target = torch.zeros(2, 1, length)
    target[1] = 0.1
    terms = SpectralLoss(RATE, SIZES)(output, target)
    (terms["mel"] + terms["stft"]).backward()
    assert torch.isfinite(terms["mel"] + terms["stft"])
    assert output.grad is not None
    assert output.grad.isfinite().all()


def test_autocast_does_not_touch_the_precision():
    output, target = two_sounds()
    loss = SpectralLoss(RATE, SIZES)
    plain = loss(output, target)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under = loss(output, target)
    assert all(torch.equal(plain[name], under[name]) for name in plain)


def test_loss_of_a_batch_is_the_mean_of_its_sounds():
    output, target = two_sounds()
    loss = SpectralLoss(RATE, SIZES)
    alone = [loss(output[i : i + 1], target[i : i + 1]) for i in range(2)]
    for name, value in loss(output, target).items():
        assert value.item() == pytest.approx((alone[0][name] + alone[1][name]).item() / 2, rel=1e-5)


def test_fft_size_that_a_quarter_does_not_divide_is_refused():
    with pytest.raises(UserError, match=r"losses.fft_sizes: 250"):
        SpectralLoss(RATE, [250])
