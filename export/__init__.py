"""`make export`: the four tables as Parquet, one row per sample with its features as lists."""
