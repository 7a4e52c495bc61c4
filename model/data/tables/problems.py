"""Problems of a file, gathered so that one error names them all."""

from model.errors import AnnotationInvalid

MOST_SHOWN = 20


class Problems:
    """Problems of one kind or of one file.

    Attributes:
        subject: what they are problems of; heads the error.
        remedy: what to do about all of them; ends the error.
    """

    def __init__(self, subject: str, remedy: str = "") -> None:
        self.subject = subject
        self.remedy = remedy
        self._shown: list[str] = []
        self._count = 0

    def add(self, text: str) -> None:
        """Notes one; of many only the first are kept, and the others counted."""
        self._count += 1
        if len(self._shown) < MOST_SHOWN:
            self._shown.append(text)

    def check(self) -> None:
        """Raises what was noted, if anything.

        Raises:
            AnnotationInvalid: a problem was noted; one is a line,
                several are a list.
        """
        if not self._count:
            return
        more = self._count - len(self._shown)
        lines = [*self._shown, *([f"... and {more} more"] if more else [])]
        if self.remedy:
            lines.append(self.remedy)
        if self._count == 1:
            raise AnnotationInvalid(f"{self.subject}: {'. '.join(lines)}")
        raise AnnotationInvalid("\n  ".join([f"{self.subject}:", *lines]))
