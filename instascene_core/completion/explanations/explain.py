"""What was seen, explained: as a plain body, else as a body of revolution, else not at all."""

from instascene_core.completion.explanations.explanation import Unexplained
from instascene_core.completion.explanations.plain_body import PlainBody, find_plain_body
from instascene_core.completion.explanations.revolution import Revolution, find_revolution
from instascene_core.completion.observing.observation import Observation
from instascene_core.config import CompletionConfig


def explain(
    observation: Observation, config: CompletionConfig, seed: int
) -> PlainBody | Revolution | Unexplained:
    """The first explanation that the evidence speaks for; with `candidates` off, none.

    seed: of the consensus by which plain bodies are found.
    """
    if not config.candidates:
        return Unexplained()
    return (
        find_plain_body(observation, config.explanations, seed)
        or find_revolution(observation, config.explanations, config.carving)
        or Unexplained()
    )
