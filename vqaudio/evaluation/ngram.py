"""N-gram models of tokens: what a prior has to beat."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from vqaudio.codes import Codes
from vqaudio.prior.layout import START, Layout

ORDERS = (1, 5)
Key = tuple[int, ...]  # the slot's codebook, then tokens


def ngram_bits_per_second(
    layout: Layout, train: Sequence[Codes], test: Sequence[Codes]
) -> dict[str, float]:
    """Bits per second of test sounds by a unigram and a 5-gram model, by their names."""
    seconds = sum(codes.duration_seconds for codes in test)
    models = {f"{order}-gram": NGram(order, layout, train) for order in ORDERS}
    return {name: sum(map(model.bits, test)) / seconds for name, model in models.items()}


class NGram:
    """Interpolated Kneser-Ney (Chen and Goodman 1999, TR-10-98, section 3) of tokens in flat order.

    END counts as a token, and which codebook comes next is known. Each order has one discount,
    `n1 / (n1 + 2 n2)` of how many n-grams were seen once and twice. Below the unigrams all tokens
    that may come are equally likely, so that what was never seen has a probability too.

    Args:
        order: 1 knows how frequent each token is, 5 knows the four tokens before it.
        layout: flat, of all levels.
        sounds: to learn from, at least one.
    """

    def __init__(self, order: int, layout: Layout, sounds: Iterable[Codes]) -> None:
        self.order, self.layout = order, layout
        self.books = {
            (slot.level, slot.quantizer): index for index, slot in enumerate(reversed(layout.slots))
        }
        counts: list[Counter[Key]] = [Counter() for _ in range(order)]
        for codes in sounds:
            counts[-1].update(ngram for ngram, _ in self._ngrams(codes))
        for length in range(order - 1, 0, -1):
            # A shorter one counts in how many longer ones it stands (equation 23 there).
            counts[length - 1].update((book, *rest) for book, _, *rest in counts[length])
        self._orders = [_Order(found) for found in counts]

    def bits(self, codes: Codes) -> float:
        """Bits that a sound takes, END included."""
        return -sum(math.log2(self._probability(*found)) for found in self._ngrams(codes))

    def _probability(self, ngram: Key, may_come: int) -> float:
        book, *tokens = ngram
        probability = 1 / may_come
        for length, order in enumerate(self._orders, start=1):
            probability = order.interpolate((book, *tokens[self.order - length :]), probability)
        return probability

    def _ngrams(self, codes: Codes) -> Iterator[tuple[Key, int]]:
        """Each token with those before it, and how many could have come in its place."""
        tokens = [START] * (self.order - 1) + self.layout.encode(codes)[:, 0].tolist()
        for step in range(len(tokens) - self.order + 1):
            slot = self.layout.steps[step % self.layout.cycle][0]
            book = self.books[slot.level, slot.quantizer]
            may_come = slot.size + (len(slot.ends) if step else 0)
            yield (book, *tokens[step : step + self.order]), may_come


class _Order:
    """What was seen of n-grams of one length."""

    def __init__(self, counts: Counter[Key]) -> None:
        self.counts = counts
        once, twice = (sum(count == n for count in counts.values()) for n in (1, 2))
        self.discount = (
            once / (once + 2 * twice) if once else 0.5
        )  # all were seen often: keep room for others
        self.totals: Counter[Key] = Counter()
        self.kinds: Counter[Key] = Counter()
        for ngram, count in counts.items():
            self.totals[ngram[:-1]] += count
            self.kinds[ngram[:-1]] += 1

    def interpolate(self, ngram: Key, lower: float) -> float:
        """The probability of the last token after the others, from that in a shorter context."""
        context = ngram[:-1]
        total = self.totals[context]
        if not total:
            return lower
        kept = max(self.counts[ngram] - self.discount, 0) / total
        return kept + self.discount * self.kinds[context] / total * lower
