"""From the archive in S3 to plain CSV files on disk, and the runner of the steps of `make extract`."""
