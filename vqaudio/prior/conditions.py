"""What a sound is said to be: its label, who says it, the words; any of them may be missing."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vqaudio.config import PriorConfig
from vqaudio.errors import UserError

NO_TEXT = -1  # fills up shorter texts at their ends
NUM_BYTES = 256


@dataclass  # not frozen, as a Passage
class Conditions:
    """The conditions of a batch as numbers.

    Args:
        label: int64 `[B]`, 0 for none.
        speaker: likewise.
        text: int64 `[B, N]`, UTF-8 bytes, NO_TEXT after the end of each.
    """

    label: Tensor
    speaker: Tensor
    text: Tensor

    @property
    def text_lengths(self) -> Tensor:
        """Bytes of each text: int64 `[B]`."""
        return (self.text != NO_TEXT).sum(dim=1)

    def to(self, device: torch.device) -> "Conditions":
        """The same on a device."""
        return Conditions(*(x.to(device) for x in (self.label, self.speaker, self.text)))

    def part(self, rows: slice | Tensor) -> "Conditions":
        """Some rows."""
        return Conditions(self.label[rows], self.speaker[rows], self.text[rows])

    def dropped(self, share: float) -> "Conditions":
        """With this probability a row is told nothing; with the same, each of several is left out.

        Told nothing is what guidance leads away from, and would hardly be learned if it took as
        many chances as there are conditions.
        """
        said = torch.stack([self.label > 0, self.speaker > 0, self.text_lengths > 0])
        *each, together = torch.rand(4, len(self.label), device=self.label.device) >= share
        kept = (torch.stack(each) | (said.sum(dim=0) < 2)) & together
        return Conditions(
            self.label * kept[0],
            self.speaker * kept[1],
            self.text.where(kept[2][:, None], torch.tensor(NO_TEXT, device=self.text.device)),
        )


def conditions_of(
    config: PriorConfig,
    labels: Sequence[str | None],
    speakers: Sequence[str | None],
    texts: Sequence[str | None],
) -> Conditions:
    """Names and texts as numbers; of each `B`, None for what is not said.

    Raises:
        UserError: the prior does not know a name, or reads no such condition.
    """
    encoded = [_bytes(config, text) for text in texts]
    return Conditions(
        torch.tensor([_index("label", config.labels, name) for name in labels]),
        torch.tensor([_index("speaker", config.speakers, name) for name in speakers]),
        torch.nn.utils.rnn.pad_sequence(encoded, batch_first=True, padding_value=NO_TEXT),
    )


def _index(kind: str, known: Sequence[str], name: str | None) -> int:
    if name is None:
        return 0
    if not known:
        raise UserError(f"{kind} {name}: this prior was trained without {kind}s; leave it out")
    if name not in known:
        raise UserError(f"{kind} {name}: unknown; this prior knows {', '.join(known)}")
    return 1 + known.index(name)


def _bytes(config: PriorConfig, text: str | None) -> Tensor:
    if text is None:
        return torch.zeros(0, dtype=torch.int64)
    if not config.text_bytes:
        raise UserError("text: this prior was trained without text; leave it out")
    try:
        read = list(text.encode("utf-8"))
    except UnicodeEncodeError:
        raise UserError(f"text {text!r}: not UTF-8; write it in UTF-8") from None
    if not read:
        raise UserError("text: is empty; leave it out, or say something")
    if len(read) > config.text_bytes:
        raise UserError(
            f"text {textwrap.shorten(text, 24)!r}: {len(read)} bytes, but this prior reads "
            f"{config.text_bytes} (prior.text_bytes); say it in parts"
        )
    return torch.tensor(read)


class ConditionEmbedding(nn.Module):
    """Conditions as vectors: names are added at every step, text is read before the first one.

    Args:
        config: which conditions there are.
        text: whether text is read.
    """

    def __init__(self, config: PriorConfig, text: bool) -> None:
        super().__init__()
        self.label = nn.Embedding(1 + len(config.labels), config.width)
        self.speaker = nn.Embedding(1 + len(config.speakers), config.width)
        self.text = nn.Embedding(NUM_BYTES, config.width) if text and config.text_bytes else None
        for weight in self.parameters():
            nn.init.normal_(weight, std=0.02)

    def everywhere(self, conditions: Conditions) -> Tensor:
        """What is added at every step: `[B, D]`."""
        return self.label(conditions.label) + self.speaker(conditions.speaker)

    def before(self, conditions: Conditions) -> Tensor | None:
        """What is read first: `[B, N, D]`, of which a row has `text_lengths`; None if none has text."""
        if self.text is None or conditions.text.shape[1] == 0:
            return None
        return self.text(conditions.text.clamp(min=0))
