"""What there is to say of all recordings of an output, gathered record by record."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from instascene_core.batch.records import DONE, EMPTY, FAILED, Record

SHOWN = 1000  # recordings of each status in the report; the table has all


@dataclass
class Summary:
    """Sums, and the first records of each status; filled by `gathering`."""

    count: Counter[str] = field(default_factory=Counter)  # recordings by status
    objects: int = 0  # completed
    not_completed: int = 0
    processor_seconds: Counter[str] = field(default_factory=Counter)  # by stage
    shown: dict[str, list[Record]] = field(default_factory=dict)  # by status, at most SHOWN each

    @property
    def total(self) -> int:
        return sum(self.count.values())

    @property
    def ordered(self) -> list[Record]:
        """Those to be shown: what needs a person first."""
        return [record for status in (FAILED, EMPTY, DONE) for record in self.shown.get(status, [])]

    def gathering(self, records: Iterable[Record]) -> Iterator[Record]:
        """The very same records; each is counted when it is handed on."""
        for record in records:
            self.count[record.status] += 1
            self.objects += len(record.objects)
            self.not_completed += len(record.not_completed)
            self.processor_seconds.update(record.processor_seconds)
            shown = self.shown.setdefault(record.status, [])
            if len(shown) < SHOWN:
                shown.append(record)
            yield record

    def sentences(self) -> list[str]:
        """What a person wants to know first."""
        found = [
            f"{self.count[DONE]:,} of {self.total:,} recordings are done: {self.objects:,} complete objects."
        ]
        if self.count[EMPTY]:
            found.append(f"In {self.count[EMPTY]:,} no object was found.")
        if self.count[FAILED]:
            found.append(f"{self.count[FAILED]:,} failed; the same command tries them again.")
        if self.not_completed:
            found.append(f"{self.not_completed:,} objects were found and could not be completed.")
        return found
