"""What runs beside requests, and results that several requests share."""
