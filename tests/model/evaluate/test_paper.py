import pytest

from model.evaluate.paper import METRICS, PAPER, aggregate


def test_the_aggregate_gives_the_papers_own_averages():
    """Table 2, from Table 1 and Table 6."""
    told = {
        "mlp": 0.416,
        "temporal": 0.433,
        "tt": 0.431,
        "mtl": 0.430,
        "mtl-ft": 0.437,
        "egopack": 0.441,
    }
    for method, figure in told.items():
        assert aggregate(dict(zip(METRICS, PAPER[method], strict=True))) == pytest.approx(
            figure, abs=1.5e-3
        )
