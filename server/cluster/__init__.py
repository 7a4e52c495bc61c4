"""The server on Ray: front ends run the engine unchanged, encoders behind them make the features.

Imported only when asked for: Ray comes with `pip install "egopack-server[scale]"`.
"""
