"""What Grafana shows and Prometheus alerts of, generated."""
