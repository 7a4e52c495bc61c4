"""What can go wrong with a call.

ClientError
├── Rejected       the request is at fault; sending it again will not help
├── Busy           the server is full, starting or stopping; later may work
├── ServerFault    the server failed, or its answer cannot be read
└── Unreachable    no server answered
"""


class ClientError(Exception):
    """Root of everything a call can raise.

    Attributes:
        status: HTTP status; None if nothing answered.
        code: the problem's stable slug; empty if the server sent none.
        request_id: quote it to whoever runs the server.
        errors: (JSON pointer, what is wrong) of each wrong field.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str = "",
        request_id: str = "",
        errors: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.request_id = request_id
        self.errors = errors


class Rejected(ClientError):
    """The request is at fault: its clip, a field, or the API key."""


class Busy(ClientError):
    """The server takes no more work just now."""


class ServerFault(ClientError):
    """The server failed, or sent something that is not an answer."""


class Unreachable(ClientError):
    """No connection, or no answer in time."""
