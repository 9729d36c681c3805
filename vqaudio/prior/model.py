"""Prior: how likely Codes are, as causal transformers over their tokens.

After VQ-VAE-2's autoregressive priors (Razavi et al. 2019, arXiv 1906.00446, section 3.2): all
levels in one sequence (`flat`), or with parallel heads (`delay`), so that one model serves every
hierarchy; or one model a level, each told the coarser ones (`cascade`).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Literal, Unpack, overload

import torch
from torch import Tensor, nn

from vqaudio.codes import Codes
from vqaudio.config import PriorConfig
from vqaudio.errors import UserError
from vqaudio.fingerprint import fingerprint
from vqaudio.prior.conditions import Conditions, conditions_of
from vqaudio.prior.layout import Layout
from vqaudio.prior.sampler import Options, Request, sample, sample_stream
from vqaudio.prior.stage import Passage, Stage, batch_of, evaluating
from vqaudio.prior.surroundings import Surroundings


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
        per_frame: float32 `[F_coarse]`, bits of all tokens of each coarse frame; END counts to the
            last one, so that they add up to `bits`.
    """

    bits: float
    bits_per_second: float
    per_frame: Tensor


class Prior(nn.Module):
    """A probability of Codes, and a source of new ones.

    Args:
        config: layout, shape of the transformers, and the conditions.
        codec: whose codes these are.

    Raises:
        UserError: the context has no room for two coarse frames, or the vectors' dimensions are not
            of this codec's codebooks.
    """

    def __init__(self, config: PriorConfig, codec: CodecSpec) -> None:
        super().__init__()
        self.config = config
        self.codec = codec
        dims = [len(level) for level in config.vector_dims]
        if dims and dims != [len(sizes) for sizes in codec.codebook_sizes]:
            raise UserError(
                f"prior.vector_dims: {config.vector_dims} has not one for each codebook of "
                f"{codec.codebook_sizes}"
            )
        self.stages: Sequence[Stage] = nn.ModuleList(_stages(config, codec))  # type: ignore[assignment]
        for stage in self.stages:
            least = 2 * stage.layout.cycle + 2 + config.text_bytes
            if config.context < least:
                raise UserError(
                    f"prior.context: {config.context} is too short for these codes; two coarse frames "
                    f"with their start and end, and the text, take {least} steps"
                )

    @property
    def sample_rate(self) -> int:
        """In Hz, of the sounds that its codes stand for."""
        return self.codec.sample_rate

    @property
    def layout(self) -> Layout:
        """Of the first stage, which says how long a sound is."""
        return self.stages[0].layout

    @property
    def labels(self) -> list[str]:
        """What it can be conditioned on; empty for a prior without labels."""
        return list(self.config.labels)

    @property
    def speakers(self) -> list[str]:
        """Voices that it can be asked for; empty for a prior without speakers."""
        return list(self.config.speakers)

    @property
    def longest_seconds(self) -> float:
        """Of a sound that it can be asked for, without a text."""
        frames = self.layout.longest(self.config.context, end=False)
        return frames * self.codec.hops[-1] / self.sample_rate

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return next(self.parameters()).device

    @property
    def fingerprint(self) -> str:
        """SHA-256 of configuration and weights, in hex: equal for equal models only."""
        return fingerprint(self, {"prior": self.config.identity(), "codec": asdict(self.codec)})

    def conditions(
        self, label: str | None = None, speaker: str | None = None, text: str | None = None
    ) -> Conditions:
        """Conditions of one sound as numbers.

        Raises:
            UserError: the prior does not know a name, or reads no such condition.
        """
        return conditions_of(self.config, [label], [speaker], [text])

    def set_code_vectors(self, vectors: Sequence[Sequence[Tensor]]) -> None:
        """Take over what the codec says of its codes, before training; it is saved with the weights.

        Args:
            vectors: per level, per quantizer, float32 `[K, D]`, D as in `config.vector_dims`.
        """
        with torch.no_grad():
            for stage in self.stages:
                stage.set_code_vectors(vectors)

    def check_codec(self, fingerprint: str) -> None:
        """Refuse a codec whose codes it does not read.

        Raises:
            UserError: the fingerprint is not that of its codec.
        """
        if fingerprint != self.codec.fingerprint:
            raise UserError(
                f"the prior reads codec {self.codec.fingerprint[:12]}, not {fingerprint[:12]}; "
                "give the two that belong together"
            )

    def room(self, conditions: Conditions) -> int:
        """Steps that a transformer holds beside the text of one sound."""
        return self.config.context - int(conditions.text_lengths[0])

    def forward(
        self, passages: list[Passage], conditions: Conditions, smoothing: float = 0.0
    ) -> list[tuple[Tensor, Tensor]]:
        """`Stage.forward` of each stage, on a batch of passages of each."""
        return [
            stage(passage, conditions, smoothing)
            for stage, passage in zip(self.stages, passages, strict=True)
        ]

    def above(self, stage: Stage, codes: Codes) -> Tensor | None:
        """Tokens of the levels above a stage, as `Stage.passage` takes them; None for the first."""
        if stage.surroundings is None:
            return None
        return stage.surroundings.tokens(codes.levels[: stage.layout.levels[0]])

    @torch.no_grad()
    def nll(
        self,
        codes: Codes,
        label: str | None = None,
        speaker: str | None = None,
        text: str | None = None,
    ) -> NLL:
        """How unlikely a sound is, in bits.

        A sound longer than the context is read in overlapping parts; every token has at least
        almost half the context before it, or the start of the sound.

        Args:
            codes: of this prior's codec.
            label: what the sound is said to be.
            speaker: who is said to speak.
            text: what is said to be said.

        Raises:
            UserError: the codes are another codec's, a name is unknown, or text cannot be read.
        """
        self.must_read(codes)
        conditions = self.conditions(label, speaker, text).to(self.device)
        per_frame = torch.zeros(codes.levels[0].shape[1], dtype=torch.float64)
        with evaluating(self):
            for stage in self.stages:
                bits = self._stage_bits(stage, codes, conditions)
                frames = stage.layout.coarse_frames(len(bits)).clamp(max=len(per_frame) - 1)
                per_frame.index_add_(0, frames.flatten(), bits.flatten())
        total = float(per_frame.sum())
        return NLL(total, total / codes.duration_seconds, per_frame.float())

    def _stage_bits(self, stage: Stage, codes: Codes, conditions: Conditions) -> Tensor:
        """Bits of every place of a stage's grid: float64 `[steps, columns]`."""
        tokens = stage.tokens(stage.layout.encode(codes))
        above = self.above(stage, codes)
        room = self.room(conditions)
        found: list[Tensor] = []
        done = 0
        while done < len(tokens) - 1:
            start = stage.window(done, room)
            passage = stage.passage(tokens, start, min(start + room, len(tokens) - 1), above)
            nats, _ = stage(batch_of([passage]).to(self.device), conditions)
            found.append(nats[0, done - start :])
            done = start + nats.shape[1]
        return torch.cat(found).double().cpu() / math.log(2)

    @overload
    def sample(
        self,
        n: int = ...,
        seconds: float | None = ...,
        *,
        stream: Literal[False] = ...,
        **how: Unpack[Options],
    ) -> list[Codes]: ...

    @overload
    def sample(
        self,
        n: int = ...,
        seconds: float | None = ...,
        *,
        stream: Literal[True],
        **how: Unpack[Options],
    ) -> Iterator[Codes]: ...

    def sample(
        self,
        n: int = 1,
        seconds: float | None = None,
        *,
        stream: bool = False,
        **how: Unpack[Options],
    ) -> list[Codes] | Iterator[Codes]:
        """Draw new sounds; sound i of a seed is the same whatever `n` is.

        Args:
            n: how many.
            seconds: exact length of each, rounded up to whole samples, a prompt included; otherwise
                each ends where the prior ends it, or where the context does.
            stream: give one sound in parts, of one coarse frame or more, while it is written; for
                `codec.decode_stream`. Together they are the sound that is given otherwise.
            label: (and all below by name) what to say; one of `labels`.
            speaker: who is to say it; one of `speakers`.
            text: the words to say.
            prompt: codes to go on from, of this prior's codec; its last coarse frame is left out
                where it is not full.
            seed: of all draws.
            temperature: below 1 is more likely, above 1 more varied; 0 takes the likeliest tokens.
            top_k: draw from this many likeliest tokens; 0 from all.
            top_p: draw from the fewest likeliest tokens with this probability together.
            min_p: draw from tokens at least this share as likely as the likeliest.
            repetition_window: see `Choice`.
            guidance: how much more to heed the conditions than was learned: logits are
                `free + guidance * (conditioned - free)` (Ho and Salimans 2022, arXiv 2207.12598).
            precision: of the weights, on a CPU: "float32", "bfloat16" or "int8".

        Raises:
            UserError: a number is out of range, `seconds` is beyond the context, a name is unknown,
                or the prompt is not this codec's or too long or short.
        """
        request = Request(n, seconds, **how)
        if stream:
            return sample_stream(self, request)
        return sample(self, request)

    def must_read(self, codes: Codes) -> None:
        """Refuse codes of another codec.

        Raises:
            UserError: they are at another rate, of another shape, or made by another codec.
        """
        if not isinstance(codes, Codes):
            raise UserError(f"{codes!r}: not Codes; give what Codec.encode makes of a sound")
        if codes.sample_rate != self.sample_rate:
            raise UserError(
                f"codes: at {codes.sample_rate} Hz, but this prior reads {self.sample_rate} Hz"
            )
        if codes.codec and self.codec.fingerprint and codes.codec != self.codec.fingerprint:
            raise UserError(
                f"codes: made by codec {codes.codec[:12]}, but this prior reads those of "
                f"{self.codec.fingerprint[:12]}; tokenize with that one"
            )
        self.layout.must_fit(codes)


def _stages(config: PriorConfig, codec: CodecSpec) -> list[Stage]:
    if config.layout != "cascade":
        return [Stage(config, Layout(config.layout, codec.hops, codec.codebook_sizes))]
    stages = []
    for level in range(len(codec.hops)):
        layout = Layout("flat", codec.hops, codec.codebook_sizes, levels=[level])
        ratios = [codec.hops[0] // hop for hop in codec.hops[:level]]
        sizes, dims = codec.codebook_sizes[:level], config.vector_dims[:level]
        above = Surroundings(ratios, sizes, config.width, dims) if level else None
        stages.append(Stage(config, layout, above))
    return stages
