"""Training a recognizer on labelled sounds, made different each time they come."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset

from vqaudio.errors import UserError
from vqaudio.evaluation.recognizer import Recognizer, RecognizerConfig

BATCH = 64
# of the labels: without it probabilities of 1e-9 would rule the modified Inception score
SMOOTHING = 0.02

Sounds = Sequence[Tensor] | Dataset[Tensor]  # each float `[T]`; a Dataset may read them as they come


def train_recognizer(
    sounds: Sounds,
    labels: Sequence[str],
    sample_rate: int,
    steps: int = 700,
    seed: int = 0,
    on_step: Callable[[int, float], None] | None = None,
    validation: tuple[Sounds, Sequence[str]] | None = None,
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
        validation: other sounds and their labels; of the weights after every tenth of the second
            half of the steps those are kept that recognize most of them, the last of equals.
            Without any, the last are.

    Raises:
        UserError: all labels are the same.
    """
    names = sorted(set(labels))
    if len(names) < 2:
        raise UserError(f"a recognizer needs sounds of two labels or more, not {len(names)}")
    truth = torch.tensor([names.index(label) for label in labels])
    looks = {round(steps * tenth / 10) for tenth in range(6, 11)} if validation else set()
    best, kept = -1.0, dict[str, Tensor]()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Recognizer(RecognizerConfig(names, sample_rate))
        optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps, pct_start=0.2)
        size, order = min(BATCH, len(truth)), torch.randperm(len(truth))
        for step in range(steps):
            if len(order) < size:
                order = torch.cat([order, torch.randperm(len(truth))])
            batch, order = order[:size].tolist(), order[size:]
            picture = model.train().picture(_disturbed([sounds[i] for i in batch], sample_rate))
            logits, _ = model(_blotted(picture))
            loss = F.cross_entropy(logits, truth[batch], label_smoothing=SMOOTHING)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            if on_step is not None:
                on_step(step, loss.item())
            if validation and step + 1 in looks:
                others, said = validation
                heard = model.recognize((others[i] for i in range(len(said))), sample_rate)
                if heard.accuracy(said) >= best:
                    best = heard.accuracy(said)
                    kept = {name: value.clone() for name, value in model.state_dict().items()}
    if kept:
        model.load_state_dict(kept)
    return model.eval()


def recognizer_of(
    folder: Path,
    sounds: Sounds,
    labels: Sequence[str],
    sample_rate: int,
    steps: int = 700,
    on_step: Callable[[int, float], None] | None = None,
    validation: tuple[Sounds, Sequence[str]] | None = None,
) -> Recognizer:
    """The recognizer that a folder holds from before, or a new one, which is left there.

    Args:
        folder: see `Recognizer.save`.
        sounds: see `train_recognizer`, as for the others.
        labels: what is said in each.
        sample_rate: in Hz.
        steps: of training.
        on_step: told the step and its loss.
        validation: other sounds and their labels.

    Raises:
        UserError: the folder holds something else under that name, or one of other labels or
            another rate.
    """
    if (folder / "recognizer.json").exists():
        model = Recognizer.load(folder)
        if model.config.labels != sorted(set(labels)) or model.config.sample_rate != sample_rate:
            raise UserError(
                f"{folder}: a recognizer of other labels or at another rate; remove it, or choose "
                "another place"
            )
        return model
    model = train_recognizer(sounds, labels, sample_rate, steps, on_step=on_step, validation=validation)
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
