"""Parts shared by the records of modalities: groups of elements, drawings, spectra. They need torch."""
