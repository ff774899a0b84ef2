"""Sightings as programs read them: JSON records."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
from typing import Any

from watchline.pipeline.store.asking import utc_text
from watchline.pipeline.store.reading import WholeTrack
from watchline.pipeline.store.seam import Summary
from watchline.pipeline.store.sighting import Sighting, StoredCrop, StoredVector


def summary_record(summary: Summary) -> dict[str, Any]:
    """Returns a track without pictures, vectors and path; times to a millisecond, UTC seconds beside ISO 8601."""
    return {
        "ids": list(summary.ids),
        "track_key": summary.track_key,
        "camera": summary.camera,
        "track_id": summary.track_id,
        "label": summary.label,
        "started_at": round(summary.started_at, 3),
        "ended_at": round(summary.ended_at, 3),
        "started": utc_text(summary.started_at).replace(" ", "T"),
        "ended": utc_text(summary.ended_at).replace(" ", "T"),
        "clock": summary.clock,
        "start_pts_s": round(summary.start_pts_s, 6),
        "end_pts_s": round(summary.end_pts_s, 6),
        "length_s": round(summary.end_pts_s - summary.start_pts_s, 3),
        "frames": summary.frames,
        "best_score": round(summary.best_score, 6),
        "quality": round(summary.quality, 6),
        "crops": summary.crops,
        "reason": summary.reason,
        "described": [str(kind) for kind in summary.vectors],
        "provenance": dataclasses.asdict(summary.provenance),
    }


def track_record(track: WholeTrack, crop_files: bool = False) -> dict[str, Any]:
    """Returns a track with its parts: all that is stored but the pictures themselves.

    Args:
        track: what to tell.
        crop_files: name the file that each picture is exported to.
    """
    return {
        **summary_record(track.summary),
        "parts": [_part(part, crop_files) for part in track.parts],
    }


def crop_file(crop: StoredCrop) -> str:
    """Returns the name of an exported picture: its SHA-256, so that one that was changed shows."""
    return f"{hashlib.sha256(crop.jpeg).hexdigest()}.jpg"


def _part(part: Sighting, crop_files: bool) -> dict[str, Any]:
    return {
        "id": part.sighting_id,
        "part": part.part,
        "started_at": round(part.started_at, 3),
        "ended_at": round(part.ended_at, 3),
        "start_pts_s": round(part.start_pts_s, 6),
        "end_pts_s": round(part.end_pts_s, 6),
        "frames": part.frames,
        "quality": round(part.quality, 6),
        "reason": part.reason,
        "frame": {"width": part.frame_width, "height": part.frame_height},
        "crops": [_crop(crop, crop_files) for crop in part.crops],
        "vectors": [_vector(vector) for vector in part.vectors],
        "path": [[round(value, 3) for value in row] for row in part.path.tolist()],
        "provenance": dataclasses.asdict(part.provenance),
    }


def _crop(crop: StoredCrop, crop_files: bool) -> dict[str, Any]:
    return {
        "kind": str(crop.kind),
        "xyxy": [round(value, 3) for value in crop.xyxy],
        "quality": round(crop.quality, 6),
        "pts_s": round(crop.pts_s, 6),
        "captured_at": round(crop.captured_at, 3),
        "bytes": len(crop.jpeg),
        **({"sha256": hashlib.sha256(crop.jpeg).hexdigest()} if crop.jpeg else {}),
        **({"file": f"crops/{crop_file(crop)}"} if crop.jpeg and crop_files else {}),
    }


def _vector(vector: StoredVector) -> dict[str, Any]:
    return {
        "model": vector.model.name,
        "model_sha256": vector.model.sha256,
        "kind": str(vector.model.kind),
        "dimension": vector.model.dimension,
        "spread": round(vector.spread, 6),
        "crops": vector.crops,
        "quality": round(vector.quality, 6),
        "float16_base64": base64.b64encode(vector.vector.astype("<f2").tobytes()).decode(),
    }
