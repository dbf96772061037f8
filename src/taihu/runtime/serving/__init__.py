"""What a node shows of itself: newest values, things and their directory, to observers too."""
