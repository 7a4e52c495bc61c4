import pytest

from model.train.ledger import Ledger
from model.train.methods.trainer import Trainer
from model.train.pipeline import TrainingPipeline
from tests.model.support.small_training import LEARNING, TRAIN
from tests.support.factories import NUM_LABELS


@pytest.fixture(scope="session")
def bench(tmp_path_factory):
    trainer = Trainer(TRAIN, NUM_LABELS, LEARNING, 0, progress=False)
    return TrainingPipeline(trainer, Ledger(tmp_path_factory.mktemp("parts"), {}), "samples")
