"""`Notice`: what the server says beside its answers."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Notice"]

# One-letter field codes of the protocol chapter, "Error and Notice Message Fields", by attribute.
_CODES = {
    "severity": "V",
    "sqlstate": "C",
    "message": "M",
    "detail": "D",
    "hint": "H",
    "position": "P",
    "internal_position": "p",
    "internal_query": "q",
    "context": "W",
    "schema_name": "s",
    "table_name": "t",
    "column_name": "c",
    "data_type_name": "d",
    "constraint_name": "n",
    "file": "F",
    "line": "L",
    "routine": "R",
}


@dataclass(frozen=True, slots=True)
class Notice:
    """A warning or remark of the server (RAISE NOTICE, "table does not exist, skipping"), with all fields it sent.

    severity: WARNING, NOTICE, INFO, DEBUG or LOG, never localised. Fields that were not sent are None.
    """

    severity: str
    sqlstate: str
    message: str
    detail: str | None = None
    hint: str | None = None
    position: int | None = None
    internal_position: int | None = None
    internal_query: str | None = None
    context: str | None = None
    schema_name: str | None = None
    table_name: str | None = None
    column_name: str | None = None
    data_type_name: str | None = None
    constraint_name: str | None = None
    file: str | None = None
    line: int | None = None
    routine: str | None = None

    @classmethod
    def from_fields(cls, fields: dict[str, str]) -> Notice:
        """From the fields keyed by their one-letter codes, as the core hands them over."""
        texts = {name: fields.get(code) for name, code in _CODES.items()}
        numbers = {name: _number(texts.pop(name)) for name in ("position", "internal_position", "line")}
        severity = texts.pop("severity") or fields.get("S") or ""
        sqlstate, message = texts.pop("sqlstate") or "", texts.pop("message") or ""
        return cls(severity, sqlstate, message, **texts, **numbers)  # type: ignore[arg-type]  # split by name above

    def __str__(self) -> str:
        """`NOTICE: message`, with detail and hint on lines of their own."""
        lines = [f"{self.severity}: {self.message}"]
        lines += [
            f"{label}: {text}" for label, text in (("DETAIL", self.detail), ("HINT", self.hint)) if text
        ]
        return "\n".join(lines)


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() else None
