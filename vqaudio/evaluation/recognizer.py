"""A small ResNeXt that recognizes labels: do coded and sampled sounds say what they should?"""

import json
from collections.abc import Iterable, Sequence
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
STEM = 16  # channels of the first convolution
EDGE_SECONDS = 0.12  # silence put round every sound, so that its edges lie inside the network's view
RANGE_DECADES = 3.0  # 60 dB: what is fainter than that under the loudest band counts as silence


@dataclass(frozen=True)
class RecognizerConfig:
    """Everything that shapes a recognizer.

    Args:
        labels: words, speakers, kinds of sound, in the order of the outputs.
        sample_rate: in Hz, that it listens at.
        bands: mel bands, 0 Hz to Nyquist.
        channels: of each stage; before each of them bands and frames are halved.
        blocks: residual blocks a stage.
        groups: of a block's middle convolution, see `Aggregated`.
        features: width of the layer before the outputs.
    """

    labels: list[str]
    sample_rate: int
    bands: int = 40
    channels: tuple[int, ...] = (32, 64, 128)
    blocks: int = 2
    groups: int = 8
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


class Aggregated(nn.Module):
    """ResNeXt's residual block `x + sum_g T_g(x)` (Xie et al. 2017, arXiv 1611.05431, figure 3c).

    Each of the groups narrows, looks around and widens on channels of its own.

    Args:
        before: channels of the input `[B, before, bands, F]`.
        after: channels of the output `[B, after, bands / stride, F / stride]`, rounded up.
        groups: how many there are; they share `after / 2` channels.
        stride: of bands and frames.
    """

    def __init__(self, before: int, after: int, groups: int, stride: int) -> None:
        super().__init__()
        width = after // 2
        self.branch = nn.Sequential(
            *(nn.Conv2d(before, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()),
            nn.Conv2d(width, width, 3, stride, padding=1, groups=groups, bias=False),
            *(nn.BatchNorm2d(width), nn.ReLU()),
            *(nn.Conv2d(width, after, 1, bias=False), nn.BatchNorm2d(after)),
        )
        self.skip = nn.Sequential()
        if stride > 1 or before != after:
            self.skip.append(nn.Conv2d(before, after, 1, stride, bias=False))
            self.skip.append(nn.BatchNorm2d(after))

    def forward(self, x: Tensor) -> Tensor:
        """`[B, before, bands, F]` to `[B, after, bands / stride, F / stride]`."""
        return (self.skip(x) + self.branch(x)).relu()


class Recognizer(nn.Module):
    """Log-mel picture of a sound -> a small ResNeXt -> attention over time -> one of K labels.

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
        before = STEM
        layers: list[nn.Module] = [nn.Conv2d(1, before, 3, padding=1, bias=False)]
        layers += [nn.BatchNorm2d(before), nn.ReLU(), nn.MaxPool2d(2, ceil_mode=True)]
        bands = -(-config.bands // 2)
        for stage, channels in enumerate(config.channels):
            for block in range(config.blocks):
                stride = 2 if stage and not block else 1
                layers.append(Aggregated(before, channels, config.groups, stride))
                before, bands = channels, -(-bands // stride)
        self.convolutions = nn.Sequential(*layers)
        # twice as fast on a CPU
        self.convolutions.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
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
    def recognize(self, sounds: Iterable[Tensor], sample_rate: int) -> Recognition:
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
