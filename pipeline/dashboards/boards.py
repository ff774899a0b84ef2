"""The dashboards of a site."""

from __future__ import annotations

from typing import Final

from watchline.pipeline.dashboards.board import Board, Panel, Query, Variable

_HERE: Final = 'instance=~"$instance"'
_CAMERA: Final = f'{_HERE},camera=~"$camera"'
_MODEL: Final = f'{_HERE},model=~"$model"'
_OVER: Final = "[$__rate_interval]"

_INSTANCE: Final = Variable("instance", "watchline_build_info")


def _rate(metric: str, labels: str) -> str:
    return f"rate(watchline_{metric}{{{labels}}}{_OVER})"


def _quantiles(metric: str, labels: str, by: str = "") -> tuple[Query, ...]:
    """Returns the median and the slow ones of a histogram, for each value of `by` if there is one."""
    more, legend = (f", {by}", f"{{{{{by}}}}} ") if by else ("", "")
    return tuple(
        Query(
            f"histogram_quantile({quantile}, sum by (le{more}) ({_rate(f'{metric}_bucket', labels)}))",
            f"{legend}p{quantile * 100:.0f}",
        )
        for quantile in (0.5, 0.95, 0.99)
    )


def _stat(title: str, about: str, expr: str, unit: str = "short", limits: tuple[float, ...] = ()) -> Panel:
    return Panel(title, about, (Query(expr),), "stat", unit, width=4, height=4, limits=limits)


_STATES: Final = (("no picture", "red"), ("live", "green"), ("frozen", "orange"))


def _state(labels: str) -> Query:
    """Returns 0, 1 or 2 for each camera; see `_STATES`."""
    return Query(f"watchline_camera_up{{{labels}}} + 2 * watchline_camera_frozen{{{labels}}}", "{{camera}}")


_NOW: Final = (
    _stat("Cameras live", "Cameras that give pictures.", f"sum(watchline_camera_up{{{_HERE}}})"),
    _stat(
        "Cameras not live",
        "Offline, frozen or connecting. The table below names them.",
        f"sum(1 - watchline_camera_up{{{_HERE}}})",
        limits=(1,),
    ),
    _stat("Analysed", "Frames detected and tracked a second.", f"sum({_rate('frames_processed_total', _HERE)})"),
    _stat(
        "Frame age, p95",
        "From capture to tracked. Above two seconds the machine has more to do than it can.",
        f"histogram_quantile(0.95, sum by (le) ({_rate('frame_age_seconds_bucket', _HERE)}))",
        "s",
        (1, 2),
    ),
    _stat(
        "Detectors down",
        "Models whose workers take no frames.",
        f"sum(1 - watchline_detector_up{{{_HERE}}})",
        limits=(1,),
    ),
    _stat(
        "Alerts",
        "That fire now.",
        'count(ALERTS{alertstate="firing",alertname=~"Watchline.*"}) or vector(0)',
        limits=(1,),
    ),
)

_SIGHTINGS: Final = (
    Panel(
        "Sightings",
        "Parts of tracks of people that ended, and what was written, a second. Empty where the site keeps none.",
        (
            Query(f"sum({_rate('tracklets_total', _HERE)})", "ended"),
            Query(_rate("sightings_stored_total", _HERE), "written"),
            Query(_rate("sightings_refused_total", _HERE), "not kept: {{reason}}"),
        ),
        width=8,
    ),
    Panel(
        "Sightings without vectors, by why",
        '"no_crop" lies in the pictures; "behind" is more people than `sightings.budget` allows; "model" is a fault.',
        (Query(f"sum by (reason) ({_rate('tracklets_undescribed_total', _HERE)})", "{{reason}}"),),
        width=8,
        stacked=True,
    ),
    Panel(
        "Vectors",
        "Green while they are made.",
        (Query(f"watchline_describer_up{{{_HERE}}}", "{{instance}}"),),
        "state-timeline",
        width=8,
        states=(("down", "red"), ("made", "green")),
    ),
    Panel(
        "Time for vectors and pictures",
        "Of several tracklets at once; and what looking at a frame takes of the thread that tracks.",
        (
            Query(_quantiles("embedding_seconds", _HERE)[1].expr, "vectors p95"),
            Query(_quantiles("sighting_look_seconds", _HERE)[1].expr, "looking p95"),
        ),
        unit="s",
        width=8,
    ),
    Panel(
        "Sightings that wait",
        "To be described, and to be written. A level line is a good one.",
        (
            Query(f"watchline_tracklets_waiting{{{_HERE}}}", "to be described"),
            Query(f"watchline_sightings_waiting{{{_HERE}}}", "to be written"),
        ),
        width=8,
    ),
    Panel(
        "Store of sightings",
        "Room that it takes; `retention.sightings_size` bounds it.",
        (Query(f"watchline_sightings_size_bytes{{{_HERE}}}", "{{instance}}"),),
        unit="bytes",
        width=8,
    ),
    Panel(
        "Writing of sightings",
        "Red while their store cannot be used or its disk is full; the cameras are followed all the same.",
        (Query(f"watchline_sightings_failing{{{_HERE}}}", "{{instance}}"),),
        "state-timeline",
        width=12,
        states=(("written", "green"), ("not written", "red")),
    ),
    Panel(
        "Erased by the retention",
        'Pieces a second; "held back" are times that the clock was not believed.',
        (
            Query(_rate("sightings_purged_total", _HERE), "{{kind}}"),
            Query(_rate("sightings_purges_held_total", _HERE), "held back"),
        ),
        width=12,
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
                    (Query(_rate("frames_processed_total", _HERE), "{{camera}}"),),
                    unit="fps",
                ),
                Panel(
                    "Frames not analysed, by why",
                    '"rate" is what the site asked for; "replaced" is the machine being too slow; others are faults.',
                    (Query(f"sum by (reason) ({_rate('frames_dropped_total', _HERE)})", "{{reason}}"),),
                    unit="fps",
                    stacked=True,
                ),
                Panel(
                    "Longest without an analysed frame",
                    "The cameras that wait longest.",
                    (Query(f"topk(20, watchline_camera_idle_seconds{{{_HERE}}})"),),
                    "table",
                    "s",
                ),
                Panel(
                    "State of cameras",
                    "Green where a camera gives pictures that change; orange where it gives the same again and again.",
                    (_state(_HERE),),
                    "state-timeline",
                    states=_STATES,
                ),
                Panel(
                    "Frame age",
                    "From capture to tracked, all cameras.",
                    _quantiles("frame_age_seconds", _HERE),
                    unit="s",
                ),
                Panel(
                    "Failed connections, by why",
                    "Tries a second; each is tried again by itself.",
                    (Query(f"sum by (reason) ({_rate('reconnects_total', _HERE)})", "{{reason}}"),),
                    stacked=True,
                ),
            ),
        ),
        ("Sightings", _SIGHTINGS),
        (
            "Storage and configuration",
            (
                Panel(
                    "Journal lines",
                    "Written and lost a second. Lost ones want a look at the disk.",
                    (
                        Query(_rate("journal_lines_total", _HERE), "written"),
                        Query(_rate("journal_lost_total", _HERE), "lost: {{reason}}"),
                    ),
                    width=8,
                ),
                Panel(
                    "Disk",
                    "What is left, and what the site wants to be left.",
                    (
                        Query(f"watchline_storage_free_bytes{{{_HERE}}}", "free"),
                        Query(f"watchline_storage_reserved_bytes{{{_HERE}}}", "reserved"),
                        Query(f"watchline_journal_size_bytes{{{_HERE}}}", "journal"),
                    ),
                    unit="bytes",
                    width=8,
                ),
                Panel(
                    "Configuration",
                    "Times that it was read again since the start.",
                    (Query(f"watchline_config_reloads_total{{{_HERE}}}", "{{reason}}"),),
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
                    (_state(_CAMERA),),
                    "state-timeline",
                    states=_STATES,
                ),
                Panel(
                    "Frames",
                    "Decoded and analysed.",
                    (
                        Query(_rate("frames_received_total", _CAMERA), "{{camera}} received"),
                        Query(_rate("frames_processed_total", _CAMERA), "{{camera}} analysed"),
                    ),
                    unit="fps",
                ),
                Panel(
                    "Frames not analysed, by why",
                    "What became of the others.",
                    (Query(f"sum by (reason) ({_rate('frames_dropped_total', _CAMERA)})", "{{reason}}"),),
                    unit="fps",
                    stacked=True,
                ),
                Panel("Frame age", "From capture to tracked.", _quantiles("frame_age_seconds", _CAMERA), unit="s"),
                Panel(
                    "Frame age, all of it",
                    "How many frames were how old.",
                    (Query(f"sum by (le) ({_rate('frame_age_seconds_bucket', _CAMERA)})", "{{le}}"),),
                    "heatmap",
                    "s",
                ),
                Panel(
                    "Since the last analysed frame",
                    "Grows while nothing is analysed.",
                    (Query(f"watchline_camera_idle_seconds{{{_CAMERA}}}", "{{camera}}"),),
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
                    (Query(f"sum by (reason) (watchline_reconnects_total{{{_CAMERA}}})", "{{reason}}"),),
                    width=8,
                ),
                Panel(
                    "Packets that cannot be decoded",
                    "Damaged on the road, or by the camera.",
                    (Query(_rate("packets_undecodable_total", _CAMERA), "{{camera}}"),),
                    width=8,
                ),
                Panel(
                    "Times mended, by why",
                    "Frames whose time was missing, ran backwards or jumped.",
                    (Query(f"sum by (reason) ({_rate('frame_times_healed_total', _CAMERA)})", "{{reason}}"),),
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
                        Query(_rate("detections_total", _CAMERA), "{{camera}}"),
                        Query(_rate("detections_ignored_total", _CAMERA), "{{camera}} ignored"),
                    ),
                    width=8,
                ),
                Panel(
                    "Tracks now",
                    "Objects seen in the last frame.",
                    (Query(f"watchline_active_tracks{{{_CAMERA}}}", "{{camera}}"),),
                    width=8,
                ),
                Panel(
                    "Tracks begun",
                    "A second. Many short ones mean a rate too low, or a scene that flickers.",
                    (Query(_rate("tracks_total", _CAMERA), "{{camera}}"),),
                    width=8,
                ),
            ),
        ),
    ),
)

_DETECT: Final = _rate("stage_duration_seconds_sum", f'{_MODEL},stage="detect"')
_CPU: Final = _rate("process_cpu_seconds_total", _HERE)

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
                    (Query(f"watchline_detector_info{{{_MODEL}}}"),),
                    "table",
                    height=6,
                ),
                Panel(
                    "Running",
                    "Green while its workers take frames.",
                    (Query(f"watchline_detector_up{{{_MODEL}}}", "{{model}} on {{device}}"),),
                    "state-timeline",
                    height=6,
                    states=(("down", "red"), ("running", "green")),
                ),
                Panel(
                    "Duration of a batch or frame, by stage",
                    "Waiting that grows means more cameras or a higher rate than the machine can do.",
                    _quantiles("stage_duration_seconds", _MODEL, "stage"),
                    unit="s",
                ),
                Panel(
                    "Workers at work",
                    "Share of the time that workers detect; near 1 there is nothing left.",
                    (
                        Query(
                            f"sum by (model) ({_DETECT}) / sum by (model) (watchline_detector_workers{{{_MODEL}}})",
                            "{{model}}",
                        ),
                    ),
                    unit="percentunit",
                ),
                Panel(
                    "Frames that wait",
                    "For a worker, of all cameras.",
                    (Query(f"watchline_queue_depth{{{_MODEL}}}", "{{model}}"),),
                    width=8,
                ),
                Panel(
                    "Frames a batch",
                    "Mean.",
                    (
                        Query(
                            f"{_rate('batch_size_sum', _MODEL)} / {_rate('batch_size_count', _MODEL)}",
                            "{{model}}",
                        ),
                    ),
                    width=8,
                ),
                Panel(
                    "Failures",
                    "Since the daemon began: of the detector, and of devices that gave way to another.",
                    (
                        Query(f"watchline_detector_deaths_total{{{_MODEL}}}", "{{model}} failed"),
                        Query(f"watchline_detector_fallbacks_total{{{_MODEL}}}", "{{model}} changed device"),
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
                            f"sum by (instance) ({_CPU})"
                            f" / sum by (instance) ({_rate('frames_processed_total', _HERE)})",
                            "{{instance}}",
                        ),
                    ),
                    unit="s",
                    width=8,
                ),
                Panel(
                    "Memory",
                    "Of the daemon and its children; shared memory counts in each.",
                    (Query(f"watchline_process_resident_memory_bytes{{{_HERE}}}", "{{instance}}"),),
                    unit="bytes",
                    width=8,
                ),
                Panel(
                    "Files and threads",
                    "Level lines are good ones.",
                    (
                        Query(f"watchline_process_open_fds{{{_HERE}}}", "open files"),
                        Query(f"watchline_process_threads{{{_HERE}}}", "threads"),
                        Query(f"watchline_process_processes{{{_HERE}}}", "processes"),
                    ),
                    width=8,
                ),
                Panel(
                    "Frames in flight",
                    "That wait or are under way.",
                    (Query(f"sum by (instance) (watchline_frames_in_flight{{{_HERE}}})", "{{instance}}"),),
                    width=8,
                ),
                Panel(
                    "Viewers",
                    "Of live pictures; each camera is encoded once for all of them.",
                    (Query(f"watchline_viewers{{{_HERE}}}", "{{instance}}"),),
                    width=8,
                ),
            ),
        ),
    ),
)

BOARDS: Final = (SITE, CAMERA, PERFORMANCE)
