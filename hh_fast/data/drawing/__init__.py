"""How the built-in sample's pictures are drawn: jointed figures of rounded limbs, lit, before a scene."""
