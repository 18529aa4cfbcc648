"""What a run leaves: one JSON file for machines, and the same as Markdown for people."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.chaos.proof import StreamProof

COLUMNS = (
    "stream", "sent", "acknowledged", "given up", "in the topic", "records", "rejected", "repeats", "lost", "doubled",
    "tables", "wrong",
)  # fmt: skip


@dataclass
class Happened:
    """A fault as it was carried out. Times in seconds; ``recovered_after`` from its group's last mend, None: never."""

    group: int
    kind: str
    what: str
    struck_at: float
    """Since the run's start."""
    lasted: float = 0.0
    recovered_after: float | None = None
    last_to_recover: str = ""


@dataclass
class Report:
    """Everything that is known of a run."""

    seed: int
    minutes: float
    rate: float
    streams: list[str]
    command: str
    left_out: list[str] = field(default_factory=list)
    faults: list[Happened] = field(default_factory=list)
    restarts: dict[str, int] = field(default_factory=dict)
    """How often each part was started again."""
    proofs: dict[str, StreamProof] = field(default_factory=dict)
    pages: dict[str, str] = field(default_factory=dict)
    """By path, what is wrong with a page in the end; empty: nothing."""
    failures: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def lost(self) -> int:
        return sum(proof.lost for proof in self.proofs.values())

    @property
    def doubled(self) -> int:
        return sum(proof.doubled for proof in self.proofs.values())

    @property
    def holds(self) -> bool:
        """Nothing lost, nothing doubled, every table right, every page alive, every fault recovered from."""
        recovered = all(fault.recovered_after is not None for fault in self.faults)
        proven = set(self.proofs) == set(self.streams) and all(proof.holds for proof in self.proofs.values())
        return recovered and proven and not self.failures and not any(self.pages.values())

    def as_dict(self) -> dict[str, Any]:
        totals = {"holds": self.holds, "lost": self.lost, "doubled": self.doubled}
        found: dict[str, Any] = totals | asdict(self)
        for name, proof in self.proofs.items():
            found["proofs"][name] |= {"holds": proof.holds, "lost": proof.lost, "doubled": proof.doubled}
        return found

    def write(self, folder: Path) -> None:
        (folder / "report.json").write_text(json.dumps(self.as_dict(), indent=1, default=str) + "\n")
        (folder / "report.md").write_text(self.markdown())

    def markdown(self) -> str:
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        verdict = "holds" if self.holds else "DOES NOT HOLD"
        yield f"# Chaos, seed {self.seed}: the proof {verdict}"
        yield ""
        yield f"{self.lost} lost, {self.doubled} doubled. Again with `{self.command}`; this took {self.seconds:.0f} s."
        for failure in (*self.left_out, *self.failures):
            yield f"- {failure}"
        yield ""
        yield "| at | group | fault | lasted | all well again after | last to recover |"
        yield "|---|---|---|---|---|---|"
        for fault in self.faults:
            after = "never" if fault.recovered_after is None else f"{fault.recovered_after:.0f} s"
            what, lasted = f"{fault.kind}: {fault.what}", f"{fault.lasted:.0f} s"
            yield f"| {fault.struck_at:.0f} s | {fault.group} | {what} | {lasted} | {after} | {fault.last_to_recover} |"
        yield ""
        yield "Started again: " + ", ".join(f"{name} {times}" for name, times in sorted(self.restarts.items()))
        yield ""
        yield f"| {' | '.join(COLUMNS)} |"
        yield "|---" * len(COLUMNS) + "|"
        for name, proof in self.proofs.items():
            own = proof.account
            cells = (
                name, proof.sent, proof.acknowledged, sum(proof.refused.values()), own.consumed, own.records,
                own.rejected, proof.repeated_events, proof.lost, proof.doubled, len(proof.comparisons),
                len(proof.wrong),
            )  # fmt: skip
            yield f"| {' | '.join(map(str, cells))} |"
        yield ""
        for name, proof in self.proofs.items():
            yield from _wrong(name, proof)
        alive = [path for path, wrong in self.pages.items() if not wrong]
        yield f"Pages that went on by themselves, never reloaded: {', '.join(alive) or 'none'}."
        for path, wrong in self.pages.items():
            if wrong:
                yield f"- {path}: {wrong}"
        yield "Rows in SQL, as in Delta: " + (
            ", ".join(
                f"{c.table} {c.rows}" for proof in self.proofs.values() for c in proof.comparisons if c.sink == "SQL"
            )
            or "none asked for"
        )


def _wrong(name: str, proof: StreamProof) -> Iterator[str]:
    for what in ("unread", "lost", "doubled", "invented", "misplaced", "missing"):
        if found := getattr(proof.account, what):
            yield f"- {name}: {len(found)} {what}, first {found[:3]}"
    if proof.live_missing or proof.rejected_missing:
        yield f"- {name}: the live topic lacks {proof.live_missing[:3]}, the rejected one {proof.rejected_missing[:3]}"
    for comparison in proof.wrong:
        yield f"- {name}: {comparison.table} in {comparison.sink}: {comparison.wrong}"
