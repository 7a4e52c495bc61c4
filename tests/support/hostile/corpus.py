"""The whole corpus, one table."""

from tests.support.hostile import damaged, disguised, odd, oversized
from tests.support.hostile.specimen import Specimen

CORPUS: list[Specimen] = [
    *disguised.SPECIMENS,
    *damaged.SPECIMENS,
    *oversized.SPECIMENS,
    *odd.SPECIMENS,
]
