"""What leaves a recording: the rank's folder, who the rank and the run are, and names taken out."""
