"""From recording to recording: which task comes next, what is tried again, what failed.

Knows nothing of processes and machines: `Workers` do the tasks, wherever they are.
"""

from collections import Counter, deque
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from instascene_core.batch.recordings import Recording
from instascene_core.batch.records import FAILED
from instascene_core.batch.tasks import Outcome, Task

AHEAD = 2  # recordings under way for each task that can run at a time: nobody waits, and few files lie about


class Workers(Protocol):
    """Who does the tasks."""

    def start(self, task: Task) -> Hashable:
        """Begin, as soon as there is room; what names the task from now on."""
        ...

    def wait(self, begun: Collection[Hashable]) -> Mapping[Hashable, Outcome]:
        """Those that have ended; none where none did within a second."""
        ...

    def room(self) -> int:
        """How many tasks can run at a time, at least 1; may change."""
        ...

    def most(self) -> int:
        """How many tasks may be begun at a time; 0 = no matter how many, they wait with whoever does them."""
        ...

    def close(self) -> None:
        """End what still runs."""
        ...


@dataclass(frozen=True)
class Ended:
    """A recording that is through."""

    recording: Recording
    status: str  # DONE, EMPTY or FAILED
    sentence: str = ""
    stage: str = ""  # in which it failed
    key: str = ""  # of the result, where it is known
    earlier: bool = False  # an earlier call had done it


Teller = Callable[[int, str], None]  # (how many recordings have ended, what was done just now)


def drive(
    recordings: Sequence[Recording], workers: Workers, retries: int, tell: Teller = lambda count, words: None
) -> Iterator[Ended]:
    """Do all recordings; each as it ends, in no order.

    retries: how often a task whose worker died or whose program failed is tried again.
    """
    new, under_way, count = deque(recordings), 0, 0
    ready: deque[tuple[_Course, Task]] = deque()  # tasks that can begin
    begun: dict[Hashable, tuple[_Course, Task]] = {}
    while new or ready or begun:
        while new and under_way < AHEAD * workers.room():
            course, under_way = _Course(new.popleft(), retries), under_way + 1
            ready += [(course, task) for task in course.first()]
        while ready and not 0 < workers.most() <= len(begun):
            course, task = ready.popleft()
            begun[workers.start(task)] = course, task
        for handle, outcome in workers.wait(list(begun)).items():
            course, task = begun.pop(handle)
            # What is under way comes before what is new: few recordings lie about half done.
            ready.extendleft(reversed([(course, t) for t in course.after(task, outcome)]))
            if course.ended is not None:
                under_way, count = under_way - 1, count + 1
                yield course.ended
            tell(count, f"{task}: {outcome.broken}" if outcome.broken else str(task))


class _Course:
    """One recording on its way: look → reconstruct → segment → complete each object → finish."""

    def __init__(self, recording: Recording, retries: int) -> None:
        self.ended: Ended | None = None
        self._recording, self._retries, self._key = recording, retries, ""
        self._tries: Counter[tuple[str, int]] = Counter()
        self._incomplete: set[int] = set()  # objects that have no answer yet
        self._broken: dict[int, str] = {}

    def first(self) -> list[Task]:
        return [Task("look", self._recording)]

    def after(self, task: Task, outcome: Outcome) -> list[Task]:
        """What can begin now that `task` has ended; `ended` is set with the last."""
        if outcome.broken:
            return self._after_break(task, outcome.broken)
        if outcome.refused:
            return self._given_up(task, outcome.refused)
        facts = outcome.facts
        if task.stage == "look":
            return self._after_look(facts)
        if task.stage == "reconstruct":
            return [self._task("segment")]
        if task.stage == "segment":
            return self._completions(facts["objects"])
        if task.stage == "complete":
            return self._answered(task.instance)
        stage = "complete" if self._broken else ""
        return self._end(facts["status"], facts["sentence"], stage)

    def _after_look(self, facts: Mapping[str, Any]) -> list[Task]:
        if "finished" in facts:
            return self._end(facts["finished"], earlier=True)
        self._key = facts["key"]
        if facts["objects"] is not None:
            return self._completions([n for n in facts["objects"] if n not in facts["completed"]])
        return [self._task("segment" if facts["reconstructed"] else "reconstruct")]

    def _after_break(self, task: Task, why: str) -> list[Task]:
        """Again, where it was not tried too often."""
        attempt = task.stage, task.instance
        self._tries[attempt] += 1
        if self._tries[attempt] <= self._retries:
            return [task]
        if self._tries[attempt] > 1:
            why = f"{why.rstrip('.')} ({self._tries[attempt]} tries)."
        return self._given_up(task, why)

    def _given_up(self, task: Task, why: str) -> list[Task]:
        """The recording has failed; of an object, once the others are complete and saved."""
        if task.stage != "complete":
            return self._end(FAILED, why, task.stage)
        self._broken[task.instance] = why
        return self._answered(task.instance)

    def _completions(self, objects: Sequence[int]) -> list[Task]:
        self._incomplete = set(objects)
        return [replace(self._task("complete"), instance=number) for number in objects] or [self._last()]

    def _answered(self, number: int) -> list[Task]:
        self._incomplete.discard(number)
        return [] if self._incomplete else [self._last()]

    def _last(self) -> Task:
        return replace(self._task("finish"), broken=dict(self._broken))

    def _task(self, stage: str) -> Task:
        return Task(stage, self._recording, self._key)

    def _end(self, status: str, sentence: str = "", stage: str = "", earlier: bool = False) -> list[Task]:
        self.ended = Ended(self._recording, status, sentence, stage, self._key, earlier)
        return []
