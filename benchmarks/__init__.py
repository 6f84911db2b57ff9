"""Measures every stage of the pipeline against a bare way of doing the same, on servers and folders of its own."""
