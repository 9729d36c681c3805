"""Prior: how likely Codes are, as a causal transformer over their flat token sequence.

After VQ-VAE-2's autoregressive priors (Razavi et al. 2019, arXiv 1906.00446, section 3.2), with
all levels in one sequence in time order, so that one model serves every hierarchy.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vqaudio.codes import Codes
from vqaudio.config import PriorConfig
from vqaudio.errors import UserError
from vqaudio.fingerprint import fingerprint
from vqaudio.prior.layout import END, FlatLayout, Slot
from vqaudio.prior.sampler import Choice, sample
from vqaudio.prior.transformer import Cache, Transformer

PAD = -1


@dataclass(frozen=True)
class CodecSpec:
    """What a prior must know of the codec whose codes it reads.

    Args:
        sample_rate: in Hz.
        hops: samples a frame, per level, coarsest first.
        codebook_sizes: per level, per quantizer.
        fingerprint: of the codec; empty if unknown.
    """

    sample_rate: int
    hops: list[int]
    codebook_sizes: list[list[int]]
    fingerprint: str = ""


@dataclass(frozen=True)
class NLL:
    """How unlikely one sound is.

    Args:
        bits: negative log2-likelihood of its tokens, END included.
        bits_per_second: the same, over its duration.
        per_frame: float32 `[F_coarse]`, bits of all tokens that start in each coarse frame; END
            counts to the last one, so that they add up to `bits`.
    """

    bits: float
    bits_per_second: float
    per_frame: Tensor


class Prior(nn.Module):
    """A probability of Codes, and a source of new ones.

    What comes next is told to the transformer three times over: the token before, an embedding of
    the next token's slot (which codebook, where within the coarse frame), and the label at every
    position. Probabilities are normalized over what may come there, so that no bit is spent on
    codes of another codebook.

    Args:
        config: shape of the transformer, and the labels.
        codec: whose codes these are.

    Raises:
        UserError: the context has no room for two coarse frames.
    """

    def __init__(self, config: PriorConfig, codec: CodecSpec) -> None:
        super().__init__()
        self.config = config
        self.codec = codec
        self.layout = FlatLayout(codec.hops, codec.codebook_sizes)
        least = 2 * len(self.layout.slots) + 2
        if config.context < least:
            raise UserError(
                f"prior.context: {config.context} is too short for these codes; two coarse frames "
                f"with their start and end take {least} tokens"
            )
        width = config.width
        self.token_embedding = nn.Embedding(self.layout.vocab_size, width)
        self.slot_embedding = nn.Embedding(len(self.layout.slots), width)
        self.label_embedding = nn.Embedding(1 + len(config.labels), width)  # 0 stands for none
        self.dropout = nn.Dropout(config.dropout)
        self.transformer = Transformer(
            config.layers, width, config.heads, config.dropout, config.context
        )
        self.to_logits = nn.Linear(width, self.layout.vocab_size, bias=False)
        for layer in (self.token_embedding, self.slot_embedding, self.label_embedding, self.to_logits):
            nn.init.normal_(layer.weight, std=0.02)

    @property
    def sample_rate(self) -> int:
        """In Hz, of the sounds that its codes stand for."""
        return self.codec.sample_rate

    @property
    def labels(self) -> list[str]:
        """What it can be conditioned on; empty for a prior without labels."""
        return list(self.config.labels)

    @property
    def longest_seconds(self) -> float:
        """Of a sound that the context holds whole, with its start and end."""
        return self.layout.num_samples(self.layout.complete(self.config.context - 2)) / self.sample_rate

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return self.to_logits.weight.device

    @property
    def fingerprint(self) -> str:
        """SHA-256 of configuration and weights, in hex: equal for equal models only."""
        return fingerprint(self, {"prior": self.config.identity(), "codec": asdict(self.codec)})

    def label_index(self, label: str | None) -> int:
        """Row of the label embedding: 0 for no label.

        Raises:
            UserError: this prior does not know the label.
        """
        if label is None:
            return 0
        if not self.config.labels:
            raise UserError(f"label {label}: this prior was trained without labels; leave it out")
        if label not in self.config.labels:
            raise UserError(f"label {label}: unknown; this prior knows {', '.join(self.config.labels)}")
        return 1 + self.config.labels.index(label)

    def forward(self, sequences: Tensor, labels: Tensor) -> Tensor:
        """Negative log-likelihood of every token, given those before it.

        Args:
            sequences: int64 `[B, 1 + N]`. Column 0 is only read: END at the start of a sound, or,
                for a part of one, the token before the part, which starts with a coarse frame.
                The rest is also predicted; `PAD` fills up shorter rows at their ends.
            labels: int64 `[B]`, as `label_index` gives them.

        Returns:
            float32 `[B, N]`, in nats, 0 at padding.
        """
        inputs, targets = sequences[:, :-1].clamp(min=END), sequences[:, 1:]
        hidden = self.read(inputs, labels)
        starts_sound = sequences[:, 0] == END
        nats = hidden.new_zeros(targets.shape, dtype=torch.float32)
        for places, slot in self._places(targets.shape[1]):
            here = targets[:, places]
            # END is the last column of the codebook's logits; where it may not come it has none.
            wanted = torch.where(here == END, slot.size, here - slot.offset).masked_fill(
                here == PAD, PAD
            )
            logits = self.logits(hidden[:, places], slot)
            if places.start == 0:  # no sound is empty
                logits[:, 0, -1] = logits[:, 0, -1].masked_fill(starts_sound, -torch.inf)
            nats[:, places] = F.cross_entropy(
                logits.transpose(1, 2).float(), wanted, reduction="none", ignore_index=PAD
            )
        return nats

    def read(self, inputs: Tensor, labels: Tensor, cache: Cache | None = None) -> Tensor:
        """Features from which the token after each input is predicted.

        Args:
            inputs: int64 `[B, N]`; the first one stands before the first slot, or the cache's next.
            labels: int64 `[B]`.
            cache: of earlier calls, for sampling.

        Returns:
            `[B, N, D]`.
        """
        start = cache.filled if cache else 0
        slots = torch.arange(start, start + inputs.shape[1], device=inputs.device) % len(
            self.layout.slots
        )
        x = self.token_embedding(inputs) + self.slot_embedding(slots)
        x = x + self.label_embedding(labels)[:, None]
        return self.transformer(self.dropout(x), cache)

    def logits(self, hidden: Tensor, slot: Slot) -> Tensor:
        """Scores of what may come in a slot.

        Args:
            hidden: `[..., D]`.
            slot: the one that these features predict.

        Returns:
            `[..., size]`, or `[..., size + 1]` with END last if it may come.
        """
        weight = self.to_logits.weight[slot.offset : slot.offset + slot.size]
        if slot.may_end:
            weight = torch.cat([weight, self.to_logits.weight[END : END + 1]])
        return hidden @ weight.T

    @torch.no_grad()
    def nll(self, codes: Codes, label: str | None = None) -> NLL:
        """How unlikely a sound is, in bits.

        A sound longer than the context is read in overlapping parts; every token has at least
        almost half the context before it, or the start of the sound.

        Args:
            codes: of this prior's codec.
            label: what the sound is said to be.

        Raises:
            UserError: the codes are another codec's, or the label is unknown.
        """
        self._must_read(codes)
        labels = torch.tensor([self.label_index(label)], device=self.device)
        sequence = torch.cat([torch.tensor([END]), self.layout.encode(codes)]).to(self.device)
        cycle, context = len(self.layout.slots), self.config.context
        parts: list[Tensor] = []
        start = done = 0
        with evaluating(self):
            while done < len(sequence) - 1:
                nats = self(sequence[None, start : start + context], labels)[0]
                parts.append(nats[done - start :])
                done = start + len(nats)
                start = (done - context // 2) // cycle * cycle
        bits = torch.cat(parts).cpu() / math.log(2)
        coarse_frames = codes.levels[0].shape[1]
        frame = (torch.arange(len(bits)) // cycle).clamp(max=coarse_frames - 1)
        per_frame = torch.zeros(coarse_frames).index_add_(0, frame, bits)
        total = float(bits.double().sum())
        return NLL(total, total / codes.duration_seconds, per_frame)

    def sample(
        self,
        n: int = 1,
        seconds: float | None = None,
        label: str | None = None,
        seed: int = 0,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
    ) -> list[Codes]:
        """Draw new sounds; sound i of a seed is the same whatever `n` is.

        Args:
            n: how many.
            seconds: exact length of each, rounded up to whole samples; otherwise each ends where
                the prior ends it, or where the context does.
            label: what to say; one of `labels`.
            seed: of all draws.
            temperature: below 1 is more likely, above 1 more varied; 0 takes the likeliest tokens.
            top_k: draw from this many likeliest tokens; 0 from all.
            top_p: draw from the fewest likeliest tokens with this probability together.

        Raises:
            UserError: a number is out of range, `seconds` is beyond the context or the label is
                unknown.
        """
        with evaluating(self):
            return sample(self, n, seconds, label, seed, Choice(temperature, top_k, top_p))

    def _must_read(self, codes: Codes) -> None:
        if codes.sample_rate != self.sample_rate:
            raise UserError(
                f"codes: at {codes.sample_rate} Hz, but this prior reads {self.sample_rate} Hz"
            )
        if codes.codec and self.codec.fingerprint and codes.codec != self.codec.fingerprint:
            raise UserError(
                f"codes: made by codec {codes.codec[:12]}, but this prior reads those of "
                f"{self.codec.fingerprint[:12]}; tokenize with that one"
            )

    def _places(self, length: int) -> Sequence[tuple[slice, Slot]]:
        """Where in `length` positions each slot comes."""
        slots = self.layout.slots[:length]
        return [(slice(index, length, len(self.layout.slots)), slot) for index, slot in enumerate(slots)]


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Without dropout; afterwards as it was."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
