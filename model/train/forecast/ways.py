"""Ways to forecast label sequences: trained, temperatures chosen on val, scored on test."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from model.config import FORECASTING, ForecasterConfig, ModelConfig
from model.data.sequences import ActionSequences, Windows
from model.errors import AnnotationInvalid
from model.evaluate.forecasts import ForecastRow, Futures, baseline_rows, by_output, sampled_rows
from model.evaluate.metrics import anticipation_errors
from model.forecast.baselines import PairCounts
from model.forecast.choice import choose_futures
from model.forecast.forecaster import SequenceForecaster
from model.forecast.load import at_temperature
from model.forecast.sampling import PastActions, sample_windows
from model.nn.multitask import MultiTaskModel
from model.predict.futures import draw_futures, seed_of
from model.tasks import LTA, NUM_HYPOTHESES
from model.train.fit import FitJob
from model.train.forecast.graph import GRAPH_FIT, graph_config, graph_logits, train_graph
from model.train.ledger import Ledger, stage_key
from model.train.methods.forecaster import train_forecaster

GRAPH = "graph network (LTA)"
FORECASTER = "sequence forecaster"

TEMPERATURES = (1.0, 0.8, 0.6, 0.45, 0.35)
TUNED_ON = 200
"""Windows of val that temperatures are chosen on, at most."""


class LabelForecasts:
    """Every way on the label sequences of three splits.

    Attributes:
        windows: split -> windows that are scored, "val" thinned out.
    """

    def __init__(
        self,
        splits: Mapping[str, ActionSequences],
        num_labels: dict[str, int],
        ledger: Ledger,
        key: str,
        *,
        seed: int,
        every: int,
        samples: int,
    ) -> None:
        """Trains the models, unless the ledger has them.

        Args:
            splits: "train", "val" and "test" sequences.
            num_labels: "verb" and "noun" -> classes.
            ledger: of finished trainings.
            key: hash of the sequences and settings.
            seed: of training and draws.
            every: actions between two windows.
            samples: futures to draw of each window.

        Raises:
            AnnotationInvalid: a split has no window of 2 actions and the next 20.
        """
        self._splits, self._num_labels = splits, num_labels
        self._seed, self._samples = seed, samples
        self.windows = {name: _windows(name, splits[name], every) for name in ("val", "test")}
        few = torch.linspace(0, len(self.windows["val"]) - 1, TUNED_ON).long().unique()
        self.windows["val"] = self.windows["val"].take(few)
        self._counts = PairCounts(splits["train"])
        self._forecaster = self._trained_forecaster(ledger, key)
        self._graph = self._trained_graph(ledger, key)
        self._logits: dict[str, dict[str, Tensor]] = {}
        self._temperature = {
            name: self._best_temperature(draw)
            for name, draw in (
                ("bigram", self._bigrams),
                (GRAPH, self._graphs),
                (FORECASTER, self._sequences),
            )
        }

    def temperatures(self) -> dict[str, float]:
        """Returns the temperature of each way that samples."""
        return dict(self._temperature)

    def rows(self, observed: int) -> list[ForecastRow]:
        """Returns every way on test; of the past, so many actions are seen, 0 for all."""
        windows = self._seen("test", observed)
        truth = self._truth("test")
        rows = baseline_rows(
            self._counts, self._splits["test"].ids.unsqueeze(1), windows, truth,
            samples=self._samples, seed=self._seed, temperatures=self._remarked("bigram"),
        )  # fmt: skip
        for remark, temperature in self._remarked(GRAPH).items():
            rows += sampled_rows(GRAPH + remark, self._graphs("test", temperature), truth)
        for remark, temperature in self._remarked(FORECASTER).items():
            ours = self._sequences("test", temperature, observed)
            rows += sampled_rows(FORECASTER + remark, ours, truth)
        return rows

    def _remarked(self, name: str) -> dict[str, float]:
        """Remark on a row -> temperature: as trained, and the one chosen on val if another."""
        chosen = self._temperature[name]
        return {"": 1.0} if chosen == 1 else {" at 1": 1.0, "": chosen}

    def _seen(self, split: str, observed: int) -> Windows:
        windows = self.windows[split]
        return windows.seeing(observed) if observed else windows

    def _truth(self, split: str) -> dict[str, Tensor]:
        return by_output(self.windows[split].future(self._splits[split].ids, LTA.num_future))

    def _bigrams(self, split: str, temperature: float) -> Futures:
        last = self._splits[split].ids[self.windows[split].last]
        return by_output(
            self._counts.by_bigram(
                last, self._samples, LTA.num_future, seed=self._seed, temperature=temperature
            )
        )

    def _graphs(self, split: str, temperature: float) -> Futures:
        if split not in self._logits:
            self._logits[split] = graph_logits(
                self._graph, self._splits[split], self.windows[split], self._num_labels
            )
        config = ModelConfig(
            future_choice="set", future_samples=self._samples, future_temperature=temperature
        )
        drawn = [
            draw_futures(
                {name: values[place] for name, values in self._logits[split].items()},
                config=config,
                seed=seed,
            )
            for place, seed in enumerate(self._seeds(split))
        ]
        return {name: torch.stack([d[name] for d in drawn]) for name in LTA.outputs}

    def _sequences(self, split: str, temperature: float, observed: int = 0) -> Futures:
        past = PastActions.labels(self._splits[split].ids, *self._num_labels.values())
        return sample_windows(
            at_temperature(self._forecaster, temperature),
            past,
            self._seen(split, observed),
            self._seeds(split),
            count=self._samples,
            steps=LTA.num_future,
        )

    def _seeds(self, split: str) -> list[int]:
        places = self.windows[split].last.tolist()
        return [seed_of(self._seed, f"{split}_{place}") for place in places]

    def _best_temperature(self, draw: Callable[[str, float], Futures]) -> float:
        """The temperature with the least mean of verb, noun and action distance on val, as sets."""
        truth = self._truth("val")

        def distance(temperature: float) -> float:
            futures = choose_futures(draw("val", temperature), NUM_HYPOTHESES)
            errors = anticipation_errors(futures, truth)
            return sum(float(errors[f"{name}_ed"].mean()) for name in ("verb", "noun", "action"))

        return min(TEMPERATURES, key=distance)

    def _trained_forecaster(self, ledger: Ledger, key: str) -> SequenceForecaster:
        config, stage = ForecasterConfig(), "forecaster"
        key = stage_key(key, config, FORECASTING)

        def train() -> dict[str, Tensor]:
            job = FitJob(FORECASTING, self._seed, ledger.checkpoint(stage, key))
            made = train_forecaster(self._splits["train"], self._num_labels, config, job)
            return dict(made.state_dict())

        model = SequenceForecaster(config, self._counts.pairs, self._num_labels)
        model.load_state_dict(ledger.tensors(stage, key, train))
        return model.eval().requires_grad_(False)

    def _trained_graph(self, ledger: Ledger, key: str) -> MultiTaskModel:
        config, stage = graph_config(self._num_labels), "graph"
        key = stage_key(key, config, GRAPH_FIT)

        def train() -> dict[str, Tensor]:
            job = FitJob(GRAPH_FIT, self._seed, ledger.checkpoint(stage, key))
            return dict(train_graph(self._splits["train"], self._num_labels, job).state_dict())

        model = MultiTaskModel(config, [LTA], self._num_labels)
        model.load_state_dict(ledger.tensors(stage, key, train))
        return model.eval().requires_grad_(False)


def _windows(split: str, sequences: ActionSequences, every: int) -> Windows:
    windows = sequences.windows(LTA.num_segments, LTA.num_future, every=every)
    if not len(windows):
        raise AnnotationInvalid(
            f"{split}: no video has {LTA.num_nodes} actions with a verb and a noun: "
            f"{LTA.num_segments} observed and {LTA.num_future} to come"
        )
    return windows
