"""One file of the corpus: how it is made, and what has to become of it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Bait:
    """What hostile files try to reach.

    Attributes:
        folder: to make files in.
        http: address of a listener that must never hear from anybody.
        udp_port: of another one.
        secret: a good clip on the server's own disk that nobody sent.
    """

    folder: Path
    http: str
    udp_port: int
    secret: Path


Make = Callable[[Bait], bytes]


@dataclass(frozen=True)
class Specimen:
    """A file and its outcome.

    Attributes:
        name: what it is.
        make: returns its bytes.
        status: of the answer.
        code: slug of the refusal; empty for an answer.
        warnings: codes that an answer must carry, no more and no fewer.
        sent_as: the file name a caller gives it.
    """

    name: str
    make: Make
    status: int = 200
    code: str = ""
    warnings: frozenset[str] = frozenset()
    sent_as: str = "clip.mp4"


def answered(name: str, make: Make, *warnings: str, sent_as: str = "clip.mp4") -> Specimen:
    """A file that gets its answers, with these warnings."""
    return Specimen(name, make, warnings=frozenset(warnings), sent_as=sent_as)


def refused(name: str, make: Make, status: int, code: str) -> Specimen:
    """A file that is refused."""
    return Specimen(name, make, status, code)
