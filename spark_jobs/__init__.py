"""What runs in Spark: the explode of feature lists into long staging tables, and the drawing of samples."""
