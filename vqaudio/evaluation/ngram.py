"""N-gram models of tokens: what a prior has to beat."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from vqaudio.codes import Codes
from vqaudio.prior.layout import FIRST_END, START, Layout, Slot

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

    END counts as a token. Which codebook comes next is known, and whether END may come there. Each
    order has one discount, `n1 / (n1 + 2 n2)` of how many n-grams were seen once and twice. Below the
    unigrams all tokens that may come are equally likely, so that what was never seen has a
    probability too.

    Args:
        order: 1 knows how frequent each token is, 5 knows the four tokens before it.
        layout: flat, of all levels.
        sounds: to learn from, at least one.
    """

    def __init__(self, order: int, layout: Layout, sounds: Iterable[Codes]) -> None:
        self.order, self.layout = order, layout
        self.books = {(slot.level, slot.quantizer): book for book, slot in enumerate(layout.slots)}
        self.sizes = {self._book(slot): slot.size for slot in layout.slots}
        self.ending = {self._book(slot) for slot in layout.slots if slot.ends}
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

    def _probability(self, ngram: Key, may_end: bool) -> float:
        probability = self._interpolated(ngram)
        if not may_end and ngram[0] in self.ending:  # its share goes to the others
            probability /= 1 - self._interpolated((*ngram[:-1], FIRST_END))
        return probability

    def _interpolated(self, ngram: Key) -> float:
        book, *tokens = ngram
        probability = 1 / (self.sizes[book] + (book in self.ending))
        for length, order in enumerate(self._orders, start=1):
            probability = order.interpolate((book, *tokens[self.order - length :]), probability)
        return probability

    def _book(self, slot: Slot) -> int:
        return self.books[slot.level, slot.quantizer]

    def _ngrams(self, codes: Codes) -> Iterator[tuple[Key, bool]]:
        """Each token with those before it, and whether END could have come in its place."""
        tokens = [START] * (self.order - 1) + self.layout.encode(codes)[:, 0].tolist()
        for step in range(len(tokens) - self.order + 1):
            slot = self.layout.steps[step % self.layout.cycle][0]
            yield (self._book(slot), *tokens[step : step + self.order]), step > 0 and bool(slot.ends)


class _Order:
    """What was seen of n-grams of one length."""

    def __init__(self, counts: Counter[Key]) -> None:
        self.counts = counts
        once, twice = (sum(count == n for count in counts.values()) for n in (1, 2))
        # If all were seen often there is still to be room for others.
        self.discount = once / (once + 2 * twice) if once else 0.5
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
