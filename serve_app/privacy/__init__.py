"""What protects users: pseudonyms, prediction ids that cannot be forged, encrypted images."""
