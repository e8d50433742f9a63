"""Learning from photographs: what weakly-supervised training minimises (Deng et al. 2019, section 4)."""
