"""The composed configuration and its checks: from YAML and overrides to components. No torch."""
