"""Expressions of Prometheus that the boards share."""

from __future__ import annotations

from typing import Final

from watchline.pipeline.dashboards.board import Query

HERE: Final = 'instance=~"$instance"'
THIS_CAMERA: Final = f'{HERE},camera=~"$camera"'
THIS_MODEL: Final = f'{HERE},model=~"$model"'
OVER: Final = "[$__rate_interval]"


def rate(metric: str, labels: str) -> str:
    """Returns how fast a counter grows, a second."""
    return f"rate(watchline_{metric}{{{labels}}}{OVER})"


def quantiles(metric: str, labels: str, by: str = "") -> tuple[Query, ...]:
    """Returns the median and the slow ones of a histogram, for each value of `by` if there is one."""
    more, legend = (f", {by}", f"{{{{{by}}}}} ") if by else ("", "")
    return tuple(
        Query(
            f"histogram_quantile({quantile}, sum by (le{more}) ({rate(f'{metric}_bucket', labels)}))",
            f"{legend}p{quantile * 100:.0f}",
        )
        for quantile in (0.5, 0.95, 0.99)
    )
