"""Encoders of the libraries transformers and timm: any video or image model as a `TorchEncoder`.

Neither library is imported before an encoder of it is asked for; both are in the extra `encoders`.
"""
