"""The same model behind other servers, each written the plain way its own users would.

Each is a program of its own, `python -m bench.rivals.NAME --port N`; what is not installed is not
measured. `pip install "egopack-server[rivals]"` installs them.
"""
