"""The command's choices for every sample: features, baselines, targets, pictures."""
