"""Fit a prior: one plain loop over token shards, never over sound."""

import hashlib
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import torch
from torch import Tensor

from vqaudio.codec.code_vectors import code_vectors
from vqaudio.config import PriorRecipe
from vqaudio.corpus.dataset import TokenDataset
from vqaudio.errors import UserError
from vqaudio.evaluation.likelihood import fit
from vqaudio.model_folder import load_codec, save_model
from vqaudio.prior.model import Prior
from vqaudio.training.beginning import begin_with
from vqaudio.training.checkpoint import open_run
from vqaudio.training.display import Display
from vqaudio.training.learner import Learner, part_ranks, start_ranks
from vqaudio.training.log import Log
from vqaudio.training.prior_card import prior_card
from vqaudio.training.split import split
from vqaudio.training.token_data import TokenBatch, TokenBatches


def fit_prior(
    recipe: PriorRecipe,
    tokens: Path | Sequence[Path],
    out: Path,
    resume: bool = False,
    codec: str | Path = "speech-16k",
    start: str | None = None,
) -> None:
    """Train a prior and leave the best one, by validation, in a folder.

    Args:
        recipe: what to train.
        tokens: a folder of token shards, or several.
        out: becomes the model folder, with `training_state/` and TensorBoard's `log/` in it.
        resume: go on in `out`, bit for bit where the last checkpoint left off.
        codec: that made the tokens, a shipped name or a model folder; read with `data.code_vectors`.
        start: a shipped name or model folder whose weights to begin with.

    Raises:
        UserError: tokens, folder or model to begin with cannot be used, or training does not stay
            finite.
    """
    run = PriorRun(recipe, tokens, out, resume, codec, start)
    config = recipe.run
    sums: Counter[str] = Counter()
    first_rank = run.learner.fabric.is_global_zero
    with (
        closing(Log(out / "log", run.step, first_rank)) as log,
        Display("prior", run.step, recipe.optimization.steps, "tokens", not first_rank) as display,
    ):
        sounds = len(run.batches.rows)
        display.say(f"{sounds} sounds, {len(run.validation)} for validation; from step {run.step}")
        while not run.over():
            taken = run.train_step()
            if taken is None:
                run.learner.guard.fail(run.step, run.learner.checkpoint)
                run.restore()
                sums.clear()
                continue
            sums.update({name: value.item() for name, value in taken.items()}, steps=1)
            display.advance(run.step)
            last = run.step == recipe.optimization.steps
            if last or run.step % config.log_every == 0:
                count = sums.pop("steps")
                means = {name: total / count for name, total in sums.items()}
                sums.clear()
                log.scalars(run.step, display.show(run.step, means, run.batches.tokens_per_step))
            if run.validation and (last or run.step % config.validate_every == 0):
                results = run.validate()
                log.scalars(run.step, {f"validation/{name}": x for name, x in results.items()})
                words = "  ".join(f"{name} {value:.4g}" for name, value in results.items())
                display.say(f"step {run.step}  validation  {words}{'  best' * (run.stale == 0)}")
            if run.over() or run.step % config.checkpoint_every == 0:
                run.save()
        if run.stale >= recipe.patience:
            display.say(f"stopped: no progress in {run.stale} validations, since step {run.best_step}")
        display.say(f"{out}: trained for {run.step} steps")
    part_ranks()


class PriorRun:
    """What one training holds, and where it stands: prior, optimizer, data, best weights.

    Args:
        recipe: see `fit_prior`, as for the others.
        tokens: one folder of token shards, or several.
        out: the folder.
        resume: whether to go on.
        codec: that made the tokens.
        start: the model to begin with, if any.
    """

    def __init__(
        self,
        recipe: PriorRecipe,
        tokens: Path | Sequence[Path],
        out: Path,
        resume: bool,
        codec: str | Path,
        start: str | None = None,
    ) -> None:
        self.recipe, self.out = recipe, out
        fabric = start_ranks(recipe.run.precision)
        self.corpus = TokenDataset(tokens)
        vectors = self._code_vectors(codec) if recipe.data.code_vectors else []
        config = recipe.prior.model_copy(
            update={
                "labels": self._names("label", recipe.data.label),
                "speakers": self._names("speaker", recipe.data.speaker),
                "vector_dims": [[found.shape[1] for found in level] for level in vectors],
            }
        )
        if recipe.data.text and not any(self.corpus.column("text")):
            raise UserError(f"{self.corpus.paths[0]}: no row has a text, which data.text asks for")
        torch.manual_seed(recipe.run.seed)
        self.prior = Prior(config, self.corpus.spec)
        if vectors:
            self.prior.set_code_vectors(vectors)
        begun = begin_with(self.prior, start) if start else None
        marks = self.corpus.column("split")
        rows, self.validation = split(self.corpus.ids, marks, recipe.run.validation_sounds)
        if not rows:
            raise UserError(
                f"{self.corpus.paths[0]}: no sounds to train on; "
                "tokenize some outside validation and test"
            )
        self._check_texts([*rows, *self.validation])
        size = recipe.data.tokens_per_batch
        self.batches = TokenBatches(self.corpus, rows, self.prior, size, recipe.run.seed)
        self.identity = {
            "recipe": recipe.model_dump(mode="json"),
            "tokens": _fingerprint(self.corpus),
            "from": begun,
        }
        going_on = fabric.broadcast(
            fabric.is_global_zero and open_run(out, self.identity, resume, PriorRecipe)
        )

        self.learner = Learner(fabric, self.prior, recipe.optimization, recipe.run.seed)
        self.best_step = self.stale = 0
        self.best: dict[str, Tensor] = {}
        self.results: dict[str, float] = {}
        if going_on:
            self.restore()
        if not going_on or self.over():
            self.save()

    @property
    def step(self) -> int:
        """Steps taken."""
        return self.learner.step

    def over(self) -> bool:
        """Whether all steps are taken, or further ones would not help."""
        return self.step >= self.recipe.optimization.steps or self.stale >= self.recipe.patience

    def train_step(self) -> dict[str, Tensor] | None:
        """Take one step, or none where loss or gradient is not finite.

        Returns:
            Bits per token and the gradient's norm; None where no step was taken.
        """
        fabric, attempt = self.learner.fabric, self.learner.guard.attempt
        rank, ranks = fabric.global_rank, fabric.world_size
        batch = self.batches.batch(self.step, rank, ranks, attempt)
        self.learner.begin()
        tokens = batch.num_tokens
        nats = torch.zeros((), device=fabric.device)

        def losses() -> Iterator[Tensor]:
            for part in batch.parts(self.recipe.data.accumulation):
                likely, smoothed = self._nats(part)
                nats.add_(likely.detach())
                yield smoothed / tokens

        norm = self.learner.descend(losses())
        if norm is None:
            return None
        return {"bits_per_token": nats / tokens / math.log(2), "gradient": norm}

    def _nats(self, batch: TokenBatch) -> tuple[Tensor, Tensor]:
        """How unlikely all tokens of a batch are together, and the same with smoothed labels."""
        device = self.learner.fabric.device
        conditions = batch.conditions.dropped(self.recipe.data.condition_dropout).to(device)
        passages = [passage.to(device) for passage in batch.passages]
        found = self.learner.model(passages, conditions, self.recipe.label_smoothing)
        nats, learned = (
            torch.stack([each.sum() for each in kind]).sum() for kind in zip(*found, strict=True)
        )
        return nats, learned

    def _names(self, column: str, wanted: bool) -> list[str]:
        """The names that the prior is to know: all of a column, if it is wanted."""
        names = self.corpus.names(column)
        if wanted and not names:
            raise UserError(
                f"{self.corpus.paths[0]}: no row has a {column}, which data.{column} asks for"
            )
        return names if wanted else []

    def _code_vectors(self, codec: str | Path) -> list[list[Tensor]]:
        """The vectors of the codec that made the tokens."""
        found = load_codec(codec)
        if found.fingerprint != self.corpus.codec:
            raise UserError(
                f"{self.corpus.paths[0]}: tokens of codec {self.corpus.codec[:12]}, not of {codec}, "
                "whose vectors data.code_vectors asks for; give theirs with --codec"
            )
        return code_vectors(found)

    def _check_texts(self, rows: Sequence[int]) -> None:
        """Refuse texts that the prior cannot read whole, before anything is trained."""
        if not self.recipe.data.text:
            return
        texts = self.corpus.column("text")
        sizes = {row: len(text.encode()) for row in rows if (text := texts[row]) is not None}
        if not sizes:
            raise UserError(f"{self.corpus.paths[0]}: no row has a text, which data.text asks for")
        longest, room = max(sizes, key=sizes.__getitem__), self.recipe.prior.text_bytes
        if sizes[longest] > room:
            raise UserError(
                f"prior.text_bytes: {room} is too few for the text of {self.corpus.ids[longest]}, the "
                f"longest one; it takes {sizes[longest]}"
            )

    def _said(self, fields: Mapping[str, str]) -> dict[str, str | None]:
        """What the manifest says of a sound, of all that the prior reads."""
        config = self.prior.config
        read = {"label": config.labels, "speaker": config.speakers, "text": config.text_bytes}
        return {name: fields.get(name) for name, known in read.items() if known}

    def validate(self) -> dict[str, float]:
        """Measure on the validation sounds, and keep the weights if they are the best so far.

        Returns:
            `bits_per_token`, END's bits included but END not counted; its share of the codebooks'
            `nominal` bits; `bits_per_second` of sound.
        """
        rows = [self.corpus[row] for row in self.validation]
        with self.learner.at_rest():
            found = fit(
                self.prior, [row.codes for row in rows], [self._said(row.fields) for row in rows]
            )
            results = {
                "bits_per_token": found.bits_per_token,
                "of_nominal": found.share,
                "bits_per_second": found.bits_per_second,
            }
            best = self.results.get("bits_per_token", math.nan)
            if math.isnan(best) or results["bits_per_token"] < best:
                self.results, self.best_step, self.stale = results, self.step, 0
                self.best = {
                    name: tensor.detach().clone() for name, tensor in self.prior.state_dict().items()
                }
            else:
                self.stale += 1
        return results

    def save(self) -> None:
        """Write the training state, then the model folder with the best weights so far."""
        standing = {"best_step": self.best_step, "stale": self.stale, "results": self.results}
        self.learner.save(self.out, {"best": self.best}, {**self.identity, **standing})
        best = Prior(self.prior.config, self.prior.codec)
        with self.learner.at_rest():
            best.load_state_dict(self.best or self.prior.state_dict())
        step = self.best_step if self.best else self.step
        card = prior_card(self.recipe, best, len(self.batches.rows), step, self.results)
        if self.learner.fabric.is_global_zero:
            save_model(self.out, best, card)

    def restore(self) -> None:
        """Go back to the last training state."""
        tensors, values = self.learner.restore(self.out)
        self.best = {name: value.to(self.prior.device) for name, value in tensors["best"].items()}
        self.best_step, self.stale = values["best_step"], values["stale"]
        self.results = values["results"]


def _fingerprint(corpus: TokenDataset) -> str:
    """SHA-256 of the codec, and of which sounds there are, how long, in which order, said to be what."""
    digest = hashlib.sha256(corpus.codec.encode())
    columns = (
        corpus.column(name) for name in ("id", "num_samples", "split", "label", "speaker", "text")
    )
    for row in zip(*columns, strict=True):
        digest.update(repr(row).encode())
    return digest.hexdigest()
