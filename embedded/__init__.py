"""Java, MySQL, S3 and the packages for a machine that lacks them, and `make sql`, `make status` and `make clean`."""
