"""The dashboards of a site."""

from __future__ import annotations

from typing import Final

from watchline.pipeline.dashboards.board import Board, Panel, Query, Variable
from watchline.pipeline.dashboards.queries import HERE, THIS_CAMERA, THIS_MODEL, quantiles, rate
from watchline.pipeline.dashboards.sightings_row import SIGHTINGS

_INSTANCE: Final = Variable("instance", "watchline_build_info")


def _stat(title: str, about: str, expr: str, unit: str = "short", limits: tuple[float, ...] = ()) -> Panel:
    return Panel(title, about, (Query(expr),), "stat", unit, width=4, height=4, limits=limits)


_STATES: Final = (("no picture", "red"), ("live", "green"), ("frozen", "orange"))


def _state(labels: str) -> Query:
    """Returns 0, 1 or 2 for each camera; see `_STATES`."""
    return Query(f"watchline_camera_up{{{labels}}} + 2 * watchline_camera_frozen{{{labels}}}", "{{camera}}")


_NOW: Final = (
    _stat("Cameras live", "Cameras that give pictures.", f"sum(watchline_camera_up{{{HERE}}})"),
    _stat(
        "Cameras not live",
        "Offline, frozen or connecting. The table below names them.",
        f"sum(1 - watchline_camera_up{{{HERE}}})",
        limits=(1,),
    ),
    _stat("Analysed", "Frames detected and tracked a second.", f"sum({rate('frames_processed_total', HERE)})"),
    _stat(
        "Frame age, p95",
        "From capture to tracked. Above two seconds the machine has more to do than it can.",
        f"histogram_quantile(0.95, sum by (le) ({rate('frame_age_seconds_bucket', HERE)}))",
        "s",
        (1, 2),
    ),
    _stat(
        "Detectors down",
        "Models whose workers take no frames.",
        f"sum(1 - watchline_detector_up{{{HERE}}})",
        limits=(1,),
    ),
    _stat(
        "Alerts",
        "That fire now.",
        'count(ALERTS{alertstate="firing",alertname=~"Watchline.*"}) or vector(0)',
        limits=(1,),
    ),
)

SITE: Final = Board(
    "watchline-site",
    "watchline: site",
    (_INSTANCE,),
    (
        ("Now", _NOW),
        (
            "Cameras",
            (
                Panel(
                    "Analysed frames by camera",
                    "Lines fall evenly when the machine is too slow; one that falls alone is a camera's own trouble.",
                    (Query(rate("frames_processed_total", HERE), "{{camera}}"),),
                    unit="fps",
                ),
                Panel(
                    "Frames not analysed, by why",
                    '"rate" is what the site asked for; "replaced" is the machine being too slow; others are faults.',
                    (Query(f"sum by (reason) ({rate('frames_dropped_total', HERE)})", "{{reason}}"),),
                    unit="fps",
                    stacked=True,
                ),
                Panel(
                    "Longest without an analysed frame",
                    "The cameras that wait longest.",
                    (Query(f"topk(20, watchline_camera_idle_seconds{{{HERE}}})"),),
                    "table",
                    "s",
                ),
                Panel(
                    "State of cameras",
                    "Green where a camera gives pictures that change; orange where it gives the same again and again.",
                    (_state(HERE),),
                    "state-timeline",
                    states=_STATES,
                ),
                Panel(
                    "Frame age",
                    "From capture to tracked, all cameras.",
                    quantiles("frame_age_seconds", HERE),
                    unit="s",
                ),
                Panel(
                    "Failed connections, by why",
                    "Tries a second; each is tried again by itself.",
                    (Query(f"sum by (reason) ({rate('reconnects_total', HERE)})", "{{reason}}"),),
                    stacked=True,
                ),
            ),
        ),
        ("Sightings", SIGHTINGS),
        (
            "Storage and configuration",
            (
                Panel(
                    "Journal lines",
                    "Written and lost a second. Lost ones want a look at the disk.",
                    (
                        Query(rate("journal_lines_total", HERE), "written"),
                        Query(rate("journal_lost_total", HERE), "lost: {{reason}}"),
                    ),
                    width=8,
                ),
                Panel(
                    "Disk",
                    "What is left, and what the site wants to be left.",
                    (
                        Query(f"watchline_storage_free_bytes{{{HERE}}}", "free"),
                        Query(f"watchline_storage_reserved_bytes{{{HERE}}}", "reserved"),
                        Query(f"watchline_journal_size_bytes{{{HERE}}}", "journal"),
                    ),
                    unit="bytes",
                    width=8,
                ),
                Panel(
                    "Configuration",
                    "Times that it was read again since the start.",
                    (Query(f"watchline_config_reloads_total{{{HERE}}}", "{{reason}}"),),
                    width=8,
                ),
            ),
        ),
    ),
)

CAMERA: Final = Board(
    "watchline-camera",
    "watchline: camera",
    (_INSTANCE, Variable("camera", "watchline_camera_up")),
    (
        (
            "Picture",
            (
                Panel(
                    "State",
                    "Green where it gives pictures that change; orange where it gives the same again and again.",
                    (_state(THIS_CAMERA),),
                    "state-timeline",
                    states=_STATES,
                ),
                Panel(
                    "Frames",
                    "Decoded and analysed.",
                    (
                        Query(rate("frames_received_total", THIS_CAMERA), "{{camera}} received"),
                        Query(rate("frames_processed_total", THIS_CAMERA), "{{camera}} analysed"),
                    ),
                    unit="fps",
                ),
                Panel(
                    "Frames not analysed, by why",
                    "What became of the others.",
                    (Query(f"sum by (reason) ({rate('frames_dropped_total', THIS_CAMERA)})", "{{reason}}"),),
                    unit="fps",
                    stacked=True,
                ),
                Panel("Frame age", "From capture to tracked.", quantiles("frame_age_seconds", THIS_CAMERA), unit="s"),
                Panel(
                    "Frame age, all of it",
                    "How many frames were how old.",
                    (Query(f"sum by (le) ({rate('frame_age_seconds_bucket', THIS_CAMERA)})", "{{le}}"),),
                    "heatmap",
                    "s",
                ),
                Panel(
                    "Since the last analysed frame",
                    "Grows while nothing is analysed.",
                    (Query(f"watchline_camera_idle_seconds{{{THIS_CAMERA}}}", "{{camera}}"),),
                    unit="s",
                ),
            ),
        ),
        (
            "Connection",
            (
                Panel(
                    "Failed connections, by why",
                    "Since the daemon began.",
                    (Query(f"sum by (reason) (watchline_reconnects_total{{{THIS_CAMERA}}})", "{{reason}}"),),
                    width=8,
                ),
                Panel(
                    "Packets that cannot be decoded",
                    "Damaged on the road, or by the camera.",
                    (Query(rate("packets_undecodable_total", THIS_CAMERA), "{{camera}}"),),
                    width=8,
                ),
                Panel(
                    "Times mended, by why",
                    "Frames whose time was missing, ran backwards or jumped.",
                    (Query(f"sum by (reason) ({rate('frame_times_healed_total', THIS_CAMERA)})", "{{reason}}"),),
                    width=8,
                ),
            ),
        ),
        (
            "What is seen",
            (
                Panel(
                    "Detections",
                    "Objects found a second, and those left out for they stood in an ignored region.",
                    (
                        Query(rate("detections_total", THIS_CAMERA), "{{camera}}"),
                        Query(rate("detections_ignored_total", THIS_CAMERA), "{{camera}} ignored"),
                    ),
                    width=8,
                ),
                Panel(
                    "Tracks now",
                    "Objects seen in the last frame.",
                    (Query(f"watchline_active_tracks{{{THIS_CAMERA}}}", "{{camera}}"),),
                    width=8,
                ),
                Panel(
                    "Tracks begun",
                    "A second. Many short ones mean a rate too low, or a scene that flickers.",
                    (Query(rate("tracks_total", THIS_CAMERA), "{{camera}}"),),
                    width=8,
                ),
            ),
        ),
    ),
)

_DETECT: Final = rate("stage_duration_seconds_sum", f'{THIS_MODEL},stage="detect"')
_CPU: Final = rate("process_cpu_seconds_total", HERE)

PERFORMANCE: Final = Board(
    "watchline-performance",
    "watchline: performance",
    (_INSTANCE, Variable("model", "watchline_detector_up")),
    (
        (
            "Detectors",
            (
                Panel(
                    "In use",
                    "What looks at frames, and on what.",
                    (Query(f"watchline_detector_info{{{THIS_MODEL}}}"),),
                    "table",
                    height=6,
                ),
                Panel(
                    "Running",
                    "Green while its workers take frames.",
                    (Query(f"watchline_detector_up{{{THIS_MODEL}}}", "{{model}} on {{device}}"),),
                    "state-timeline",
                    height=6,
                    states=(("down", "red"), ("running", "green")),
                ),
                Panel(
                    "Duration of a batch or frame, by stage",
                    "Waiting that grows means more cameras or a higher rate than the machine can do.",
                    quantiles("stage_duration_seconds", THIS_MODEL, "stage"),
                    unit="s",
                ),
                Panel(
                    "Workers at work",
                    "Share of the time that workers detect; near 1 there is nothing left.",
                    (
                        Query(
                            f"sum by (model) ({_DETECT}) / sum by (model) (watchline_detector_workers{{{THIS_MODEL}}})",
                            "{{model}}",
                        ),
                    ),
                    unit="percentunit",
                ),
                Panel(
                    "Frames that wait",
                    "For a worker, of all cameras.",
                    (Query(f"watchline_queue_depth{{{THIS_MODEL}}}", "{{model}}"),),
                    width=8,
                ),
                Panel(
                    "Frames a batch",
                    "Mean.",
                    (
                        Query(
                            f"{rate('batch_size_sum', THIS_MODEL)} / {rate('batch_size_count', THIS_MODEL)}",
                            "{{model}}",
                        ),
                    ),
                    width=8,
                ),
                Panel(
                    "Failures",
                    "Since the daemon began: of the detector, and of devices that gave way to another.",
                    (
                        Query(f"watchline_detector_deaths_total{{{THIS_MODEL}}}", "{{model}} failed"),
                        Query(f"watchline_detector_fallbacks_total{{{THIS_MODEL}}}", "{{model}} changed device"),
                    ),
                    width=8,
                ),
            ),
        ),
        (
            "Process",
            (
                Panel("Processors", "Used by the daemon and its children.", (Query(_CPU, "processors"),), width=8),
                Panel(
                    "Processor time a frame",
                    "All of the daemon's, for each analysed frame. Grows as something leaks or a stage slows down.",
                    (
                        Query(
                            f"sum by (instance) ({_CPU}) / sum by (instance) ({rate('frames_processed_total', HERE)})",
                            "{{instance}}",
                        ),
                    ),
                    unit="s",
                    width=8,
                ),
                Panel(
                    "Memory",
                    "Of the daemon and its children; shared memory counts in each.",
                    (Query(f"watchline_process_resident_memory_bytes{{{HERE}}}", "{{instance}}"),),
                    unit="bytes",
                    width=8,
                ),
                Panel(
                    "Files and threads",
                    "Level lines are good ones.",
                    (
                        Query(f"watchline_process_open_fds{{{HERE}}}", "open files"),
                        Query(f"watchline_process_threads{{{HERE}}}", "threads"),
                        Query(f"watchline_process_processes{{{HERE}}}", "processes"),
                    ),
                    width=8,
                ),
                Panel(
                    "Frames in flight",
                    "That wait or are under way.",
                    (Query(f"sum by (instance) (watchline_frames_in_flight{{{HERE}}})", "{{instance}}"),),
                    width=8,
                ),
                Panel(
                    "Viewers",
                    "Of live pictures; each camera is encoded once for all of them.",
                    (Query(f"watchline_viewers{{{HERE}}}", "{{instance}}"),),
                    width=8,
                ),
            ),
        ),
    ),
)

BOARDS: Final = (SITE, CAMERA, PERFORMANCE)
