"""Fit a codec: one plain loop."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import torch
from torch import Tensor, nn

from vqaudio.audio import read_audio
from vqaudio.codec.model import Codec, CodecOutput
from vqaudio.codec.passes import decode_levels, encode_sounds
from vqaudio.config import CodebookBottleneck, CodecConfig, CodecRecipe
from vqaudio.corpus.manifest import Sound, read_manifest
from vqaudio.errors import UserError
from vqaudio.model_folder import save_model
from vqaudio.training.adversary import Adversary
from vqaudio.training.beginning import begin_with, load_discriminators, save_discriminators
from vqaudio.training.card import codec_card
from vqaudio.training.checkpoint import open_run
from vqaudio.training.data import Crops, duration_seconds
from vqaudio.training.display import Display
from vqaudio.training.health import CodebookUse, LevelHealth, level_health
from vqaudio.training.learner import Learner, part_ranks, start_ranks
from vqaudio.training.listening import listen
from vqaudio.training.log import Log
from vqaudio.training.objective import Objective
from vqaudio.training.split import split

BALANCE = "balance"  # file of a training state
VALIDATION_SECONDS = 10.0  # of each validation sound


def fit_codec(
    recipe: CodecRecipe, data: Path, out: Path, resume: bool = False, start: str | None = None
) -> None:
    """Train a codec and leave it in a folder.

    Args:
        recipe: what to train.
        data: the manifest to train on.
        out: becomes the model folder, with `training_state/` and TensorBoard's `log/` in it.
        resume: go on in `out`, bit for bit where the last checkpoint left off.
        start: a shipped name or model folder whose weights to begin with, without a warm start, and
            whose discriminators, where it has some and the recipe too.

    Raises:
        UserError: data, folder or model to begin with cannot be used, or training does not stay finite.
    """
    run = CodecRun(recipe, data, out, resume, start)
    steps, config = recipe.optimization.steps, recipe.run
    use = CodebookUse(run.codec.all_codebook_sizes, recipe.health.perplexity)
    sums: Counter[str] = Counter()
    first_rank = run.learner.fabric.is_global_zero
    with (
        closing(Log(out / "log", run.step, first_rank)) as log,
        Display("codec", run.step, steps, silent=not first_rank) as display,
    ):
        if run.step == 0:
            run.log_references(log)
        display.say(
            f"{len(run.sounds)} sounds, {len(run.validation)} for validation; from step {run.step}"
        )
        while run.step < steps:
            for audio in run.batches(steps):
                taken = run.train_step(audio)
                if taken is None:
                    run.learner.guard.fail(run.step, run.learner.checkpoint)
                    run.restore()
                    sums.clear()
                    break  # the batches to come are another attempt's
                terms, output = taken
                sums.update({name: value.item() for name, value in terms.items()}, steps=1)
                use.add(output.codes)
                display.advance(run.step)
                last = run.step == steps
                if last or run.step % config.log_every == 0:
                    count = sums.pop("steps")
                    means = {name: total / count for name, total in sums.items()}
                    sums.clear()
                    levels = run.health(audio, output) if first_rank and run.quantized else []
                    points = display.show(run.step, means, run.seconds_per_step, use.take(), levels)
                    log.scalars(run.step, points)
                if run.validation and (last or run.step % config.validate_every == 0):
                    results = run.validate(log)
                    words = "  ".join(f"{name} {value:.4g}" for name, value in results.items())
                    display.say(f"step {run.step}  validation  {words}")
                if last or run.step % config.checkpoint_every == 0:
                    run.save()
        display.say(f"{out}: trained for {run.step} steps")
    part_ranks()


class CodecRun:
    """What one training holds, and where it stands: codec, optimizer, data, losses, checkpoints.

    Args:
        recipe: see `fit_codec`, as for the others.
        data: the manifest.
        out: the folder.
        resume: whether to go on.
        start: the model to begin with, if any.
    """

    def __init__(
        self, recipe: CodecRecipe, data: Path, out: Path, resume: bool, start: str | None = None
    ) -> None:
        if start:  # codes are there already
            recipe = recipe.model_copy(update={"warm_start_steps": 0})
        self.recipe, self.out = recipe, out
        check_warm_start(recipe)
        fabric = start_ranks(recipe.run.precision)
        rate = recipe.codec.sample_rate
        sounds = read_manifest(data)
        marks = [sound.fields.get("split") for sound in sounds]
        rows, validation = split([s.id for s in sounds], marks, recipe.run.validation_sounds)
        self.sounds = [sounds[row] for row in rows]
        multiple = recipe.codec.levels[0].hop
        self.crops = Crops(self.sounds, rate, recipe.data, recipe.run.seed, multiple)
        if not start:
            check_fillable(recipe.codec, self.sounds)
        listen(self.crops)
        torch.manual_seed(recipe.run.seed)
        self.codec = Codec(recipe.codec)
        begun = begin_with(self.codec, start) if start else None
        if recipe.keep_codes:
            if not start:
                raise UserError("keep_codes: there are none to keep; begin with a model, by --from")
            self.codec.keep_codes()
        self.validation = [(sounds[row].id, _read(sounds[row], rate)) for row in validation]
        self.identity = {
            "recipe": recipe.model_dump(mode="json"),
            "sounds": _fingerprint(self.sounds),
            "from": begun,
        }
        going_on = fabric.broadcast(
            fabric.is_global_zero and open_run(out, self.identity, resume, CodecRecipe)
        )

        self.learner = Learner(fabric, self.codec, recipe.optimization, recipe.run.seed)
        self.objective = Objective(self.codec, recipe.losses).to(fabric.device)
        self.adversary = Adversary(fabric, recipe.adversarial) if recipe.adversarial else None
        if start and self.adversary is not None:
            load_discriminators(start, self.adversary.module, self.adversary.config)
        self.results: dict[str, float] = {}
        if going_on:
            self.restore()
        if not going_on or self.step >= recipe.optimization.steps:
            self.save()

    @property
    def step(self) -> int:
        """Steps taken."""
        return self.learner.step

    @property
    def quantizing(self) -> bool:
        """Whether the coming step quantizes: the warm start is over."""
        return self.step >= self.recipe.warm_start_steps

    @property
    def quantized(self) -> bool:
        """Whether the last step did, so that codebooks are set."""
        return self.step > self.recipe.warm_start_steps

    @property
    def seconds_per_step(self) -> float:
        """Seconds of sound in a step, on all ranks."""
        crops = self.recipe.data.crops * self.learner.fabric.world_size
        return crops * self.crops.length / self.recipe.codec.sample_rate

    def batches(self, steps: int) -> Iterator[Tensor]:
        """The batches from here on, float32 `[B, 1, T]` on the device of the codec."""
        fabric, attempt = self.learner.fabric, self.learner.guard.attempt
        rank, ranks = fabric.global_rank, fabric.world_size
        for audio in self.crops.batches(self.step, steps, rank, ranks, attempt):
            yield audio.to(fabric.device)

    def train_step(self, audio: Tensor) -> tuple[dict[str, Tensor], CodecOutput] | None:
        """Take one step, or none where loss or gradient is not finite.

        Args:
            audio: float32 `[B, 1, T]`.

        Returns:
            The terms of the loss and the gradient's norm, and what the codec gave; None where no
            step was taken.
        """
        self.learner.begin()
        kept = draw_levels(len(audio), [level.dropout for level in self.recipe.codec.levels])
        output = self._output(audio, self.quantizing, keep_levels=kept.to(audio.device))
        terms = self.objective.terms(output, audio)
        told: dict[str, Tensor] | None = {}
        if self.adversary is not None and self.step >= self.adversary.config.start_step:
            if self.step % self.adversary.config.every == 0:
                told = self.adversary.learn(output.made, audio, self.learner.learning_rate)
            terms |= self.adversary.terms(output.made, audio)
        norm = self.learner.descend([self.objective.loss(terms, output.made)])
        if norm is None or told is None:
            return None
        return {"loss": self.objective.total(terms), **terms, "gradient": norm, **told}, output

    def _output(self, audio: Tensor, quantize: bool, keep_levels: Tensor | None = None) -> CodecOutput:
        return self.learner.model(
            audio, quantize=quantize, keep_levels=keep_levels, coarse=self.recipe.losses.coarse > 0
        )

    def health(self, audio: Tensor, output: CodecOutput) -> list[LevelHealth]:
        """What each level adds to the sound of a step."""

        def distance(said: list[Tensor]) -> float:
            return self.objective.distance(self.codec.render(said), audio).item()

        return level_health(output.said, output.health, distance, self.recipe.health.added, self.step)

    @torch.no_grad()
    def validate(self, log: Log) -> dict[str, float]:
        """Terms of the loss on the validation sounds; resynthesis to hear and see goes to the log."""
        totals: Counter[str] = Counter()
        with self.learner.at_rest():
            for name, audio in self.validation:
                batch = _whole_frames(audio, self.codec.hops[0]).to(self.learner.fabric.device)
                terms = self.objective.terms(self._output(batch, self.quantized), batch)
                terms = {"loss": self.objective.total(terms), **terms}
                totals.update({key: value.item() for key, value in terms.items()})
                if self.quantized:
                    [(found, length)] = encode_sounds(self.codec, [audio])
                    for levels in {1, len(self.codec.hops)}:
                        made = torch.cat(list(decode_levels(self.codec, found[:levels], length)), dim=1)
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
        beside = self.adversary.tensors() if self.adversary is not None else {}
        if self.objective.balancer is not None:
            beside[BALANCE] = self.objective.balancer.tensors()
        self.learner.save(self.out, beside, {**self.identity, "results": self.results})
        with self.learner.at_rest():
            card = codec_card(self.recipe, self.codec, self.sounds, self.step, self.results)
            if self.learner.fabric.is_global_zero:
                save_model(self.out, self.codec, card)
                if self.adversary is not None:
                    save_discriminators(self.out, self.adversary.module, self.adversary.config)

    def restore(self) -> None:
        """Go back to the last training state."""
        tensors, values = self.learner.restore(self.out)
        if self.adversary is not None:
            self.adversary.restore(tensors)
        if self.objective.balancer is not None:
            self.objective.balancer.restore(tensors[BALANCE], self.learner.fabric.device)
        self.results = values["results"]


def draw_levels(batch: int, dropouts: Sequence[float]) -> Tensor:
    """How many levels each sound is decoded from: int64 `[batch]`, up to the first that is dropped."""
    stays = torch.rand(batch, len(dropouts)) >= torch.tensor(dropouts)
    return stays.int().cumprod(dim=1).sum(dim=1)


def check_warm_start(recipe: CodecRecipe) -> None:
    """Refuse a warm start that never ends.

    Raises:
        UserError: naming the key.
    """
    if recipe.warm_start_steps >= recipe.optimization.steps:
        raise UserError(
            f"warm_start_steps: {recipe.warm_start_steps} leaves none of optimization.steps, "
            f"{recipe.optimization.steps}, to learn codes in; lower it"
        )


def check_fillable(config: CodecConfig, sounds: Sequence[Sound]) -> None:
    """Refuse codebooks with more codes than the data have frames to set them from.

    Raises:
        UserError: naming the key.
    """
    seconds = sum(duration_seconds(sound) for sound in sounds)
    for index, level in enumerate(config.levels):
        frames = int(seconds * config.sample_rate / level.hop)
        section = level.bottleneck
        if isinstance(section, CodebookBottleneck) and section.size > frames:
            key = "bits" if section.codebook_size is None else "codebook_size"
            raise UserError(
                f"codec.levels.{index}.bottleneck.{key}: {section.size} codes, but {seconds:.0f} s of "
                f"sound have only {frames} frames at hop {level.hop}; give fewer codes or more sound"
            )


def _read(sound: Sound, sample_rate: int) -> Tensor:
    """The beginning of a sound, `[T]`."""
    duration = min(duration_seconds(sound), VALIDATION_SECONDS)
    audio, _ = read_audio(
        sound.path, sample_rate, start_seconds=sound.start_seconds, duration_seconds=duration
    )
    return audio.mean(dim=0)


def _whole_frames(audio: Tensor, hop: int) -> Tensor:
    """`[T]` to `[1, 1, T']`, with silence up to a multiple of `hop`."""
    return nn.functional.pad(audio, (0, -len(audio) % hop))[None, None]


def _fingerprint(sounds: Sequence[Sound]) -> str:
    """SHA-256 of which sounds there are and in which order, wherever their files lie."""
    digest = hashlib.sha256()
    for sound in sounds:
        digest.update(repr((sound.id, sound.start_seconds, sound.duration_seconds)).encode())
    return digest.hexdigest()
