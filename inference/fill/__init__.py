"""What goes in an occluder's place: the page carried on, or the network's picture."""
