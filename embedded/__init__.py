"""Java, MySQL, S3 and source data for a machine that lacks them. Importing this package imports nothing else."""
