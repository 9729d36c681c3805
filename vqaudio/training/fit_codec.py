"""Fit a codec: one plain loop."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from vqaudio.audio import read_audio
from vqaudio.codec.heads import MelSpectrogram
from vqaudio.codec.model import Codec, CodecOutput
from vqaudio.config import CodecRecipe, Optimization
from vqaudio.corpus.manifest import Sound, read_manifest
from vqaudio.model_folder import save_model
from vqaudio.training.card import codec_card
from vqaudio.training.checkpoint import (
    load_state,
    open_run,
    optimizer_tensors,
    restore_optimizer,
    save_state,
)
from vqaudio.training.data import Crops, split
from vqaudio.training.display import Display
from vqaudio.training.guard import Guard
from vqaudio.training.health import CodebookUse
from vqaudio.training.log import Log
from vqaudio.training.losses import SpectralLoss
from vqaudio.training.schedule import WeightAverage, learning_rate

VALIDATION_SECONDS = 10.0  # of each validation sound


def fit_codec(recipe: CodecRecipe, data: Path, out: Path, resume: bool = False) -> None:
    """Train a codec and leave it in a folder.

    Args:
        recipe: what to train.
        data: the manifest to train on.
        out: becomes the model folder, with `training_state/` and TensorBoard's `log/` in it.
        resume: go on in `out`, bit for bit where the last checkpoint left off.

    Raises:
        UserError: data or folder cannot be used, or training does not stay finite.
    """
    run = CodecRun(recipe, data, out, resume)
    steps, config = recipe.optimization.steps, recipe.run
    amount = recipe.data.crops * run.crops.length / recipe.codec.sample_rate * run.fabric.world_size
    use = CodebookUse(run.codec.codebook_sizes)
    sums: Counter[str] = Counter()
    log = Log(out / "log", run.step)
    if run.step == 0:
        run.log_references(log)
    with Display("codec", run.step, steps) as display:
        while run.step < steps:
            for audio in run.batches(steps):
                taken = run.train_step(audio)
                if taken is None:
                    run.guard.fail(run.step, run.checkpoint)
                    run.restore()
                    break  # the batches to come are another attempt's
                terms, codes = taken
                sums.update({name: value.item() for name, value in terms.items()}, steps=1)
                use.add(codes)
                display.advance(run.step)
                last = run.step == steps
                if last or run.step % config.log_every == 0:
                    count = sums.pop("steps")
                    means = {name: total / count for name, total in sums.items()}
                    sums.clear()
                    log.scalars(run.step, display.show(run.step, means, amount, use.take()))
                if run.validation and (last or run.step % config.validate_every == 0):
                    results = run.validate(log)
                    words = "  ".join(f"{name} {value:.4g}" for name, value in results.items())
                    display.say(f"step {run.step}  validation  {words}")
                if last or run.step % config.checkpoint_every == 0:
                    run.save()
    log.close()


class CodecRun:
    """What one training holds, and where it stands: codec, optimizer, data, losses, checkpoints.

    Args:
        recipe: see `fit_codec`, as for the others.
        data: the manifest.
        out: the folder.
        resume: whether to go on.
    """

    def __init__(self, recipe: CodecRecipe, data: Path, out: Path, resume: bool) -> None:
        from lightning_fabric import Fabric  # takes seconds to import, and only training needs it

        self.recipe, self.out = recipe, out
        rate = recipe.codec.sample_rate
        self.sounds, validation = split(read_manifest(data), recipe.run.validation_sounds)
        torch.manual_seed(recipe.run.seed)
        self.codec = Codec(recipe.codec)
        multiple = self.codec.hops[0]
        self.crops = Crops(self.sounds, rate, recipe.data, recipe.run.seed, multiple)
        self.validation = [(sound.id, _read(sound, rate)) for sound in validation]
        self.identity = {"recipe": recipe.model_dump(mode="json"), "sounds": _fingerprint(self.sounds)}
        going_on = open_run(out, self.identity, resume)

        self.fabric = Fabric(devices=1, precision=recipe.run.precision)
        self.optimizer = adamw(self.codec, recipe.optimization)
        self.model, self.stepper = self.fabric.setup(self.codec, self.optimizer)
        self.spectral = SpectralLoss(rate, recipe.losses.fft_sizes).to(self.fabric.device)
        decay = recipe.optimization.weight_ema
        self.average = WeightAverage(self.codec, decay) if decay else None
        self.guard = Guard()
        self.step = self.checkpoint = 0
        self.results: dict[str, float] = {}
        if going_on:
            self.restore()
        if not going_on or self.step >= recipe.optimization.steps:
            self.save()

    @property
    def quantizing(self) -> bool:
        """Whether the warm start is over."""
        return self.step >= self.recipe.warm_start_steps

    def batches(self, steps: int) -> Iterator[Tensor]:
        """The batches from here on, float32 `[B, 1, T]` on the device of the codec."""
        rank, ranks = self.fabric.global_rank, self.fabric.world_size
        for audio in self.crops.batches(self.step, steps, rank, ranks, self.guard.attempt):
            yield audio.to(self.fabric.device)

    def train_step(self, audio: Tensor) -> tuple[dict[str, Tensor], list[Tensor]] | None:
        """Take one step, or none where loss or gradient is not finite.

        Args:
            audio: float32 `[B, 1, T]`.

        Returns:
            The terms of the loss and the gradient's norm, and the codes per level; None where no
            step was taken.
        """
        rank = self.fabric.global_rank
        seed_step(self.recipe.run.seed, self.guard.attempt, self.step, rank)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.step, self.recipe.optimization)
        kept = draw_levels(len(audio), len(self.codec.hops), self.recipe.level_dropout)
        output = self.model(audio, quantize=self.quantizing, keep_levels=kept.to(audio.device))
        terms = self.terms(output, audio)
        self.optimizer.zero_grad()
        self.fabric.backward(terms["loss"])
        norm = self.fabric.clip_gradients(
            self.model,
            self.stepper,
            max_norm=self.recipe.optimization.clip_norm,
            error_if_nonfinite=False,  # the guard sees to it
        )
        assert norm is not None
        if not torch.isfinite(norm + terms["loss"]):
            return None
        self.stepper.step()
        if self.average is not None:
            self.average.update(self.codec)
        self.step += 1
        return {**terms, "gradient": norm}, output.codes

    def terms(self, output: CodecOutput, audio: Tensor) -> dict[str, Tensor]:
        """Terms of the loss, and `loss`, their sum weighted as the recipe says."""
        weights = self.recipe.losses.model_dump(exclude={"fft_sizes"})
        terms = dict(output.losses)
        if output.audio is not None:
            terms |= self.spectral(output.audio, audio)
        if output.spectrogram is not None:
            assert isinstance(self.codec.head, MelSpectrogram)
            terms["mel"] = (output.spectrogram - self.codec.head.target(audio)).abs().mean()
        loss = torch.stack([weights[name] * value.float() for name, value in terms.items()]).sum()
        return {"loss": loss, **terms}

    @torch.no_grad()
    def validate(self, log: Log) -> dict[str, float]:
        """Terms of the loss on the validation sounds; resynthesis to hear and see goes to the log."""
        totals: Counter[str] = Counter()
        with self.at_rest():
            for name, audio in self.validation:
                batch = _whole_frames(audio, self.codec.hops[0]).to(self.fabric.device)
                terms = self.terms(self.model(batch, quantize=self.quantizing), batch)
                totals.update({key: value.item() for key, value in terms.items()})
                if self.quantizing:
                    codes = self.codec.encode(audio)
                    for levels in {1, len(self.codec.hops)}:
                        made = self.codec.decode(codes, levels=levels)
                        log.sound(self.step, f"{name}/levels_{levels}", made[0], self.codec.sample_rate)
        self.results = {key: total / len(self.validation) for key, total in totals.items()}
        log.scalars(self.step, {f"validation/{name}": value for name, value in self.results.items()})
        return self.results

    def log_references(self, log: Log) -> None:
        """The validation sounds as they are."""
        for name, audio in self.validation:
            log.sound(0, f"{name}/reference", audio, self.codec.sample_rate)

    def save(self) -> None:
        """Write the training state, then the model folder."""
        tensors = {
            "model": self.codec.state_dict(),
            "optimizer": optimizer_tensors(self.optimizer, self.codec),
            "average": self.average.tensors if self.average is not None else {},
        }
        position = {"step": self.step, "attempt": self.guard.attempt, "results": self.results}
        save_state(self.out, tensors, {**self.identity, **position})
        self.checkpoint = self.step
        self.guard.saved()
        with self.at_rest():
            card = codec_card(self.recipe, self.codec.bitrate, self.sounds, self.step, self.results)
            save_model(self.out, self.codec, card)

    def restore(self) -> None:
        """Go back to the last training state."""
        tensors, values = load_state(self.out)
        self.codec.load_state_dict(tensors["model"])
        restore_optimizer(self.optimizer, self.codec, tensors["optimizer"])
        if self.average is not None:
            self.average.load(tensors["average"])
        self.step = self.checkpoint = values["step"]
        self.guard.attempt = max(self.guard.attempt, values["attempt"])
        self.results = values["results"]

    @contextmanager
    def at_rest(self) -> Iterator[None]:
        """The codec as it is to be used: averaged weights, nothing learned inside the block."""
        self.codec.eval()
        with self.average.in_place(self.codec) if self.average is not None else nullcontext():
            yield
        self.codec.train()


def seed_step(seed: int, attempt: int, step: int, rank: int) -> None:
    """Let all that torch draws in a step follow from these numbers, so that none is saved."""
    state = np.random.SeedSequence([seed, attempt, step, rank]).generate_state(1, np.uint64)
    torch.manual_seed(int(state[0]))


def draw_levels(batch: int, levels: int, dropout: float) -> Tensor:
    """How many levels each sound is decoded from: int64 `[batch]`, fewer than all for a share."""
    fewer = torch.randint(1, max(2, levels), (batch,))
    return torch.where(torch.rand(batch) < dropout, fewer, levels).clamp(max=levels)


def adamw(module: nn.Module, config: Optimization) -> torch.optim.AdamW:
    """AdamW that lets biases and scales of norms, which have one dimension, keep their size."""
    matrices = [p for p in module.parameters() if p.ndim > 1]
    vectors = [p for p in module.parameters() if p.ndim <= 1]
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(config.betas[0], config.betas[1]))


def _read(sound: Sound, sample_rate: int) -> Tensor:
    """The beginning of a sound, `[T]`."""
    duration = sound.duration_seconds
    if duration is not None:
        duration = min(duration, VALIDATION_SECONDS)
    audio, _ = read_audio(
        sound.path, sample_rate, start_seconds=sound.start_seconds, duration_seconds=duration
    )
    return audio.mean(dim=0)[: round(VALIDATION_SECONDS * sample_rate)]


def _whole_frames(audio: Tensor, hop: int) -> Tensor:
    """`[T]` to `[1, 1, T']`, with silence up to a multiple of `hop`."""
    return nn.functional.pad(audio, (0, -len(audio) % hop))[None, None]


def _fingerprint(sounds: Sequence[Sound]) -> str:
    """SHA-256 of which sounds there are and in which order, wherever their files lie."""
    digest = hashlib.sha256()
    for sound in sounds:
        digest.update(repr((sound.id, sound.start_seconds, sound.duration_seconds)).encode())
    return digest.hexdigest()
