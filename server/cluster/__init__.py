"""The server on Ray Serve: front ends run the engine, encoder replicas make the features.

Imported only with `--ray`: Ray comes with `pip install "egopack-server[scale]"`.
"""
