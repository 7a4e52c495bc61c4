"""Typed answers from votes: labels, seconds, calibrated probabilities and evidence."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from model.config import ModelConfig
from model.forecast.forecaster import SequenceForecaster
from model.forecast.sampling import sample_past
from model.nn.backpack import Backpack
from model.nn.skill import Votes
from model.nn.skill_set import SkillSet
from model.predict.futures import keep_futures, num_drawn, sample_futures
from model.predict.outputs import (
    ArAnswer,
    Evidence,
    Example,
    ForecastAnswer,
    LtaAnswer,
    LtaStep,
    Neighbour,
    OsccAnswer,
    PnrAnswer,
    Ranked,
    SegmentAnswer,
    SkillAnswer,
)
from model.predict.transfer import to_host
from model.tasks import AR, FIXED_LABELS, LTA, OSCC, PNR, Readout
from weights.bundle.manifest import Manifest


def votes_on_host(votes: Mapping[str, Votes]) -> dict[str, Votes]:
    """Returns the votes of all tasks as tensors of the host, copied together."""
    tensors: list[Tensor] = []

    def collect(tensor: Tensor) -> Tensor:
        tensors.append(tensor)
        return tensor

    for own in votes.values():
        own.map(collect)
    copied = iter(to_host(tensors))
    return {task: own.map(lambda _: next(copied)) for task, own in votes.items()}


def graph_votes(votes: Votes, graph: int | slice) -> Votes:
    """Cuts a graph out of a batch of votes, whose logits become (n, Y), or several, (G, n, Y)."""
    return votes.map(lambda values: values[graph])


def output_probabilities(logits: Tensor, temperature: float) -> Tensor:
    """Returns calibrated probabilities of summed logits, (n, Y).

    With one label the nodes compete: the result, (n, 1), is the distribution over nodes.
    """
    return (logits / temperature).softmax(dim=0 if logits.shape[-1] == 1 else -1)


def name_prototypes(
    backpack: Backpack, labels: Mapping[str, Sequence[str]], matches: Sequence[tuple[int, float]]
) -> list[Neighbour]:
    """Returns retrieved rows with their label names.

    Args:
        backpack: of the rows.
        labels: label space -> names by id; ids of imported backpacks may be unknown (-1).
        matches: (row, similarity) pairs.
    """
    rows = torch.tensor([row for row, _ in matches], dtype=torch.int64)
    names = {
        space: ["unknown" if id < 0 else labels[space][id] for id in ids[rows].tolist()]
        for space, ids in backpack.labels.items()
    }
    return [
        Neighbour.of(
            {space: own[place] for space, own in names.items()}, similarity=similarity, count=count
        )
        for place, ((_, similarity), count) in enumerate(
            zip(matches, backpack.count[rows].tolist(), strict=True)
        )
    ]


class AnswerReader:
    """Reads answers with the label spaces and temperatures of one bundle."""

    def __init__(
        self, manifest: Manifest, skills: SkillSet, forecaster: SequenceForecaster | None = None
    ) -> None:
        self._labels = manifest.label_spaces | FIXED_LABELS
        self._temperature = {k: v["temperature"] for k, v in manifest.calibration.items()}
        self._config = ModelConfig.from_dict(manifest.model)
        self._skills = skills
        self._forecaster = forecaster
        self._threshold = {t: facts.get("threshold") for t, facts in manifest.skills.items()}
        self._examples = {t: facts.get("examples", []) for t, facts in manifest.skills.items()}

    def probabilities(self, task: str, votes: Votes) -> dict[str, Tensor]:
        """Returns calibrated probabilities of the fused votes, output -> (n, Y)."""
        return {
            name: output_probabilities(logits, self._temperature.get(f"{task}.{name}", 1.0))
            for name, logits in votes.fused().items()
        }

    def segment(
        self,
        bounds: tuple[float, float],
        votes: Mapping[str, Votes],
        *,
        top_k: int,
        has_evidence: bool = True,
    ) -> SegmentAnswer:
        """Returns the answers of every skill for one segment."""
        ar: ArAnswer | None = None
        oscc: OsccAnswer | None = None
        pnr: PnrAnswer | None = None
        skills: dict[str, SkillAnswer] = {}
        evidence = Evidence()
        for task, own in votes.items():
            spec, probability = self._skills.specs[task], self.probabilities(task, own)
            output, node = spec.outputs[0], 0
            if spec.readout is Readout.NODES:
                scores = probability[output][:, 0]
                node = int(scores.argmax())
                time_s = _node_time(bounds, node, spec.num_nodes)
                found = PnrAnswer(time_s, float(scores[node]), scores.tolist())
                if task == PNR.name:
                    pnr = found
                else:
                    skills[task] = SkillAnswer(instant=found)
            elif task == AR.name:
                verb, noun = (self._rank(n, probability[n][0], top_k) for n in ("verb", "noun"))
                ar = ArAnswer(verb, noun)
            elif task == OSCC.name:
                changed = float(probability["state"][0, 1])
                oscc = OsccAnswer(changed > 0.5, changed)
            else:
                ranked = self._rank(output, probability[output][0], top_k)
                threshold = self._threshold.get(task)
                is_certain = None if threshold is None else ranked[0].probability >= threshold
                skills[task] = SkillAnswer(ranked, is_certain=is_certain)
            if has_evidence:
                self._explain(task, own, node, bounds, evidence, top_k)
        return SegmentAnswer(*bounds, ar, oscc, pnr, evidence, skills)

    def forecast(
        self,
        task: str,
        votes: Votes,
        observed: list[int],
        *,
        top_k: int,
        has_evidence: bool = True,
    ) -> ForecastAnswer:
        """Ranks every future step; the evidence is the first step's."""
        output = self._skills.specs[task].outputs[0]
        steps = [self._rank(output, p, top_k) for p in self.probabilities(task, votes)[output]]
        evidence = Evidence()
        if has_evidence:
            self._explain(task, votes, 0, (0.0, 0.0), evidence, top_k)
        return ForecastAnswer(observed, steps, evidence)

    def future(
        self,
        task: str,
        votes: Votes,
        observed: list[int],
        *,
        top_k: int,
        seed: int,
        past: Votes | None = None,
        has_evidence: bool = True,
    ) -> LtaAnswer:
        """Ranks LTA's future steps and samples whole futures; the evidence is the first step's.

        Args:
            task: LTA.
            votes: of its graph.
            observed: segments that the graph sees.
            top_k: labels of each ranked list.
            seed: of the futures.
            past: AR's votes on all segments, for the forecaster; steps and futures are then its.
            has_evidence: say what it rests on.
        """
        if past is None:
            probability = self.probabilities(task, votes)
            drawn = sample_futures(votes.fused(), config=self._config, seed=seed)
        else:
            probability, drawn = self._sequence(past, seed)
        verb, noun = probability["verb"], probability["noun"]  # (Z, Y)
        steps = [
            LtaStep(self._rank("verb", v, top_k), self._rank("noun", n, top_k))
            for v, n in zip(verb, noun, strict=True)
        ]
        verbs, nouns = self._labels["verb"], self._labels["noun"]
        hypotheses = [
            [(verbs[v], nouns[n]) for v, n in zip(vs, ns, strict=True)]
            for vs, ns in zip(drawn["verb"].tolist(), drawn["noun"].tolist(), strict=True)
        ]
        evidence = Evidence()
        if has_evidence:
            self._explain(task, votes, 0, (0.0, 0.0), evidence, top_k)
        return LtaAnswer(observed, steps, hypotheses, evidence)

    def _sequence(self, past: Votes, seed: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The forecaster's marginals, output -> (Z, Y), and hypotheses, output -> (K, Z)."""
        assert self._forecaster is not None
        seen = {
            name: values[:, 0].float() for name, values in self.probabilities(AR.name, past).items()
        }
        found = sample_past(
            self._forecaster, seen["verb"], seen["noun"], seed,
            count=num_drawn(self._config), steps=LTA.num_future,
        )  # fmt: skip
        kept = keep_futures({n: v.unsqueeze(0) for n, v in found.futures.items()}, self._config)
        return found.marginals, {name: values[0] for name, values in kept.items()}

    def _rank(self, output: str, probability: Tensor, top_k: int) -> list[Ranked]:
        names = self._labels[output]
        best = probability.topk(min(top_k, len(names)))
        pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        return [Ranked(i, names[i], p) for i, p in pairs]

    def _explain(
        self,
        task: str,
        votes: Votes,
        node: int,
        bounds: tuple[float, float],
        evidence: Evidence,
        top_k: int,
    ) -> None:
        """Adds the prototypes that a skill retrieved at a node, its examples, and every vote."""
        spec = self._skills.specs[task]
        all_nodes = spec.readout is Readout.GRAPH  # the closest prototypes over all nodes
        evidence.neighbours[task] = {}
        for view, rows in votes.rows.items():
            nodes = slice(None) if all_nodes else slice(node, node + 1)
            matches = zip(
                rows[nodes].flatten().tolist(),
                votes.similarity[view][nodes].flatten().tolist(),
                strict=True,
            )
            evidence.neighbours[task][view] = self._neighbours(task, list(matches), top_k)
        if votes.examples is not None:
            found, cosine = (values[:top_k].tolist() for values in votes.examples)
            pairs = zip(found, cosine, strict=True)
            evidence.examples[task] = [self._example(task, *pair) for pair in pairs]
        for name, by in votes.logits.items():
            evidence.votes[f"{task}.{name}"] = {
                who: self._vote(name, logits, node, bounds) for who, logits in by.items()
            }

    def _example(self, task: str, row: int, similarity: float) -> Example:
        facts, labels = self._examples[task][row], self._labels[self._skills.specs[task].outputs[0]]
        return Example(
            facts["video"], facts["start_s"], facts["end_s"], labels[facts["label"]], similarity
        )

    def _neighbours(self, task: str, matches: list[tuple[int, float]], k: int) -> list[Neighbour]:
        backpack = self._skills.backpacks[self._skills.backbone_of[task]]
        assert backpack is not None  # the source of the matches
        closest: dict[int, float] = {}
        for row, similarity in matches:
            closest[row] = max(similarity, closest.get(row, -1.0))
        ordered = sorted(closest.items(), key=lambda item: -item[1])[:k]
        return name_prototypes(backpack, self._labels, ordered)

    def _vote(self, output: str, logits: Tensor, node: int, bounds: tuple[float, float]) -> str:
        if logits.shape[-1] == 1:
            where = int(logits[:, 0].argmax())
            return f"{_node_time(bounds, where, len(logits)):.2f} s"
        return self._labels[output][int(logits[node].argmax())]


def _node_time(bounds: tuple[float, float], node: int, num_nodes: int) -> float:
    """Left edge of a node, as in Ego4D's evaluation."""
    start_s, end_s = bounds
    return start_s + node * (end_s - start_s) / num_nodes
