"""When a person should look, and what to do then: alert rules for Prometheus."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

Severity: TypeAlias = Literal["critical", "warning"]

JOB = "watchline"


@dataclass(frozen=True, slots=True)
class Pace:
    """How quickly rules judge; tests cannot wait for minutes.

    Attributes:
        window_s: over which rates are taken, seconds.
        patience: what all waiting times are multiplied by.
    """

    window_s: float = 300.0
    patience: float = 1.0

    @property
    def over(self) -> str:
        """The range of a rate."""
        return f"[{_duration(self.window_s)}]"


@dataclass(frozen=True, slots=True)
class Alert:
    """One rule.

    Attributes:
        name: of the alert.
        expr: PromQL that gives something while it holds.
        for_s: how long it has to hold, seconds.
        severity: "critical" for what is not watched now, "warning" for what will be so, or is watched badly.
        summary: one sentence; `{{ $labels.camera }}` is filled in.
        description: what to do.
    """

    name: str
    expr: str
    for_s: float
    severity: Severity
    summary: str
    description: str


def alerts(pace: Pace | None = None) -> tuple[Alert, ...]:
    """Returns all rules.

    Args:
        pace: how quickly they judge; as a site wants it by default.
    """
    pace = pace or Pace()
    return (
        *_of_cameras(pace),
        *_of_load(pace),
        *_of_detectors(pace),
        *_of_storage(pace),
        *_of_sightings(pace),
        *_of_daemon(),
    )


def rule_file(rules: tuple[Alert, ...], pace: Pace | None = None) -> dict[str, Any]:
    """Returns what Prometheus reads as a file of rules.

    Args:
        rules: as `alerts` gives them.
        pace: the same as they were made with.
    """
    pace = pace or Pace()
    written = [
        {
            "alert": rule.name,
            "expr": rule.expr,
            "for": _duration(rule.for_s * pace.patience),
            "labels": {"severity": rule.severity},
            "annotations": {"summary": rule.summary, "description": rule.description},
        }
        for rule in rules
    ]
    return {"groups": [{"name": "watchline", "rules": written}]}


def _duration(seconds: float) -> str:
    """Returns a time as Prometheus writes it.

    >>> _duration(300), _duration(90), _duration(0.5)
    ('5m', '90s', '500ms')
    """
    if seconds and seconds % 60 == 0:
        return f"{seconds / 60:.0f}m"
    return f"{seconds:.0f}s" if seconds == int(seconds) else f"{seconds * 1000:.0f}ms"


def _of_cameras(pace: Pace) -> tuple[Alert, ...]:
    return (
        Alert(
            "WatchlineCameraDown",
            "watchline_camera_up + watchline_camera_frozen == 0",
            60,
            "critical",
            "Camera {{ $labels.camera }} gives no picture.",
            "See the reason on the status page, or `watchline streams probe` its address. Check its power, its cable"
            " and its password. It is tried again by itself.",
        ),
        Alert(
            "WatchlineCameraFrozen",
            "watchline_camera_frozen == 1",
            30,
            "critical",
            "Camera {{ $labels.camera }} sends the same picture again and again.",
            "Nothing that happens there is seen. Restart the camera; if it happens again, renew its firmware.",
        ),
        Alert(
            "WatchlineCameraNotAnalysed",
            f"watchline_camera_up == 1 and watchline_camera_idle_seconds > {30 * pace.patience:g}",
            30,
            "critical",
            "Camera {{ $labels.camera }} is live, but none of its frames is analysed.",
            "Look at its detector on the performance dashboard and at the daemon's log. If that runs, restart"
            " the daemon and report it.",
        ),
        Alert(
            "WatchlineCameraFlapping",
            f"changes(watchline_camera_up[{_duration(pace.window_s * 3)}]) > 6",
            0,
            "warning",
            "Camera {{ $labels.camera }} comes and goes.",
            "Look at the reasons of its failed connections on the camera dashboard: a bad cable, a full network, or too"
            " many clients at the camera.",
        ),
        Alert(
            "WatchlineCameraUndecodable",
            f"rate(watchline_packets_undecodable_total{pace.over}) > 0.5",
            300,
            "warning",
            "Packets of camera {{ $labels.camera }} cannot be decoded.",
            "Packets are lost on the road: set `transport: tcp` for it, or look for a full or faulty network.",
        ),
    )


def _of_load(pace: Pace) -> tuple[Alert, ...]:
    over = pace.over
    faults = "damaged|no_room|lost|detector|tracker"
    dropped = "sum without (reason) (rate(watchline_frames_dropped_total"
    return (
        Alert(
            "WatchlineCameraFallingBehind",
            f'{dropped}{{reason="replaced"}}{over})) > 0.5 * (rate(watchline_frames_received_total{over})'
            f' - {dropped}{{reason="rate"}}{over})))',
            600,
            "warning",
            "Less than half of the wanted frames of camera {{ $labels.camera }} are analysed.",
            "The machine has more to do than it can. Lower `fps`, choose a smaller model, or use a GPU; give important"
            " cameras a higher `weight`.",
        ),
        Alert(
            "WatchlineFramesLate",
            "histogram_quantile(0.95, sum by (instance, job, camera, le)"
            f" (rate(watchline_frame_age_seconds_bucket{over}))) > 2",
            300,
            "warning",
            "Frames of camera {{ $labels.camera }} are more than 2 s old once analysed.",
            "Compare the stages on the performance dashboard: waiting means too much load, detecting a slow or"
            " throttled device. If only this camera is late, its network or its clock is.",
        ),
        Alert(
            "WatchlineFramesLost",
            f'{dropped}{{reason=~"{faults}"}}{over})) > 0.05 * rate(watchline_frames_received_total{over})',
            300,
            "warning",
            "More than one in twenty frames of camera {{ $labels.camera }} is lost by a fault.",
            "See which reason on the camera dashboard: damaged (network), no_room (memory), lost (a process ended),"
            " detector or tracker (the log says what).",
        ),
        Alert(
            "WatchlineQueueFull",
            "sum by (instance, job) (rate(watchline_frames_dropped_total"
            f'{{reason="no_room"}}{over})) > 0 or sum by (instance, job)'
            f' (rate(watchline_journal_lost_total{{reason="queue_full"}}{over})) > 0',
            120,
            "warning",
            "A queue of {{ $labels.instance }} is full.",
            "Frames (no_room) or lines of the journal (queue_full) find no place. Look for a slow disk, then give"
            " `ingest.memory` more or analyse less.",
        ),
    )


def _of_detectors(pace: Pace) -> tuple[Alert, ...]:
    return (
        Alert(
            "WatchlineDetectorDown",
            "watchline_detector_up == 0",
            30,
            "critical",
            "Detector {{ $labels.model }} on {{ $labels.device }} does not run.",
            "None of its cameras is analysed. The status page and the log say why: a lost device, too little memory, a"
            " spoilt model file. It is tried again by itself.",
        ),
        Alert(
            "WatchlineDetectorFailing",
            f"increase(watchline_detector_deaths_total[{_duration(pace.window_s * 3)}]) > 1.5",
            0,
            "warning",
            "Detector {{ $labels.model }} failed more than once.",
            "It was opened anew each time, and frames were lost meanwhile. The log says why; check memory, driver and"
            " temperature of the device.",
        ),
        Alert(
            "WatchlineDetectorFellBack",
            "watchline_detector_fallen_back == 1",
            60,
            "warning",
            "Detector {{ $labels.model }} runs on another device than it should.",
            "It is slower there. Mend the device (`watchline doctor` says what is found), then restart the daemon.",
        ),
    )


def _of_storage(pace: Pace) -> tuple[Alert, ...]:
    return (
        Alert(
            "WatchlineJournalFailing",
            "watchline_journal_failing == 1",
            30,
            "critical",
            "The journal of {{ $labels.instance }} cannot be written.",
            "Tracks are not kept. The log says what the system refused: free the disk, or mend the rights of"
            " `storage.path`. It goes on by itself.",
        ),
        Alert(
            "WatchlineJournalLosing",
            f"sum by (instance, job) (increase(watchline_journal_lost_total{pace.over})) > 0",
            0,
            "warning",
            "Lines of the journal of {{ $labels.instance }} were lost.",
            "See the reason on the site dashboard; the journal itself tells of the gap.",
        ),
        Alert(
            "WatchlineDiskFull",
            "watchline_storage_free_bytes < watchline_storage_reserved_bytes",
            120,
            "critical",
            "The disk of {{ $labels.instance }} has less left than the site wants.",
            "The oldest tracks are erased to make room. Free the disk of something else, or keep less: `retention`.",
        ),
    )


def _of_sightings(pace: Pace) -> tuple[Alert, ...]:
    return (
        Alert(
            "WatchlineSightingsRefused",
            f"sum by (instance, job) (increase(watchline_sightings_refused_total{pace.over})) > 0"
            " or watchline_sightings_failing == 1",
            30,
            "critical",
            "Sightings of {{ $labels.instance }} are not kept.",
            "Who is seen now cannot be searched later. The status page and the log say why: free the disk,"
            " mend the rights of the store's file, end what else holds it, or put a copy in the place of a damaged one,"
            " with its -wal and -shm moved away. It goes on by itself.",
        ),
        Alert(
            "WatchlineDescriberDown",
            "watchline_describer_up == 0",
            60,
            "warning",
            "No vectors of people are made at {{ $labels.instance }}.",
            "Sightings are kept without, and no picture will find them. The status page and the log say why: a lost"
            " device, too little memory, a changed model file. It is tried again by itself.",
        ),
        Alert(
            "WatchlineSightingsUndescribed",
            "sum by (instance, job) (rate(watchline_tracklets_undescribed_total"
            f'{{reason!="no_crop"}}{pace.over})) > 0.1 * sum by (instance, job)'
            f" (rate(watchline_tracklets_total{pace.over}))",
            300,
            "warning",
            "More than one in ten sightings of {{ $labels.instance }} has no vector.",
            'See the reason on the site dashboard: "behind" is too many people for `sightings.budget`, "model" a'
            " network that fails.",
        ),
        Alert(
            "WatchlineSightingsNotPurged",
            "watchline_sightings_purge_failing == 1",
            0,
            "critical",
            "Sightings of {{ $labels.instance }} are older than they may get.",
            "The retention could not be applied to their store; the log says what the system refused. It is tried again"
            " each hour, or minute. `watchline sightings purge` does it by hand.",
        ),
        Alert(
            "WatchlineClockDoubted",
            "watchline_sightings_clock_ahead_seconds > 0",
            600,
            "warning",
            "The clock of {{ $labels.instance }} is days ahead of what its sightings know.",
            "Less of them is erased than by its time is too old, until it has run like that for a tenth of it or NTP"
            " keeps it right. Set it right; if it is, `watchline sightings purge` erases at once.",
        ),
        Alert(
            "WatchlineSightingsTrimmed",
            f"sum by (instance, job) (increase(watchline_sightings_trimmed_total{pace.over})) > 0",
            0,
            "warning",
            "Sightings of {{ $labels.instance }} go before their time.",
            "Their store has no more room: raise `retention.sightings_size`, free the disk, keep no pictures, or keep"
            " sightings for fewer days.",
        ),
    )


def _of_daemon() -> tuple[Alert, ...]:
    return (
        Alert(
            "WatchlineConfigRefused",
            "watchline_config_last_reload_successful == 0",
            0,
            "warning",
            "The changed configuration of {{ $labels.instance }} was refused.",
            "The one before it runs on. `watchline check --config` names line and fault; mend the file, and it"
            " is taken.",
        ),
        Alert(
            "WatchlineNotScraped",
            f'up{{job="{JOB}"}} == 0 or absent(up{{job="{JOB}"}})',
            60,
            "critical",
            "Nothing is heard of watchline{{ with $labels.instance }} at {{ . }}{{ end }}.",
            "Prometheus does not reach it: is the daemon running, is address and token right in prometheus.yml? No"
            " other alert can fire until then.",
        ),
    )
