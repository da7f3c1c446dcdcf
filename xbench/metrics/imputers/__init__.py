"""What stands in place of removed features."""
