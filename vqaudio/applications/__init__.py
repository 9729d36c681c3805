"""What codes and their likelihood are good for beside synthesis: compression and anomaly scores."""
