"""Stands where ECS's agents and machines do: each task that the emulator has written down is a host process.

A host gets what its task definition says and no more: its environment, its secrets, read with the execution
role, the task role's credentials, and where to ask which task it is.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.support.ecs_agent import OWN, answering, container, endpoint
from tests.support.emulator import Emulator
from tests.support.hosts import ROOT, HostProcess, free_port, host_process

_PAUSE_SECONDS: Final = 0.2
_ADDRESS: Final = "127.0.0.1"
_LABELS: Final = "com.amazonaws.ecs.task-arn"


@dataclass(slots=True)
class Tasks:
    """Attributes:
    hosts: the processes, by the ARN of the task.
    failure: why there are no more; None as long as there are.
    """

    emulator: Emulator
    folder: Path
    hosts: dict[str, HostProcess] = field(default_factory=dict)
    failure: Exception | None = None
    _ends: dict[str, ExitStack] = field(default_factory=dict)

    def follow(self, over: threading.Event) -> None:
        """Until it is over; then nothing is left."""
        ecs = self.emulator.client("ecs")
        try:
            while not over.wait(_PAUSE_SECONDS):
                self._converge(ecs)
        except Exception as error:  # the thread's last words; whoever waits for a host reads them
            self.failure = error
        finally:
            for opened in self._ends.values():
                opened.close()

    def _converge(self, ecs: Any) -> None:
        wanted = {
            (cluster, task)
            for cluster in ecs.list_clusters()["clusterArns"]
            for task in ecs.list_tasks(cluster=cluster, desiredStatus="RUNNING")["taskArns"]
        }
        for task in self.hosts.keys() - {task for _, task in wanted}:
            self._end(task)
        for cluster, task in wanted:
            if task not in self.hosts:
                (described,) = ecs.describe_tasks(cluster=cluster, tasks=[task])["tasks"]
                defined = ecs.describe_task_definition(taskDefinition=described["taskDefinitionArn"])
                self._start(task, defined["taskDefinition"])

    def _start(self, task: str, definition: Mapping[str, Any]) -> None:
        opened = ExitStack()
        agent = opened.enter_context(
            answering(container(Labels={_LABELS: task}, Networks=[OWN | {"IPv4Addresses": [_ADDRESS]}]))
        )
        host_id, port = task.rpartition("/")[2], free_port()
        here = self.folder / host_id
        here.mkdir(parents=True)
        environment = {
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": f"{ROOT}:{ROOT / 'client'}",
            **self._told(definition),
            **self.emulator.assume(definition["taskRoleArn"]),
            **endpoint(agent),
            "MODELROCKET_S3_ENDPOINT_URL": self.emulator.url,
            "MODELROCKET_HOST_NETWORK": "127.0.0.0/8",
            "MODELROCKET_HOST_PORT": str(port),
            "MODELROCKET_CACHE_DIR": str(here / "cache"),
        }
        self.hosts[task] = opened.enter_context(host_process(environment, here, host_id=host_id, port=port))
        self._ends[task] = opened

    def _told(self, definition: Mapping[str, Any]) -> dict[str, str]:
        (one,) = definition["containerDefinitions"]
        reads = self.emulator.client("secretsmanager", self.emulator.assume(definition["executionRoleArn"]))
        secrets = {
            secret["name"]: reads.get_secret_value(SecretId=secret["valueFrom"])["SecretString"]
            for secret in one["secrets"]
        }
        return {variable["name"]: variable["value"] for variable in one["environment"]} | secrets

    def _end(self, task: str) -> None:
        self.hosts.pop(task).terminate()
        self._ends.pop(task).close()


@contextmanager
def running_tasks(emulator: Emulator, folder: Path) -> Iterator[Tasks]:
    """Follows the emulator until the block ends."""
    tasks, over = Tasks(emulator, folder), threading.Event()
    thread = threading.Thread(target=tasks.follow, args=(over,), daemon=True)
    thread.start()
    try:
        yield tasks
    finally:
        over.set()
        thread.join()
