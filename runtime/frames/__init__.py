"""From an image, animation or video to the crops that the engine scores."""
