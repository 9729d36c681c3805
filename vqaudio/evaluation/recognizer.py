"""A small recognizer of spoken words: do coded and sampled sounds say what they should?"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vqaudio.audio import resample
from vqaudio.errors import UserError
from vqaudio.features import magnitude, mel_filters
from vqaudio.files import make_folder, replacing, write_text

WINDOW_SECONDS, HOP_SECONDS = 0.032, 0.015
EDGE_SECONDS = 0.12  # silence put round every sound, so that its edges lie inside the network's view
BATCH = 64
SMOOTHING = (
    0.02  # of the labels: without it probabilities of 1e-9 would rule the modified Inception score
)
RANGE_DECADES = 3.0  # 60 dB: what is fainter than that under the loudest band counts as silence


@dataclass(frozen=True)
class RecognizerConfig:
    """Everything that shapes a recognizer.

    Args:
        labels: the words, in the order of the outputs.
        sample_rate: in Hz, that it listens at.
        bands: mel bands, 0 Hz to Nyquist.
        channels: of each convolution; every one but the last is followed by pooling by 2.
        features: width of the layer before the outputs.
    """

    labels: list[str]
    sample_rate: int
    bands: int = 40
    channels: tuple[int, ...] = (12, 24, 48, 64)
    features: int = 128


@dataclass(frozen=True)
class Recognition:
    """What a recognizer made of N sounds.

    Args:
        labels: the likeliest of each sound.
        log_probabilities: float32 `[N, K]`, natural logarithms.
        features: float32 `[N, D]`, of the layer before the outputs.
    """

    labels: list[str]
    log_probabilities: Tensor
    features: Tensor

    def accuracy(self, truth: Sequence[str]) -> float:
        """Share of sounds recognized as what they are."""
        pairs = zip(self.labels, truth, strict=True)
        return sum(found == true for found, true in pairs) / len(self.labels)


class Recognizer(nn.Module):
    """Log-mel picture of a sound -> convolutions -> attention over time -> one of K labels.

    The picture is measured from the sound's own loudest band down, so gain does not matter, and a
    weighted mean over time, with learned weights, so neither do length and silence round the word.
    """

    filters: Tensor

    def __init__(self, config: RecognizerConfig) -> None:
        super().__init__()
        self.config = config
        self.n_fft = round(WINDOW_SECONDS * config.sample_rate)
        self.hop = round(HOP_SECONDS * config.sample_rate)
        filters = mel_filters(config.sample_rate, self.n_fft, config.bands)
        self.register_buffer("filters", filters, persistent=False)
        layers: list[nn.Module] = []
        before = 1
        for channels in config.channels:
            layers += [nn.Conv2d(before, channels, 3, padding=1, bias=False)]
            layers += [nn.BatchNorm2d(channels), nn.ReLU(), nn.MaxPool2d(2, ceil_mode=True)]
            before = channels
        self.convolutions = nn.Sequential(*layers[:-1])
        bands = config.bands
        for _ in config.channels[:-1]:
            bands = -(-bands // 2)
        self.project = nn.Linear(before * bands, config.features)
        self.attend = nn.Linear(config.features, 1)
        self.dropout = nn.Dropout(0.3)
        self.output = nn.Linear(config.features, len(config.labels))

    def picture(self, audio: Tensor) -> Tensor:
        """Log10 mel picture relative to the loudest band.

        Args:
            audio: `[B, T]` at the recognizer's rate.

        Returns:
            `[B, bands, F]` from 0 (60 dB under the loudest band, or less) to 1.
        """
        edge = max(round(EDGE_SECONDS * self.config.sample_rate), self.n_fft)
        mel = self.filters @ magnitude(F.pad(audio, (edge, edge)), self.n_fft, self.hop)
        loudest = mel.amax((1, 2), keepdim=True).clamp(min=1e-8)
        return (mel / loudest).clamp(min=10**-RANGE_DECADES).log10() / RANGE_DECADES + 1

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        """Logits `[B, K]` and features `[B, D]` of pictures `[B, bands, F]`."""
        frames = self.convolutions(picture[:, None]).flatten(1, 2).transpose(1, 2)
        frames = self.project(frames).relu()
        weights = self.attend(frames).softmax(1)
        features = (weights * frames).sum(1)
        return self.output(self.dropout(features)), features

    @torch.no_grad()
    def recognize(self, sounds: Sequence[Tensor], sample_rate: int) -> Recognition:
        """Recognize sounds, one at a time: an answer does not depend on the neighbours.

        Args:
            sounds: each float `[T]`, of any length.
            sample_rate: of them all, in Hz.
        """
        self.eval()
        logits, features = [], []
        for sound in sounds:
            sound = resample(sound[None].float(), sample_rate, self.config.sample_rate)
            one = self(self.picture(sound))
            logits.append(one[0][0])
            features.append(one[1][0])
        log_probabilities = torch.stack(logits).log_softmax(1)
        labels = [self.config.labels[i] for i in log_probabilities.argmax(1).tolist()]
        return Recognition(labels, log_probabilities, torch.stack(features))

    def save(self, folder: str | Path) -> None:
        """Write `recognizer.safetensors` and `recognizer.json` into a folder, made if need be."""
        folder = make_folder(folder)
        with replacing(folder / "recognizer.safetensors") as part:
            save_file({name: tensor.contiguous() for name, tensor in self.state_dict().items()}, part)
        write_text(
            folder / "recognizer.json", json.dumps(asdict(self.config), indent=1, ensure_ascii=False)
        )

    @classmethod
    def load(cls, folder: str | Path) -> "Recognizer":
        """Read what `save` wrote.

        Raises:
            UserError: a file is missing or is not what `save` writes.
        """
        folder = Path(folder)
        try:
            values = json.loads((folder / "recognizer.json").read_text(encoding="utf-8"))
            model = cls(RecognizerConfig(**{**values, "channels": tuple(values["channels"])}))
            model.load_state_dict(load_file(folder / "recognizer.safetensors"))
        except (OSError, ValueError, TypeError, KeyError, RuntimeError, SafetensorError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(
                f"{folder}: not a recognizer that can be read ({reason}); train it again"
            ) from None
        return model.eval()


def train_recognizer(
    sounds: Sequence[Tensor],
    labels: Sequence[str],
    sample_rate: int,
    steps: int = 700,
    seed: int = 0,
    on_step: Callable[[int, float], None] | None = None,
) -> Recognizer:
    """Train a recognizer on words that were cut out one by one.

    Each time a word comes it is a little faster or slower, at another place in silence, under other
    noise, through another microphone's slope, and with a stretch of time and of bands blotted out.

    Args:
        sounds: each float `[T]`.
        labels: what is said in each.
        sample_rate: of the sounds, and of the recognizer, in Hz.
        steps: of 64 sounds, or all if they are fewer.
        seed: of the weights and of all that is random; the caller's random state is left alone.
        on_step: told the step and its loss.
    """
    names = sorted(set(labels))
    if len(names) < 2:
        raise UserError(f"a recognizer needs sounds of two labels or more, not {len(names)}")
    truth = torch.tensor([names.index(label) for label in labels])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Recognizer(RecognizerConfig(names, sample_rate)).train()
        optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps, pct_start=0.2)
        size, order = min(BATCH, len(sounds)), torch.randperm(len(sounds))
        for step in range(steps):
            if len(order) < size:
                order = torch.cat([order, torch.randperm(len(sounds))])
            batch, order = order[:size].tolist(), order[size:]
            picture = model.picture(_disturbed([sounds[i] for i in batch], sample_rate))
            logits, _ = model(_blotted(picture))
            loss = F.cross_entropy(logits, truth[batch], label_smoothing=SMOOTHING)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            if on_step is not None:
                on_step(step, loss.item())
    return model.eval()


def recognizer_of(
    folder: Path,
    sounds: Sequence[Tensor],
    labels: Sequence[str],
    sample_rate: int,
    steps: int = 700,
    on_step: Callable[[int, float], None] | None = None,
) -> Recognizer:
    """The recognizer that a folder holds from before, or a new one, which is left there.

    Args:
        folder: see `Recognizer.save`.
        sounds: see `train_recognizer`, as for the others.
        labels: what is said in each.
        sample_rate: in Hz.
        steps: of training.
        on_step: told the step and its loss.

    Raises:
        UserError: the folder holds something else under that name.
    """
    if (folder / "recognizer.json").exists():
        return Recognizer.load(folder)
    model = train_recognizer(sounds, labels, sample_rate, steps, on_step=on_step)
    model.save(folder)
    return model


def _disturbed(sounds: Sequence[Tensor], sample_rate: int) -> Tensor:
    """Other speed, place, slope and noise: `[B, T]`, 0.1 s to 0.6 s longer than the longest.

    Of sounds over a second, some second is taken: one long sound would slow the whole batch.
    """
    changed = []
    for sound in sounds:
        excess = max(len(sound) - sample_rate, 0)
        sound = sound[int(torch.randint(excess + 1, ())) :][:sample_rate]
        speed = torch.empty(()).uniform_(0.85, 1.18).item()
        size = max(round(len(sound) / speed), 2)
        changed.append(F.interpolate(sound[None, None].float(), size, mode="linear")[0, 0])
    room = int(torch.empty(()).uniform_(0.1, 0.6).item() * sample_rate)
    length = max(len(sound) for sound in changed) + room
    batch = torch.zeros(len(changed), length)
    for row, sound in zip(batch, changed, strict=True):
        start = int(torch.randint(length - len(sound) + 1, ()))
        row[start : start + len(sound)] = sound / sound.abs().max().clamp(min=1e-8)
    slope = torch.empty(len(batch), 1).uniform_(-0.5, 0.5)
    batch = batch + slope * F.pad(batch, (1, 0))[:, :-1]
    level = 10 ** torch.empty(len(batch), 1).uniform_(-4, -1.3)
    return batch + level * torch.randn_like(batch)


def _blotted(picture: Tensor) -> Tensor:
    """Blot out up to 120 ms and up to an eighth of the bands, another stretch in every picture."""
    for axis, widest in ((2, 8), (1, picture.shape[1] // 8)):
        size = picture.shape[axis]
        width = torch.randint(widest + 1, (len(picture), 1))
        start = (torch.rand(len(picture), 1) * (size - width)).long()
        place = torch.arange(size)
        blot = (place >= start) & (place < start + width)
        picture = picture.masked_fill(blot[:, None, :] if axis == 2 else blot[:, :, None], 0.0)
    return picture
