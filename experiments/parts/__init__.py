"""What the experiments share: workloads, methods, contenders in processes of their own, and how results are printed."""
