"""Configuration of models and of their training: frozen dataclasses saved in the bundle.

Defaults are the paper's; where it is silent the source is named.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, get_args, get_type_hints

_WINDOWS = ("window_frames", "stride_frames")
"""Fields that bundles of the usual windows leave out, like those that were made before."""

_SHARE = (0.0, 1.0)
_RANGES: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("input_size", "vectors_per_node", "num_neighbours", *_WINDOWS), (1, math.inf)),
    **dict.fromkeys(("num_layers", "interaction_layers"), (0, math.inf)),
    **dict.fromkeys(("epochs", "batch_size"), (1, math.inf)),
    **dict.fromkeys(("weight_decay", "warmup_epochs"), (0.0, math.inf)),
    **dict.fromkeys(("pooling_dropout", "head_dropout", "skill_dropout", "dropout"), _SHARE),
    **dict.fromkeys(("context_dropout", "feature_dropout", "label_smoothing"), _SHARE),
    "hidden_size": (2, math.inf),
    "embedding_size": (1, math.inf),
    "future_samples": (5, 257),
}
"""Field -> inclusive lower and exclusive upper bound."""

_POSITIVE = ("learning_rate", "future_temperature", "temperature")


def _check(config: "ModelConfig | FitConfig | ForecasterConfig") -> None:
    for name, kind in get_type_hints(type(config)).items():
        value, choices = getattr(config, name), get_args(kind)
        if choices and value not in choices:
            raise ValueError(f"{name}: expected one of {', '.join(choices)}, got {value!r}")
        if name in _POSITIVE and not 0 < value < math.inf:
            raise ValueError(f"{name}: expected a number above 0, got {value}")
        low, below = _RANGES.get(name, (None, math.inf))
        if low is not None and not low <= value < below:
            most = "" if below == math.inf else f" and below {below:g}"
            raise ValueError(f"{name}: expected at least {low:g}{most}, got {value}")


@dataclass(frozen=True)
class ModelConfig:
    """Sizes and choices of the temporal model and of the interaction stage.

    Attributes:
        input_size: D_in, 1536 for Omnivore Swin-L (Sec. 4.1).
        window_frames, stride_frames: of the features' windows (Sec. 4.1: 32 every 16).
        hidden_size: D of backbone, heads and prototypes (1024 in the authors' code).
        vectors_per_node: S, three sub-segments (Sec. 4.1).
        num_layers: temporal layers (supplement A.1).
        norm: "node" normalises each node alone (the paper's Layer Normalization); "batch"
            normalises over all nodes and channels of the batch, as the authors' code does.
        final_linear: a last Linear inside the residual branch (authors' code only).
        pooling_dropout: in the TRN pooling (authors' code).
        head_dropout: before the known tasks' classifiers, each with its own dropout mask (authors'
            code).
        skill_dropout: before a skill's classifiers, likewise (authors' code).
        num_neighbours: k of the k-NN (4 in the authors' experiments; the paper's own best value
            is missing from its text, which sees little gain beyond it, Sec. 4.2).
        interaction_layers: rounds of message passing of eq. 3.
        interaction: "paper" is eq. 3 alone; "authors" adds the node itself to the maximum, a
            LayerNorm, ReLU and Linear, and a skip connection.
        interaction_skip: with `interaction="authors"`, each round is added to its input.
        distance: neighbours are the closest by cosine (paper) or by Euclidean distance.
        rematch: neighbours are looked up again before every layer (paper), or once (authors).
        prototypes: an action's prototype is the mean of its perspectives ("mean", Sec. 3.3), or
            that divided by the number of known tasks ("divided", authors' code), which leaves
            cosines alone and moves the maximum.
        fusion: votes are combined by adding logits ("sum", paper), by averaging them ("mean"), or
            "features": the element-wise maximum of all perspectives' features is classified once.
        graph_fusion: the same for tasks read from whole graphs (OSCC); the authors average there.
        future_edges: future nodes have an edge from every observed node ("all", paper) or from
            the last one ("last", authors' code at one hop), whatever is labelled.
        subsegments: training draws each part's vectors inside that part ("parts": uniform ones,
            supplement A.1), or all of a segment's vectors anywhere in it, distinct where there
            are enough and sorted ("random", authors' code). Evaluation spaces them evenly.
        windows: "contained" takes the windows that lie inside a segment, so that LTA sees nothing
            of what it predicts (strictly causal); "overlapping" those that start inside it, as
            the authors' code does, which may see up to 1 s past its end.
        instants: "centre" reads an instant from the windows centred around it; "start" from
            those that start around it, as the authors' code does.
        greedy_first: the first of LTA's hypotheses takes the most probable label of every step
            instead of a draw (our choice; the authors' code draws all).
        keyframe_rate: frames become PNR's seconds at the rate that Ego4D's evaluator finds for
            each segment ("segment"), or at 30 a second ("30", authors' code).
        future_temperature: what logits are divided by before LTA's futures are drawn (1 in the
            authors' code), whatever temperature makes the probabilities shown.
        future_choice: LTA's hypotheses are drawn on their own ("independent", authors' code), or
            chosen from `future_samples` drawn futures as a set with the least expected best-of-K
            edit distance ("set", our choice).
        future_samples: drawn futures that such a set is chosen from.
    """

    input_size: int = 1536
    hidden_size: int = 1024
    vectors_per_node: int = 3
    num_layers: int = 3
    norm: Literal["node", "batch"] = "node"
    final_linear: bool = False
    pooling_dropout: float = 0.5
    head_dropout: float = 0.0
    skill_dropout: float = 0.5
    num_neighbours: int = 4
    interaction_layers: int = 3
    interaction: Literal["paper", "authors"] = "paper"
    interaction_skip: bool = True
    distance: Literal["cosine", "l2"] = "cosine"
    rematch: bool = True
    prototypes: Literal["mean", "divided"] = "mean"
    fusion: Literal["sum", "mean", "features"] = "sum"
    graph_fusion: Literal["sum", "mean"] = "sum"
    future_edges: Literal["all", "last"] = "all"
    subsegments: Literal["parts", "random"] = "parts"
    windows: Literal["contained", "overlapping"] = "contained"
    instants: Literal["centre", "start"] = "centre"
    greedy_first: bool = False
    future_temperature: float = 1.0
    future_choice: Literal["independent", "set"] = "independent"
    future_samples: int = 40
    keyframe_rate: Literal["segment", "30"] = "segment"
    window_frames: int = 32
    stride_frames: int = 16

    def __post_init__(self) -> None:
        """Checks sizes and shares.

        Raises:
            ValueError: a field has a value that no model can have; names it.
        """
        _check(self)
        if self.hidden_size % 2:
            raise ValueError(f"hidden_size: expected an even number, got {self.hidden_size}")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, the usual windows left out; `from_dict` is its inverse."""
        usual = {name: getattr(ModelConfig, name) for name in _WINDOWS}
        return {k: v for k, v in asdict(self).items() if usual.get(k) != v}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "ModelConfig":
        """Rebuilds a config.

        Raises:
            ValueError: a key is unknown, or a value out of its range.
        """
        unknown = set(values) - {f.name for f in fields(cls)}
        if unknown:
            raise ValueError(f"unknown model config keys: {sorted(unknown)}")
        return cls(**values)


@dataclass(frozen=True)
class FitConfig:
    """One optimisation: Adam, linear warm-up, cosine to zero.

    Attributes:
        epochs: passes over the data (of the longest task, when several are trained).
        learning_rate: peak.
        batch_size: graphs per task and step (Sec. 4.1).
        weight_decay: of Adam (authors' code).
        warmup_epochs: linear warm-up (Sec. 4.1).
        context_dropout: share of training graphs whose neighbouring actions are replaced by the
            observed one itself, as in a clip on its own (our choice; 0 in the paper).
        feature_dropout: on the input vectors (our choice).
        label_smoothing: of the cross entropies.
        decoupled_decay: weight decay as AdamW applies it, not as a part of the gradient.
        schedule: the rate moves every "step", or once an "epoch" (authors' code).
        task_losses: several tasks' losses are averaged (Sec. 3.2) or added (authors' code).
        node_loss: the mean over labelled nodes (paper), or over all of a graph's nodes, those
            without a label counting as zero (authors' code: AR / 9, LTA x 20 / 22).
        keyframe_crop: where 5-8 s of a PNR segment are cut in training: anywhere that holds the
            keyframe ("uniform"), or as Ego4D's loader draws it ("ego4d": its offset comes from
            the interval between 8 - length and 1 s).
        precision: on a GPU, products in bfloat16 ("mixed", ours) or all in float32 ("full",
            authors' code); a CPU always computes in float32.
        tune_backbone: a skill's training also moves its backbone (supplement A.1.1: all tasks but
            LTA). A backbone that all skills share stays as it is.
        tune_heads: a skill's training also moves the known tasks' heads, and gradients reach the
            backbone through them (Sec. 3.3 has them "possibly updated" and then "trained jointly";
            the authors' code does neither).
    """

    epochs: int
    learning_rate: float
    batch_size: int = 16
    weight_decay: float = 1e-5
    warmup_epochs: float = 5.0
    context_dropout: float = 0.0
    feature_dropout: float = 0.0
    label_smoothing: float = 0.0
    decoupled_decay: bool = False
    schedule: Literal["step", "epoch"] = "step"
    task_losses: Literal["mean", "sum"] = "mean"
    node_loss: Literal["labelled", "all"] = "labelled"
    keyframe_crop: Literal["uniform", "ego4d"] = "uniform"
    precision: Literal["mixed", "full"] = "mixed"
    tune_backbone: bool = False
    tune_heads: bool = False

    def __post_init__(self) -> None:
        """Checks counts, rates and shares.

        Raises:
            ValueError: a field has a value that no training can have; names it.
        """
        _check(self)


FORECASTING = FitConfig(
    epochs=20,
    learning_rate=3e-3,
    batch_size=16,
    weight_decay=1e-2,
    warmup_epochs=1.0,
    decoupled_decay=True,
)
"""Optimisation of the sequence forecaster, in crops of training sequences (ours)."""


@dataclass(frozen=True)
class ForecasterConfig:
    """Sizes of the sequence forecaster (`model.forecast.forecaster`).

    Attributes:
        embedding_size: of an action.
        hidden_size: of the GRU and of the pointer's queries and keys.
        dropout: on embeddings and hidden states.
        temperature: sampling raises distributions to its inverse.
    """

    embedding_size: int = 64
    hidden_size: int = 128
    dropout: float = 0.3
    temperature: float = 1.0

    def __post_init__(self) -> None:
        """Checks sizes and shares.

        Raises:
            ValueError: a field has a value that no forecaster can have; names it.
        """
        _check(self)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; `from_dict` is its inverse."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "ForecasterConfig":
        """Rebuilds a config.

        Raises:
            TypeError: a key is unknown.
            ValueError: a value is out of its range.
        """
        return cls(**values)


@dataclass(frozen=True)
class Learning:
    """Hyper-parameters of everything after the features.

    Attributes:
        model: of all parts.
        multitask: optimisation of one, several or all known tasks.
        skills: task -> its optimisation as a novel task.
        translation: task -> its optimisation in the task translation baselines (supplement B: OSCC
            has its own learning rate).
        forecaster: of a sequence forecaster beside LTA; None trains none (paper).
        forecasting: its optimisation.
    """

    model: ModelConfig
    multitask: FitConfig
    skills: dict[str, FitConfig]
    translation: dict[str, FitConfig]
    forecaster: ForecasterConfig | None = None
    forecasting: FitConfig = FORECASTING

    def with_input_size(self, width: int) -> "Learning":
        """Returns the same for features of another width, D_in."""
        return replace(self, model=replace(self.model, input_size=width))

    def with_windows(self, window_frames: int, stride_frames: int) -> "Learning":
        """Returns the same for features of other windows."""
        changed = replace(self.model, window_frames=window_frames, stride_frames=stride_frames)
        return replace(self, model=changed)

    def refit(self, change: Callable[[FitConfig], FitConfig]) -> "Learning":
        """Returns the same with `change` applied to every optimisation."""
        return replace(
            self,
            multitask=change(self.multitask),
            skills={task: change(fit) for task, fit in self.skills.items()},
            translation={task: change(fit) for task, fit in self.translation.items()},
            forecasting=change(self.forecasting),
        )
