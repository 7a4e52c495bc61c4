"""The bundle on disk -> the predictor that is to answer for it."""

from extract.encoders.load import load_named_encoder
from extract.encoders.precomputed import PrecomputedFeatures
from extract.runtime.choose import Runtime, choose_encoder
from model.predict.predictor import Predictor
from server.settings.settings import Settings
from weights.bundle import ENCODER_FILE
from weights.errors import BundleError


def load_predictor(settings: Settings) -> Predictor:
    """Loads the bundle that is to be served.

    Raises:
        WeightsError: there is no bundle, it cannot be trusted, or it cannot see video; or there is
            no encoder of the name that is set.
        FeatureMismatch: the encoder that is set makes other features than the bundle's.
        RuntimeUnavailable: what is to run the encoder is not there.
    """
    runtime = Runtime(
        settings.runtime,
        provider=settings.onnx_provider,
        cache=settings.cache,
        precision=settings.precision,
        execution=settings.execution,
    )
    encoder = None
    if settings.encoder is not None:
        named = load_named_encoder(settings.encoder, weights=settings.weights)
        encoder, _ = choose_encoder(named.to(settings.device), b"", runtime)
    predictor = Predictor.from_bundle(
        settings.bundle, device=settings.device, encoder=encoder, runtime=runtime
    )
    if isinstance(predictor.encoder, PrecomputedFeatures):
        name = predictor.encoder.name
        found = f"none: this bundle answers for {name} features; set `encoder` to who makes them"
        raise BundleError(ENCODER_FILE, expected="an encoder, as callers send video", found=found)
    return predictor
