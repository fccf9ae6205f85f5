"""The account of a step: where its time goes, on one rank and over all; why nothing ran; what ran."""
