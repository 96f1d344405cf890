"""From an image to its record: detector, pipeline, verdict, reasons."""
