"""Pieces of Markdown that the sections of the page of figures are made of."""


def table(header: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def place(found: dict) -> str:
    """The machines of all rows; of a file that is older than machines in rows, its one."""
    values = [row for value in found.values() for row in (value if isinstance(value, list) else [value])]
    machines = [row["machine"] for row in values if isinstance(row, dict) and "machine" in row]
    machines = machines or ([found["machine"]] if "machine" in found else [])
    described = [
        f"{m['cpu']}, {m['threads']} thread{'s' * (m['threads'] != 1)}, torch {m['torch']}" for m in machines
    ]
    return "; ".join(dict.fromkeys(described)) or "Machine not on record"


def millimetres(metres: float | None) -> str:
    return number(metres, "{:.2f} mm", 1e3)


def number(value: float | None, form: str, factor: float = 1.0) -> str:
    return "–" if value is None or value != value else form.format(factor * value)
