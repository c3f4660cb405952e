"""What answers and passed requests carry besides the numbers: what a browser needs to read them, and who calls."""
