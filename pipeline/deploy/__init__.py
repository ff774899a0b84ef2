"""What runs watchline as a service: a systemd unit, a Dockerfile, a compose file with Prometheus and Grafana."""
