"""Making training data on many processes: what is finished survives any death, and one bad job costs no other.

Jobs are cut into runs of ``shard_size``; each becomes a shard and, once that is whole, a record beside it. A shard
whose record and hash agree is kept by the next run, anything else is made again.
"""

import hashlib
import json
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from facewright.errors import FacewrightError, TrainingDataError
from facewright.export.json import write_json
from facewright.files import natural_order, written_whole
from facewright.train.processes import WorkerDied, on_processes
from facewright.train.samples import DataCard, TrainingSample
from facewright.train.shards import (
    MANIFEST,
    SHARDS,
    DataSet,
    Shard,
    header_document,
    read_document,
    shard_sha256,
    shard_writer,
    write_manifest,
)

PLAN, REPORT = "plan.json", "report.json"
Job = str | int
"""What one call of a sampler makes samples of: a photo's name, a scene's seed."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rejection:
    """A face that was found and is not good enough to learn from.

    Attributes:
        key: as a sample's.
        reason: one or two words, to count by.
        detail: what was expected and what was measured.
    """

    key: str
    reason: str
    detail: str = ""


@dataclass(frozen=True)
class FailedJob:
    """A job that gave nothing.

    Attributes:
        job: its name.
        error: class and message.
    """

    job: str
    error: str


class UnexpectedError(TrainingDataError):
    """A job failed in a way that nobody foresaw."""


Sampler = Callable[[Any], Iterable[TrainingSample | Rejection]]
"""Makes the samples of a ``Job``. Picklable, so that it can travel to other processes."""


@dataclass(frozen=True)
class MakingReport:
    """What became of the jobs; ``report.json``.

    Attributes:
        data: what was made.
        jobs: number of jobs.
        kept: shards that were there already.
        failed: jobs that gave nothing.
        rejected: faces that were left out.
    """

    data: DataSet
    jobs: int
    kept: int
    failed: list[FailedJob]
    rejected: list[Rejection]

    @property
    def document(self) -> dict[str, Any]:
        """As written."""
        return header_document(self.data.card) | {
            "jobs": self.jobs,
            "samples": len(self.data),
            "failed": [asdict(failure) for failure in self.failed],
            "rejected": dict(Counter(rejection.reason for rejection in self.rejected).most_common()),
            "rejected_faces": [asdict(rejection) for rejection in self.rejected],
        }


def make_data(
    out: str | os.PathLike[str],
    card: DataCard,
    jobs: Sequence[Job],
    sample_of: Sampler,
    *,
    workers: int = 1,
    shard_size: int = 1024,
    retry_failed: bool = False,
    progress: Callable[[str, float], None] | None = None,
) -> MakingReport:
    """Make the samples of all jobs; killed at any moment, the same call goes on where it was.

    Jobs may be added at the end of the list of a finished folder; only theirs are made then.

    Args:
        out: folder; ``load_data`` opens it once this returns.
        card: what all samples share.
        jobs: their names; no two are equal.
        sample_of: makes the samples of one job. A ``FacewrightError`` in it is one job's failure, as is any other.
        workers: processes, each with one thread; 1 works in this process, with the threads that it has.
        shard_size: jobs of a shard.
        retry_failed: make shards again in which a job failed.
        progress: called with a message and the share done, 0..1.

    Raises:
        TrainingDataError: the folder holds the data of other jobs or of another card; jobs that are equal; workers that
            die before they begin.
        ExportError: the folder cannot be written.
    """
    folder = Path(out)
    runs = _runs(jobs, shard_size)
    _check_plan(folder, card, shard_size)
    found = {run.name: _finished(folder, run) for run in runs}
    records = {name: record for name, record in found.items() if record and not (retry_failed and record.failed)}
    _check_strangers(folder, runs)
    todo, kept = [run for run in runs if run.name not in records], len(records)
    if todo:
        (folder / MANIFEST).unlink(missing_ok=True)
    work = ShardWork(folder, card, sample_of)
    done = sum(len(run.jobs) for run in runs) - sum(len(run.jobs) for run in todo)
    for record in on_processes(work, todo, workers) if workers > 1 else map(work, todo):
        records[record.shard.name] = record
        done += record.jobs
        if progress is not None:
            progress(f"{done} of {len(jobs)}", done / len(jobs))
    ordered = [records[run.name] for run in runs]
    data = write_manifest(folder, card, [record.shard for record in ordered])
    failed = [failure for record in ordered for failure in record.failed]
    rejected = [rejection for record in ordered for rejection in record.rejected]
    report = MakingReport(data, len(jobs), kept, failed, rejected)
    write_json(folder / REPORT, report.document)
    return report


@dataclass(frozen=True)
class JobRun:
    """Neighbouring jobs that become one shard."""

    name: str
    jobs: tuple[Job, ...]

    def fingerprint(self, count: int) -> str:
        """Hash of the first jobs."""
        return hashlib.sha256(json.dumps(self.jobs[:count]).encode()).hexdigest()


@dataclass(frozen=True)
class ShardRecord:
    """What is known about a finished shard; its JSON lies beside it."""

    shard: Shard
    jobs: int
    fingerprint: str
    failed: list[FailedJob] = field(default_factory=list)
    rejected: list[Rejection] = field(default_factory=list)


@dataclass(frozen=True)
class ShardWork:
    """Makes one shard after the other; travels to the processes once."""

    folder: Path
    card: DataCard
    sample_of: Sampler

    def __call__(
        self, run: JobRun, lost: dict[int, str] | None = None, begins: Callable[[int], None] | None = None
    ) -> ShardRecord:
        """Make a shard and its record.

        Args:
            run: its jobs.
            lost: jobs (by place in the run) that killed a process before, with how it ended; they are not tried again.
            begins: told the place of every job before it is tried.
        """
        path = self.folder / SHARDS / run.name
        failed, rejected = [], []
        with written_whole(path) as temporary:
            with shard_writer(temporary, self.card) as writer:
                for place, job in enumerate(run.jobs):
                    if begins is not None:
                        begins(place)
                    try:
                        found = _attempted(self.sample_of, job, (lost or {}).get(place))
                        for entry in found:
                            if isinstance(entry, TrainingSample):
                                writer.add(entry)
                        rejected += [entry for entry in found if isinstance(entry, Rejection)]
                    except FacewrightError as error:
                        if isinstance(error, UnexpectedError) and not failed:  # one trace is enough: often all fail
                            log.exception("unexpected failure on %s", job)
                        failed.append(FailedJob(str(job), f"{type(error).__name__}: {error}"))
            shard = Shard(run.name, writer.rows, shard_sha256(temporary))
        record = ShardRecord(shard, len(run.jobs), run.fingerprint(len(run.jobs)), failed, rejected)
        write_json(_record_path(self.folder, run.name), asdict(record))
        return record


def _attempted(sample_of: Sampler, job: Job, lost: str | None) -> list[TrainingSample | Rejection]:
    """All that a job gives; every error becomes one that is listed."""
    if lost is not None:
        raise WorkerDied(f"the process that worked on it ended by {lost}: out of memory, or a fault in native code")
    try:
        return list(sample_of(job))
    except FacewrightError:
        raise
    except Exception as error:
        raise UnexpectedError(f"{type(error).__name__}: {error}") from error


def _runs(jobs: Sequence[Job], size: int) -> list[JobRun]:
    again = [job for job, count in Counter(map(str, jobs)).items() if count > 1]
    if again or not jobs or size < 1:
        received = f"{again[0]!r} twice" if again else f"{len(jobs)} jobs in shards of {size}"
        raise TrainingDataError(f"expected jobs with different names, received {received}; name each once")
    starts = range(0, len(jobs), size)
    return [JobRun(f"{number:06d}.parquet", tuple(jobs[i : i + size])) for number, i in enumerate(starts)]


def _check_plan(folder: Path, card: DataCard, shard_size: int) -> None:
    """Note what is made in this folder; refuse it if something else is."""
    plan = header_document(card) | {"shard_size": shard_size}
    path = folder / PLAN
    if not path.exists():
        write_json(path, plan)
        return
    found = read_document(path, "a plan")
    wanted = json.loads(json.dumps(plan))
    for name, value in {**wanted["card"], "shard_size": shard_size}.items():
        received = found.get("card", {}).get(name) if name in wanted["card"] else found.get(name)
        if received != value:
            raise TrainingDataError(
                f"{folder} was begun with {name} {received!r}, this run asks for {value!r}; choose another --out, or "
                "give the command that it was begun with"
            )


def _finished(folder: Path, run: JobRun) -> ShardRecord | None:
    """The record of a shard that needs no more work.

    Raises:
        TrainingDataError: it was made of other jobs.
    """
    path = _record_path(folder, run.name)
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        record = ShardRecord(
            Shard(**document["shard"]),
            int(document["jobs"]),
            str(document["fingerprint"]),
            [FailedJob(**entry) for entry in document["failed"]],
            [Rejection(**entry) for entry in document["rejected"]],
        )
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        RecursionError,
    ):  # absent, or torn by something that is not us: made again
        return None
    if run.fingerprint(record.jobs) != record.fingerprint:
        raise TrainingDataError(
            f"{folder / SHARDS / run.name} was made of other jobs than {run.jobs[0]!r} .. {run.jobs[-1]!r}; the list "
            "may only grow at its end: choose another --out"
        )
    file = folder / SHARDS / run.name
    intact = record.jobs == len(run.jobs) and file.is_file() and shard_sha256(file) == record.shard.sha256
    return record if intact else None


def _check_strangers(folder: Path, runs: list[JobRun]) -> None:
    """Remove what a killed run left half-written; refuse a folder that holds more shards than there are jobs for."""
    names = {run.name for run in runs}
    for path in natural_order((folder / SHARDS).glob("*")):
        if path.name.startswith(".facewright-"):
            path.unlink(missing_ok=True)
        elif path.with_suffix(".parquet").name not in names:
            raise TrainingDataError(
                f"{path} belongs to a longer list of jobs than this one ({len(runs)} shards); the list may only grow: "
                "choose another --out"
            )


def _record_path(folder: Path, name: str) -> Path:
    return (folder / SHARDS / name).with_suffix(".json")
