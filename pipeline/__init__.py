"""What every stage shares: settings, errors, progress, the MySQL connection and the registry of loads."""
