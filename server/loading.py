"""The bundle on disk -> the predictor that is to answer for it."""

from extract.features import FeaturesOnly
from model.predictor import Predictor
from server.settings import Settings
from weights.bundle import ENCODER_FILE
from weights.errors import BundleError


def load_predictor(settings: Settings) -> Predictor:
    """Loads the bundle that is to be served.

    Raises:
        WeightsError: there is no bundle, it cannot be trusted, or it cannot see video.
    """
    predictor = Predictor.from_bundle(settings.bundle, device=settings.device)
    if isinstance(predictor.encoder, FeaturesOnly):
        found = f"none: this bundle answers for {predictor.encoder.name} features"
        raise BundleError(ENCODER_FILE, expected="an encoder, as callers send video", found=found)
    return predictor
