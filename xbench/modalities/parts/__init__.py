"""What records of modalities share: groups of elements, drawings, spectra. These need torch."""
