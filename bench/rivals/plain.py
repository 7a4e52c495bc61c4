"""A plain FastAPI handler: an ordinary function, which FastAPI runs in its pool of threads."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, UploadFile

from bench.rivals import calls


def main() -> None:
    """Serves until a signal stops it."""
    arguments = calls.parse_arguments(__doc__)
    predictor = calls.load(arguments.bundle, arguments.threads)
    serve(arguments.port, lambda path: calls.answer(predictor, path))


def serve(port: int, answer: Callable[[Path], dict[str, Any]]) -> None:
    """Serves what answers a clip on disk."""
    app = FastAPI()

    @app.get("/health")
    def health() -> str:
        return "ok"

    @app.post("/predict")
    def predict(video: UploadFile) -> dict[str, Any]:
        with calls.on_disk(video.file) as path:
            return answer(path)

    uvicorn.run(app, port=port, log_level="warning")


if __name__ == "__main__":
    main()
