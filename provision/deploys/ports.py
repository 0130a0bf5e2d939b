"""The ports that Ray listens on inside the mesh; fixed, so that a check can name them."""

from __future__ import annotations

GCS = 6379
NODE_MANAGER = 6380
OBJECT_MANAGER = 6381
RUNTIME_ENV_AGENT = 6382
DASHBOARD_AGENT_GRPC = 6383
DASHBOARD_AGENT = 6384
METRICS = 6385
DASHBOARD = 8265
CLIENT = 10001
WORKERS = (20000, 29999)
