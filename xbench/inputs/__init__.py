"""What the command chooses for every sample: features, baselines, targets, pictures."""
