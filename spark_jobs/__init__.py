"""The Spark jobs: what turns the source's feature lists into long staging tables."""
