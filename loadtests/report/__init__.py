"""The report of a load test: one HTML file, with its charts as SVG, that needs nothing else and runs no scripts."""
