"""Whether cameras advance, and why one does not."""

from __future__ import annotations

from watchline.pipeline.live.status import GraphStatus, LaneStatus, PoolState
from watchline.streams.camera import CameraState
from watchline.streams.redact import redact


def standstill(lane: LaneStatus, status: GraphStatus, patience_s: float) -> str:
    """Returns why frames of a camera are not processed, for a person and without credentials; "" while they are.

    Args:
        lane: the camera.
        status: what it is a part of.
        patience_s: for how long no frame need be processed.
    """
    ingest = lane.ingest
    if ingest.state is not CameraState.LIVE:
        return redact(": ".join(part for part in (ingest.state, ingest.reason or "", ingest.sentence) if part))
    pool = status.pools.get(lane.model)
    if pool is not None and pool.state is not PoolState.RUNNING:
        return redact(f'detector "{pool.model}" is {pool.state}{": " if pool.sentence else ""}{pool.sentence}')
    if lane.idle_s > patience_s:
        return f"pictures come, but none was processed for {lane.idle_s:.0f} s"
    return "" if lane.processed else "no frame was processed yet"
