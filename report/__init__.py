"""The report of a data set: one HTML page over the tables that dbt has built; and the summary of `make run`."""
