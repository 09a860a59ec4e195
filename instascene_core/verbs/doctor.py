"""`instascene doctor`: what is installed, what is missing."""

from dataclasses import asdict, dataclass, field
from typing import Annotated

import tyro
from rich.table import Table
from rich.text import Text

from instascene_core.errors import InputError
from instascene_core.terminal import console
from instascene_core.verbs.manner import Answer, Manner


@dataclass(frozen=True)
class Doctor:
    """Say which parts, optional libraries and ROS pieces are there, and what to install for the rest."""

    manner: Annotated[Manner, tyro.conf.arg(name="")] = field(default_factory=Manner)

    def __call__(self) -> Answer:
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
        parts = [asdict(finding) for finding in findings]
        problem = InputError(f"Required parts are missing: {', '.join(missing)}; see the table above.")
        return Answer({"parts": parts}, problem if missing else None)
