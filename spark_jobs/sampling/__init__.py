"""The development sample: how many, which, and how well it stands for the whole."""
