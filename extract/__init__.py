"""From the archive in S3 to plain CSV files on disk, and the runner of `make extract` and `make sample`."""
