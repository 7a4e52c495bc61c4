"""LitServe with its batching: clips are decoded one by one, encoded and reasoned about together."""

from pathlib import Path
from typing import Any

import litserve
from fastapi import Request
from torch import Tensor

from bench.rivals import calls
from extract.decode.clip import DecodedClip

Decoded = tuple[DecodedClip, Tensor]


class EgoPackAPI(litserve.LitAPI):  # type: ignore[misc]
    """LitServe's six methods."""

    def __init__(self, bundle: Path, threads: int | None) -> None:
        """Keeps what `setup` needs; it runs in a process of its own."""
        super().__init__(max_batch_size=8, batch_timeout=0.01)
        self._bundle, self._threads = bundle, threads

    def setup(self, device: str) -> None:
        """Loads the model."""
        self._predictor = calls.load(self._bundle, self._threads)

    def decode_request(self, request: Request) -> Decoded:
        """Decodes one clip."""
        with calls.on_disk(request["video"].file) as path:
            return calls.decode(self._predictor, path)

    def batch(self, inputs: list[Decoded]) -> list[Decoded]:
        """Keeps clips of unequal length as a list."""
        return inputs

    def predict(self, batch: list[Decoded]) -> list[dict[str, Any]]:
        """Encodes all windows and reasons about all clips together."""
        return calls.answer_together(self._predictor, batch)

    def unbatch(self, output: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Splits the results by caller."""
        return output

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        """Returns the answer, which is JSON already."""
        return output


def main() -> None:
    """Serves until a signal stops it."""
    arguments = calls.parse_arguments(__doc__)
    server = litserve.LitServer(
        EgoPackAPI(arguments.bundle, arguments.threads),
        accelerator="cpu",
        workers_per_device=arguments.workers,
        timeout=120,
    )
    server.run(
        host="127.0.0.1",
        port=arguments.port,
        log_level="warning",
        generate_client_file=False,
    )


if __name__ == "__main__":
    main()
