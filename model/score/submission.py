"""Challenge files: their layout, and everything that is wrong with one.

Layouts are those the official baselines write. What the server does with a duplicate, a NaN or a
short list is not documented, so a file with any of them is refused here.
"""

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.score.test_set import NUM_STEPS, ChallengeItem
from model.tasks import LTA, NUM_HYPOTHESES, OSCC, PNR

ANSWER_FIELD = {OSCC.name: "state_change", PNR.name: "pnr_frame"}
"""What a file that is a list calls the answer; LTA's is an object by id instead."""

HEADS = ("verb", "noun")
SHOWN_PROBLEMS = 10


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a file.

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
class Layout:
    """What a file of one task must hold.

    Attributes:
        task: "lta", "oscc" or "pnr".
        questions: its entries.
        num_labels: "verb" and "noun" -> size of the label space; LTA only.
    """

    task: str
    questions: Sequence[ChallengeItem]
    num_labels: Mapping[str, int]

    @property
    def file_name(self) -> str:
        """What the file is called."""
        return f"{self.task}.json"

    def compose(self, answers: Mapping[str, Any]) -> str:
        """Returns the text of the file, entries in the order of the questions.

        Args:
            answers: id -> answer: {"verb": (K, Z) lists, "noun": ...}, a bool, or frames.
        """
        if self.task == LTA.name:
            return json.dumps({q.id: answers[q.id] for q in self.questions}) + "\n"
        field = ANSWER_FIELD[self.task]
        rows = [{"unique_id": q.id, field: answers[q.id]} for q in self.questions]
        return json.dumps(rows) + "\n"

    def read(self, path: Path) -> tuple[dict[str, Any], list[Problem]]:
        """Returns the answers of a file, id -> answer, and everything wrong with it.

        The answers are to be used only when nothing is wrong.
        """
        try:
            text = path.read_text(encoding="utf-8")
            values = json.loads(text, object_pairs_hook=_Pairs)
        except (OSError, ValueError, RecursionError) as error:
            return {}, [Problem("layout", "", f"not a JSON file in UTF-8: {error}")]
        problems: list[Problem] = []
        entries = list(self._entries(values, problems))
        asked = {q.id: q for q in self.questions}
        times = Counter(i for i, _ in entries)
        absent = [i for i in asked if i not in times]
        problems += [Problem("missing", i, "the test file asks for it") for i in absent]
        problems += [
            Problem("duplicate", i, f"answered {n} times") for i, n in times.items() if n > 1
        ]
        for name, answer in entries:
            if name not in asked:
                problems.append(Problem("extra", name, "the test file does not ask for it"))
                continue
            check = _CHECKS[self.task]
            problems += [
                Problem(k, name, d) for k, d in check(answer, asked[name], self.num_labels)
            ]
        return {i: _plain(answer) for i, answer in entries}, problems

    def _entries(self, values: Any, problems: list[Problem]) -> Iterator[tuple[str, Any]]:
        """Yields (id, answer) as they stand in the file, duplicates included."""
        if self.task == LTA.name:
            if isinstance(values, _Pairs):
                yield from values
            else:
                problems.append(Problem("layout", "", f"expected an object, got {_say(values)}"))
            return
        if not isinstance(values, list) or isinstance(values, _Pairs):
            problems.append(Problem("layout", "", f"expected a list, got {_say(values)}"))
            return
        field = ANSWER_FIELD[self.task]
        for place, row in enumerate(values):
            names = sorted(k for k, _ in row) if isinstance(row, _Pairs) else []
            fields = dict(row) if isinstance(row, _Pairs) else {}
            name = fields.get("unique_id")
            where = name if isinstance(name, str) else f"entry {place}"
            if names != sorted(("unique_id", field)) or where != name:
                expected = f'{{"unique_id": text, "{field}": ...}}'
                problems.append(Problem("layout", where, f"expected {expected}, got {_say(row)}"))
            if isinstance(name, str) and field in fields:
                yield name, fields[field]


def write_submission(layout: Layout, answers: Mapping[str, Any], path: Path) -> list[Problem]:
    """Writes a file, moves it into place only if nothing is wrong with it; returns what is."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with fresh.open("x", encoding="utf-8") as file:
            file.write(layout.compose(answers))
            file.flush()
            os.fsync(file.fileno())
        _, problems = layout.read(fresh)
        if not problems:
            os.replace(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)
    return problems


def report(problems: Sequence[Problem]) -> str:
    """Returns the counts by kind and the first few problems, a line each."""
    counts = Counter(p.kind for p in problems)
    lines = [", ".join(f"{n} {kind}" for kind, n in counts.most_common())]
    lines += [f"  {problem}" for problem in problems[:SHOWN_PROBLEMS]]
    if len(problems) > SHOWN_PROBLEMS:
        lines.append(f"  ... and {len(problems) - SHOWN_PROBLEMS} more")
    return "\n".join(lines)


class _Pairs(list[tuple[str, Any]]):
    """A JSON object as it stands in the file: a dict would swallow repeated keys."""


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
            for z, label in wrong[:1]:  # the first says enough
                bound = num_labels[head] - 1
                yield "label", f"{head}[{k}][{z}]: expected an integer 0-{bound}, got {_say(label)}"


def _check_state(answer: Any, _: ChallengeItem, __: Mapping[str, int]) -> _Found:
    if not isinstance(answer, bool):
        yield "value", f"expected true or false, got {_say(answer)}"


def _check_frame(answer: Any, question: ChallengeItem, _: Mapping[str, int]) -> _Found:
    is_number = isinstance(answer, int | float) and not isinstance(answer, bool)
    if not is_number or not 0 <= answer <= question.length_frames:  # NaN fails every comparison
        bound = question.length_frames
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
    """Names a value briefly, as it would stand in the file."""
    if isinstance(value, _Pairs):
        return f"an object with {', '.join(k for k, _ in value[:4]) or 'no field'}"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:40]}..."
