"""`instascene config`: all settings with their meaning."""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from instascene_core.verbs.manner import Answer, Manner


@dataclass(frozen=True)
class ShowConfig:
    """Print the settings with their meaning and values, as a YAML file that `--config` takes."""

    names: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """Only these settings, or what lies below these sections: `reconstruction`, say."""
    config: Path | None = None
    """YAML overlay on the defaults."""
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Single settings as KEY=VALUE."""
    manner: Annotated[Manner, tyro.conf.arg(name="")] = field(default_factory=Manner)

    def __call__(self) -> Answer:
        from instascene_core.config_file import load_config
        from instascene_core.config_listing import as_yaml, listed

        settings = listed(load_config(self.config, self.set), self.names)
        if not self.manner.json:
            sys.stdout.write(as_yaml(settings))
        facts = [
            {
                "name": s.name,
                "value": s.value,
                "description": s.description,
                "choices": s.choices,
                "low": None if s.range is None else s.range.low,
                "high": None if s.range is None else s.range.high,
            }
            for s in settings
        ]
        return Answer(facts)
