# SPDX-License-Identifier: Apache-2.0
"""Numbers for Prometheus. Owned by one server, so that two in one process (tests) do not count together."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)


class Metrics:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "bootproof_requests", "Requests answered", ["method", "route", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "bootproof_request_seconds", "Time to answer", ["route"], buckets=_SECONDS, registry=self.registry
        )
        self.idle_polls = Counter("bootproof_idle_polls", "Polls answered from memory", registry=self.registry)
        self.sent = Counter("bootproof_download_bytes", "Bytes of artifacts sent", registry=self.registry)
        self.devices = Gauge("bootproof_devices", "Devices", ["status"], registry=self.registry)
        self.parts = Gauge(
            "bootproof_open_deployment_devices", "Devices of open deployments", ["status"], registry=self.registry
        )
        self.waiting = Gauge("bootproof_writes_waiting", "Writes that wait", registry=self.registry)

    def render(self) -> bytes:
        return generate_latest(self.registry)
