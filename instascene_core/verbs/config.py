"""`instascene config`: all settings with their meaning."""

import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass(frozen=True)
class ShowConfig:
    """Print the settings with their meaning and values, as a YAML file that `--config` takes."""

    names: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """Only these settings, or what lies below these sections: `reconstruction`, say."""
    config: Path | None = None
    """YAML overlay on the defaults."""
    set: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Single settings as KEY=VALUE."""
    json: bool = False
    """As JSON: a list of name, value, description, choices, low and high."""

    def __call__(self) -> None:
        from instascene_core.config_file import load_config
        from instascene_core.config_listing import as_yaml, listed

        settings = listed(load_config(self.config, self.set), self.names)
        if not self.json:
            sys.stdout.write(as_yaml(settings))
            return
        facts = [
            {
                "name": s.name,
                "value": s.value,
                "description": s.description,
                "choices": s.choices,
                "low": None if s.range is None or math.isinf(s.range.low) else s.range.low,
                "high": None if s.range is None or math.isinf(s.range.high) else s.range.high,
            }
            for s in settings
        ]
        sys.stdout.write(json.dumps(facts, indent=2, ensure_ascii=False) + "\n")
