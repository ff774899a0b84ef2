"""The panels about sightings, on the board of a site."""

from __future__ import annotations

from typing import Final

from watchline.pipeline.dashboards.board import Panel, Query
from watchline.pipeline.dashboards.queries import HERE, quantiles, rate

SIGHTINGS: Final = (
    Panel(
        "Sightings",
        "Parts of tracks of people that ended, and what was written, a second. Empty where the site keeps none.",
        (
            Query(f"sum({rate('tracklets_total', HERE)})", "ended"),
            Query(rate("sightings_stored_total", HERE), "written"),
            Query(rate("sightings_refused_total", HERE), "not kept: {{reason}}"),
        ),
        width=8,
    ),
    Panel(
        "Sightings without vectors, by why",
        '"no_crop" lies in the pictures; "behind" is more people than `sightings.budget` allows; "model" is a fault.',
        (Query(f"sum by (reason) ({rate('tracklets_undescribed_total', HERE)})", "{{reason}}"),),
        width=8,
        stacked=True,
    ),
    Panel(
        "Vectors",
        "Green while they are made.",
        (Query(f"watchline_describer_up{{{HERE}}}", "{{instance}}"),),
        "state-timeline",
        width=8,
        states=(("down", "red"), ("made", "green")),
    ),
    Panel(
        "Time for vectors and pictures",
        "Of several tracklets at once; and what looking at a frame takes of the thread that tracks.",
        (
            Query(quantiles("embedding_seconds", HERE)[1].expr, "vectors p95"),
            Query(quantiles("sighting_look_seconds", HERE)[1].expr, "looking p95"),
        ),
        unit="s",
        width=8,
    ),
    Panel(
        "Sightings that wait",
        "To be described, and to be written. A level line is a good one.",
        (
            Query(f"watchline_tracklets_waiting{{{HERE}}}", "to be described"),
            Query(f"watchline_sightings_waiting{{{HERE}}}", "to be written"),
        ),
        width=8,
    ),
    Panel(
        "Store of sightings",
        "Room that it takes; `retention.sightings_size` bounds it.",
        (Query(f"watchline_sightings_size_bytes{{{HERE}}}", "{{instance}}"),),
        unit="bytes",
        width=8,
    ),
    Panel(
        "Writing of sightings",
        "Red while their store cannot be used or its disk is full; the cameras are followed all the same.",
        (Query(f"watchline_sightings_failing{{{HERE}}}", "{{instance}}"),),
        "state-timeline",
        width=12,
        states=(("written", "green"), ("not written", "red")),
    ),
    Panel(
        "Erased by the retention",
        'Pieces a second; "held back" are times that the clock was not believed.',
        (
            Query(rate("sightings_purged_total", HERE), "{{kind}}"),
            Query(rate("sightings_purges_held_total", HERE), "held back"),
        ),
        width=12,
    ),
)
