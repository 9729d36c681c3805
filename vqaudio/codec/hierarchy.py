"""The VQ-VAE-2 cascade: quantize the coarsest level, decode it up, condition the next finer on it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor, nn

from vqaudio.bottleneck import Bottleneck, Bottlenecked, build_bottleneck
from vqaudio.codec.layers import NO_CONTEXT, ChannelNorm, Context, Upsample, refit, residual_units
from vqaudio.config import Level


@dataclass
class Cascade:
    """What the hierarchy makes of a stretch of sound.

    Args:
        state: `[B, C, F]` of the finest level, for the decoder.
        codes: per level that has any, coarsest first, int64 `[B, Q, F_l]`; empty where nothing was
            quantized.
        losses: scalars by name, the mean over levels.
        heard: per level, coarsest first, `[B, inputs, F_l]`: what its bottleneck read.
        said: per level, coarsest first, `[B, D_l, F_l]`: what its bottleneck passed on.
        health: scalars by name, per level, that only the log wants.
    """

    state: Tensor
    codes: list[Tensor] = field(default_factory=list)
    losses: dict[str, Tensor] = field(default_factory=dict)
    heard: list[Tensor] = field(default_factory=list)
    said: list[Tensor] = field(default_factory=list)
    health: list[dict[str, Tensor]] = field(default_factory=list)


Say = Callable[[int, "HierarchyLevel", Tensor | None], Tensor]


class HierarchyLevel(nn.Module):
    """One level: reads features under what coarser levels say, and writes its own say.

    Args:
        config: the level.
        condition_channels: channels that come down from the next coarser level; 0 at the coarsest.
        finer: the next finer level and how many of its frames make one of these; None at the finest.
    """

    def __init__(self, config: Level, condition_channels: int, finer: tuple[Level, int] | None) -> None:
        super().__init__()
        width = config.channels
        self.bottleneck = build_bottleneck(config.bottleneck)
        self.norm = ChannelNorm(width + condition_channels)
        self.project_in = nn.Conv1d(width + condition_channels, self.bottleneck.inputs, 1)
        self.project_out = nn.Conv1d(self.bottleneck.dim, width, 1)
        self.merge = nn.Conv1d(width + condition_channels, width, 1)
        self.units = residual_units(width, config.decoder_units)
        self.factor = finer[1] if finer else 1
        self.up = Upsample(width, finer[0].channels, finer[1]) if finer else None

    def read(self, features: Tensor, condition: Tensor | None) -> Tensor:
        """What to quantize: features `[B, C, F]` beside the condition `[B, C', F]`."""
        return self.project_in(self.norm(_beside(features, condition)))

    def write(self, quantized: Tensor, condition: Tensor | None) -> Tensor:
        """`[B, C, F]` beside the condition to the level's state, shorter by the context of its units."""
        return self.units(self.merge(_beside(quantized, condition)))

    def context_before(self, after: Context) -> Context:
        """Frames of quantized features needed for `after` frames of the next finer level or decoder."""
        return after.coarser(self.factor).before(self.units)


class Hierarchy(nn.Module):
    """All levels, coarsest first (Razavi et al. 2019, arXiv 1906.00446, algorithm 1).

    Frames outside of a sound have no codes: their quantized features are zero, at both ends, in
    training, encoding and decoding alike.

    Args:
        levels: coarsest first.
    """

    def __init__(self, levels: list[Level]) -> None:
        super().__init__()
        modules = []
        for index, level in enumerate(levels):
            finer = levels[index + 1] if index + 1 < len(levels) else None
            modules.append(
                HierarchyLevel(
                    level,
                    condition_channels=level.channels if index else 0,
                    finer=(finer, level.hop // finer.hop) if finer else None,
                )
            )
        self.levels = cast(Sequence[HierarchyLevel], nn.ModuleList(modules))

    def settle(self) -> None:
        """Let training change only what comes after the codes of all levels."""
        for level in self.levels:
            readers = [level.bottleneck, level.norm, level.project_in]
            # of what is not the finest level the next finer one's codes hang on the rest too
            for part in readers if level.up is None else [level]:
                part.requires_grad_(False)
            for module in level.bottleneck.modules():
                if isinstance(module, Bottleneck):
                    module.settled = True

    def encode_contexts(self) -> list[Context]:
        """Frames beyond the wanted codes that each level has to quantize, coarsest first."""
        contexts = [NO_CONTEXT]
        for level in self.levels[-2::-1]:
            contexts.append(level.context_before(contexts[-1]))
        return contexts[::-1]

    def decode_contexts(self, wanted: Context) -> list[Context]:
        """Frames beyond the wanted state that each level's codes are needed for, coarsest first."""
        contexts = [wanted]
        for level in self.levels[::-1]:
            contexts.append(level.context_before(contexts[-1]))
        return contexts[:0:-1]

    def forward(
        self, features: list[Tensor], wanted: Context, quantize: bool, keep_levels: Tensor | None
    ) -> Cascade:
        """Quantize whole sounds, whose features reach exactly from their first to their last frame.

        Args:
            features: per level `[B, C_l, F_l]`, coarsest first.
            wanted: context of the state that the decoder needs.
            quantize: False passes features on as they are.
            keep_levels: int `[B]`, how many levels each sound is decoded from; None for all.
        """
        heard: list[Tensor] = []
        results: list[Bottlenecked] = []

        def say(index: int, level: HierarchyLevel, condition: Tensor | None) -> Tensor:
            heard.append(level.read(features[index], condition))
            results.append(level.bottleneck(heard[-1], quantize))
            return _masked(level.project_out(results[-1].features), keep_levels, index)

        state = self._descend(say, [NO_CONTEXT] * len(features), self.decode_contexts(wanted))
        losses: dict[str, Tensor] = {}
        for result in results:
            for name, loss in result.losses.items():
                losses[name] = losses.get(name, torch.zeros_like(loss)) + loss / len(results)
        return Cascade(
            state,
            [r.codes for r in results if r.codes is not None],
            losses,
            heard,
            [r.features for r in results],
            [r.health for r in results],
        )

    def state(self, said: list[Tensor], wanted: Context, keep_levels: Tensor | None = None) -> Tensor:
        """The finest state of whole sounds, from what bottlenecks passed on.

        Args:
            said: per level, coarsest first, `[B, D_l, F_l]`; as in `Cascade`.
            wanted: context of the state that the decoder needs.
            keep_levels: int `[B]`, how many levels each sound is decoded from; None for all.
        """

        def say(index: int, level: HierarchyLevel, condition: Tensor | None) -> Tensor:
            return _masked(level.project_out(said[index]), keep_levels, index)

        return self._descend(say, [NO_CONTEXT] * len(said), self.decode_contexts(wanted))

    def encode(
        self, features: list[Tensor], inside: list[Tensor], quantizers: list[int]
    ) -> list[Tensor]:
        """Codes of windows of one length.

        Args:
            features: per level `[B, C_l, F_l]`, with the context of `encode_contexts`.
            inside: per level `[B, 1, F_l]`, 1 where a frame belongs to the sound and 0 elsewhere.
            quantizers: per level, how many of its codes to keep; finer levels are conditioned on
                these alone.

        Returns:
            int64 `[B, Q, F_l]` per level, with the context of `encode_contexts`; of a continuous
            level float `[B, D, F_l]`, all of it.
        """
        codes: list[Tensor] = []

        def say(index: int, level: HierarchyLevel, condition: Tensor | None) -> Tensor:
            found = level.bottleneck.encode(level.read(features[index], condition))
            codes.append(found[:, : quantizers[index]] if level.bottleneck.codebook_sizes else found)
            return level.project_out(level.bottleneck.decode(codes[-1])) * inside[index]

        contexts = self.encode_contexts()
        self._descend(say, contexts, contexts, codes_only=True)
        return codes

    def decode(self, codes: list[Tensor], inside: list[Tensor], wanted: Context) -> Tensor:
        """The finest state `[1, C, F]` of a window, with the context `wanted`.

        Args:
            codes: per level int64 `[1, Q, F_l]`, with the context of `decode_contexts(wanted)`;
                levels that are missing at the fine end are taken to say nothing.
            inside: per level `[F_l]`, 1 where a frame belongs to the sound and 0 elsewhere.
            wanted: context of the state.
        """

        def say(index: int, level: HierarchyLevel, condition: Tensor | None) -> Tensor:
            if index >= len(codes):
                assert condition is not None
                frames = inside[index].shape[-1]
                return condition.new_zeros(1, level.project_out.out_channels, frames)
            return level.project_out(level.bottleneck.decode(codes[index])) * inside[index]

        contexts = self.decode_contexts(wanted)
        return self._descend(say, contexts, contexts)

    def _descend(
        self, say: Say, have: list[Context], want: list[Context], codes_only: bool = False
    ) -> Tensor:
        """Walk from coarse to fine; `say` gives a level's quantized features with context `have`."""
        condition: Tensor | None = None
        context = NO_CONTEXT
        for index, level in enumerate(self.levels):
            if condition is not None:
                condition = refit(condition, context, want[index])
            seen = None if condition is None else refit(condition, want[index], have[index])
            said = refit(say(index, level, seen), have[index], want[index])
            if codes_only and level.up is None:
                return said
            condition = level.write(said, condition)
            context = want[index].after(level.units)
            if level.up is not None:
                condition, context = level.up(condition), context.finer(level.factor)
        assert condition is not None
        return condition


def _masked(said: Tensor, keep_levels: Tensor | None, index: int) -> Tensor:
    """`[B, C, F]` with silence for the sounds that are not given the level of this index."""
    if keep_levels is None:
        return said
    return said * (keep_levels > index).to(said.dtype)[:, None, None]


def _beside(x: Tensor, condition: Tensor | None) -> Tensor:
    return x if condition is None else torch.cat([x, condition], dim=1)
