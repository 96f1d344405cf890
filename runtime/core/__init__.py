"""What every room stands on: manifest, masks, errors, atomic files, text, environment."""
