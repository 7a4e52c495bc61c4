"""The whole corpus, one table."""

from tests.hostile import damaged, disguised, odd, oversized
from tests.hostile.specimen import Specimen

CORPUS: list[Specimen] = [
    *disguised.SPECIMENS,
    *damaged.SPECIMENS,
    *oversized.SPECIMENS,
    *odd.SPECIMENS,
]
