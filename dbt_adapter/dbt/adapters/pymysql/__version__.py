"""Where dbt looks for the version of an adapter."""

version = "1.12.0"
