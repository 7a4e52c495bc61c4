"""The same model behind other servers, each written as in its documentation.

Each is a program, `python -m bench.rivals.NAME --port N`; those not installed are skipped.
`pip install "egopack-server[rivals]"` installs them.
"""
