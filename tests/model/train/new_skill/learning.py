"""`python -m model.train --learn` in this process, and answers of what it wrote."""

from model.predict.predictor import Predictor, PredictRequest
from model.train.__main__ import main as train
from tests.support.own_tasks import SEGMENTS, write_features, write_labels, write_task


def learn(folder, name, *more, bundle=None, out=None, epochs=1):
    """Runs the command on files under `folder`; returns its exit status."""
    return train(
        [
            "--learn", str(write_task(folder, name, epochs=epochs)),
            "--labels", str(write_labels(folder, name)),
            "--features", str(folder / "features"),
            "--bundle", str(bundle or folder / "bundle"),
            "--out", str(out or folder / f"with-{name}"),
            "--work", str(folder / "work"),
            *more,
        ]
    )  # fmt: skip


def answer(bundle, tasks, video="c"):
    predictor = Predictor.from_bundle(bundle, search="torch")
    folder = bundle.parent / "features"
    track = write_features(folder, predictor.encoder).read(video)
    request = PredictRequest(track, frozenset(tasks), segments=tuple(SEGMENTS))
    return predictor.predict([request])[0]
