"""Challenge file format of each task, its validation and its writing.

The formats are those of the official baselines. How the evaluation server treats a duplicate, a NaN
or a short list is not documented, so a file with any of them is refused here.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.score.test_set import NUM_STEPS, ChallengeItem
from model.tasks import LTA, NUM_HYPOTHESES, OSCC, PNR
from weights.storage.atomic import write_atomic

ANSWER_FIELD = {OSCC.name: "state_change", PNR.name: "pnr_frame"}
"""Field of the answer in a file that is a list; LTA's file is an object by id instead."""

HEADS = ("verb", "noun")
SHOWN_VIOLATIONS = 10


@dataclass(frozen=True)
class Violation:
    """One violation of the format.

    Attributes:
        kind: "missing", "extra", "duplicate", "layout", "length", "label" or "value".
        id: the entry it is in; empty when the whole file is meant.
        detail: what was expected and what came.
    """

    kind: str
    id: str
    detail: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.id + ': ' if self.id else ''}{self.detail}"


@dataclass(frozen=True)
class ChallengeFile:
    """Format of one task's file.

    Attributes:
        task: "lta", "oscc" or "pnr".
        items: its entries.
        num_labels: "verb" and "noun" -> size of the label space; LTA only.
    """

    task: str
    items: Sequence[ChallengeItem]
    num_labels: Mapping[str, int]

    def compose(self, answers: Mapping[str, Any]) -> str:
        """Returns the text of the file, entries in the order of the items.

        Args:
            answers: id -> answer: {"verb": (K, Z) lists, "noun": ...}, a bool, or frames.
        """
        if self.task == LTA.name:
            return json.dumps({q.id: answers[q.id] for q in self.items}) + "\n"
        field = ANSWER_FIELD[self.task]
        rows = [{"unique_id": q.id, field: answers[q.id]} for q in self.items]
        return json.dumps(rows) + "\n"

    def read(self, path: Path) -> tuple[dict[str, Any], list[Violation]]:
        """Returns the answers of a file, id -> answer, and all violations of the format.

        The answers are complete only if there is no violation.
        """
        try:
            return self.parse(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            return {}, [Violation("layout", "", f"not a JSON file in UTF-8: {error}")]

    def parse(self, text: str) -> tuple[dict[str, Any], list[Violation]]:
        """Returns what `read` does, from the text of a file.

        Raises:
            ValueError: it is not JSON.
        """
        values = json.loads(text, object_pairs_hook=_Pairs)
        violations: list[Violation] = []
        entries = list(self._entries(values, violations))
        asked = {q.id: q for q in self.items}
        times = Counter(i for i, _ in entries)
        absent = [i for i in asked if i not in times]
        violations += [Violation("missing", i, "the test file asks for it") for i in absent]
        violations += [
            Violation("duplicate", i, f"answered {n} times") for i, n in times.items() if n > 1
        ]
        for name, answer in entries:
            if name not in asked:
                violations.append(Violation("extra", name, "the test file does not ask for it"))
                continue
            found = _CHECKS[self.task](answer, asked[name], self.num_labels)
            violations += [Violation(kind, name, detail) for kind, detail in found]
        return {i: _plain(answer) for i, answer in entries}, violations

    def _entries(self, values: Any, violations: list[Violation]) -> Iterator[tuple[str, Any]]:
        """Yields (id, answer) in file order, duplicates included."""
        if self.task == LTA.name:
            if isinstance(values, _Pairs):
                yield from values
            else:
                violations.append(
                    Violation("layout", "", f"expected an object, got {_say(values)}")
                )
            return
        if not isinstance(values, list) or isinstance(values, _Pairs):
            violations.append(Violation("layout", "", f"expected a list, got {_say(values)}"))
            return
        field = ANSWER_FIELD[self.task]
        for place, row in enumerate(values):
            names = sorted(k for k, _ in row) if isinstance(row, _Pairs) else []
            fields = dict(row) if isinstance(row, _Pairs) else {}
            name = fields.get("unique_id")
            where = name if isinstance(name, str) else f"entry {place}"
            if names != sorted(("unique_id", field)) or where != name:
                expected = f'{{"unique_id": text, "{field}": ...}}'
                violations.append(
                    Violation("layout", where, f"expected {expected}, got {_say(row)}")
                )
            if isinstance(name, str) and field in fields:
                yield name, fields[field]


def write_submission(
    layout: ChallengeFile, answers: Mapping[str, Any], path: Path
) -> list[Violation]:
    """Writes a file atomically if its text is valid; returns the violations."""
    text = layout.compose(answers)
    _, violations = layout.parse(text)
    if not violations:
        write_atomic(path, text)
    return violations


def report(violations: Sequence[Violation]) -> str:
    """Returns the counts by kind and the first violations, a line each."""
    counts = Counter(p.kind for p in violations)
    lines = [", ".join(f"{n} {kind}" for kind, n in counts.most_common())]
    lines += [f"  {violation}" for violation in violations[:SHOWN_VIOLATIONS]]
    if len(violations) > SHOWN_VIOLATIONS:
        lines.append(f"  ... and {len(violations) - SHOWN_VIOLATIONS} more")
    return "\n".join(lines)


class _Pairs(list[tuple[str, Any]]):
    """A JSON object with its repeated keys, which a dict would drop."""


_Found = Iterator[tuple[str, str]]  # kind, detail


def _check_futures(answer: Any, _: ChallengeItem, num_labels: Mapping[str, int]) -> _Found:
    if not isinstance(answer, _Pairs) or sorted(k for k, _ in answer) != sorted(HEADS):
        yield "layout", f'expected {{"verb": ..., "noun": ...}}, got {_say(answer)}'
        return
    for head, futures in answer:
        if not isinstance(futures, list) or len(futures) != NUM_HYPOTHESES:
            yield "length", f"{head}: expected {NUM_HYPOTHESES} futures, got {_say(futures)}"
            continue
        for k, steps in enumerate(futures):
            if not isinstance(steps, list) or len(steps) != NUM_STEPS:
                yield "length", f"{head}[{k}]: expected {NUM_STEPS} steps, got {_say(steps)}"
                continue
            wrong = [(z, v) for z, v in enumerate(steps) if not _is_label(v, num_labels[head])]
            for z, label in wrong[:1]:  # one per future
                bound = num_labels[head] - 1
                yield "label", f"{head}[{k}][{z}]: expected an integer 0-{bound}, got {_say(label)}"


def _check_state(answer: Any, _: ChallengeItem, __: Mapping[str, int]) -> _Found:
    if not isinstance(answer, bool):
        yield "value", f"expected true or false, got {_say(answer)}"


def _check_frame(answer: Any, item: ChallengeItem, _: Mapping[str, int]) -> _Found:
    is_number = isinstance(answer, int | float) and not isinstance(answer, bool)
    if not is_number or not 0 <= answer <= item.length_frames:  # NaN fails every comparison
        bound = item.length_frames
        yield "value", f"expected frames from the segment's start, 0-{bound}, got {_say(answer)}"


_CHECKS: dict[str, Callable[[Any, ChallengeItem, Mapping[str, int]], _Found]] = {
    LTA.name: _check_futures,
    OSCC.name: _check_state,
    PNR.name: _check_frame,
}


def _is_label(value: Any, count: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < count


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, _Pairs) else value


def _say(value: Any) -> str:
    """Describes a value in at most a few words."""
    if isinstance(value, _Pairs):
        return f"an object with {', '.join(k for k, _ in value[:4]) or 'no field'}"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:40]}..."
