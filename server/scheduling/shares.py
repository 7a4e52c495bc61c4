"""Shares: amounts of a limited good that callers hold, with the most that one of them may hold.

What one caller may hold is less than all there is, so that it cannot lock out the others.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


class Shares:
    """Amounts held, in all and by each caller.

    Attributes:
        limit: most of all callers together.
        each: most of one caller.
        held: what all callers hold here.
        elsewhere: caller -> amount that is held outside of this object and counts too.
    """

    def __init__(self, limit: int, share: float = 1.0, *, least: int = 1) -> None:
        """Starts with nothing held.

        Args:
            limit: most of all callers together.
            share: the part of it that one caller may hold, up to 1.
            least: one caller may hold this much whatever its share.
        """
        self.limit = limit
        self.each = limit if share >= 1 else max(least, math.ceil(limit * share))
        self.elsewhere: Mapping[str, int] = {}
        self.held = 0
        self._own: Counter[str] = Counter()

    def has_room(self, caller: str, more: int = 1) -> bool:
        """Whether a caller may take so much more; the empty caller has no share of its own."""
        if self.held + sum(self.elsewhere.values()) + more > self.limit:
            return False
        own = self._own[caller] + self.elsewhere.get(caller, 0)
        return not caller or own + more <= self.each

    def take(self, caller: str, amount: int = 1) -> None:
        """Counts an amount, whether there is room or not."""
        self.held += amount
        self._own[caller] += amount

    def give_back(self, caller: str, amount: int = 1) -> None:
        """Takes an amount off again."""
        self.held -= amount
        self._own[caller] -= amount
        if not self._own[caller]:
            del self._own[caller]  # or every address ever seen would stay

    @contextmanager
    def hold(self, caller: str, amount: int = 1) -> Iterator[None]:
        """Counts an amount during the block."""
        self.take(caller, amount)
        try:
            yield
        finally:
            self.give_back(caller, amount)
