"""What a model is, and how it is trained: frozen dataclasses saved in the bundle.

Defaults are the paper's; where it is silent the source is named.
"""

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal


@dataclass(frozen=True)
class ModelConfig:
    """Sizes and choices of the temporal model and of the interaction stage.

    Attributes:
        input_size: D_in, 1536 for Omnivore Swin-L (Sec. 4.1).
        hidden_size: D of backbone, heads and prototypes (1024 in the authors' code).
        vectors_per_node: S, three sub-segments (Sec. 4.1).
        num_layers: temporal layers (supplement A.1).
        norm: "node" normalises each node alone (the paper's Layer Normalization); "batch"
            normalises over all nodes and channels of the batch, as the authors' code does.
        final_linear: a last Linear inside the residual branch (authors' code only).
        pooling_dropout: in the TRN pooling (authors' code).
        head_dropout: before the known tasks' classifiers (authors' code).
        skill_dropout: before a skill's classifiers (authors' code).
        num_neighbours: k of the k-NN (Fig. 4 saturates at 4).
        interaction_layers: rounds of message passing of eq. 3.
        interaction: "paper" is eq. 3 alone; "authors" adds the node itself to the maximum, a
            LayerNorm, ReLU and Linear, and a skip connection.
        rematch: neighbours are looked up again before every layer (paper), or once (authors).
        windows: "contained" takes the windows that lie inside a segment; "overlapping" those
            that start inside it, as the authors' code does, and so sees up to 1 s past its end.
        instants: "centre" reads an instant from the windows centred around it; "start" from
            those that start around it, as the authors' code does.
        greedy_first: the first of LTA's hypotheses takes the most probable label of every step
            instead of a draw (our choice; False in the paper).
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
    rematch: bool = True
    windows: Literal["contained", "overlapping"] = "contained"
    instants: Literal["centre", "start"] = "centre"
    greedy_first: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; `from_dict` is its inverse."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "ModelConfig":
        """Rebuilds a config.

        Raises:
            ValueError: a key is unknown.
        """
        unknown = set(values) - {f.name for f in fields(cls)}
        if unknown:
            raise ValueError(f"unknown model config keys: {sorted(unknown)}")
        return cls(**values)


@dataclass(frozen=True)
class FitConfig:
    """One optimisation: Adam, linear warm-up, cosine to zero, both per step.

    Attributes:
        epochs: passes over the data (of the longest task, when several are trained).
        learning_rate: peak.
        batch_size: graphs per task and step (Sec. 4.1).
        weight_decay: of Adam (authors' code).
        warmup_epochs: linear warm-up (Sec. 4.1).
        context_dropout: share of training graphs whose neighbouring actions are replaced by the
            observed one itself, so that a lone clip is not a surprise (our choice; 0 in the paper).
        feature_dropout: on the input vectors (our choice).
        label_smoothing: of the cross entropies.
        decoupled_decay: weight decay as AdamW applies it, not as a part of the gradient.
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
