"""Java, MySQL, S3 and source data for a machine that lacks them. Importing this package imports nothing else."""

# Of generated data, where a call says nothing else: the share of the full size, and what names the random numbers.
DEFAULT_SCALE = 0.001
DEFAULT_SEED = 20220601
