"""What codes and their likelihood are good for besides new sound."""
