"""The clients: one YAML contract each, read by `include.clients.contract`."""
