"""Sub-commands of `python -m clients`, a module each, imported when chosen.

A module has `Options`, the class of its parsed flags, `add_arguments` and `run`.
"""

EPILOG = "EGOPACK_URL names the server and EGOPACK_API_KEY is sent, if they are set."
