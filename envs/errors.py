"""The one error that a user's input can cause. Raised near the fact, printed once by the CLI."""

from __future__ import annotations

from pathlib import Path


class InputError(ValueError):
    """Bad input: which file, which field or line, which value, and how to mend it.

    The CLI prints the message on stderr and exits with code 2; nothing has been written by then.
    """

    def __init__(self, file: Path | str | None, field: str, value: object, mend: str) -> None:
        self.file = str(file) if file is not None else ""
        self.field = field
        self.value = value
        self.mend = mend
        where = f"{self.file}: " if self.file else ""
        shown = repr(value) if value is not None else ""
        if len(shown) > 120:
            shown = shown[:117] + "..."
        what = f"{field}: {shown}" if shown else field
        super().__init__(_printable(f"{where}{what}: {mend}"))

    def __reduce__(self) -> tuple[type[InputError], tuple[str | None, str, object, str]]:
        """Travel between processes whole: workers raise it, the parent prints it."""
        return InputError, (self.file or None, self.field, self.value, self.mend)


def _printable(text: str) -> str:
    """On one line, however odd the input: line breaks and control characters are escaped."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
