"""The files that Prometheus and Grafana want, as texts."""

from __future__ import annotations

import json
from typing import Any, Final

import yaml  # type: ignore[import-untyped]

from watchline.pipeline.dashboards.alerts import JOB, alerts, rule_file
from watchline.pipeline.dashboards.board import grafana
from watchline.pipeline.dashboards.boards import BOARDS

_FOLDER: Final = "/var/lib/grafana/dashboards/watchline"


def files(target: str = "127.0.0.1:8770", prometheus: str = "http://127.0.0.1:9090") -> dict[str, str]:
    """Returns the text of each file by its name within a folder, "/" between its parts.

    Args:
        target: host and port at which watchline answers.
        prometheus: address of Prometheus, for Grafana.
    """
    made = {f"grafana/dashboards/{board.uid}.json": _json(grafana(board)) for board in BOARDS}
    made["grafana/provisioning/datasources/watchline.yaml"] = _yaml(
        "Belongs in /etc/grafana/provisioning/datasources.",
        {
            "apiVersion": 1,
            "datasources": [
                {"name": "Prometheus", "type": "prometheus", "access": "proxy", "url": prometheus, "isDefault": True}
            ],
        },
    )
    made["grafana/provisioning/dashboards/watchline.yaml"] = _yaml(
        f"Belongs in /etc/grafana/provisioning/dashboards; the dashboards themselves in {_FOLDER}.",
        {
            "apiVersion": 1,
            "providers": [{"name": "watchline", "folder": "watchline", "type": "file", "options": {"path": _FOLDER}}],
        },
    )
    made["prometheus/alerts.yaml"] = _yaml("Alert rules; prometheus.yml names this file.", rule_file(alerts()))
    made["prometheus/prometheus.yml"] = _prometheus(target)
    return made


def _prometheus(target: str) -> str:
    text = _yaml(
        "All that Prometheus needs, or the parts to add to what there is.",
        {
            "global": {"scrape_interval": "10s", "evaluation_interval": "10s"},
            "rule_files": ["alerts.yaml"],
            "scrape_configs": [{"job_name": JOB, "static_configs": [{"targets": [target]}]}],
        },
    )
    return text + (
        "  # Where the site has a token (http.token_file) or TLS:\n"
        "  # scheme: https\n"
        "  # authorization: {credentials_file: /etc/prometheus/watchline.token}\n"
    )


def _yaml(comment: str, data: dict[str, Any]) -> str:
    return f"# {comment}\n{yaml.safe_dump(data, sort_keys=False, width=1000)}"


def _json(data: dict[str, Any]) -> str:
    return json.dumps(data, indent=2) + "\n"
