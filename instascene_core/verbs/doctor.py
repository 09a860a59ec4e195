"""`instascene doctor`: what is installed, what is missing."""

from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from instascene_core.errors import InputError
from instascene_core.terminal import console


@dataclass(frozen=True)
class Doctor:
    """Say which parts, optional libraries and ROS pieces are there, and what to install for the rest."""

    def __call__(self) -> None:
        from instascene_core.doctor import examine

        findings = examine()
        table = Table("", "part", "found", "what to do")
        for finding in findings:
            mark = (
                ("✓", "green") if finding.found else (("✗", "red") if finding.required else ("–", "yellow"))
            )
            table.add_row(Text(*mark), finding.part, finding.version, "" if finding.found else finding.advice)
        console.print(table)
        missing = [f.part for f in findings if f.required and not f.found]
        if missing:
            raise InputError(f"Required parts are missing: {', '.join(missing)}; see the table above.")
