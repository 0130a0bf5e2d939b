"""The hosts as the provider sees them: runs jobs on them through one worker server, and keeps the journal.

A host that was found lost (unreachable, another host key, key refused) is not asked again by this process: its other
jobs end at once with the same failure. Knows nothing of Pulumi.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence

from stacks.errors import WorkerFailed
from stacks.journal import Journal
from stacks.protocol import Done, Job, Step
from stacks.worker import WorkerClient

LOST_KINDS = frozenset({"unreachable", "host_key", "auth"})
MASK = "[secret]"

Tell = Callable[[str, str], None]


class Hosts:
    """Runs jobs; `tell(state, step)` hears what happens live. The worker server is started with the first job."""

    def __init__(self, argv: Sequence[str], journal: Journal) -> None:
        self._argv = argv
        self._journal = journal
        self._client: WorkerClient | None = None
        self._starting = asyncio.Lock()
        self._lost: dict[str, asyncio.Future[WorkerFailed]] = {}

    async def run(self, job: Job, secrets: Collection[str] = (), tell: Tell | None = None) -> Done:
        """Run one job, and record what it does; nothing recorded or raised holds any of `secrets`.

        Raises:
            WorkerFailed: it could not be done; its `touched` says whether any step had begun.
        """
        record = _Record(job, self._journal, secrets, tell)
        record.started()
        try:
            done = await self._submit(job, record.step)
        except WorkerFailed as failure:
            raise record.failed(failure) from failure
        record.done(done)
        return done

    def quarantine(self, host: str, role: str, booking: str, failure: WorkerFailed) -> None:
        """Record, durably, that `role` could not be taken off `host`, and is owed."""
        fields = {"host": host, "role": role, "booking": booking, "owed": [role]}
        self._journal.append("quarantined", {**fields, "kind": failure.kind, "cause": failure.cause}, durable=True)

    async def cancel(self) -> None:
        """Cancel all jobs; each ends with WorkerFailed(kind='cancelled')."""
        if self._client is not None:
            await self._client.cancel_all()

    async def close(self) -> None:
        """End the worker server and close the journal."""
        if self._client is not None:
            await self._client.close()
        self._journal.close()

    async def _submit(self, job: Job, on_step: Callable[[Step], None]) -> Done:
        lost = self._lost.setdefault(job.host, asyncio.get_running_loop().create_future())
        if lost.done():
            raise lost.result()
        client = await self._connect()
        task = asyncio.create_task(client.submit(job, on_step))
        await asyncio.wait((task, lost), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            task.cancel()
            await asyncio.wait((task,))
            raise lost.result()
        try:
            return task.result()
        except WorkerFailed as failure:
            if failure.kind in LOST_KINDS and not lost.done():
                lost.set_result(failure)
            raise

    async def _connect(self) -> WorkerClient:
        async with self._starting:
            if self._client is None or not self._client.alive:
                if self._client is not None:
                    await self._client.close()
                self._client = await WorkerClient.start(self._argv)
            return self._client


class _Record:
    """What is written and told about one job. An observation is recorded only if it found something."""

    def __init__(self, job: Job, journal: Journal, secrets: Collection[str], tell: Tell | None) -> None:
        self._place = {"host": job.host, "role": job.role, "verb": job.verb}
        self._observes = job.verb == "observe"
        self._journal = journal
        self._secrets = secrets
        self._tell = tell
        self.touched = False

    def started(self) -> None:
        if not self._observes:
            self._journal.append("start", self._place)

    def step(self, step: Step) -> None:
        self.touched = True
        text = self._clean(step.step)
        if not self._observes:
            self._journal.append("step", {**self._place, "step": text, "state": step.state})
        if self._tell is not None:
            self._tell(step.state, text)

    def done(self, done: Done) -> None:
        changes = [self._clean(change) for change in done.changes]
        if not self._observes:
            self._journal.append("done", {**self._place, "changes": changes})
        elif changes:
            self._journal.append("drift", {**self._place, "changes": changes})

    def failed(self, failure: WorkerFailed) -> WorkerFailed:
        clean = WorkerFailed(
            kind=failure.kind,
            host=failure.host or str(self._place["host"]),
            step=self._clean(failure.step),
            cause=self._clean(failure.cause),
            next_step=self._clean(failure.next_step),
            touched=self.touched,
        )
        fields = {"kind": clean.kind, "step": clean.step, "cause": clean.cause, "next": clean.next_step}
        self._journal.append("failed", {**self._place, **fields})
        if self._tell is not None:
            self._tell("failed", f"{clean.step}: {clean.cause}")
        return clean

    def _clean(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return text
